"""Rules are legal, packets arrive at every prefix of every update, and labels keep their meaning."""

from __future__ import annotations

import random
from itertools import pairwise

import networkx as nx
import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, Packet, number
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.compile import compile_rules, refusals
from controller.fabric import Fabric
from controller.labels import Labels, Path, label
from controller.measure import Count, Meter, dropped
from controller.openflow import phases
from controller.pipeline import declare
from controller.rules import GATEWAY_MAC, IN_PORT, Goto, Output, Rule, RuleSet, SetField, diff, doubted, part_of, placed
from controller.slots import deal
from pricing.errors import RuleError
from pricing.network import Allocation, Network, Route
from pricing.problem import make_allocation

GATEWAY = number(GATEWAY_MAC)


def ip_packet(source: str, target: str, proto: int = 17, ports: tuple[int, int] = (0, 0)) -> Packet:
    """A packet as a host sends it to its gateway."""
    packet = {"eth_dst": GATEWAY, "eth_type": 0x0800, "ip_proto": proto}
    packet |= {"ipv4_src": number(source), "ipv4_dst": number(target)}
    kind = {6: "tcp", 17: "udp"}.get(proto)
    return packet | {f"{kind}_src": ports[0], f"{kind}_dst": ports[1]} if kind else packet


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Small connected networks with two servers, two sources and a unicast session."""
    size = draw(st.integers(3, 6))
    names = "abcdef"[:size]
    cables = {(names[draw(st.integers(0, i - 1))], names[i]) for i in range(1, size)}
    more = st.lists(st.sampled_from([(a, b) for a in names for b in names if a < b]), max_size=4)
    cables |= set(draw(more))
    servers = {"east": draw(st.sampled_from(names)), "west": draw(st.sampled_from(names))}
    sources = sorted(draw(st.sets(st.sampled_from(names), min_size=1, max_size=2)))
    return small.network(sorted(cables), servers, sources, ((names[0], names[-1]),))


def some_allocation(net: Network, seed: int) -> Allocation:
    """Random simple paths with random weights for each session."""
    draw = random.Random(seed)
    routes, weights = [], []
    at = {server.name: server.node for server in net.servers}
    for session in net.sessions:
        for _ in range(draw.randrange(1, 4)):
            end = draw.choice(session.destinations)
            server = end if session.kind == "anycast" else ""
            goal = at.get(end, end)
            ways = [[goal]] if goal == session.source else list(nx.all_simple_paths(net.graph, session.source, goal))
            routes.append(Route(session.name, tuple(pairwise(draw.choice(ways))), server))
            weights.append(draw.uniform(0.1, 1))
    merged: dict[Route, float] = {}
    for route, weight in zip(routes, weights, strict=True):
        merged[route] = merged.get(route, 0) + weight
    return make_allocation(list(merged), list(merged.values()))


def rules_of(
    fabric: Fabric,
    allocation: Allocation,
    labels: Labels,
    before: dict[str, tuple[int, ...]],
    installed: RuleSet | None = None,
) -> tuple[RuleSet, Labels, dict[str, tuple[int, ...]]]:
    """Rules of an allocation after another one."""
    labels = labels.given(fabric.paths(allocation))
    deals = {
        name: deal(
            {labels.numbers[fabric.there(route)]: weight for route, weight in split}, fabric.slots, before.get(name, ())
        )
        for name, split in allocation.splits.items()
    }
    return compile_rules(fabric, labels, deals, installed), labels, deals


def check_nothing_wrong(net: FakeNetwork, fabric: Fabric) -> None:
    """While the first rules come: a packet arrives where it should, or nowhere."""
    for session in fabric.network.sessions:
        client = fabric.plant.source(session)
        packet = ip_packet(fabric.plant.hosts[client].ip, fabric.plant.address(session), 17, (20000, 7000))
        assert {arrival.host for arrival in net.send(client, packet)} <= set(fabric.plant.ends(session))


def check_everything(net: FakeNetwork, fabric: Fabric, allowed: dict[str, set[Path]], labels: Labels) -> None:
    """Every kind of packet arrives once, at the right host, over an allowed path."""
    plant = fabric.plant
    for session in fabric.network.sessions:
        client, address = plant.source(session), plant.address(session)
        for proto, ports in (
            (17, (20000, 7000)),
            (17, (20001, 7000)),
            (17, (20002, 7000)),
            (6, (4444, 80)),
            (1, (0, 0)),
        ):
            arrivals = net.send(client, ip_packet(plant.hosts[client].ip, address, proto, ports))
            assert len(arrivals) == 1, (session.name, proto, ports)
            arrival = arrivals[0]
            assert arrival.host in plant.ends(session)
            assert arrival.packet["eth_dst"] == number(plant.hosts[arrival.host].mac)
            assert Path(session.name, False, arrival.nodes, arrival.host) in allowed[session.name]
            answer = ip_packet(address, plant.hosts[client].ip, proto, ports[::-1])
            back = net.send(arrival.host, answer)
            assert [one.host for one in back] == [client]
            assert back[0].packet["eth_dst"] == number(plant.hosts[client].mac)
    for one in plant.hosts.values():
        for name, other in plant.hosts.items():
            if other is not one:
                arrivals = net.inject(one.node, one.port, ip_packet(one.ip, other.ip, 17, (1, 2)))
                assert [arrival.host for arrival in arrivals] == [name]
    for path, given_number in labels.numbers.items():  # packets on their way with a label
        for before, node in pairwise(path.nodes):
            packet = ip_packet("10.0.0.250", "10.9.0.1") | {"eth_dst": number(label(given_number))}
            arrivals = net.inject(node, plant.switches[node].ports[before], packet)
            assert [arrival.host for arrival in arrivals] == [path.host]


@settings(max_examples=10, deadline=None)
@given(networks(), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_no_packet_is_lost_at_any_prefix_of_an_update(net: Network, seed: int, order: random.Random) -> None:
    fabric, labels, installed = small.fabric(net, 8), Labels(), {}
    fake, deals = FakeNetwork(fabric.plant), {}
    allowed: dict[str, set[Path]] = {session.name: set() for session in net.sessions}
    for step in range(3):
        allocation, standing = some_allocation(net, seed + step), labels
        desired, labels, deals = rules_of(fabric, allocation, labels, deals, installed)
        for route, _ in allocation:
            allowed[route.session].add(fabric.there(route))
        delta = diff(desired, installed)
        for phase in phases(delta):
            shuffled = list(phase)
            order.shuffle(shuffled)
            for place, change in enumerate(shuffled):
                fake.apply(change)
                if step:
                    check_everything(fake, fabric, allowed, standing)
                elif place % 5 == 0:
                    check_nothing_wrong(fake, fabric)
        installed = desired
        check_everything(fake, fabric, allowed, labels)
        assert not diff(desired, compile_rules(fabric, labels, deals)), "taken from before or made anew, it is the same"
        places = [(switch, entry.cookie) for switch, entry in placed(desired)]
        assert len(set(places)) == len(places), "no rule is in two parts"
        for change in diff(desired, {}):  # replaying is harmless
            fake.apply(change)
        check_everything(fake, fabric, allowed, labels)


@settings(max_examples=15, deadline=None)
@given(networks(), st.integers(0, 10**6))
def test_a_link_that_fails_is_bypassed_before_anybody_decides(net: Network, seed: int) -> None:
    fabric = small.fabric(net, 8)
    rules, labels, _ = rules_of(fabric, some_allocation(net, seed), Labels(), {})
    fake, plant = FakeNetwork(fabric.plant), fabric.plant
    for change in diff(rules, {}):
        fake.apply(change)
    for a, b in sorted({tuple(sorted(link.key)) for link in net.links}):
        fake.fail(a, b)
        left = net.graph.copy()
        left.remove_edges_from([(a, b), (b, a)])
        if nx.is_strongly_connected(left):
            for name in plant.hosts.keys() - {"h-a"}:
                (arrival,) = fake.send("h-a", ip_packet(plant.hosts["h-a"].ip, plant.hosts[name].ip))
                assert arrival.host == name
            for path, given_number in labels.numbers.items():
                packet = ip_packet("10.0.0.250", "10.9.0.1") | {"eth_dst": number(label(given_number))}
                for before, node in pairwise(path.nodes):
                    (arrival,) = fake.inject(node, plant.switches[node].ports[before], packet)
                    assert (arrival.host, "vlan_vid" in arrival.packet) == (path.host, False)
        fake.fail(a, b, works=True)


def test_connections_stay_with_their_server_while_the_split_moves() -> None:
    net = small.network([("a", "b"), ("b", "c")], {"east": "c", "west": "a"}, ["b"])
    fabric = small.fabric(net, 64)
    east, west = Route("from-b", (("b", "c"),), "east"), Route("from-b", (("b", "a"),), "west")
    rules, labels, deals = rules_of(fabric, make_allocation([east, west], [0.5, 0.5]), Labels(), {})
    fake, client = FakeNetwork(fabric.plant), fabric.plant.hosts["h-b"]
    for phase in phases(diff(rules, {})):
        for change in phase:
            fake.apply(change)

    def servers(ports: range) -> list[str]:
        packets = [ip_packet(client.ip, "10.9.0.1", 6, (port, 80)) for port in ports]
        return [fake.send("h-b", packet)[0].host for packet in packets]

    old = servers(range(5000, 5040))
    assert set(old) == {"east", "west"}
    later, labels, deals = rules_of(fabric, make_allocation([west], [1.0]), labels, deals)
    for phase in phases(diff(later, rules)):
        for change in phase:
            fake.apply(change)
    assert servers(range(5000, 5040)) == old
    assert set(servers(range(6000, 6040))) == {"west"}


def test_arp_is_answered_with_the_gateways_mac() -> None:
    fabric = small.fabric(small.LINE)
    rules, *_ = rules_of(fabric, some_allocation(small.LINE, 1), Labels(), {})
    fake = FakeNetwork(fabric.plant)
    for change in diff(rules, {}):
        fake.apply(change)
    host = fabric.plant.hosts["h-a"]
    request = {"eth_type": 0x0806, "eth_dst": 2**48 - 1, "eth_src": number(host.mac), "arp_op": 1}
    request |= {"arp_sha": number(host.mac), "arp_tha": 0}
    request |= {"arp_spa": number(host.ip), "arp_tpa": number("10.1.2.3")}
    (answer,) = fake.send("h-a", request)
    assert answer.host == "h-a"
    assert answer.packet == {
        "eth_type": 0x0806,
        "eth_dst": number(host.mac),
        "eth_src": GATEWAY,
        "arp_op": 2,
        "arp_sha": GATEWAY,
        "arp_tha": number(host.mac),
        "arp_spa": number("10.1.2.3"),
        "arp_tpa": number(host.ip),
    }


HOSTS = small.fabric(small.LINE).plant.hosts
ARP = {"eth_type": 0x0806, "eth_dst": 2**48 - 1, "eth_src": 1, "arp_op": 1, "arp_sha": 1, "arp_tha": 0}


@pytest.mark.parametrize(
    ("kind", "host", "packet"),
    [
        ("label", "h-b", ip_packet(HOSTS["h-b"].ip, HOSTS["h-c"].ip) | {"eth_dst": number(label(1))}),
        ("label", "h-a", ip_packet(HOSTS["h-a"].ip, "10.9.0.1", 17, (20000, 7000)) | {"eth_dst": number(label(1))}),
        ("vlan", "h-b", ip_packet(HOSTS["h-b"].ip, HOSTS["h-c"].ip) | {"vlan_vid": 0x1001}),
        ("address", "h-b", ip_packet(HOSTS["h-c"].ip, HOSTS["h-a"].ip)),
        ("address", "h-b", ip_packet("10.9.0.1", HOSTS["h-a"].ip, 17, (7000, 20000))),
        ("address", "h-a", ip_packet(HOSTS["h-b"].ip, "10.9.0.1", 17, (20000, 7000))),
        ("address", "h-b", ARP | {"arp_spa": number("10.9.0.1"), "arp_tpa": number(HOSTS["h-a"].ip)}),
        ("address", "h-b", ARP | {"arp_op": 2, "arp_spa": number(HOSTS["h-c"].ip), "arp_tpa": number("10.0.0.1")}),
    ],
)
def test_what_a_host_may_not_send_is_dropped_and_counted(kind: str, host: str, packet: Packet) -> None:
    fabric = small.fabric(small.LINE)
    rules, _labels, _ = rules_of(fabric, some_allocation(small.LINE, 1), Labels(), {})
    fake = FakeNetwork(fabric.plant)
    for change in diff(rules, {}):
        fake.apply(change)
    assert fake.send(host, packet) == []
    one = fabric.plant.hosts[host]
    met = fake.switches[one.node].met(0, packet | {"in_port": one.port})
    assert (one.node, met) in refusals(one)[kind]
    assert met is not None
    assert met.counted


def test_drops_are_told_by_host_and_kind_and_unknown_is_not_zero() -> None:
    fabric = small.fabric(small.LINE)
    counts = {
        ("rule", node, rule.cookie): Count(place, 100 * place, 1.0)
        for place, rules in enumerate(refusals(fabric.plant.hosts["h-b"]).values(), 1)
        for node, rule in rules
    }
    assert dropped(fabric, Meter(counts, {})) == {"h-b": {"vlan": 1, "label": 2, "address": 6}}


def test_no_rule_sends_packets_to_the_controller() -> None:
    fabric = small.fabric(small.LINE)
    rules, *_ = rules_of(fabric, some_allocation(small.LINE, 1), Labels(), {})
    for name, entry in placed(rules):
        ports = {*fabric.plant.switches[name].ports.values(), IN_PORT}
        ports |= {host.port for host in fabric.plant.hosts.values() if host.node == name}
        lists = [entry.actions] if isinstance(entry, Rule) else [bucket.actions for bucket in entry.buckets]
        assert {action.port for actions in lists for action in actions if isinstance(action, Output)} <= ports


def test_two_sessions_cannot_claim_the_same_packets() -> None:
    one = small.LINE.sessions[0]
    twice = Network(
        "n", small.LINE.nodes, small.LINE.links, small.LINE.servers, (one, type(one)(**{**vars(one), "name": "x"}))
    )
    with pytest.raises(RuleError, match="declared twice"):
        rules_of(small.fabric(twice), some_allocation(twice, 1), Labels(), {})


@pytest.mark.parametrize(
    ("table", "match", "actions", "said"),
    [
        (9, (), (), "no such table"),
        (4, (("in_port", 1),), (), "does not match in_port"),
        (4, (), (Goto(5),), "does not do"),
        (5, (), (SetField("ipv4_dst", "10.0.0.1"),), "does not write ipv4_dst"),
        (2, (), (Goto(5),), "does not lead to 5"),
        (0, (), (Goto(4), Output(1)), "must be the last"),
        (0, (("in_port", 1), ("eth_type", 0x800)), (), "sorted"),
    ],
)
def test_what_a_table_does_not_declare_is_refused(table: int, match: tuple, actions: tuple, said: str) -> None:
    with pytest.raises(RuleError, match=said):
        declare(table, 1, match, *actions)


def test_doubted_rules_are_sent_again_or_deleted() -> None:
    kept, gone = (Rule(5, 10, (("eth_type", 0x800), ("ipv4_dst", ip)), (Output(1),)) for ip in ("10.0.0.1", "10.0.0.2"))
    both, one = ({"p": part_of(None, [("s", rule) for rule in rules])} for rules in ((kept, gone), (kept,)))
    after = diff(one, doubted({}, both))
    assert sorted((change.kind, change.entry.match) for change in after) == [
        ("add", kept.match),
        ("delete", gone.match),
    ]


def test_numbers_are_kept_for_the_life_of_a_run() -> None:
    one, other = Path("s", False, ("a", "b"), "h"), Path("s", False, ("a", "c"), "h")
    labels = Labels().given([other])
    assert labels.given([one, other]).numbers[other] == labels.numbers[other] == 1
    assert labels.given([one]).path(2) == one
