"""Delay laws beside the queues of `pricing.delay`: roads, points that were measured, mixtures, and yours.

Whatever law enters must make x D(x) convex and D increasing, or prices lead astray; `checked` holds it to that. One
observation makes both easy: let C be the marginal cost and x D = integral of C from 0 to x. If C never falls, x D is
convex, and D, which is the mean of C over [0, x], never falls either. So a table is fitted in C:

    C piecewise linear with knots at 0 and at the measured loads,  C(0) >= 0,  no piece falling
    minimise  sum_i (D(x_i)/measured_i - 1)^2

D(x_i) is linear in C(0) and the rises of C at the knots, none negative: non-negative least squares. Beyond the last
point D goes on at its slope there; where a capacity is known it bends upward to infinity, as a queue's delay does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from pricing.delay import DelayLaw
from pricing.errors import MeasurementError, WardropError
from pricing.problem import IntArray
from pricing.values import FloatArray


@dataclass(frozen=True)
class BPR:
    """Travel time on a road by the Bureau of Public Roads: D = free (1 + alpha (x / practical)^beta).

    Parameters
    ----------
    free : array of shape (R,)
        Delay at no load, s.
    practical : array of shape (R,)
        Load at which the delay is 1 + alpha times that, a unit of load; it may be passed.
    alpha, beta : float or arrays of shape (R,)
        Ratios; beta at least 1.
    """

    free: FloatArray
    practical: FloatArray
    alpha: ArrayLike = 0.15
    beta: ArrayLike = 4.0

    @property
    def capacity(self) -> FloatArray:
        """Infinite: a road slows down, and takes everybody."""
        return np.full(np.shape(self.free), np.inf)

    def _term(self, load: ArrayLike, lower: int = 0) -> FloatArray:
        """alpha free (x / practical)^(beta - lower); 0 below zero load."""
        ratio = np.maximum(np.asarray(load, dtype=float), 0.0) / self.practical
        return np.asarray(np.asarray(self.alpha) * self.free * ratio ** (np.asarray(self.beta) - lower))

    def delay(self, load: ArrayLike) -> FloatArray:
        """D(x), s."""
        return self.free + self._term(load)

    def slope(self, load: ArrayLike) -> FloatArray:
        """D'(x), s a unit of load."""
        return np.asarray(np.asarray(self.beta) / self.practical * self._term(load, 1))

    def marginal(self, load: ArrayLike) -> FloatArray:
        """D + x D' = free (1 + (1 + beta) alpha (x / practical)^beta), s."""
        return self.free + (1 + np.asarray(self.beta)) * self._term(load)

    def marginal_slope(self, load: ArrayLike) -> FloatArray:
        """(1 + beta) D'(x), s a unit of load."""
        return (1 + np.asarray(self.beta)) * self.slope(load)

    def cost(self, load: ArrayLike) -> FloatArray:
        """x D(x), s times a unit of load."""
        return np.asarray(np.asarray(load, dtype=float) * self.delay(load))

    def integral(self, load: ArrayLike) -> FloatArray:
        """Integral of D from 0 to x, s times a unit of load."""
        x = np.asarray(load, dtype=float)
        return np.asarray(x * (self.free + self._term(x) / (1 + np.asarray(self.beta))))


