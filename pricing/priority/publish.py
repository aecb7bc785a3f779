"""What machines publish while the network runs: prices and waits of each class, from arrivals that were measured.

Every session has a class, a route (or several, by weight) and a delay cost. Its requests a second, however they were
measured, give each machine's load and delay cost by class, and from these follow waits (6) and rental prices (10):
what `pricing.priority.state` has for an economy, without anybody's values. A session's **price** is what one of its
requests pays, the sum over the machines of its route for its class, and its **time** what one takes.

What is published moves a part of the way from tick to tick. Three **regimes** differ in what is on offer:

| regime | sessions on offer | price |
|---|---|---|
| `priority` | of every class | their class's rental price |
| `one-price` | of the last class | the rental price of the one class there is |
| `free-access` | of the last class | none |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from pricing.network import Allocation, Network
from pricing.priority.economy import Economy, Program, Service, machines_of, program_of
from pricing.priority.state import Rental, rental_prices
from pricing.priority.tatonnement import NEAR_CAPACITY
from pricing.priority.values import Quadratic
from pricing.priority.waits import IntArray, Queues
from pricing.problem import joined, problem_of
from pricing.shortest import shortest_path
from pricing.values import Decision, FloatArray, Loads

Regime = Literal["priority", "one-price", "free-access"]
REGIMES: tuple[Regime, ...] = get_args(Regime)

PACE = 0.03
"""Part of the way that what is published moves in a tick.

A second of some hundred requests tells a load to some per cent, and near capacity a price moves by several times that;
users who follow damp the rest. In simulated loops on `two-servers`, at 0.03 prices moved by 0.7 % a tick (median) and
1.6 % (95th percentile) and welfare stayed above 0.99 of the best equilibrium's; at 0.1 by 2.3 and 5 %.
"""


@dataclass(frozen=True)
class Published:
    """Prices and waits of M machines (links, then servers) in K classes, and what they come to for N sessions.

    Parameters
    ----------
    machines, sessions : tuples of str
        Their names.
    rental : Rental
        Base price and premiums.
    waits : array of shape (M, K)
        s, by the formula at measured arrivals, smoothed.
    load : array of shape (M, K)
        Part of its time that each class takes, as measured.
    prices, times : arrays of shape (N,)
        Of one request of each session, currency and s; the price is infinite where a session is not on offer.
    """

    machines: tuple[str, ...]
    sessions: tuple[str, ...]
    rental: Rental
    waits: FloatArray
    load: FloatArray
    prices: FloatArray
    times: FloatArray


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
    uses = _uses(network, tuple(allocation))
    economy = uses.economy
    full = float(economy.load(rates).max(initial=0.0))
    x = rates * min(1.0, NEAR_CAPACITY / max(full, 1e-300))
    queues = Queues(economy.residual.T @ x, uses.by_class(x[:, None] * economy.time), economy.servers)
    gamma = uses.by_class((x * uses.delay_cost)[:, None] * economy.visits)
    rental, waits = rental_prices(queues, gamma, economy.speed), queues.waits
    if before is not None and (before.machines, before.waits.shape) == (uses.machines, waits.shape):
        rental = Rental(
            before.rental.linear + pace * (rental.linear - before.rental.linear),
            before.rental.quadratic + pace * (rental.quadratic - before.rental.quadratic),
            economy.speed,
        )
        waits = before.waits + pace * (waits - before.waits)
    prices = (economy.time * rental.linear.T[uses.klass] + economy.residual * rental.quadratic).sum(axis=1)
    times = economy.unhindered + np.einsum("nm,nm->n", economy.visits, waits.T[uses.klass])
    if regime != "priority":
        offered = uses.klass == uses.classes - 1
        prices = np.where(offered, prices if regime == "one-price" else 0.0, np.inf)
    load = uses.by_class(rates[:, None] * economy.time)
    return Published(uses.machines, tuple(s.name for s in network.sessions), rental, waits, load, prices, times)


def publishing(regime: Regime) -> Callable[[Network, Loads, Any], Decision]:
    """The policy of a regime: each session on its shortest route, and what is published in the decision's state."""

    def decide(network: Network, loads: Loads, state: Any) -> Decision:
        allocation = shortest_path(network)
        rates = loads.offered / np.array([session.frame_bits for session in network.sessions])
        found = published(network, allocation, rates, state if isinstance(state, Published) else None, regime)
        return Decision(problem_of(network).prices(joined(loads)), allocation, found)

    return decide
