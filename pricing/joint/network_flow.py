"""Least separable convex cost over all routes of many sessions: any network, all pairs, in milliseconds.

    minimise  sum_r F_r(x_r)    s.t.  x_r = sum_k sum_routes flow A_rk,   sum_routes flow = rate_k,   flow >= 0

F is given as a function of all loads at once (`Costs`): load times delay for the least total delay, the integral of
the delay for the user equilibrium. It grows without bound at capacity or nowhere.

Projected Newton over the routes in use. A round prices every resource by F', finds the cheapest way of every session
(one Dijkstra an origin), adds those that are new, and minimises the quadratic model F' dx + F'' dx^2/2 over the flows:
passes over the sessions, in each of which a session moves flow from dearer routes to its cheapest by the Newton step of
the pair. The step is then cut back to where F itself is least. Only the model is compiled, so F may be anything.

Beyond a part of capacity, the *knee*, F goes on as the parabola that it is there, and any loads have a finite cost: no
feasible start is needed. The knee begins low, where steps are long, and rises until all loads lie below it; the cost is
then the true one. Loads that stay beyond capacity are a cut, and their prices prove it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from pricing.errors import Infeasible, NotConverged, TopologyError
from pricing.joint import routing_kernel as kernel
from pricing.joint.descent import Costs
from pricing.joint.routing_kernel import BoolArray, IntArray
from pricing.network import Allocation, Network, Route
from pricing.problem import make_allocation, problem_of
from pricing.values import Certificate, FloatArray

GAP = 1e-8
"""Relative gap at which flows count as the optimum."""

MOST_ROUNDS = 400

_KNEES = (0.7, 0.95, 0.999, 1 - 1e-5, 1 - 1e-7, 1 - 1e-9, 1 - 1e-12)
"""Parts of capacity beyond which the cost is continued."""

_NEAR = 0.1
"""Wardrop residual from which on the first knee has done its work."""

_BATCHES = 16
"""Parts in which the sessions are first loaded, each at the prices that those before it leave."""

_MODEL = 0.05
"""Part of the model's excess at which the passes of a round end."""

_EFFORT, _LEAST_SWEEPS, _MOST_SWEEPS = 2_000_000, 40, 20_000
"""Steps of routes that the passes of a round may visit, and bounds on their number: small networks get many passes,
because a few sessions that share one loaded server settle slowly."""

_WORTH = 0.5
"""Part of what a session can save on average that a new route must save to be added; below 1, or none might be."""

_LEVEL = 0.1
"""Part of the slope along a step that may be left at the point where it is cut back to."""


@dataclass(frozen=True)
class RouteSpace:
    """All routes that the sessions may take, as a graph whose steps load resources.

    Parameters
    ----------
    tails, heads : integer arrays of shape (E,)
        Nodes of each step.
    resource, back : integer arrays of shape (E,)
        Resource that a step loads, and the one that answers load on their way back, or -1.
    serves : boolean array of shape (E,)
        Steps into a server, which load it by the session's work.
    through : boolean array of shape (N,)
        Nodes that may be passed through; others only begin or end a route.
    origins, sinks : integer arrays of shape (K,)
        Of the sessions; those of one origin should stand together.
    answers, works : arrays of shape (K,)
        Answered bits a bit, and work a bit.
    capacity : array of shape (R,)
        Load that a resource never reaches; infinite where there is no such.
    """

    tails: IntArray
    heads: IntArray
    resource: IntArray
    back: IntArray
    serves: BoolArray
    through: BoolArray
    origins: IntArray
    sinks: IntArray
    answers: FloatArray
    works: FloatArray
    capacity: FloatArray

    @cached_property
    def steps(self) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray, BoolArray]:
        """Steps sorted by tail: where those of each node begin, tails, heads, resources, those back, and `serves`."""
        order = np.argsort(self.tails, kind="stable")
        tails = self.tails[order]
        out = np.searchsorted(tails, np.arange(self.through.size + 1))
        return out, tails, self.heads[order], self.resource[order], self.back[order], self.serves[order]

    def trees(self, part: slice = slice(None)) -> int:
        """Trees of shortest ways that the sessions in `part` share: one for each run of like sessions."""
        keys = np.column_stack([self.origins[part], self.answers[part], self.works[part]])
        return int((keys[1:] != keys[:-1]).any(axis=1).sum()) + bool(len(keys))

    def cheapest(
        self, prices: FloatArray, below: FloatArray, part: slice = slice(None), orders: IntArray | None = None
    ) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
        """Cost of the cheapest way of the sessions in `part`, and the routes of those for which it is `below`.

        `orders` (trees, N), full of -1 at first, makes later calls at similar prices fast.
        """
        if orders is None:
            orders = np.full((self.trees(part), self.through.size), -1)
        return kernel.shortest_routes(
            *self.steps, self.through,
            self.origins[part], self.sinks[part], self.answers[part], self.works[part], orders, prices, below,
        )  # fmt: skip


