"""Members of groups come and go: what hosts may report, who is a member then, and copies that the others never miss."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import random
import struct
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, number
from hypothesis import given, settings
from hypothesis import strategies as st
from test_adoption import held
from test_duplicate import BUTTERFLY, GROUP, group_network, group_packet
from test_encode import ENCODER
from test_recording import Board

from controller import adopt, health, igmp, membership, tick
from controller.app import Controller
from controller.compile import standing_rules
from controller.fabric import Fabric
from controller.igmp import Record
from controller.labels import REFUSED
from controller.measure import Measured
from controller.membership import HOLD_S, MOST_AT_ONCE, NOBODY, QUERY_S, Heard, Members, changed
from controller.metrics import Exporter
from controller.openflow import phases
from controller.recording import Recorder, recording_from_lines, replayed
from controller.rules import CONTROLLER, GATEWAY_MAC, Output
from pricing.errors import ProtocolError
from pricing.frames import checksum, packet
from pricing.network import Network
from pricing.policy import POLICIES
from pricing.problem import evaluate

INCLUDE, EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW, BLOCK = range(1, 7)
PACKETS = "os_ken.lib.packet"


def joined_network(destinations: str = "XY", more: tuple[str, ...] = ()) -> Network:
    """The butterfly with one group whose members come and go; `more` are sources of sessions to the same group."""
    net = group_network(BUTTERFLY, destinations)
    session = replace(net.sessions[0], joined=True)
    others = (replace(session, name=f"from-{node}", source=node) for node in more)
    return replace(net, sessions=(session, *others))


def v3(*records: tuple[int, str, list[str]]) -> bytes:
    """A report of version 3, written by the framework's library."""
    lib = importlib.import_module(f"{PACKETS}.igmp")
    groups = [lib.igmpv3_report_group(kind, 0, len(s), group, s) for kind, group, s in records]
    return bytes(lib.igmpv3_report(lib.IGMP_TYPE_REPORT_V3, 0, len(groups), groups).serialize(b"", None))


def v2(kind: int, group: str) -> bytes:
    """A message of versions 1 and 2."""
    lib = importlib.import_module(f"{PACKETS}.igmp")
    return bytes(lib.igmp(kind, 0, 0, group).serialize(b"", None))


def framed(body: bytes, sender: str, options: bytes = b"\x94\x04\0\0") -> bytes:
    """An IGMP message as it comes from a host."""
    return packet((GATEWAY_MAC, "01:00:5e:00:00:16"), (sender, "224.0.0.22"), 2, body, 1, options)


def from_host(fabric: Fabric, host: str, body: bytes, now: float, sender: str = "") -> Heard:
    """What the switch of a host hands up."""
    plant = fabric.plant.hosts[host]
    return Heard(plant.node, plant.port, framed(body, sender or plant.ip), now)


def after(fabric: Fabric, *heard: Heard, before: Members = NOBODY, now: float | None = None) -> Members:
    return membership.listen(fabric, before, heard, now if now is not None else heard[-1].time)


