"""User equilibrium: everybody for himself, the tolls that make it the optimum, and what selfishness costs.

In Wardrop's first principle nobody can do better by changing his route: all routes in use by a session have the same
delay, and no other has less. Beckmann's insight is that this too is a least cost,

    minimise  sum_r weight_r int_0^x_r D_r(u) du            slope D: the delay;  against  x D with slope D + x D'

so one solver does both. The difference of the slopes, x D'(x) at the optimum, is Pigou's toll: what one more unit of
load costs everybody else. Selfish routes under these tolls are the optimum. How much more the selfish pay without is
the price of anarchy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pricing.delay import DelayLaw
from pricing.joint.descent import Costs
from pricing.joint.network_flow import GAP, RouteSpace, Routing, least_cost, space_of_network
from pricing.network import Network
from pricing.problem import joined, problem_of
from pricing.values import Decision, FloatArray, Loads


def social_costs(law: DelayLaw, weight: FloatArray | float = 1.0) -> Costs:
    """weight x D(x), its slope and curvature: least at the optimum."""

    def costs(load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return weight * law.cost(load), weight * law.marginal(load), weight * law.marginal_slope(load)

    return costs


def selfish_costs(law: DelayLaw, weight: FloatArray | float = 1.0, tolls: FloatArray | float = 0.0) -> Costs:
    """weight (int D + toll x), its slope and curvature: least at the user equilibrium under tolls, s a unit."""

    def costs(load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        value = weight * (law.integral(load) + tolls * load)
        return value, weight * (law.delay(load) + tolls), weight * law.slope(load)

    return costs


def pigou_tolls(law: DelayLaw, load: FloatArray) -> FloatArray:
    """x D'(x), s: what one more unit of load costs everybody else, where the load is that of the optimum.

    >>> from pricing.delay import mm1
    >>> pigou_tolls(mm1([10.0]), np.array([5.0])).tolist()
    [0.2]
    """
    return load * law.slope(load)


@dataclass(frozen=True)
class Anarchy:
    """Selfish and optimal routing of the same sessions.

    Parameters
    ----------
    selfish, optimal : Routing
    selfish_delay, optimal_delay : float
        Sums of weight, load and delay over the offered rates, s: means of the delay.
    tolls : array of shape (R,)
        That make the selfish optimal, s a unit of load.
    """

    selfish: Routing
    optimal: Routing
    selfish_delay: float
    optimal_delay: float
    tolls: FloatArray

    @property
    def price(self) -> float:
        """The price of anarchy, a ratio from 1."""
        return self.selfish_delay / self.optimal_delay if self.optimal_delay else 1.0


def anarchy(
    space: RouteSpace, law: DelayLaw, rates: FloatArray, weight: FloatArray | float = 1.0, gap: float = GAP
) -> Anarchy:
    """What selfishness costs, and the tolls against it.

    Raises
    ------
    TopologyError, Infeasible, NotConverged
        As `pricing.joint.network_flow.least_cost`.
    """
    optimal = least_cost(space, social_costs(law, weight), rates, gap)
    selfish = least_cost(space, selfish_costs(law, weight), rates, gap)
    total = float(rates.sum()) or 1.0
    paid = [float(np.sum(weight * law.cost(routing.loads))) / total for routing in (selfish, optimal)]
    return Anarchy(selfish, optimal, paid[0], paid[1], pigou_tolls(law, optimal.loads))


def user_equilibrium(
    network: Network, offered: FloatArray | None = None, tolled: bool = False, warm: Routing | None = None
) -> Routing:
    """Where a network's sessions end up when each looks after itself, by the model.

    A session pays for a bit the delays along its route, that of its answers by their bits, and the server's.

    Parameters
    ----------
    offered : array of shape (K,), optional
        bit/s of each session; the nominal rates by default.
    tolled : bool
        Whether each also pays the tolls of the optimum at these rates.
    warm : Routing, optional
        An earlier answer to start from.
    """
    problem = problem_of(network)
    rates = problem.rates if offered is None else np.asarray(offered, dtype=float)
    space, law = space_of_network(network), problem.laws
    tolls: FloatArray | float = 0.0
    if tolled:
        tolls = pigou_tolls(law, least_cost(space, social_costs(law, problem.weight), rates, warm=warm).loads)
    return least_cost(space, selfish_costs(law, problem.weight, tolls), rates, warm=warm)


def decide_selfish(network: Network, loads: Loads, state: Any) -> Decision:
    """The user equilibrium at the offered rates; at the nominal rates while nothing is offered."""
    return _decide(network, loads, state, tolled=False)


def decide_tolled(network: Network, loads: Loads, state: Any) -> Decision:
    """The user equilibrium under the tolls of the optimum, which is the optimum."""
    return _decide(network, loads, state, tolled=True)


def _decide(network: Network, loads: Loads, state: Any, tolled: bool) -> Decision:
    known = state if isinstance(state, Routing) else None
    problem = problem_of(network)
    rates = loads.offered if loads.offered.any() else problem.rates
    found = user_equilibrium(network, rates, tolled, known)
    return Decision(problem.prices(joined(loads)), found.allocation(network), found)
