"""Routes with classes: each session's class is given, and the network looks for the routes of least delay cost.

Links and servers are machines with classes alike. A route's **price** for a class is the sum over its machines,

    c_o = delta tau_o + sum over visits of r_mk(q)         (2), with rental prices (10)

and what all lose by delay, sum_o delta_o x_o tau_o, has exactly c_o as its derivative by the rate x_o. So routes rest
where each session uses only the cheapest for its class, which is Wardrop's condition with Kim and Juhn's prices. The
cost is not convex: what rests is a local minimum, of which the search keeps the best.

A session that has to be served is a service with a firm value: a narrow parabola, moved until its top is where the rate
is what is asked for (multipliers of M. Hestenes, 1969); `pricing.priority.solve` does the rest. Routes that are not
considered yet but cheaper at the prices found are added until there is none: the **certificate** is the part of all
that is paid that cheapest routes would save, over every route of the network.

A network that runs has no time for a search: `rerouted` takes a few of the same steps from the routes in force, and the
next decision goes on from where they led.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import networkx as nx
import numpy as np

from pricing.errors import WardropError
from pricing.network import Allocation, Network, Route, Session
from pricing.priority.economy import Economy, Service, machines_of, program_of
from pricing.priority.sizes import Size, from_moments
from pricing.priority.solve import ascend, is_top, starting_points
from pricing.priority.state import State
from pricing.priority.values import Quadratic
from pricing.problem import make_allocation
from pricing.routes import nearest_routes
from pricing.shortest import shortest_path
from pricing.values import FloatArray

Considered = dict[str, list[Route]]
"""Routes of each session that asks for something."""

FIRM, EXACT, PASSES = 1e3, 1e-9, 8
"""How many times its cost at no load a session would pay for its first request, how near its rate has to come to what
is asked for, ratio, and how often its value is moved for that."""

NEAREST = 3
"""Shortest routes to each server (or node) that a session always considers, as in `pricing.joint.iteration`."""

EXCESS = 1e-6
"""Part of what is paid by which a route that is not considered has to be cheaper to be added."""

NEGLIGIBLE = 1e-6
"""Part of all requests below which a session does not count as asking for anything."""

DUST = 1e-9
"""Shares below this are none."""

STEPS = 4
"""Newton's steps of one decision on a network that runs (ours)."""


@dataclass(frozen=True)
class ClassCertificate:
    """How far from resting an allocation is, told from the allocation alone.

    Parameters
    ----------
    cost : float
        What all lose by delay, currency/s; infinite where a machine is over capacity, as are the others.
    excess : float
        Part of all that is paid, delay and rent, that the cheapest routes would save at these prices; 0 at a minimum.
    worst : float
        Most that one request pays above its cheapest route, currency.
    """

    cost: float
    excess: float
    worst: float


@dataclass(frozen=True)
class Routed:
    """Where the routes of sessions with classes rest.

    Parameters
    ----------
    allocation : Allocation
    certificate : ClassCertificate
        Of the allocation.
    minimum : bool
        Whether no second derivative tells a way further down.
    costs : tuple of float
        Delay costs of the minima that were found, currency/s, least first; the allocation is the first.
    """

    allocation: Allocation
    certificate: ClassCertificate
    minimum: bool
    costs: tuple[float, ...]


def routed(network: Network, rates: FloatArray, start: Allocation | None = None, starts: int = 6) -> Routed:
    """The routes of least delay cost that are found.

    Parameters
    ----------
    rates : array of shape (K,)
        Requests/s of each session; those without any keep their shortest route.
    start : Allocation, optional
        Where the search begins; the shortest paths by default.
    starts : int
        Further starts, at random.

    Raises
    ------
    WardropError
        When a session is multicast.

    Notes
    -----
    Newton's steps of O((routes considered)^3).
    """
    asking, begin = _asking(network, rates), start or shortest_path(network)
    considered = _considered(network, asking, begin)
    asked, shares = np.array([rate for _, rate in asking]), dict(begin)
    while True:
        economy = _economy(network, asking, considered)
        routes = [route for session, _ in asking for route in considered[session.name]]
        first = np.array([shares.get(route, 0.0) for route in routes]) * asked[economy.owner]
        state, costs = _best(economy, asked, first, starts)
        found = state.x / state.totals[economy.owner]
        shares = {route: share for route, share in zip(routes, found.tolist(), strict=True) if share > DUST}
        fresh = _cheaper(network, asking, considered, state)
        if not fresh:
            break
        for name, route in fresh.items():
            considered[name].append(route)
        starts = 0
    allocation = _completed(shares, begin, considered)
    return Routed(allocation, certify_classes(network, allocation, rates), is_top(state), costs)


