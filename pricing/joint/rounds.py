"""The safe iteration on any network: rounds, and between them routes that prices make attractive.

Prices of all links and servers are told in every round, so each session can look for its cheapest route in the whole
network by itself (Dijkstra at its own ingress). One that is cheaper than all it knows joins with a share so small that
nobody's headroom shrinks by more than a hundredth. The gap is then a gap to the optimum over all routes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pricing.errors import NotConverged
from pricing.joint.feasible import STRICT, least_top_utilization
from pricing.joint.optimum import resource_costs
from pricing.joint.safe import GAP, MOST_ROUNDS, State, Task, begin, numbers_told, relative_gap, step
from pricing.network import Allocation, Network, Route
from pricing.problem import Problem, make_allocation, problem_of
from pricing.routes import cheapest_route, nearest_routes
from pricing.shortest import shortest_path
from pricing.values import FloatArray

NEAREST = 3
"""Shortest routes to each server (or node) that a session knows from the start."""

JOINS = 1e-9
"""Part of the cheapest known cost that a new route must be cheaper by."""


@dataclass(frozen=True)
class NetworkRun:
    """An allocation, its certified gap before the first round and after each, rounds, and numbers told in all."""

    allocation: Allocation
    gaps: tuple[float, ...]
    rounds: int
    numbers: int


def task_of(problem: Problem, routes: list[Route], rates: FloatArray) -> Task:
    """The task of these routes, of sessions that offer something, at the sessions' `rates` (K,)."""
    of = np.array([problem.network.session_index[route.session] for route in routes])
    groups = np.unique(of, return_inverse=True)[1]
    return Task(problem.usage_matrix(routes) * rates[of], groups, resource_costs(problem), problem.capacity)


def iterate(
    network: Network,
    offered: FloatArray | None = None,
    start: Allocation | None = None,
    gap: float = GAP,
    most_rounds: int = MOST_ROUNDS,
) -> NetworkRun:
    """Rounds of `pricing.joint.safe.step` until the gap to the optimum over all routes is reached.

    Parameters
    ----------
    offered : array of shape (K,), optional
        bit/s of each session; the nominal rates by default. Sessions that offer nothing get their cheapest route.
    start : Allocation, optional
        Strictly feasible; found when none is given.

    Raises
    ------
    Infeasible
        When the start is not strictly feasible, or none exists.
    NotConverged
        When `most_rounds` did not reach the gap.
    """
    problem = problem_of(network)
    rates = problem.rates if offered is None else np.asarray(offered, dtype=float)
    sessions = [session for session, _ in problem.active(rates)]
    active = {session.name for session in sessions}
    if start is None:
        start = find_start(network, rates)
    idle = [route for route, _ in start if route.session not in active]
    if not active:
        return NetworkRun(start, (0.0,), 0, 0)
    begun = {route: weight for route, weight in start if route.session in active}
    known = dict.fromkeys(begun)
    known.update((route, None) for s in sessions for route in nearest_routes(network, s, NEAREST))
    routes = sorted(known, key=lambda route: (route.session, str(route)))
    task = task_of(problem, routes, rates)
    state = begin(task, np.array([begun.get(route, 0.0) for route in routes]))
    best, numbers, gaps = -np.inf, 0, list[float]()
    for rounds in range(most_rounds + 1):
        prices = problem.unit_prices(task.load(state.shares))
        cheapest = [cheapest_route(problem, session, prices) for session in sessions]
        added = _attractive(task, routes, prices, rates, problem, cheapest)
        if added:
            routes = [*routes, *added]
            task, state = _join(task_of(problem, routes, rates), state)
        best = max(best, task.bound(state.shares))
        gaps.append(relative_gap(task.cost(state.shares), best))
        if gaps[-1] <= gap:
            every = [*zip(routes, state.shares.tolist(), strict=True), *((route, 1.0) for route in idle)]
            allocation = make_allocation(*zip(*every, strict=True))
            return NetworkRun(allocation, tuple(gaps), rounds, numbers)
        numbers += numbers_told(task)
        state = step(task, state)
    raise NotConverged(
        f"network {network.name}: no gap of {gap:.1e} in {most_rounds} rounds, it is {gaps[-1]:.2e}",
        most_rounds,
        gaps[-1],
    )


def find_start(network: Network, rates: FloatArray) -> Allocation:
    """The shortest routes where they are strictly feasible, else the least top utilization.

    Raises
    ------
    Infeasible
        When no allocation carries the rates.
    """
    problem, shortest = problem_of(network), shortest_path(network)
    if (problem.loads(shortest, rates) < (1 - STRICT) * problem.capacity).all():
        return shortest
    return least_top_utilization(network, rates)


def _attractive(
    task: Task,
    routes: list[Route],
    prices: FloatArray,
    rates: FloatArray,
    problem: Problem,
    cheapest: list[tuple[Route, float]],
) -> list[Route]:
    """Routes that are cheaper than every known one of their session."""
    costs = task.usage.T @ prices
    found = []
    for route, cost in cheapest:
        k = problem.network.session_index[route.session]
        least = min(c for r, c in zip(routes, costs, strict=True) if r.session == route.session)
        if rates[k] * cost < least * (1 - JOINS) and route not in routes:
            found.append(route)
    return found


def _join(task: Task, state: State) -> tuple[Task, State]:
    """The state with new routes, which are the task's last, at shares that nobody's headroom feels."""
    count = len(state.shares)
    new = np.arange(count, len(task.groups))
    shares = np.append(state.shares, np.zeros(len(new)))
    room = task.capacity - task.load(shares)
    usage = task.usage[:, new]
    with np.errstate(divide="ignore"):
        fits = np.where(usage > 0, 0.01 * room[:, None] / (len(new) * np.maximum(usage, 1e-300)), 0.01).min(axis=0)
    scale = np.ones(len(task.members))
    np.subtract.at(scale, task.groups[new], fits)
    shares = np.append(state.shares, fits / scale[task.groups[new]]) * scale[task.groups]
    barrier = float(state.shares @ state.slack) / count
    return task, replace(state, shares=shares, slack=np.append(state.slack, barrier / fits))
