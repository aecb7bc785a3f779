"""Estimates with their intervals, and what may be concluded from them.

Delays of successive packets are correlated: a thousand packets of one busy period say little more than one. Every
interval here counts that in by the **correlation time** of a series,

    tau = 1 + 2 sum_k rho(k),      variance of the mean = variance tau / n,

the sum cut at the first lag beyond 5 tau (A. D. Sokal, Monte Carlo methods in statistical mechanics, 1997) and
corrected for its bias (U. Wolff, Monte Carlo errors with less errors, 2004). A mean's interval is by **batch means**
(A. M. Law, Simulation modeling and analysis): 20 to 64 batches, as many as are at least 5 correlation times long each.
A series too short for 20 such batches still gets 20, but Student's t then has only the degrees of freedom of the
batches that would fit, and the standard error is never less than the one by tau: short series have wide intervals, and
a verdict on them is 'undecided'.

All intervals are two-sided and hold with 95 %. `ci95` is the half-width, infinite where nothing can be told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft, stats

from pricing.values import FloatArray

Verdict = Literal["met", "not met", "undecided"]

FEWEST_BATCHES, MOST_BATCHES = 20, 64
BATCH_LENGTH = 5.0
"""Correlation times in a batch."""

NORMAL = float(stats.norm.ppf(0.975))
"""Half-width of a 95 % interval in standard errors, for many samples."""


@dataclass(frozen=True)
class Estimate:
    """A value, the half-width of its 95 % interval, and the samples behind it.

    Parameters
    ----------
    value : float
        NaN when there is no sample.
    ci95 : float
        Infinite when it cannot be told.
    n : int
        Samples.
    """

    value: float
    ci95: float
    n: int

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - self.ci95

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value + self.ci95

    def as_json(self) -> dict[str, float | int | None]:
        """`value`, `ci95` and `n`, with None for what is not known."""
        known = math.isfinite(self.value)
        half = self.ci95 if known and math.isfinite(self.ci95) else None
        return {"value": self.value if known else None, "ci95": half, "n": self.n}


NOTHING = Estimate(math.nan, math.inf, 0)
"""The estimate of no sample."""


@dataclass(frozen=True)
class Delays:
    """A distribution of delays, s."""

    mean: Estimate
    p50: Estimate
    p95: Estimate
    p99: Estimate


def correlation_time(series: FloatArray) -> float:
    """Samples of `series` (n,) that are worth one independent sample, at least 1.

    Notes
    -----
    O(n log n).
    """
    n = len(series)
    centred = series - series.mean() if n else series
    # An autocorrelation by the Fourier transform is circular; zeros of its own length keep its two ends apart.
    transform = fft.rfft(centred, fft.next_fast_len(2 * n, real=True)) if n else np.zeros(1)
    covariance = fft.irfft(np.abs(transform) ** 2)[:n] if n else np.zeros(1)
    if n < 2 or covariance[0] <= 1e-24 * n * float(np.square(series).max()):
        return 1.0
    sums = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    cut = int(np.argmax(np.arange(n) >= 5.0 * sums))  # there is one: the sum over all lags is 0
    # Taking out the sample's own mean lowers every lag by about tau / n; this puts it back to the first order.
    return float(max(1.0, sums[cut] * (1.0 + (2.0 * cut + 1.0) / n)))


def mean(series: ArrayLike) -> Estimate:
    """Mean of a correlated series (n,), in its order of time, by batch means.

    Examples
    --------
    >>> mean([2.0, 2.0, 2.0])
    Estimate(value=2.0, ci95=0.0, n=3)
    """
    values = np.asarray(series, dtype=np.float64)
    n = len(values)
    if n < 2:
        return Estimate(float(values[0]), math.inf, 1) if n else NOTHING
    tau = correlation_time(values)
    fit = int(n / (BATCH_LENGTH * tau))
    batches = min(n, max(FEWEST_BATCHES, min(fit, MOST_BATCHES)))
    length = n // batches
    means = values[: batches * length].reshape(batches, length).mean(axis=1)
    error = max(means.std(ddof=1) / math.sqrt(batches), values.std() * math.sqrt(tau / n))
    return Estimate(float(values.mean()), _student(min(fit, batches) - 1) * float(error), n)


def together(estimate: Estimate, count: int) -> Estimate:
    """The estimate with an interval for the farthest off of `count` of them: all hold together with 95 % (Bonferroni).

    Examples
    --------
    >>> round(together(Estimate(1.0, 0.1, 9), 4).ci95, 4)
    0.1274
    """
    wider = float(stats.norm.ppf(1 - 0.025 / count)) / NORMAL
    return Estimate(estimate.value, wider * estimate.ci95, estimate.n)


def replications(values: ArrayLike) -> Estimate:
    """Mean of independent runs' results (n,); Student's t with n - 1 degrees of freedom."""
    results = np.asarray(values, dtype=np.float64)
    n = len(results)
    if n < 2:
        return Estimate(float(results[0]), math.inf, 1) if n else NOTHING
    error = float(results.std(ddof=1)) / math.sqrt(n)
    return Estimate(float(results.mean()), _student(n - 1) * error, n)


def percentile(series: ArrayLike, q: float) -> Estimate:
    """The q-quantile (0 < q < 1) of a correlated series (n,), between two of its order statistics.

    The number of samples below the true quantile has mean nq and variance nq(1 - q) tau, with tau of the indicator
    of being above it. The half-width reaches to the further of the two ends.
    """
    values = np.asarray(series, dtype=np.float64)
    n = len(values)
    if n == 0:
        return NOTHING
    value = float(np.quantile(values, q))
    tau = correlation_time((values > value).astype(np.float64))
    spread = NORMAL * math.sqrt(n * q * (1.0 - q) * tau)
    low, high = math.floor(n * q - spread) - 1, math.ceil(n * q + spread)
    if low < 0 or high >= n:
        return Estimate(value, math.inf, n)
    ends = np.partition(values, (low, high))[[low, high]]
    return Estimate(value, float(np.abs(ends - value).max()), n)


def delays(series: ArrayLike) -> Delays:
    """Mean and percentiles of a series of delays (n,), s, in the order of time."""
    values = np.asarray(series, dtype=np.float64)
    return Delays(mean(values), percentile(values, 0.50), percentile(values, 0.95), percentile(values, 0.99))


def proportion(hits: int, n: int) -> Estimate:
    """A share of n independent trials, with the binomial standard error.

    The error is taken at (hits + 2) / (n + 4), so that no hit at all has an interval too (A. Agresti and B. A. Coull,
    Approximate is better than exact, 1998).
    """
    if n == 0:
        return NOTHING
    near = (hits + 2.0) / (n + 4.0)
    return Estimate(hits / n, NORMAL * math.sqrt(near * (1.0 - near) / (n + 4.0)), n)


def rate(amounts: ArrayLike, duration: float) -> Estimate:
    """Amount a second: the sum of `amounts` (n,), which came as a Poisson stream, by `duration` (s)."""
    values = np.asarray(amounts, dtype=np.float64)
    return Estimate(float(values.sum()) / duration, NORMAL * math.sqrt(float(values @ values)) / duration, len(values))


def slope(times: ArrayLike, values: ArrayLike) -> Estimate:
    """Slope of a line through a correlated series (n,), in units of `values` a second.

    A queue is growing when the interval lies above 0: `slope(...).low > 0`.
    """
    t, y = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    n = len(y)
    if n < 3 or np.ptp(t) == 0:
        return Estimate(math.nan, math.inf, n)
    t = t - t.mean()
    spread = float(t @ t)
    value = float(t @ y) / spread
    rest = y - y.mean() - value * t
    tau = correlation_time(rest)
    error = math.sqrt(float(rest @ rest) / (n - 2) * tau / spread)
    return Estimate(value, _student(int(n / (BATCH_LENGTH * tau)) - 2) * error, n)


def counted(edges: FloatArray, rates: FloatArray) -> Estimate:
    """Mean rate of a counter that rose by `rates` (n,) a second between successive `edges` (n + 1,), s.

    For what is bound to be made up for: what one piece of the time lacks, since it is late or its turn has not come,
    others have too much, and the counter stays in a band about its line. Another time of the same length could not
    change the mean by more than the width of the band over that length, which is the half-width told. The mean of the
    pieces takes each lack for noise, though nothing of it stays. Where chance adds up, as with Poisson arrivals, there
    is no band: `mean` holds.
    """
    length = np.diff(edges)
    value = float(rates @ length / length.sum())
    strayed = np.concatenate([[0.0], np.cumsum((rates - value) * length)])
    return Estimate(value, float(np.ptp(strayed) / length.sum()), len(rates))


def ratio(upper: Estimate, lower: Estimate) -> Estimate:
    """upper / lower of two independent estimates, to the first order of their intervals."""
    if lower.value == 0 or math.isnan(upper.value / lower.value):
        return Estimate(math.nan, math.inf, min(upper.n, lower.n))
    value = upper.value / lower.value
    half = math.hypot(upper.ci95, value * lower.ci95) / abs(lower.value)
    return Estimate(value, half, min(upper.n, lower.n))


def paired(measured: FloatArray, predicted: FloatArray) -> Estimate:
    """Mean of measured - predicted over the packets (n,), in order of time, that have both (neither is NaN).

    On the same packets the two go up and down together, so this interval is far narrower than those of the two means.
    """
    difference = measured - predicted
    return mean(difference[np.isfinite(difference)])


def ratio_of_pairs(upper: FloatArray, lower: FloatArray) -> Estimate:
    """Ratio r of the means of two series of the same packets (n,), in order of time, where both are known.

    The interval is that of the mean of upper - r lower, by the mean of lower: what both have in common is in neither.
    """
    known = np.isfinite(upper) & np.isfinite(lower)
    above, below = upper[known], lower[known]
    if not above.size or not below.mean():
        return NOTHING
    value = float(above.mean() / below.mean())
    return Estimate(value, mean(above - value * below).ci95 / float(below.mean()), int(known.sum()))


def verdict(
    measured: Estimate, expected: float, relative: float | None = None, absolute: float | None = None
) -> Verdict:
    """Whether `measured` is as expected, within the wider of the tolerances given.

    Parameters
    ----------
    relative : float, optional
        Tolerance as a ratio of `expected`.
    absolute : float, optional
        Tolerance in the unit of `measured`.

    Returns
    -------
    'met', 'not met' or 'undecided'
        'undecided' when the half-width of the interval is above the tolerance, or a number is not known.

    Examples
    --------
    >>> verdict(Estimate(1.1, 0.05, 900), 1.0, relative=0.15), verdict(Estimate(1.1, 0.2, 40), 1.0, relative=0.15)
    ('met', 'undecided')
    """
    tolerance = max((relative or 0.0) * abs(expected), absolute or 0.0)
    if not (measured.ci95 <= tolerance and math.isfinite(measured.value)):
        return "undecided"
    return "met" if abs(measured.value - expected) <= tolerance else "not met"


def at_most(measured: Estimate, limit: float) -> Verdict:
    """Whether `measured` is not above `limit`: 'undecided' when its interval holds values on both sides.

    Examples
    --------
    >>> at_most(Estimate(0.5, 0.05, 900), 0.6), at_most(Estimate(0.5, 0.2, 40), 0.6)
    ('met', 'undecided')
    """
    if measured.high <= limit:
        return "met"
    return "not met" if measured.low > limit else "undecided"


def _student(freedom: int) -> float:
    """Half-width of a 95 % interval in standard errors, for at least one degree of freedom."""
    return float(stats.t.ppf(0.975, max(1, freedom)))