def rerouted(network: Network, rates: FloatArray, before: Allocation) -> Allocation:
    """Routes of less delay cost than those before: the live form of `routed`, in `STEPS` steps.

    It gives up other starts, so it stays at the minimum that it is near; the last digits, which the next decision
    brings; and the certificate. Each session considers one route more, the one that is cheapest now.

    Parameters
    ----------
    rates : array of shape (K,)
        Requests/s of each session; those without any keep their routes.
    before : Allocation
        In force.

    Raises
    ------
    WardropError
        When a session is multicast.
    """
    asking = _asking(network, rates)
    if not asking:
        return before
    considered, shares = _considered(network, asking, before), dict(before)
    asked = np.array([rate for _, rate in asking])

    def point() -> tuple[list[Route], State]:
        economy = _economy(network, asking, considered)
        routes = [route for session, _ in asking for route in considered[session.name]]
        x = np.array([shares.get(route, 0.0) for route in routes]) * asked[economy.owner]
        return routes, State(economy, x * min(1.0, 0.99 / float(economy.load(x).max())))

    routes, state = point()
    if fresh := _cheaper(network, asking, considered, state):
        for name, route in fresh.items():
            considered[name].append(route)
        routes, state = point()
    state = State(state.economy, ascend(state.economy, state.x, STEPS))
    parts = (state.x / state.totals[state.economy.owner]).tolist()
    return _completed({r: part for r, part in zip(routes, parts, strict=True) if part > DUST}, before, considered)


def certify_classes(network: Network, allocation: Allocation, rates: FloatArray) -> ClassCertificate:
    """How far from resting an allocation is where classes are served first come, first served within each.

    Parameters
    ----------
    rates : array of shape (K,)
        Requests/s of each session.

    Raises
    ------
    WardropError
        When a session is multicast.
    """
    asking = _asking(network, rates)
    if not asking:
        return ClassCertificate(0.0, 0.0, 0.0)
    splits = {session.name: allocation.splits[session.name] for session, _ in asking}
    economy = _economy(network, asking, {name: [route for route, _ in split] for name, split in splits.items()})
    x = np.array([rate * weight for session, rate in asking for _, weight in splits[session.name]])
    state = State(economy, x)
    if not state.queues.stable:
        return ClassCertificate(np.inf, np.inf, np.inf)
    least = np.array([_cheapest(network, session, state)[0] for session, _ in asking])
    above = np.maximum(state.costs - least[economy.owner], 0.0)
    return ClassCertificate(_cost(state), float(x @ above) / float(x @ state.costs), float(above.max()))


def _considered(network: Network, asking: Sequence[tuple[Session, float]], begin: Allocation) -> Considered:
    """The nearest routes of each session, and those that it has."""
    return {
        session.name: list(
            dict.fromkeys(
                (*nearest_routes(network, session, NEAREST), *(route for route, _ in begin.splits[session.name]))
            )
        )
        for session, _ in asking
    }


def _completed(shares: Mapping[Route, float], begin: Allocation, considered: Considered) -> Allocation:
    """The allocation of these shares; sessions that ask for nothing keep what they have."""
    found = make_allocation(list(shares), list(shares.values()))
    idle = {name: split for name, split in begin.splits.items() if name not in considered}
    return Allocation(dict(sorted({**found.splits, **idle}.items())))


def _asking(network: Network, rates: FloatArray) -> list[tuple[Session, float]]:
    """Sessions that ask for something, with their requests/s; multicast ones are refused."""
    groups = [session.name for session in network.sessions if session.kind == "multicast"]
    if groups:
        raise WardropError(f"sessions {', '.join(groups)}: multicast; accepted are unicast and anycast ones")
    least = NEGLIGIBLE * float(rates.sum())
    return [(session, float(rate)) for session, rate in zip(network.sessions, rates, strict=True) if rate > least]


