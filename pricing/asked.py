"""The policy that decides nothing: it carries out what agents ask for, each session's split as its source wants it.

What nobody asked for yet goes by the shortest route. Routes that have failed are left out of what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.network import Allocation, Network, Route
from pricing.problem import joined, make_allocation, problem_of
from pricing.shortest import shortest_path
from pricing.values import Decision, FloatArray, Loads

Split = tuple[tuple[Route, float], ...]
"""Routes of one session with their weights, sorted, which add up to 1."""


def decide_asked(network: Network, loads: Loads, state: Mapping[str, Split] | None) -> Decision:
    """What was asked for, as far as it works; the prices shown are those of the loads."""
    asked, shortest = state or {}, shortest_path(network)
    chosen: list[tuple[Route, float]] = []
    for session in network.sessions:
        works = [pair for pair in asked.get(session.name, ()) if _works(network, pair[0])]
        chosen += works or shortest.splits[session.name]
    allocation = make_allocation(*zip(*chosen, strict=True)) if chosen else Allocation({})
    return Decision(problem_of(network).prices(joined(loads)), allocation, asked)


def resume_asked(_network: Network, allocation: Allocation, _offered: FloatArray) -> Mapping[str, Any]:
    """What is in force counts as asked for."""
    return dict(allocation.splits)


def _works(network: Network, route: Route) -> bool:
    """Whether its links, those of its answers, and its server are there."""
    try:
        problem_of(network).usage(route)
    except KeyError:
        return False
    return True