@dataclass(frozen=True)
class Table:
    """A law through measured points, for any number of resources that are alike; `fitted` makes one.

    Parameters
    ----------
    knots : array of shape (n,)
        Loads, 0 first.
    marginals : array of shape (n,)
        Marginal cost C at the knots, s, none below the one before; the first or a later one above 0.
    top : float
        Capacity; may be infinite.

    Notes
    -----
    Beyond the last knot, D = D_n + s h room/(room - h) with h the load beyond, room what is left to the capacity there
    and s the slope D' at the knot: convex and increasing, and C goes on without a step.
    """

    knots: FloatArray
    marginals: FloatArray
    top: float = np.inf

    @property
    def capacity(self) -> FloatArray:
        """Load that is never reached."""
        return np.asarray(self.top)

    @cached_property
    def _slopes(self) -> FloatArray:
        return np.asarray(np.diff(self.marginals) / np.diff(self.knots))

    @cached_property
    def _costs(self) -> FloatArray:
        """x D at the knots: trapezes of C."""
        return np.append(0.0, np.cumsum(np.diff(self.knots) * (self.marginals[1:] + self.marginals[:-1]) / 2))

    @cached_property
    def _integrals(self) -> FloatArray:
        """Integral of D at the knots."""
        parts = self._within(np.arange(len(self._slopes)), self.knots[1:])
        return np.append(0.0, np.cumsum(parts))

    @cached_property
    def _end(self) -> tuple[float, float]:
        """D at the last knot, and the slope with which it goes on, never 0: a delay that never grows has no price."""
        last = float(self.knots[-1])
        delay = float(self._costs[-1]) / last
        slope = (float(self.marginals[-1]) - delay) / last
        return delay, slope if slope > 1e-9 * delay / last else delay / last

    def _place(self, load: ArrayLike) -> tuple[FloatArray, IntArray, FloatArray, FloatArray]:
        """Load cut at the last knot, its piece, the load beyond, and by how much the pole stretches what is beyond."""
        x = np.asarray(load, dtype=float)
        near = np.minimum(x, self.knots[-1])
        piece = np.clip(np.searchsorted(self.knots, near, side="right") - 1, 0, len(self._slopes) - 1)
        beyond = np.maximum(x - self.knots[-1], 0.0)
        left = self.top - self.knots[-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            stretch = np.where(beyond < left, 1 / (1 - beyond / left), np.inf)
        return near, np.asarray(piece), beyond, stretch

    def _within(self, piece: IntArray, end: FloatArray) -> FloatArray:
        """Integral of D from the piece's knot to `end`: D = A/x + B + C' x/2, with A = 0 in the first piece."""
        begin, slope = self.knots[piece], self._slopes[piece]
        linear = self.marginals[piece] - slope * begin
        fixed = self._costs[piece] - linear * begin - slope * begin**2 / 2
        ratio = np.where(begin > 0, end / np.where(begin > 0, begin, 1.0), 1.0)
        return np.asarray(fixed * np.log(ratio) + linear * (end - begin) + slope * (end**2 - begin**2) / 4)

    def delay(self, load: ArrayLike) -> FloatArray:
        """D(x), s: the mean of C over [0, x]."""
        near, piece, beyond, stretch = self._place(load)
        into = near - self.knots[piece]
        cost = self._costs[piece] + (self.marginals[piece] + self._slopes[piece] * into / 2) * into
        first = self.marginals[0] + self._slopes[0] * near / 2
        within = np.where(piece == 0, first, cost / np.where(piece == 0, 1.0, near))
        return within + np.where(beyond > 0, self._end[1] * beyond * stretch, 0.0)

    def slope(self, load: ArrayLike) -> FloatArray:
        """D'(x), s a unit of load: (C - D)/x up to the last knot."""
        near, piece, beyond, stretch = self._place(load)
        marginal = self.marginals[piece] + self._slopes[piece] * (near - self.knots[piece])
        safe = np.where(piece == 0, 1.0, near)
        within = np.where(piece == 0, self._slopes[0] / 2, (marginal - self.delay(near)) / safe)
        return np.asarray(np.where(beyond > 0, self._end[1] * stretch**2, within))

    def marginal(self, load: ArrayLike) -> FloatArray:
        """C(x), s."""
        near, piece, beyond, _ = self._place(load)
        within = self.marginals[piece] + self._slopes[piece] * (near - self.knots[piece])
        x = np.asarray(load, dtype=float)
        return np.asarray(np.where(beyond > 0, self.delay(x) + x * self.slope(x), within))

    def marginal_slope(self, load: ArrayLike) -> FloatArray:
        """C'(x), s a unit of load."""
        _, piece, beyond, stretch = self._place(load)
        x, left = np.asarray(load, dtype=float), self.top - self.knots[-1]
        steep = 2 * self._end[1] * stretch**2 * (1 + np.where(np.isfinite(x), x, 0.0) * stretch / left)
        return np.asarray(np.where(beyond > 0, steep, self._slopes[piece]))

    def cost(self, load: ArrayLike) -> FloatArray:
        """x D(x), s times a unit of load."""
        return np.asarray(np.asarray(load, dtype=float) * self.delay(load))

    def integral(self, load: ArrayLike) -> FloatArray:
        """Integral of D from 0 to x, s times a unit of load."""
        near, piece, beyond, stretch = self._place(load)
        found = self._integrals[piece] + self._within(piece, near) + self._end[0] * beyond
        left = self.top - self.knots[-1]
        if not np.isfinite(left):
            return np.asarray(found + self._end[1] * beyond**2 / 2)
        with np.errstate(invalid="ignore"):
            bent = left * (left * np.log(stretch) - beyond)
        return np.asarray(found + self._end[1] * np.where(np.isfinite(stretch), bent, np.inf))


def fitted(loads: ArrayLike, delays: ArrayLike, capacity: float = np.inf) -> Table:
    """The law with increasing delay and convex x D(x) that is nearest to measured points, by least relative squares.

    Parameters
    ----------
    loads : array of shape (n,)
        Unit of load, 0 or above, each once; at least one above 0.
    delays : array of shape (n,)
        Seconds, above 0.
    capacity : float, optional
        Load that is never reached, above all measured ones.

    Raises
    ------
    MeasurementError
        When the points are no such table; the message names the first that is wrong.

    Examples
    --------
    >>> law = fitted([2.0, 4.0, 6.0], [0.125, 0.17, 0.25], capacity=10.0)
    >>> bool(law.delay(4.0) < law.delay(5.0) < law.delay(9.0))
    True
    """
    x, measured = np.asarray(loads, dtype=float), np.asarray(delays, dtype=float)
    if x.ndim != 1 or x.shape != measured.shape or not (x > 0).any():
        raise MeasurementError(
            f"a table of {x.size} loads and {measured.size} delays: as many loads as delays are accepted, at least one "
            "load above 0"
        )
    order = np.argsort(x, kind="stable")
    x, measured = x[order], measured[order]
    for before, here, delay in zip(np.append(-1.0, x[:-1]), x, measured, strict=True):
        if not (0 <= here < capacity and here != before and np.isfinite(delay) and delay > 0):
            raise MeasurementError(
                f"measured point (load {here:g}, delay {delay:g} s): a load from 0 to below the capacity {capacity:g}, "
                "each once, and a delay above 0 are accepted"
            )
    knots = x if x[0] == 0 else np.append(0.0, x)
    # D at the points, for C(0) = 1 and for a rise of C by 1 over each piece, one column each.
    ramps = np.array([np.interp(knots, [a, b], [0.0, 1.0]) for a, b in pairwise(knots)])
    marginals = np.vstack([np.ones(len(knots)), ramps])
    columns = [Table(knots, row)._costs for row in marginals]
    means = np.array([np.append(row[0], cost[1:] / knots[1:]) for row, cost in zip(marginals, columns, strict=True)])
    wanted = means[:, -len(x) :] / measured
    rises = nnls(wanted.T, np.ones(len(x)))[0]
    return Table(knots, rises @ marginals, float(capacity))


@dataclass(frozen=True)
class Several:
    """Laws of different kinds side by side: law r belongs to resource r. Loads have the shape (R,)."""

    laws: Sequence[DelayLaw]

    @property
    def capacity(self) -> FloatArray:
        """Load that each resource never reaches."""
        return np.array([float(law.capacity) for law in self.laws])

    def _each(self, name: str, load: ArrayLike) -> FloatArray:
        x = np.broadcast_to(np.asarray(load, dtype=float), (len(self.laws),))
        return np.array([float(getattr(law, name)(one)) for law, one in zip(self.laws, x, strict=True)])

    def delay(self, load: ArrayLike) -> FloatArray:
        """D(x), s."""
        return self._each("delay", load)

    def slope(self, load: ArrayLike) -> FloatArray:
        """D'(x), s a unit of load."""
        return self._each("slope", load)

    def marginal(self, load: ArrayLike) -> FloatArray:
        """D + x D', s."""
        return self._each("marginal", load)

    def marginal_slope(self, load: ArrayLike) -> FloatArray:
        """Slope of the marginal cost, s a unit of load."""
        return self._each("marginal_slope", load)

    def cost(self, load: ArrayLike) -> FloatArray:
        """x D(x), s times a unit of load."""
        return self._each("cost", load)

    def integral(self, load: ArrayLike) -> FloatArray:
        """Integral of D from 0 to x, s times a unit of load."""
        return self._each("integral", load)


def checked(law: DelayLaw, largest: ArrayLike = 1.0) -> DelayLaw:
    """Your own law, when it does as a delay law must; it comes back as it is.

    Parameters
    ----------
    law : DelayLaw
        For any number of resources.
    largest : array, optional
        Load up to which to look where the capacity is infinite.

    Raises
    ------
    WardropError
        When D falls, x D(x) is not convex, or its parts do not fit each other. The message names the first load and
        resource where that shows.

    Notes
    -----
    Looks at 400 loads from 0 to the capacity, half of them in its last tenth. No derivative is taken by differences:
    of a convex f, f(b) - f(a) lies between f'(a) (b - a) and f'(b) (b - a); so it is with D and its integral.
    """
    top = np.atleast_1d(np.where(np.isfinite(law.capacity), law.capacity, largest))
    near = 1 - np.geomspace(0.1, 1e-6, 200)
    grid = np.append(np.linspace(0, 0.9, 200, endpoint=False), near)
    x = grid[:, None] * top

    def seen(name: str) -> FloatArray:
        return np.array([np.ravel(getattr(law, name)(row.reshape(np.shape(law.capacity)))) for row in x])

    delay, marginal, cost, integral = (seen(name) for name in ("delay", "marginal", "cost", "integral"))
    slope, bend = seen("slope"), seen("marginal_slope")
    step = np.diff(x, axis=0)
    grown, summed = marginal * np.diff(x, axis=0, prepend=0.0), np.diff(integral, axis=0)
    for what, low, middle, high, rounding in (
        ("the delay falls or is not finite", 0 * delay[1:], delay[:-1], delay[1:], 0.0),
        ("load times delay is not convex: the marginal cost falls", 0 * delay[1:], marginal[:-1], marginal[1:], 0.0),
        ("the cost is not load times delay", cost, x * delay, cost, 0.0),
        ("the marginal cost is not delay + load x slope", marginal, delay + x * slope, marginal, 0.0),
        ("the slope of the marginal cost is negative", 0 * bend, bend, np.where(np.isnan(bend), -1.0, np.inf), 0.0),
        (
            "the cost does not grow by the marginal cost",
            marginal[:-1] * step,
            np.diff(cost, axis=0),
            grown[1:],
            cost[1:],
        ),
        ("the integral does not grow by the delay", delay[:-1] * step, summed, delay[1:] * step, integral[1:]),
    ):
        # A difference of large numbers is known to their rounding only.
        slack = 1e-9 * np.abs(middle) + 1e-14 * np.abs(rounding)
        bad = ~((low <= middle + slack) & (middle <= high + slack))
        if bad.any():
            i, r = (int(k) for k in np.argwhere(bad)[0])
            raise WardropError(
                f"delay law, resource {r} at load {x[i, r]:.6g}: {what}; an increasing delay with a convex load times "
                "delay, and functions that belong together, are accepted"
            )
    return law
