"""Members that come and go: what is told of them by logs, at which rates, and of which scenarios."""

from __future__ import annotations

import socket
import struct
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from experiments.faults.failing import fail_tree, sparing
from experiments.faults.ground import Ground, links_of
from experiments.faults.joining import AWAY_S, STAYS_S, Visit, comers, lively, turns, visits_of
from experiments.faults.packets import Packets
from experiments.faults.table import BEDS, ROWS, chosen, run
from experiments.running.campaign import Options
from experiments.running.phase import Traffic
from pricing.errors import WardropError
from topologies import scenario as scenarios
from topologies.hosts.logs import ANSWERED, SECOND, SENT, SERVED
from topologies.hosts.member import number
from topologies.hosts.sockets import HEADER


def log(kind: np.dtype[np.void], **columns: Any) -> Any:
    """A log with these columns, times given in s."""
    found = np.zeros(len(next(iter(columns.values()))), kind)
    for name, values in columns.items():
        found[name] = np.array(values) * SECOND if name in ("sent", "received", "left") else values
    return found


SENT_LOG = log(SENT, seq=range(40), flow=[0, 1] * 20, sent=np.arange(1, 41) / 2)
"""Two flows in turn, a packet every half second from 0.5 to 20 s."""


def heard(*numbers: int) -> Any:
    """These packets, each as it was sent."""
    return log(ANSWERED, seq=numbers, received=[(number + 1) / 2 for number in numbers])


def test_a_join_is_served_when_every_flow_is_and_a_leave_when_nothing_comes() -> None:
    turn = np.array([[2.0, 6.0]])
    # joined at 2 s: packets 3 and 4 go by, flow 0 is served from 6 on and flow 1 from 7; packet 12 came after the leave
    assert visits_of(SENT_LOG, heard(*range(6, 13)), turn) == [Visit(5, 0, 1.0, 0.5)]
    assert visits_of(SENT_LOG, heard(6, 7, 9, 10), turn) == [Visit(5, 1, 1.0, 0.0)], "packet 8 is a hole"
    assert visits_of(SENT_LOG, heard(), turn) == [Visit(0, 0, 3.5, 0.0)], "never served"
    assert visits_of(SENT_LOG, heard(*range(40)), np.array([[2.0, 17.0]])) == [], "who knows when it is pruned"
    both = visits_of(SENT_LOG, heard(*range(3, 14), *range(21, 30)), np.array([[2.0, 6.0], [11.0, 15.0]]))
    assert [(visit.join_s, round(visit.leave_s, 6)) for visit in both] == [(0.0, 1.0), (0.0, 0.0)]


def test_members_come_and_go_by_turns_that_the_seed_says() -> None:
    found = np.array(turns(7, 100.0, 300.0))
    assert found.tolist() == np.array(turns(7, 100.0, 300.0)).tolist() != np.array(turns(8, 100.0, 300.0)).tolist()
    stays, away = found[:, 1] - found[:, 0], found[1:, 0] - found[:-1, 1]
    assert ((stays >= STAYS_S[0]) & (stays <= STAYS_S[1])).all()
    assert ((away >= AWAY_S[0]) & (away <= AWAY_S[1])).all()
    assert 100 <= found[0, 0] <= 103
    assert 380 < found[-1, 1] <= 400


def test_rates_are_shares_of_what_can_be_carried() -> None:
    butterfly = scenarios.load("butterfly-group").network
    (whole,), (spared,) = (made(butterfly).sessions for made in (lively, sparing))
    assert whole.joined
    assert not spared.joined
    assert whole.rate == pytest.approx(1.6e6, rel=1e-3)
    assert spared.rate == pytest.approx(0.8e6, rel=1e-3), "one of the source's two cables"
    assert {link.queue for made in (lively, sparing) for link in made(butterfly).links} == {5000}
    assert comers(butterfly) == ("RightSink",)
    assert comers(scenarios.load("abilene-group").network) == ("LosAngeles", "WashingtonDC")
    assert comers(scenarios.load("abilene").network) == ()


