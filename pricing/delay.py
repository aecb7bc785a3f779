"""Delay laws: how long a packet or request takes at a resource that carries a load.

One family covers M/M/1, M/D/1 and M/G/1: a FIFO fed by Poisson arrivals, whose mean wait Pollaczek and Khinchine gave.
With load x (bit/s or work/s), capacity C, jobs of mean m and squared coefficient of variation scv, h = (1 + scv)/2:

    W(x)  = h m x / (C (C - x))                           wait
    D(x)  = W(x) + propagation [+ m/C where the job's own transmission or service counts]        delay
    C'(x) : with a = h m / C and b = D(0):   D = a x/(C - x) + b
    marginal cost  D + x D' = a (C^2/(C - x)^2 - 1) + b
    cost           x D      = a x^2/(C - x) + b x
    integral       of D     = b x - a (x + C log(1 - x/C))

so the paper's M/M/1, D = 1/(mu - x), is m = 1, scv = 1 with the service counted. Everything is infinite at and beyond
capacity, and every formula continues, still convex, below zero load. `pricing.laws` has other laws, and checks yours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pricing.values import FloatArray


class DelayLaw(Protocol):
    """What the optimisation asks of delays: arrays over resources in, arrays out, infinite from `capacity` on."""

    @property
    def capacity(self) -> FloatArray:
        """Load that each resource never reaches, bit/s or work/s."""

    def delay(self, load: ArrayLike) -> FloatArray:
        """D(x), s."""

    def slope(self, load: ArrayLike) -> FloatArray:
        """D'(x), s a unit of load."""

    def marginal(self, load: ArrayLike) -> FloatArray:
        """Marginal cost D(x) + x D'(x), s."""

    def marginal_slope(self, load: ArrayLike) -> FloatArray:
        """Slope of the marginal cost, s a unit of load."""

    def cost(self, load: ArrayLike) -> FloatArray:
        """x D(x), s times a unit of load."""

    def integral(self, load: ArrayLike) -> FloatArray:
        """Integral of D from 0 to x, s times a unit of load: what user equilibrium makes least."""


@dataclass(frozen=True)
class PollaczekKhinchine:
    """M/G/1 at many resources at once.

    Parameters
    ----------
    capacity : array of shape (R,)
        bit/s or work/s.
    size : array of shape (R,)
        Mean job m, in bits or work.
    scv : array of shape (R,)
        Squared coefficient of variation of the jobs.
    sojourn : boolean array of shape (R,)
        Whether a job's own m/C is part of its delay.
    propagation : array of shape (R,)
        Seconds added to every delay.

    Notes
    -----
    Pollaczek-Khinchine: W = lambda E[S^2] / (2 (1 - rho)), with S = job/C, lambda = x/m and rho = x/C.
    """

    capacity: FloatArray
    size: FloatArray
    scv: FloatArray
    sojourn: NDArray[np.bool_]
    propagation: FloatArray

    @cached_property
    def scale(self) -> FloatArray:
        """a = h m / C, s: the wait at half of the capacity."""
        return np.asarray((1 + self.scv) / 2 * self.size / self.capacity)

    @cached_property
    def base(self) -> FloatArray:
        """b = D(0), s: the delay of an idle resource."""
        return np.asarray(np.where(self.sojourn, self.size / self.capacity, 0.0) + self.propagation)

    def _room(self, load: ArrayLike) -> FloatArray:
        x = np.asarray(load, dtype=float)
        return np.where(x < self.capacity, self.capacity - x, 0.0)

    def wait(self, load: ArrayLike) -> FloatArray:
        """W(x), s: the time spent behind others."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.scale * np.asarray(load, dtype=float) / self._room(load))

    def delay(self, load: ArrayLike) -> FloatArray:
        """D(x) = W(x) + D(0), s."""
        return self.wait(load) + self.base

    def slope(self, load: ArrayLike) -> FloatArray:
        """D'(x) = a C/(C - x)^2, s a unit of load."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.scale * self.capacity / self._room(load) ** 2)

    def marginal(self, load: ArrayLike) -> FloatArray:
        """D(x) + x D'(x) = a (C^2/(C - x)^2 - 1) + b, s."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.scale * ((self.capacity / self._room(load)) ** 2 - 1) + self.base)

    def marginal_slope(self, load: ArrayLike) -> FloatArray:
        """2 a C^2/(C - x)^3, s a unit of load."""
        with np.errstate(divide="ignore"):
            return np.asarray(2 * self.scale * self.capacity**2 / self._room(load) ** 3)

    def cost(self, load: ArrayLike) -> FloatArray:
        """x D(x) = a x^2/(C - x) + b x, s times a unit of load."""
        x = np.asarray(load, dtype=float)
        with np.errstate(divide="ignore"):
            return np.asarray(self.scale * x**2 / self._room(x) + self.base * np.minimum(x, self.capacity))

    def integral(self, load: ArrayLike) -> FloatArray:
        """Integral of D from 0 to x, b x - a (x + C log(1 - x/C)), s times a unit of load."""
        x = np.asarray(load, dtype=float)
        with np.errstate(divide="ignore"):
            queued = self.capacity * np.log(self._room(x) / self.capacity)
        inside = np.minimum(x, self.capacity)
        return np.asarray(self.base * inside - self.scale * (inside + queued))

    def load_at(self, price: ArrayLike) -> FloatArray:
        """The load at which the marginal cost is `price` (s); 0 for prices below that of an idle resource."""
        above = np.maximum(np.asarray(price, dtype=float) - self.base, 0.0)
        return np.asarray(self.capacity * (1 - 1 / np.sqrt(1 + above / self.scale)))


def mg1(
    capacity: ArrayLike,
    size: ArrayLike = 1.0,
    scv: ArrayLike = 1.0,
    sojourn: ArrayLike = True,
    propagation: ArrayLike = 0.0,
) -> PollaczekKhinchine:
    """M/G/1 from numbers or arrays, broadcast against each other.

    >>> float(mg1(10.0, scv=0.0).wait(5.0))
    0.05
    """
    c, m, v, p = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (capacity, size, scv, propagation)))
    return PollaczekKhinchine(c, m, v, np.broadcast_to(np.asarray(sojourn, dtype=bool), c.shape), p)


def mm1(
    capacity: ArrayLike, size: ArrayLike = 1.0, sojourn: ArrayLike = True, propagation: ArrayLike = 0.0
) -> PollaczekKhinchine:
    """M/M/1: exponential jobs; with the defaults the paper's D = 1/(mu - x).

    >>> float(mm1(10.0).delay(6.0))
    0.25
    """
    return mg1(capacity, size, 1.0, sojourn, propagation)


def md1(
    capacity: ArrayLike, size: ArrayLike = 1.0, sojourn: ArrayLike = True, propagation: ArrayLike = 0.0
) -> PollaczekKhinchine:
    """M/D/1: jobs all of one size, half the wait of M/M/1."""
    return mg1(capacity, size, 0.0, sojourn, propagation)


def measured_mg1(
    capacity: ArrayLike, mean: ArrayLike, variance: ArrayLike, sojourn: ArrayLike = True, propagation: ArrayLike = 0.0
) -> PollaczekKhinchine:
    """M/G/1 from what was measured of the jobs: the mean (bits or work) and the variance (its square) of their sizes.

    >>> float(measured_mg1(10.0, 2.0, 4.0).wait(5.0)) == float(mm1(10.0, 2.0).wait(5.0))
    True
    """
    first = np.asarray(mean, dtype=float)
    return mg1(capacity, first, np.asarray(variance, dtype=float) / first**2, sojourn, propagation)