class TestBytes:
    def test_each_message_is_read(self) -> None:
        found = igmp.read(
            framed(v3((TO_EXCLUDE, GROUP, []), (ALLOW, "239.9.9.9", ["10.0.0.1", "10.0.0.2"])), "10.0.0.7")
        )
        assert (found.name, found.sender) == ("v3", "10.0.0.7")
        assert found.records == (
            Record("to exclude", GROUP),
            Record("allow", "239.9.9.9", ("10.0.0.1", "10.0.0.2")),
        )
        for kind, name, said in ((0x12, "v1", "exclude"), (0x16, "v2", "exclude"), (0x17, "leave", "to include")):
            assert igmp.read(framed(v2(kind, GROUP), "10.0.0.7", b"")) == igmp.Report(
                name, "10.0.0.7", (Record(said, GROUP),)
            )

    def test_records_of_unknown_types_other_data_and_what_follows_are_passed_over(self) -> None:
        record = struct.pack("!BBH4s4sI", 6, 1, 1, b"\xef\1\2\3", bytes([10, 0, 0, 1]), 7)
        strange = struct.pack("!BBH4s", 99, 0, 0, b"\xef\1\2\3")
        head = struct.pack("!BBHHH", 0x22, 0, 0, 0, 2)
        body = head + strange + record + b"more"
        body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
        assert igmp.read(framed(body, "10.0.0.7")).records == (Record("block", GROUP, ("10.0.0.1",)),)

    @pytest.mark.parametrize(
        ("where", "what"),
        [
            (12, b"\x86\xdd"),  # no IPv4
            (14, b"\x66"),  # version 6
            (14, b"\x4f"),  # a header longer than the packet's own words
            (16, b"\xff\xff"),  # longer than the frame
            (20, b"\x20\0"),  # a fragment
            (23, b"\x11"),  # UDP
            (24, b"\0\0"),  # checksum of the header
            (40, b"\0\0"),  # checksum of the message
            (38, b"\x11"),  # a query
            (44, b"\0\x09"),  # more records than there are
            (48, b"\xff\xff"),  # more sources than there are
            (50, b"\x0a"),  # no group's address
        ],
    )
    def test_what_is_wrong_is_refused(self, where: int, what: bytes) -> None:
        good = framed(v3((TO_EXCLUDE, GROUP, [])), "10.0.0.7")
        bad = good[:where] + what + good[where + len(what) :]
        if where > 40:  # it must not be refused for its checksum alone
            fixed = bad[:40] + bytes(2) + bad[42:]
            bad = bad[:40] + checksum(fixed[38:]).to_bytes(2, "big") + bad[42:]
        with pytest.raises(ProtocolError):
            igmp.read(bad)

    @given(st.data())
    def test_any_bytes_are_a_report_or_no_report(self, data: st.DataObject) -> None:
        frame = bytearray(framed(v3((ALLOW, GROUP, ["10.0.0.1"])), "10.0.0.7"))
        for _ in range(data.draw(st.integers(0, 4))):
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(ProtocolError):
            igmp.read(bytes(frame[: data.draw(st.integers(0, len(frame)))]))

    def test_the_query_is_one_to_others_too(self) -> None:
        lib = importlib.import_module(f"{PACKETS}.igmp")
        frame = igmp.query(5.0, 0.5)
        assert (frame[:6].hex(":"), frame[14:16].hex(), frame[22]) == ("01:00:5e:00:00:01", "4600", 1)
        assert checksum(frame[14:38]) == checksum(frame[38:]) == 0
        asked, _, rest = lib.igmp.parser(frame[38:])
        assert (asked.msgtype, asked.maxresp, asked.address, asked.qqic, asked.qrv) == (0x11, 5, "0.0.0.0", 5, 2)
        assert (asked.num, rest) == (0, b"")


ONE, TWO, OTHER = "10.0.0.1", "10.0.0.2", "10.0.0.99"
FILTERS = {
    "nothing": None,
    "include 1": membership.Filter(False, {ONE: 5.0}),
    "exclude 1": membership.Filter(True, {ONE: 5.0}, 5.0),
}


@pytest.mark.parametrize(
    ("before", "kind", "sources", "wants"),
    [
        ("nothing", "include", [ONE], {ONE}),
        ("nothing", "include", [OTHER], set()),
        ("nothing", "exclude", [], {ONE, TWO}),
        ("nothing", "exclude", [ONE, OTHER], {TWO}),
        ("nothing", "to include", [TWO], {TWO}),
        ("nothing", "to exclude", [TWO], {ONE}),
        ("nothing", "allow", [TWO], {TWO}),
        ("nothing", "block", [TWO], set()),
        ("include 1", "include", [TWO], {ONE, TWO}),
        ("include 1", "exclude", [], {ONE, TWO}),
        ("include 1", "to include", [], set()),
        ("include 1", "to include", [TWO], {TWO}),
        ("include 1", "to exclude", [ONE], {TWO}),
        ("include 1", "allow", [TWO], {ONE, TWO}),
        ("include 1", "block", [ONE], set()),
        ("include 1", "block", [TWO], {ONE}),
        ("exclude 1", "include", [ONE], {ONE}),
        ("exclude 1", "exclude", [TWO], {ONE}),
        ("exclude 1", "to include", [], set()),
        ("exclude 1", "to exclude", [], {ONE, TWO}),
        ("exclude 1", "allow", [ONE], {ONE, TWO}),
        ("exclude 1", "block", [TWO], set()),
    ],
)
def test_what_a_host_wants_after_what_it_says(
    before: str, kind: igmp.Kind, sources: list[str], wants: set[str]
) -> None:
    found = changed(FILTERS[before], Record(kind, GROUP, tuple(sources)), (ONE, TWO), 10.0)
    assert {source for source in (ONE, TWO) if found.wants(source, 4.0)} == wants
    assert OTHER not in found.sources, "what nobody sends is not kept"
    assert not any(found.wants(source, 10.0) for source in (ONE, TWO))


