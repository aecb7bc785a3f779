"""The safe iteration without a centre: price agents announce, source agents answer, and nobody sees the whole.

A **price agent** stands at a server or a switch. It measures the load of its own server, or of the links that leave its
switch, and each second announces one price for each: the marginal cost C(x) = D + x D' (eq. (14) of the joint paper) at
the mean load x of the last `WINDOW` seconds. C is strictly increasing and the laws are told once, so a price tells the
load too. Price agents hear nobody.

A **source agent** stands at the source of a session. It hears prices, late, out of order or not at all, and keeps the
newest of each agent. It answers with the split that is least for its own summand of

    F_r(x_r + sum_k Delta_kr)  <=  sum_k theta_k F_r(x_r + Delta_kr / theta_k)                      (J)

as in `pricing.joint.iteration`, where theta_k, its part of all nominal rates, is told once too. x_r is the load to be
expected now: what the price tells, and what sessions have moved since the seconds that it is a mean over. For that each
source tells the others, when its split changes and each second, what it puts on which resource since when; and
everybody remembers. So a decision counts at once and no decision counts twice, however old the price is, while the
mean takes the noise out. What a source did not hear of others, it learns `WINDOW` seconds later from the price alone.

Between two answers a source waits as long as its prices are old on average: who hears others late must not act more
often than it sees what they do. News older than `PATIENCE` is no news: what is on such routes stays, and no more is put
there; nor on routes of which a resource was never heard. A resource whose price is infinite is out of order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pricing.joint.descent import descend
from pricing.joint.messages import Message
from pricing.network import Route, Session
from pricing.problem import Problem
from pricing.routes import cheapest_route, nearest_routes
from pricing.values import FloatArray

WINDOW = 8.0
"""Seconds that an announced price is a mean over (ours): shorter is quicker without tellings, and noisier."""

PATIENCE = 15.0
"""Seconds after which a price is too old to put more on its resource (ours)."""

NEAREST = 3
"""Shortest routes to each server (or node) that a source always considers (ours)."""

LEAST_SHARE = 0.005
"""Shares below this are not asked for (ours); they are kept in mind, so that a growing one gets there."""

FORGOTTEN = 1e-4
"""Shares below this are forgotten (ours)."""

IDLE = 0.05
"""Part of its nominal rate below which a session is left where it is (ours): prices say nothing without traffic."""

GAP = 1e-4
"""Relative gap to which a source minimises its summand (ours)."""

_SAME = 1e-6

Shares = Mapping[Route, float]


class PriceAgent:
    """Announces the prices of its own resources.

    Parameters
    ----------
    problem : Problem
        Of it only the laws of the agent's own resources are used.
    origin : int
    resources : sequence of int
        Indices of its resources.
    """

    def __init__(self, problem: Problem, origin: int, resources: Sequence[int]) -> None:
        self.problem, self.origin, self.resources = problem, origin, np.array(resources, dtype=np.intp)
        self._number = 0
        self._counts: deque[tuple[float, FloatArray]] = deque()

    def announce(self, time: float, counted: FloatArray, works: Sequence[bool] = ()) -> Message | None:
        """The prices at the mean loads of the last `WINDOW` seconds; none before two counts.

        Parameters
        ----------
        time : float
            s.
        counted : array
            Load of each of its resources added up since whenever, bits or work.
        works : sequence of bool, optional
            Whether each is in order; all are by default.
        """
        self._counts.append((time, counted))
        while len(self._counts) > 2 and self._counts[1][0] <= time - WINDOW:
            self._counts.popleft()
        before, first = self._counts[0]
        if not time > before:
            return None
        self._number += 1
        load = np.zeros(len(self.problem.capacity))
        load[self.resources] = np.maximum(counted - first, 0.0) / (time - before)
        prices = self.problem.laws.marginal(self.problem.below(load))[self.resources]
        if works:
            prices = np.where(works, prices, np.inf)
        told = dict(zip(self.resources.tolist(), prices.tolist(), strict=True))
        return Message("prices", self.origin, self._number, time, time - before, told)


@dataclass(frozen=True)
class News:
    """The newest heard of a resource: its load (infinite: out of order), and of which seconds that is a mean."""

    load: float
    time: float
    span: float


class Past:
    """What one session puts on each resource (R,), and since when: a step function of time."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, FloatArray]] = deque()

    @property
    def now(self) -> FloatArray:
        """What it is now."""
        return self._steps[-1][1]

    def add(self, since: float, load: FloatArray) -> None:
        """Remember a step; what is older than the newest says nothing."""
        if self._steps and since <= self._steps[-1][0]:
            return
        self._steps.append((since, load))
        while len(self._steps) > 2 and self._steps[1][0] < since - PATIENCE - 2 * WINDOW:
            self._steps.popleft()

    def mean(self, begin: float, end: float) -> FloatArray:
        """Its mean from `begin` to `end`; before the first step it was that already."""
        total = np.zeros(len(self.now))
        until = np.inf
        for place in range(len(self._steps) - 1, -1, -1):
            since, load = self._steps[place]
            total += max(min(until, end) - (max(since, begin) if place else begin), 0.0) * load
            until = since
            if since <= begin:
                break
        return total / (end - begin)


