"""The steps of a calibration, one after the other on one line of switches.

| step | what it tells |
|---|---|
| buckets | waits at one utilization with buckets of several sizes: the one that is nearest to Lindley is taken |
| capacity | what a full link carries with it |
| base | what a packet takes that meets no queue, over one link and over three |
| pace | how many packets a second this machine sends on time and delivers |
| laws | waits at rising utilization: M/M/1, M/D/1, two classes by Cobham, and through Mininet's `TCLink` |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from experiments.calibrating.bed import CAPACITY, Bed, Stream, Trace, steps
from experiments.calibrating.theory import WARM_UP_S, Point, base_delays, carried, points
from experiments.result.estimate import Estimate
from experiments.running.machine import BAD_SHARE
from pricing.errors import MeasurementError
from pricing.network import ArrivalLaw, SizeLaw
from topologies.calibration import Calibration, this_machine
from topologies.links import FRAME, shaping, tos

EXPONENTIAL = SizeLaw("exponential", 400.0, 18, 1450)
FIXED = SizeLaw("fixed", 400.0)
SMALL = SizeLaw("fixed", 60.0)
"""Payloads (ours). Cut, and with headers, the first are not quite exponential: formulas take the moments as sent."""

GAP_S = 0.5
"""Silence between two steps, in which queues drain."""

BUSY = 0.85
"""Utilization at which buckets are tried (ours)."""

TRIES = 3
"""How often the base delay is measured until a second is quiet (ours)."""

OVERFULL = 1.15
"""Utilization that is offered to a link to see what it carries."""

LIGHT = 300.0
"""Packets/s of each of two streams that tell the base delay."""

ON_TIME, ON_TIME_S, DELIVERED = 0.99, 1e-3, 0.999
"""A pace is held when such a share is sent in time, 99 % of it at most so late, and so much arrives (ours)."""

TCLINK = (
    "qdisc add dev {0} root handle 5: htb default 1",
    "class add dev {0} parent 5: classid 5:1 htb rate {1}bit burst 15k",
)
"""What Mininet's `TCLink` tells `tc` of a link with `bw`."""


@dataclass(frozen=True)
class Plan:
    """How long each step takes, s.

    Parameters
    ----------
    bursts : sequence of float
        Buckets to try, in seconds of the link.
    burst_s, full_s, base_s, pace_s : float
        Length of a try, of a full link, of the light streams, and of each pace.
    paces : sequence of float
        Packets/s.
    utilizations : mapping of utilization to s
    tclink : mapping of utilization to s
        The same through `TCLink`.
    """

    bursts: Sequence[float]
    burst_s: float
    full_s: float
    base_s: float
    pace_s: float
    paces: Sequence[float]
    utilizations: Mapping[float, float]
    tclink: Mapping[float, float]


FULL = Plan(
    bursts=(10e-6, 25e-6, 50e-6, 75e-6, 100e-6),
    burst_s=3.0,
    full_s=2.0,
    base_s=6.0,
    pace_s=1.0,
    paces=(1000.0, 2000.0, 4000.0, 8000.0, 12_000.0),
    utilizations={0.1: 4, 0.2: 4, 0.3: 4, 0.4: 4, 0.5: 4, 0.6: 5, 0.7: 6, 0.8: 8, 0.9: 14, 0.95: 20},
    tclink={0.5: 4, 0.8: 5, 0.9: 6},
)

QUICK = Plan(
    bursts=(25e-6, 50e-6, 100e-6),
    burst_s=1.5,
    full_s=1.0,
    base_s=2.0,
    pace_s=0.6,
    paces=(1000.0, 4000.0, 8000.0),
    utilizations={0.3: 2, 0.6: 2, 0.9: 4},
    tclink={0.8: 3},
)


