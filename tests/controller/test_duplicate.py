"""Groups in the switches: each member gets exactly one copy over decided links, at every prefix of every update."""

from __future__ import annotations

import random
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, Packet, number
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import tick
from controller.compile import Deals, compile_rules
from controller.duplicate import group_mac
from controller.fabric import Fabric
from controller.labels import Labels, label
from controller.measure import EMPTY, Count, Reader, read, rule_key
from controller.openflow import phases
from controller.rules import GATEWAY_MAC, Group, RuleSet, diff, placed
from controller.slots import deal
from pricing.duplication import faults, tree_route
from pricing.network import Allocation, Link, Network, Node, Route, Session
from pricing.outage import NOTHING, Outage
from pricing.policy import POLICIES
from pricing.problem import make_allocation
from pricing.values import Loads

GROUP = "239.1.2.3"
BUTTERFLY = ["S>A", "S>B", "A>X", "B>Y", "A>N", "B>N", "N>W", "W>X", "W>Y"]


def group_network(links: list[str], destinations: str, source: str = "S") -> Network:
    """One group on a network of links."""
    keys = sorted((a, b) for a, b in (link.split(">") for link in links))
    names = sorted({end for key in keys for end in key})
    session = Session("k", source, "multicast", tuple(sorted(destinations)), 1e5, flows=40, group=GROUP)
    return Network("g", tuple(map(Node, names)), tuple(Link(a, b, 1e7) for a, b in keys), (), (session,))


def some_trees(net: Network, seed: int, destinations: tuple[str, ...] | None = None) -> Allocation:
    """A random allocation: trees of random simple ways, some with a copy for each destination from the source on."""
    draw, found = random.Random(seed), {}
    (session,) = net.sessions
    for _ in range(3):
        ways = {}
        for name in destinations or session.destinations:
            every = list(nx.all_simple_paths(net.graph, session.source, name, cutoff=5))
            ways[name] = tuple(pairwise(draw.choice(every)))
        route = tree_route(session, ways, shared=draw.random() < 0.6)
        assert not list(faults(session, route, destinations or session.destinations))
        found[route] = draw.uniform(0.1, 1)
    return make_allocation(list(found), list(found.values()))


def rules_of(
    fabric: Fabric, allocation: Allocation, labels: Labels, before: Deals, installed: RuleSet
) -> tuple[RuleSet, Labels, Deals]:
    """Rules of an allocation after another one."""
    labels = labels.given(fabric.paths(allocation))
    deals = {
        name: deal({labels.numbers[fabric.there(r)]: w for r, w in split}, fabric.slots, before.get(name, ()))
        for name, split in allocation.splits.items()
    }
    return compile_rules(fabric, labels, deals, installed), labels, deals


def group_packet(fabric: Fabric, port: int) -> Packet:
    """What the source sends: to the group's own MAC address, as hosts do."""
    source = fabric.plant.hosts[fabric.plant.source(fabric.network.sessions[0])].ip
    packet = {"eth_dst": number(group_mac(GROUP)), "eth_type": 0x0800, "ip_proto": 17, "udp_src": port, "udp_dst": 7000}
    return packet | {"ipv4_src": number(source), "ipv4_dst": number(GROUP)}


def walked(route: Route, destination: str) -> tuple[str, ...]:
    """The nodes that a tree leads a destination's copy by."""
    links = [link for link, status in zip(route.links, route.statuses, strict=True) if destination in status]
    return (links[0][0], *(dst for _, dst in links))


