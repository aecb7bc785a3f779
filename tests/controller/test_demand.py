"""Estimates of demand: steady on Poisson packets, quick after a step, honest about what was not measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller import demand
from pricing.network import Link, Network, Node, Session

RATES = (100.0, 200.0, 240.0)
"""packets/s"""


def network() -> Network:
    sessions = tuple(Session(f"s{n}", "a", "unicast", ("b",), 1.0) for n in range(len(RATES)))
    frame = sessions[0].frame_bits
    sessions = tuple(
        Session(f"s{n}", "a", "unicast", ("b",), rate * frame, flows=n + 1) for n, rate in enumerate(RATES)
    )
    return Network("pair", (Node("a"), Node("b")), (Link("a", "b", 1e9), Link("b", "a", 1e9)), (), sessions)


def measured(rng: np.random.Generator, rates: np.ndarray) -> np.ndarray:
    """bit/s of a second of Poisson packets with sizes cut as the sessions' are."""
    sizes = [np.clip(rng.exponential(500, rng.poisson(rate)), 40, 1450) + 42 for rate in rates]
    return np.array([8 * size.sum() for size in sizes])


def test_no_false_alarm_in_ten_minutes_and_a_steady_estimate() -> None:
    net, rng, alarms = network(), np.random.default_rng(1), 0
    now = demand.nominal(net)
    nominal = now.rate
    for second in range(1, 1201):
        before, now = now, demand.learn(net, now, measured(rng, np.array(RATES)), np.ones(3, bool), float(second))
        alarms += int((now.weight < before.weight).sum())
        if second > 60:
            assert now.rate == pytest.approx(nominal, rel=0.2)
    assert alarms < 2, "less than one in ten minutes"


@pytest.mark.parametrize("factor", [0.6, 0.7, 1.3, 1.5, 3.0])
def test_a_step_is_followed_in_three_ticks(factor: float) -> None:
    net, late = network(), []
    for seed in range(20):
        rng, now = np.random.default_rng(seed), demand.nominal(net)
        for second in range(1, 64):
            rates = np.array(RATES) * (factor if second > 60 else 1.0)
            now = demand.learn(net, now, measured(rng, rates), np.ones(3, bool), float(second))
        late.append(np.abs(now.rate / (factor * demand.nominal(net).rate) - 1))
    assert np.median(late, axis=0)[1:] == pytest.approx([0.0, 0.0], abs=0.1), "sessions of 200 packets/s and more"


@pytest.mark.parametrize("rate", [0.7, 3.3, 24.0])
@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_a_slow_session_is_known_soon_after_its_first_packet(rate: float, factor: float) -> None:
    """It sends what it announced, or more, at equal distances; it begins within a tick after some silent ones."""
    net = network()
    net = replace(net, sessions=tuple(replace(one, rate=rate * one.frame_bits) for one in net.sessions))
    for silent, begun in ((10, 0.1), (30, 0.5), (100, 0.9)):
        now, sent = demand.nominal(net), 0.0
        for second in range(1, silent + 32):
            passed = second - silent - begun
            count = np.floor(passed * factor * rate) + 1 if passed > 0 else 0.0
            seen = (count - sent) * np.array([one.frame_bits for one in net.sessions])
            now, sent = demand.learn(net, now, seen, np.ones(3, bool), float(second)), count
            if passed > 0 and factor == 1:
                assert now.rate == pytest.approx(demand.nominal(net).rate, rel=0.05 + 0.1 / rate)
        off = 0.03 + 1 / (30 * rate) if factor == 1 else 0.3
        assert now.rate == pytest.approx(factor * demand.nominal(net).rate, rel=off)


def test_short_ticks_count_by_their_length() -> None:
    net, now = network(), demand.nominal(network())
    for time, rate in ((1.0, 1e6), (2.0, 1e6), (2.1, 1.1e6)):
        now = demand.learn(net, now, np.full(3, rate), np.ones(3, bool), time)
    assert now.rate == pytest.approx(np.full(3, (2e6 + 0.11e6) / 2.1))
    assert (demand.surely(net, now) < now.rate).all()


def test_what_is_not_measured_changes_nothing() -> None:
    net = network()
    now = demand.learn(net, demand.nominal(net), np.zeros(3), np.array([True, False, False]), 1.0)
    assert now.rate[0] == 0
    assert now.rate[1:].tolist() == demand.nominal(net).rate[1:].tolist()
    assert demand.learn(net, now, np.ones(3), np.ones(3, bool), 1.0) is now, "no time has passed"