def space_of_pairs(
    tails: IntArray,
    heads: IntArray,
    origins: IntArray,
    sinks: IntArray,
    capacity: FloatArray,
    through: BoolArray | None = None,
) -> RouteSpace:
    """Unicast sessions on a plain graph: link e leads from tails[e] to heads[e].

    Raises
    ------
    TopologyError
        When arrays do not fit each other, or a capacity is not above 0.
    """
    if not (tails.shape == heads.shape == capacity.shape and origins.shape == sinks.shape and tails.ndim == 1):
        found = ", ".join(str(array.shape) for array in (tails, heads, capacity, origins, sinks))
        raise TopologyError(f"found shapes {found}; accepted: (E,) of tails, heads, capacities, (K,) of origins, sinks")
    if not (capacity > 0).all():
        worst = int(np.flatnonzero(~(capacity > 0))[0])
        raise TopologyError(f"capacity of link {worst}: {capacity[worst]}, a number above 0 is accepted")
    count = 1 + max(int(array.max(initial=0)) for array in (tails, heads, origins, sinks))
    return RouteSpace(
        tails=tails.astype(np.int64),
        heads=heads.astype(np.int64),
        resource=np.arange(tails.size),
        back=np.full(tails.size, -1),
        serves=np.zeros(tails.size, dtype=bool),
        through=np.ones(count, dtype=bool) if through is None else through,
        origins=origins.astype(np.int64),
        sinks=sinks.astype(np.int64),
        answers=np.zeros(origins.size),
        works=np.ones(origins.size),
        capacity=capacity,
    )


def space_of_network(network: Network) -> RouteSpace:
    """All routes of a network's sessions: every service is a node of its own behind the servers that offer it."""
    problem = problem_of(network)
    number = {node.name: i for i, node in enumerate(network.nodes)}
    index = network.link_index
    steps = [(number[a], number[b], i, index.get((b, a), -1), False) for (a, b), i in index.items()]
    services = sorted({session.destinations for session in network.sessions if session.kind == "anycast"})
    sink = {service: len(number) + i for i, service in enumerate(services)}
    place = network.server_index
    steps += [
        (number[network.servers[place[name]].node], sink[service], problem.link_count + place[name], -1, True)
        for service in services
        for name in service
    ]
    tails, heads, resource, back, serves = (np.array(column) for column in zip(*steps, strict=True))
    sessions = network.sessions
    ends = [sink[s.destinations] if s.kind == "anycast" else number[s.destinations[0]] for s in sessions]
    return RouteSpace(
        tails, heads, resource, back, serves,
        through=np.ones(len(number) + len(services), dtype=bool),
        origins=np.array([number[session.source] for session in sessions]),
        sinks=np.array(ends),
        answers=np.array([session.response_bits / session.frame_bits for session in sessions]),
        works=np.array([session.work / session.frame_bits for session in sessions]),
        capacity=problem.capacity,
    )  # fmt: skip


