"""What a slot costs: choices that are weighed, and CPU time over destinations, links and slots.

Measured where the page is made, one after another, on one thread, by CPU time, which other work on the machine is not
part of. **Running** is a slot in the steady run; **filled** one with 1 to 100 packets in every queue that there is, the
dearest that can be.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from experiments.papers.multicast_cells import RATES_D, Name, case_of, policy_for
from pricing.multicast.backpressure import Backpressure, Queues, gdcnc, gdcnc_r
from pricing.multicast.instance import Instance, IntArray
from pricing.multicast.mec import frozen
from pricing.multicast.simulate import Engine, Setting, orders, simulate
from pricing.values import FloatArray

RATE = 3.0
"""Packets a slot of each service, well inside GDCNC's region for all destinations here."""

TIMED: tuple[Name, ...] = ("EDSPA", "GDCNC", "EGDCNC", "UCNC")


class Extent(NamedTuple):
    """How much is measured: slots before and while a run is timed, and what is varied."""

    slots: int = 3000
    filled: int = 200
    destinations: tuple[int, ...] = (2, 3, 4, 5, 6)
    grids: tuple[int, ...] = (2, 4, 6, 8)
    spans: tuple[int, ...] = (4_000, 8_000, 16_000, 32_000)


class Slot(NamedTuple):
    """Choices weighed in a slot, and its CPU time, s."""

    weighed: float
    seconds: float


class Cost(NamedTuple):
    """A policy on an instance: choices of a service at first, of all edges in the end, and what a slot costs.

    With trees choices are added for packets that have passed a destination.
    """

    policy: str
    destinations: int
    links: int
    choices: int
    all_edges: int
    running: Slot
    filled: Slot


def over_destinations(extent: Extent) -> list[Cost]:
    """GDCNC and GDCNC-R on the documented instance with ever more destinations."""
    cases = [frozen(case_of(count, RATE)) for count in extent.destinations]
    return [cost(case, policy, extent) for case in cases for policy in (gdcnc(), gdcnc_r(case))]


def over_links(extent: Extent) -> list[Cost]:
    """GDCNC on squares of ever more edge servers 100 m apart, two users to each."""
    return [
        cost(frozen(replace(case_of(RATES_D, RATE), grid=n, users=2 * n * n, side=100.0 * n)), gdcnc(), extent)
        for n in extent.grids
    ]


def over_slots(extent: Extent, eta: float) -> list[tuple[int, float]]:
    """Slots of one run of EGDCNC from empty queues, and its CPU time, s."""
    instance = frozen(case_of(RATES_D, RATE))
    policy = policy_for("EGDCNC", instance, 0.0, eta)
    found = []
    for slots in extent.spans:
        begun = time.process_time()
        simulate(instance, policy, Setting(slots))
        found.append((slots, time.process_time() - begun))
    return found


def of_policies(extent: Extent, eta: float) -> dict[str, float]:
    """CPU time of a slot, s, of policies on the documented instance."""
    instance = frozen(case_of(RATES_D, RATE))
    found: dict[str, float] = {}
    for name in TIMED:
        engine = policy_for(name, instance, 0.0, eta if name == "EGDCNC" else 0.0).start(instance, Setting(1))
        _timed(engine, *_drawn(instance, extent.slots, 0))
        found[name] = _timed(engine, *_drawn(instance, extent.slots, 1)) / extent.slots
    return found


def cost(instance: Instance, policy: Backpressure, extent: Extent) -> Cost:
    """What a slot costs, running and filled."""
    engine = policy.start(instance, Setting(1))
    services = len(instance.casts)
    of_one, edges = engine.choices // services, len(instance.layered.cast) // services
    _timed(engine, *_drawn(instance, extent.slots, 0))
    running = _slot(engine, *_drawn(instance, extent.slots, 1))
    rng, drawn = np.random.default_rng(2), _drawn(instance, 10, 3)
    some = []
    for _ in range(max(1, extent.filled // 10)):  # the queues are filled again before they run dry
        engine.fill(rng, 100)
        some.append(_slot(engine, *drawn))
    filled = Slot(*np.mean(some, axis=0).tolist())
    name, count = policy.name, len(instance.casts[0].destinations)
    return Cost(name, count, len(instance.links), of_one, edges * engine.choices, running, filled)


def _slot(engine: Queues, arrivals: FloatArray, order: IntArray) -> Slot:
    before = engine.weighed
    seconds = _timed(engine, arrivals, order)
    return Slot((engine.weighed - before) / len(arrivals), seconds / len(arrivals))


def _timed(engine: Engine, arrivals: FloatArray, order: IntArray) -> float:
    begun = time.process_time()
    engine.advance(arrivals, order)
    return time.process_time() - begun


def _drawn(instance: Instance, slots: int, seed: int) -> tuple[FloatArray, IntArray]:
    """Arrivals and orders of service."""
    rng = np.random.default_rng(seed)
    rates = [cast.rate for cast in instance.casts]
    return rng.poisson(rates, (slots, len(rates))).astype(float), orders(instance, Setting(slots), slots, rng)
