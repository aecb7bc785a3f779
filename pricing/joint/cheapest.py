"""The cheapest routes of all sessions at once: a tree from each origin, in place of a search for each session.

The same routes and costs as `pricing.routes.cheapest_route`, but that equal costs are settled by the order of links.
Multicast sessions have trees of their own, one search each.
"""

from __future__ import annotations

import numpy as np

from pricing.joint.network_flow import space_of_network
from pricing.network import Network, Route
from pricing.problem import Problem
from pricing.routes import cheapest_route, least_tree_cost, no_route
from pricing.values import FloatArray


def cheapest_costs(problem: Problem, prices: FloatArray) -> FloatArray:
    """Cost a bit/s of each session's cheapest route, or a lower bound where the lightest tree is not known, shape (K,).

    Parameters
    ----------
    prices : array of shape (R,)
        Price of a unit of load at each resource, none negative.

    Raises
    ------
    TopologyError
        When a session has no route with a way back for its answers.

    Notes
    -----
    A tree for each group of sessions of one origin: O(origins x links log links), compiled.
    """
    space = space_of_network(problem.network)
    costs = _checked(problem, space.trees(prices)[0][space.group_of, space.sinks])
    for k in _groups(problem.network):
        costs[k] = least_tree_cost(problem, problem.network.sessions[k], prices)
    return costs


def cheapest_routes(problem: Problem, prices: FloatArray) -> tuple[list[Route], FloatArray]:
    """Each session's cheapest route, and its cost a bit/s; as `cheapest_costs`."""
    network, space = problem.network, space_of_network(problem.network)
    far, by = space.trees(prices)
    costs = _checked(problem, far[space.group_of, space.sinks])
    tails, resource, cut = space.steps.tails.tolist(), space.steps.resource.tolist(), problem.link_count
    before, keys, routes = by.tolist(), list(network.link_index), []
    for session, group, origin, sink in zip(
        network.sessions, space.group_of.tolist(), space.origins.tolist(), space.sinks.tolist(), strict=True
    ):
        used, node = [], sink
        while node != origin:
            step = before[group][node]
            used.append(resource[step])
            node = tails[step]
        server = network.servers[used.pop(0) - cut].name if used and used[0] >= cut else ""
        routes.append(Route(session.name, tuple(keys[i] for i in reversed(used)), server))
    for k in _groups(network):
        routes[k], costs[k] = cheapest_route(problem, network.sessions[k], prices)
    return routes, costs


def _groups(network: Network) -> list[int]:
    """Places of the multicast sessions."""
    return [k for k, session in enumerate(network.sessions) if session.kind == "multicast"]


def _checked(problem: Problem, costs: FloatArray) -> FloatArray:
    for k in np.flatnonzero(~np.isfinite(costs)):
        raise no_route(problem.network.sessions[k])
    return np.asarray(costs)
