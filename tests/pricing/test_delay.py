"""The delay laws: values by hand, derivatives by differences, and the edges of their domain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.delay import PollaczekKhinchine, md1, mg1, mm1


def test_mm1_is_the_papers_law() -> None:
    law = mm1([4.0, 10.0])
    assert law.delay([3.0, 6.0]) == pytest.approx([1.0, 0.25])
    assert law.marginal([3.0, 6.0]) == pytest.approx([4.0 / 1.0, 10.0 / 16.0])  # mu/(mu - x)^2


def test_a_link_that_delivers_the_wait_alone_is_free_when_idle() -> None:
    law = mm1(10.0, sojourn=False)
    assert law.delay(0.0) == 0.0
    assert law.delay(6.0) == pytest.approx(0.25 - 0.1)


def test_fixed_sizes_wait_half_as_long_and_propagation_adds() -> None:
    assert md1(10.0).wait(8.0) == pytest.approx(mm1(10.0).wait(8.0) / 2)
    assert mg1(10.0, size=3.0, scv=0.5, propagation=7.0).delay(0.0) == pytest.approx(7.3)


def test_the_residual_of_the_frames_is_what_waits() -> None:
    first, second, capacity, load = 4000.0, 3.1e7, 1e7, 8e6
    law = mg1(capacity, size=first, scv=second / first**2 - 1)
    assert law.wait(load) == pytest.approx(load * (second / (2 * first)) / (capacity * (capacity - load)))


@pytest.mark.parametrize("load", [10.0, 10.5, 1e9, np.inf])
def test_everything_is_infinite_from_capacity_on(load: float) -> None:
    law = mm1(10.0, sojourn=False)
    for value in (law.delay, law.wait, law.slope, law.marginal, law.marginal_slope, law.cost, law.integral):
        assert value(load) == np.inf


LAWS = st.builds(
    mg1,
    capacity=st.floats(0.5, 1e7),
    size=st.floats(0.1, 1e4),
    scv=st.floats(0, 4),
    sojourn=st.booleans(),
    propagation=st.floats(0, 0.1),
)


@given(LAWS, st.floats(0.001, 0.98))
def test_slopes_are_those_of_the_functions(law: PollaczekKhinchine, rho: float) -> None:
    x = float(law.capacity) * rho
    step = float(law.capacity) * 1e-6

    def difference(value: object) -> float:
        return float((value(x + step) - value(x - step)) / (2 * step))  # type: ignore[operator]

    assert law.slope(x) == pytest.approx(difference(law.delay), rel=1e-4)
    assert law.marginal(x) == pytest.approx(difference(law.cost), rel=1e-4)
    assert law.delay(x) == pytest.approx(difference(law.integral), rel=1e-4)
    assert law.marginal_slope(x) == pytest.approx(difference(law.marginal), rel=1e-4)
    assert law.marginal(x) == pytest.approx(float(law.delay(x) + x * law.slope(x)), rel=1e-9)
    assert law.cost(x) == pytest.approx(float(x * law.delay(x)), rel=1e-9)
    assert law.load_at(law.marginal(x)) == pytest.approx(x, rel=1e-6)


def test_no_load_is_bought_below_the_price_of_an_idle_resource() -> None:
    assert mm1(10.0, propagation=1.0).load_at(0.5) == 0.0
