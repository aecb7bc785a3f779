"""Figures of a window, from logs written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.result.measure import Window, join, measure, unaccounted
from experiments.running.phase import switch_drops
from pricing.network import Link, Network, Node, Server, Session
from topologies.hosts.logs import ANSWERED, SECOND, SENT, SERVED

BASE = 1_800_000_000  # s
MS = SECOND // 1000


@pytest.fixture
def network():
    links = tuple(Link(a, b, 1e6) for a, b in ("ab", "ba", "ac", "ca"))
    servers = (Server("east", "b", 100.0), Server("west", "c", 50.0))
    sessions = (
        Session("one", "a", "anycast", ("east", "west"), 1e5, work=1.0),
        Session("two", "b", "unicast", ("a",), 1e5),
    )
    return Network("small", tuple(map(Node, "abc")), links, servers, sessions)


def sent(*rows):
    """Rows of (seq, flow, ms after BASE); a payload of 58 bytes makes a frame of 800 bits."""
    return np.array(
        [(seq, flow, 58, 0, BASE * SECOND + at * MS if at is not None else 0) for seq, flow, at in rows], SENT
    )


def served(*rows, session=0):
    """Rows of (seq, flow, sent, received, start, departure, left), the times in ms after BASE; None is 0."""
    made = np.zeros(len(rows), SERVED)
    for row, (seq, flow, *times) in zip(made, rows, strict=True):
        row["session"], row["seq"], row["flow"], row["size"] = session, seq, flow, 58
        for name, at in zip(("sent", "received", "start", "departure", "left"), times, strict=True):
            row[name] = BASE * SECOND + at * MS if at is not None else 0
        row["work"] = (row["departure"] - row["start"]) / SECOND
    return made


def test_parts_of_a_delay_add_up(network):
    requests = join(network, {"one": sent((0, 3, 100))}, {"west": served((0, 3, 100, 102, 105, 125, 126))})
    assert requests.network.tolist() == pytest.approx([0.002])
    assert requests.wait.tolist() == pytest.approx([0.003])
    assert requests.work.tolist() == pytest.approx([0.020])
    assert requests.late.tolist() == pytest.approx([0.001])
    assert requests.delay.tolist() == pytest.approx([0.026])
    assert (requests.server.tolist(), requests.copies.tolist(), requests.bits.tolist()) == ([1], [1], [800.0])


def test_counts_of_a_window(network):
    log = {"one": sent((0, 0, 0), (1, 0, 1000), (2, 0, 1100), (3, 1, 1200), (4, 0, 1300), (5, 0, None), (6, 0, 3000))}
    east = served((2, 0, 1100, 1110, 1110, 1120, 1120), (1, 0, 1000, 1130, 1130, 1140, 1140), (0, 0, 0, 5, 5, 6, 6))
    west = served((2, 0, 1100, 1115, 1115, 1125, 1125), (4, 0, 1300, 1310, None, None, None))
    logs = {"east": east, "west": west}
    back = np.array([(1, BASE * SECOND + 1150 * MS), (1, BASE * SECOND + 1190 * MS)], ANSWERED)
    window = Window(BASE + 1, BASE + 3)
    found = measure(network, join(network, log, logs, {"one": back}), logs, window)
    one, two = found.sessions
    # 1 and 2 arrived (2 twice, and before 1); 3 was lost, 4 refused; 5 never left its sender; 0 and 6 are outside.
    assert (one.sent, one.received, one.lost, one.duplicated, one.reordered) == (4, 2, 2, 1, 1)
    assert (one.answered, one.round_trip.value) == (1, pytest.approx(0.150))
    assert one.offered.value == pytest.approx(4 * 800 / 2)
    assert one.delivered.value == pytest.approx(2 * 800 / 2)
    assert one.delay.mean.value == pytest.approx((0.020 + 0.140) / 2)
    assert one.delay.mean.n == 2
    assert (two.sent, two.received, two.delay.mean.n) == (0, 0, 0)
    east_figures, west_figures = found.servers
    assert (east_figures.requests, east_figures.refused) == (2, 0)
    assert east_figures.utilization == pytest.approx(0.020 / 2)
    assert east_figures.load.value == pytest.approx(0.010 * 100)
    assert (west_figures.requests, west_figures.refused) == (1, 1)
    assert unaccounted(one.sent, one.received, {"link a->b": 1, "server west": 1}) == 0
    assert unaccounted(one.sent, one.received, {"link a->b": 1}) == 1


def test_bad_seconds_are_counted_and_left_out_of_delays(network):
    log = {"one": sent((0, 0, 500), (1, 0, 1500), (2, 0, 2500))}
    logs = {
        "east": served(
            (0, 0, 500, 510, 510, 520, 521), (1, 0, 1500, 1900, 1990, 1995, 1999), (2, 0, 2500, 2510, 2520, 2530, 2531)
        )
    }
    found = measure(network, join(network, log, logs), logs, Window(BASE, BASE + 3, frozenset({BASE + 1})))
    assert (found.sessions[0].sent, found.sessions[0].received, found.sessions[0].excluded) == (3, 3, 1)
    assert found.delay.mean.value == pytest.approx((0.021 + 0.031) / 2)
    assert found.parts.network.value == pytest.approx(0.010)
    assert found.servers[0].wait.value == pytest.approx(0.005)
    assert found.servers[0].load.value == pytest.approx((0.01 + 0.005 + 0.01) * 100 / 3)
    assert found.servers[0].late_p99.value == pytest.approx(0.001)


def test_reordering_is_within_a_flow(network):
    log = {"one": sent((0, 0, 0), (1, 1, 1), (2, 0, 2), (3, 1, 3))}
    rows = [
        (seq, flow, seq, at, at, at + 1, at + 1) for at, (seq, flow) in enumerate([(3, 1), (0, 0), (2, 0), (1, 1)], 10)
    ]
    requests = join(network, log, {"east": served(*rows)})
    assert requests.reordered.tolist() == [False, True, False, False]


def test_rows_of_another_run_are_left_out(network):
    log = {"one": sent((0, 0, 1000), (1, 0, 1001))}
    rows = [
        (0, 0, 400, 1002, 1002, 1003, 1003),
        (1, 0, 1001, 1002, 1003, 1004, None),
        (9, 0, 1001, 1002, 1004, 1005, 1005),
    ]
    requests = join(network, log, {"east": served(*rows)})
    assert requests.copies.tolist() == [0, 1]
    assert np.isnan(requests.delay).all()  # the second was still queued when the server ended


def test_unicast_ends_at_a_host_that_is_no_server(network):
    logs = {"h-a": served((0, 0, 5, 9, 9, 9, 9), session=1)}
    found = measure(network, join(network, {"two": sent((0, 0, 5))}, logs), logs, Window(BASE, BASE + 1))
    assert (found.sessions[1].received, found.sessions[1].delay.mean.value) == (1, pytest.approx(0.004))
    assert found.servers == ()


def test_growth_of_a_queue(network):
    at = np.arange(0, 60_000, 20)
    delay = 10 + at // 100  # 10 ms more every second
    rows = [
        (k, 0, t, t + d, t + d, t + d + 1, t + d + 1)
        for k, (t, d) in enumerate(zip(at.tolist(), delay.tolist(), strict=True))
    ]
    log, logs = {"one": sent(*((k, 0, t) for k, t in enumerate(at.tolist())))}, {"east": served(*rows)}
    found = measure(network, join(network, log, logs), logs, Window(BASE, BASE + 60))
    assert found.slope.value == pytest.approx(0.010, rel=1e-3)
    assert (found.slope.low > 0, found.slope.n) == (True, 60)


def test_nothing_sent(network):
    found = measure(network, join(network, {}, {}), {}, Window(BASE, BASE + 60))
    assert [session.sent for session in found.sessions] == [0, 0]
    assert found.delay.mean.n == 0


def test_two_hundred_thousand_packets(network):
    rng = np.random.default_rng(1)
    n = 200_000
    log = np.zeros(n, SENT)
    log["seq"], log["flow"], log["size"] = np.arange(n), rng.integers(0, 200, n), 500
    log["sent"] = BASE * SECOND + np.sort(rng.integers(0, 100 * SECOND, n))
    server = np.zeros(n, SERVED)
    for name in ("seq", "flow", "size", "sent"):
        server[name] = log[name]
    server["received"] = server["sent"] + rng.integers(0, 2 * MS, n)
    server["start"] = server["departure"] = server["left"] = server["received"] + MS
    logs = {"east": server}
    found = measure(network, join(network, {"one": log}, logs), logs, Window(BASE, BASE + 100))
    assert found.sessions[0].received == n
    assert found.sessions[0].reordered > 0


@pytest.mark.parametrize(("datapath", "dropped"), [("netdev@ovs-netdev", 15), ("system@ovs-system", 115)])
def test_drops_of_switches_are_those_of_ports_buffers_and_the_datapath(datapath: str, dropped: int) -> None:
    told = {
        "ovs-vsctl": '{"data": [[["map", [["rx_dropped", 1], ["rx_packets", 50]]]], [["map", [["tx_dropped", 2]]]]]}',
        "ss": "p_raw UNCONN 0 0 *:s1-eth1 *\n\t skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d4)\n",
        "coverage/show": "drop_action_of_pipeline 0.0/sec 0.000/sec 0.0000/sec   total: 3\n"
        "datapath_drop_upcall_error 0.0/sec 0.000/sec 0.0000/sec   total: 5\nnetlink_sent 2.0/sec   total: 900\n",
        # A userspace datapath counts there what is among its drops already.
        "dpctl/show": f"{datapath}:\n  lookups: hit:4 missed:15 lost:100\n  flows: 15\n",
    }
    assert switch_drops(lambda *command: next(told[word] for word in command if word in told)) == dropped