class TestWhoIsThere:
    fabric = small.fabric(joined_network(more=("A",)))
    source = fabric.plant.hosts["h-S"].ip

    def there(self, members: Members, now: float) -> set[tuple[str, str]]:
        return set(membership.present(self.fabric, members, now))

    def test_any_source_is_every_session_of_the_group_and_one_source_is_its_own(self) -> None:
        every = after(self.fabric, from_host(self.fabric, "h-X", v2(0x16, GROUP), 1.0))
        assert self.there(every, 1.0) == {("k", "X"), ("from-A", "X")}
        own = after(self.fabric, from_host(self.fabric, "h-Y", v3((ALLOW, GROUP, [self.source])), 1.0))
        assert self.there(own, 1.0) == {("k", "Y")}
        assert membership.absent(self.fabric, membership.present(self.fabric, own, 1.0)) == {
            ("k", "X"),
            ("from-A", "X"),
            ("from-A", "Y"),
        }

    def test_who_leaves_is_gone_at_once_and_who_vanishes_within_twelve_seconds(self) -> None:
        here = after(self.fabric, from_host(self.fabric, "h-X", v2(0x16, GROUP), 1.0))
        left = after(self.fabric, from_host(self.fabric, "h-X", v2(0x17, GROUP), 2.0), before=here)
        assert not self.there(left, 2.0)
        assert not left.filters
        assert self.there(after(self.fabric, before=here, now=1 + 2 * QUERY_S), 1 + 2 * QUERY_S), "one answer was lost"
        gone = after(self.fabric, before=here, now=1 + HOLD_S)
        assert not gone.filters
        assert HOLD_S + 1.0 < 12.0, "a tick later it is pruned"

    def test_behind_a_switch_that_is_silent_nobody_vanishes(self) -> None:
        here = after(self.fabric, from_host(self.fabric, "h-X", v3((ALLOW, GROUP, [self.source])), 1.0))
        held = membership.listen(self.fabric, here, [], 100.0, ["X"])
        assert self.there(held, 100.0 + HOLD_S - 0.1) == {("k", "X")}
        assert not self.there(membership.listen(self.fabric, held, [], 100.0 + HOLD_S), 100.0 + HOLD_S)

    @pytest.mark.parametrize(
        ("host", "body", "sender", "kind"),
        [
            ("h-X", b"short", "", "malformed"),
            ("h-X", v2(0x11, "0.0.0.0"), "", "malformed"),
            ("h-X", v2(0x16, GROUP), "10.0.0.200", "forged"),
            ("h-X", v2(0x16, "239.9.9.9"), "", "group"),
            ("h-N", v2(0x16, GROUP), "", "place"),
            ("h-S", v3((ALLOW, GROUP, ["10.0.0.1"])), "", "place"),
        ],
    )
    def test_what_is_refused_is_counted(self, host: str, body: bytes, sender: str, kind: str) -> None:
        found = after(self.fabric, from_host(self.fabric, host, body, 1.0, sender))
        assert dict(found.refused) == {kind: 1}
        assert not found.filters

    def test_what_comes_from_no_host_is_forged(self) -> None:
        found = after(self.fabric, Heard("S", 1, framed(v2(0x16, GROUP), "10.0.0.1"), 1.0))
        assert dict(found.refused) == {"forged": 1}

    @pytest.mark.parametrize("body", [v2(0x17, "239.9.9.9"), v2(0x16, "224.0.0.251"), v3((BLOCK, "239.9.9.9", [ONE]))])
    def test_leaves_of_unknown_groups_and_local_groups_are_nobodys_business(self, body: bytes) -> None:
        found = after(self.fabric, from_host(self.fabric, "h-X", body, 1.0))
        assert not found.refused
        assert sum(found.reports.values()) == 1

    def test_a_flood_of_one_host_keeps_no_other_out(self) -> None:
        flood = [from_host(self.fabric, "h-X", v2(0x16, "239.9.9.9"), 1.0)] * 1000
        found = after(self.fabric, *flood, from_host(self.fabric, "h-Y", v2(0x16, GROUP), 1.0))
        assert dict(found.refused) == {"group": MOST_AT_ONCE, "rate": 1000 - MOST_AT_ONCE}
        assert self.there(found, 1.0) == {("k", "Y"), ("from-A", "Y")}
        later = after(self.fabric, from_host(self.fabric, "h-X", v2(0x16, GROUP), 2.0), before=found)
        assert ("k", "X") in self.there(later, 2.0)

    def test_two_hundred_groups_in_one_report_or_a_message_each(self) -> None:
        net = joined_network()
        groups = [f"239.7.{n // 100}.{n % 100 + 1}" for n in range(200)]
        sessions = tuple(replace(net.sessions[0], name=f"g{n}", group=group) for n, group in enumerate(groups))
        fabric = small.fabric(replace(net, sessions=sessions))
        each = [from_host(fabric, "h-X", v2(0x16, group), 1.0) for group in groups]
        whole = from_host(fabric, "h-Y", v3(*((TO_EXCLUDE, group, []) for group in groups)), 1.0)
        found = after(fabric, *each, whole)
        assert not found.refused
        assert len(membership.present(fabric, found, 1.0)) == 400

    def test_hosts_that_may_join_are_asked_out_of_their_own_ports(self) -> None:
        asked = {(switch, port) for switch, port, _ in membership.queries(self.fabric)}
        assert asked == {(host.node, host.port) for host in map(self.fabric.plant.hosts.get, ("h-X", "h-Y")) if host}


