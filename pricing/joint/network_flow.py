"""Least separable convex cost over all routes of many sessions: any network, all pairs, in milliseconds.

    minimise  sum_r F_r(x_r)    s.t.  x_r = sum_k sum_routes flow A_rk,   sum_routes flow = rate_k,   flow >= 0

F is given as a function of all loads at once (`Costs`): load times delay for the least total delay, the integral of
the delay for the user equilibrium. It grows without bound at capacity or nowhere.

Projected Newton over the flows of all sessions that share an origin, step by step. A round prices every resource by F',
finds the cheapest ways from every origin, and minimises the quadratic model F' dx + F'' dx^2/2 over the flows: passes
over pairs of ways between the same two nodes, a used one beside the cheapest, in each of which the groups on the pair
move flow to its cheaper way by the Newton step. The change is then cut back to where F itself is least. Only the model
is compiled, so F may be anything. At the end the flows are dealt to the sessions as routes.

Beyond a part of capacity, the *knee*, F goes on as the parabola that it is there, and any loads have a finite cost: no
feasible start is needed. The knee begins low, where steps are long, and rises until all loads lie below it; the cost is
then the true one. Loads that stay beyond capacity are a cut, and their prices prove it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from pricing.errors import Infeasible, NotConverged, TopologyError
from pricing.joint import routing_kernel, tree_kernel
from pricing.joint.descent import Costs
from pricing.joint.tree_kernel import BoolArray, Groups, IntArray, Steps
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

_SHARP, _SHARPER, _DULLER = 0.003, 0.3, 3.0
"""Part of what the model fell at which the passes of a round end, and what this is multiplied by after a round that
left more than `_SLOW` of the excess, and after one that left less."""

_SLOW = 0.3

_EFFORT, _LEAST_SWEEPS, _MOST_SWEEPS = 2_000_000, 40, 20_000
"""Uses of resources that the passes of a round may visit, and bounds on their number: small networks get many passes,
because a few sessions that share one loaded server settle slowly."""

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
    def order(self) -> IntArray:
        """Steps in the order of their heads, in which routes and flows count them."""
        return np.argsort(self.heads, kind="stable")

    @cached_property
    def steps(self) -> Steps:
        """The graph as the kernels read it."""
        tails, heads = self.tails[self.order], self.heads[self.order]
        nodes = np.arange(self.through.size + 1)
        leave = np.argsort(tails, kind="stable")
        return Steps(
            np.searchsorted(heads, nodes), np.searchsorted(tails[leave], nodes), leave, tails, heads,
            self.resource[self.order], self.back[self.order], self.serves[self.order], self.through,
        )  # fmt: skip

    @cached_property
    def groups(self) -> Groups:
        """Runs of sessions that share origin, answers and work."""
        keys = np.column_stack([self.origins, self.answers, self.works])
        begin = np.flatnonzero(np.concatenate([[len(keys) > 0], (keys[1:] != keys[:-1]).any(axis=1)]))
        return Groups(
            self.origins[begin], self.answers[begin], self.works[begin], np.append(begin, len(keys)), self.sinks
        )

    @cached_property
    def group_of(self) -> IntArray:
        """Group of each session."""
        return np.repeat(np.arange(self.groups.origins.size), np.diff(self.groups.begin))

    def trees(self, prices: FloatArray) -> tuple[FloatArray, IntArray]:
        """Distance of each node from the origin of each group, and the step that leads there last, or -1."""
        count, nodes = self.groups.origins.size, self.through.size
        far, by = np.empty((count, nodes)), np.empty((count, nodes), np.int64)
        tree_kernel.trees(self.steps, self.groups, 0, count, prices, np.full((count, nodes), -1), far, by)
        return far, by

    def cheapest(self, prices: FloatArray, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cost of the cheapest way of each session, infinite where there is none, and the loads if all go there."""
        count = self.groups.origins.size
        far, by = self.trees(prices)
        flow = np.zeros((count, self.tails.size))
        costs = far[self.group_of, self.sinks]
        if np.isfinite(costs).all():
            tree_kernel.load_trees(self.steps, self.groups, 0, count, rates, by, flow)
        return costs, tree_kernel.loads_of(self.steps, self.groups, flow, self.capacity.size)


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
    return _space_of_network(network.plain)


