"""Sizes of jobs: a mean and how much they vary, from a law, from moments, or from samples.

Waits ask only for E[q] and E[q^2] = 2 h E[q]^2 with h = (1 + scv)/2: 1/2 for a job of known size, 1 for an exponential
one. Sizes without a variance are refused: the mean wait behind them is infinite at any load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from pricing.errors import MeasurementError, WardropError

TAIL_SAMPLES = 400
"""Samples from which on a tail can be told."""


class Distribution(Protocol):
    """A law of sizes: a frozen distribution of `scipy.stats` is one."""

    def mean(self) -> float:
        """E[q]."""

    def var(self) -> float:
        """E[q^2] - E[q]^2."""


@dataclass(frozen=True)
class Size:
    """What one job asks of a machine.

    Parameters
    ----------
    mean : float
        q, in bits at a link or in work at a server; above 0.
    scv : float, optional
        Variance over the mean's square; 0 for a job of known size, 1 for exponential ones.

    Raises
    ------
    WardropError
        When the mean is not above 0, or the variance is negative or infinite.

    Examples
    --------
    >>> Size(3.0).h, exponential(3.0).h, from_moments(3.0, 12.0).h
    (0.5, 1.0, 0.6666666666666666)
    """

    mean: float
    scv: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and self.mean > 0):
            raise WardropError(f"a job's mean size is {self.mean:g}: a finite number above 0 is accepted")
        if np.isposinf(self.scv) or np.isnan(self.scv):
            raise WardropError(
                f"sizes of mean {self.mean:g} have no finite variance: the mean wait behind them, which grows with "
                "E[q^2], is infinite at any load; cut the sizes at a largest one"
            )
        if self.scv < 0:
            raise WardropError(
                f"sizes of mean {self.mean:g}: a squared coefficient of variation of {self.scv:g}, or a second moment "
                "below the mean's square; 0 and more are accepted"
            )

    @property
    def h(self) -> float:
        """E[q^2] / (2 E[q]^2)."""
        return (1 + self.scv) / 2


def exponential(mean: float) -> Size:
    """Exponential sizes, as M/M/1 has them."""
    return Size(mean, 1.0)


def from_moments(mean: float, second: float) -> Size:
    """From E[q] and E[q^2]."""
    varied = second / mean**2 - 1
    return Size(mean, 0.0 if -1e-12 < varied < 0 else varied)


def from_distribution(law: Distribution) -> Size:
    """From a law; a `scipy.stats` distribution of infinite variance is refused."""
    mean, variance = float(law.mean()), float(law.var())
    return Size(mean, variance / mean**2 if np.isfinite(mean) else np.inf)


def from_samples(sizes: ArrayLike) -> Size:
    """From measured sizes.

    Raises
    ------
    MeasurementError
        When there are none, one is not above 0, or their tail is one of infinite variance.

    Notes
    -----
    Any finite sample has a variance, so the tail is looked at: of the m = sqrt(n) largest of n >= 400 sizes, Hill's
    estimate of the index a in P(q > y) ~ y^-a, of standard error a/sqrt(m). a + 2 standard errors below 2 is refused.
    """
    seen = np.sort(np.ravel(np.asarray(sizes, dtype=float)))
    if not seen.size or not (np.isfinite(seen).all() and seen[0] > 0):
        raise MeasurementError(f"{seen.size} sizes: one or more, all finite and above 0, are accepted")
    if seen.size >= TAIL_SAMPLES:
        largest = int(np.sqrt(seen.size))
        rise = np.log(seen[-largest:] / seen[-largest - 1]).mean()
        index = 1 / rise if rise > 0 else np.inf
        if index * (1 + 2 / np.sqrt(largest)) < 2:
            raise MeasurementError(
                f"{seen.size} sizes: their {largest} largest fall off with index {index:.2f}, and below 2 the "
                "variance is infinite, so the mean wait behind them is too; cut the sizes at a largest one"
            )
    return Size(float(seen.mean()), float(seen.var() / seen.mean() ** 2))
