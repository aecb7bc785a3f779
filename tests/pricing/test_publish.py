"""What machines publish from measured arrivals, and the loop of users who follow it, without a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pricing.errors import MeasurementError
from pricing.network import Link, Network, Node, Server, Session, SizeLaw
from pricing.policy import POLICIES
from pricing.priority import announcement
from pricing.priority.elastic import Choice, Group, User, economy_of, expanded
from pricing.priority.loop import follow, worthy
from pricing.priority.publish import REGIMES, Regime, published
from pricing.priority.rest import at_rest
from pricing.priority.solve import optimum
from pricing.priority.state import State
from pricing.shortest import shortest_path
from pricing.values import Loads

USERS = {
    "cheap": User({"law": "quadratic", "a": 4, "b": 0.00667}, 100.0, 580.0),
    "dear": User({"law": "quadratic", "a": 15, "b": 0.0357}, 500.0, 390.0),
}


def network() -> Network:
    """Two places that ask two servers over links that are nearly empty."""
    cables = {("l", "r"): 20e6, ("l", "n"): 20e6, ("r", "s"): 20e6}
    links = tuple(Link(*ends, capacity) for a_b, capacity in cables.items() for ends in (a_b, a_b[::-1]))
    size = SizeLaw("fixed", 500.0)
    sessions = tuple(
        Session(name, node, "anycast", ("left", "right"), 1e6, size, response_bits=800.0, service="web")
        for name, node in (("cheap", "l"), ("dear", "r"))
    )
    servers = (Server("left", "n", 500.0), Server("right", "s", 500.0))
    return Network("two", tuple(map(Node, "lnrs")), tuple(sorted(links, key=lambda x: x.key)), servers, sessions)


def options(classes: int = 2) -> tuple[Network, tuple[Group, ...]]:
    """The network of these users' options."""
    return expanded(network(), USERS, classes)


def test_options_are_sessions_that_differ_in_server_and_class() -> None:
    net, groups = options()
    assert [group.options for group in groups] == [
        tuple(f"{name}.{server}.{k}" for server in ("left", "right") for k in (1, 2)) for name in ("cheap", "dear")
    ]
    one = net.sessions[net.session_index["dear.right.2"]]
    assert (one.destinations, one.klass, one.delay_cost, one.service) == (("right",), 2, 500.0, "web@right")
    load = economy_of(net, groups).load(np.array([session.packet_rate for session in net.sessions]))
    assert load.max() == pytest.approx(0.5), "users begin at half of the fullest machine"


def test_prices_and_times_are_those_of_the_economy_at_the_same_rates() -> None:
    net, groups = options(3)
    economy = economy_of(net, groups)
    rates = np.random.default_rng(1).uniform(5, 60, len(net.sessions))
    state, found = State(economy, rates), published(net, shortest_path(net), rates, None)
    assert found.prices == pytest.approx(state.rents)
    assert found.times == pytest.approx(state.throughput)
    assert found.waits == pytest.approx(state.waits)
    assert found.load.sum(axis=1) == pytest.approx(economy.load(rates))


@pytest.mark.parametrize(("regime", "classes"), [("one-price", 1), ("free-access", 1)])
def test_without_classes_the_last_one_is_on_offer_at_the_price_of_the_only_one(regime: Regime, classes: int) -> None:
    net, groups = options()
    rates = np.array([0.0, 80.0] * 4)
    found = published(net, shortest_path(net), rates, None, regime)
    alone = State(replace(economy_of(net, groups), classes=classes), rates[1::2])
    assert np.isinf(found.prices[::2]).all()
    assert found.prices[1::2] == pytest.approx(alone.rents if regime == "one-price" else 0.0)
    assert found.times[1::2] == pytest.approx(alone.throughput)


def test_what_is_published_moves_a_part_of_the_way_and_overload_has_a_price() -> None:
    net, _ = options()
    shortest, rates = shortest_path(net), np.full(8, 60.0)
    first = published(net, shortest, rates, None)
    over = published(net, shortest, 10 * rates, first, pace=0.5)
    alone = published(net, shortest, 10 * rates, None)
    assert np.isfinite(alone.prices).all()
    assert (alone.prices > first.prices).all()
    assert over.rates == pytest.approx(5.5 * rates)
    assert (over.prices > first.prices).all()


