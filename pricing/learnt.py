"""Delay laws learnt from what is measured: the moments of jobs, and how long they waited.

The law of a resource is Pollaczek and Khinchine's, W = a x/(C - x) with a = (1 + scv)/2 m/C; what is learnt is the
mean m of its jobs, their squared coefficient of variation, and, where waits are told, the scale a itself. Everything is
kept as sums over intervals, old ones fading within `MEMORY_S`:

    n jobs, B their amount (bits or work):     m  = sum B / sum n
    B alone, interval after interval:          s2 = sum (B'/n' - B/n)^2 / (1/n' + 1/n) / intervals
    the amount b of each job:                  s2 = sum over intervals of (sum b^2 - B^2/n) / sum (n - 1)
    w seconds that jobs waited, together:      a  = sum w / (sum n · x/(C - x)),   x = sum B / seconds

The second line is why counters, which know no packet's size, tell the variance all the same: the mean of n jobs has the
variance s2/n. It takes differences of successive means (von Neumann 1941), so that a mix that shifts is not
taken for a variance. The last is a ratio of sums, and sum w is by Little's law what was seen waiting; with it a link
that packets reach in step, so that they hardly wait, gets its small price, which no moments of sizes know.

The scenario's law is the start: it counts as `DOUBT` jobs in m, as `DOUBT_ROWS` intervals in the scv s2/m^2, and as
`DOUBT` expected waits in a (all ours).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pricing.network import Network
from pricing.problem import NEAR_CAPACITY, problem_of
from pricing.values import FloatArray

LawName = Literal["mm1", "scenario", "measured", "fitted"]

LAWS: dict[LawName, str] = {
    "mm1": "exponential jobs of the scenario's mean, whatever is measured",
    "scenario": "the scenario's mean and variance, whatever is measured",
    "measured": "mean and variance of frames and work as they are measured",
    "fitted": "the same, and the scale of waits where links and servers tell them",
}
"""Where delay laws come from, by name."""

MEMORY_S = 120.0
"""Seconds in which a sum fades to 1/e (ours)."""

DOUBT, DOUBT_ROWS = 200.0, 20.0

WILD = 9.0
"""Times the variance that one difference counts as at most: a mix that has shifted is seen once (ours)."""

RENEW = 0.05
"""Part by which the scale of a wait must be off before the laws in force are replaced (ours)."""

SCALES = (0.02, 10.0)
"""Least and largest a that waits may teach, relative to that of the moments: a price never vanishes (ours)."""

Jobs = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Seen:
    """Faded sums of each resource, every array of shape (R,).

    Parameters
    ----------
    jobs, amount : arrays
        n and B (bits or work).
    spread, rows : arrays
        What s2 is a ratio of.
    mean, last : arrays
        B/n and n of the last interval; n is 0 before the first.
    waited, load, seconds, waiting : arrays
        n, B and length (s) of the intervals whose waits were told, and the sum of these (s).
    """

    jobs: FloatArray
    amount: FloatArray
    spread: FloatArray
    rows: FloatArray
    mean: FloatArray
    last: FloatArray
    waited: FloatArray
    load: FloatArray
    seconds: FloatArray
    waiting: FloatArray

    def sized(self, span: FloatArray, jobs: FloatArray, amount: FloatArray, squares: FloatArray) -> Seen:
        """After an interval of `span` s (R,), 0 where there was none; `squares` NaN where no job's own is known."""
        known = (span > 0) & (jobs > 0)
        fade, n = np.exp(-span / MEMORY_S), np.where(known, jobs, 1.0)
        each, pair = known & np.isfinite(squares), known & (self.last > 0)
        moved = (amount / n - self.mean) ** 2 / (1 / n + 1 / np.maximum(self.last, 1.0))
        usual = np.where(self.rows >= DOUBT_ROWS, self.spread / np.maximum(self.rows, 1.0), np.inf)
        within = np.maximum(squares - amount**2 / n, 0.0)
        return replace(
            self,
            jobs=fade * self.jobs + np.where(known, jobs, 0.0),
            amount=fade * self.amount + np.where(known, amount, 0.0),
            spread=fade * self.spread + np.where(each, within, np.where(pair, np.minimum(moved, WILD * usual), 0.0)),
            rows=fade * self.rows + np.where(each, n - 1, np.where(pair, 1.0, 0.0)),
            mean=np.where(known, amount / n, self.mean),
            last=np.where(known, jobs, self.last),
        )

    def waits(self, span: FloatArray, jobs: FloatArray, amount: FloatArray, waiting: FloatArray) -> Seen:
        """After an interval of `span` s (R,) in which `jobs` waited `waiting` s together; 0 where nothing was told."""
        fade = np.exp(-span / MEMORY_S)
        pairs = ((self.waited, jobs), (self.load, amount), (self.seconds, span), (self.waiting, waiting))
        waited, load, seconds, total = (fade * old + np.where(span > 0, new, 0.0) for old, new in pairs)
        return replace(self, waited=waited, load=load, seconds=seconds, waiting=total)


def nothing_seen(network: Network) -> Seen:
    """Before the first measurement."""
    zero = np.zeros(len(network.links) + len(network.servers))
    return Seen(*[zero] * 10)


def learnt(network: Network, seen: Seen, law: LawName) -> Jobs:
    """Mean and scv of the jobs of each resource (R,), for `Network.with_jobs`; empty for the scenario's own.

    Where waits were told, scv is that with which the law waits as long: (1 + scv)/2 m/C = a. It may be below 0.
    """
    if law == "scenario":
        return ()
    laws = problem_of(network.plain).laws
    if law == "mm1":
        return tuple((size, 1.0) for size in laws.size.tolist())
    size = (DOUBT * laws.size + seen.amount) / (DOUBT + seen.jobs)
    scv = (DOUBT_ROWS * laws.scv + seen.spread / size**2) / (DOUBT_ROWS + seen.rows)
    if law == "fitted":
        capacity, unit = laws.capacity, (1 + scv) / 2 * size / laws.capacity
        load = np.minimum(seen.load / np.maximum(seen.seconds, 1e-9), NEAR_CAPACITY * capacity)
        expected = seen.waited * load / (capacity - load)
        own = np.where(np.arange(len(capacity)) < len(network.links), laws.base, 0.0)  # of a packet on its way
        waiting = np.maximum(seen.waiting - seen.waited * own, 0.0)
        scale = (DOUBT * unit + waiting) / (DOUBT + expected)
        scv = 2 * np.clip(scale, SCALES[0] * unit, SCALES[1] * unit) * capacity / size - 1
    return tuple(zip(size.tolist(), scv.tolist(), strict=True))


def differ(network: Network, old: Jobs, new: Jobs) -> bool:
    """Whether the wait of a resource by the new jobs is off the one by the old by more than `RENEW` of it."""
    laws = problem_of(network.plain).laws

    def scale(jobs: Jobs) -> FloatArray:
        size, scv = np.array(jobs).T if jobs else (laws.size, laws.scv)
        return np.asarray((1 + scv) * size)

    before = scale(old)
    return bool((np.abs(scale(new) - before) > RENEW * before).any())