def check(fake: FakeNetwork, fabric: Fabric, routes: set[Route], whole: bool = True) -> None:
    """Every packet reaches each member once, by one of the routes, with the group's address; others never."""
    (session,) = fabric.network.sessions
    source = fabric.plant.source(session)
    for port in range(20000, 20006):
        arrivals = fake.send(source, group_packet(fabric, port))
        hosts = sorted(arrival.host for arrival in arrivals)
        assert len(set(hosts)) == len(hosts), f"twice: {hosts}"
        if not whole and not hosts:
            continue
        ways = {fabric.plant.hosts[arrival.host].node: arrival.nodes for arrival in arrivals}
        assert any({name: walked(route, name) for name in set().union(*route.statuses)} == ways for route in routes)
        assert all(arrival.packet["eth_dst"] == number(group_mac(GROUP)) for arrival in arrivals)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Cables between some nodes, both ways, and a group of some of them; every part is connected."""
    names = "abcdef"[: draw(st.integers(3, 6))]
    tree = [(names[draw(st.integers(0, i - 1))], names[i]) for i in range(1, len(names))]
    more = draw(st.lists(st.sampled_from([(a, b) for a in names for b in names if a < b]), max_size=4))
    links = {f"{x}>{y}" for a, b in (*tree, *more) for x, y in ((a, b), (b, a))}
    members = draw(st.sets(st.sampled_from(names[1:]), min_size=1))
    return group_network(sorted(links), "".join(sorted(members)), "a")


@settings(max_examples=15, deadline=None)
@given(networks(), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_each_member_gets_one_copy_at_every_prefix_of_an_update(net: Network, seed: int, order: random.Random) -> None:
    fabric, labels, installed, deals = small.fabric(net, 8), Labels(), {}, {}
    fake, routes = FakeNetwork(fabric.plant), set()
    for step in range(3):
        allocation = some_trees(net, seed + step)
        desired, labels, deals = rules_of(fabric, allocation, labels, deals, installed)
        routes |= {route for route, _ in allocation}
        for phase in phases(diff(desired, installed)):
            shuffled = list(phase)
            order.shuffle(shuffled)
            for change in shuffled:
                fake.apply(change)
                check(fake, fabric, routes, whole=step > 0)
        installed = desired
        check(fake, fabric, routes)
        assert not diff(desired, compile_rules(fabric, labels, deals)), "taken from before or made anew, it is the same"
        for change in diff(desired, {}):
            fake.apply(change)
        check(fake, fabric, routes)


def test_more_than_sixteen_members_are_split_over_labels_and_get_one_copy_each() -> None:
    names = "abcdefghijklmnopqrst"
    links = [f"S>{hub}" for hub in "XYZ"] + [f"{hub}>{name}" for hub in "XYZ" for name in names]
    net = group_network(links, names)
    fabric = small.fabric(net)
    allocation = some_trees(net, 3)
    rules, labels, _ = rules_of(fabric, allocation, Labels(), {}, {})
    assert len(labels.paths) == 2 * len(allocation.splits["k"]), "each tree has two parts"
    fake = FakeNetwork(fabric.plant)
    for change in diff(rules, {}):
        fake.apply(change)
    check(fake, fabric, {route for route, _ in allocation})


def test_a_switch_gives_each_destinations_bit_to_exactly_one_copy() -> None:
    net = group_network(BUTTERFLY, "XY")
    fabric = small.fabric(net)
    (session,) = net.sessions
    ways = {"X": (("S", "A"), ("A", "X")), "Y": (("S", "A"), ("A", "N"), ("N", "W"), ("W", "Y"))}
    rules, *_ = rules_of(fabric, make_allocation([tree_route(session, ways)], [1.0]), Labels(), {}, {})
    groups = [(node, entry) for node, entry in placed(rules) if isinstance(entry, Group) and entry.kind == "all"]
    ((node, group),) = groups
    assert node == "A"
    assert group.number == 1 << 16 | 0b11, "the label's own number"
    written = [action.value for bucket in group.buckets for action in bucket.actions if hasattr(action, "value")]
    assert written == [label(1, 0b10), label(1, 0b01)]


def test_a_label_on_its_way_keeps_its_meaning_and_a_subset_is_served() -> None:
    net = group_network(BUTTERFLY, "XY")
    fabric = small.fabric(net)
    only = some_trees(net, 1, ("X",))
    rules, labels, deals = rules_of(fabric, only, Labels(), {}, {})
    fake = FakeNetwork(fabric.plant)
    for change in diff(rules, {}):
        fake.apply(change)
    assert {arrival.host for arrival in fake.send("h-S", group_packet(fabric, 20000))} == {"h-X"}
    later, labels, deals = rules_of(fabric, some_trees(net, 2), labels, deals, rules)
    for change in diff(later, rules):
        fake.apply(change)
    for port in range(20000, 20010):
        assert sorted(a.host for a in fake.send("h-S", group_packet(fabric, port))) == ["h-X", "h-Y"]
    old = fabric.there(only.splits["k"][0][0])
    packet = group_packet(fabric, 20000) | {"eth_dst": number(label(labels.numbers[old], old.copies[0][2]))}
    node, before = old.copies[0][1], old.copies[0][0]
    arrivals = fake.inject(node, fabric.plant.switches[node].ports[before], packet)
    assert [arrival.host for arrival in arrivals] == ["h-X"]


def test_a_link_that_fails_is_bypassed_for_copies_too() -> None:
    cables = ["S>A", "A>S", "A>X", "X>A", "S>X", "X>S", "A>Y", "Y>A", "X>Y", "Y>X"]
    net = group_network(cables, "XY")
    fabric = small.fabric(net)
    (session,) = net.sessions
    route = tree_route(session, {"X": (("S", "A"), ("A", "X")), "Y": (("S", "A"), ("A", "Y"))})
    rules, *_ = rules_of(fabric, make_allocation([route], [1.0]), Labels(), {}, {})
    fake = FakeNetwork(fabric.plant)
    for change in diff(rules, {}):
        fake.apply(change)
    for a, b in (("S", "A"), ("A", "X"), ("A", "Y")):
        fake.fail(a, b)
        arrivals = fake.send("h-S", group_packet(fabric, 20000))
        assert sorted(arrival.host for arrival in arrivals) == ["h-X", "h-Y"]
        fake.fail(a, b, works=True)


def test_a_copy_goes_back_over_the_link_that_its_bypass_came_by() -> None:
    """Links lead one way, so nothing leads around J>X, which the way around S>J ends with, turned."""
    net = group_network(["S>J", "S>X", "X>J", "J>X", "X>Y"], "JY")
    fabric = small.fabric(net)
    (session,) = net.sessions
    route = tree_route(session, {"J": (("S", "J"),), "Y": (("S", "J"), ("J", "X"), ("X", "Y"))})
    rules, *_ = rules_of(fabric, make_allocation([route], [1.0]), Labels(), {}, {})
    fake = FakeNetwork(fabric.plant)
    for change in diff(rules, {}):
        fake.apply(change)
    fake.fail("S", "J")
    arrivals = fake.send("h-S", group_packet(fabric, 20000))
    assert {arrival.host: arrival.nodes for arrival in arrivals} == {
        "h-J": ("S", "X", "J"),
        "h-Y": ("S", "X", "J", "X", "Y"),
    }


def test_packets_of_no_group_session_and_labels_from_hosts_go_nowhere() -> None:
    fabric = small.fabric(group_network(BUTTERFLY, "XY"))
    rules, *_ = rules_of(fabric, some_trees(fabric.network, 1), Labels(), {}, {})
    fake = FakeNetwork(fabric.plant)
    for change in diff(rules, {}):
        fake.apply(change)
    packet = group_packet(fabric, 20000)
    assert fake.send("h-S", packet | {"ipv4_dst": number("239.1.2.4")}) == []
    assert fake.send("h-A", packet | {"ipv4_src": number(fabric.plant.hosts["h-A"].ip)}) == []
    assert fake.send("h-S", packet | {"eth_dst": number(label(1, 1))}) == []
    assert fake.send("h-S", packet | {"ipv4_dst": number("224.0.0.22"), "ip_proto": 2}) == []
    assert number(GATEWAY_MAC) != packet["eth_dst"]


def test_what_is_delivered_is_the_mean_of_the_members() -> None:
    net = group_network(BUTTERFLY, "XY")
    fabric = small.fabric(net)
    (session,) = net.sessions
    route = tree_route(session, {"X": (("S", "A"), ("A", "X")), "Y": (("S", "B"), ("B", "Y"))})
    rules, labels, _ = rules_of(fabric, make_allocation([route], [1.0]), Labels(), {}, {})
    counted = [one for one in placed(rules) if getattr(one[1], "counted", False) and one[1].table == 4]
    assert sorted(node for node, _ in counted) == ["S", "X", "Y"]
    packets = {"S": 100, "X": 100, "Y": 60}
    keys = {rule_key(one): packets[one[0]] for one in counted}
    meter = read(EMPTY, {key: Count(0, 0, 0.0) for key in keys})
    meter = read(meter, {key: Count(n, 1000 * n, 1.0) for key, n in keys.items()})
    nothing = Loads(np.zeros(len(net.links)), np.zeros(0), np.zeros(1))
    measured = Reader(fabric, labels, meter, 1.0).measured(lambda: nothing)
    assert measured.carried == {"k": {1: 100.0}}
    assert measured.delivered == pytest.approx([8 * 1000 * 80.0])


@pytest.mark.parametrize("policy", ["steiner", "ucnc", "dcnc", "gdcnc", "egdcnc-r"])
def test_destinations_are_whole_again_within_two_ticks_of_a_failure(policy: str) -> None:
    cables = [f"{x}>{y}" for one in BUTTERFLY for x, y in (one.split(">"), one.split(">")[::-1])]
    net = group_network(cables, "XY")
    fabric = small.fabric(net, 16)
    fake, state = FakeNetwork(fabric.plant), tick.first_state(fabric, POLICIES[policy])

    def ticked(state: tick.State) -> tick.State:
        plan = tick.plan(fabric, state)
        for phase in phases(plan.delta):
            for change in phase:
                fake.apply(change)
        return tick.acknowledged(state, plan)

    for _ in range(2):
        state = ticked(state)
    assert state.decision is not None
    used = sorted({link for route, _ in state.decision.allocation for link in route.links})
    for a, b in used[:: max(1, len(used) // 3)]:
        fake.fail(a, b)
        # The tick that is told of it decides on what remains; the one before may have just read its ports.
        broken = ticked(tick.with_outage(fabric, state, Outage(frozenset({(a, b), (b, a)}))))
        assert broken.decision is not None
        trees = {route for route, _ in broken.decision.allocation}
        assert not any({(a, b), (b, a)} & set(route.links) for route in trees)
        check(fake, fabric, trees)
        fake.fail(a, b, works=True)
        state = ticked(tick.with_outage(fabric, broken, NOTHING))
