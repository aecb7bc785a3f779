"""The distributed iteration on a live network: one safe round a tick.

The joint paper's Algorithm 1 lets every source answer to the prices as if the others stood still, and damps the
answers by hand; on loaded servers it steps out of the feasible set or circles (`pricing.joint.printed` shows it).
Here no round can. Let F_r(x) = weight_r x D_r(x) be the cost of resource r, x_r its measured load, and Delta_kr what
session k adds to it by changing its split. Give each session a part theta_kr of the resource, sum_k theta_kr = 1. F_r
is convex, so by Jensen's inequality

    F_r(x_r + sum_k Delta_kr)  <=  sum_k theta_kr F_r(x_r + Delta_kr / theta_kr)                      (J)

with equality where nothing changes. Each session minimises its own summand over its own routes. The sum then cannot
rise, so neither can the cost on the left: it falls monotonically; and as F_r is infinite at capacity, the loads after
the round are strictly feasible whenever those before it are, whatever the others do. At a fixed point every session's
used routes have least marginal cost: (J) has the slope of F_r at Delta = 0, so it is the optimum (eq. (14)).

What is told each round: every resource r sends one price, its marginal cost D + x D' (strictly increasing in x, so it
carries the load), and the sum of the offered rates of the sessions that hold a route over it, from which a session
knows its part theta_kr = rate_k / sum. Sessions tell each resource they join or leave, and the change of load they
decided. Nobody learns another's routes, rates or delays.

Alone this is safe but slow where sessions should trade places: each fears that all others move with it. So sessions
keep some of their momentum: what is decided is the answer plus `MOMENTUM` times its change since the last answer, by
each session dropped when it points against the way it came (O'Donoghue and Candes' restart), and by all when a
resource that would come near capacity through it objects, which is one bit. The answer itself starts from where that
led, so (J) holds for every round, and every round is strictly feasible.

Loads are measured with noise, and a second late. A resource keeps an expected load: it adds the changes that sessions
announce, of their splits and of their rates, and moves it a part `SMOOTHING` of the way to each measurement. So
decisions are seen at once, noise is averaged, and background traffic is learnt like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pricing.joint.answer_kernel import Queues, Ways, answers
from pricing.joint.cheapest import cheapest_routes
from pricing.joint.feasible import STRICT, least_top_utilization
from pricing.network import Allocation, Network, Route
from pricing.problem import Problem, joined, make_allocation, problem_of
from pricing.routes import nearest_routes
from pricing.shortest import shortest_path
from pricing.values import Decision, FloatArray, Loads

SMOOTHING = 0.05
"""Part of the way that expected loads move to a measurement; the first few count equally."""

NEAREST = 3
"""Shortest routes to each server (or node) that a session always considers."""

MOMENTUM = 0.9
"""Part of an answer's change that a session goes on by."""

WARY = 0.95
"""Utilization above which a resource lets no momentum add to its load."""

LEAST_SHARE = 0.005
"""Shares below this are not installed; they are kept in mind, so that a growing one gets there."""

FORGOTTEN = 1e-4
"""Shares below this are forgotten."""

_LOCAL_GAP = 1e-5

Shares = Mapping[Route, float]


@dataclass(frozen=True)
class State:
    """What passes from round to round.

    Parameters
    ----------
    shares : mapping
        Each route's share in mind; the allocation is this without the smallest shares.
    answers : mapping
        The shares that sessions answered last, before momentum.
    load : array of shape (R,)
        Expected load of each resource if the shares in mind were installed; empty before the first measurement.
    offered : array of shape (K,)
        Offered bit/s.
    measurements : int
        How many measurements are in the expected loads.
    """

    shares: Shares
    answers: Shares
    load: FloatArray
    offered: FloatArray
    measurements: int = 0


def installed(shares: Shares) -> Allocation:
    """The allocation of the shares that are not too small to install."""
    return make_allocation(list(shares), [share if share >= LEAST_SHARE else 0.0 for share in shares.values()])


def cold_start(network: Network) -> Allocation:
    """The shortest paths where they are strictly feasible at the nominal rates, else the least top utilization.

    Raises
    ------
    Infeasible
        When no allocation carries the nominal rates.
    """
    problem, allocation = problem_of(network), shortest_path(network)
    if (problem.loads(allocation) < (1 - STRICT) * problem.capacity).all():
        return allocation
    return least_top_utilization(network)


def resume(network: Network, allocation: Allocation, offered: FloatArray) -> State:
    """The state that goes on from an allocation: its loads by the model are expected until measurements correct them.

    Parameters
    ----------
    offered : array of shape (K,)
        bit/s of each session.
    """
    _prepare(network)
    shares = dict(allocation)
    load = problem_of(network).loads(allocation, offered)
    return State(shares, shares, load, offered, round(1 / SMOOTHING))


def _prepare(network: Network) -> None:
    """Look for the routes that sessions always consider: the search takes seconds in a large network, once."""
    for session in network.sessions:
        nearest_routes(network, session, NEAREST)