class SourceAgent:
    """Answers prices with a split of its own session.

    Parameters
    ----------
    problem : Problem
        The map, told once: which links and servers there are, their laws, and the sessions' nominal rates.
    session : Session
    """

    def __init__(self, problem: Problem, session: Session) -> None:
        self.problem, self.session = problem, session
        self.origin = problem.network.session_index[session.name]
        total = float(problem.rates.sum())
        self.part = session.rate / total if session.rate > 0 else 1.0
        self.rate = 0.0
        self.mind: Shares = {}
        self.asked: Shares = {}
        self.news: dict[int, News] = {}
        self._number = 0
        self._pause = -np.inf
        self._numbers: dict[int, int] = {}
        self._pasts: dict[int, Past] = {}

    @cached_property
    def nearest(self) -> tuple[Route, ...]:
        """Routes that are always considered."""
        return nearest_routes(self.problem.network, self.session, NEAREST)

    def hear(self, message: Message) -> None:
        """Keep what is news."""
        values = np.zeros(len(self.problem.capacity))
        values[list(message.values)] = list(message.values.values())
        if message.kind == "loads":
            if message.origin != self.origin:
                self._pasts.setdefault(message.origin, Past()).add(message.time, values)
        elif message.number > self._numbers.get(message.origin, 0) and message.span > 0:
            self._numbers[message.origin] = message.number
            loads = np.where(np.isfinite(values), self.problem.laws.load_at(values), np.inf)
            for resource in message.values:
                self.news[resource] = News(float(loads[resource]), message.time, message.span)

    def carry(self, since: float, rate: float, shares: Shares) -> None:
        """Learn what the ingress carries: bit/s offered, and the split in force since when.

        Where that is not what was asked, the ingress knows better what works, and it is gone on from that.
        """
        self.rate = rate
        if _unlike(shares, self.asked) > _SAME:
            self.mind = self.asked = shares
        self._pasts.setdefault(self.origin, Past()).add(since, self._load(rate, shares))

    def tell(self, time: float) -> Message:
        """What it puts on which resource since `time`, as `carry` has learnt."""
        self._number += 1
        load = self._pasts[self.origin].now
        used = np.flatnonzero(load)
        values = dict(zip(used.tolist(), load[used].tolist(), strict=True))
        return Message("loads", self.origin, self._number, time, 0.0, values)

    def answer(self, now: float) -> Shares:
        """The split to ask for at `now`: the least of its own summand of (J).

        Considered are routes in mind, the nearest, and the cheapest at the prices heard. Where it is too early for
        another answer, the last one stands.
        """
        if now < self._pause:
            return self.asked
        self._pause = now + self.age(now)
        usable, load = self._expected(now)
        routes = self._movable(usable, load)
        moves = sum(self.mind.get(route, 0.0) for route in routes)
        if not self.rate > IDLE * self.session.rate or not moves > 0:
            return self.asked
        usage = self.problem.usage_matrix(routes) * self.rate * moves
        laws, weight, part = self.problem.laws, self.problem.weight, self.part
        start = np.array([self.mind.get(route, 0.0) / moves for route in routes])
        before = usage @ start

        def costs(own: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
            at = load + (own - before) / part
            return part * weight * laws.cost(at), weight * laws.marginal(at), weight / part * laws.marginal_slope(at)

        found = descend(costs, usage, np.zeros(len(routes), dtype=np.intp), start, GAP).shares * moves
        rest = {route: share for route, share in self.mind.items() if route not in routes}
        self.mind = _above(FORGOTTEN, rest | dict(zip(routes, found.tolist(), strict=True)))
        self.asked = _above(LEAST_SHARE, self.mind)
        return self.asked

    def age(self, now: float) -> float:
        """How old the prices that it knows are at `now`, a mean, s; 0 where it knows none."""
        return float(np.mean([now - news.time for news in self.news.values()] or [0.0]))

    def _expected(self, now: float) -> tuple[NDArray[np.bool_], FloatArray]:
        """Which resources have told lately that they work, and the load of each, were the split in mind in force."""
        usable = np.zeros(len(self.problem.capacity), dtype=bool)
        load = np.zeros(len(usable))
        means: dict[tuple[float, float], list[int]] = {}
        for resource, news in self.news.items():
            if now - news.time <= PATIENCE and np.isfinite(news.load):
                usable[resource], load[resource] = True, news.load
                means.setdefault((news.time - news.span, news.time), []).append(resource)
        for (begin, end), resources in means.items():
            for past in self._pasts.values():
                load[resources] += (past.now - past.mean(begin, end))[resources]
        load += self._load(self.rate, self.mind) - self._pasts[self.origin].now
        return usable, self.problem.below(np.maximum(load, 0.0))

    def _movable(self, usable: NDArray[np.bool_], load: FloatArray) -> list[Route]:
        """The routes considered all of whose resources are usable."""
        known = dict.fromkeys([*self.nearest, *self.mind])
        if usable.all():
            known[cheapest_route(self.problem, self.session, self.problem.unit_prices(load))[0]] = None
        return [route for route in known if usable[self.problem.usage(route)[0]].all()]

    def _load(self, rate: float, shares: Shares) -> FloatArray:
        load = np.zeros(len(self.problem.capacity))
        for route, share in shares.items():
            index, amount = self.problem.usage(route)
            load[index] += rate * share * amount
        return load


def _unlike(one: Shares, other: Shares) -> float:
    return max((abs(one.get(route, 0.0) - other.get(route, 0.0)) for route in one.keys() | other.keys()), default=0.0)


def _above(least: float, shares: Shares) -> Shares:
    """The shares that are large enough, brought to a sum of 1."""
    large = {route: share for route, share in shares.items() if share >= least}
    total = sum(large.values())
    return {route: share / total for route, share in large.items()}
