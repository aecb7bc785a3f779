"""The slotted simulator: slots of arrivals through any policy, with a balance that must add up.

A slot has two phases (Section IV-A): what was decided moves, then all that arrives, from neighbours, from
duplications and from outside, is received. `simulate` draws the arrivals and the order in which resources serve, and
the policy's **engine** does the rest. What enters does not depend on the policy, so policies are compared on the
same packets.

Amounts are normalised (`pricing.multicast.instance`). Without `follow` a resource sends C/use of them a slot, whole or
not; arrivals are whole, so on instances of whole numbers all amounts are whole. With `follow` packets are whole
everywhere, what a resource could not use of its capacity waits for the next slot, and each packet is followed from
its arrival to each of its destinations.

The balance, for every cast and destination: what entered is what was delivered plus what queues still owe. It is
counted from the queues themselves after every thousand slots and at the end, and a run that breaks it raises
`Imbalance`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from scipy import special

from pricing.errors import Imbalance, InstanceError
from pricing.multicast.instance import Instance, IntArray
from pricing.values import FloatArray

CHUNK = 1000
"""Slots between two counts of the balance."""

Medium = Callable[[int, FloatArray], tuple[FloatArray, float]]
"""Slot and weights (R,) a unit of capacity -> capacities (R,) in that slot, and their cost beside the unit costs."""


@dataclass(frozen=True)
class Setting:
    """How a simulation runs.

    Parameters
    ----------
    slots : int
        Slots with arrivals, the warm-up included.
    warmup : int
        Slots at the start that averages leave out.
    drain : int
        Most slots after that in which nothing arrives and all that is left is delivered.
    seed : int
        Of arrivals and of the order of service; each has a stream of its own.
    order : 'random' or 'fixed'
        Which resource is served first when several draw on one queue: drawn anew each slot, or as listed.
    arrivals : 'poisson' or 'constant'
        Packets a slot: Poisson, or the rate itself (with `follow` whole packets of that mean).
    follow : bool
        Whether packets are whole and each is followed.
    """

    slots: int
    warmup: int = 0
    drain: int = 0
    seed: int = 0
    order: Literal["random", "fixed"] = "random"
    arrivals: Literal["poisson", "constant"] = "poisson"
    follow: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < self.slots or self.drain < 0:
            found = f"slots {self.slots}, warmup {self.warmup}, drain {self.drain}"
            raise InstanceError("setting", [f"{found}: 0 <= warmup < slots and drain from 0 are accepted"])


class Tally(NamedTuple):
    """What slots did: (T, K) copies owed after each slot, and (T,) cost of what was scheduled and of what moved."""

    owed: FloatArray
    scheduled: FloatArray
    real: FloatArray


class Balance(NamedTuple):
    """What was delivered to, and is still owed to, each destination of each cast, (K, 64)."""

    delivered: FloatArray
    owed: FloatArray


class Engine(Protocol):
    """A policy at work on an instance."""

    def advance(self, arrivals: FloatArray, order: IntArray) -> Tally:
        """Run slots with (T, K) arrivals and (T, R) orders of service."""

    def drain(self) -> None:
        """From now on only get rid of what is left."""

    def balance(self) -> Balance:
        """Where all that ever arrived is."""

    def delays(self) -> tuple[IntArray, IntArray]:
        """Followed packets: (P,) slots of arrival, (P, 64) slots to each destination or -1; empty if none are."""


class Policy(Protocol):
    """A way of deciding, and its parameters."""

    @property
    def name(self) -> str:
        """As in tables."""

    def start(self, instance: Instance, setting: Setting, medium: Medium | None = None) -> Engine:
        """An engine with empty queues.

        Raises
        ------
        InstanceError
            When the policy cannot carry the instance.
        """


@dataclass(frozen=True)
class Run:
    """What a simulation found.

    Attributes
    ----------
    owed : (T, K)
        Copies owed after each slot, of each cast: queues weighted by the size of their status.
    scheduled, real : (T,)
        Cost of what was scheduled, idle fill included, and of what moved, in each slot with arrivals.
    arrived, left : (K,), (K, 64)
        Packets that entered, and copies that the drain did not deliver.
    drained : Tally
        The slots of the drain.
    born, delay : (P,), (P, 64)
        Of followed packets: slot of arrival, and slots to each destination, -1 if not delivered.
    """

    instance: Instance
    policy: str
    setting: Setting
    arrivals: FloatArray
    owed: FloatArray
    scheduled: FloatArray
    real: FloatArray
    left: FloatArray
    drained: Tally
    born: IntArray
    delay: IntArray

    @property
    def backlog(self) -> FloatArray:
        """Copies owed after each slot in all, (T,)."""
        return np.asarray(self.owed.sum(axis=1))

    @cached_property
    def mean_delay(self) -> float:
        """Mean delay of a copy by Little's law, slots; equations (39)-(40). Over the slots after the warm-up."""
        kept = slice(self.setting.warmup, None)
        sizes = np.array([len(cast.destinations) for cast in self.instance.casts])
        entered = float((self.arrivals[kept] @ sizes).sum())
        return float(self.backlog[kept].sum()) / entered if entered else 0.0

    @property
    def packet_delay(self) -> float:
        """Mean delay of the copies of packets that entered after the warm-up, each followed, slots."""
        seen = self.delay[self.born >= self.setting.warmup]
        return float(seen[seen >= 0].mean()) if (seen >= 0).any() else 0.0

    @property
    def scheduled_cost(self) -> float:
        """Mean cost a slot of what was scheduled after the warm-up, idle fill included: the cost of (12)."""
        return float(self.scheduled[self.setting.warmup :].mean())

    @property
    def real_cost(self) -> float:
        """Mean cost a slot of what moved after the warm-up; lower than any optimum for as long as queues fill."""
        return float(self.real[self.setting.warmup :].mean())

    @property
    def delivery_cost(self) -> float:
        """Cost of all that ever moved, the drain included, a slot of arrivals: nothing is left out that was owed."""
        return float(self.real.sum() + self.drained.real.sum()) / self.setting.slots

    @property
    def slope(self) -> float:
        """Growth of the backlog after the warm-up, copies a slot: least squares."""
        kept = self.backlog[self.setting.warmup :]
        return float(np.polyfit(np.arange(len(kept)), kept, 1)[0]) if len(kept) > 1 else 0.0