def test_measurements_count_equally_at_first_and_none_before_the_first_request() -> None:
    net, _ = options()
    shortest, rates = shortest_path(net), np.full(8, 60.0)
    idle = published(net, shortest, 0 * rates, None)
    found = published(net, shortest, rates, published(net, shortest, 0 * rates, idle))
    assert found.rates == pytest.approx(rates)
    found = published(net, shortest, 2 * rates, found)
    assert found.rates == pytest.approx(1.5 * rates)
    assert found.load == pytest.approx(2 * published(net, shortest, rates, None).load), "loads are as measured"


def test_users_who_follow_what_is_published_come_to_the_best_equilibrium() -> None:
    net, groups = options()
    first, later = (optimum(economy_of(net, users), starts=6).best for users in (groups, worthy(groups, "cheap", 2.0)))
    found = follow(net, groups, ticks=240, seed=101, worth={120: ("cheap", 2.0)})
    assert found.welfare[60:120].min() > 0.98 * first.welfare
    assert found.welfare[180:].min() > 0.97 * later.welfare
    assert found.moves[60:120].mean() < 0.02
    assert found.moves[180:].mean() < 0.02
    assert found.rates[180:, 0].mean() > 1.2 * found.rates[60:120, 0].mean(), "whoever values more sends more"


@pytest.mark.parametrize("regime", REGIMES)
def test_at_rest_options_have_the_rates_of_the_equilibrium_and_published_costs_are_its_own(regime: Regime) -> None:
    net, groups = options()
    found = at_rest(net, groups, regime, starts=4)
    best, rates = found.solutions.best, np.array([session.packet_rate for session in found.network.sessions])
    assert rates.sum() == pytest.approx(best.x.sum())
    told = published(found.network, shortest_path(found.network), rates, None, regime)
    delay_cost = np.array([session.delay_cost for session in net.sessions])
    costs = delay_cost * told.times + told.prices
    used = rates > 0
    by_user = np.repeat([float(value) for value in best.marginals], 4)
    assert costs[used] == pytest.approx(by_user[used], rel=1e-6), "what is used costs what one more is worth"
    assert (costs > by_user * (1 - 1e-6)).all()


def test_every_request_that_comes_up_is_sent_with_the_acceptance_probability() -> None:
    user, choice = User({}, 1.0, 100.0), Choice(40.0, np.array([0.25, 0.0, 0.75]))
    picked = [choice.pick(user, chance) for chance in (np.arange(1000) + 0.5) / 1000]
    assert [picked.count(option) for option in (0, 1, 2, None)] == [100, 0, 300, 600]


def test_a_rate_of_raw_loads_reaches_the_policy_and_its_state_is_what_is_published() -> None:
    net, _ = options()
    loads = Loads(np.zeros(len(net.links)), np.zeros(2), np.array([60.0 * s.frame_bits for s in net.sessions]))
    decision = POLICIES["priority"].decide(net, loads, None)
    assert decision.state.prices == pytest.approx(published(net, shortest_path(net), np.full(8, 60.0), None).prices)
    assert [POLICIES[name].raw for name in ("priority", "joint")] == [True, False]


def test_announcements_come_back_and_what_is_none_is_refused() -> None:
    rows = [announcement.Row(i, 1 + i % 2, 0.1 * i, 1e-3) for i in range(announcement.MOST_ROWS + 5)]
    datagrams = announcement.written(9, 5, rows)
    assert [len(datagram) <= 1472 for datagram in datagrams] == [True, True]
    assert [tick for tick, _ in map(announcement.read, datagrams)] == [9, 9]
    assert [row for _, part in map(announcement.read, datagrams) for row in part] == rows
    for wrong in (b"", b"wdp2" + datagrams[0][4:], datagrams[0][:-1]):
        with pytest.raises(MeasurementError):
            announcement.read(wrong)
