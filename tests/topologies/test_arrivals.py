"""When packets come: at the rate that was asked, however it is spread over time."""

from __future__ import annotations

import numpy as np
import pytest

from topologies.hosts.arrivals import SECOND, Pattern, times

PROFILE = ((2.0, 1.0), (1.0, 0.0), (1.0, 4.0))


def drawn(pattern: Pattern, rate: float, length: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Times in s."""
    found = times(pattern, rate, length, np.random.default_rng(3))
    assert (np.diff(found) >= 0).all()
    assert 0 <= found[0] <= found[-1] < length * SECOND
    return found / SECOND


def test_equal_distances() -> None:
    found = drawn(Pattern("deterministic"), 100.0, 20.0)
    assert len(found) == 2000
    assert np.diff(found) == pytest.approx(0.01, abs=1e-8)


@pytest.mark.parametrize("law", ["deterministic", "poisson"])
def test_a_profile_keeps_the_mean_and_its_proportions(law: str) -> None:
    found = drawn(Pattern(law, profile=PROFILE), 300.0, 80.0)
    place = found % 4.0
    counts = np.histogram(place, [0.0, 2.0, 3.0, 4.0])[0]
    spread = 5 * np.sqrt(24_000) if law == "poisson" else 2 * 20
    assert abs(len(found) - 24_000) <= spread
    assert counts[1] == 0
    assert counts[2] / counts[0] == pytest.approx(2.0, rel=0.05)


def test_a_profile_longer_than_the_stream_is_cut() -> None:
    found = drawn(Pattern("deterministic", profile=((10.0, 1.0), (10.0, 3.0))), 100.0, 10.0)
    assert len(found) == 500


def test_bursts_keep_the_mean_and_are_bursts() -> None:
    found = drawn(Pattern("on-off", on=0.2, off=0.6), 200.0, 400.0)
    assert len(found) / 400.0 == pytest.approx(200.0, rel=0.1)
    counts = np.histogram(found, np.arange(0.0, 400.1, 0.1))[0]
    assert counts.var() / counts.mean() > 10, "of a Poisson stream this is 1"
    quiet = np.diff(found) > 0.1
    assert quiet.sum() == pytest.approx(400.0 / 0.8 * np.exp(-0.1 / 0.6), rel=0.15)


def test_nothing_at_rate_zero() -> None:
    assert len(times(Pattern(), 0.0, 5.0, np.random.default_rng(1))) == 0