@dataclass(frozen=True)
class Found:
    """What a calibration found.

    Parameters
    ----------
    calibration : Calibration
    buckets : list of {`burst_seconds`, `difference_s`}
        Measured mean wait less Lindley's, with each.
    base : mapping of way to Estimate
        Over one link (`near`) and three (`far`), s.
    paces : list of {`asked`, `sent`, `late_p99_s`, `delivered`, `delay_p50_s`, `delay_p99_s`, `held`}
    points, tclink : list of Point
    excluded_s : int
        Seconds that were not quiet, over all steps.
    seconds : float
        Of traffic, over all steps.
    """

    calibration: Calibration
    buckets: list[dict[str, Any]]
    base: Mapping[str, Estimate]
    paces: list[dict[str, Any]]
    points: list[Point]
    tclink: list[Point]
    excluded_s: int
    seconds: float

    @property
    def quiet(self) -> bool:
        """Whether few enough seconds were left out for its figures to be kept."""
        return self.excluded_s <= BAD_SHARE * self.seconds

    @property
    def held(self) -> float:
        """Most packets/s, of the paces tried, up to which every pace was held; 0 where none was."""
        held = 0.0
        for pace in self.paces:
            if not pace["held"]:
                break
            held = pace["asked"]
        return held

    def as_json(self) -> dict[str, Any]:
        """As `docs/how-to/calibrate.md` has it."""
        return {
            "schema": "wardrop-calibration-1",
            "calibration": asdict(self.calibration),
            "capacity_bps": CAPACITY,
            "buckets": self.buckets,
            "base_delay_s": {way: estimate.as_json() for way, estimate in self.base.items()},
            "paces": self.paces,
            "held_packets_per_s": self.held,
            "points": [point.as_json() for point in self.points],
            "tclink": [point.as_json() for point in self.tclink],
            "quiet": self.quiet,
            "excluded_s": self.excluded_s,
            "traffic_s": self.seconds,
        }


