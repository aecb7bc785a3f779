"""Priority classes at one queue: what given arrivals wait, and what Poisson arrivals wait on average.

One queue, one or more equal servers, classes 1 (first), 2, ...: whoever is served is served to the end, and each time a
server is free the first class that has somebody waiting goes on, first in, first out within it. `priority_waits` is
Lindley's recursion for that: it says what every single arrival waits, given when it came, what it asked for and its
class. `simulated_waits` draws Poisson arrivals and services of any distribution, many times over, and gives each
class's mean wait with its interval; `simulated_sensitivity` does so for the derivatives of the waits.

A link that delivers a packet at the start of its transmission delays it by this wait; one that delivers at the end, by
the wait and size/capacity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from pricing.errors import MeasurementError, WardropError
from pricing.simulate.loop import IntArray, _compiled
from pricing.values import FloatArray

Draw = Callable[[np.random.Generator, int], FloatArray]
"""Draws that many services, s."""


def priority_waits(arrivals: ArrayLike, services: ArrayLike, classes: ArrayLike, servers: int = 1) -> FloatArray:
    """Waits of given arrivals in a non-preemptive queue with priority classes.

    Parameters
    ----------
    arrivals : array of shape (N,)
        Times of arrival in ascending order, s.
    services : array of shape (N,)
        What each occupies a server for, s: bits / capacity at a link, work at a server.
    classes : array of int of shape (N,)
        Class of each, 1 first.
    servers : int, optional
        Equal servers of this queue.

    Returns
    -------
    array of shape (N,)
        Seconds from arrival to the start of service.

    Raises
    ------
    MeasurementError
        When the arrays differ in length, arrivals go back in time, a service is negative, or a class is below 1.

    Notes
    -----
    A service starts as soon as a server is free and somebody is there, with the first class among all who have arrived
    by then, that very moment included. Equal arrivals of one class go in the order given. O(N (servers + classes)).
    With one class and one server it is Lindley's recursion, `pricing.simulate.packets.lindley`.

    Examples
    --------
    At 1 s and 2 s a second-class and a first-class packet find the line busy: the later one goes first.

    >>> priority_waits([0.0, 1.0, 2.0], [4.0, 4.0, 4.0], [2, 2, 1]).tolist()
    [0.0, 7.0, 2.0]
    """
    when, service = np.ascontiguousarray(arrivals, dtype=np.float64), np.ascontiguousarray(services, dtype=np.float64)
    order = np.ascontiguousarray(classes)
    problems = []
    if not (when.ndim == 1 and when.shape == service.shape == order.shape):
        raise MeasurementError(
            f"arrivals {when.shape}, services {service.shape}, classes {order.shape}: three arrays of one length are "
            "accepted"
        )
    if not np.isfinite(when).all() or (np.diff(when) < 0).any():
        problems.append("arrivals: not finite or not in ascending order; sort all three by arrival")
    if not (np.isfinite(service) & (service >= 0)).all():
        problems.append("services: a negative or unknown number of seconds; 0 and more are accepted")
    if order.size and (order.dtype.kind not in "iu" or order.min() < 1):
        problems.append("classes: whole numbers from 1 (first) on are accepted")
    if servers < 1:
        problems.append(f"servers: {servers}; 1 and more are accepted")
    if problems:
        raise MeasurementError("\n".join(problems))
    return _waits(when, service, order.astype(np.int64) - 1, int(order.max()) if order.size else 1, servers)


@_compiled
def _waits(arrivals: FloatArray, services: FloatArray, classes: IntArray, count: int, servers: int) -> FloatArray:
    """`priority_waits` with classes from 0; each class's queue is a chain from its first to its last."""
    n = arrivals.size
    waits = np.empty(n)
    free = np.full(servers, -np.inf)
    behind = np.empty(n, dtype=np.int64)
    first, last = np.full(count, -1), np.full(count, -1)
    fresh, waiting = 0, 0  # the next to arrive; how many are in the queues
    start = -np.inf  # of one service after the other, never back in time
    for _ in range(n):
        server = np.argmin(free)
        start = max(free[server], start if waiting else arrivals[fresh])
        while fresh < n and arrivals[fresh] <= start:
            k = classes[fresh]
            if first[k] < 0:
                first[k] = fresh
            else:
                behind[last[k]] = fresh
            behind[fresh] = -1
            last[k] = fresh
            fresh += 1
            waiting += 1
        k = 0
        while first[k] < 0:
            k += 1
        job = first[k]
        first[k] = behind[job]
        waiting -= 1
        waits[job] = start - arrivals[job]
        free[server] = start + services[job]
    return waits