def reports_meet(fabric: Fabric) -> FakeNetwork:
    """A network with the rules that an allocation does not change."""
    fake = FakeNetwork(fabric.plant)
    for placed in standing_rules(fabric).entries:
        if placed:
            fake.switches[placed[0]].groups.update({placed[1].number: placed[1]} if hasattr(placed[1], "kind") else {})
    for placed in standing_rules(fabric).entries:
        if placed and not hasattr(placed[1], "kind"):
            fake.switches[placed[0]].rules[placed[1].table, placed[1].priority, placed[1].match] = placed[1]
    return fake


def test_reports_come_to_us_alone_and_only_under_their_hosts_address() -> None:
    fabric = small.fabric(joined_network())
    fake = reports_meet(fabric)
    for host, target in (("h-X", "224.0.0.22"), ("h-X", GROUP), ("h-S", GROUP), ("h-N", "224.0.0.2")):
        own = {"eth_dst": 1, "eth_type": 0x0800, "ip_proto": 2, "ipv4_dst": number(target)}
        own |= {"ipv4_src": number(fabric.plant.hosts[host].ip)}
        assert fake.send(host, own) == []
        assert (fake.told[-1][:2]) == (fabric.plant.hosts[host].node, fabric.plant.hosts[host].port)
        before = len(fake.told)
        assert fake.send(host, own | {"ipv4_src": number("10.0.0.200")}) == []
        assert len(fake.told) == before
    listed = small.fabric(group_network(BUTTERFLY, "XY"))
    assert not any(Output(CONTROLLER) in getattr(p[1], "actions", ()) for p in standing_rules(listed).entries if p)


