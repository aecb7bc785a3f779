"""What an allocation costs: resources, their laws, and the objective that every policy is judged by.

A **resource** is a link or an anycast server; they stand in one row, links first, in the network's order. A route uses
resources: one unit of load a bit/s for each copy on each link of the way out, `response_bits / frame_bits` on each link
of the way back (answers return along the reversed path), `work / frame_bits` at its server; where packets go through
functions, as much as each step says (`pricing.chains`). With A_rk the use of r by a
route,

    x_r = sum_k rate_k sum_routes weight A_rk          load, bit/s or work/s
    minimise  sum_r weight_r x_r D_r(x_r)              s times bit/s

where weight_r turns a unit of load into bits: 1 for a link; for a server the mean bits of a request over its mean work,
so that the sum divided by the offered bit/s is a mean delay in seconds. This is eq. (9) of the joint paper with routes
in place of private access paths: sessions share links, and each link's cost appears once.

Jobs of all sessions mix at a resource; a link's law takes the moments of the frames as sent, requests and answers by
their packet rates; a server's those of the work of the sessions that may use it. Where a network has jobs of its own,
which were learnt (`pricing.learnt`), the laws take those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from pricing.chains import steps_of
from pricing.delay import PollaczekKhinchine
from pricing.duplication import shares_behind
from pricing.network import Allocation, Network, Route, Session
from pricing.values import FloatArray, Loads, Prices

NEAR_CAPACITY = 0.995
"""Utilization at which prices of overloaded resources are taken: finite, and steep enough to drive traffic away."""

NEGLIGIBLE = 1e-9
"""Part of all offered rates below which a session does not count as offering."""

IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class Problem:
    """The resources of a network as arrays of shape (R,), R = links + servers."""

    network: Network

    @cached_property
    def capacity(self) -> FloatArray:
        """bit/s of links, then work/s of servers."""
        return np.array([link.capacity for link in self.network.links] + [s.capacity for s in self.network.servers])

    @property
    def link_count(self) -> int:
        """L; the resource of server j is L + j."""
        return len(self.network.links)

    @cached_property
    def rates(self) -> FloatArray:
        """Nominal offered bit/s of each session, shape (K,)."""
        return np.array([session.rate for session in self.network.sessions])

    @cached_property
    def weight(self) -> FloatArray:
        """Bits a unit of load: 1 for links, mean request bits over mean work for servers."""
        ratios = []
        for server in self.network.servers:
            tasks = self._tasks(server.name)
            bits = sum(session.frame_bits * share for session, _, share in tasks)
            ratios.append(bits / sum(work * share for _, work, share in tasks) if tasks else 1.0)
        return np.array([1.0] * self.link_count + ratios)

    @cached_property
    def laws(self) -> PollaczekKhinchine:
        """The delay laws of all resources."""
        links, servers = self.network.links, self.network.servers
        size, scv = self._jobs
        return PollaczekKhinchine(
            capacity=self.capacity,
            size=size,
            scv=scv,
            sojourn=np.array([link.delivers == "sojourn" for link in links] + [True] * len(servers)),
            propagation=np.array([link.propagation for link in links] + [0.0] * len(servers)),
        )

    @cached_property
    def _jobs(self) -> tuple[FloatArray, FloatArray]:
        """Mean and squared coefficient of variation of each resource's jobs: what was learnt, or what sessions say."""
        if self.network.jobs:
            size, scv = np.array(self.network.jobs).T
            return size, scv
        frame, servers = self._frame_moments(), self.network.servers
        jobs = [frame] * self.link_count + [self._work_moments(server.name, server.scv) for server in servers]
        first, second = np.array(jobs).reshape(-1, 2).T
        return first, second / first**2 - 1

    def _tasks(self, server: str) -> list[tuple[Session, float, float]]:
        """What a server may be given: session, mean work of a packet, and packet rate; equal when all idle."""
        tasks = [
            (session, work)
            for session in self.network.sessions
            for work in (
                *((session.work,) if session.kind == "anycast" and server in session.destinations else ()),
                *(function.work for function in session.chain if server in function.servers),
            )
        ]
        idle = not any(session.rate for session, _ in tasks)
        return [(session, work, 1.0 if idle else session.packet_rate) for session, work in tasks]

    def _frame_moments(self) -> tuple[float, float]:
        sessions = self.network.sessions
        idle = not any(session.rate for session in sessions)
        rates = [1.0 if idle else session.packet_rate for session in sessions]
        frames = [(share, *session.size.frame_moments) for session, share in zip(sessions, rates, strict=True)]
        for session, share in zip(sessions, rates, strict=True):
            if count := session.answer_frames:
                size = session.response_bits / count
                frames.append((share * count, size, size * size))
        total = sum(share for share, _, _ in frames)
        if not total:
            return 1.0, 2.0
        return sum(n * m for n, m, _ in frames) / total, sum(n * m2 for n, _, m2 in frames) / total

    def _work_moments(self, server: str, scv: float) -> tuple[float, float]:
        jobs = [(share, work) for _, work, share in self._tasks(server)]
        total = sum(share for share, _ in jobs)
        if not total:
            return 1.0, 1 + scv
        return sum(n * w for n, w in jobs) / total, sum(n * w * w * (1 + scv) for n, w in jobs) / total

    def active(self, rates: FloatArray) -> list[tuple[Session, float]]:
        """Sessions that offer something, with their bit/s; a billionth of all is nothing."""
        least = NEGLIGIBLE * float(rates.sum())
        return [(s, float(rate)) for s, rate in zip(self.network.sessions, rates, strict=True) if rate > least]

    def usage(self, route: Route) -> tuple[IntArray, FloatArray]:
        """Indices of the resources that a route uses, and units of load on each for a bit/s of its session.

        Raises
        ------
        KeyError
            When a link, server or session of the route is not in the network, or answers have no way back.
        """
        return _usage(self.network.plain, route)

    def usage_matrix(self, routes: Sequence[Route]) -> FloatArray:
        """Usage of all routes as columns, shape (R, routes)."""
        matrix = np.zeros((len(self.capacity), len(routes)))
        for column, route in enumerate(routes):
            index, amount = self.usage(route)
            matrix[index, column] = amount
        return matrix

    def usages(self, routes: Sequence[Route]) -> tuple[IntArray, IntArray, FloatArray]:
        """Usage of all routes in one row: route n uses index[start[n]:start[n + 1]] by as many amounts."""
        return _usages(self.network.plain, tuple(routes))

    def loads(self, allocation: Allocation, offered: FloatArray | None = None) -> FloatArray:
        """Load of each resource (R,) when the sessions offer `offered` bit/s (K,), their nominal rates by default."""
        return self.loads_of(dict(allocation), offered)

    def loads_of(self, shares: Mapping[Route, float], offered: FloatArray | None = None) -> FloatArray:
        """Load of each resource (R,) by the share of its session that each route carries; O(links of all routes)."""
        rates, place = self.rates if offered is None else offered, self.network.session_index
        routes = list(shares)
        start, index, amount = self.usages(routes)
        sessions = np.array([place[route.session] for route in routes], dtype=np.intp)
        flow = np.array(list(shares.values()), dtype=float) * rates[sessions]
        load = np.bincount(index, amount * np.repeat(flow, np.diff(start)), minlength=len(self.capacity))
        return np.asarray(load, dtype=float)

    def below(self, load: FloatArray) -> FloatArray:
        """The loads, those near or over capacity brought to `NEAR_CAPACITY` of it."""
        return np.minimum(load, NEAR_CAPACITY * self.capacity)

    def unit_prices(self, load: FloatArray) -> FloatArray:
        """Price of a unit of load at each resource, s·bit: weight times marginal cost; infinite from capacity on."""
        return self.weight * self.laws.marginal(load)

    def prices(self, load: FloatArray) -> Prices:
        """Marginal costs of links and servers, s; finite at and over capacity."""
        marginal = self.laws.marginal(self.below(load))
        return Prices(marginal[: self.link_count], marginal[self.link_count :])

    def total_cost(self, load: FloatArray) -> float:
        """sum_r weight_r x_r D_r(x_r), s·bit/s; infinite from capacity on."""
        return float(self.weight @ self.laws.cost(load))


