"""Routing that looks at no price: the shortest path, and all equally short ones (ECMP).

These are what a network does by itself, and what the priced policies are measured against. Length is propagation; where
the network has none, hops. An anycast session goes to its nearest server.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pricing.network import Allocation, Network
from pricing.problem import joined, make_allocation, problem_of
from pricing.routes import equal_routes, shortest_routes
from pricing.values import Decision, Loads


def shortest_path(network: Network) -> Allocation:
    """Each session on its shortest route."""
    return _shortest_path(network.plain)


@lru_cache(maxsize=32)
def _shortest_path(network: Network) -> Allocation:
    routes = shortest_routes(network)
    return make_allocation(routes, [1.0] * len(routes))


def equal_cost(network: Network) -> Allocation:
    """Each session over all of its shortest routes, divided at every node equally among the next hops."""
    pairs = [pair for session in network.sessions for pair in equal_routes(network, session)]
    return make_allocation([route for route, _ in pairs], [weight for _, weight in pairs])


def decide_shortest(network: Network, loads: Loads, state: Any) -> Decision:
    """The shortest routes, whatever the loads; the prices shown are those of the loads."""
    return Decision(problem_of(network).prices(joined(loads)), shortest_path(network), state)


def decide_equal(network: Network, loads: Loads, state: Any) -> Decision:
    """Equal-cost multipath, whatever the loads; the prices shown are those of the loads."""
    return Decision(problem_of(network).prices(joined(loads)), equal_cost(network), state)