@dataclass(frozen=True)
class Routing:
    """Flows on routes, which stand in one row, session by session.

    Parameters
    ----------
    space : RouteSpace
    rates : array of shape (K,)
        That the flows carry.
    first : integer array of shape (K + 1,)
        Session k has the routes first[k] to first[k + 1].
    start, uses, amounts : arrays
        Route n loads uses[start[n]:start[n + 1]] by the amounts beside them for a unit of flow, its end first.
    flows : array
        Of each route.
    loads : array of shape (R,)
    certificate : Certificate
        From the flows alone; `primal` and `dual` are the cost over the sum of the rates.
    rounds : int
        Times that routes were looked for.
    """

    space: RouteSpace
    rates: FloatArray
    first: IntArray
    start: IntArray
    uses: IntArray
    amounts: FloatArray
    flows: FloatArray
    loads: FloatArray
    certificate: Certificate
    rounds: int

    def allocation(self, network: Network) -> Allocation:
        """The flows as weighted routes of the network whose space this is; sessions without rate get a route too."""
        links, cut = network.links, len(network.links)
        routes, weights = [], []
        for k, session in enumerate(network.sessions):
            for n in range(self.first[k], self.first[k + 1]):
                used = self.uses[self.start[n] : self.start[n + 1]].tolist()
                server = network.servers[used[0] - cut].name if used and used[0] >= cut else ""
                # An answered link is followed by the one that its answers take.
                way = used[bool(server) :: 2 if session.response_bits > 0 else 1]
                routes.append(Route(session.name, tuple(links[i].key for i in reversed(way)), server))
                weights.append(float(self.flows[n]) or float(not self.rates[k]))
        return make_allocation(routes, weights)


def least_cost(
    space: RouteSpace, costs: Costs, rates: FloatArray, gap: float = GAP, warm: Routing | None = None
) -> Routing:
    """The flows of least cost over all routes.

    Parameters
    ----------
    costs : Costs
        Loads (R,) to costs, their slopes and their curvatures (none negative).
    rates : array of shape (K,)
    gap : float
        To reach: the excess of the routes in use over the cheapest, relative to the dual bound and to all that is paid.
    warm : Routing, optional
        An earlier answer for the same space, at other rates or costs.

    Raises
    ------
    TopologyError
        When a rate is negative or not finite, or a session has no way.
    Infeasible
        When the rates reach the capacity of a cut; the message names it.
    NotConverged
        When the gap is not reached.
    """
    wrong = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
    if wrong.size:
        raise TopologyError(f"rate of session {wrong[0]}: {rates[wrong[0]]}, a finite number from 0 is accepted")
    if rates.shape != space.origins.shape:
        raise TopologyError(f"found {rates.size} rates; accepted: one for each of the {space.origins.size} sessions")
    search = _Search(space, costs, rates)
    search.begin(warm)
    rounds = 0
    for rounds in range(1, MOST_ROUNDS + 1):
        search.look()
        reached = search.reached(gap)
        if reached and not search.beyond():
            return search.routing(rounds)
        if reached or (search.knee == 0 and search.over <= _NEAR * search.paid):
            search.raise_knee()
        elif not search.improve():
            # The routes at hand are level: what is left to save lies on routes that did not seem worth their place.
            if search.thorough:
                break
            search.thorough = True
    if not search.beyond():
        found = search.routing(rounds)
        if found.certificate.gap <= gap:
            return found
    raise NotConverged(
        f"{rates.size} sessions: the gap is {search.over / search.paid:.2g} after {rounds} rounds, {gap:.2g} was asked "
        "for; ask for less or leave more room below capacity",
        rounds,
        search.over / search.paid,
    )


