"""The central optimum: the least mean delay over all routes and all servers.

Routes are too many to write down, so they are found as they are needed (column generation): solve on some routes,
price every link and server at its marginal cost, let Dijkstra look for a cheaper route in the whole network, add it,
and solve again, until there is none. What ends the search is the certificate, so every answer is an optimum over all
routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pricing.errors import NotConverged, WardropError
from pricing.joint.certificate import certify
from pricing.joint.descent import Costs, descend
from pricing.joint.feasible import STRICT, least_top_utilization
from pricing.joint.network_flow import least_cost, space_of_network
from pricing.network import Allocation, Network, Route
from pricing.problem import Problem, joined, make_allocation, problem_of
from pricing.routes import cheapest_route
from pricing.shortest import shortest_path
from pricing.values import Certificate, Decision, FloatArray, Loads

GAP = 1e-8
"""Relative gap at which an allocation counts as the optimum."""

ROUNDING = 1e-9
"""Wardrop residual that counts as the optimum too: within a percent of capacity prices are known no better."""

LEAST_SHARE = 1e-6
"""Shares below this are what an interior point leaves behind, and are dropped."""

MANY, LARGE = 100, 200
"""Sessions, and links, beyond which flows by origin are faster than columns (ours)."""

_COARSE, _FINE = 1e-4, 1e-12

MOST_ROUNDS = 100


def resource_costs(problem: Problem) -> Costs:
    """f_r(x) = weight_r x D_r(x) with slope and curvature."""
    laws, weight = problem.laws, problem.weight

    def costs(load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return weight * laws.cost(load), weight * laws.marginal(load), weight * laws.marginal_slope(load)

    return costs


@dataclass(frozen=True)
class Optimum:
    """The optimal allocation, its certificate, and how many times routes were added."""

    allocation: Allocation
    certificate: Certificate
    rounds: int


def optimum(network: Network, offered: FloatArray | None = None, warm: Allocation | None = None) -> Optimum:
    """The allocation of least cost over all routes.

    Parameters
    ----------
    offered : array of shape (K,), optional
        bit/s of each session; the nominal rates by default. Sessions that offer nothing get their cheapest route.
    warm : Allocation, optional
        An allocation to start from, such as the last optimum.

    Raises
    ------
    Infeasible
        When the demand reaches the capacity of a cut or of the servers.
    NotConverged
        When the certificate reaches neither `GAP` nor `ROUNDING`.
    """
    problem = problem_of(network)
    rates = problem.rates if offered is None else np.asarray(offered, dtype=float)
    paths = all(session.kind != "multicast" for session in network.sessions)
    much = len(network.sessions) > MANY or len(network.links) > LARGE
    if paths and much and (found := _by_flows(problem, rates)):
        return found
    start = _start(network, rates, warm)
    active = {session.name for session, _ in problem.active(rates)}
    shares = {route: weight for route, weight in start if route.session in active}
    tolerance = _COARSE
    for rounds in range(MOST_ROUNDS):
        prices = problem.unit_prices(_load(problem, rates, shares))
        cheapest = [cheapest_route(problem, session, prices)[0] for session in network.sessions]
        added = [route for route in cheapest if route.session in active and route not in shares]
        if not added and tolerance == _FINE:
            idle = [route for route in cheapest if route.session not in active]
            allocation, certificate = _tidy(problem, rates, shares, idle)
            if _optimal(certificate):
                return Optimum(allocation, certificate, rounds)
            break
        tolerance = _COARSE if added else _FINE
        shares = _solve(problem, rates, shares | dict.fromkeys(added, 0.0), tolerance)
    gap = certify(network, make_allocation(list(shares), list(shares.values())), rates).gap
    raise NotConverged(f"network {network.name}: no optimum after {rounds} rounds, the gap is {gap:.2g}", rounds, gap)


def _by_flows(problem: Problem, rates: FloatArray) -> Optimum | None:
    """The optimum by `pricing.joint.network_flow`; None where that finds none, which the linear program explains."""
    network = problem.network
    try:
        routing = least_cost(space_of_network(network), resource_costs(problem), rates, GAP)
    except WardropError:
        return None
    allocation = routing.allocation(network)
    return Optimum(allocation, certify(network, allocation, rates), routing.rounds)


def _start(network: Network, rates: FloatArray, warm: Allocation | None) -> Allocation:
    """A strictly feasible allocation: the warm one, the shortest routes, or the least utilized."""
    problem = problem_of(network)

    def carries(allocation: Allocation) -> bool:
        return bool((problem.loads(allocation, rates) < (1 - STRICT) * problem.capacity).all())

    if warm is not None and carries(warm):
        return warm
    shortest = shortest_path(network)
    if carries(shortest):
        return shortest
    return least_top_utilization(network, rates)


def _load(problem: Problem, rates: FloatArray, shares: dict[Route, float]) -> FloatArray:
    return problem.loads(make_allocation(list(shares), list(shares.values())), rates)


def _solve(problem: Problem, rates: FloatArray, shares: dict[Route, float], tolerance: float) -> dict[Route, float]:
    """The best shares of these routes."""
    if not shares:
        return shares
    routes, index = list(shares), problem.network.session_index
    sessions = np.array([index[route.session] for route in routes])
    usage = problem.usage_matrix(routes) * rates[sessions]
    groups = np.unique(sessions, return_inverse=True)[1]
    found = descend(resource_costs(problem), usage, groups, np.array(list(shares.values())), tolerance)
    return dict(zip(routes, found.shares.tolist(), strict=True))


def _tidy(
    problem: Problem, rates: FloatArray, shares: dict[Route, float], idle: list[Route]
) -> tuple[Allocation, Certificate]:
    """The allocation without the dust of unused routes, and with the sessions that offer nothing.

    Mostly dust can just go; where it is enough to be felt, the rest is solved again; where a route really has so small
    a share, all stay.
    """
    for least in (LEAST_SHARE, 0.0):
        used = {route: share for route, share in shares.items() if share >= least}
        for again in (False, True):
            kept = _solve(problem, rates, used, _FINE) if again else used
            allocation = make_allocation([*kept, *idle], [*kept.values(), *([1.0] * len(idle))])
            certificate = certify(problem.network, allocation, rates)
            if _optimal(certificate):
                return allocation, certificate
    return allocation, certificate


def _optimal(certificate: Certificate) -> bool:
    return certificate.gap <= GAP or certificate.wardrop_residual <= ROUNDING


def decide_optimum(network: Network, loads: Loads, state: Any) -> Decision:
    """The optimum at the offered rates, from the last one; at the nominal rates while nothing is offered yet."""
    problem = problem_of(network)
    rates = loads.offered if loads.offered.any() else problem.rates
    best = optimum(network, rates, state)
    return Decision(problem.prices(joined(loads)), best.allocation, best.allocation)
