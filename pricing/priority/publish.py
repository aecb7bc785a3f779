"""What machines publish while the network runs: prices and waits of each class, from arrivals that were measured.

Every session has a class, a route (or several, by weight) and a delay cost. Its requests a second, however they were
measured, give each machine's load and delay cost by class, and from these follow waits (6) and rental prices (10):
what `pricing.priority.state` has for an economy, without anybody's values. A session's **price** is what one of its
requests pays, the sum over the machines of its route for its class, and its **time** what one takes.

What is published follows from arrivals that are smoothed from tick to tick. **Regimes** differ in what is on offer, and
in the routes that it takes:

| regime | sessions on offer | price | routes |
|---|---|---|---|
| `priority` | of every class | their class's rental price | shortest |
| `joint-priority` | of every class | their class's rental price | of least delay cost, `pricing.priority.routed` |
| `one-price` | of the last class | the rental price of the one class there is | shortest |
| `free-access` | of the last class | none | shortest |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from pricing.network import Allocation, Network
from pricing.priority.economy import Economy, Program, Service, machines_of, program_of
from pricing.priority.published import Published
from pricing.priority.routed import rerouted, routed
from pricing.priority.state import rental_prices
from pricing.priority.tatonnement import NEAR_CAPACITY
from pricing.priority.values import Quadratic
from pricing.priority.waits import IntArray, Queues
from pricing.problem import joined, problem_of
from pricing.shortest import shortest_path
from pricing.values import Decision, FloatArray, Loads

Regime = Literal["priority", "joint-priority", "one-price", "free-access"]
REGIMES: tuple[Regime, ...] = get_args(Regime)

WITH_CLASSES: tuple[Regime, ...] = ("priority", "joint-priority")
"""Regimes that offer every class."""

REROUTE = 10
"""Ticks between two decisions on routes: they follow smoothed arrivals, which move by little in a tick (ours)."""

PACE = 0.02
"""Part of the way that smoothed arrivals move to measured ones in a tick; the first few count equally.

A second of some hundred requests tells a load to some per cent, and near capacity a price moves by several times that.
Ours: the calmest of three on `two-servers` in `pricing.priority.loop` with seeds 1 to 4, at which users still follow a
value that doubles. It is judged on other seeds, on another scenario (`wardrop study users`), and on packets.
"""


@dataclass(frozen=True)
class _Uses:
    """What one request of each session brings to each machine, shape (N, M); its class from 0, and its delay cost."""

    economy: Economy
    klass: IntArray
    classes: int
    delay_cost: FloatArray

    @property
    def machines(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(machine.name for machine in self.economy.machines)

    def by_class(self, amounts: FloatArray) -> FloatArray:
        """Sums over the sessions of each class, shape (M, K)."""
        return np.asarray(amounts.T @ np.eye(self.classes)[self.klass])


@lru_cache(maxsize=8)
def _uses(network: Network, routes: tuple[tuple[Any, float], ...]) -> _Uses:
    visits: dict[str, list[Any]] = {session.name: [] for session in network.sessions}
    for route, weight in routes:
        visits[route.session] += [
            replace(visit, count=visit.count * weight) for visit in program_of(network, route).visits
        ]
    nobodys = Quadratic(1.0, 1.0)  # prices ask for no value
    services = [
        Service(session.name, nobodys, session.delay_cost, [Program("", visits[session.name])])
        for session in network.sessions
    ]
    klass = np.array([session.klass - 1 for session in network.sessions])
    costs = np.array([session.delay_cost for session in network.sessions])
    return _Uses(Economy(machines_of(network), services), klass, int(klass.max()) + 1, costs)


def published(
    network: Network,
    allocation: Allocation,
    rates: FloatArray,
    before: Published | None,
    regime: Regime = "priority",
    pace: float = PACE,
) -> Published:
    """What is published after rates were measured.

    Parameters
    ----------
    rates : array of shape (N,)
        Requests/s of each session.
    before : Published, optional
        What was published last.
    """
    uses, names = _uses(network, tuple(allocation)), tuple(session.name for session in network.sessions)
    economy, mean, ticks = uses.economy, rates, int(rates.any())
    if before is not None and before.sessions == names and before.ticks:
        ticks = before.ticks + 1
        mean = before.rates + max(pace, 1 / ticks) * (rates - before.rates)
    full = float(economy.load(mean).max(initial=0.0))
    x = mean * min(1.0, NEAR_CAPACITY / max(full, 1e-300))
    queues = Queues(economy.residual.T @ x, uses.by_class(x[:, None] * economy.time), economy.servers)
    gamma = uses.by_class((x * uses.delay_cost)[:, None] * economy.visits)
    rental, waits = rental_prices(queues, gamma, economy.speed), queues.waits
    prices = (economy.time * rental.linear.T[uses.klass] + economy.residual * rental.quadratic).sum(axis=1)
    times = economy.unhindered + np.einsum("nm,nm->n", economy.visits, waits.T[uses.klass])
    if regime not in WITH_CLASSES:
        offered = uses.klass == uses.classes - 1
        prices = np.where(offered, prices if regime == "one-price" else 0.0, np.inf)
    load = uses.by_class(rates[:, None] * economy.time)
    return Published(uses.machines, names, rental, waits, load, prices, times, mean, ticks, allocation)


def decide_published(regime: Regime, network: Network, loads: Loads, state: Any) -> Decision:
    """The policy of a regime: the routes that it takes, and what is published in the decision's state."""
    before = state if isinstance(state, Published) else None
    rates = loads.offered / np.array([session.frame_bits for session in network.sessions])
    allocation = _routes(network, loads, rates, before) if regime == "joint-priority" else shortest_path(network)
    found = published(network, allocation, rates, before, regime)
    return Decision(problem_of(network).prices(joined(loads)), allocation, found)


def _routes(network: Network, loads: Loads, rates: FloatArray, before: Published | None) -> Allocation:
    """Routes by class: at first those of the nominal rates, then as smoothed arrivals want them, now and again.

    A network that runs already, under another policy, gets the first step from the shortest routes.
    """
    if before is None or before.sessions != tuple(session.name for session in network.sessions):
        if loads.links.any():
            return rerouted(network, rates, shortest_path(network))
        return routed(network, np.array([session.packet_rate for session in network.sessions]), starts=0).allocation
    if not before.ticks or before.ticks % REROUTE:
        return before.allocation
    return rerouted(network, before.rates, before.allocation)


def resume_published(network: Network, allocation: Allocation, _offered: FloatArray) -> Published:
    """What goes on from routes that are in force, such as what a failure left: arrivals are counted anew."""
    return published(network, allocation, np.zeros(len(network.sessions)), None, "joint-priority")
