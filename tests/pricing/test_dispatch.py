"""The market of a network that runs: the prices of its market file, every period, after failures, within limits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pricing.market import dispatch
from pricing.market.clearing import clear
from pricing.market.dispatch import PERIOD, SHARE, decide_market
from pricing.market.model import scaled
from pricing.network import Link, Network, Node, Server, Session, SizeLaw
from pricing.outage import Outage, remains
from pricing.policy import POLICIES, solve
from pricing.problem import problem_of
from pricing.values import Decision, Loads
from topologies.live import scenario_of
from topologies.market import load
from topologies.scenario import dump
from topologies.scenario import load as scenario

FRAME = SizeLaw("fixed", 958, 958, 958)


def session(name: str, source: str = "a", **fields: object) -> Session:
    """A session of 1,000 requests/s of 1,000 bytes, answered by as much: 8 Mbit/s."""
    given = {"kind": "anycast", "destinations": ("cheap", "dear"), "rate": 8e6, "size": FRAME, "service": name}
    return Session(name, source, **{**given, "response_bits": 8000.0, **fields})  # type: ignore[arg-type]


def pair(*sessions: Session, capacity: float = 4e6) -> Network:
    """A dear server at a, a cheap one at b, 5 ms away over a cable of `capacity`."""
    return Network(
        "pair",
        (Node("a"), Node("b")),
        (Link("a", "b", capacity, 5e-3, fee=1e-9), Link("b", "a", capacity, 5e-3, fee=1e-9)),
        (Server("cheap", "b", 4000.0, cost=1e-3), Server("dear", "a", 4000.0, cost=3e-3)),
        sessions,
        currency="EUR",
    )


def offered(network: Network, factor: float = 1.0) -> Loads:
    rates = factor * np.array([one.rate for one in network.sessions])
    return Loads(np.zeros(len(network.links)), np.zeros(len(network.servers)), rates)


def decided(network: Network, state: object = None, factor: float = 1.0) -> Decision:
    return decide_market(network, offered(network, factor), state)


def test_two_nodes_by_hand() -> None:
    """The cable takes 0.9 x 4 of 8 Mbit/s; the dear server sets the price, the cable earns the difference."""
    decision = decided(pair(session("chat")))
    weights = {route.server: weight for route, weight in decision.allocation}
    assert weights == pytest.approx({"cheap": 0.45, "dear": 0.55})
    quotes = decision.quotes
    assert quotes is not None
    assert quotes.sessions["chat"] == pytest.approx(3e-3)
    way = quotes.links["a", "b"], quotes.links["b", "a"]
    assert sum(quote.price for quote in way) * 8000 == pytest.approx(2e-3), "what the cheaper work is worth"
    assert sum(quote.rent for quote in way) == pytest.approx((2e-3 - 2 * 8e-6) * 450)
    assert (quotes.links["a", "b"].load, quotes.servers["cheap"].load) == pytest.approx((3.6e6, 450))
    assert (quotes.servers["dear"].price, quotes.servers["dear"].rent) == pytest.approx((3e-3, 0))
    assert decision.served == pytest.approx([1.0])
    assert quotes.currency == "EUR"


def test_it_is_cleared_once_in_a_period_and_at_once_after_a_failure() -> None:
    network = pair(session("chat"))
    first = decided(network)
    state, allocations = first.state, [first.allocation]
    for _ in range(PERIOD):
        decision = decided(network, state, factor=0.5)
        state = decision.state
        allocations.append(decision.allocation)
    assert all(each == first.allocation for each in allocations[:-1])
    assert {route.server: weight for route, weight in allocations[-1]} == pytest.approx({"cheap": 0.9, "dear": 0.1})
    left = remains(network, Outage(servers=frozenset({"dear"}))).network
    cut = decided(left, POLICIES["market"].resume(left, first.allocation, offered(left).offered))
    assert [route.server for route, _ in cut.allocation] == ["cheap"]
    assert cut.served == pytest.approx([0.45])
    assert cut.quotes is not None
    assert cut.quotes.short == ("chat",)
    assert cut.quotes.shed == pytest.approx({"chat": 550.0})


def test_demand_that_no_longer_fits_is_cleared_at_once_and_silence_clears_what_is_announced() -> None:
    network = pair(session("chat"))
    quiet = decided(network, factor=0.0)
    assert quiet.allocation == decided(network).allocation
    full = decided(network, quiet.state)
    assert full.quotes is not None
    assert full.quotes.age == 1, "it fits, so nothing is cleared"
    nearly = decided(network, full.state, factor=1.04)
    assert nearly.allocation == full.allocation
    more = decided(network, nearly.state, factor=1.06)
    assert more.quotes is not None
    assert more.quotes.age == 0
    assert {route.server: weight for route, weight in more.allocation} == pytest.approx(
        {"cheap": 0.45 / 1.06, "dear": 1 - 0.45 / 1.06}
    )
    again = decided(network, more.state, factor=1.06)
    assert again.quotes is not None
    assert again.quotes.age == 1, "what is shed or cleared full does not clear again"


def test_what_is_not_worth_its_price_is_shed_and_what_must_be_served_comes_first() -> None:
    """Both ask 1,000 requests/s; 500 fit onto the two servers for each work of 7.2."""
    chat, batch = session("chat", work=4.0), session("batch", work=4.0, value=20e-3)
    network = pair(chat, batch, capacity=1e9)
    decision = decided(network)
    assert decision.served == pytest.approx([1.0, 0.8])
    assert decision.quotes is not None
    assert decision.quotes.short == (), "only what must be served is named"
    assert decision.quotes.sessions == pytest.approx({"chat": 20e-3, "batch": 20e-3})
    poor = decided(pair(chat, replace(batch, value=1e-3), capacity=1e9))
    assert poor.served == pytest.approx([1.0, 0.0])
    assert "batch" in poor.allocation.splits, "it keeps a route, on which nothing is let in"


def test_limits_are_those_of_the_scenario_where_nothing_is_emulated() -> None:
    near, far = session("near", limit=9e-3), session("far", limit=10e-3)
    network = pair(near, far, capacity=1e9)
    for emulated in (
        network,
        replace(network, links=tuple(replace(one, propagation=0.0, latency=5e-3) for one in network.links)),
    ):
        servers = {route.session: route.server for route, _ in decided(emulated).allocation}
        assert servers == {"near": "dear", "far": "cheap"}
    left = remains(network, Outage(servers=frozenset({"dear"}))).network
    cut = decided(left)
    assert cut.served == pytest.approx([0.0, 1.0])
    assert cut.quotes is not None
    assert cut.quotes.short == ("near",)
    assert set(cut.quotes.sessions) == {"far"}
    nobody = decided(remains(pair(near), Outage(servers=frozenset({"dear"}))).network)
    assert nobody.served == pytest.approx([0.0])


def test_nodes_are_reached_and_silence_has_a_price() -> None:
    bulk = session("bulk", kind="unicast", destinations=("b",), service="")
    quiet = session("quiet", rate=0.0, tokens=10.0)
    decision = decided(pair(bulk, quiet, capacity=16e6))
    assert {route.session: route.server for route, _ in decision.allocation} == {"bulk": "", "quiet": "cheap"}
    assert decision.quotes is not None
    assert decision.quotes.sessions == pytest.approx({"bulk": 16e-6, "quiet": 1e-4 + 16e-7})


def test_sessions_that_differ_in_any_way_are_workloads_of_their_own() -> None:
    same = session("one", "a"), session("two", "b", service="one")
    other = session("big", "a", service="one", response_bits=80_000.0)
    twin = session("twin", "a", service="one")
    base = dispatch.ground(pair(*same, other, twin))
    assert base.names[0] == base.names[1]
    assert len(set(base.names)) == len(base.workloads) == 3, "a region asks a workload once"


@pytest.mark.parametrize("factor", [1.0, 1.03])
def test_us_5_on_packets_is_its_market_scaled(factor: float) -> None:
    """The same prices, the same full links, the same loads a thousandth as large."""
    file, network = load("us-5"), scenario("us-5").network
    expected = clear(scaled(file.market, factor))
    found = dispatch.dispatch(network, factor * problem_of(network).rates)
    assert found.clearing is not None
    assert found.clearing.saturated() == expected.saturated()
    assert len(expected.saturated()) == 4 or factor != 1
    for one in network.sessions:
        assert found.quotes.sessions[one.name] == pytest.approx(expected.price(one.source, one.service), rel=2e-3)
    loads = problem_of(network).loads(found.allocation, factor * problem_of(network).rates)
    wanted = 1e-3 * expected.link_loads[:, 0]
    assert loads[: len(network.links)] == pytest.approx(wanted, rel=0.01, abs=100)
    assert (loads <= SHARE * (1 + 1e-6) * problem_of(network).capacity).all()
    assert found.served == pytest.approx(np.ones(25))


def test_the_library_has_us_5_as_it_follows_from_its_market() -> None:
    ours, derived = scenario("us-5"), scenario_of(load("us-5"))
    assert dump(ours) == dump(derived), "write it anew: bin/wardrop market us-5 --scenario topologies/library/us-5.yaml"
    packets = sum(one.packet_rate * (1 + one.answer_frames) for one in ours.network.sessions)
    assert 1000 < packets < 1500
    turns = {one.name: one.flows / one.packet_rate for one in ours.network.sessions if one.flows > 50}
    assert max(turns.values()) == pytest.approx(30, rel=0.02), "every flow has a turn in half a minute"
    assert all(math.isinf(one.value) for one in ours.network.sessions)


def test_the_policy_stands_still_on_its_own_loads() -> None:
    network = pair(session("chat"))
    solution = solve(network, POLICIES["market"])
    assert solution.settled
    assert solution.rounds == 2
