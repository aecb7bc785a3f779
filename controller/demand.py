"""What each session offers, estimated at its ingress from noisy rates: steady while nothing changes, else quick.

The estimate is the mean of the rates since the last change, at most of the last `MEMORY`. A change is told by a
two-sided cumulative sum (Page 1954): standardised residuals, less `DRIFT`, add up on either side, and start again from
nothing below 0; when one reaches the threshold, the estimate becomes the mean of what came since that sum began. A
residual is measured against the noise of Poisson packets with sizes of their own, or against what was seen where that
is more.

The threshold follows from the false alarms that are accepted. Without a change the sums of K sessions reach h about
once in exp(2 (h + 1.166)) / (2 K) ticks, for a drift of 1 (Siegmund 1985), so h = log(2 K T) / 2 - 1.166 for one in T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pricing.network import Network
from pricing.values import FloatArray

MEMORY = 30
"""Rates that the estimate is a mean of at most; then old ones fade (ours)."""

DRIFT = 1.0
"""Part of a residual, in standard deviations, that counts as none."""

TICKS_PER_FALSE_ALARM = 6000.0
"""Ten times ten minutes of ticks of a second, over all sessions (ours)."""

_SPREAD_PART = 0.02
_WILD = 9.0


@dataclass(frozen=True)
class Demand:
    """Estimates of all sessions; each array has shape (K,).

    Parameters
    ----------
    rate : array
        Estimated bit/s.
    count : array
        Rates that it is a mean of; 0 before the first.
    spread : array
        Mean square of the standardised residuals; 1 for Poisson packets.
    sums : array of shape (2, K)
        The cumulative sums, of rises and of falls.
    recent, length : arrays of shape (2, K)
        Sum and number of the rates since a sum began.
    time : float
        Of the last rates, s.
    """

    rate: FloatArray
    count: FloatArray
    spread: FloatArray
    sums: FloatArray
    recent: FloatArray
    length: FloatArray
    time: float = math.nan


def nominal(network: Network) -> Demand:
    """Before the first rate: sessions are taken to offer their nominal rates."""
    rate = np.array([session.rate for session in network.sessions], dtype=float)
    sides = np.zeros((2, len(rate)))
    return Demand(rate, np.zeros(len(rate)), np.ones(len(rate)), sides, sides, sides)


def noise(network: Network, rate: FloatArray, span: float) -> FloatArray:
    """Standard deviation of rates that were measured over `span` seconds, for Poisson packets; bit/s, shape (K,)."""
    moments = np.array([session.size.frame_moments for session in network.sessions]).reshape(-1, 2)
    first, second = moments[:, 0], moments[:, 1]
    deviation: FloatArray = np.sqrt(np.maximum(rate * span / first, 1.0) * second) / span
    return deviation


def learn(network: Network, demand: Demand, seen: FloatArray, fresh: np.ndarray, now: float) -> Demand:
    """The estimates after rates that were measured at `now`.

    Parameters
    ----------
    seen : array of shape (K,)
        bit/s.
    fresh : array of bool, shape (K,)
        Whether a session's rate was measured at all.
    """
    span = now - demand.time if math.isfinite(demand.time) else 1.0
    if not span > 0:
        return demand
    known = fresh & (demand.count > 0)
    residual = np.where(known, (seen - demand.rate) / noise(network, demand.rate, span), 0.0)
    spread = demand.spread + _SPREAD_PART * known * (np.minimum(residual**2, _WILD) - demand.spread)
    residual /= np.sqrt(np.maximum(spread, 1.0))
    sums = np.maximum(demand.sums + np.array([residual, -residual]) - DRIFT, 0.0) * known
    begun = sums > 0
    recent, length = begun * (demand.recent + seen), begun * (demand.length + 1)
    threshold = math.log(2 * len(seen) * TICKS_PER_FALSE_ALARM) / 2 - 1.166
    changed = (sums >= threshold).any(axis=0)
    side = sums.argmax(axis=0), np.arange(len(seen))
    count = np.where(fresh, np.minimum(demand.count + 1, MEMORY), demand.count)
    rate = demand.rate + np.where(fresh, (seen - demand.rate) / np.maximum(count, 1), 0.0)
    rate = np.where(changed, recent[side] / np.maximum(length[side], 1), rate)
    count = np.where(changed, np.minimum(length[side], MEMORY), count)
    calm = ~changed
    return replace(
        demand,
        rate=rate,
        count=count,
        spread=np.where(changed, 1.0, spread),
        sums=sums * calm,
        recent=recent * calm,
        length=length * calm,
        time=now,
    )
