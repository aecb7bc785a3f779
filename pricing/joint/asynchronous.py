"""What becomes of the iterations when prices arrive late, out of order or not at all, and capacities move.

The joint paper leaves this for later. Time goes in seconds. Every second each server measures its load and sends each
source a message, which is lost with some probability and else arrives up to `late` seconds later; a source keeps the
newest by sequence number. Each second each source wakes with some probability and changes its split. Capacities may
move as the paper's model has it:

    mu_j(t) = base_j max(0.2, 1 + a sin(2 pi t/T + phi_j) + noise)

Three forms. `printed` is Algorithm 1: the message is a price that goes a part gamma of the way to the marginal cost, a
source goes a part eta of the way to its best response. `forecast` runs the rounds of `pricing.joint.safe`, each of two
exchanges that wait for the last message, sent again every second until it arrives. `leased` is `pricing.joint.local`
made fit for late news, in two ways:

- A message tells the load x_j, the capacity, what of the load is the source's own, y_ij, and the source's part theta of
  the server. The source's summand of (J) is anchored there: it answers each message once, however often it wakes.
- It also lends room: the source may put up to g_ij on the server until the message is `LEASE` seconds old. A server
  never lends what it has lent before: the sum over sources of the larger of y_ij and all unexpired g_ij stays below
  capacity. So no delay, loss or order of messages can overload a server whose capacity stands still, and a source
  that hears nothing keeps what it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from pricing.delay import mm1
from pricing.joint import safe
from pricing.joint.local import Own, own_step
from pricing.joint.printed import Instance, best_response
from pricing.values import FloatArray

Form = Literal["printed", "forecast", "leased"]

LEASE = 15.0
"""Seconds after which what a message lent is void; ours."""

LENT = 0.9
"""Part of the room not yet lent that all messages of one second lend together; ours."""

RESERVE = 1e-3
"""Part of its capacity that a server never lends; ours."""

ETA, GAMMA = 0.3, 0.5
"""Steps of sources and servers in Algorithm 1, as printed."""

OVERLOADED = 0.995
"""Utilization at which an overloaded server takes its price; ours, for the printed form has none."""


@dataclass(frozen=True)
class Channel:
    """Messages: largest delay (s), probability of loss, and probability that a source wakes in a second."""

    late: float = 0.0
    lost: float = 0.0
    wakes: float = 0.5


@dataclass(frozen=True)
class Motion:
    """Moving capacities: amplitude a, period T (s), and standard deviation of the noise of each second."""

    amplitude: float = 0.0
    period: float = 300.0
    noise: float = 0.0

    def capacities(self, base: FloatArray, seconds: int, rng: np.random.Generator) -> FloatArray:
        """mu_j(t) for every second, shape (seconds, J)."""
        phase = rng.uniform(0, 2 * np.pi, len(base))
        wave = self.amplitude * np.sin(2 * np.pi * np.arange(seconds)[:, None] / self.period + phase)
        noise = self.noise * rng.standard_normal((seconds, len(base)))
        return np.asarray(base * np.maximum(0.2, 1 + wave + noise))


@dataclass(frozen=True)
class Trace:
    """What happened: at times (s), the gap to the optimum of that second's capacities, infinite where overloaded."""

    times: FloatArray
    gaps: FloatArray

    def reached(self, gap: float) -> float:
        """Seconds until the gap is reached for good, until the end of the run; infinite if it is not."""
        above = np.flatnonzero(~(self.gaps <= gap))
        after = 0 if not len(above) else int(above[-1]) + 1
        return float(self.times[after]) if after < len(self.times) else np.inf

    @property
    def overloaded(self) -> float:
        """Part of the time at which a server or path was at or over its capacity."""
        return float(np.mean(np.isinf(self.gaps)))


def optimum_cost(instance: Instance) -> float:
    """The least cost, certified to 1e-8."""
    task = safe.bipartite(instance.rates, instance.paths, instance.nodes)
    return task.cost(safe.run(task, gap=1e-8).shares)


