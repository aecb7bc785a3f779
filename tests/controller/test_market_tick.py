"""The policy `market` in a tick: what is shed is refused at the ingress, prices are told, failures clear again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, number

from controller import demand, tick
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


def measuring(state: tick.State, factor: float, now: float) -> tick.State:
    """The state after a second in which sessions sent so many times their rate."""
    seen = np.array([factor * one.rate for one in FABRIC.network.sessions])
    learnt = demand.learn(FABRIC.network, state.demand, seen, np.ones(2, dtype=bool), now)
    return replace(state, demand=learnt)


def reached(state: tick.State) -> dict[str, Counter[str]]:
    """Where the in-memory network brings 64 packets of each session."""
    fake = FakeNetwork(FABRIC.plant)
    for change in diff(state.installed, {}):
        fake.apply(change)
    found: dict[str, Counter[str]] = {"batch": Counter(), "chat": Counter()}
    for service, servers in found.items():
        for port in range(20000, 20064):
            packet = {"eth_dst": number(GATEWAY_MAC), "eth_type": 0x800, "ip_proto": 17, "udp_src": port}
            packet |= {"udp_dst": 7000, "ipv4_src": number(FABRIC.plant.hosts["h-a"].ip)}
            packet |= {"ipv4_dst": number(FABRIC.plant.services[service])}
            servers.update(one.host for one in fake.send("h-a", packet))
    return found


def test_a_step_that_is_measured_is_cleared_within_a_period_and_what_is_shed_is_refused() -> None:
    """Twice the demand: 1,800 of 3,000 work/s fit, chat takes 1,000, batch is left 800 of 2,000; then back."""
    _, state = planned(tick.first_state(FABRIC, MARKET))
    for second in range(1, 4):
        _, state = planned(measuring(state, 1.0, second))
    assert dict(state.served) == pytest.approx({"batch": 1.0, "chat": 1.0})
    for second in range(4, 6):
        _, state = planned(measuring(state, 2.0, second))
    assert dict(state.served) == pytest.approx({"batch": 0.4, "chat": 1.0}, rel=1e-3), "too much is cleared at once"
    assert state.deals["batch"].count(REFUSED) == pytest.approx(0.6 * 64, abs=3)
    assert REFUSED not in state.deals["chat"]
    arrived = {service: servers.total() for service, servers in reached(state).items()}
    assert arrived == {"batch": pytest.approx(26, abs=3), "chat": 64}, "workloads are kept apart by their addresses"
    parts = []
    for second in range(6, 6 + PERIOD):
        plan, state = planned(measuring(state, 1.0, second))
        parts.append(plan.served["batch"])
    assert parts[0] == pytest.approx(0.4, rel=1e-3), "less can wait for the period to end"
    assert parts[-1] == pytest.approx(1.0)


def test_a_failure_is_cleared_at_the_next_tick() -> None:
    _, state = planned(tick.first_state(FABRIC, MARKET))
    assert set(reached(state)["chat"] + reached(state)["batch"]) == {"cheap", "dear"}
    cut = frozenset({("a", "b"), ("b", "a")})
    for outage, served in ((Outage(cut), {"batch": 0.4, "chat": 1.0}), (NOTHING, {"batch": 1.0, "chat": 1.0})):
        plan, state = planned(tick.with_outage(FABRIC, state, outage))
        assert dict(plan.served) == pytest.approx(served)
        arrived = reached(state)
        assert set(arrived["chat"] + arrived["batch"]) == ({"dear"} if outage else {"cheap", "dear"})
        assert arrived["chat"].total() == 64


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
    assert (
        float(told['wardrop_market_gap_ratio{currency="EUR"}']) == line["market"]["gap"] == pytest.approx(0.0, abs=1e-6)
    )
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
