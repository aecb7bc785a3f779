"""Predictions: the same packets through the queues, and packets drawn for an allocation."""

from __future__ import annotations

import numpy as np
import pytest

from controller.labels import REFUSED
from experiments.result.choices import Choices, parse_route
from experiments.result.measure import Window, join
from experiments.result.predict import predict, synthetic
from experiments.result.refused import Spell, spells, turned_away
from pricing.errors import MeasurementError, TopologyError
from pricing.network import Allocation, Link, Network, Node, Route, Server, Session, SizeLaw
from pricing.simulate.packets import lindley
from topologies.calibration import Calibration
from topologies.hosts.logs import SECOND, SENT, SERVED

BASE = 1_800_000_000  # s
AB_EAST = Route("one", (("a", "b"),), "east")
AC_WEST = Route("one", (("a", "c"),), "west")


def make(response=0.0, rate=2e5, **server):
    links = tuple(Link(a, b, 1e6) for a, b in ("ab", "ba", "ac", "ca"))
    servers = (Server("east", "b", 100.0, **server), Server("west", "c", 50.0, **server))
    one = Session("one", "a", "anycast", ("east", "west"), rate, flows=10, work=1.0, response_bits=response)
    two = Session("two", "c", "unicast", ("a",), rate / 2, flows=10)
    return Network("small", tuple(map(Node, "abc")), links, servers, (one, two))


def traffic(network, count=2000, rate=60.0, seed=1):
    """A sender's log, and what the servers' logs would say of works; nothing else of theirs is used."""
    rng = np.random.default_rng(seed)
    log = np.zeros(count, SENT)
    log["seq"], log["flow"] = np.arange(count), rng.integers(0, 10, count)
    log["size"] = rng.integers(40, 1450, count)
    log["sent"] = BASE * SECOND + np.cumsum(rng.exponential(SECOND / rate, count)).astype(np.int64)
    works = rng.exponential(1.0, count)
    return log, works


def at_server(log, works, capacity, rows):
    made = np.zeros(len(rows), SERVED)
    for name in ("seq", "flow", "size", "sent"):
        made[name] = log[name][rows]
    made["work"] = works[rows] / capacity
    made["received"] = made["start"] = made["departure"] = made["left"] = made["sent"]
    return made


def test_same_packets_on_one_route_by_lindley_twice():
    network = make()
    log, works = traffic(network)
    requests = join(network, {"one": log}, {"east": at_server(log, works, 100.0, np.arange(len(log)))})
    found = predict(network, requests, {"one": Choices.fixed([AB_EAST] * 10)}, Window(BASE, BASE + 1000))
    sent = (requests.sent - requests.sent[0]) / SECOND
    first = lindley(sent, requests.bits / 1e6)
    second = lindley(sent + first, works / 100)
    assert np.allclose(found.delays, first + second + works / 100, rtol=0, atol=1e-9)
    assert found.links[0].wait.value == pytest.approx(first.mean())
    assert found.links[0].load.value == pytest.approx(requests.bits.sum() / 1000)
    assert found.links[2].load.value == 0
    assert found.servers[0].wait.value == pytest.approx(second.mean())
    assert found.servers[0].load.value == pytest.approx(works.sum() / 1000)
    assert found.sessions[0].network.value == pytest.approx(first.mean())
    assert found.sessions[0].work.value == pytest.approx(works.mean() / 100)
    assert found.sessions[0].way_back.n == 0
    assert found.balance.unaccounted == 0
    assert found.elsewhere == 0


def test_routes_follow_flows_and_installed_tables():
    routes = {str(number): {"route": text} for number, text in enumerate(("a>b@east", "a>c@west"), 1)}
    records = [
        {"tick": 0},
        {"routes": routes, "slots": {"one": [1, 1, 2]}, "installed": BASE + 1.0},
        {"tick": 2, "slots": {"two": [7]}, "installed": BASE + 2.0},
        {"slots": {"one": [2, 1, 2]}, "installed": BASE + 3.0},
    ]
    choices = Choices.recorded(make(), "one", records, [0, 1, 2, 0])
    assert choices.routes == (AB_EAST, AC_WEST)
    sent = BASE * SECOND + np.array([0, 2, 2, 4, 4, 3]) * SECOND
    assert choices.take(sent, np.array([0, 3, 2, 0, 1, 3])).tolist() == [0, 0, 1, 1, 0, 1]
    with pytest.raises(MeasurementError, match="no slots"):
        Choices.recorded(make(), "three", records, [0])