def simulate(
    instance: Instance,
    form: Form,
    channel: Channel = Channel(),
    motion: Motion = Motion(),
    seconds: int = 600,
    every: int = 5,
    seed: int = 0,
) -> Trace:
    """One run from the start that the safe iteration finds.

    Parameters
    ----------
    every : int
        Seconds between looks at the gap.
    """
    rng = np.random.default_rng(seed)
    capacities = motion.capacities(instance.servers, seconds, rng)
    first = Instance(instance.rates, instance.access, capacities[0])
    task = safe.bipartite(first.rates, first.paths, first.nodes)
    forms: dict[Form, Callable[..., _Running]] = {"printed": _Printed, "forecast": _Forecast, "leased": _Leased}
    run = forms[form](first, safe.begin(task), channel, rng)
    best = optimum_cost(first)
    times, gaps = [], []
    for second, capacity in enumerate(capacities):
        now = Instance(instance.rates, instance.access, capacity)
        run.second(second, now)
        if second % every == 0:
            if motion.amplitude or motion.noise:
                best = optimum_cost(now)
            times.append(float(second))
            gaps.append(max(now.cost(run.flows) / best - 1, 0.0))
    return Trace(np.array(times), np.array(gaps))


class _Running(Protocol):
    """A form under way."""

    @property
    def flows(self) -> FloatArray:
        """bit/s of each source to each server, shape (I, J)."""

    def second(self, second: int, now: Instance) -> None:
        """What happens in one second, at its capacities."""


class _Post:
    """Messages on their way, arrays of shape (I, J) of values each; a source keeps the newest from each server."""

    def __init__(self, channel: Channel, rng: np.random.Generator) -> None:
        self.channel, self.rng = channel, rng
        self.under_way: list[tuple[FloatArray, int, tuple[FloatArray, ...]]] = []
        self.stamp: FloatArray | None = None
        self.newest: tuple[FloatArray, ...] = ()

    def send(self, second: int, values: tuple[FloatArray, ...]) -> None:
        """A message from each server to each source; the very first is told on joining, and arrives."""
        if self.stamp is None:
            self.stamp, self.newest = np.zeros(values[0].shape), tuple(value.copy() for value in values)
            return
        delay = self.rng.uniform(0, self.channel.late, values[0].shape)
        arrives = np.where(self.rng.random(delay.shape) < self.channel.lost, np.inf, second + delay)
        self.under_way.append((arrives, second, values))

    def deliver(self, second: int) -> None:
        """What has arrived by now; an older message never replaces a newer one."""
        assert self.stamp is not None
        for arrives, sent, values in self.under_way:
            takes = (arrives <= second) & (sent > self.stamp)
            self.stamp[takes] = sent
            for kept, value in zip(self.newest, values, strict=True):
                kept[takes] = value[takes]
        self.under_way = [m for m in self.under_way if m[1] > second - self.channel.late - 1]


class _Printed:
    """Algorithm 1, each source at its own times."""

    def __init__(self, instance: Instance, start: safe.State, channel: Channel, rng: np.random.Generator) -> None:
        self._flows: FloatArray = start.shares.reshape(instance.access.shape) * instance.rates[:, None]
        self.prices = np.zeros(len(instance.servers))
        self.post, self.rng, self.wakes = _Post(channel, rng), rng, channel.wakes

    @property
    def flows(self) -> FloatArray:
        return self._flows

    def second(self, second: int, now: Instance) -> None:
        load = np.minimum(self._flows.sum(axis=0), OVERLOADED * now.servers)
        self.prices = (1 - GAMMA) * self.prices + GAMMA * now.nodes.marginal(load)
        self.post.send(second, (np.tile(self.prices, (len(now.rates), 1)),))
        self.post.deliver(second)
        awake = self.rng.random(len(now.rates)) < self.wakes
        if awake.any():
            some = Instance(now.rates[awake], now.access[awake], now.servers)
            answer = best_response(some, self.post.newest[0][awake])
            self._flows[awake] += ETA * (answer - self._flows[awake])


