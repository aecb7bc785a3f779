"""The multicast paper's simulations as cells of a grid: which there are, and what each comes to.

Two instances, both of `pricing.multicast.mec`: users who stand, whose stability region is a linear program's, and users
who walk, under two rules for power. A cell is one policy at one rate, V and seed; `compute` runs it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from experiments.cells import Result
from experiments.result import estimate
from pricing.multicast.backpressure import dcnc, egdcnc, gdcnc, gdcnc_r
from pricing.multicast.instance import Instance
from pricing.multicast.mec import Case, frozen, mobile
from pricing.multicast.region import (
    Choices,
    Plan,
    largest_scale,
    least_cost,
    relays_of,
    tree_choices,
    unicast_choices,
)
from pricing.multicast.search import best_eta
from pricing.multicast.shortest import EDSPA, fixed_scale
from pricing.multicast.simulate import Policy, Setting, simulate
from pricing.multicast.status import trees
from pricing.multicast.universal import UCNC

Name = Literal["GDCNC", "GDCNC-R", "EGDCNC", "EGDCNC-R", "DCNC", "UCNC", "EDSPA"]
Users = Literal["frozen", "uniform", "by weight"]

TRIED = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Packets that a hop may weigh in the biased policies, of which a search takes the best (ours)."""

BIASED: tuple[Name, ...] = ("EGDCNC", "EGDCNC-R")

SEED = 23
"""Of the instance (ours): of 1 to 24 the one where, with four destinations, one tree costs more than all choices."""


@dataclass(frozen=True)
class Cell:
    """One simulation.

    Attributes
    ----------
    part : str
        What it is for.
    share : float
        Rate, as a multiple of the largest rate of GDCNC's region on the frozen instance.
    users : str
        Whether users stand, or walk under a rule for power.
    eta : float
        Packets that a hop weighs, in biased policies.
    """

    part: str
    policy: Name
    share: float
    V: float
    destinations: int
    slots: int
    warmup: int
    seed: int
    users: Users = "frozen"
    eta: float = 0.0


@dataclass(frozen=True)
class Search:
    """A search for the bias of a policy, over some rates together and on runs with seeds of their own.

    Attributes
    ----------
    shares : tuple of float
        Rates, as multiples of the largest of GDCNC's region.
    """

    policy: Name
    shares: tuple[float, ...]
    slots: int
    runs: int


@dataclass(frozen=True)
class Size:
    """How much is simulated: slots of each part, runs with different seeds, and what is varied.

    `others` are the numbers of destinations at which delay and cost are compared beside `COSTS_D`.
    """

    runs: int
    delay: int
    stability: int
    tradeoff: int
    walking: int
    search: int
    shares: tuple[float, ...]
    prices: tuple[float, ...]
    others: tuple[int, ...]


QUICK = Size(3, 4_000, 16_000, 10_000, 1_200, 2_000, (0.1, 0.6), (0.0, 20.0, 60.0), (2, 5))
FULL = Size(
    4, 30_000, 200_000, 120_000, 8_000, 20_000, (0.1, 0.3, 0.5, 0.7, 0.9), (0.0, 50.0, 100.0, 200.0, 300.0), (2, 3, 5)
)

DELAYED: tuple[Name, ...] = ("GDCNC", "GDCNC-R", "EGDCNC", "EGDCNC-R", "UCNC", "EDSPA")
STABLE: tuple[Name, ...] = ("GDCNC", "EGDCNC", "UCNC")
PRICED: tuple[Name, ...] = ("DCNC", "GDCNC-R", "GDCNC")
SIZED: tuple[Name, ...] = ("GDCNC", "GDCNC-R")
WALKING: tuple[Name, ...] = ("GDCNC", "GDCNC-R", "DCNC", "EDSPA")
RATES_D, COSTS_D = 3, 4
"""Destinations of each service: where rates are compared, and where costs are."""


def searches(size: Size) -> list[Search]:
    """What has to be known before the grid: the bias of each biased policy."""
    return [Search(name, (0.1, 0.6), size.search, size.runs) for name in BIASED]