def step(network: Network, loads: Loads, state: Any) -> Decision:
    """One round: smooth what was measured, and let every session answer the prices once.

    The first call (`state` is None) only decides where to start: the loads it sees belong to other routes.

    Parameters
    ----------
    loads : Loads
        Measured; values that are not finite count as not measured.
    state : State or None
        What the last round returned.

    Raises
    ------
    Infeasible
        At the first call, when no allocation carries the nominal rates.
    """
    problem = problem_of(network)
    if state is None:
        start, nothing = cold_start(network), np.zeros(0)
        _prepare(network)
        return Decision(problem.prices(joined(loads)), start, State(dict(start), dict(start), nothing, nothing))
    now = observe(problem, loads, state)
    return Decision(problem.prices(now.load), *_decided(problem, now, answer(problem, now)))


def _decided(problem: Problem, now: State, answered: Shares) -> tuple[Allocation, State]:
    """Momentum where it is safe, what it does to the expected loads, and what is installed of it."""
    rest = now.load - _load(problem, now.shares, now.offered)
    calm = rest + _load(problem, answered, now.offered)
    shares = go_on(now, answered)
    load = rest + _load(problem, shares, now.offered)
    if (load > np.maximum(calm, WARY * problem.capacity)).any():
        shares, load = answered, calm
    return installed(shares), State(shares, answered, load, now.offered, now.measurements)


def go_on(now: State, answered: Shares) -> Shares:
    """The answers, each session's carried on by its momentum unless that points back."""
    routes = list(dict.fromkeys((*answered, *now.shares, *now.answers)))
    numbers: dict[str, int] = {}
    mine = np.array([numbers.setdefault(route.session, len(numbers)) for route in routes], dtype=np.intp)
    new, old, last = (np.array([s.get(r, 0.0) for r in routes]) for s in (answered, now.shares, now.answers))
    back = np.bincount(mine, (new - old) * (new - last)) < 0
    further = np.where(back[mine], new, np.maximum(new + MOMENTUM * (new - last), 0.0))
    further /= np.bincount(mine, further)[mine]
    return {route: share for route, share in zip(routes, further.tolist(), strict=True) if share >= FORGOTTEN}


def observe(problem: Problem, loads: Loads, state: State) -> State:
    """The state with a measurement smoothed in."""
    seen, rates = joined(loads), np.nan_to_num(loads.offered, nan=0.0)
    if not len(state.offered) or not state.offered.any():
        state = State(state.shares, state.answers, np.nan_to_num(seen, nan=0.0), rates)
    count = state.measurements + 1
    mine = _load(problem, state.shares, rates)
    expected = state.load + mine - _load(problem, state.shares, state.offered)
    seen = seen + mine - _load(problem, dict(installed(state.shares)), rates)
    correction = np.where(np.isfinite(seen), seen - expected, 0.0)
    load = np.maximum(expected + max(SMOOTHING, 1 / count) * correction, 0.0)
    return State(state.shares, state.answers, load, rates, count)


def _load(problem: Problem, shares: Shares, offered: FloatArray) -> FloatArray:
    total: dict[str, float] = {}
    for route, share in shares.items():
        total[route.session] = total.get(route.session, 0.0) + share
    return problem.loads_of({route: share / total[route.session] for route, share in shares.items()}, offered)


def answer(problem: Problem, state: State) -> Shares:
    """Every session's answer to the prices at the expected loads: the least of its summand of (J)."""
    load = np.maximum(problem.below(state.load), 0.0)
    sessions = problem.active(state.offered)
    routes = _considered(problem, state.shares, problem.unit_prices(load))
    asking = {session.name for session, _ in sessions}
    row = [route for session, _ in sessions for route in routes[session.name]]
    first = np.cumsum([0, *(len(routes[session.name]) for session, _ in sessions)])
    old = np.array([state.shares.get(route, 0.0) for route in row])
    laws = problem.laws
    queues = Queues(laws.scale, laws.base, laws.capacity, problem.weight)
    rates = np.array([rate for _, rate in sessions], dtype=float)
    found = answers(Ways(first, *problem.usages(row)), queues, rates, old, load, _LOCAL_GAP)
    found[found < FORGOTTEN] = 0.0
    found /= np.repeat(np.add.reduceat(found, first[:-1]), np.diff(first)) if len(row) else 1.0
    kept = {route: share for route, share in state.shares.items() if route.session not in asking}
    return kept | {route: share for route, share in zip(row, found.tolist(), strict=True) if share}


def _considered(problem: Problem, shares: Shares, prices: FloatArray) -> dict[str, list[Route]]:
    """The routes that each session considers: those in use, its shortest ones, and the cheapest now."""
    cheapest, _ = cheapest_routes(problem, prices)
    found: dict[str, dict[Route, None]] = {session.name: {} for session in problem.network.sessions}
    for route in shares:
        found[route.session][route] = None
    for session, route in zip(problem.network.sessions, cheapest, strict=True):
        found[session.name].update(dict.fromkeys(nearest_routes(problem.network, session, NEAREST)))
        found[session.name][route] = None
    return {name: list(routes) for name, routes in found.items()}