class _Forecast:
    """Rounds of two exchanges, each of which ends when its last message has arrived."""

    def __init__(self, instance: Instance, start: safe.State, channel: Channel, rng: np.random.Generator) -> None:
        self.state, self.channel, self.rng = start, channel, rng
        self.shape, self.rates = instance.access.shape, instance.rates
        self.seen, self.ends = instance, self._exchange() + self._exchange()

    @property
    def flows(self) -> FloatArray:
        return np.asarray(self.state.shares.reshape(self.shape) * self.rates[:, None])

    def _exchange(self) -> float:
        """There and back, one message a source and server each way, sent again every second until it arrives."""
        tries = self.rng.geometric(1 - self.channel.lost, (2, *self.shape)) - 1
        return 1.0 + float((tries + self.rng.uniform(0, self.channel.late, tries.shape)).max(axis=(1, 2)).sum())

    def second(self, second: int, now: Instance) -> None:
        while second >= self.ends:
            task = safe.bipartite(self.seen.rates, self.seen.paths, self.seen.nodes)
            fits = (task.load(self.state.shares) < task.capacity).all()
            self.state = safe.step(task, self.state) if fits else safe.begin(task)
            self.seen = now
            self.ends += self._exchange() + self._exchange()


class _Leased:
    """Local answers, anchored at what was told, within leased room."""

    def __init__(self, instance: Instance, start: safe.State, channel: Channel, rng: np.random.Generator) -> None:
        task = safe.bipartite(instance.rates, instance.paths, instance.nodes)
        self.owns = [Own(start.shares[mine], start.slack[mine]) for mine in task.members]
        self.rates, self.theta = instance.rates, instance.rates / instance.rates.sum()
        self.post, self.rng, self.wakes = _Post(channel, rng), rng, channel.wakes
        self.lent: list[tuple[int, FloatArray]] = []

    @property
    def flows(self) -> FloatArray:
        return np.array([rate * own.shares for rate, own in zip(self.rates, self.owns, strict=True)])

    def second(self, second: int, now: Instance) -> None:
        flows = self.flows
        self.lent = [(sent, grant) for sent, grant in self.lent if sent > second - LEASE]
        promised = np.max([flows, *(grant for _, grant in self.lent)], axis=0)
        room = np.maximum((1 - RESERVE) * now.servers - promised.sum(axis=0), 0.0)
        grant = flows + LENT * room * self.theta[:, None]
        self.lent.append((second, grant))
        load = np.tile(flows.sum(axis=0), (len(self.rates), 1))
        self.post.send(second, (load, np.tile(now.servers, (len(self.rates), 1)), flows, grant))
        self.post.deliver(second)
        for i in np.flatnonzero(self.rng.random(len(self.rates)) < self.wakes):
            self.owns[i] = self._answer(int(i), second, now)

    def _answer(self, i: int, second: int, now: Instance) -> Own:
        assert self.post.stamp is not None
        load, capacity, mine, grant = (value[i] for value in self.post.newest)
        own, rate = self.owns[i], self.rates[i]
        flows = rate * own.shares
        fresh = self.post.stamp[i] > second - LEASE
        room = np.where(fresh, np.maximum(grant - flows, 0.0), 0.0)
        believed = np.clip(load + (flows - mine) / self.theta[i], 0.0, OVERLOADED * capacity)
        alone = safe.bipartite(rate[None], mm1(now.access[i : i + 1]), mm1(capacity))
        part = np.append(np.ones(len(flows)), np.full(len(flows), self.theta[i]))
        found = own_step(alone, 0, own, np.append(flows, believed), part)
        # What finds no room stays where it is, in proportion to what wants to leave.
        change = rate * (found.shares - own.shares)
        risen = np.minimum(np.maximum(change, 0.0), room)
        fallen = np.minimum(change, 0.0)
        total = -float(fallen.sum())
        kept = flows + risen + (fallen * min(1.0, float(risen.sum()) / total) if total > 0 else 0.0)
        return Own(kept / kept.sum(), found.slack, found.cut)
