"""Packets that go through functions: what is decided, and that each member gets one copy, of the last stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import small_fabrics as small
from fake_switch import Arrival, FakeNetwork, Packet, number
from test_duplicate import BUTTERFLY, GROUP, group_network, group_packet, rules_of

from controller import health
from controller.compile import compile_rules
from controller.fabric import Fabric
from controller.labels import Labels, label
from controller.measure import EMPTY, Count, Reader, read, rule_key, tasks_of
from controller.openflow import phases
from controller.rules import Rule, diff, placed
from experiments.result.groups import bound
from pricing.chains import end_of, graph_of, place, sizes, steps_of
from pricing.duplication import faults, made_at, tree_route
from pricing.errors import TopologyError, WardropError
from pricing.frames import group_mac
from pricing.network import Function, Link, Network, Node, Route, Server, Session, SizeLaw
from pricing.outage import Outage, remains
from pricing.policy import get_policy, nominal_loads
from pricing.problem import evaluate, make_allocation, problem_of
from pricing.simulate.copies import tree_of
from pricing.values import Loads
from topologies.scenario import load


def chained(scaling: float, rate: float = 3e5) -> Network:
    """A star whose centre and source both compute: S - A - {X, Y}, links of 1 Mbit/s."""
    ends = [("S", "A"), ("A", "X"), ("A", "Y")]
    links = tuple(Link(a, b, 1e6) for pair in ends for a, b in (pair, pair[::-1]))
    chain = (Function("f", ("before", "after"), scaling, 2.0),)
    size = SizeLaw("fixed", 458)
    session = Session("k", "S", "multicast", ("X", "Y"), rate, size, flows=40, group=GROUP, chain=chain)
    servers = (Server("after", "A", 1000.0), Server("before", "S", 1000.0))
    return Network("star", tuple(map(Node, "ASXY")), tuple(sorted(links, key=lambda one: one.key)), servers, (session,))


class WithFunctions(FakeNetwork):
    """A network whose function hosts hand packets back as they came, label and all; `seen` is what they were given."""

    def __init__(self, fabric: Fabric) -> None:
        super().__init__(fabric.plant)
        self.functions = {name for session in fabric.network.sessions for f in session.chain for name in f.servers}
        self.seen: list[tuple[str, Packet]] = []

    def inject(self, node: str, port: int, packet: Packet, passed: tuple[str, ...] = ()) -> list[Arrival]:
        found = []
        for arrival in super().inject(node, port, packet, passed):
            host = self.plant.hosts[arrival.host]
            if arrival.host in self.functions:
                self.seen.append((arrival.host, arrival.packet))
                found += self.inject(host.node, host.port, arrival.packet, arrival.nodes)
            else:
                found.append(arrival)
        return found


def installed(net: Network, routes: list[Route]) -> tuple[Fabric, Labels, WithFunctions]:
    """The rules of these routes in the in-memory network."""
    fabric = small.fabric(net, 8)
    rules, labels, _ = rules_of(fabric, make_allocation(routes, [1.0] * len(routes)), Labels(), {}, {})
    network = WithFunctions(fabric)
    for phase in phases(diff(rules, {})):
        for change in phase:
            network.apply(change)
    return fabric, labels, network


@pytest.mark.parametrize(("scaling", "at"), [(0.5, "before"), (2.0, "after")])
@pytest.mark.parametrize("policy", ["steiner", "gdcnc", "egdcnc", "gdcnc-r", "ucnc"])
def test_what_shrinks_is_computed_before_the_narrow_link_and_what_grows_behind_it(
    policy: str, scaling: float, at: str
) -> None:
    net = chained(scaling, 4.7e5)
    (session,), state = net.sessions, None
    loads = Loads(np.zeros(6), np.zeros(2), problem_of(net).rates)
    for _ in range(2):
        decision = get_policy(policy).decide(net, loads, state)
        state, loads = decision.state, nominal_loads(net, decision.allocation)
    assert not [f for route, _ in decision.allocation for f in faults(session, route, session.destinations)]
    work = problem_of(net).loads(decision.allocation)[len(net.links) :]
    whole = 2.0 * session.packet_rate
    assert sum(work) == pytest.approx(whole, rel=0.1), "each packet is computed once, before it is duplicated"
    assert work[net.server_index[at]] > 0.5 * whole
    if policy == "steiner":
        sent = problem_of(net).loads(decision.allocation)
        assert sent[net.link_index["S", "A"]] == pytest.approx(4.7e5 * min(scaling, 1.0))
        assert sent[net.link_index["A", "X"]] == pytest.approx(4.7e5 * scaling)


def test_a_function_is_a_resource_with_a_price_and_a_delay() -> None:
    net = chained(2.0)
    (session,) = net.sessions
    ways = {name: (("S", "A"), ("A", "A/1"), ("A/1", f"{name}/1")) for name in ("X", "Y")}
    allocation = make_allocation([tree_route(session, ways)], [1.0])
    problem, told = problem_of(net), evaluate(net, allocation)
    load = 2.0 * session.packet_rate
    assert problem.loads(allocation)[len(net.links) :] == pytest.approx([load, 0.0])
    assert problem.prices(problem.loads(allocation)).servers[0] == pytest.approx(2.0 * 1000 / (1000 - load) ** 2)
    assert told.sessions["k"].server == pytest.approx(2.0 / (1000 - load) * 1.0), "M/M/1 with two works a packet"
    assert told.sessions["k"].network > 0
    assert made_at(session, allocation.splits["k"][0][0]) == {"A": 1}


def test_places_and_steps_of_a_session_without_a_chain_are_nodes_and_links() -> None:
    net = group_network(BUTTERFLY, "XY")
    (session,) = net.sessions
    assert {key: step.resource for key, step in steps_of(net, session).items()} == net.link_index
    assert (place("A", 0), end_of(session, "X"), sizes(session)) == ("A", "X", (1.0,))


def test_a_packet_passes_its_functions_in_order_and_each_member_has_one_copy() -> None:
    net = chained(2.0)
    second = Function("g", ("before", "after"), 0.5, 1.0)
    (old,) = net.sessions
    session = replace(old, chain=(*old.chain, second))
    net = replace(net, sessions=(session,))
    # X has both functions at A; Y's copy goes back to S for the second, over the cable that it came by
    ways = {
        "X": (("S", "A"), ("A", "A/1"), ("A/1", "A/2"), ("A/2", "X/2")),
        "Y": (("S", "A"), ("A", "A/1"), ("A/1", "S/1"), ("S/1", "S/2"), ("S/2", "A/2"), ("A/2", "Y/2")),
    }
    route = tree_route(session, ways)
    assert not list(faults(session, route, "XY"))
    fabric, labels, network = installed(net, [route])
    arrivals = network.send("h-S", group_packet(fabric, 20000))
    assert sorted((one.host, one.packet["eth_dst"]) for one in arrivals) == [
        ("h-X", number(group_mac(GROUP))),
        ("h-Y", number(group_mac(GROUP))),
    ]
    given = labels.numbers[fabric.there(route)]
    seen = sorted((name, packet["eth_dst"]) for name, packet in network.seen)
    wanted = [("after", label(given, 0b11)), ("after", label(given, 0b01, 1)), ("before", label(given, 0b10, 1))]
    assert seen == sorted((name, number(mac)) for name, mac in wanted)
    assert [(name, work) for name, work, _ in tasks_of(fabric, labels)] == [
        ("after", 2.0),
        ("after", 1.0),
        ("before", 1.0),
    ]


def test_labels_come_from_functions_alone() -> None:
    net = chained(2.0)
    (session,) = net.sessions
    ways = {name: (("S", "A"), ("A", "A/1"), ("A/1", f"{name}/1")) for name in ("X", "Y")}
    fabric, _, network = installed(net, [tree_route(session, ways)])
    packet = group_packet(fabric, 20000) | {"eth_dst": number(label(1, 0b11, 1))}
    for host in ("h-S", "h-A", "after", "before"):
        assert network.send(host, packet) == [], f"{host}: stage 1 is nobody's to write"
    first = packet | {"eth_dst": number(label(1, 0b11))}
    assert network.send("h-A", first) == []
    assert len(network.send("after", first)) == 2


def test_what_functions_do_is_measured_by_their_ports_or_by_labels() -> None:
    for works, packets in (((2.0,), 100.0), ((2.0, 1.0), 150.0)):
        net = chained(1.0)
        (old,) = net.sessions
        chain = tuple(replace(old.chain[0], name=f"f{n}", work=work) for n, work in enumerate(works))
        session = replace(old, chain=chain)
        net = replace(net, sessions=(session,))
        at = [place("A", m) for m in range(len(works) + 1)]
        ways = {name: (("S", "A"), *pairwise(at), (at[-1], place(name, len(works)))) for name in ("X", "Y")}
        fabric, labels, _ = installed(net, [tree_route(session, ways)])
        host = fabric.plant.hosts["after"]
        keys = {("out", host.node, host.port): packets, ("out", "S", fabric.plant.hosts["before"].port): 0.0}
        keys |= {key: 75.0 for _, _, key in tasks_of(fabric, labels)}
        meter = read(EMPTY, {key: Count(0, 0, 0.0) for key in keys})
        meter = read(meter, {key: Count(int(n), int(1000 * n), 1.0) for key, n in keys.items()})
        nothing = Loads(np.zeros(6), np.zeros(2), np.zeros(1))
        measured = Reader(fabric, labels, meter, 1.0).measured(lambda nothing=nothing: nothing)
        assert measured.loads.servers.tolist() == [200.0 if len(works) == 1 else 225.0, 0.0]
        counted = {
            rule_key(one) for one in placed(compile_rules(fabric, labels, {"k": (1,) * 8})) if is_counted(one[1])
        }
        assert {key for _, _, key in tasks_of(fabric, labels)} <= counted


def is_counted(entry: object) -> bool:
    """Whether a switch counts what meets it."""
    return isinstance(entry, Rule) and entry.counted


def test_without_a_server_its_packets_go_through_another_or_nowhere() -> None:
    net = chained(2.0)
    (session,) = net.sessions
    ways = {name: (("S", "A"), ("A", "A/1"), ("A/1", f"{name}/1")) for name in ("X", "Y")}
    before = make_allocation([tree_route(session, ways)], [1.0])
    left = remains(net, Outage(servers=frozenset({"after"})))
    (route,) = dict(left.surviving(before))
    assert str(route) == "S>S/1{X,Y} S/1>A/1{X,Y} A/1>X/1{X} A/1>Y/1{Y}"
    assert remains(net, Outage(servers=frozenset({"after", "before"}))).stranded == ("k",)
    at = {"before": "S"}
    assert set(graph_of(session, [("S", "A")], at).edges) == {("S", "A"), ("S/1", "A/1"), ("S", "S/1")}


def test_every_problem_of_a_chain_is_told_at_once() -> None:
    net = chained(2.0)
    (session,) = net.sessions
    bad = replace(session, chain=(Function("f", ("after", "nobody"), 0.0, -1.0), Function("g", ())))
    web = Session("w", "X", "anycast", ("after",), 1e5, service="web")
    path = replace(session, name="p", kind="unicast", destinations=("X",), group="")
    near = Server("near", "A", 10.0)
    also = replace(session, name="l", chain=(Function("f", ("near",)),), group="239.9.9.9")
    with pytest.raises(TopologyError) as caught:
        replace(net, sessions=(bad, web, path, also), servers=(*net.servers, near))
    for said in (
        "server after: it answers a service and runs functions",
        "server near: after runs functions at A too",
        "session p: a chain, and unicast",
        "function f: unknown server 'nobody'",
        "function f: scaling: 0.0",
        "function f: work: -1.0",
        "function g: no server runs it",
    ):
        assert said in str(caught.value), said


def test_a_function_that_is_given_packets_and_says_nothing_is_down_until_it_greets() -> None:
    fabric = small.fabric(chained(2.0))
    host = fabric.plant.hosts["after"]
    silences: Mapping[str, health.Silence] = {}
    down = []
    for second, (said, asked) in enumerate([(100, 100), (0, 100), (0, 100), (0, 0), (1, 0), (100, 100)]):
        keys = {("in", host.node, host.port): said, ("out", host.node, host.port): asked}
        before = read(EMPTY, {key: Count(0, 0, second - 1.0) for key in keys})
        meter = read(before, {key: Count(n, 100 * n, float(second)) for key, n in keys.items()})
        silences = health.silences(fabric, silences, meter, frozenset())
        down.append("after" in health.outage(fabric, frozenset(), silences).servers)
    assert down == [False, True, True, True, False, False]


def test_the_butterfly_with_a_chain_is_what_its_header_says() -> None:
    net = load("butterfly-chain").network
    (session,) = net.sessions
    largest = {name: bound(net, name) * session.rate / 1e6 for name in ("gdcnc", "dcnc", "edspa")}
    assert largest == pytest.approx({"gdcnc": 2.0, "dcnc": 1.0, "edspa": 0.6517}, rel=1e-3)
    nothing = Loads(np.zeros(len(net.links)), np.zeros(len(net.servers)), problem_of(net).rates)
    one_tree = get_policy("steiner").decide(net, nothing, None).allocation
    assert (problem_of(net).loads(one_tree) < problem_of(net).capacity).all(), (
        "one tree carries it, if it is chosen well"
    )
    with pytest.raises(WardropError, match="functions are not simulated"):
        tree_of(net, one_tree.splits["to-both"][0][0])
