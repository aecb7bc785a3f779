"""Trees as routes: coverage, loads, prices, optimum and gap, against the region's own linear program."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.duplication import faults, regrown, route_of_links, simple, tree_route
from pricing.errors import Infeasible, TopologyError
from pricing.joint.feasible import least_top_utilization
from pricing.joint.optimum import optimum
from pricing.multicast.instance import Cast, from_network
from pricing.multicast.region import largest_scale
from pricing.network import Link, Network, Node, Route, Session
from pricing.outage import Outage, remains
from pricing.policy import get_policy, solve
from pricing.problem import evaluate, make_allocation, problem_of
from pricing.routes import cheapest_route, least_tree_cost

LINKS = ["S>A", "S>B", "A>X", "B>Y", "A>N", "B>N", "N>W", "W>X", "W>Y"]
GROUP = Session("k", "S", "multicast", ("X", "Y"), 1e6, group="239.0.0.1")


def butterfly(*sessions: Session) -> Network:
    """The butterfly of network coding with links of 1 Mbit/s."""
    links = tuple(Link(*link.split(">"), 1e6) for link in LINKS)
    return Network("butterfly", tuple(Node(name) for name in "SABXYNW"), links, (), sessions or (GROUP,))


def test_the_butterflys_bound_is_one_and_a_half_and_the_optimum_comes_near_it() -> None:
    net = butterfly()
    cast = Cast("k", "S", ("X", "Y"), 1.0)
    bound = largest_scale(from_network(net, (cast,), 1.0, 1e6)).scale
    assert bound == pytest.approx(1.5)
    top = problem_of(net).loads(least_top_utilization(net)).max() / 1e6
    assert 1 / top == pytest.approx(bound), "packings of trees are the region"
    with pytest.raises(Infeasible, match=r"0\.9375 of the rates"):
        least_top_utilization(butterfly(replace(GROUP, rate=1.6e6)))
    best = optimum(butterfly(replace(GROUP, rate=1.45e6)))
    assert best.certificate.gap < 1e-6


def test_distributed_rounds_find_the_same_trees_beside_a_unicast_session() -> None:
    net = butterfly(replace(GROUP, rate=1.2e6), Session("u", "A", "unicast", ("X",), 1e5))
    assert solve(net, get_policy("joint-distributed")).certificate.gap < 1e-3
    assert solve(net, get_policy("shortest-path")).certificate.gap == np.inf


def test_a_link_counts_for_each_copy_and_a_delay_for_each_member() -> None:
    net = butterfly()
    ways = {"X": (("S", "A"), ("A", "X")), "Y": (("S", "A"), ("A", "N"), ("N", "W"), ("W", "Y"))}
    for shared, copies in ((True, 1.0), (False, 2.0)):
        route = tree_route(GROUP, ways, shared)
        assert not list(faults(GROUP, route, GROUP.destinations))
        allocation = make_allocation([route], [1.0])
        loads = problem_of(net).loads(allocation, np.array([1e5])) / 1e5
        assert loads[net.link_index["S", "A"]] == copies
        found = evaluate(net, allocation, np.array([1e5]))
        each = dict(zip(net.link_index, found.link_delays, strict=True))
        mean = sum(each[link] for way in ways.values() for link in way) / 2
        assert found.mean_delay == pytest.approx(mean)


def test_what_is_no_tree_is_found_out() -> None:
    twice = Route("k", (("S", "A"), ("S", "B")), statuses=(("X", "Y"), ("Y",)))
    short = Route("k", (("S", "A"), ("A", "X")), statuses=(("X", "Y"), ("X",)))
    loose = Route("k", (("A", "X"),), statuses=(("X",),))
    assert all(list(faults(GROUP, route, GROUP.destinations)) for route in (twice, short, loose))


def test_a_network_says_all_that_is_wrong_with_a_group() -> None:
    bad = Session("k", "S", "multicast", ("X", "S", "X"), 1.0, group="10.0.0.1", response_bits=8.0)
    with pytest.raises(TopologyError) as said:
        butterfly(bad)
    assert [line.split(": ")[1] for line in str(said.value).splitlines()] == [
        "its source 'S' is among its destinations; leave it out",
        "'X' is a destination twice, once is accepted",
        "group",
        "response_bits",
    ]
    only = tuple(link for link in butterfly().links if "B" not in link.key and "W" not in link.key)
    with pytest.raises(TopologyError, match="no route from A to Y"):
        Network("n", butterfly().nodes, only, (), (replace(GROUP, source="A"),), whole=False)


def test_a_failed_link_leaves_the_trees_that_still_work_and_the_members_that_are_reached() -> None:
    net = butterfly()
    best = least_top_utilization(net)
    left = remains(net, Outage(frozenset({("A", "X")})))
    kept = left.surviving(best)
    assert kept.splits["k"]
    assert all(("A", "X") not in route.links for route, _ in kept)
    cut = remains(net, Outage(frozenset({("A", "X"), ("W", "X")})))
    assert cut.network.sessions[0].destinations == ("Y",)


RING = nx.DiGraph([pair for a, b in ("ab", "bc", "cd", "de", "ef", "fa", "ad", "be") for pair in ((a, b), (b, a))])
"""Six nodes that any one of the cables may leave whole."""

SOME = st.sets(st.sampled_from("bcdef"), min_size=1)


@settings(max_examples=60, deadline=None)
@given(SOME, SOME, st.integers(0, 10**6), st.sampled_from(sorted(RING.edges)))
def test_a_tree_grows_to_who_joins_and_loses_who_leaves(
    before: set[str], members: set[str], seed: int, failed: tuple[str, str]
) -> None:
    draw, whole = random.Random(seed), replace(GROUP, source="a", destinations=tuple("bcdef"))
    every = {name: list(nx.all_simple_paths(RING, "a", name)) for name in sorted(before)}
    ways = {name: tuple(pairwise(draw.choice(paths))) for name, paths in every.items()}
    left = RING.copy()
    left.remove_edges_from((failed, failed[::-1]))
    session = replace(whole, destinations=tuple(sorted(members)))
    route = regrown(session, tree_route(whole, ways, shared=draw.random() < 0.5), left)
    assert not list(faults(session, route, session.destinations))
    assert set(route.links) <= set(left.edges)
    for name in before & members:
        if set(ways[name]) <= set(left.edges):
            way = [link for link, status in zip(route.links, route.statuses, strict=True) if name in status]
            assert tuple(way) == ways[name], "who stays is served as before"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcde"), min_size=2, max_size=9))
def test_a_way_without_its_circles_is_simple_and_leads_to_the_same_end(nodes: list[str]) -> None:
    steps = [name for place, name in enumerate(nodes) if place == 0 or name != nodes[place - 1]]
    way = simple(tuple(pairwise(steps)))
    passed = [steps[0], *(dst for _, dst in way)]
    assert passed[-1] == steps[-1]
    assert len(set(passed)) == len(passed)
    assert all(link in pairwise(steps) for link in way)


def test_above_eight_destinations_the_bound_of_a_tree_holds() -> None:
    names = "abcdefghij"
    links = tuple(Link(a, b, 1e6) for hub in "XZ" for a, b in [("S", hub), *((hub, name) for name in names)])
    session = Session("k", "S", "multicast", tuple(names), 1e5, group="239.0.0.1")
    net = Network("many", tuple(Node(name) for name in "SXZ" + names), links, (), (session,))
    prices = np.random.default_rng(1).uniform(1, 2, len(links))
    route, cost = cheapest_route(problem_of(net), session, prices)
    assert not list(faults(session, route, session.destinations))
    assert 0 < least_tree_cost(problem_of(net), session, prices) <= cost
    assert route == route_of_links(session, route.links)
