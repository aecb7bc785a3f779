"""Sessions of one host that differ in their class alone, and hosts that mark what they have not bought."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, Packet, number

from controller.compile import compile_rules, remarks, request_rule
from controller.labels import Labels
from controller.measure import Count, Meter, remarked
from controller.openflow import phases
from controller.rules import GATEWAY_MAC, diff
from pricing.frames import dscp
from pricing.network import Network, Route
from pricing.problem import make_allocation
from topologies.links import tos

BOUGHT = (1, 3)


def network() -> Network:
    """Two servers behind a; h-a has bought classes 1 and 3 there, b class 2."""
    net = small.network([("a", "b"), ("a", "c")], {"east": "b", "west": "c"}, ["a", "b"])
    mine, other = net.sessions
    sessions = tuple(replace(mine, name=f"a{klass}", klass=klass) for klass in BOUGHT)
    return replace(net, sessions=(*sessions, replace(other, klass=2)))


def packet(mark: int, target: str, source: str) -> Packet:
    """As a host sends it to its gateway."""
    return {
        "eth_dst": number(GATEWAY_MAC),
        "eth_type": 0x0800,
        "ip_proto": 17,
        "ipv4_src": number(source),
        "ipv4_dst": number(target),
        "udp_src": 20_000,
        "udp_dst": 7000,
        "ip_dscp": mark,
    }


def up() -> FakeNetwork:
    """The first class goes to east, the third to west."""
    net = network()
    fabric = small.fabric(net, 8)
    east, west = Route("a1", (("a", "b"),), "east"), Route("a3", (("a", "c"),), "west")
    allocation = make_allocation([east, west, Route("from-b", (), "east")], [1.0, 1.0, 1.0])
    labels = Labels().given(fabric.paths(allocation))
    deals = {route.session: (labels.numbers[fabric.there(route)],) * 8 for route, _ in allocation}
    fake = FakeNetwork(fabric.plant)
    for phase in phases(diff(compile_rules(fabric, labels, deals), {})):
        for change in phase:
            fake.apply(change)
    return fake


def test_marks_are_those_of_the_links() -> None:
    assert [4 * dscp(klass) for klass in range(1, 9)] == [tos(klass, 8) for klass in range(1, 9)]


@pytest.mark.parametrize(
    ("mark", "host", "after"),
    [(dscp(1), "east", dscp(1)), (dscp(3), "west", dscp(3)), (dscp(2), "west", dscp(3)), (0, "west", dscp(3))],
)
def test_the_class_chooses_the_session_and_what_was_not_bought_is_the_last(mark: int, host: str, after: int) -> None:
    fake = up()
    (arrival,) = fake.send("h-a", packet(mark, "10.9.0.1", fake.plant.hosts["h-a"].ip))
    assert (arrival.host, arrival.packet["ip_dscp"]) == (host, after)


@pytest.mark.parametrize(("mark", "after"), [(dscp(1), 0), (dscp(2), 0), (dscp(3), dscp(3)), (0, 0)])
def test_what_belongs_to_no_session_goes_with_the_last_class(mark: int, after: int) -> None:
    fake = up()
    source, target = fake.plant.hosts["h-a"].ip, fake.plant.hosts["h-b"].ip
    (arrival,) = fake.send("h-a", packet(mark, target, source))
    assert (arrival.host, arrival.packet["ip_dscp"]) == ("h-b", after)


def test_answers_keep_their_class_and_are_not_re_marked() -> None:
    fake = up()
    client = fake.plant.hosts["h-a"].ip
    for mark in map(dscp, BOUGHT):
        (arrival,) = fake.send("east", packet(mark, client, "10.9.0.1"))
        assert (arrival.host, arrival.packet["ip_dscp"]) == ("h-a", mark)


def test_re_marked_packets_are_counted_by_host_and_unknown_is_not_zero() -> None:
    fabric = small.fabric(network())
    rules = remarks(fabric)["h-a"]
    counts = {("rule", node, rule.cookie): Count(5, 500, 1.0) for node, rule in rules}
    assert len(rules) == 3, "to the service, and two classes before the last"
    assert remarked(fabric, Meter(counts, {})) == {"h-a": 15}
    assert not any(remarks(small.fabric(small.LINE)).values()), "where nobody has classes, marks mean nothing"
    assert dict(request_rule(small.fabric(small.LINE), small.LINE.sessions[0])[1].match).keys().isdisjoint({"ip_dscp"})
