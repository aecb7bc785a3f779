"""One priced tree a session: the lightest at the prices that it would find beside all others.

Each session has one route. One after another looks for the cheapest tree at the marginal costs of the links' loads
with its own rate on each of them, and moves there when the cost of the whole network falls. So the cost falls at every
move, and there are finitely many trees: moves come to an end. That need not be the optimum, which shares a session over
several trees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pricing.chains import steps_of
from pricing.network import Network, Route, Session
from pricing.problem import joined, make_allocation, problem_of
from pricing.routes import cheapest_route
from pricing.values import Decision, FloatArray, Loads

GAIN = 0.01
"""Part of the network's cost that a move must save: noise of the rates moves nobody (ours)."""

ROUNDS = 4
"""Times that a way through functions is looked for, each at the prices of the one before (ours)."""


def decide_steiner(network: Network, loads: Loads, state: Any) -> Decision:
    """One tree for each session; `state` is the routes of the last tick, in the sessions' order."""
    problem = problem_of(network)
    rates = loads.offered if loads.offered.any() else problem.rates
    routes: list[Route | None] = list(state) if _fit(network, state) else [None] * len(network.sessions)
    load = np.zeros(len(problem.capacity))
    for k, route in enumerate(routes):
        if route is not None:
            load += _used(network, route, rates[k])
    for k, session in enumerate(network.sessions):
        old = routes[k]
        rest = load - (_used(network, old, rates[k]) if old else 0.0)
        best = _cheapest(network, session, rest, rates[k])
        moved = rest + _used(network, best, rates[k])
        if old is None or _cost(network, moved) < (1 - GAIN) * _cost(network, load):
            routes[k], load = best, moved
    chosen = [route for route in routes if route is not None]
    return Decision(problem.prices(joined(loads)), make_allocation(chosen, [1.0] * len(chosen)), tuple(chosen))


def _cheapest(network: Network, session: Session, rest: FloatArray, rate: float) -> Route:
    """The cheapest route beside a load, at the prices with the session's own rate on every resource.

    Through functions that is not all: one server may be passed twice, and frames have several lengths. So there it is
    looked for again at the prices of its own loads, as long as the cost of all falls.
    """
    problem, found = problem_of(network), None
    work = [session.work, *(function.work for function in session.chain)]
    own = np.full(len(problem.capacity), max(work[1:] or work) / session.frame_bits)
    own[: problem.link_count] = 1.0
    load = rest + rate * own
    for _ in range(ROUNDS if session.chain else 1):
        route, _ = cheapest_route(problem, session, problem.unit_prices(problem.below(load)))
        moved = rest + _used(network, route, rate)
        if found is not None and _cost(network, moved) >= _cost(network, rest + _used(network, found, rate)):
            break
        found, load = route, np.maximum(load, moved)
    assert found is not None
    return found


def _fit(network: Network, state: Any) -> bool:
    """Whether last tick's routes are of these sessions, and on links that are there."""
    names = [session.name for session in network.sessions]
    routes: tuple[Route, ...] = state or ()
    if [route.session for route in routes] != names:
        return False
    pairs = zip(network.sessions, routes, strict=True)
    return all(link in steps_of(network, session) for session, route in pairs for link in route.links)


def _used(network: Network, route: Route, rate: float) -> FloatArray:
    problem = problem_of(network)
    load = np.zeros(len(problem.capacity))
    index, amount = problem.usage(route)
    load[index] = rate * amount
    return load


def _cost(network: Network, load: FloatArray) -> float:
    """The network's cost; what is over a capacity costs as much as its last bit does that fits."""
    problem = problem_of(network)
    fits = problem.below(load)
    return problem.total_cost(fits) + float(problem.unit_prices(fits) @ (load - fits))