def grid(size: Size, eta: Mapping[Name, float]) -> list[Cell]:
    """Every simulation of the page with the biases found; the long ones first, so that none is waited for."""
    runs = range(size.runs)
    stability = [
        Cell(
            "stability",
            name,
            share,
            0.0,
            RATES_D,
            size.stability,
            size.stability * 3 // 5,
            seed,
            eta=eta.get(name, 0.0),
        )
        for name in STABLE
        for share in (0.98, 1.02)
        for seed in runs
    ]
    tradeoff = [
        Cell("tradeoff", name, cost_share(count), V, count, size.tradeoff, size.tradeoff // 2, seed)
        for count, names in ((COSTS_D, PRICED), *((other, SIZED) for other in size.others))
        for name in names
        for V in size.prices
        for seed in runs
    ]
    delay = [
        Cell("delay", name, share, 0.0, RATES_D, size.delay, size.delay // 2, seed, eta=eta.get(name, 0.0))
        for name in DELAYED
        for share in size.shares
        for seed in runs
    ]
    ways: list[tuple[Name, Users]] = [*((name, "uniform") for name in WALKING), ("GDCNC", "by weight")]
    walking = [
        Cell("walking", name, 1.5, 0.0, RATES_D, size.walking, size.walking // 2, seed, users)
        for name, users in ways
        for seed in runs
    ]
    return [*stability, *tradeoff, *walking, *delay]


def case_of(destinations: int, rate: float = 1.0) -> Case:
    """The documented case."""
    return replace(Case(seed=SEED), destinations=destinations, rate=rate)


@functools.cache
def top(destinations: int) -> Plan:
    """The edge of GDCNC's region on the frozen instance; rates are 1, so its scale is a rate."""
    return largest_scale(frozen(case_of(destinations)))


@functools.cache
def cost_rate() -> float:
    """Where costs are compared: at 0.8 of what unicast carries with `COSTS_D` destinations, packets a slot."""
    return 0.8 * largest_scale(frozen(case_of(COSTS_D)), [unicast_choices(COSTS_D)] * 2).scale


def cost_share(destinations: int) -> float:
    """The same rate as a share of GDCNC's region with so many destinations."""
    return cost_rate() / top(destinations).scale


def tree_region(instance: Instance) -> list[Choices]:
    """What GDCNC-R may do on an instance, one tree a service, as printed."""
    found = trees(instance, "place", 1, 0)
    return [tree_choices(some, relays_of(instance, k), local=False) for k, some in enumerate(found)]


def edges(destinations: int) -> dict[str, float]:
    """The largest rate of each policy's own region on the frozen instance, packets a slot of each service."""
    instance = frozen(case_of(destinations))
    return {
        "GDCNC": top(destinations).scale,
        "GDCNC-R": largest_scale(instance, tree_region(instance)).scale,
        "DCNC": largest_scale(instance, [unicast_choices(destinations)] * 2).scale,
        "EDSPA": fixed_scale(instance).scale,
    }


def costs() -> dict[str, float]:
    """h* of each policy's own region, where costs are compared."""
    instance = frozen(case_of(COSTS_D, cost_rate()))
    return {
        "DCNC": least_cost(instance, [unicast_choices(COSTS_D)] * 2).cost,
        "GDCNC-R": least_cost(instance, tree_region(instance)).cost,
        "GDCNC": least_cost(instance).cost,
    }


def least_by_size(size: Size) -> dict[int, float]:
    """h* of GDCNC's region with each number of destinations, at the rate at which costs are compared."""
    return {d: least_cost(frozen(case_of(d, cost_rate()))).cost for d in sorted({COSTS_D, *size.others})}


def policy_for(name: Name, instance: Instance, V: float, eta: float) -> Policy:
    """A policy by its name in tables."""
    match name:
        case "GDCNC":
            return gdcnc(V)
        case "EGDCNC":
            return egdcnc(V, eta)
        case "GDCNC-R" | "EGDCNC-R":
            return gdcnc_r(instance, V, eta)
        case "DCNC":
            return dcnc(V)
        case "UCNC":
            return UCNC()
        case "EDSPA":
            return EDSPA()


def search(wanted: Search) -> Result:
    """The bias with the least delay: `eta`, and `delays` with their intervals for every bias that was tried."""
    instances = [frozen(case_of(RATES_D, share * top(RATES_D).scale)) for share in wanted.shares]
    settings = [Setting(wanted.slots, wanted.slots // 2, seed=1000 + run) for run in range(wanted.runs)]
    policy = functools.partial(policy_for, wanted.policy, instances[0], 0.0)
    found = best_eta(instances, policy, settings, TRIED)
    return {"eta": found.eta, "delays": [[eta, *delay] for eta, delay in found.delays.items()]}


def compute(cell: Cell) -> Result:
    """Run a cell.

    Returns
    -------
    dict
        `delay` in slots, `backlog` in copies, `cost` scheduled a slot, `slope` in copies a slot with `slope_ci95`,
        `delivered` (the share of what arrived after the warm-up that left), `seconds` a slot.
    """
    case = case_of(cell.destinations, cell.share * top(cell.destinations).scale)
    instance, medium = (frozen(case), None) if cell.users == "frozen" else mobile(case, cell.slots, cell.users, cell.V)
    setting = Setting(cell.slots, cell.warmup, seed=cell.seed)
    begin = time.perf_counter()
    run = simulate(instance, policy_for(cell.policy, instance, cell.V, cell.eta), setting, medium)
    seconds = (time.perf_counter() - begin) / cell.slots
    kept = run.backlog[cell.warmup :]
    thin = kept[:: max(1, len(kept) // 2000)]
    growth = estimate.slope(np.linspace(0, len(kept), len(thin), endpoint=False), thin)
    entered = float(run.arrivals[cell.warmup :].sum()) * cell.destinations
    return {
        "delay": run.mean_delay,
        "backlog": float(kept.mean()),
        "cost": run.scheduled_cost,
        "slope": growth.value,
        "slope_ci95": growth.ci95,
        "delivered": 1 - float(kept[-1] - kept[0]) / entered,
        "seconds": seconds,
    }
