"""What fails is avoided, what is cut off is named, what heals comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, number

from controller import health, slots, tick
from controller.fabric import Fabric
from controller.labels import REFUSED
from controller.measure import Measured, Meter, Rate
from controller.openflow import phases
from controller.rules import GATEWAY_MAC, Rule, diff, placed
from pricing.network import Network
from pricing.outage import NOTHING, Outage, remains
from pricing.policy import POLICIES
from pricing.problem import evaluate

SQUARE = small.network([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")], {"east": "c", "west": "d"}, ["a", "b"])
A_D = frozenset({("a", "d"), ("d", "a")})


def settled(fabric: Fabric, policy: str, outage: Outage, state: tick.State | None = None) -> tick.State:
    """The state after some ticks on the model's loads."""
    state = state or tick.first_state(fabric, POLICIES[policy])
    state = tick.with_outage(fabric, state, outage)
    for _ in range(30):
        state = tick.acknowledged(state, tick.plan(fabric, state))
        assert state.decision is not None
        loads = evaluate(fabric.network, state.decision.allocation).loads
        nothing = np.zeros(len(fabric.network.sessions))
        ages = np.zeros(len(fabric.network.links)), np.zeros(len(fabric.network.servers)), nothing
        known = replace(state.demand, weight=np.full(len(nothing), 30.0))
        state = replace(state, measured=Measured(loads, *ages, loads.offered, {}), demand=known)
    return state


@pytest.mark.parametrize(
    "policy", ["shortest-path", "ecmp", "joint", "joint-distributed", "user-equilibrium", "tolled"]
)
def test_what_failed_is_avoided_and_comes_back(policy: str) -> None:
    fabric = small.fabric(SQUARE, 64)
    whole = settled(fabric, policy, NOTHING)
    broken = settled(fabric, policy, Outage(A_D, frozenset({"east"})), whole)
    assert broken.decision is not None
    assert all(route.server == "west" for route, _ in broken.decision.allocation)
    assert not any(set(route.links) & A_D for route, _ in broken.decision.allocation)
    _, verdict = tick.judge(fabric, broken)
    line = tick.describe(fabric, broken)
    assert line["outage"]["servers"] == ["east"]
    assert line["servers"][0]["price"] is None, "an infinite price is no number"
    healed = settled(fabric, policy, NOTHING, broken)
    assert healed.decision is not None
    assert whole.decision is not None
    if policy in ("shortest-path", "ecmp"):
        assert healed.decision.allocation == whole.decision.allocation
    else:
        assert verdict["gap"] == pytest.approx(0.0, abs=1e-3)
        assert tick.judge(fabric, healed)[1]["gap"] == pytest.approx(0.0, abs=1e-3)


def test_switches_hold_what_is_wanted_while_servers_go_and_come() -> None:
    fabric = small.fabric(SQUARE, 16)
    state, fake = tick.first_state(fabric, POLICIES["joint"]), FakeNetwork(fabric.plant)
    for servers in ((), ("east",), (), ("west",), ("east", "west"), ()):
        state = tick.with_outage(fabric, state, Outage(servers=frozenset(servers)))
        plan = tick.plan(fabric, state)
        for change in (change for phase in phases(plan.delta) for change in phase):
            fake.apply(change)
        state = tick.acknowledged(state, plan)
        held = {(node, rule) for node, switch in fake.switches.items() for rule in switch.rules.values()}
        assert held == {(node, entry) for node, entry in placed(state.installed) if isinstance(entry, Rule)}, servers


def test_sessions_that_are_cut_off_are_named_and_keep_their_rules() -> None:
    line = small.LINE
    fabric = small.fabric(line)
    whole = settled(fabric, "joint", NOTHING)
    cut = settled(fabric, "joint", Outage(frozenset({("a", "b"), ("b", "a")})), whole)
    assert cut.decision is not None
    assert tick.describe(fabric, cut)["stranded"] == ["from-a"]
    assert cut.deals == whole.deals
    left = remains(line, Outage(servers=frozenset({"east", "west"})))
    assert left.stranded == ("from-a",)


