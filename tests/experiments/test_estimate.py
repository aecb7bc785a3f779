"""Estimates: intervals cover what they should, and verdicts follow from them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.signal import lfilter

from experiments.result.estimate import (
    Estimate,
    at_most,
    correlation_time,
    counted,
    delays,
    mean,
    paired,
    percentile,
    proportion,
    rate,
    ratio,
    replications,
    slope,
    verdict,
)
from experiments.result.users import _by_formula
from experiments.result.verdicts import _splits
from pricing.simulate.packets import lindley


def autoregressive(rng, n, phi):
    noise = rng.standard_normal(n)
    noise[0] /= math.sqrt(1 - phi * phi)
    return lfilter([1.0], [1.0, -phi], noise)


def coverage(estimates, truth):
    return np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])


def test_correlation_time_of_an_autoregressive_series():
    rng = np.random.default_rng(1)
    for phi in (0.0, 0.5, 0.9):
        tau = np.mean([correlation_time(autoregressive(rng, 20_000, phi)) for _ in range(20)])
        assert tau == pytest.approx((1 + phi) / (1 - phi), rel=0.1)
    assert correlation_time(np.ones(50)) == 1.0
    assert correlation_time(np.full(50, 0.1)) == 1.0
    assert correlation_time(np.zeros(0)) == 1.0


@pytest.mark.parametrize(("phi", "n"), [(0.0, 2000), (0.95, 4000), (0.95, 400), (0.8, 30_000)])
def test_batch_means_cover(phi, n):
    rng = np.random.default_rng(2)
    covered = coverage([mean(autoregressive(rng, n, phi) + 3.0) for _ in range(300)], 3.0)
    assert 0.92 <= covered <= 1.0


def test_batch_means_cover_the_wait_of_a_queue():
    rng = np.random.default_rng(3)
    estimates, rough = [], []
    for _ in range(200):
        waits = lindley(np.cumsum(rng.exponential(1 / 0.7, 30_000)), rng.exponential(1.0, 30_000))[2000:]
        estimates.append(mean(waits))
        rough.append(Estimate(waits.mean(), 1.96 * waits.std() / math.sqrt(len(waits)), len(waits)))
    assert coverage(estimates, 0.7 / 0.3) >= 0.9
    assert coverage(rough, 0.7 / 0.3) < 0.5  # what the packets would promise if they were independent


def test_too_short_a_series_has_a_wide_interval():
    rng = np.random.default_rng(4)
    series = autoregressive(rng, 300, 0.98)
    assert mean(series).ci95 > 5 * series.std() / math.sqrt(300)
    assert mean([1.0]) == Estimate(1.0, math.inf, 1)
    assert mean([]).n == 0
    assert math.isnan(mean([]).value)


def test_percentiles_cover():
    rng = np.random.default_rng(5)
    independent = [percentile(rng.exponential(1.0, 4000), 0.99) for _ in range(300)]
    assert coverage(independent, -math.log(0.01)) >= 0.93
    correlated = [percentile(autoregressive(rng, 20_000, 0.9), 0.5) for _ in range(200)]
    assert coverage(correlated, 0.0) >= 0.9
    assert np.median([estimate.ci95 for estimate in correlated]) < 0.2
    assert percentile(np.arange(50.0), 0.99).ci95 == math.inf
    assert percentile([], 0.5).n == 0


def test_delays_in_order():
    found = delays(np.random.default_rng(6).exponential(1.0, 20_000))
    assert found.mean.value == pytest.approx(1.0, abs=0.05)
    assert found.p50.value < found.mean.value < found.p95.value < found.p99.value


def test_replications_by_hand():
    found = replications([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.ci95 == pytest.approx(4.302653 / math.sqrt(3))
    assert replications([1.0]).ci95 == math.inf


def test_proportion_covers_at_the_edge_too():
    rng = np.random.default_rng(7)
    assert coverage([proportion(int(rng.binomial(200, 0.3)), 200) for _ in range(500)], 0.3) >= 0.92
    assert proportion(0, 1000).ci95 == pytest.approx(3 / 1000, rel=0.15)
    assert proportion(0, 0).n == 0


def test_rate_of_a_poisson_stream():
    rng = np.random.default_rng(8)
    estimates = [rate(rng.exponential(1.0, rng.poisson(500)), 10.0) for _ in range(500)]
    assert 0.92 <= coverage(estimates, 50.0) <= 0.98


def test_slope_tells_growth_from_noise():
    rng = np.random.default_rng(9)
    times = np.arange(120.0)
    still = [slope(times, autoregressive(rng, 120, 0.6)) for _ in range(200)]
    assert coverage(still, 0.0) >= 0.9
    assert slope(times, 0.2 * times + autoregressive(rng, 120, 0.6)).low > 0
    assert slope([1.0, 2.0], [1.0, 2.0]).ci95 == math.inf


def test_a_counter_whose_lacks_are_made_up_for_has_a_narrow_interval_that_covers():
    """Answers of many packets at equal distances: each piece of 2 s has one more or one less; six such streams."""
    rng = np.random.default_rng(12)
    edges = np.arange(31) * 2.0
    bands, means = [], []
    for _ in range(200):
        periods = rng.uniform(2.0, 15.0, 6)
        phase = rng.uniform(size=6)
        rates = np.diff((np.floor(edges[:, None] / periods + phase) * periods).mean(axis=1)) / 2.0
        bands.append(counted(edges, rates))
        means.append(mean(rates))
    assert coverage(bands, 1.0) == 1.0
    assert np.median([band.ci95 for band in bands]) < 0.15 < 0.3 < np.median([each.ci95 for each in means])
    late = [counted(edges, np.diff(1.03 * edges + 0.1 * rng.standard_normal(31)) / 2.0) for _ in range(200)]
    assert coverage(late, 1.03) >= 0.95
    assert np.mean([each.low > 1.0 for each in late]) > 0.9, "3 % too much is seen"


def test_paired_is_narrower_than_the_difference_of_means():
    rng = np.random.default_rng(10)
    predicted = autoregressive(rng, 5000, 0.95) + 10
    measured = predicted + 0.2 + 0.1 * rng.standard_normal(5000)
    measured[7] = np.nan
    found = paired(measured, predicted)
    assert found.n == 4999
    assert found.low <= 0.2 <= found.high
    assert found.ci95 < 0.05 * mean(predicted).ci95


def test_verdicts():
    assert verdict(Estimate(1.0, 0.1, 9), 1.1, relative=0.15) == "met"
    assert verdict(Estimate(1.0, 0.1, 9), 2.0, relative=0.15) == "not met"
    assert verdict(Estimate(1.0, 0.4, 9), 1.0, relative=0.15) == "undecided"
    assert verdict(Estimate(0.001, 0.0002, 9), 0.0008, relative=0.15, absolute=0.0003) == "met"
    assert verdict(Estimate(0.0, 0.0, 9), 0.0) == "met"
    assert verdict(Estimate(math.nan, math.inf, 0), 1.0, relative=0.15) == "undecided"
    assert verdict(Estimate(1.0, 0.1, 9), math.nan, relative=0.15) == "undecided"
    assert at_most(Estimate(0.7, 0.05, 9), 0.6) == "not met"
    assert at_most(Estimate(math.nan, math.inf, 0), 0.6) == "undecided"


def test_ratio_and_json():
    found = ratio(Estimate(1.0, 0.1, 9), Estimate(2.0, 0.2, 8))
    assert (found.value, found.n) == (0.5, 8)
    assert found.ci95 == pytest.approx(0.5 * math.sqrt(2) * 0.1)
    assert ratio(Estimate(1.0, 0.1, 9), Estimate(0.0, 0.2, 8)).ci95 == math.inf
    assert Estimate(math.nan, math.inf, 0).as_json() == {"value": None, "ci95": None, "n": 0}
    assert Estimate(1.0, 0.5, 2).as_json() == {"value": 1.0, "ci95": 0.5, "n": 2}


def test_who_sent_less_than_a_request_a_flow_is_not_held_to_a_split():
    sessions = [SimpleNamespace(name=name, flows=400) for name in ("idle", "busy")]
    account = SimpleNamespace(
        network=SimpleNamespace(sessions=sessions),
        measured=SimpleNamespace(sessions=[SimpleNamespace(sent=399), SimpleNamespace(sent=400)]),
        decided={"idle": {"r": 1.0}, "busy": {"r": 0.5, "s": 0.5}},
        realised={"idle": {"s": 1.0}, "busy": {"r": 0.52, "s": 0.48}},
    )
    found = _splits(account)
    assert (found["verdict"], found["note"].split(",")[0]) == ("met", "busy: s")


def test_the_farthest_of_many_queues_is_held_to_an_interval_of_all_of_them():
    def found(off: float, count: int) -> dict:
        rest = [(0.1, "near", Estimate(1.0, 0.1, 9), 1.01)] * (count - 1)
        return _by_formula([*rest, (off / 0.1, "far", Estimate(1.0, 0.1, 9), 1.0 + off)])

    assert found(0.11, 1)["verdict"] == "not met", "one queue has its own interval"
    assert (found(0.11, 6)["verdict"], found(0.11, 6)["note"].split(" ")[0]) == ("met", "far")
    assert found(0.15, 6)["verdict"] == "not met"