class Calibrator:
    """Carries out a plan on a line that is up; `say` is told what comes next."""

    def __init__(self, bed: Bed, plan: Plan, say: Callable[[str], None]) -> None:
        self.bed, self.plan, self.say = bed, plan, say
        self.excluded, self.seconds = 0, 0.0

    def run(self) -> Found:
        """All steps, in their order."""
        buckets = self._buckets()
        known = [bucket for bucket in buckets if bucket["difference_s"]["value"] is not None]
        best = min(known, key=lambda bucket: abs(bucket["difference_s"]["value"]), default=buckets[0])["burst_seconds"]
        self.bed.shape(shaping(self.bed.link, self.bed.interface, False, 1, best))
        capacity_ratio = self._capacity() / CAPACITY
        base = self._base()
        link_s = max(0.0, (base["far"].value - base["near"].value) / 2)
        calibration = Calibration(
            burst_seconds=best,
            ends_s=max(0.0, base["near"].value - link_s),
            link_s=link_s,
            capacity_ratio=capacity_ratio,
            machine=this_machine(self.bed.emulation.plant.datapath),
            measured=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        paces = self._paces()
        found = self._law("M/M/1", EXPONENTIAL, 1, self.plan.utilizations)
        found += self._law("M/D/1", FIXED, 1, self.plan.utilizations)
        self.bed.shape(shaping(self.bed.link, self.bed.interface, False, 2, best))
        found += self._law("Cobham", EXPONENTIAL, 2, self.plan.utilizations)
        self.bed.shape([line.format(self.bed.interface, round(CAPACITY)) for line in TCLINK])
        tclink = self._law("M/M/1", EXPONENTIAL, 1, self.plan.tclink)
        return Found(calibration, buckets, base, paces, found, tclink, self.excluded, self.seconds)

    def _send(
        self, streams: Sequence[Stream], seconds: float, attend: Callable[[float], None] = lambda _: None
    ) -> list[Trace]:
        traces = self.bed.run(streams, seconds, attend)
        lost = {second for trace in traces for second in trace.excluded.tolist() if -1 < second < seconds}
        self.excluded, self.seconds = self.excluded + len(lost), self.seconds + seconds
        return traces

    def _buckets(self) -> list[dict[str, Any]]:
        """How far waits are from Lindley's with each bucket, which is changed while the link is idle."""
        self.say("buckets")
        bursts = list(self.plan.bursts)
        law, mean, windows = steps([(self.plan.burst_s, BUSY)] * len(bursts), GAP_S)
        left = list(range(len(bursts)))
        self.bed.shape(shaping(self.bed.link, self.bed.interface, False, 1, bursts[0]))

        def attend(elapsed: float) -> None:
            while left and elapsed > windows[left[0]][0] - GAP_S / 3:
                burst = max(1, round(CAPACITY * bursts[left.pop(0)] / 8))
                self.bed.tc(
                    f"class change dev {self.bed.interface} parent 1: classid 1:1 "
                    f"htb rate {round(CAPACITY)}bit burst {burst} cburst {burst} quantum {FRAME}"
                )

        stream = Stream("near", mean * CAPACITY / FIXED.frame_moments[0], FIXED, law)
        traces = self._send([stream], windows[len(bursts) - 1][1] + GAP_S, attend)
        tried = [points("M/D/1", traces, {BUSY: windows[i]}, CAPACITY)[0] for i in range(len(bursts))]
        return [
            {"burst_seconds": burst, "difference_s": point.difference.as_json()}
            for burst, point in zip(bursts, tried, strict=True)
        ]

    def _capacity(self) -> float:
        """bit/s that the link carries when more is offered; its nominal capacity where too little came to tell."""
        self.say("capacity")
        rate = OVERFULL * CAPACITY / FIXED.frame_moments[0]
        stream = Stream("near", rate, FIXED, ArrivalLaw("deterministic"))
        (trace,) = self._send([stream], self.plan.full_s)
        found = carried(trace, (WARM_UP_S, self.plan.full_s))
        return found if math.isfinite(found) else CAPACITY

    def _base(self) -> dict[str, Estimate]:
        self.say("base delay")
        ways = ("near", "far")
        for _ in range(TRIES):
            traces = self._send([Stream(way, LIGHT, EXPONENTIAL, ArrivalLaw()) for way in ways], self.plan.base_s)
            found = dict(zip(ways, base_delays(traces, CAPACITY), strict=True))
            if all(math.isfinite(estimate.ci95) for estimate in found.values()):
                return found
        raise MeasurementError(
            f"base delay: no second of {TRIES} tries was quiet, so nothing can be calibrated; "
            "let the machine rest, and try again"
        )

    def _paces(self) -> list[dict[str, Any]]:
        """Streams at equal distances past links that are never full, faster and faster."""
        self.say("pace")
        law, mean, windows = steps([(self.plan.pace_s, pace) for pace in self.plan.paces], GAP_S)
        stream = Stream("wide", mean, SMALL, replace(law, law="deterministic"))
        (trace,) = self._send([stream], windows[len(windows) - 1][1] + GAP_S)
        return [_pace(trace, asked, windows[i]) for i, asked in enumerate(self.plan.paces)]

    def _law(self, law: str, size: SizeLaw, classes: int, utilizations: Mapping[float, float]) -> list[Point]:
        self.say(law if classes == 1 else f"{law}, {classes} classes")
        arrivals, mean, windows = steps([(seconds, rho) for rho, seconds in utilizations.items()], GAP_S)
        rate = mean * CAPACITY / size.frame_moments[0] / classes
        streams = [Stream("near", rate, size, arrivals, tos(k + 1, classes)) for k in range(classes)]
        traces = self._send(streams, windows[len(windows) - 1][1] + GAP_S)
        return points(law, traces, dict(zip(utilizations, windows.values(), strict=True)), CAPACITY)


def _pace(trace: Trace, asked: float, window: tuple[float, float]) -> dict[str, Any]:
    """How one pace was held: what was sent against what was asked, how late, and what arrived."""
    mine = (trace.due >= window[0]) & (trace.due < window[1])
    sent = mine & np.isfinite(trace.sent)
    in_time = sent & (trace.sent < window[1] + ON_TIME_S)
    late = float(np.quantile((trace.sent - trace.due)[sent], 0.99)) if sent.any() else np.inf
    arrived = sent & np.isfinite(trace.delay)
    p50, p99 = np.quantile(trace.delay[arrived], [0.5, 0.99]) if arrived.any() else (np.inf, np.inf)
    share, delivered = in_time.sum() / max(mine.sum(), 1), arrived.sum() / max(sent.sum(), 1)
    return {
        "asked": asked,
        "sent": float(in_time.sum() / (window[1] - window[0])),
        "late_p99_s": late,
        "delivered": float(delivered),
        "delay_p50_s": float(p50),
        "delay_p99_s": float(p99),
        "held": bool(share >= ON_TIME and late <= ON_TIME_S and delivered >= DELIVERED),
    }
