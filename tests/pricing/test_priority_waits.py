"""Waits of classes: known answers, derivatives by differences and by simulation, sizes, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pricing.delay import mg1
from pricing.errors import Infeasible, MeasurementError, WardropError
from pricing.priority.sizes import Size, exponential, from_distribution, from_moments, from_samples
from pricing.priority.waits import Queues, cobham, single
from pricing.simulate.priority import Stream, simulated_sensitivity, simulated_waits


def test_waits_of_textbooks() -> None:
    assert cobham([2, 6], 1 / 10) * 60 == pytest.approx([6, 30])
    assert cobham([8], 1 / 10) * 60 == pytest.approx([24])
    assert cobham([0.3, 0.5], 1) == pytest.approx([1.1428571428571428, 5.714285714285714])
    assert cobham([0.8], 1) == pytest.approx([4])


@pytest.mark.parametrize("scv", [0.0, 0.37, 1.0, 4.0])
def test_one_class_is_pollaczek_khinchine(scv: float) -> None:
    assert cobham([0.7], 1 / 2, scv) == pytest.approx([float(mg1(2.0, scv=scv).wait(0.7))])


def test_several_servers_are_erlangs() -> None:
    """Two servers at load 0.75: C = 9/14, so one class waits C/(c mu - lambda) = 9/7."""
    assert cobham([1.5], 1.0, servers=2) == pytest.approx([9 / 7])
    split = cobham([0.5, 1.0], 1.0, servers=2)
    assert split == pytest.approx([9 / 14 / 2 / 0.75, 9 / 14 / 2 / 0.75 / 0.25])
    assert split @ [0.5, 1.0] == pytest.approx(1.5 * 9 / 7), "order changes nobody's mean"


@pytest.mark.parametrize("servers", [1, 2, 5])
def test_derivatives_are_differences(servers: int) -> None:
    random = np.random.default_rng(servers)
    base = Queues(random.uniform(0.1, 1, 3), random.uniform(0.1, 0.25, (3, 3)), np.array([servers, 1, servers]))
    step = 1e-6

    def moved(i: int, by: float) -> Queues:
        """sigma_i alone: class i's load up and that of the next down."""
        load = base.load.copy()
        load[:, i] += by
        if i + 1 < load.shape[1]:
            load[:, i + 1] -= by
        return replace(base, load=load)

    for i in range(3):
        up, down = moved(i, step), moved(i, -step)
        assert base.factor_slopes[:, :, i] == pytest.approx((up.factor - down.factor) / (2 * step), rel=1e-6)
        bends = (up.factor_slopes - down.factor_slopes) / (2 * step)
        assert base.factor_bends[:, :, :, i] == pytest.approx(bends, rel=1e-6, abs=1e-8)
    rates, times = np.array([0.3, 0.2, 0.25]), np.full(3, 1.0) if servers > 1 else np.array([0.5, 1.0, 1.5])
    scv = np.ones(3) if servers > 1 else np.array([0.0, 1.0, 2.0])
    for k in range(3):
        move = step * (np.arange(3) == k)
        up, down = (cobham(rates + sign * move, times, scv, servers) for sign in (1, -1))
        found = single(rates, times, scv, servers).wait_slopes(times[k], (1 + scv[k]) / 2)[0, :, k]
        assert found == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_derivative_is_the_printed_closed_form() -> None:
    """dOmega_j/dpsi_k at one server, written out."""
    rates, t, h = np.array([0.3, 0.2, 0.25]), np.array([0.5, 1.0, 1.5]), np.array([0.5, 1.0, 1.5])
    queue = single(rates, t, 2 * h - 1)
    spare, first = np.append(1.0, 1 - queue.sigma[0]), float(queue.residual[0])
    for k in range(3):
        for j in range(3):
            near, far = spare[j], spare[j + 1]
            wanted = h[k] * t[k] ** 2 / (near * far) + first * t[k] * (
                (k <= j) / (near * far**2) + (k < j) / (near**2 * far)
            )
            assert queue.wait_slopes(t[k], h[k])[0, j, k] == pytest.approx(wanted)


