"""When packets come: a stream at random or at equal distances, in bursts, at a rate that changes over time.

A stream is drawn in its own time, in which one packet comes a unit: at random (`poisson`, `on-off`) or in the middle of
each unit (`deterministic`). Real time follows from the rate: a unit lasts until the integral of the rate has grown by
one. So a Poisson stream whose rate changes is exactly that, and a profile needs no law of its own.

`replay` sends the packets of a capture (`topologies.hosts.pcap`), again and again from its first one; its gaps are
stretched alike, so that the mean rate is what is asked.

`on-off` sends only in the on-times: these and the off-times last exponentially, and in the on-times the rate is so much
higher that the mean stays. The factors of a `profile` are relative to each other: their mean over time is 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pricing.network import ArrivalLaw

Floats = NDArray[np.float64]

SECOND = 1_000_000_000


class Pattern(NamedTuple):
    """The fields of `pricing.network.ArrivalLaw`, whose module takes longer to import than all that a sender needs."""

    law: str = "poisson"
    on: float = 1.0
    off: float = 1.0
    profile: tuple[tuple[float, float], ...] = ()
    capture: str = ""


POISSON = Pattern()


def times(pattern: ArrivalLaw | Pattern, rate: float, length: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Arrivals of `length` seconds, in ascending order, ns from their beginning.

    Parameters
    ----------
    pattern : ArrivalLaw or Pattern
    rate : float
        Mean packets/s.
    """
    edges, heights = _rate(pattern, length, rng)
    passed = np.concatenate([[0.0], np.cumsum(rate * heights * np.diff(edges))])
    if pattern.law == "deterministic":
        units = np.arange(int(passed[-1] + 0.5)) + 0.5
    else:
        units = np.sort(rng.uniform(0.0, passed[-1], rng.poisson(passed[-1])))
    due: NDArray[np.int64] = np.minimum(np.interp(units, passed, edges) * SECOND, length * SECOND - 1).astype(np.int64)
    return due


def _rate(pattern: ArrivalLaw | Pattern, length: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The rate over time, relative to its mean: edges (n + 1,) in s from 0 to `length`, and what it is between."""
    edges, factors = np.array([0.0, length]), np.ones(1)
    if pattern.profile:
        whole = sum(seconds for seconds, _ in pattern.profile)
        mean = sum(seconds * factor for seconds, factor in pattern.profile) / whole
        rounds = int(length / whole) + 1
        steps = [(seconds, factor / mean) for seconds, factor in pattern.profile] * rounds
        edges, factors = _steps(steps, length)
    if pattern.law == "on-off":
        count = int(4 + 2 * length / (pattern.on + pattern.off))
        high = (pattern.on + pattern.off) / pattern.on
        steps = []
        while sum(seconds for seconds, _ in steps) < length:
            on, off = rng.exponential(pattern.on, count), rng.exponential(pattern.off, count)
            steps += [step for pair in zip(on, off, strict=True) for step in ((pair[0], high), (pair[1], 0.0))]
        return _product((edges, factors), _steps(steps, length))
    return edges, factors


def _steps(steps: Iterable[tuple[float, float]], length: float) -> tuple[Floats, Floats]:
    """Edges and heights of steps that follow each other, cut at `length`."""
    seconds, heights = np.array(list(steps), dtype=np.float64).T
    edges = np.concatenate([[0.0], np.cumsum(seconds)])
    count = int(np.searchsorted(edges, length))
    return np.append(edges[:count], length), heights[:count]


def _product(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Two rates over the same time, multiplied."""
    edges = np.union1d(first[0], second[0])
    middles = (edges[1:] + edges[:-1]) / 2
    heights = [h[np.searchsorted(e, middles) - 1] for e, h in (first, second)]
    return edges, heights[0] * heights[1]