@lru_cache(maxsize=32)
def _space_of_network(network: Network) -> RouteSpace:
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
    start, ways : integer arrays
        Route n takes the steps ways[start[n]:start[n + 1]], its end first, as `RouteSpace.order` counts them.
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
    ways: IntArray
    flows: FloatArray
    loads: FloatArray
    certificate: Certificate
    rounds: int

    def allocation(self, network: Network) -> Allocation:
        """The flows as weighted routes of the network whose space this is; sessions without rate get a route too."""
        steps, links = self.space.steps, network.links
        routes, weights = [], []
        for k, session in enumerate(network.sessions):
            for n in range(self.first[k], self.first[k + 1]):
                way = self.ways[self.start[n] : self.start[n + 1]][::-1]
                used, serves = steps.resource[way].tolist(), steps.serves[way].any()
                server = network.servers[used.pop() - len(links)].name if serves else ""
                routes.append(Route(session.name, tuple(links[i].key for i in used), server))
                weights.append(float(self.flows[n]) or float(not self.rates[k]))
        return make_allocation(routes, weights)

    def shares(self) -> FloatArray:
        """Part of its session's rate that each route carries; all goes the first route where the rate is 0."""
        rates = np.repeat(self.rates, np.diff(self.first))
        shares = np.zeros(self.flows.size)
        shares[self.first[:-1]] = 1.0
        return np.divide(self.flows, rates, out=shares, where=rates > 0)


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
            settled = search.settle(rounds)
            if search.reached(gap):
                return settled
        elif reached or (search.knee == 0 and search.over <= _NEAR * search.paid):
            search.raise_knee()
            continue
        if not search.improve():
            break
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
        self.knee, self.sharp, self.over = 0, _SHARP, math.inf
        self.steps, self.groups, self.count = space.steps, space.groups, space.groups.origins.size
        self.flow = np.zeros((self.count, space.tails.size))
        self.far = np.empty((self.count, space.through.size))
        self.orders, self.by = np.full(self.far.shape, -1), np.empty(self.far.shape, np.int64)
        self.scratch = np.zeros(space.capacity.size)

    def cost(self, load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Costs, slopes and curvatures, continued as a parabola beyond the knee."""
        inside = np.minimum(load, _KNEES[self.knee] * self.space.capacity)
        value, slope, curvature = self.costs(inside)
        beyond = load - inside
        return value + (slope + 0.5 * curvature * beyond) * beyond, slope + curvature * beyond, curvature

    def begin(self, warm: Routing | None) -> None:
        """Flows to start from: the warm ones at the new rates, or part after part on its cheapest ways."""
        if warm is not None and warm.first.size == self.rates.size + 1:
            flows = warm.shares() * np.repeat(self.rates, np.diff(warm.first))
            tree_kernel.load_routes(self.groups, warm.first, warm.start, warm.ways, flows, self.flow)
            self.knee = 1
            return
        total, before = float(self.rates.sum()), np.concatenate([[0.0], np.cumsum(self.rates)])
        for low, high in pairwise(np.linspace(0, self.count, min(_BATCHES, self.count) + 1).astype(int).tolist()):
            # Priced as if all that is still to come went the ways of what is there already.
            there = float(before[self.groups.begin[low]])
            prices = _positive(self.cost(self.loads() * (total / there if there > 0 else 1.0))[1])
            tree_kernel.trees(self.steps, self.groups, low, high, prices, self.orders, self.far, self.by)
            self.refuse_unreached(slice(self.groups.begin[low], self.groups.begin[high]))
            tree_kernel.load_trees(self.steps, self.groups, low, high, self.rates, self.by, self.flow)

    def refuse_unreached(self, part: slice) -> None:
        """No way at all is an error of the network."""
        lost = np.flatnonzero(~np.isfinite(self.far[self.space.group_of[part], self.space.sinks[part]]))
        if lost.size:
            k = part.start + int(lost[0])
            origin, sink = self.space.origins[k], self.space.sinks[k]
            raise TopologyError(f"session {k}: no way from node {origin} to node {sink}; add links or take it out")

    def loads(self) -> FloatArray:
        """Loads of the flows."""
        return tree_kernel.loads_of(self.steps, self.groups, self.flow, self.scratch.size)

    def look(self) -> None:
        """Loads and prices of the flows, the cheapest ways there are, and by how much the flows exceed them."""
        self.load = self.loads()
        self.value, self.slope, self.curvature = self.cost(self.load)
        prices = _positive(self.slope)
        tree_kernel.trees(self.steps, self.groups, 0, self.count, prices, self.orders, self.far, self.by)
        before = self.over
        self.over, self.worst = tree_kernel.excess(self.steps, self.groups, self.flow, prices, self.far)
        self.paid = float(prices @ self.load)
        self.sharp = min(_SHARP, self.sharp * (_SHARPER if self.over > _SLOW * before else _DULLER))

    def reached(self, gap: float) -> bool:
        """Whether the excess is within the gap of the dual bound and of all that is paid."""
        return self.over <= gap * min(float(self.value.sum()) - self.over, self.paid)

    def improve(self) -> bool:
        """Move the flows to where the model is less, as far as the cost itself falls; whether it does."""
        moved, slopes, fell = self.flow.copy(), _positive(self.slope).copy(), 0.0
        row = routing_kernel.pairs(self.steps, self.groups, moved, self.by, self.curvature, self.scratch)
        change = np.zeros(self.load.size)
        most = max(_LEAST_SWEEPS, min(_MOST_SWEEPS, _EFFORT // max(row.uses.size, 1)))
        fell = routing_kernel.passes(row, moved, slopes, change, self.curvature, most, self.sharp)
        reach = self.level(change)
        self.flow = moved if reach == 1 else self.flow + reach * (moved - self.flow)
        return fell > 0

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
        cheapest = self.space.cheapest(prices, self.rates)[0]
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

    def settle(self, rounds: int) -> Routing:
        """The flows as routes, which replace them, with the certificate of these."""
        routes = routing_kernel.routes_of(self.steps, self.groups, self.flow, self.by, self.rates)
        self.flow[:] = 0.0
        tree_kernel.load_routes(self.groups, *routes, self.flow)
        self.look()
        total, primal = float(self.rates.sum()) or 1.0, float(self.value.sum())
        dual = primal - self.over
        gap = self.over / dual if dual > 0 else math.inf if self.over > 0 else 0.0
        wasted = self.over / self.paid if self.paid > 0 else 0.0
        certificate = Certificate(primal / total, dual / total, gap, self.worst, wasted)
        return Routing(self.space, self.rates, *routes, self.load, certificate, rounds)


def _positive(slope: FloatArray) -> FloatArray:
    """Prices, none 0, so that a way without cost is not longer than it need be."""
    return np.maximum(slope, 1e-15 * float(slope.max(initial=0.0)) or 1e-300)