def test_packets_arrive_over_what_is_left() -> None:
    fabric = small.fabric(SQUARE, 16)
    state = settled(fabric, "joint", Outage(A_D, frozenset({"east"})))
    fake = FakeNetwork(fabric.plant)
    for change in diff(state.installed, {}):
        fake.apply(change)
    fake.fail("a", "d")
    client = fabric.plant.hosts["h-a"]
    for port in range(20000, 20020):
        packet = {"eth_dst": number(GATEWAY_MAC), "eth_type": 0x800, "ip_proto": 17, "udp_src": port}
        packet |= {"udp_dst": 7000, "ipv4_src": number(client.ip), "ipv4_dst": number("10.9.0.1")}
        (arrival,) = fake.send("h-a", packet)
        assert (arrival.host, arrival.nodes) == ("west", ("a", "b", "c", "d"))


def rates(fabric: Fabric, said: float, asked: float, now: float) -> Meter:
    host = fabric.plant.hosts["east"]
    ports = {("in", host.node, host.port): said, ("out", host.node, host.port): asked}
    return Meter({}, {key: Rate(packets, 0.0, now) for key, packets in ports.items()})  # type: ignore[misc]


def test_a_server_that_is_asked_and_says_nothing_is_down_until_it_speaks() -> None:
    fabric = small.fabric(SQUARE)

    def after(steps: list[tuple[float, float]]) -> list[bool]:
        silences: Mapping[str, health.Silence] = {}
        found = []
        for now, (said, asked) in enumerate(steps, 1):
            silences = health.silences(fabric, silences, rates(fabric, said, asked, float(now)), frozenset())
            found.append("east" in health.outage(fabric, frozenset(), silences).servers)
        return found

    assert after([(50, 50), (20, 50), (0, 50), (0, 0), (0, 0), (1, 0)]) == [False, False, True, True, True, False]
    assert after([(0, 0), (0, 5), (0, 5)]) == [False] * 3, "hardly asked"
    assert after([(0, 50), (0, 50)]) == [False, True], "never heard of at all"
    assert after([(50, 50), (0, 0), (0, 0), (0, 50), (50, 50)]) == [False] * 5, "nobody asks for a while"
    assert after([(0, 0), (0, 50), (50, 50)]) == [False] * 3, "just asked"
    assert after([(0, 0), (0, 50), (0, 50)]) == [False, False, True]
    assert after([(100, 100), (8, 100), (8, 100), (0, 0), (1, 0)]) == [False, True, True, True, False], "ICMP errors"
    assert after([(60, 100), (30, 100)]) == [False, False], "overloaded, and alive"


def test_a_dead_port_takes_both_directions_of_its_cable_or_its_server() -> None:
    fabric = small.fabric(SQUARE)
    port = fabric.plant.switches["a"].ports["d"]
    host = fabric.plant.hosts["west"]
    assert health.outage(fabric, frozenset({("a", port)}), {}) == Outage(A_D)
    assert health.outage(fabric, frozenset({(host.node, host.port)}), {}).servers == {"west"}


def test_what_remains_is_one_value_for_one_outage() -> None:
    network: Network = SQUARE
    assert remains(network, Outage(A_D)) is remains(network, Outage(frozenset(A_D)))
    assert remains(network, NOTHING).network is network


def test_demand_beyond_capacity_is_refused_at_the_ingress_in_equal_parts() -> None:
    fabric = small.fabric(SQUARE, 128)
    work = sum(session.packet_rate for session in SQUARE.sessions)
    servers = tuple(replace(server, capacity=work / 4) for server in SQUARE.servers)
    fabric = Fabric(replace(SQUARE, servers=servers), fabric.plant, 128)
    state = settled(fabric, "joint", NOTHING)
    assert dict(state.served) == pytest.approx({"from-a": 0.475, "from-b": 0.475}, abs=1e-3)
    for name, deal in state.deals.items():
        rates = slots.slot_rates(fabric, name)
        part = sum(rate for rate, number_ in zip(rates, deal, strict=True) if number_ == REFUSED) / rates.sum()
        assert part == pytest.approx(0.525, abs=0.02), name
    fake, client = FakeNetwork(fabric.plant), fabric.plant.hosts["h-a"]
    for change in diff(state.installed, {}):
        fake.apply(change)
    arrived = 0
    for port in range(20000, 20050):
        packet = {"eth_dst": number(GATEWAY_MAC), "eth_type": 0x800, "ip_proto": 17, "udp_src": port}
        packet |= {"udp_dst": 7000, "ipv4_src": number(client.ip), "ipv4_dst": number("10.9.0.1")}
        arrived += len(fake.send("h-a", packet))
    assert arrived == pytest.approx(0.475 * 50, abs=1.5)
