"""Cheapest, shortest and next shortest routes, and their ties."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from small_networks import abilene, anycast, cables, network, unicast

from pricing.errors import TopologyError
from pricing.joint.cheapest import cheapest_costs, cheapest_routes
from pricing.network import Link, Server
from pricing.policy import POLICIES
from pricing.problem import problem_of
from pricing.routes import cheapest_route, equal_routes, nearest_routes, shortest_routes
from pricing.shortest import equal_cost, shortest_path

SQUARE = cables(("a", "b", 9.0), ("b", "d", 9.0), ("a", "c", 9.0), ("c", "d", 9.0))


def test_ties_go_by_name() -> None:
    net = network(SQUARE[::-1], sessions=[unicast("k", "a", "d", 1.0)])
    assert shortest_routes(net)[0].nodes == ("a", "b", "d")


def test_propagation_decides_before_hops() -> None:
    net = network(
        [Link("a", "d", 9.0, propagation=0.009), Link("a", "b", 9.0, propagation=0.001), Link("b", "d", 9.0)],
        sessions=[unicast("k", "a", "d", 1.0)],
    )
    assert shortest_routes(net)[0].nodes == ("a", "b", "d")


def test_equal_routes_divide_at_every_node() -> None:
    links = (*SQUARE, *cables(("a", "e", 9.0), ("e", "d", 9.0), ("b", "f", 9.0)))
    net = network(links, sessions=[unicast("k", "a", "d", 1.0)])
    assert [(r.nodes[1], w) for r, w in equal_cost(net)] == [(n, pytest.approx(1 / 3)) for n in "bce"]


def test_equally_near_servers_are_equal_routes() -> None:
    servers = [Server("one", "b", 9.0), Server("two", "c", 9.0), Server("far", "d", 9.0)]
    net = network(SQUARE, servers, [anycast("k", "a", ["one", "two", "far"], 1.0)])
    assert {r.server: w for r, w in equal_routes(net, net.sessions[0])} == {"one": 0.5, "two": 0.5}


def test_the_nearest_server_may_be_here() -> None:
    net = network(SQUARE, [Server("s", "a", 9.0)], [anycast("k", "a", ["s"], 1.0)])
    (route,) = shortest_routes(net)
    assert (route.links, route.server) == ((), "s")


def test_cheapest_route_agrees_with_an_exhaustive_search() -> None:
    net = abilene()
    problem, rng = problem_of(net), np.random.default_rng(7)
    for session in net.sessions:
        prices = rng.uniform(0.1, 1.0, len(problem.capacity))
        route, cost = cheapest_route(problem, session, prices)
        index, amount = problem.usage(route)
        assert cost == pytest.approx(amount @ prices[index])
        others = []
        for server in net.servers:
            for nodes in nx.all_simple_paths(net.graph, session.source, server.node):
                total = prices[problem.link_count + net.server_index[server.name]] / session.frame_bits
                for a, b in itertools.pairwise(nodes):
                    back = prices[net.link_index[b, a]] * session.response_bits / session.frame_bits
                    total += prices[net.link_index[a, b]] + back
                others.append(total)
            if server.node == session.source:
                others.append(prices[problem.link_count + net.server_index[server.name]] / session.frame_bits)
        assert cost == pytest.approx(min(others))


def test_nearest_routes_come_in_order_for_each_server() -> None:
    net = abilene()
    for session in net.sessions:
        routes = nearest_routes(net, session, 3)
        assert len(set(routes)) == len(routes)
        for server in session.destinations:
            hops = [len(route.links) for route in routes if route.server == server]
            assert hops == sorted(hops)
            assert len(hops) in (1, 3)


def test_answers_without_a_way_back_are_told() -> None:
    net = network([Link("a", "b", 9.0)], sessions=[unicast("k", "a", "b", 1.0, response_bits=1.0)])
    with pytest.raises(TopologyError, match="session k: no route from a to b whose every link has its reverse"):
        shortest_path(net)
    with pytest.raises(TopologyError, match="session k"):
        nearest_routes(net, net.sessions[0], 2)
    with pytest.raises(TopologyError, match="session k"):
        cheapest_route(problem_of(net), net.sessions[0], np.ones(1))


def test_policies_of_shortest_routes_ignore_loads() -> None:
    net = abilene()
    problem = problem_of(net)
    from pricing.values import Loads

    loads = Loads(np.full(problem.link_count, 1e9), np.zeros(3), problem.rates)
    for name, expected in (("shortest-path", shortest_path(net)), ("ecmp", equal_cost(net))):
        decision = POLICIES[name].decide(net, loads, None)
        assert decision.allocation == expected
        assert np.isfinite(decision.prices.links).all()


@pytest.mark.parametrize("seed", range(5))
def test_trees_find_what_a_search_for_each_session_finds(seed: int) -> None:
    problem = problem_of(abilene())
    prices = np.random.default_rng(seed).uniform(1, 2, len(problem.capacity))
    found = [cheapest_route(problem, session, prices) for session in problem.network.sessions]
    routes, costs = cheapest_routes(problem, prices)
    assert routes == [route for route, _ in found]
    assert costs == pytest.approx([cost for _, cost in found])
    assert cheapest_costs(problem, prices) == pytest.approx(costs)