def test_what_was_refused_goes_nowhere_and_is_no_loss():
    network = make()
    log, works = traffic(network, count=40, rate=2.0)
    routes = {"1": {"route": "a>b@east"}}
    tables = [(BASE - 20.0, [1] * 10), (BASE + 2.0, [REFUSED, *[1] * 9]), (BASE + 4.0, [REFUSED] * 2 + [1] * 8)]
    tables += [(BASE + 6.0, [1] * 10), (BASE + 12.0, [REFUSED, *[1] * 9])]
    records = [{"slots": {"one": slots}, "routes": routes, "installed": when} for when, slots in tables]
    choices = {"one": Choices.recorded(network, "one", records, np.arange(10))}
    shut = [(BASE + 2, 1), (BASE + 4, 2), (BASE + 6, 0), (BASE + 12, 1), (BASE + 99, 0)]
    refused = np.array([row["flow"] < [0, *(n for s, n in shut if s * SECOND <= row["sent"])][-1] for row in log])
    refused &= log["sent"] >= (BASE + 2) * SECOND
    lost = np.flatnonzero(~refused & (log["sent"] > (BASE + 8) * SECOND) & (log["sent"] < (BASE + 10) * SECOND))[:1]
    assert refused.any()
    assert len(lost) == 1
    there = np.setdiff1d(np.flatnonzero(~refused), lost)
    requests = join(network, {"one": log}, {"east": at_server(log, works, 100.0, there)})
    assert (turned_away(network, requests, choices) == refused).all(), "a packet lost when nothing was shed is lost"
    found = predict(network, requests, choices, Window(BASE, BASE + 100))
    assert (np.isnan(found.delays) == refused).all()
    assert found.balance.unaccounted == 0
    assert found.links[0].load.value == pytest.approx(requests.bits[~refused].sum() / 100)
    window = (BASE + 5.0, BASE + 20.0)
    assert spells(records, BASE + 3.0, window) == [Spell("one", -2.0, 1.0, 0.2), Spell("one", 7.0, 15.0, 0.1)]
    assert spells(records, BASE + 7.0, (BASE + 8.0, BASE + 11.0)) == []


def test_routes_are_read_as_they_are_written():
    network = make()
    for route in (AB_EAST, Route("two", (("c", "a"),)), Route("one", (), "east")):
        assert parse_route(network, route.session, str(route)) == route
    assert parse_route(network, "two", "two c>a@h-a") == Route("two", (("c", "a"),))
    assert parse_route(network, "one", "b@east") == Route("one", (), "east")


def test_work_goes_with_the_packet_to_the_predicted_server():
    network = make()
    log, works = traffic(network, count=50, rate=5.0)
    rows = np.arange(50)
    served = {"west": at_server(log, works, 50.0, rows[:40])}  # the last ten were lost: their mean work is 1
    requests = join(network, {"one": log}, served)
    found = predict(network, requests, {"one": Choices.fixed([AB_EAST] * 10)}, Window(BASE, BASE + 100))
    assert found.elsewhere == 40
    assert found.servers[0].load.value == pytest.approx((works[:40].sum() + 10) / 100)
    right = predict(network, requests, {"one": Choices.fixed([AC_WEST] * 10)}, Window(BASE, BASE + 100))
    assert right.elsewhere == 0


