"""Waits that were measured against waits that theory says, on the same packets.

Lindley's recursion (for classes its priority form) gives each packet's wait from the logged moments of sending and
sizes alone. What was measured is the delay less the base delay: that of the packets of the same step that found the
link idle. The difference of the two waits, packet by packet, is the figure to judge: both go up and down together. The
formula (Pollaczek-Khinchine, or Cobham for classes) is taken at the moments of the packets as they were sent, and lies
within the interval of the measured mean or not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.calibrating.bed import Trace
from experiments.result.estimate import Estimate, Verdict, mean, verdict
from pricing.errors import Infeasible
from pricing.priority.waits import cobham
from pricing.simulate.packets import lindley
from pricing.simulate.priority import priority_waits
from pricing.values import FloatArray

WARM_UP_S = 0.3
"""What of each step is left out at its beginning, where the queue is emptier than it will be (ours)."""

TOLERANCE, TOLERANCE_S = 0.08, 0.15e-3
HIGH, HIGH_TOLERANCE = 0.9, 0.12
"""Measured against Lindley's mean wait: within the wider of the two, and of the third above a utilization of 0.9."""

CLASS_TOLERANCE, CLASS_TOLERANCE_S = 0.12, 0.2e-3

IDLE_S = 0.1e-3
"""How long a link has had nothing to do when a packet is said to find it idle: longer than its bucket (ours)."""


@dataclass(frozen=True)
class Point:
    """One law at one utilization.

    Parameters
    ----------
    law : str
        'M/M/1', 'M/D/1' or 'Cobham'.
    klass : int
        Priority class, 1 first.
    asked, utilization : float
        Of the link, by all classes: asked for, and of the packets as they were sent.
    predicted, measured, difference : Estimate
        Mean waits by Lindley's recursion and as measured, and the mean of their difference, s; of quiet seconds.
    base : Estimate
        Mean delay of the packets that found the link idle, s.
    formula : float
        Mean wait by the formula at the measured moments, s.
    packets, lost, excluded : int
        Sent, not arrived, and sent in seconds that were not quiet.
    """

    law: str
    klass: int
    asked: float
    utilization: float
    predicted: Estimate
    measured: Estimate
    difference: Estimate
    base: Estimate
    formula: float
    packets: int
    lost: int
    excluded: int

    @property
    def verdict(self) -> Verdict:
        """Whether the measured wait is Lindley's, within the tolerance."""
        found = Estimate(self.predicted.value + self.difference.value, self.difference.ci95, self.difference.n)
        if self.law == "Cobham":
            return verdict(found, self.predicted.value, CLASS_TOLERANCE, CLASS_TOLERANCE_S)
        if self.asked > HIGH:
            return verdict(found, self.predicted.value, HIGH_TOLERANCE)
        return verdict(found, self.predicted.value, TOLERANCE, TOLERANCE_S)

    @property
    def formula_inside(self) -> bool | None:
        """Whether the formula lies in the interval of the measured mean; None where there is none."""
        if not math.isfinite(self.measured.ci95):
            return None
        return self.measured.low <= self.formula <= self.measured.high

    def as_json(self) -> dict[str, Any]:
        """As `docs/how-to/calibrate.md` has it."""
        return {
            "law": self.law,
            "class": self.klass,
            "asked_utilization": self.asked,
            "utilization": self.utilization,
            "predicted_wait_s": self.predicted.as_json(),
            "measured_wait_s": self.measured.as_json(),
            "difference_s": self.difference.as_json(),
            "base_delay_s": self.base.as_json(),
            "formula_wait_s": self.formula if math.isfinite(self.formula) else None,
            "formula_inside": self.formula_inside,
            "packets": self.packets,
            "lost": self.lost,
            "excluded_packets": self.excluded,
            "verdict": self.verdict,
        }


