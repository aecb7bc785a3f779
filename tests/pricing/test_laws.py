"""Laws beside the queues: roads, fitted tables, mixtures, and the check at the door."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from pricing.delay import DelayLaw, PollaczekKhinchine, measured_mg1, mg1, mm1
from pricing.errors import MeasurementError, WardropError
from pricing.laws import BPR, Several, Table, checked, fitted
from pricing.values import FloatArray

ROAD = BPR(np.array([2.0, 3.0]), np.array([10.0, 5.0]))
QUEUE = mm1(10.0)


def test_a_road_by_hand() -> None:
    assert ROAD.delay([10.0, 10.0]) == pytest.approx([2 * 1.15, 3 * (1 + 0.15 * 16)])
    assert ROAD.marginal([10.0, 0.0]) == pytest.approx([2 * 1.75, 3.0])
    assert ROAD.integral([10.0, 0.0]) == pytest.approx([20 * (1 + 0.15 / 5), 0.0])
    assert np.isinf(ROAD.capacity).all()


def test_moments_that_were_measured_make_the_law() -> None:
    assert measured_mg1(10.0, 3.0, 4.5).wait(5.0) == mg1(10.0, 3.0, 0.5).wait(5.0)


@pytest.mark.parametrize(
    ("law", "top"),
    [
        (mg1([4.0, 10.0], scv=[0.0, 3.0], sojourn=[True, False], propagation=0.1), 1.0),
        (ROAD, 30.0),
        (BPR(np.array([1.0]), np.array([1.0]), alpha=2.0, beta=1.0), 5.0),
        (fitted([2.0, 4.0, 8.0], [0.125, 0.17, 0.5], capacity=10.0), 1.0),
        (fitted([0.0, 4.0, 8.0], [0.1, 0.2, 0.2]), 20.0),
        (Several((QUEUE, mm1(5.0), fitted([1.0], [3.0], 5.0))), 1.0),
    ],
)
def test_every_law_of_ours_passes_the_check(law: DelayLaw, top: float) -> None:
    assert checked(law, top) is law


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9.5).map(lambda x: round(x, 2)), st.floats(0.05, 9.0)), min_size=2, max_size=9),
    st.sampled_from([np.inf, 10.0]),
)
def test_any_table_becomes_a_law(points: list[tuple[float, float]], capacity: float) -> None:
    loads, delays = zip(*dict(points).items(), strict=True)
    if not any(loads):
        return
    law = fitted(loads, delays, capacity)
    checked(law, 20.0)
    assert (law.delay(100.0) == np.inf) == (capacity == 10.0)


def test_a_table_of_a_queue_is_the_queue_at_its_points_and_close_between() -> None:
    loads = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    law = fitted(loads, QUEUE.delay(loads), capacity=10.0)
    assert law.delay(loads) == pytest.approx(QUEUE.delay(loads), rel=0.02)
    between = np.array([0.5, 3.5, 6.5, 7.5, 8.5])
    assert law.delay(between) == pytest.approx(QUEUE.delay(between), rel=0.05)


def test_points_that_fall_are_fitted_by_their_level() -> None:
    law = fitted([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert np.ptp(law.delay([0.0, 1.0, 2.0, 3.0])) < 1e-12
    assert 1.0 < law.delay(1.0) < 3.0


@pytest.mark.parametrize(
    ("loads", "delays", "said"),
    [
        ([1.0, 2.0], [1.0], "2 loads and 1 delays"),
        ([0.0], [1.0], "at least one load above 0"),
        ([1.0, 1.0], [1.0, 2.0], r"load 1, delay 2"),
        ([1.0, 12.0], [1.0, 2.0], r"load 12, delay 2 s.*capacity 10"),
        ([1.0, 2.0], [1.0, np.nan], r"load 2, delay nan"),
        ([-1.0, 2.0], [1.0, 2.0], r"load -1, delay 1"),
    ],
)
def test_a_table_that_is_none_is_refused(loads: list[float], delays: list[float], said: str) -> None:
    with pytest.raises(MeasurementError, match=said):
        fitted(loads, delays, 10.0)


@dataclass(frozen=True)
class Spoiled(PollaczekKhinchine):
    """A queue of which one function is changed from load 5 on."""

    what: str = ""
    factor: float = 1.0

    def _changed(self, name: str, load: ArrayLike, right: FloatArray) -> FloatArray:
        return np.where((np.asarray(load) >= 5.0) & (self.what == name), self.factor * right, right)

    def delay(self, load: ArrayLike) -> FloatArray:
        return self._changed("delay", load, super().delay(load))

    def marginal(self, load: ArrayLike) -> FloatArray:
        return self._changed("marginal", load, super().marginal(load))

    def integral(self, load: ArrayLike) -> FloatArray:
        return self._changed("integral", load, super().integral(load))


@pytest.mark.parametrize(
    ("what", "factor", "said"),
    [
        ("delay", 0.5, "falls"),
        ("marginal", 0.5, "not convex"),
        ("integral", 1.2, "integral"),
        ("marginal", 2.0, "marg"),
    ],
)
def test_a_law_of_yours_is_refused_where_it_fails(what: str, factor: float, said: str) -> None:
    base = mm1([20.0, 10.0])
    parts = (base.capacity, base.size, base.scv, base.sojourn, base.propagation)
    checked(Spoiled(*parts, "", 1.0))
    with pytest.raises(WardropError, match=said) as caught:
        checked(Spoiled(*parts, what, factor))
    load = float(str(caught.value).split("at load ")[1].split(":")[0])
    assert 4.5 < load < 5.5


def test_wavy_delays_are_refused_even_where_they_increase() -> None:
    @dataclass(frozen=True)
    class Steps(Table):
        def delay(self, load: ArrayLike) -> FloatArray:
            x = np.asarray(load, dtype=float)
            return 1 + x + 0.9 * np.sin(x)

        def slope(self, load: ArrayLike) -> FloatArray:
            return 1 + 0.9 * np.cos(np.asarray(load, dtype=float))

        def marginal(self, load: ArrayLike) -> FloatArray:
            return self.delay(load) + np.asarray(load) * self.slope(load)

    with pytest.raises(WardropError, match="not convex"):
        checked(Steps(np.array([0.0, 1.0]), np.array([1.0, 1.0])), 20.0)
