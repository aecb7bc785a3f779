"""A calibration's arithmetic on made-up packets: what theory says of them is found, and what is wrong with them too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.calibrating.bed import Trace, steps
from experiments.calibrating.measure import CAPACITY, Found
from experiments.calibrating.pictures import draw
from experiments.calibrating.theory import Point, base_delays, carried, finds_idle, points
from experiments.commands.calibrate import summary
from experiments.result.estimate import Estimate
from pricing.simulate.priority import priority_waits
from topologies.calibration import NOMINAL, Calibration, keep, recall, this_machine

BASE = 0.2e-3
LENGTH = 60.0


def traces(rho: float, classes: int = 1, seed: int = 1) -> list[Trace]:
    """Poisson streams of exponential frames through one ideal link, `BASE` besides."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(rho * CAPACITY / 4000 * LENGTH)
    sent, bits = np.sort(rng.uniform(0, LENGTH, count)), rng.exponential(4000.0, count)
    klass = rng.integers(1, classes + 1, count)
    delay = priority_waits(sent, bits / CAPACITY, klass) + BASE
    mine = [klass == k + 1 for k in range(classes)]
    return [Trace(sent[k], sent[k], bits[k], delay[k], np.ones(int(k.sum()), dtype=bool), np.empty(0)) for k in mine]


def found_in(streams: list[Trace], law: str = "M/M/1", rho: float = 0.7) -> list[Point]:
    return points(law, streams, {rho: (0.0, LENGTH)}, CAPACITY)


def test_an_ideal_link_is_as_theory_says() -> None:
    (point,) = found_in(traces(0.7))
    assert point.verdict == "met"
    assert point.base.value == pytest.approx(BASE, rel=1e-9)
    assert point.difference.value == pytest.approx(0.0, abs=1e-9)
    assert point.formula == pytest.approx(point.utilization / (1 - point.utilization) * 4e-4, rel=0.05)
    assert point.formula_inside
    assert point.lost == point.excluded == 0


def test_both_classes_are_told_apart() -> None:
    first, second = found_in(traces(0.7, 2), "Cobham")
    assert first.verdict == second.verdict == "met"
    assert second.predicted.value / first.predicted.value == pytest.approx(1 / (1 - first.utilization), rel=0.15)
    swapped = found_in(traces(0.7, 2)[::-1], "Cobham")
    assert [point.verdict for point in swapped] == ["not met", "not met"]


def test_a_link_that_hides_its_queue_is_found_out() -> None:
    (stream,) = traces(0.7)
    hidden = replace(stream, delay=BASE + np.maximum(stream.delay - BASE - 1.2e-3, 0.0))
    (point,) = found_in([hidden])
    assert point.verdict == "not met"
    assert point.difference.value < -0.15e-3


def test_lost_packets_and_noisy_seconds_are_counted_and_left_out() -> None:
    (stream,) = traces(0.7)
    noisy = (stream.sent > 20) & (stream.sent < 30)
    delay = np.where(noisy, stream.delay + 0.05, stream.delay)
    delay[::1000] = np.nan
    (point,) = found_in([replace(stream, delay=delay, quiet=~noisy)])
    assert point.verdict == "met"
    assert point.excluded == int(noisy.sum())
    assert point.lost == len(delay[::1000]) - 1 + (stream.due[0] >= 0.3)
    (blind,) = found_in([replace(stream, quiet=np.zeros(len(stream.sent), dtype=bool))])
    assert blind.verdict == "undecided"
    assert blind.formula_inside is None


def test_the_highest_utilization_has_no_tolerance_in_seconds() -> None:
    estimate = Estimate(0.5e-3, 0.0, 100)
    point = replace(found_in(traces(0.7))[0], asked=0.95, predicted=estimate, difference=Estimate(0.1e-3, 0.0, 100))
    assert point.verdict == "not met"
    assert replace(point, asked=0.9).verdict == "met"


def test_who_finds_the_link_idle() -> None:
    assert finds_idle(np.array([0.0, 1.0, 1.2, 9.0]), np.array([0.5, 0.5, 0.1, 1.0])).tolist() == [
        True,
        True,
        False,
        True,
    ]


def test_base_delays_of_streams_that_share_a_link() -> None:
    near, far = traces(0.3, 2)
    further = replace(far, delay=far.delay + 1e-3)
    assert [each.value for each in base_delays([near, further], CAPACITY)] == pytest.approx(
        [BASE, BASE + 1e-3], rel=0.02
    )


def test_what_a_full_link_carries() -> None:
    """The link sends one frame after the other; what is stolen from it for a tenth of a second changes nothing."""
    count = 4000
    left = 4000 / CAPACITY * np.arange(count)
    left[2000:] += 0.1
    full = Trace(
        np.zeros(count), np.zeros(count), np.full(count, 4000.0), left, np.ones(count, dtype=bool), np.empty(0)
    )
    assert carried(full, (0.2, 1.6)) == pytest.approx(CAPACITY, rel=1e-3)


def test_steps_of_a_stream() -> None:
    law, mean, windows = steps([(4.0, 0.5), (2.0, 0.9)], 1.0)
    assert law.profile == ((4.0, 0.5), (1.0, 0.0), (2.0, 0.9), (1.0, 0.0))
    assert mean == pytest.approx((4 * 0.5 + 2 * 0.9) / 8)
    assert windows == {0: (0.0, 4.0), 1: (5.0, 7.0)}


def test_it_is_kept_for_this_machine_alone(tmp_path: Path) -> None:
    place = tmp_path / "state" / "calibration.json"
    assert recall("user", place) == NOMINAL
    mine = Calibration(75e-6, 1e-4, 5e-5, 0.999, this_machine("user"), "2026-01-01T00:00:00+00:00")
    keep(mine, place)
    assert recall("user", place) == mine
    assert recall("kernel", place) == NOMINAL, "measured on another datapath"
    place.write_text("{")
    assert recall("user", place) == NOMINAL


def test_curves_and_sentences(tmp_path: Path) -> None:
    single, classes = found_in(traces(0.7)), found_in(traces(0.7, 2), "Cobham")
    base = {"near": Estimate(BASE, 1e-5, 90), "far": Estimate(2 * BASE, 1e-5, 90)}
    paces = [
        {"asked": 1000.0, "held": True},
        {"asked": 4000.0, "held": False, "sent": 3000.0, "late_p99_s": 0.004, "delivered": 0.97},
    ]
    found = Found(Calibration(capacity_ratio=0.997), [], base, paces, single + classes, single, 7, 60.0)
    assert found.held == 1000
    assert found.quiet
    said = "\n".join(summary(found))
    for part in ("99.70%", "0.200 ± 0.010 ms", "4,000 packets/s asked, 3,000 sent", "3 of 3 points", "7 of 60 s"):
        assert part in said
    draw(found, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