@lru_cache(maxsize=1 << 15)
def _usage(network: Network, route: Route) -> tuple[IntArray, FloatArray]:
    """`Problem.usage`, kept: many of the routes of one tick are asked for at the next, whatever the laws."""
    session = network.sessions[network.session_index[route.session]]
    if route.statuses:  # several copies of a packet may cross one link
        steps = [steps_of(network, session)[key] for key in route.links]
        used, place = np.unique([step.resource for step in steps], return_inverse=True)
        return used.astype(np.intp), np.bincount(place, [step.use for step in steps]).astype(float)
    index = [network.link_index[key] for key in route.links]
    amount = [1.0] * len(index)
    if session.response_bits > 0:
        index += [network.link_index[dst, src] for src, dst in route.links]
        amount += [session.response_bits / session.frame_bits] * len(route.links)
    if route.server:
        index.append(len(network.links) + network.server_index[route.server])
        amount.append(session.work / session.frame_bits)
    return np.array(index, dtype=np.intp), np.array(amount)


@lru_cache(maxsize=16)
def _usages(network: Network, routes: tuple[Route, ...]) -> tuple[IntArray, IntArray, FloatArray]:
    """`Problem.usages`, kept: a tick asks for the same few rows of routes several times. Nobody writes to them."""
    every = [_usage(network, route) for route in routes]
    start = np.cumsum([0, *(len(index) for index, _ in every)])
    if not every:
        return start, np.zeros(0, dtype=np.intp), np.zeros(0)
    return start, np.concatenate([index for index, _ in every]), np.concatenate([amount for _, amount in every])