STREAMS = {
    "three classes, one server": (
        [0.25, 0.2, 0.2],
        [0.8, 1.0, 1.3],
        [1.0, 0.0, 2.0],
        1,
        [
            lambda random, n: random.exponential(0.8, n),
            lambda random, n: np.full(n, 1.0),
            lambda random, n: random.exponential(1.3, n) * _uneven(random, n),
        ],
    ),
    "two classes, three servers": ([0.9, 1.4], [1.0, 1.0], [1.0, 1.0], 3, [lambda r, n: r.exponential(1.0, n)] * 2),
}


def _uneven(random: np.random.Generator, n: int) -> np.ndarray:
    """A factor of mean 1 that lifts an exponential's scv from 1 to 2: mean square 1.5."""
    high = 0.5 * (1 + np.sqrt(1 / 3))
    return np.where(random.random(n) < high, 0.5 / high, 0.5 / (1 - high))


@pytest.mark.parametrize("name", STREAMS)
def test_simulation_agrees_within_its_interval(name: str) -> None:
    rates, times, scv, servers, draws = STREAMS[name]
    stream = Stream(np.array(rates), draws, servers)
    random = np.random.default_rng(7)
    found = simulated_waits(stream, random, jobs=60_000, runs=12)
    assert found.holds(cobham(rates, times, scv, servers))
    assert (found.half_width < 0.06 * found.mean).all()
    queue = single(rates, times, scv, servers)
    wanted = np.stack([queue.wait_slopes(times[k], (1 + scv[k]) / 2)[0, :, k] for k in range(len(rates))], axis=1)
    slopes = simulated_sensitivity(stream, random, step=0.03, jobs=60_000, runs=12)
    # Each of the K x K intervals misses in 5 runs of 100: widened to hold all of them at once.
    assert (np.abs(slopes.mean - wanted) <= 1.6 * slopes.half_width).all()
    assert slopes.half_width[-1].max() < 0.5 * wanted[-1].max()


def test_sizes() -> None:
    assert from_moments(2.0, 8.0) == exponential(2.0)
    assert from_distribution(stats.expon(scale=2.0)) == exponential(2.0)
    assert from_distribution(stats.uniform(0, 2)).h == pytest.approx(2 / 3)
    drawn = np.random.default_rng(1).exponential(2.0, 100_000)
    assert from_samples(drawn).h == pytest.approx(1.0, rel=0.02)
    assert from_samples([3.0]) == Size(3.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: from_distribution(stats.pareto(1.5)), "no finite variance"),
        (lambda: from_distribution(stats.pareto(0.9)), "accepted"),
        (lambda: Size(1.0, np.inf), "no finite variance"),
        (lambda: from_moments(2.0, 1.0), "second moment"),
        (lambda: Size(0.0), "above 0"),
        (lambda: from_samples([]), "one or more"),
        (lambda: from_samples([1.0, -1.0]), "above 0"),
        (lambda: from_samples(1 + np.random.default_rng(1).pareto(1.3, 10_000)), "index 1"),
        (lambda: single([1.0], 1.0, np.inf), "without a variance"),
        (lambda: single([-1.0], 0.0), "rates.*\n.*times"),
        (lambda: single([0.1, 0.1], [1.0, 2.0], 1.0, servers=2), "one mean"),
        (lambda: single([0.1], 1.0, servers=0), "0 servers"),
    ],
)
def test_what_has_no_waits_is_refused(make: object, said: str) -> None:
    with pytest.raises(WardropError, match=said):
        make()  # type: ignore[operator]


def test_samples_of_a_tail_with_a_variance_pass() -> None:
    random = np.random.default_rng(2)
    for seed_draw in (1 + random.pareto(3.0, 10_000), random.lognormal(0, 1, 10_000), np.full(1000, 2.0)):
        assert from_samples(seed_draw).scv >= 0
    with pytest.raises(MeasurementError):
        from_samples([np.nan])


def test_classes_above_capacity() -> None:
    with pytest.raises(Infeasible, match=r"1\.1.*from class 2") as refused:
        cobham([0.5, 0.6], 1.0)
    assert refused.value.excess == pytest.approx(0.1)
    waits = single([0.5, 0.6], 1.0).waits[0]
    assert np.isfinite(waits[0])
    assert np.isinf(waits[1])