_Run = TypeVar("_Run")


class Estimate(NamedTuple):
    """A mean over independent runs, and half the width of its interval."""

    mean: float
    half: float


def simulate(instance: Instance, policy: Policy, setting: Setting, medium: Medium | None = None) -> Run:
    """Run a policy on an instance.

    Parameters
    ----------
    medium : callable, optional
        Capacities that change from slot to slot; without it they are the instance's.

    Raises
    ------
    InstanceError
        When the policy cannot carry the instance.
    Imbalance
        When packets were lost, invented or delivered twice.
    """
    engine = policy.start(instance, setting, medium)
    coming, serving = (np.random.default_rng(child) for child in np.random.SeedSequence(setting.seed).spawn(2))
    parts: list[Tally] = []
    entered: list[FloatArray] = []
    for begin in range(0, setting.slots, CHUNK):
        span = range(begin, min(begin + CHUNK, setting.slots))
        entered.append(_arrivals(instance, setting, span, coming))
        parts.append(engine.advance(entered[-1], orders(instance, setting, len(span), serving)))
        _check(instance, engine.balance(), np.concatenate(entered))
    arrivals = np.concatenate(entered)
    engine.drain()
    drained = [Tally(np.empty((0, len(instance.casts))), np.empty(0), np.empty(0))]
    for begin in range(0, setting.drain, CHUNK):
        if not engine.balance().owed.any():
            break
        n = min(CHUNK, setting.drain - begin)
        drained.append(engine.advance(np.zeros((n, len(instance.casts))), orders(instance, setting, n, serving)))
    end = engine.balance()
    _check(instance, end, arrivals)
    joined, rest = (Tally(*(np.concatenate(each) for each in zip(*some, strict=True))) for some in (parts, drained))
    return Run(instance, policy.name, setting, arrivals, *joined, end.owed, rest, *engine.delays())


def estimate(figure: Callable[[_Run], float], runs: list[_Run], level: float = 0.95) -> Estimate:
    """Mean of a figure over runs, or groups of runs, with different seeds; its Student interval, none from one."""
    values = np.array([figure(run) for run in runs])
    if len(values) < 2:
        return Estimate(float(values.mean()), float("inf"))
    half = special.stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(len(values))
    return Estimate(float(values.mean()), float(half))


def _arrivals(instance: Instance, setting: Setting, span: range, rng: np.random.Generator) -> FloatArray:
    """Packets that enter in each slot, (T, K)."""
    rates = np.array([cast.rate for cast in instance.casts])
    if setting.arrivals == "poisson":
        return rng.poisson(rates, (len(span), len(rates))).astype(float)
    if not setting.follow:
        return np.tile(rates, (len(span), 1))
    so_far = np.floor(np.outer(np.arange(span.start, span.stop + 1), rates) + 1e-9)
    return np.asarray(np.diff(so_far, axis=0))


def orders(instance: Instance, setting: Setting, slots: int, rng: np.random.Generator) -> IntArray:
    """Order of service in each slot, (T, R)."""
    listed = np.tile(np.arange(len(instance.resources)), (slots, 1))
    return rng.permuted(listed, axis=1) if setting.order == "random" else listed


def _check(instance: Instance, balance: Balance, arrivals: FloatArray) -> None:
    """Entered = delivered + owed, for every destination of every cast."""
    for k, (cast, entered) in enumerate(zip(instance.casts, arrivals.sum(axis=0).tolist(), strict=True)):
        for d, group in enumerate(cast.groups):
            found = float(balance.delivered[k, d] + balance.owed[k, d])
            if abs(found - entered) > 1e-9 * (1 + entered):
                said = f"{entered:.9g} packets entered, {found:.9g} were delivered or are owed"
                raise Imbalance(f"cast {cast.name}, destination {'|'.join(group)}: {said}; this is a fault of Wardrop")