def test_answers_load_the_way_back():
    network = make(response=4000.0)
    log, works = traffic(network)
    requests = join(network, {"one": log}, {"east": at_server(log, works, 100.0, np.arange(len(log)))})
    window = Window(BASE, BASE + 1000)
    found = predict(network, requests, {"one": Choices.fixed([AB_EAST] * 10)}, window)
    assert found.links[1].name == "b->a"
    assert found.links[1].load.value == pytest.approx(4000.0 * len(log) / 1000)
    assert found.balance.returned == len(log)
    assert found.sessions[0].way_back.value == pytest.approx(found.links[1].wait.value)
    one_way = Network(
        "one way", network.nodes, network.links[:1] + network.links[2:], network.servers, network.sessions
    )
    with pytest.raises(TopologyError, match="no link b->a"):
        predict(one_way, requests, {"one": Choices.fixed([AB_EAST] * 10)}, window)
    with pytest.raises(MeasurementError, match="no choices"):
        predict(network, requests, {}, window)


def test_an_answer_of_many_packets_loads_a_link_for_as_long_as_it_is_sent():
    """1 Mbit over 1 Mbit/s: a second."""
    network = make(response=1e6)
    log, works = (each[:1] for each in traffic(network))
    requests = join(network, {"one": log}, {"east": at_server(log, works, 100.0, np.arange(1))})
    edges = requests.sent[0] / SECOND + np.arange(0.0, 2.0, 0.1)
    window = Window(BASE, BASE + 100)
    found = predict(network, requests, {"one": Choices.fixed([AB_EAST] * 10)}, window, edges=edges)
    back = found.loads[:, 1]
    assert back.sum() * 0.1 == pytest.approx(1e6)
    assert back.max() == pytest.approx(1e6)
    assert (back > 0).sum() in (10, 11)


def test_loads_of_pieces_are_the_bits_that_a_link_sent_in_them():
    network = make()
    log, works = traffic(network)
    requests = join(network, {"one": log}, {"east": at_server(log, works, 100.0, np.arange(len(log)))})
    choices, begin = {"one": Choices.fixed([AB_EAST] * 10)}, requests.sent[0] / SECOND
    edges = begin + np.arange(0.0, 60.0, 0.01)  # of a packet's length: many are cut, some twice
    loads = predict(network, requests, choices, Window(BASE, BASE + 100), edges=edges).loads[:, 0]
    sent = (requests.sent - requests.sent[0]) / SECOND
    done = sent + lindley(sent, requests.bits / 1e6) + requests.bits / 1e6
    by = np.interp(edges - begin, np.append(0.0, done), np.append(0.0, np.cumsum(requests.bits)))
    assert loads.max() < 1e6 * (1 + 1e-6)
    assert np.abs(np.cumsum(loads) * 0.01 - by[1:]).max() < requests.bits.max()
    assert loads.sum() * 0.01 == pytest.approx(requests.bits.sum())


def test_windows_and_bad_seconds_choose_the_packets():
    network = make()
    log, works = traffic(network, rate=100.0)
    requests = join(network, {"one": log}, {"east": at_server(log, works, 100.0, np.arange(len(log)))})
    choices = {"one": Choices.fixed([AB_EAST] * 10)}
    window = Window(BASE + 5, BASE + 15, frozenset({BASE + 7}))
    found = predict(network, requests, choices, window)
    whole = predict(network, requests, choices, Window(BASE, BASE + 1000))
    assert np.array_equal(found.delays, whole.delays)
    quiet = window.quiet(requests.sent)
    assert 0 < quiet.sum() < window.holds(requests.sent).sum() < len(log)
    assert found.delay.mean.value == pytest.approx(found.delays[quiet].mean())
    assert found.sessions[0].delay.mean.n == quiet.sum()


def test_synthetic_server_obeys_the_law():
    # The link is fast and fed, so the server sees Poisson arrivals: M/M/1 at 0.7.
    network = make(rate=70 * 8 * 542)
    one = Session("one", "a", "anycast", ("east",), 70 * 8 * 542, SizeLaw("fixed", 500.0), 10)
    network = Network(
        "one", network.nodes, tuple(Link(*link.key, 1e9) for link in network.links), network.servers, (one,)
    )
    found = synthetic(network, Allocation({"one": ((AB_EAST, 1.0),)}), duration=800.0, seed=3, runs=12)
    wait = found.servers[0].wait
    assert wait.n == 12
    assert wait.ci95 < 0.1 * wait.value
    assert wait.low <= 0.7 / 0.3 / 100 <= wait.high
    assert found.servers[0].utilization == pytest.approx(0.7, rel=0.03)
    assert found.links[0].load.value == pytest.approx(one.rate, rel=0.02)


