"""What each session offers, estimated at its ingress from noisy rates: steady while nothing changes, else quick.

The estimate is the mean rate since the last change, at most of the last `MEMORY_S`. A change is told by a
two-sided cumulative sum (Page 1954): standardised residuals, less `DRIFT`, add up on either side, and start again from
nothing below 0; when one reaches the threshold, the estimate becomes the mean of what came after the interval in which
that sum began, since a change lies somewhere within that one. A residual is measured against the noise of Poisson
packets with sizes of their own, or against what was seen where that is more. Silence has no noise: the first packet
after it is a change. From then on a session is taken to offer what it announced, as if that had been seen for a while.

The threshold follows from the false alarms that are accepted. Without a change the sums of K sessions reach h about
once in exp(2 (h + 1.166)) / (2 K) ticks, for a drift of 1 (Siegmund 1985), so h = log(2 K T) / 2 - 1.166 for one in T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pricing.network import Network
from pricing.values import FloatArray

MEMORY_S = 30.0
"""Seconds that the estimate is a mean of at most; then old ones fade (ours)."""

ANNOUNCED_S = 10.0
"""Seconds that the announced rate counts for when a session begins (ours)."""

SURE = 3.0
"""Standard errors by which a demand must be above what fits before any of it is refused (ours)."""

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
    weight : array
        Seconds that it is a mean of; 0 before the first rate.
    spread : array
        Mean square of the standardised residuals; 1 for Poisson packets.
    sums : array of shape (2, K)
        The cumulative sums, of rises and of falls.
    recent, length : arrays of shape (2, K)
        Bits and seconds after the interval in which a sum began.
    time : float
        Of the last rates, s.
    """

    rate: FloatArray
    weight: FloatArray
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


def surely(network: Network, demand: Demand) -> FloatArray:
    """What each session offers at least, as far as its rates can tell; bit/s, shape (K,)."""
    error = SURE * np.sqrt(demand.spread) * noise(network, demand.rate, 1.0) / np.sqrt(np.maximum(demand.weight, 1.0))
    return np.maximum(demand.rate - error, 0.0)


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
    known = fresh & (demand.weight > 0)
    residual = np.where(known, (seen - demand.rate) / noise(network, demand.rate, span), 0.0)
    spread = demand.spread + _SPREAD_PART * known * (np.minimum(residual**2, _WILD) - demand.spread)
    residual /= np.sqrt(np.maximum(spread, 1.0))
    sums = np.maximum(demand.sums + np.array([residual, -residual]) - DRIFT, 0.0) * known
    after = (sums > 0) & (demand.sums > 0)
    recent, length = after * (demand.recent + seen * span), after * (demand.length + span)
    threshold = math.log(2 * len(seen) * TICKS_PER_FALSE_ALARM) / 2 - 1.166
    changed = (sums >= threshold).any(axis=0)
    side = sums.argmax(axis=0), np.arange(len(seen))
    weight = np.where(fresh, np.minimum(demand.weight + span, MEMORY_S), demand.weight)
    rate = demand.rate + np.where(fresh, (seen - demand.rate) * span / np.maximum(weight, span), 0.0)
    since = length[side]
    rate = np.where(changed, np.where(since > 0, recent[side] / np.maximum(since, span), seen), rate)
    weight = np.where(changed, np.clip(since, span, MEMORY_S), weight)
    woken = known & (demand.rate == 0) & (seen > 0)
    announced = np.array([session.rate for session in network.sessions])
    rate = np.where(woken, np.where(announced > 0, announced, seen), rate)
    weight = np.where(woken, np.where(announced > 0, ANNOUNCED_S, span), weight)
    calm = ~(changed | woken)
    return replace(
        demand,
        rate=rate,
        weight=weight,
        spread=np.where(calm, spread, 1.0),
        sums=sums * calm,
        recent=recent * calm,
        length=length * calm,
        time=now,
    )
