"""The largest rate that a policy carries, by bisection between parts of its own bound.

A rate is **carried** in a step of so many seconds when of the copies owed for the packets sent in it at most `LOST` are
lost, and what is under way does not grow: the interval of its slope, as a share of what is owed a second, reaches
down to `LOST`. What came before the step is its warm-up, and is left out.

A step is simulated or on packets, and judged by the same function of when copies were sent and when they arrived:

| on | the allocation | the packets |
|---|---|---|
| simulation | where the policy settles by the model, at this rate | Poisson, every copy through every queue |
| packets | as the controller decides tick by tick | those of `validate`, at this rate |
| slots | none: backpressure decides in every slot, as its paper has it | Poisson, in virtual queues without end |

In `slots`, delay and cost are those of theory: what waits is what weighs, so a larger V costs less and waits longer. On
packets and in the simulation only what an epoch moved on average is carried out, and V moves packets between routes.
A slot is what a frame takes on a link of the mean capacity; answers are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from controller.slots import quotas
from experiments.result.assemble import Account
from experiments.result.estimate import NOTHING, Estimate, mean, proportion, slope
from experiments.result.groups import arrivals
from experiments.result.predict import WARM_UP, drawn
from experiments.running.campaign import Campaign, excluded_share, settling
from experiments.running.machine import BAD_SHARE
from experiments.running.phase import Setting
from pricing.errors import WardropError
from pricing.multicast.simulate import Setting as Slots
from pricing.multicast.simulate import simulate
from pricing.multicast.virtual import instance_of, unit
from pricing.network import Allocation, Network
from pricing.own import named
from pricing.policy import backpressure, settle
from pricing.simulate.copies import simulate_copies, tree_of
from pricing.simulate.packets import Resources
from pricing.values import FloatArray

LOST = 1e-3
"""Share of the copies that may be lost, or be added to what is under way."""

ROUNDS = 30
"""Rounds in which a policy settles where steps are simulated (ours)."""

PER_SECOND = 5
"""How often what is under way is counted."""


@dataclass(frozen=True)
class Step:
    """A rate that was tried.

    Parameters
    ----------
    part : float
        Of the policy's bound.
    demand : float
        Times the scenario's own rates.
    offered : float
        All sessions together, bit/s.
    loss, growth : Estimate
        Copies lost, and copies by which what is under way grows, as shares of the copies owed.
    delay : Estimate
        Of a copy, s.
    cost : float
        Bits x unit cost a second, where a bit costs 1 on every link.
    why : str
        Why nothing was sent: the policy found no allocation.
    quiet : bool
        Whether the machine was.
    """

    part: float
    demand: float
    offered: float
    loss: Estimate = NOTHING
    growth: Estimate = NOTHING
    delay: Estimate = NOTHING
    cost: float = 0.0
    why: str = ""
    quiet: bool = True

    @property
    def carried(self) -> bool:
        """The verdict."""
        return not self.why and self.loss.value <= LOST and self.growth.low <= LOST

    def as_json(self) -> dict[str, Any]:
        """As the JSON file has it (`experiments.commands.largest`)."""
        estimates = {f"{name}_s" if name == "delay" else name: getattr(self, name).as_json() for name in _ESTIMATES}
        plain = {name: value for name, value in asdict(self).items() if name not in (*_ESTIMATES, "offered", "cost")}
        rates = {"offered_bps": self.offered, "cost_bps": self.cost}
        return {**plain, **rates, **estimates, "verdict": "carried" if self.carried else "not carried"}


_ESTIMATES = ("loss", "growth", "delay")


def search(attempt: Callable[[float], Step], low: float, high: float, within: float) -> Iterator[Step]:
    """Try parts of a bound until the largest that is carried is known to `within`; each step as it is done.

    Nothing between is tried where `low` is not carried, or `high` is.
    """
    first = attempt(low)
    yield first
    if not first.carried or high <= low:
        return
    last = attempt(high)
    yield last
    while not last.carried and high - low > within * (1 + 1e-9):
        step = attempt((low + high) / 2)
        yield step
        low, high = (step.part, high) if step.carried else (low, step.part)


def largest(steps: Sequence[Step]) -> Step | None:
    """The largest rate that was carried."""
    return max((step for step in steps if step.carried), key=lambda step: step.part, default=None)


def judged(sent: FloatArray, left: FloatArray, start: float, end: float) -> tuple[Estimate, Estimate, Estimate]:
    """Loss, growth and delay of copies in a step.

    Parameters
    ----------
    sent, left : arrays of shape (C,)
        When each copy was sent, and when it arrived, s; NaN for one that did not. Those before the step are under way
        in it.
    start, end : float
        s.
    """
    inside, known = (sent >= start) & (sent < end), np.isfinite(left)
    count = int(inside.sum())
    times = np.linspace(start, end, max(3, round(PER_SECOND * (end - start))))
    under_way = np.searchsorted(np.sort(sent[known]), times) - np.searchsorted(np.sort(left[known]), times)
    growth = slope(times, under_way)
    owed = count / (end - start)
    share = Estimate(growth.value / owed, growth.ci95 / owed, growth.n) if count else NOTHING
    order = np.argsort(sent[inside & known], kind="stable")
    return proportion(int((inside & ~known).sum()), count), share, mean((left - sent)[inside & known][order])


def simulated(network: Network, policy: str, part: float, demand: float, duration: float, seed: int) -> Step:
    """A step by simulation: the first fifth of what is simulated is its warm-up."""
    scaled = network.with_demand(demand)
    offered = sum(session.rate for session in scaled.sessions)
    try:
        allocation, _, _ = settle(scaled, named(policy), ROUNDS)
    except WardropError as error:
        return Step(part, demand, offered, why=str(error))
    length = duration / (1 - WARM_UP)
    sent, left, cost = _followed(scaled, allocation, length, seed)
    return Step(part, demand, offered, *judged(sent, left, length - duration, length), cost / duration)


def slotted(network: Network, policy: str, part: float, demand: float, duration: float, seed: int) -> Step:
    """A step of the policy itself, in virtual slots; nothing is lost there."""
    scaled = network.with_demand(demand)
    offered = sum(session.rate for session in scaled.sessions)
    instance = instance_of(scaled, 1.0)
    # A packet of the instance is what the mean link carries in a slot, so a slot is as long as a frame makes it.
    slot = sum(s.frame_bits * s.packet_rate for s in scaled.sessions) / sum(s.packet_rate for s in scaled.sessions)
    slot /= unit(scaled)
    count = max(10, round(duration / slot / (1 - WARM_UP)))
    setting = Slots(slots=count, warmup=round(WARM_UP * count), seed=seed)
    found = simulate(instance, backpressure(policy).made(instance), setting)
    owed = sum(len(cast.destinations) * cast.rate for cast in instance.casts)
    growth = slope(np.arange(count - setting.warmup, dtype=float), found.backlog[setting.warmup :])
    growth = Estimate(growth.value / owed, growth.ci95 / owed, growth.n)
    delay = Estimate(found.mean_delay * slot, float("inf"), len(found.backlog))
    return Step(part, demand, offered, Estimate(0.0, 0.0, 1), growth, delay, found.real_cost * unit(scaled))


def _followed(
    network: Network, allocation: Allocation, length: float, seed: int
) -> tuple[FloatArray, FloatArray, float]:
    """When copies were sent and arrived, and the bits that links took after the warm-up."""
    routes = [route for route, _ in allocation]
    trees = [tree_of(network, route) for route in routes]
    number = {route: index for index, route in enumerate(routes)}
    flows = []
    for session in network.sessions:
        whole = quotas({number[route]: weight for route, weight in allocation.splits[session.name]}, session.flows)
        flows.append(np.repeat(list(whole), list(whole.values())))
    servers = np.array([network.server_index[route.server] if route.server else -1 for route in routes])
    packets, _ = drawn(network, flows, servers, length, [seed])
    found = simulate_copies(packets, trees, Resources.of(network), WARM_UP * length)
    return packets.arrival[found.packet], found.left, float(found.carried[: len(network.links)].sum())


def measured(up: Campaign, policy: str, part: float, demand: float, duration: float, seed: int) -> Step:
    """A step on packets, after as long as the policy takes to settle."""
    log = up.run(Setting(policy, demand=demand), seed, settling(Setting(policy)), duration)
    account = Account(up.network, up.emulation.plant, log)
    ends = arrivals(account)
    sent, left = np.concatenate([end.sent for end in ends]), np.concatenate([end.left for end in ends])
    offered = sum(session.rate for session in up.network.sessions) * demand
    cost = float(account.loads.mean(axis=0).sum())
    estimates = judged(sent, left, *log.window)
    return Step(part, demand, offered, *estimates, cost, quiet=excluded_share(log) <= BAD_SHARE)
