"""Classes at one queue: the recursion against one that looks at every job, and against Lindley's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.errors import MeasurementError, WardropError
from pricing.simulate.packets import lindley
from pricing.simulate.priority import Interval, Stream, priority_waits, simulated_waits

JOBS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=25)


def slowly(arrivals: list[int], services: list[int], classes: list[int], servers: int) -> list[float]:
    """Start by start, the least (class, place) of all who are there."""
    left = set(range(len(arrivals)))
    free = [-np.inf] * servers
    waits = [0.0] * len(arrivals)
    while left:
        now = max(min(free), min(arrivals[i] for i in left))
        job = min((i for i in left if arrivals[i] <= now), key=lambda i: (classes[i], i))
        waits[job] = now - arrivals[job]
        free[free.index(min(free))] = now + services[job]
        left.remove(job)
    return waits


@settings(deadline=None, max_examples=150)
@given(JOBS, st.integers(1, 3))
def test_every_start_takes_the_first_class_there(jobs: list[tuple[int, int, int]], servers: int) -> None:
    arrivals, services, classes = (list(column) for column in zip(*sorted(jobs, key=lambda j: j[0]), strict=True))
    assert priority_waits(arrivals, services, classes, servers).tolist() == slowly(arrivals, services, classes, servers)


def test_one_class_is_lindley() -> None:
    random = np.random.default_rng(1)
    arrivals, services = np.sort(random.uniform(0, 1e3, 1000)), random.exponential(0.9, 1000)
    ours = priority_waits(arrivals, services, np.ones(1000, dtype=int))
    assert np.array_equal(ours, lindley(arrivals, services))


def test_order_does_not_change_the_work_that_waits() -> None:
    """Kleinrock's conservation: services times waits sum to the same in every order that does not interrupt."""
    random = np.random.default_rng(2)
    n = 20_000
    arrivals, services = np.sort(random.uniform(0, n, n)), random.exponential(0.8, n)
    classes = random.integers(1, 4, n)
    by_class, fifo = (priority_waits(arrivals, services, order) for order in (classes, np.ones(n, dtype=int)))
    assert services @ by_class == pytest.approx(services @ fifo, rel=1e-9)
    means = [by_class[classes == k].mean() for k in (1, 2, 3)]
    assert means == sorted(means)


def test_nothing_waits_for_nothing() -> None:
    assert priority_waits([], [], np.empty(0, dtype=int)).size == 0


@pytest.mark.parametrize(
    ("arrivals", "services", "classes", "said"),
    [
        ([0.0, 1.0], [1.0], [1, 1], "one length"),
        ([1.0, 0.0], [1.0, 1.0], [1, 1], "ascending order"),
        ([0.0, 1.0], [1.0, -1.0], [1, 1], "services"),
        ([0.0, 1.0], [1.0, 1.0], [0, 1], "classes"),
        ([0.0, 1.0], [1.0, 1.0], [1.0, 2.0], "classes"),
    ],
)
def test_what_is_not_arrivals_is_refused(
    arrivals: list[float], services: list[float], classes: list[float], said: str
) -> None:
    with pytest.raises(MeasurementError, match=said):
        priority_waits(arrivals, services, classes)


def test_md1_by_simulation() -> None:
    stream = Stream(np.array([0.7]), [lambda random, n: np.ones(n)])
    found = simulated_waits(stream, np.random.default_rng(3), jobs=20_000)
    assert found.holds(0.7 / 2 / 0.3)
    assert found.half_width[0] < 0.1 * found.mean[0]


def test_an_interval_is_students() -> None:
    found = Interval.of([[1.0], [2.0], [3.0]])
    assert found.mean[0] == 2
    assert found.half_width[0] == pytest.approx(4.302652729911275 / np.sqrt(3))
    assert not found.holds(5.0)


def test_a_stream_has_a_distribution_for_each_class() -> None:
    with pytest.raises(WardropError, match="one of each"):
        Stream(np.array([1.0, 0.0]), [lambda random, n: np.ones(n)])