def one_tick(fabric: Fabric, state: tick.State, members: Iterable[str]) -> tuple[tick.State, tick.Plan]:
    """A tick at the model's loads while these are the members."""
    present = frozenset(("k", node) for node in members)
    state = tick.with_outage(fabric, state, health.outage(fabric, frozenset(), {}, present))
    if state.decision is not None:
        loads = evaluate(fabric.network, state.decision.allocation).loads
        ages = np.zeros(len(fabric.network.links)), np.zeros(0), np.zeros(len(fabric.network.sessions))
        state = replace(state, measured=Measured(loads, *ages, loads.offered, {}))
    return state, tick.plan(fabric, state)


PORTS = range(20000, 20004)
"""Of flows: some slot of each route is met, again and again."""

POLICY_NAMES = ("joint", "joint-distributed", "steiner", "edspa", "gdcnc", "dcnc", "ucnc")


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(POLICY_NAMES),
    st.lists(st.sets(st.sampled_from("WXY")), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
)
def test_who_stays_has_one_copy_of_each_packet_at_every_prefix_of_every_update(
    policy: str, steps: list[set[str]], order: random.Random
) -> None:
    fabric = small.fabric(joined_network("WXY"), 4)
    state, fake = tick.first_state(fabric, POLICIES[policy]), FakeNetwork(fabric.plant)
    before: set[str] = set()
    for step, members in enumerate(steps):
        state, plan = one_tick(fabric, state, members)
        for phase in phases(plan.delta):
            for change in order.sample(phase, len(phase)):
                fake.apply(change)
                for port in PORTS if step else ():
                    found = sorted(arrival.host for arrival in fake.send("h-S", group_packet(fabric, port)))
                    assert len(found) == len(set(found)), "twice"
                    assert {f"h-{name}" for name in before & members} <= set(found), "who stays missed one"
                    assert set(found) <= {f"h-{name}" for name in before | members}
        state, before = tick.acknowledged(state, plan), members
        for port in PORTS:
            found = sorted(arrival.host for arrival in fake.send("h-S", group_packet(fabric, port)))
            assert found == sorted(f"h-{name}" for name in members)
        line = tick.describe(fabric, state)
        assert line["members"] == {"k": sorted(members)}
        assert not line["stranded"]
        assert line["served"]["k"] == float(bool(members))
        assert set(state.deals["k"]) == {REFUSED} or members, "without members nothing passes the first switch"


def test_two_sources_of_one_group_each_reach_its_members_once() -> None:
    fabric = small.fabric(joined_network(more=("N",)), 4)
    present = frozenset({("k", "X"), ("k", "Y"), ("from-N", "Y")})
    state, fake = tick.first_state(fabric, POLICIES["steiner"]), FakeNetwork(fabric.plant)
    state = tick.with_outage(fabric, state, health.outage(fabric, frozenset(), {}, present))
    for phase in phases(tick.plan(fabric, state).delta):
        for change in phase:
            fake.apply(change)
    for port in PORTS:
        sent = group_packet(fabric, port)
        assert sorted(arrival.host for arrival in fake.send("h-S", sent)) == ["h-X", "h-Y"]
        other = sent | {"ipv4_src": number(fabric.plant.hosts["h-N"].ip)}
        assert [arrival.host for arrival in fake.send("h-N", other)] == ["h-Y"], "X has joined the other source alone"


class Hosts(Board):
    """Switches that hand up what hosts said since the last tick."""

    def __init__(self, fabric: Fabric) -> None:
        super().__init__()
        self.fabric, self.missing = fabric, list[str]()
        self.said: list[Heard] = []
        self.asked = 0

    def heard(self) -> list[Heard]:
        said, self.said = self.said, []
        return said

    def send(self, frames: list[tuple[str, int, bytes]]) -> None:
        self.asked += len(frames)