def points(
    law: str,
    traces: Sequence[Trace],
    steps: Mapping[float, tuple[float, float]],
    capacity: float,
) -> list[Point]:
    """What each step shows, class by class.

    Parameters
    ----------
    traces : sequence of Trace
        A stream a class, class 1 first, through one link.
    steps : mapping of utilization to (begin, end)
        s from the beginning of the run.
    capacity : float
        bit/s.
    """
    sent = np.concatenate([trace.sent for trace in traces])
    bits = np.concatenate([trace.bits for trace in traces])
    classes = np.repeat(np.arange(1, len(traces) + 1), [len(trace.sent) for trace in traces])
    delay = np.concatenate([trace.delay for trace in traces])
    due = np.concatenate([trace.due for trace in traces])
    quiet = np.concatenate([trace.quiet for trace in traces])
    order = np.argsort(sent, kind="stable")[: int(np.isfinite(sent).sum())]  # what was not sent is NaN and comes last
    sent, bits, delay, due = (each[order] for each in (sent, bits, delay, due))
    classes, quiet = classes[order], quiet[order]
    waits = priority_waits(sent, bits / capacity, classes)
    idle = finds_idle(sent, bits / capacity)
    found = []
    for asked, (begin, end) in steps.items():
        inside = (due >= begin + WARM_UP_S) & (due < end)
        length = end - begin - WARM_UP_S
        shares = [bits[inside & (classes == k + 1)] / capacity for k in range(len(traces))]
        formulas = _formula(shares, length)
        base = mean(delay[inside & quiet & idle & np.isfinite(delay)])
        for k in range(len(traces)):
            mine = inside & (classes == k + 1)
            counted = mine & quiet & np.isfinite(delay)
            found.append(
                Point(
                    law=law,
                    klass=k + 1,
                    asked=asked,
                    utilization=float(sum(share.sum() for share in shares) / length),
                    predicted=mean(waits[counted]),
                    measured=_less(mean(delay[counted]), base),
                    difference=_less(mean(delay[counted] - waits[counted]), base),
                    base=base,
                    formula=float(formulas[k]),
                    packets=int(mine.sum()),
                    lost=int((mine & ~np.isfinite(delay)).sum()),
                    excluded=int((mine & ~quiet).sum()),
                )
            )
    return found


def base_delays(traces: Sequence[Trace], capacity: float) -> list[Estimate]:
    """Mean delay of each light stream's packets that found the link idle, which the streams share; quiet seconds, s."""
    sent = np.concatenate([trace.sent for trace in traces])
    bits = np.concatenate([trace.bits for trace in traces])
    order = np.argsort(sent, kind="stable")[: int(np.isfinite(sent).sum())]
    idle = np.zeros(len(sent), dtype=bool)
    idle[order] = finds_idle(sent[order], bits[order] / capacity)
    parts = np.split(idle, np.cumsum([len(trace.sent) for trace in traces])[:-1])
    return [
        mean(trace.delay[mine & trace.quiet & np.isfinite(trace.delay)])
        for trace, mine in zip(traces, parts, strict=True)
    ]


def finds_idle(arrivals: FloatArray, services: FloatArray) -> NDArray[np.bool_]:
    """Whether each packet finds the link idle for `IDLE_S` or longer; arrays of shape (N,), by arrival, s."""
    ends = arrivals + lindley(arrivals, services) + services
    return np.concatenate([[True], arrivals[1:] >= ends[:-1] + IDLE_S])[: len(arrivals)]


def _less(delay: Estimate, base: Estimate) -> Estimate:
    """What is left of a mean delay without the base delay: the interval is that of both."""
    return Estimate(delay.value - base.value, math.hypot(delay.ci95, base.ci95), delay.n)


def carried(trace: Trace, window: tuple[float, float], slice_s: float = 0.1) -> float:
    """bit/s that came out of a full link in a window (begin, end), s: the median over slices of it.

    The median, because a slice in which somebody else had the processor says nothing of the link. NaN where too little
    came.
    """
    known = np.isfinite(trace.delay)
    arrived, bits = (trace.sent + trace.delay)[known], trace.bits[known]
    rates = []
    for begin in np.arange(window[0], window[1] - slice_s + 1e-9, slice_s):
        here = np.flatnonzero((arrived >= begin) & (arrived < begin + slice_s))
        if len(here) > 2:
            rates.append(bits[here[1:]].sum() / (arrived[here[-1]] - arrived[here[0]]))
    return float(np.median(rates)) if rates else math.nan


def _formula(services: Sequence[FloatArray], length: float) -> FloatArray:
    """Mean wait of each class at the rates and moments of the services that came in `length` seconds, s."""
    unknown: FloatArray = np.full(len(services), np.nan)
    if any(len(service) < 2 for service in services):
        return unknown
    times = [float(service.mean()) for service in services]
    scv = [float(service.var()) / first**2 for service, first in zip(services, times, strict=True)]
    try:
        return cobham([len(service) / length for service in services], times, scv)
    except Infeasible:
        return unknown