def _cheaper(
    network: Network, asking: Sequence[tuple[Session, float]], considered: Considered, state: State
) -> dict[str, Route]:
    """Of each session the cheapest route at the state's prices, where it is not considered and cheaper than all are."""
    least = np.full(len(asking), np.inf)
    np.minimum.at(least, state.economy.owner, state.costs)
    found = {}
    for (session, _), own in zip(asking, least.tolist(), strict=True):
        cost, route = _cheapest(network, session, state)
        if cost < (1 - EXCESS) * own and route not in considered[session.name]:
            found[session.name] = route
    return found


def _economy(network: Network, asking: Sequence[tuple[Session, float]], considered: Considered) -> Economy:
    """Sessions as services with firm values, and a program a route."""
    machines, services = machines_of(network), []
    speed = {machine.name: machine.speed for machine in machines}
    for session, rate in asking:
        programs = [program_of(network, route) for route in considered[session.name]]
        time = sum(visit.count * visit.size.mean / speed[visit.machine] for visit in programs[0].visits)
        worth = FIRM * session.delay_cost * time
        value = Quadratic(worth, worth / rate)
        services.append(Service(session.name, value, session.delay_cost, programs, classes=(session.klass,)))
    return Economy(machines, services, network.classes)


def _best(economy: Economy, asked: FloatArray, first: FloatArray, starts: int) -> tuple[State, tuple[float, ...]]:
    """The best of the minima that several starts lead to, and the costs of all; least first."""
    points = [first * min(1.0, 0.99 / float(economy.load(first).max())), *starting_points(economy, starts, 1)]
    found: list[tuple[float, FloatArray]] = []
    for x in points:
        end = ascend(economy, x)
        cost = _cost(State(economy, end * (asked / economy.totals(end))[economy.owner]))
        if all(abs(cost - other) > 1e-6 * other for other, _ in found):
            found.append((cost, end))
    found.sort(key=lambda pair: pair[0])
    state = State(economy, found[0][1])
    for _ in range(PASSES):
        short = asked - state.totals
        if np.abs(short / asked).max() < EXACT:
            break
        economy = replace(economy, services=[_lifted(*pair) for pair in zip(economy.services, short, strict=True)])
        state = State(economy, ascend(economy, state.x))
    return state, (_cost(state), *(cost for cost, _ in found[1:]))


def _cost(state: State) -> float:
    """What all lose by delay, currency/s; infinite where a machine is over capacity."""
    return float((state.economy.delay_cost * state.x) @ state.throughput) if state.queues.stable else np.inf


def _lifted(service: Service, short: float) -> Service:
    """The service when its value is moved by what its rate was short of."""
    first, bend = float(service.value.marginal(0.0)), -float(service.value.bend(0.0))
    return replace(service, value=Quadratic(max(first + bend * short, first / 2), bend))


def _cheapest(network: Network, session: Session, state: State) -> tuple[float, Route]:
    """The cheapest of all routes of a session at the waits and prices of its class, and its price, currency."""
    links = network.links
    out = _visits(state, session, from_moments(*session.size.frame_moments))
    back = _visits(state, session, Size(session.response_bits)) if session.response_bits else None
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(node.name for node in network.nodes)
    for place, link in enumerate(links):
        reverse = network.link_index.get((link.dst, link.src))
        if back is None or reverse is not None:
            way_back = float(back[reverse]) if back is not None and reverse is not None else 0.0
            graph.add_edge(link.src, link.dst, weight=float(out[place]) + way_back)
    far = nx.single_source_dijkstra_path_length(graph, session.source)
    if session.kind == "unicast":
        ends = [(far.get(node, np.inf), node, "") for node in session.destinations]
    else:
        ends = []
        for name in session.destinations:
            place = network.server_index[name]
            server = network.servers[place]
            work = _visits(state, session, Size(session.work, server.scv))[len(links) + place]
            ends.append((far.get(server.node, np.inf) + float(work), server.node, name))
    cost, node, chosen = min(ends)
    path: list[str] = nx.dijkstra_path(graph, session.source, node)
    return cost, Route(session.name, tuple(pairwise(path)), chosen)


def _visits(state: State, session: Session, size: Size) -> FloatArray:
    """What one job of a session would cost at each machine, delay and rent, currency, shape (M,)."""
    machines, k = state.economy.machines, session.klass - 1
    times = [size.mean / machine.speed * machine.sojourn + machine.propagation for machine in machines]
    return np.asarray(state.rental.price(size)[:, k] + session.delay_cost * (state.waits[:, k] + np.array(times)))
