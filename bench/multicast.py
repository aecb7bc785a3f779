"""Slots of backpressure: the compiled simulator against the plain Python that its tests hold it to.

Both run the same slots from the same queues, which two thousand slots before have filled.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import numpy as np

from bench.row import Row, Side
from pricing.multicast.backpressure import Queues, gdcnc, gdcnc_r
from pricing.multicast.instance import Cast, Function, Instance, Processor, SlotLink, from_network
from pricing.multicast.simulate import Engine, Setting, orders
from pricing.multicast.universal import UCNC
from pricing.values import FloatArray
from topologies.scenario import load

SEED = 1
FILL = 2000
"""Slots that fill the queues before any is timed."""

CHAINS = ((Function(1.0, 1.0), Function(0.5, 2.0)), (Function(2.0, 0.5), Function(0.5, 1.0)))
"""Two services of two functions each; ours."""

WANTED = 100.0

_Engine = TypeVar("_Engine", bound=Engine)


def grid(side: int, destinations: int, rate: float = 0.4) -> Instance:
    """A grid of links of capacity 4 and cost 1 both ways, every node a processor, two services; parameters are ours."""
    rng = np.random.default_rng(SEED)
    at = {f"{x},{y}": (float(x), float(y)) for x in range(side) for y in range(side)}
    ends = [(a, b) for a, b in combinations(at, 2) if abs(at[a][0] - at[b][0]) + abs(at[a][1] - at[b][1]) == 1]
    both = tuple(SlotLink(x, y, 4.0, 1.0) for a, b in ends for x, y in ((a, b), (b, a)))
    casts, processors = _services(tuple(at), destinations, rate, rng)
    return Instance(f"grid {side} x {side}, D = {destinations}", tuple(at), both, casts, processors, at)


def scenario(name: str, destinations: int, rate: float = 0.4) -> Instance:
    """A scenario of the library: packets of 1250 bytes, slots in which its widest link carries four."""
    network = load(name).network
    rng = np.random.default_rng(SEED)
    names = tuple(node.name for node in network.nodes)
    casts, processors = _services(names, destinations, rate, rng)
    capacity = max(link.capacity for link in network.links)
    title = f"{name}, D = {destinations}"
    return replace(from_network(network, casts, 4 * 1e4 / capacity, 1e4, 1.0, processors), name=title)


def _services(
    names: tuple[str, ...], destinations: int, rate: float, rng: np.random.Generator
) -> tuple[tuple[Cast, ...], tuple[Processor, ...]]:
    casts = []
    for k, functions in enumerate(CHAINS):
        source, *ends = (names[i] for i in rng.permutation(len(names))[: destinations + 1].tolist())
        casts.append(Cast(f"service {k + 1}", source, tuple(ends), rate, functions))
    return tuple(casts), tuple(Processor(name, 4.0, 1.0) for name in names)


def against_plain(instance: Instance, slots: int) -> Row:
    """GDCNC for some slots, ours and plain; the slots of GDCNC-R and UCNC, ours, beside."""
    policy, rng = gdcnc(1.0), np.random.default_rng(SEED)
    engine = filled(policy.start(instance, Setting(FILL)), instance)
    plain = _plain().Plain(instance, "all", policy.V, policy.eta)
    for k, m, node in plain.queue:
        held = engine.queue(k, m * len(instance.nodes) + instance.nodes.index(node))
        plain.queue[k, m, node] = {frozenset(d for d in range(64) if q >> d & 1): x for q, x in held.items()}
    arrivals, order = _drawn(instance, slots, rng)
    begun, used = time.perf_counter(), time.process_time()
    for t in range(slots):
        plain.slot(arrivals[t].tolist(), order[t].tolist())
    peer = Side("plain Python", time.perf_counter() - begun, time.process_time() - used, 1, 0.0)
    wall, cpu = _timed(engine, arrivals, order)
    apart = _difference(instance, engine, plain)
    ours = Side("compiled slots", wall, cpu, 1, apart)
    pace = _pace(engine, instance)
    trees = filled(gdcnc_r(instance, 1.0).start(instance, Setting(FILL)), instance)
    routes = filled(UCNC().start(instance, Setting(FILL)), instance)
    facts = {
        "slots compared": slots,
        "slots/s": pace,
        "slots/s, plain": slots / peer.cpu,
        "slots/s, GDCNC-R": _pace(trees, instance),
        "slots/s, UCNC": _pace(routes, instance),
        "choices of a service": engine.choices / 2,
        "choices of a service, GDCNC-R": trees.choices / 2,
        "memory, MiB": engine.memory / 2**20,
    }
    return Row(
        instance.name, _size(instance), ours, peer, WANTED, "largest difference of any queue from plain Python's",
        facts=facts,
    )  # fmt: skip


def growth(sides: tuple[int, ...] = (5, 10, 15, 20), spans: tuple[int, ...] = (2000, 8000, 32000)) -> Row:
    """Time of a slot on ever larger grids, D = 3, and of ever more slots: what either costs a link and slot."""
    facts: dict[str, float] = {}
    for side in sides:
        instance = grid(side, 3)
        engine = filled(gdcnc(1.0).start(instance, Setting(FILL)), instance)
        facts[f"us a slot and link, {len(instance.links)} links"] = 1e6 / _pace(engine, instance) / len(instance.links)
    smallest = grid(sides[0], 3)
    engine = filled(gdcnc(1.0).start(smallest, Setting(FILL)), smallest)
    for slots in spans:
        arrivals, order = _drawn(smallest, slots, np.random.default_rng(SEED))
        facts[f"us a slot, {slots} slots"] = 1e6 * _timed(engine, arrivals, order)[1] / slots
    return Row("growth with links and slots, grids, D = 3", note="no peer", facts=facts)


def largest() -> Row:
    """GDCNC with 12 destinations, and EGDCNC-R with 64 on a grid of 100 nodes: memory and slots a second."""
    twelve = grid(5, 12, 0.2)
    engine = filled(gdcnc(1.0).start(twelve, Setting(FILL)), twelve, 200)
    facts = {"D = 12, GDCNC: memory, MiB": engine.memory / 2**20, "D = 12, GDCNC: slots/s": _pace(engine, twelve)}
    many = grid(10, 64, 0.05)
    other = filled(gdcnc_r(many, 1.0, 1.0).start(many, Setting(FILL)), many, 300)
    facts |= {"D = 64, EGDCNC-R: memory, MiB": other.memory / 2**20, "D = 64, EGDCNC-R: slots/s": _pace(other, many)}
    facts["D = 64, EGDCNC-R: choices of a service"] = other.choices / 2
    return Row("most destinations, grids", note="no peer", facts=facts)


def filled(engine: _Engine, instance: Instance, slots: int = FILL) -> _Engine:
    """An engine after some slots."""
    engine.advance(*_drawn(instance, slots, np.random.default_rng(SEED + 1)))
    return engine


def _drawn(instance: Instance, slots: int, rng: np.random.Generator) -> tuple[FloatArray, np.ndarray]:
    rates = [cast.rate for cast in instance.casts]
    return rng.poisson(rates, (slots, len(rates))).astype(float), orders(instance, Setting(slots), slots, rng)


def _timed(engine: Engine, arrivals: FloatArray, order: np.ndarray) -> tuple[float, float]:
    begun, used = time.perf_counter(), time.process_time()
    engine.advance(arrivals, order)
    return time.perf_counter() - begun, time.process_time() - used


def _pace(engine: Engine, instance: Instance, least: float = 0.3) -> float:
    """Slots a second of CPU time, over at least 0.3 s."""
    slots = 20
    while True:
        used = _timed(engine, *_drawn(instance, slots, np.random.default_rng(SEED)))[1]
        if used >= least:
            return slots / used
        slots *= 4


def _difference(instance: Instance, engine: Queues, plain: object) -> float:
    queues = plain.queue  # type: ignore[attr-defined]
    worst = 0.0
    for (k, m, node), there in queues.items():
        here = engine.queue(k, m * len(instance.nodes) + instance.nodes.index(node))
        known = {sum(1 << d for d in q): x for q, x in there.items()}
        worst = max([worst, *(abs(here.get(q, 0.0) - known.get(q, 0.0)) for q in here | known)])
    return worst


def _size(instance: Instance) -> dict[str, int]:
    destinations = len(instance.casts[0].destinations)
    return {"nodes": len(instance.nodes), "links": len(instance.links), "destinations": destinations}


def _plain() -> ModuleType:
    """The reference of the tests."""
    file = Path(__file__).parent.parent / "tests" / "pricing" / "multicast_reference.py"
    spec = importlib.util.spec_from_file_location("multicast_reference", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
