"""The policy `market` in a tick: what is shed is refused at the ingress, prices are told, failures clear again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, number

from controller import tick
from controller.labels import REFUSED
from controller.measure import Key, Meter, Rate, Reader, counters_of
from controller.metrics import Exporter
from controller.rules import GATEWAY_MAC, diff
from pricing.market.dispatch import PERIOD
from pricing.network import Network, Session, SizeLaw
from pricing.outage import NOTHING, Outage
from pricing.policy import POLICIES
from pricing.values import Loads

MARKET = POLICIES["market"]
SIZE = SizeLaw("fixed", 83, 83, 83)


def network() -> Network:
    """a - b with a cheap server at b and a dear one at a; a asks two services, each 1,000 times a second."""
    base = small.network([("a", "b")], {"cheap": "b", "dear": "a"}, ["a"])
    common = {"kind": "anycast", "rate": 1e6, "size": SIZE, "response_bits": 1000.0, "flows": 64}
    sessions = (
        Session("batch", "a", destinations=("cheap", "dear"), service="batch", work=1.0, value=3e-3, **common),  # type: ignore[arg-type]
        Session("chat", "a", destinations=("cheap", "dear"), service="chat", work=0.5, **common),  # type: ignore[arg-type]
    )
    costs = {"cheap": 1e-3, "dear": 2e-3}
    servers = tuple(replace(one, cost=costs[one.name]) for one in base.servers)
    return replace(base, servers=servers, sessions=sessions, currency="EUR")


FABRIC = small.fabric(network(), 64)


def planned(state: tick.State) -> tuple[tick.Plan, tick.State]:
    plan = tick.plan(FABRIC, state)
    return plan, tick.acknowledged(state, plan)


def demanding(state: tick.State, factor: float) -> tick.State:
    rate = np.array([factor * one.rate for one in FABRIC.network.sessions])
    return replace(state, demand=replace(state.demand, rate=rate))


def test_a_step_is_cleared_within_a_period_and_what_is_shed_is_refused() -> None:
    """Twice the demand: 1,800 of 3,000 work/s fit, chat takes 1,000, batch is left 800 of 2,000."""
    _, state = planned(tick.first_state(FABRIC, MARKET))
    assert dict(state.served) == pytest.approx({"batch": 1.0, "chat": 1.0})
    state = demanding(state, 2.0)
    plans = []
    for _ in range(PERIOD):
        plan, state = planned(state)
        plans.append(plan)
    assert dict(plans[-2].served) == pytest.approx({"batch": 1.0, "chat": 1.0})
    assert dict(plans[-1].served) == pytest.approx({"batch": 0.4, "chat": 1.0})
    assert state.deals["batch"].count(REFUSED) == pytest.approx(0.6 * 64, abs=3)
    assert REFUSED not in state.deals["chat"]
    fake = FakeNetwork(FABRIC.plant)
    for change in diff(state.installed, {}):
        fake.apply(change)
    client, reached = FABRIC.plant.hosts["h-a"], {"batch": 0, "chat": 0}
    for service in reached:
        for port in range(20000, 20064):
            packet = {"eth_dst": number(GATEWAY_MAC), "eth_type": 0x800, "ip_proto": 17, "udp_src": port}
            address = number(FABRIC.plant.services[service])
            packet |= {"udp_dst": 7000, "ipv4_src": number(client.ip), "ipv4_dst": address}
            arrivals = fake.send("h-a", packet)
            reached[service] += len(arrivals)
            assert {one.host for one in arrivals} <= {"cheap", "dear"}
    assert reached == {"batch": pytest.approx(26, abs=3), "chat": 64}, "workloads are kept apart by their addresses"


def test_a_failure_is_cleared_at_the_next_tick() -> None:
    _, state = planned(tick.first_state(FABRIC, MARKET))
    cut = frozenset({("a", "b"), ("b", "a")})
    for outage, served in ((Outage(cut), {"batch": 0.4, "chat": 1.0}), (NOTHING, {"batch": 1.0, "chat": 1.0})):
        plan, state = planned(tick.with_outage(FABRIC, state, outage))
        assert dict(plan.served) == pytest.approx(served)
        servers = {route.server for route, _ in plan.decision.allocation}
        assert servers == ({"dear"} if outage else {"cheap", "dear"})


def test_prices_rents_and_what_is_shed_are_told() -> None:
    _, state = planned(demanding(tick.first_state(FABRIC, MARKET), 2.0))
    line = tick.describe(FABRIC, state)
    assert line["market"]["prices"] == pytest.approx({"batch": 3e-3, "chat": 1.5e-3})
    exporter = Exporter(FABRIC.network)
    exporter.line = line
    text = exporter.scrape()[1].decode()
    told = dict(row.rsplit(" ", 1) for row in text.splitlines() if row.startswith("wardrop_market"))
    assert float(told['wardrop_market_session_shed{session="batch"}']) == pytest.approx(1200)
    assert float(told['wardrop_market_session_price{session="batch"}']) == pytest.approx(3e-3)
    assert float(told['wardrop_market_server_price{server="dear"}']) == pytest.approx(3e-3)
    assert float(told['wardrop_market_server_rent{server="dear"}']) == pytest.approx(1e-3 * 900)
    assert told['wardrop_market_age_rounds{currency="EUR"}'] == "0.0"
    assert line["links"][0]["price"] < 1, "the price in seconds stays one"
    exporter.line = tick.describe(FABRIC, planned(tick.first_state(FABRIC, POLICIES["joint"]))[1])
    assert "wardrop_market_session_price{" not in exporter.scrape()[1].decode()
    cut = tick.describe(FABRIC, planned(tick.with_outage(FABRIC, state, Outage(servers=frozenset({"dear"}))))[1])
    assert cut["market"]["servers"][1] is None


def test_the_load_of_a_server_of_several_works_is_told_by_labels() -> None:
    _, state = planned(tick.first_state(FABRIC, MARKET))
    rates: dict[Key, Rate] = {}
    for number_, (_, (leave,)) in counters_of(FABRIC, state.labels):
        rate = 100.0 if state.labels.path(number_).host == "cheap" else 10.0
        rates[leave] = Rate(rate, 1000 * rate, 1.0)
    for name in ("cheap", "dear"):
        host = FABRIC.plant.hosts[name]
        rates["out", host.node, host.port] = Rate(999.0, 0.0, 1.0)
    nothing = Loads(np.zeros(2), np.zeros(2), np.zeros(2))
    measured = Reader(FABRIC, state.labels, Meter({}, rates), 1.0).measured(lambda: nothing)
    paths = [state.labels.path(number_) for number_, _ in counters_of(FABRIC, state.labels)]
    works = {"batch": 1.0, "chat": 0.5}
    cheap = sum(100 * works[path.session] for path in paths if path.host == "cheap")
    assert measured.loads.servers[0] == pytest.approx(cheap)