@lru_cache(maxsize=32)
def problem_of(network: Network) -> Problem:
    """The problem of a network, kept: every tick asks for the same one."""
    return Problem(network)


def joined(loads: Loads) -> FloatArray:
    """Loads of links, then servers, as one array (R,)."""
    return np.concatenate([loads.links, loads.servers])


def make_allocation(routes: Sequence[Route], weights: Sequence[float] | FloatArray) -> Allocation:
    """An allocation of the routes with weight above 0, sorted, each session's weights brought to a sum of 1."""
    splits: dict[str, list[tuple[Route, float]]] = {}
    for route, weight in zip(routes, weights, strict=True):
        if weight > 0:
            splits.setdefault(route.session, []).append((route, float(weight)))
    ordered: dict[str, tuple[tuple[Route, float], ...]] = {}
    for name in sorted(splits):
        total = sum(weight for _, weight in splits[name])
        pairs = sorted(splits[name], key=lambda pair: (pair[0].links, pair[0].server, pair[0].statuses))
        ordered[name] = tuple((route, weight / total) for route, weight in pairs)
    return Allocation(ordered)


@dataclass(frozen=True)
class RouteDelay:
    """Mean delay of a request along a route, s: its links on the way out, and its server.

    Of a tree it is the mean over the group's members: a link counts for as many as the copy on it owes.
    """

    network: float
    server: float

    @property
    def total(self) -> float:
        """Both parts."""
        return self.network + self.server


@dataclass(frozen=True)
class Evaluation:
    """What the model (independent queues) says of an allocation.

    Parameters
    ----------
    loads : Loads
        That the allocation puts on each resource.
    link_delays, server_delays : arrays of shape (L,) and (J,)
        Seconds; infinite where the load reaches capacity.
    routes, sessions : mapping
        Delay of a request by route, and by session's name (the mean over its routes).
    objective : float
        sum_r weight_r x_r D_r over the offered bit/s, s; answers on their way back count; 0 when nothing is offered.
    mean_delay : float
        Mean delay of a request, over all requests of all sessions, s.
    """

    loads: Loads
    link_delays: FloatArray
    server_delays: FloatArray
    routes: Mapping[Route, RouteDelay]
    sessions: Mapping[str, RouteDelay]
    objective: float
    mean_delay: float

    @property
    def feasible(self) -> bool:
        """Whether every load is below its capacity."""
        return bool(np.isfinite(self.objective))


def _delay_of(network: Network, route: Route, delay: FloatArray) -> RouteDelay:
    """Delay along a route when each resource has `delay` (R,)."""
    steps, cut = steps_of(network, network.sessions[network.session_index[route.session]]), len(network.links)
    passed = [(steps[key].resource, share) for key, share in zip(route.links, shares_behind(route), strict=True)]
    passed += [(cut + network.server_index[route.server], 1.0)] if route.server else []
    way = sum(share * float(delay[resource]) for resource, share in passed if resource < cut)
    return RouteDelay(way, sum(share * float(delay[resource]) for resource, share in passed if resource >= cut))


def evaluate(network: Network, allocation: Allocation, offered: FloatArray | None = None) -> Evaluation:
    """Predict loads and delays of an allocation by the model of independent queues.

    Parameters
    ----------
    offered : array of shape (K,), optional
        bit/s of each session; the nominal rates by default.
    """
    problem = problem_of(network)
    rates = problem.rates if offered is None else np.asarray(offered, dtype=float)
    load = problem.loads(allocation, rates)
    delay = problem.laws.delay(load)
    cut = problem.link_count
    routes, sessions = {}, {}
    for name, split in allocation.splits.items():
        for route, _ in split:
            routes[route] = _delay_of(network, route, delay)
        sessions[name] = RouteDelay(
            sum(weight * routes[route].network for route, weight in split),
            sum(weight * routes[route].server for route, weight in split),
        )
    packets = {s.name: rate / s.frame_bits for s, rate in zip(network.sessions, rates, strict=True) if rate > 0}
    asked = float(sum(packet * sessions[name].total for name, packet in packets.items()))
    total = float(rates.sum())
    return Evaluation(
        loads=Loads(load[:cut], load[cut:], rates),
        link_delays=delay[:cut],
        server_delays=delay[cut:],
        routes=routes,
        sessions=sessions,
        objective=problem.total_cost(load) / total if total else 0.0,
        mean_delay=asked / float(sum(packets.values())) if packets else 0.0,
    )