def test_the_controller_follows_its_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = small.fabric(joined_network())
    board, clock = Hosts(fabric), [100.0]
    monkeypatch.setattr("controller.app.time.monotonic", lambda: clock[0])
    exporter, kept = Exporter(fabric.network), io.StringIO()
    recorder = Recorder(kept, fabric)
    controller = Controller(fabric, POLICIES["steiner"], board, exporter, 1.0, recorder=recorder)  # type: ignore[arg-type]
    controller.start()
    assert controller.line["members"] == {"k": []}
    controller._query()
    controller._query()
    assert board.asked == 2, "one query for each host, until it is time again"
    board.said = [from_host(fabric, f"h-{name}", v2(0x16, GROUP), 100.2) for name in "XY"]
    clock[0] += 1
    controller.tick()
    assert controller.line["members"] == {"k": ["X", "Y"]}
    board.said = [from_host(fabric, "h-X", v2(0x17, GROUP), 101.5), from_host(fabric, "h-X", b"?", 101.6)]
    clock[0] += 1
    controller.tick()
    assert controller.line["members"] == {"k": ["Y"]}
    told = exporter.scrape()[1].decode()
    assert 'wardrop_group_members{session="k"} 1.0' in told
    assert 'wardrop_group_reports_total{message="v2"} 2.0' in told
    assert 'wardrop_group_refused_total{kind="malformed"} 1.0' in told
    clock[0] += 11
    controller.tick()
    assert controller.line["members"] == {"k": []}
    assert controller.line["error"] is None
    again = list(replayed(recording_from_lines(kept.getvalue().splitlines(keepends=True))))
    assert [one.same for one in again] == [True] * 4, "a recording holds who was a member"


@pytest.mark.parametrize("members", [{"X"}, {"X", "Y"}, set[str]()])
def test_a_controller_that_starts_again_goes_on_with_whoever_is_there(members: set[str]) -> None:
    fabric = small.fabric(joined_network())
    state = tick.first_state(fabric, POLICIES["steiner"])
    for some in ({"Y"}, members):
        state, plan = one_tick(fabric, state, some)
        state = tick.acknowledged(state, plan)
    told = held(state.installed)
    found = adopt.adopted(fabric, state.policy, state.labels, told, state.outage, ENCODER.told)
    assert found.decision is not None
    assert dict(found.deals) == dict(state.deals)
    assert len(tick.restore(fabric, found, found.decision).delta) == 0
    _, plan = one_tick(fabric, found, members)
    assert plan.deals == state.deals


def test_members_that_come_or_go_have_a_tick_out_of_turn_once_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric, clock, kept = small.fabric(joined_network()), [100.0], io.StringIO()
    board, record = Hosts(fabric), io.StringIO()
    controller = Controller(  # type: ignore[arg-type]
        fabric, POLICIES["gdcnc"], board, Exporter(fabric.network), 1.0, record, Recorder(kept, fabric)
    )
    says = [(100.25, "X", 0x16), (100.45, "Y", 0x16), (101.25, "Y", 0x17)]

    def wait(seconds: float) -> None:
        clock[0] += seconds
        while says and says[0][0] <= clock[0]:
            at, name, kind = says.pop(0)
            board.said.append(from_host(fabric, f"h-{name}", v2(kind, GROUP), at))
        controller.stopping = clock[0] > 102.5

    monkeypatch.setattr("controller.app.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("controller.app.time.sleep", wait)
    monkeypatch.setattr("controller.app.time.time", lambda: clock[0])
    monkeypatch.setattr("controller.app.garbage.keep", lambda: None)
    controller.run()
    lines = [json.loads(line) for line in record.getvalue().splitlines()]
    found = [(round(line["time"], 2), "".join(line["members"]["k"])) for line in lines]
    assert found == [(100.0, ""), (100.0, ""), (100.3, "X"), (101.0, "XY"), (101.3, "X"), (102.0, "X")]
    assert [line["tick"] for line in lines] == list(range(6))
    measured = [json.loads(line)["now"] for line in kept.getvalue().splitlines()[1:]]
    assert measured == [None, 100.0, None, 101.0, None, 102.0], "rates are told from whole periods"
    assert all(one.same for one in replayed(recording_from_lines(kept.getvalue().splitlines(keepends=True))))
