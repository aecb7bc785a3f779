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

from pricing.joint.descent import Costs, descend
from pricing.joint.feasible import STRICT, least_top_utilization
from pricing.joint.optimum import resource_costs
from pricing.network import Allocation, Network, Route
from pricing.problem import Problem, joined, make_allocation, problem_of
from pricing.routes import cheapest_route, nearest_routes
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
    shares = dict(allocation)
    load = problem_of(network).loads(allocation, offered)
    return State(shares, shares, load, offered, round(1 / SMOOTHING))


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
        return Decision(problem.prices(joined(loads)), start, State(dict(start), dict(start), nothing, nothing))
    now = observe(problem, loads, state)
    answers = answer(problem, now)
    return Decision(problem.prices(now.load), *_decided(problem, now, answers))


def _decided(problem: Problem, now: State, answers: Shares) -> tuple[Allocation, State]:
    """Momentum where it is safe, what it does to the expected loads, and what is installed of it."""
    rest = now.load - _load(problem, now.shares, now.offered)
    calm = rest + _load(problem, answers, now.offered)
    shares = go_on(now, answers)
    load = rest + _load(problem, shares, now.offered)
    if (load > np.maximum(calm, WARY * problem.capacity)).any():
        shares, load = answers, calm
    return installed(shares), State(shares, answers, load, now.offered, now.measurements)


def go_on(now: State, answers: Shares) -> Shares:
    """The answers, each session's carried on by its momentum unless that points back."""
    routes: dict[str, list[Route]] = {}
    for route in dict.fromkeys((*answers, *now.shares, *now.answers)):
        routes.setdefault(route.session, []).append(route)
    decided: dict[Route, float] = {}
    for mine in routes.values():
        new, old, last = (np.array([s.get(r, 0.0) for r in mine]) for s in (answers, now.shares, now.answers))
        further = new if (new - old) @ (new - last) < 0 else np.maximum(new + MOMENTUM * (new - last), 0.0)
        decided |= {r: float(w) for r, w in zip(mine, further / further.sum(), strict=True) if w >= FORGOTTEN}
    return decided


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
    return problem.loads(make_allocation(list(shares), list(shares.values())), offered)


def answer(problem: Problem, state: State) -> Shares:
    """Every session's answer to the prices at the expected loads: the least of its summand of (J)."""
    load = np.maximum(problem.below(state.load), 0.0)
    prices = problem.unit_prices(load)
    sessions = problem.active(state.offered)
    routes: list[list[Route]] = []
    for session, _ in sessions:
        used = [route for route in state.shares if route.session == session.name]
        wider = (*nearest_routes(problem.network, session, NEAREST), cheapest_route(problem, session, prices)[0])
        routes.append(list(dict.fromkeys((*used, *wider))))
    usage = [rate * problem.usage_matrix(mine) for (_, rate), mine in zip(sessions, routes, strict=True)]
    stakes = np.array([rate * matrix.any(axis=1) for (_, rate), matrix in zip(sessions, usage, strict=True)])
    shares = {r: share for r, share in state.shares.items() if r.session not in {s.name for s, _ in sessions}}
    for k, (matrix, mine) in enumerate(zip(usage, routes, strict=True)):
        part = np.where(stakes[k] > 0, stakes[k] / np.maximum(stakes.sum(axis=0), 1e-300), 1.0)
        old = np.array([state.shares.get(route, 0.0) for route in mine])
        costs = _summand(resource_costs(problem), part, load, matrix @ old)
        found = descend(costs, matrix, np.zeros(len(mine), dtype=np.intp), old, _LOCAL_GAP).shares
        found = np.where(found >= FORGOTTEN, found, 0.0)
        shares |= {route: float(share) for route, share in zip(mine, found / found.sum(), strict=True) if share}
    return shares


def _summand(costs: Costs, part: FloatArray, load: FloatArray, own: FloatArray) -> Costs:
    """A session's summand of (J) as costs of its own load, which is `own` now."""

    def local(mine: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        value, slope, curvature = costs(load + (mine - own) / part)
        return part * value, slope, curvature / part

    return local
