"""The multicast paper's policies, live: virtual slots of their controllers, averaged into weighted trees.

No switch shows a queue for each destination set, and none could be asked in a packet's time. So the queues are virtual,
here in the controller: at each tick they are fed with the rates that sessions were measured to offer, run `SLOTS` slots
on the network as it is, and what they moved, averaged, becomes weighted duplication trees (`pricing.multicast.extract`)
for the packets of the next epoch, with shares that overload no link (`pricing.multicast.relief`). The queues go on from
tick to tick; they begin anew when the network is another.
Unicast and anycast sessions are carried beside groups and without them: with one destination a tree is a path, and a
server's queue is one more on the way to it (`pricing.multicast.virtual`).

UCNC chooses whole trees, so there is nothing to extract: a tree's weight is how often it was chosen.

Source: Cai, Llorca, Tulino, Molisch (arXiv 2204.09030), Sections IV to VII; epochs are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pricing.multicast.backpressure import Backpressure, Queues, dcnc, egdcnc, gdcnc, gdcnc_r
from pricing.multicast.extract import LEAST, extract
from pricing.multicast.instance import Instance
from pricing.multicast.relief import relieved
from pricing.multicast.simulate import Setting, orders
from pricing.multicast.status import Distance
from pricing.multicast.universal import HOP
from pricing.multicast.virtual import HEADROOM, Moves, capacities, crossings, instance_of, unit
from pricing.network import Network, Route
from pricing.problem import joined, make_allocation, problem_of
from pricing.routes import cheapest_route
from pricing.values import Decision, FloatArray, Loads

SLOTS, FIRST_SLOTS = 1000, 10_000
"""Virtual slots a tick, and before the first (ours)."""

UNIVERSAL_SLOTS = 100
"""Virtual slots a tick in which UCNC chooses a tree for each session (ours)."""

FRESH = 0.25
"""Part of a new tick in the averages: a mean over some four ticks (ours)."""

ETA = 1.0
"""What a hop weighs against a packet in a queue, where queues are biased (ours)."""

DISTANCE: Distance = "capacity"
"""What is near where destinations are clustered into a duplication tree (ours)."""

_SETTING = Setting(slots=SLOTS)


@dataclass(frozen=True)
class Epoch:
    """What passes from tick to tick: the queues, slots so far, and what they moved on average, session by session."""

    network: Network
    queues: Queues
    slots: int
    moves: Mapping[str, Moves]


@dataclass(frozen=True)
class Epochs:
    """A policy of the backpressure family; `made` gives its controller for an instance."""

    made: Callable[[Instance], Backpressure]

    def decide(self, network: Network, loads: Loads, state: Any) -> Decision:
        """The routes of the next epoch.

        Raises
        ------
        WardropError
            When a session has more destinations than the policy carries.
        """
        rates = offered(network, loads)
        if state is None or state.network != network:
            state = self._begun(network, rates)
        now = _run(state, rates, SLOTS, FRESH)
        routes: dict[Route, float] = {}
        lost = {}
        for k, session in enumerate(network.sessions):
            entries = now.queues.entries(k)
            if rates[k] > 0:
                found = extract(session, now.moves[session.name], entries, float(rates[k]) / unit(network))
                routes |= found.trees
                lost[session.name] = found.lost
        prices = problem_of(network).prices(joined(loads))
        shares = relieved(network, routes, rates)
        return Decision(prices, make_allocation(*completed(network, shares)), now, lost)

    def _begun(self, network: Network, rates: FloatArray) -> Epoch:
        instance = instance_of(network)
        queues = self.made(instance).start(instance, _SETTING)
        queues.count_moves()
        return _run(Epoch(network, queues, 0, {}), rates, FIRST_SLOTS, 1.0)


FAMILY: Mapping[str, Callable[[float], Epochs]] = {
    "dcnc": lambda weight: Epochs(lambda _: dcnc(weight)),
    "gdcnc": lambda weight: Epochs(lambda _: gdcnc(weight)),
    "gdcnc-r": lambda weight: Epochs(lambda instance: gdcnc_r(instance, weight, distance=DISTANCE)),
    "egdcnc": lambda weight: Epochs(lambda _: egdcnc(weight, ETA)),
    "egdcnc-r": lambda weight: Epochs(lambda instance: gdcnc_r(instance, weight, ETA, distance=DISTANCE)),
}
"""Each policy of the family with a given V."""


def _run(before: Epoch, rates: FloatArray, slots: int, fresh: float) -> Epoch:
    """The epoch after so many slots; the queues before are left as they were."""
    network, queues = before.network, before.queues.copy()
    queues.carry(capacities(network, before.moves))
    arrivals = np.tile(rates / unit(network), (slots, 1))
    queues.advance(arrivals, orders(queues.instance, _SETTING, slots, np.random.default_rng(before.slots)))
    cast, links = queues.instance.layered.cast, crossings(network)
    moved: dict[str, Moves] = {session.name: {} for session in network.sessions}
    for name, old in before.moves.items():
        moved[name] = {move: (1 - fresh) * amount for move, amount in old.items()}
    for (edge, q, s), amount in queues.moves().items():
        link = links[edge]
        if link is not None:
            mine, move = moved[network.sessions[int(cast[edge])].name], (link, q, s)
            mine[move] = mine.get(move, 0.0) + fresh * amount / slots
    return Epoch(network, queues, before.slots + slots, moved)


def offered(network: Network, loads: Loads) -> FloatArray:
    """bit/s of each session (K,); the nominal rates while nothing is offered yet."""
    return loads.offered if loads.offered.any() else problem_of(network).rates


def completed(network: Network, routes: Mapping[Route, float]) -> tuple[list[Route], list[float]]:
    """Routes and weights, with the cheapest route at no load for sessions that have none."""
    problem = problem_of(network)
    served = {route.session for route in routes}
    idle = problem.unit_prices(np.zeros(len(problem.capacity)))
    rest = [cheapest_route(problem, s, idle)[0] for s in network.sessions if s.name not in served]
    return [*routes, *rest], [*routes.values(), *(1.0 for _ in rest)]


@dataclass(frozen=True)
class Chosen:
    """What passes from tick to tick under UCNC: virtual queues (R,) in slots of their own, and shares of routes."""

    network: Network
    queues: FloatArray
    shares: Mapping[Route, float]


def decide_universal(network: Network, loads: Loads, state: Any) -> Decision:
    """UCNC: in each virtual slot every session takes the lightest route by the virtual queues of links and servers.

    Queues are in slots of their own resource's capacity and known to everybody at once, for all of them are here.
    """
    problem, rates = problem_of(network), offered(network, loads)
    fresh = FRESH
    if state is None or state.network != network:
        state, fresh = Chosen(network, np.zeros(len(problem.capacity)), {}), 1.0
    queues, counts = state.queues.copy(), dict.fromkeys(state.shares, 0.0)
    capacity = HEADROOM * problem.capacity
    for _ in range(UNIVERSAL_SLOTS):
        weights = (queues + HOP) / capacity
        taken = np.zeros(len(queues))
        for session, rate in problem.active(rates):
            route, _ = cheapest_route(problem, session, weights)
            counts[route] = counts.get(route, 0.0) + 1 / UNIVERSAL_SLOTS
            index, amount = problem.usage(route)
            taken[index] += rate * amount
        queues = np.maximum(queues + taken / capacity - 1, 0.0)
    shares = {r: (1 - fresh) * state.shares.get(r, 0.0) + fresh * share for r, share in counts.items()}
    shares = {route: share for route, share in shares.items() if share >= LEAST}
    allocation = make_allocation(*completed(network, shares))
    return Decision(problem.prices(joined(loads)), allocation, Chosen(network, queues, shares))