def test_synthetic_fixed_work_waits_half():
    found = {
        scv: synthetic(make(rate=2e5, scv=scv), Allocation({"one": ((AB_EAST, 1.0),)}), 2000.0, seed=4, runs=1)
        for scv in (0.0, 1.0)
    }
    assert found[0.0].servers[0].wait.value == pytest.approx(found[1.0].servers[0].wait.value / 2, rel=0.15)
    assert found[0.0].sessions[0].work.value == pytest.approx(0.01)


def test_synthetic_deals_flows_by_weight_and_repeats():
    network = make(response=400.0)
    split = Allocation({"one": ((AB_EAST, 0.7), (AC_WEST, 0.3)), "two": ((Route("two", (("c", "a"),)), 1.0),)})
    found, again = (synthetic(network, split, 200.0, seed=5, runs=3) for _ in range(2))
    assert found.delay == again.delay
    assert synthetic(network, split, 200.0, seed=6, runs=3).delay != found.delay
    east, west = found.servers[0].load.value, found.servers[1].load.value
    assert west / (east + west) == pytest.approx(0.3, abs=0.02)
    assert found.balance.unaccounted == 0
    assert found.balance.ended == len(found.delays)
    # Answers of 400 bits on ca, beside the unicast session.
    rate = network.sessions[0].packet_rate
    assert found.links[3].load.value == pytest.approx(1e5 + 0.3 * rate * 400, rel=0.05)
    assert found.sessions[1].wait.value == 0


def test_two_hundred_thousand_packets():
    network = make(response=400.0)
    log, works = traffic(network, count=200_000, rate=60.0)
    requests = join(network, {"one": log}, {"east": at_server(log, works, 100.0, np.arange(len(log)))})
    choices = {"one": Choices.fixed([AB_EAST] * 5 + [AC_WEST] * 5)}
    found = predict(network, requests, choices, Window(BASE, BASE + 4000))
    assert found.balance.unaccounted == 0
    assert found.balance.ended == 200_000


def test_answers_of_a_unicast_session_turn_at_once():
    links = (Link("a", "b", 1e6), Link("b", "a", 1e5))
    session = Session("two", "a", "unicast", ("b",), 1e5, flows=1, response_bits=1000.0)
    network = Network("two", (Node("a"), Node("b")), links, (), (session,))
    found = synthetic(network, Allocation({"two": ((Route("two", (("a", "b"),)), 1.0),)}), 100.0, seed=1)
    assert found.balance.returned == found.balance.requests == len(found.delays)
    assert found.sessions[0].delay.mean.value == found.links[0].wait.value
    assert found.sessions[0].way_back.value == pytest.approx(found.links[1].wait.value)
    assert found.links[1].load.value == pytest.approx(session.packet_rate * 1000, rel=0.1)


def test_base_delay_is_in_delays_and_moves_no_wait():
    network = make(response=800.0)
    log, works = traffic(network)
    requests = join(network, {"one": log}, {"east": at_server(log, works, 100.0, np.arange(len(log)))})
    choices, window = {"one": Choices.fixed([AB_EAST] * 10)}, Window(BASE, BASE + 1000)
    nominal = predict(network, requests, choices, window)
    found = predict(network, requests, choices, window, calibration=Calibration(ends_s=3e-4, link_s=1e-4))
    assert np.allclose(found.delays, nominal.delays + 4e-4, rtol=0, atol=1e-9)
    assert found.links[0].wait.value == pytest.approx(nominal.links[0].wait.value)
    session, without = found.sessions[0], nominal.sessions[0]
    assert session.network.value == pytest.approx(without.network.value + 4e-4)
    assert session.way_back.value == pytest.approx(without.way_back.value + 4e-4)