@dataclass(frozen=True)
class Interval:
    """Means over independent runs, with the half-width of their 95 % interval (Student's t); arrays of one shape."""

    mean: FloatArray
    half_width: FloatArray

    @classmethod
    def of(cls, runs: ArrayLike) -> Interval:
        """From one value a run, runs along the first axis, two or more."""
        values = np.asarray(runs, dtype=float)
        count = len(values)
        spread = values.std(axis=0, ddof=1) / np.sqrt(count)
        return cls(values.mean(axis=0), np.asarray(special.stdtrit(count - 1, 0.975) * spread))

    def holds(self, value: ArrayLike) -> bool:
        """Whether every value lies inside."""
        return bool((np.abs(np.asarray(value) - self.mean) <= self.half_width).all())


@dataclass(frozen=True)
class Stream:
    """Poisson arrivals of each class, and what each asks for.

    Parameters
    ----------
    rates : array of shape (K,)
        Arrivals a second, above 0; class 1 first.
    draws : sequence of K functions
        `draw(random, n)` gives n services of the class, s; `random.exponential(b, n)` for M/M/1.
    servers : int, optional
        Equal servers.
    """

    rates: FloatArray
    draws: Sequence[Draw]
    servers: int = 1

    def __post_init__(self) -> None:
        if len(self.rates) != len(self.draws) or not (np.isfinite(self.rates) & (np.asarray(self.rates) > 0)).all():
            raise WardropError(
                f"a stream of {len(self.rates)} rates and {len(self.draws)} distributions: one of each for every "
                "class, rates above 0, are accepted"
            )


def simulated_waits(
    stream: Stream, random: np.random.Generator, jobs: int = 100_000, runs: int = 20, warm_up: float = 0.1
) -> Interval:
    """Mean wait of each class, s, shape (K,).

    Parameters
    ----------
    jobs, runs : int
        About so many arrivals a run, and independent runs.
    warm_up : float
        Part of each run that is left out at its start, where the queue is emptier than it will be.
    """
    return Interval.of([_means(stream, *_arrivals(stream, random, jobs), warm_up) for _ in range(runs)])


def simulated_sensitivity(
    stream: Stream, random: np.random.Generator, step: float = 0.05, jobs: int = 100_000, runs: int = 20
) -> Interval:
    """dW_j/drate_k by simulation, shape (K, K), classes j down and k across; s times s.

    Notes
    -----
    Each run draws arrivals at 1 + step times the rates, and leaves out some by chance: class k's until 1 + step or
    1 - step of its rate is left, the others' until all of theirs is. The difference of two queues fed by the same
    arrivals but for a few is far sharper than that of two strangers. A central difference, off by O(step^2).
    """
    count = len(stream.rates)
    found = np.empty((runs, count, count))
    for run in found:
        when, service, order, chance = (*_arrivals(stream, random, jobs, 1 + step), random.random)
        mark = chance(when.size) * (1 + step)
        for k in range(count):
            more, fewer = (np.where(order == k, mark < part, mark < 1) for part in (1 + step, 1 - step))
            high, low = (_means(stream, when[kept], service[kept], order[kept]) for kept in (more, fewer))
            run[:, k] = (high - low) / (2 * step * stream.rates[k])
    return Interval.of(found)


def _arrivals(
    stream: Stream, random: np.random.Generator, jobs: int, more: float = 1.0
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Times, services and classes from 0 of about `more * jobs` arrivals."""
    length = jobs / np.sum(stream.rates)
    counts = random.poisson(np.asarray(stream.rates) * length * more)
    when = random.uniform(0.0, length, counts.sum())
    service = np.concatenate([draw(random, int(n)) for draw, n in zip(stream.draws, counts, strict=True)])
    classes = np.repeat(np.arange(len(counts)), counts)
    order = np.argsort(when, kind="stable")
    return when[order], service[order], classes[order]


def _means(
    stream: Stream, when: FloatArray, service: FloatArray, classes: IntArray, warm_up: float = 0.1
) -> FloatArray:
    """Mean wait of each class after the warm-up; NaN for a class of which nobody came."""
    count = len(stream.rates)
    waits = _waits(when, service, classes, count, stream.servers)
    late = np.searchsorted(when, warm_up * when[-1])
    seen = np.bincount(classes[late:], minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(classes[late:], waits[late:], count) / seen)
