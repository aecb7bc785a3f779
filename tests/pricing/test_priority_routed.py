"""Routes with classes: against a scan of all splits, against the optimum without classes, and their certificate."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pricing.errors import WardropError
from pricing.joint.optimum import optimum
from pricing.network import Link, Network, Node, Route, Server, Session, SizeLaw
from pricing.policy import POLICIES
from pricing.priority.economy import Economy, Machine, Program, Service, Visit
from pricing.priority.routed import certify_classes, rerouted, routed
from pricing.priority.sizes import Size
from pricing.priority.values import Quadratic
from pricing.problem import make_allocation
from pricing.shortest import shortest_path
from pricing.values import Loads

FIXED = SizeLaw("fixed", 500.0)


def two_ways(**own: object) -> Network:
    """From a to b there are a short way and a longer one by c; a second session fills the short one before anybody."""
    cables = {("a", "b"): 4e6, ("a", "c"): 3e6, ("b", "c"): 3e6}
    links = tuple(Link(*ends, capacity) for both, capacity in cables.items() for ends in (both, both[::-1]))
    sessions = (
        Session("first", "a", "unicast", ("b",), 1.5e6, FIXED, klass=1, delay_cost=8.0),
        Session("second", "a", "unicast", ("b",), 3e6, FIXED, klass=2, delay_cost=1.0),
    )
    sessions = tuple(replace(session, **own) for session in sessions)  # type: ignore[arg-type]
    return Network("ways", tuple(map(Node, "abc")), tuple(sorted(links, key=lambda x: x.key)), (), sessions)


def rates_of(network: Network) -> np.ndarray:
    return np.array([session.packet_rate for session in network.sessions])


def ways(session: str) -> list[Route]:
    return [Route(session, (("a", "b"),)), Route(session, (("a", "c"), ("c", "b")))]


def test_no_split_of_a_fine_scan_costs_less() -> None:
    network = two_ways()
    rates = rates_of(network)
    found = routed(network, rates)
    assert found.minimum
    assert found.certificate.excess < 1e-8
    assert found.certificate.cost == pytest.approx(found.costs[0])
    costs = []
    for a in np.linspace(0, 1, 51):
        for b in np.linspace(0, 1, 51):
            split = make_allocation([*ways("first"), *ways("second")], [a, 1 - a, b, 1 - b])
            costs.append(certify_classes(network, split, rates).cost)
    assert found.certificate.cost <= min(costs)
    assert min(costs) < 1.01 * found.certificate.cost
    shares = {name: dict(split) for name, split in found.allocation.splits.items()}
    assert shares["first"][ways("first")[0]] > 0.9 > shares["second"][ways("second")[0]]


def test_with_one_class_it_is_the_optimum_of_mean_delay() -> None:
    network = two_ways(klass=1, delay_cost=1.0)
    best, found = optimum(network).allocation, routed(network, rates_of(network))
    mine, theirs = (certify_classes(network, each, rates_of(network)) for each in (found.allocation, best))
    assert mine.cost == pytest.approx(theirs.cost, rel=1e-9)
    assert theirs.excess < 1e-6


def test_the_certificate_tells_what_does_not_rest_and_what_overflows() -> None:
    network = two_ways()
    rates = rates_of(network)
    halves = make_allocation([*ways("first"), *ways("second")], [0.5, 0.5, 0.5, 0.5])
    told = certify_classes(network, halves, rates)
    assert told.excess > 0.05
    assert told.worst > 0
    assert certify_classes(network, shortest_path(network), rates).cost == np.inf
    assert certify_classes(network, halves, 0 * rates).cost == 0.0


def test_a_route_that_was_not_considered_is_found_by_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricing.priority.routed.NEAREST", 1)
    network = two_ways()
    whole = routed(network, rates_of(network))
    assert len(whole.allocation.splits["second"]) == 2
    assert whole.certificate.excess < 1e-6


def test_servers_answers_and_sessions_that_ask_for_nothing() -> None:
    network = two_ways()
    servers = Server("near", "a", 300.0), Server("far", "b", 300.0)
    sessions = tuple(
        Session(name, "a", "anycast", ("far", "near"), rate, FIXED, response_bits=800.0, service="s", klass=k)
        for name, k, rate in (("idle", 1, 0.0), ("web", 2, 1.6e6))
    )
    network = replace(network, servers=servers, sessions=sessions)
    found = routed(network, rates_of(network))
    assert found.certificate.excess < 1e-8
    assert {route.server for route, _ in found.allocation.splits["web"]} == {"near", "far"}
    assert found.allocation.splits["idle"] == shortest_path(network).splits["idle"]


def test_what_cannot_be_is_refused() -> None:
    group = Session("g", "a", "multicast", ("b", "c"), 1e5, group="239.1.1.1")
    network = two_ways()
    network = replace(network, sessions=(*network.sessions, group))
    with pytest.raises(WardropError, match="sessions g: multicast"):
        routed(network, rates_of(network))
    visit = Program("p", [Visit("m", Size(1.0))])
    with pytest.raises(WardropError, match=r"service s: classes \[3\]; 1 to 2 are accepted"):
        Economy([Machine("m", 1.0)], [Service("s", Quadratic(1.0, 1.0), 1.0, [visit], classes=(3,))], 2)


def test_as_a_policy_it_routes_by_class_and_publishes_prices_of_these_routes() -> None:
    network = two_ways()
    offered = np.array([session.rate for session in network.sessions])
    loads = Loads(np.zeros(len(network.links)), np.zeros(0), offered)
    decision = POLICIES["joint-priority"].decide(network, loads, None)
    assert certify_classes(network, decision.allocation, rates_of(network)).excess < 1e-6
    first, second = decision.state.prices
    assert first > second > 0, "the first class pays for those it overtakes"
    again = POLICIES["joint-priority"].decide(network, loads, decision.state)
    assert again.allocation == decision.allocation


def test_decisions_on_a_running_network_lead_to_where_the_search_does() -> None:
    network = two_ways()
    rates, allocation = rates_of(network), shortest_path(network)
    costs = [certify_classes(network, allocation, rates).cost]
    for _ in range(5):
        allocation = rerouted(network, rates, allocation)
        costs.append(certify_classes(network, allocation, rates).cost)
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(costs))
    assert costs[-1] == pytest.approx(routed(network, rates, starts=0).certificate.cost, rel=1e-4)
    assert rerouted(network, np.zeros(len(rates)), allocation) == allocation


def test_after_a_failure_it_goes_on_from_what_is_left() -> None:
    network, policy = two_ways(), POLICIES["joint-priority"]
    left = shortest_path(network)
    memory = policy.resume(network, left, rates_of(network))
    assert (
        policy.decide(network, Loads(np.zeros(len(network.links)), np.zeros(0), np.zeros(2)), memory).allocation == left
    )