class _Search:
    """Flows on their way to the least cost."""

    def __init__(self, space: RouteSpace, costs: Costs, rates: FloatArray) -> None:
        self.space, self.costs, self.rates = space, costs, rates
        self.knee = 0
        self.over = 0.0
        self.thorough = False
        self.scratch = np.zeros(space.capacity.size)
        self.orders = np.full((space.trees(), space.through.size), -1)

    def cost(self, load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Costs, slopes and curvatures, continued as a parabola beyond the knee."""
        inside = np.minimum(load, _KNEES[self.knee] * self.space.capacity)
        value, slope, curvature = self.costs(inside)
        beyond = load - inside
        return value + (slope + 0.5 * curvature * beyond) * beyond, slope + curvature * beyond, curvature

    def begin(self, warm: Routing | None) -> None:
        """Flows to start from: the warm ones at the new rates, or part after part on its cheapest routes."""
        if warm is not None:
            before = np.diff(warm.first)
            scale = np.divide(self.rates, warm.rates, out=np.zeros_like(self.rates), where=warm.rates > 0)
            if before.size == self.rates.size and not (self.rates[(scale == 0) | (before == 0)] > 0).any():
                self.first, self.start, self.uses, self.amounts = warm.first, warm.start, warm.uses, warm.amounts
                self.flows = warm.flows * np.repeat(scale, before)
                self.knee = 1
                return
        count, load = self.rates.size, np.zeros(self.scratch.size)
        parts = []
        for low, high in pairwise(np.linspace(0, count, _BATCHES + 1).astype(int).tolist()):
            # Priced as if all that is still to come went the ways of what is there already.
            slope = self.cost(load * (count / max(low, 1)))[1]
            part = self.space.cheapest(_positive(slope), np.full(high - low, np.inf), slice(low, high))
            self.refuse_unreached(part[0], low)
            load += kernel.loads_of(*part[1:], self.rates[low:high], load.size)
            parts.append(part)
        self.first = np.arange(count + 1)
        self.start = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part[1]) for part in parts]))])
        self.uses, self.amounts = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
        self.flows = self.rates.copy()

    def refuse_unreached(self, cheapest: FloatArray, low: int) -> None:
        """No way at all is an error of the network."""
        lost = np.flatnonzero(~np.isfinite(cheapest))
        if lost.size:
            k = low + int(lost[0])
            origin, sink = self.space.origins[k], self.space.sinks[k]
            raise TopologyError(f"session {k}: no way from node {origin} to node {sink}; add links or take it out")

    def look(self) -> None:
        """Loads and prices of the flows, the cheapest ways there are, and by how much the flows' routes exceed them."""
        self.load = kernel.loads_of(self.start, self.uses, self.amounts, self.flows, self.scratch.size)
        self.value, self.slope, self.curvature = self.cost(self.load)
        prices = _positive(self.slope)
        route_costs = kernel.route_costs(self.start, self.uses, self.amounts, prices)
        least = kernel.cheapest_of(self.first, route_costs)
        # A new route is worth its place when what its session could save is no small part of all that can be saved.
        worth = 0.0 if self.thorough else _WORTH * self.over / (self.rates.size * np.maximum(self.rates, 1e-300))
        found = self.space.cheapest(prices, least * (1 - 1e-14) - np.minimum(worth, 0.5 * least), orders=self.orders)
        cheapest, self.found = found[0], found[1:]
        above = route_costs - np.repeat(cheapest, np.diff(self.first))
        self.over, self.paid = max(float(above @ self.flows), 0.0), float(prices @ self.load)
        self.worst = float(above.max(where=self.flows > 0, initial=0.0))

    def reached(self, gap: float) -> bool:
        """Whether the excess is within the gap of the dual bound and of all that is paid."""
        return self.over <= gap * min(float(self.value.sum()) - self.over, self.paid)

    def improve(self) -> bool:
        """Move the flows to where the model is less, as far as the cost itself falls; whether it does."""
        self.first, self.start, self.uses, self.amounts, self.flows = kernel.merge(
            self.first, self.start, self.uses, self.amounts, self.flows, *self.found
        )
        moved, slopes, first = self.flows.copy(), _positive(self.slope).copy(), 0.0
        row = kernel.pairs(self.first, self.start, self.uses, self.amounts, moved, self.curvature, self.scratch)
        for number in range(max(_LEAST_SWEEPS, min(_MOST_SWEEPS, _EFFORT // max(row[3].size, 1)))):
            over = kernel.sweep(*row, moved, slopes, self.curvature)
            first = first if number else over
            if over <= _MODEL * first:
                break
        change = kernel.loads_of(self.start, self.uses, self.amounts, moved, self.load.size) - self.load
        reach = self.level(change)
        self.flows = moved if reach == 1 else self.flows + reach * (moved - self.flows)
        return first > 0

    def level(self, change: FloatArray) -> float:
        """How far to go along a change of the loads: all the way, or to where the cost is about level."""
        falling = float(self.slope @ change)
        low, high, at_low, at_high = 0.0, 1.0, falling, float(self.cost(self.load + change)[1] @ change)
        if at_high <= -_LEVEL * falling or falling >= 0:
            return 1.0
        for _ in range(20):
            reach = low + (high - low) * min(0.9, max(0.1, at_low / (at_low - at_high)))
            slope = float(self.cost(self.load + reach * change)[1] @ change)
            if abs(slope) <= -_LEVEL * falling:
                break
            if slope > 0:
                high, at_high = reach, slope
            else:
                low, at_low = reach, slope
        return reach

    def beyond(self) -> bool:
        """Whether a load lies where the cost is not the true one."""
        return bool((self.load > _KNEES[self.knee] * self.space.capacity).any())

    def raise_knee(self) -> None:
        """Go on with a cost that is true for longer; the last knee is the end."""
        self.refuse_cut()
        if self.knee + 1 == len(_KNEES):
            raise NotConverged("a load lies within rounding of its capacity; leave more room", MOST_ROUNDS, math.inf)
        self.knee += 1

    def refuse_cut(self) -> None:
        """The prices of what is over capacity prove that all routes together cannot do with it, if they do."""
        over = self.load >= self.space.capacity
        if not over.any():
            return
        prices = np.where(over, self.slope / self.slope[over].max(), 0.0)
        cheapest = self.space.cheapest(prices, np.full(self.rates.size, -1.0))[0]
        room = float(prices[over] @ self.space.capacity[over])
        if float(self.rates @ cheapest) >= room:
            names = [int(r) for r in np.flatnonzero(over)]
            excess = float((self.load - self.space.capacity)[over].sum())
            raise Infeasible(
                f"resources {', '.join(map(str, names[:8]))}: the sessions cannot do with less than "
                f"{float(self.load[over].sum()):g} of them together, they carry less than "
                f"{float(self.space.capacity[over].sum()):g}; lower the rates or widen them",
                tuple(f"resource {r}" for r in names),
                excess,
            )

    def routing(self, rounds: int) -> Routing:
        """The flows as they are, with their certificate."""
        total, primal = float(self.rates.sum()) or 1.0, float(self.value.sum())
        dual = primal - self.over
        gap = self.over / dual if dual > 0 else math.inf if self.over > 0 else 0.0
        wasted = self.over / self.paid if self.paid > 0 else 0.0
        return Routing(
            self.space, self.rates, self.first, self.start, self.uses, self.amounts, self.flows, self.load,
            Certificate(primal / total, dual / total, gap, self.worst, wasted), rounds,
        )  # fmt: skip


def _positive(slope: FloatArray) -> FloatArray:
    """Prices, none 0, so that a way without cost is not longer than it need be."""
    return np.maximum(slope, 1e-15 * float(slope.max(initial=0.0)) or 1e-300)