def test_the_cable_that_fails_carries_most_of_the_group() -> None:
    net = scenarios.load("butterfly-group").network
    decided = [["Source>Right{LeftSink,RightSink} Right>RightSink{RightSink}", 0.7], ["Source>Left{LeftSink}", 0.3]]
    cut: list[tuple[str, str]] = []

    def fail(a: str, b: str) -> None:
        cut.append((a, b))
        raise InterruptedError

    ground = SimpleNamespace(
        network=net,
        lines=[{"decided": {"to-both": decided}}],
        up=SimpleNamespace(emulation=SimpleNamespace(fail_link=fail)),
    )
    with pytest.raises(InterruptedError):
        fail_tree(cast(Ground, ground))
    assert cut in ([("Right", "Source")], [("Right", "RightSink")])
    assert links_of("a>b>c@s") == {("a", "b"), ("b", "c")}
    assert links_of("here@s") == set()


def test_a_packet_of_a_group_counts_for_each_destination_that_is_up() -> None:
    net = scenarios.load("butterfly-group").network
    names = {"LeftSink": "h-LeftSink", "RightSink": "h-RightSink"}
    served: dict[str, Any] = {"h-LeftSink": (log(SERVED, session=[0, 0, 0], seq=[0, 1, 1]), {})}
    served |= {"h-RightSink": (log(SERVED, session=[0, 0], seq=[0, 2]), {})}
    requests: dict[str, Any] = {"to-both": (log(SENT, seq=range(3), sent=[1, 2, 3]), {})}
    plant = SimpleNamespace(host_at=names.__getitem__)

    def figures(left_out: str = "") -> dict[str, float | None]:
        up = {host: rows for host, rows in served.items() if host != left_out}
        traffic = SimpleNamespace(network=net, plant=plant, logs=lambda: (requests, {}, up))
        return Packets.of(cast(Traffic, traffic)).figures(0.5)

    assert figures() == {"packets": 6, "lost": 2, "duplicated": 1, "last_lost_s": 2.5}
    assert figures("h-LeftSink") == {"packets": 3, "lost": 1, "duplicated": 0, "last_lost_s": 1.5}


def test_what_is_no_packet_of_the_session_is_not_counted() -> None:
    udp = bytes(8) + HEADER.pack(3, 1, 77, 5)

    def packet(group: str, protocol: int = 17, words: int = 5, payload: bytes = udp) -> bytes:
        head = struct.pack("!BBHIBBH4s4s", 0x40 | words, 0, 0, 0, 1, protocol, 0, bytes(4), socket.inet_aton(group))
        return head + bytes(4 * (words - 5)) + payload

    assert number(packet("239.1.1.1"), "239.1.1.1", 3) == 77
    assert number(packet("239.1.1.1", words=6), "239.1.1.1", 3) == 77, "with an option in its header"
    others = packet("239.1.1.2"), packet("239.1.1.1", protocol=2), packet("239.1.1.1", payload=udp[:-1])
    assert [number(other, "239.1.1.1", 3) for other in others] == [None, None, None]
    assert number(packet("239.1.1.1"), "239.1.1.1", 2) is None


def test_rows_that_do_not_apply_are_named_with_what_they_need() -> None:
    def refused(name: str, *rows: str) -> str:
        with pytest.raises(WardropError) as said:
            run(scenarios.load(name), chosen(rows), Options(), 1, 5.0)
        return str(said.value)

    assert "abilene: needed are a group of two destinations" in refused("abilene", "members")
    assert refused("butterfly-group", "link", "late", "members") == (
        "butterfly-group: needed are a service on two servers or more, and a cable without which the network hangs "
        "together for link, late"
    )
    every = refused("two-servers")
    assert all(name in every for name in ROWS)
    assert len(every.splitlines()) == len({bed.lacks for bed in BEDS}), "each need once"
