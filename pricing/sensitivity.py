"""What one more bit/s of demand, or of capacity, changes: the derivatives of the least cost, from the prices alone.

At the optimum the least cost F(rates, capacities) has, by the envelope theorem, the derivatives

    dF/drate_k = cost of the session's cheapest route at the prices of links and servers        (its multiplier)
    dF/dC_r    = weight_r d(x_r D_r(x_r))/dC_r at the load x_r                                  (never above 0)

for what the allocation does after the change is second order. The first is what a bit/s more pays, its own delay and
that of all others whom it delays; the second is how much less all wait where capacity is added, so minus it is what
capacity is worth. Queues here are those of `pricing.delay.PollaczekKhinchine`: with h m = a C,

    x D = h m x^2/(C (C - x)) + b x,    d/dC = -h m x^2 (2 C - x)/(C^2 (C - x)^2) - [own transmission] m x/C^2
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing.delay import PollaczekKhinchine
from pricing.network import Allocation, Network
from pricing.problem import problem_of
from pricing.routes import cheapest_route
from pricing.values import FloatArray


@dataclass(frozen=True)
class Sensitivity:
    """Derivatives of the least total cost (s·bit/s) at an optimal allocation.

    Parameters
    ----------
    demand : array of shape (K,)
        By each session's rate, s: seconds of everybody's delay a bit.
    links : array of shape (L,)
        By each link's capacity, s a bit/s times bit/s, so s; none above 0.
    servers : array of shape (J,)
        By each server's capacity, s·bit a unit of work; none above 0.
    """

    demand: FloatArray
    links: FloatArray
    servers: FloatArray


def sensitivity(network: Network, allocation: Allocation, offered: FloatArray | None = None) -> Sensitivity:
    """The derivatives at an allocation, exact where it is the optimum.

    The jobs' mix is taken as it is: where sessions of unequal works or sizes share a queue, more of one also changes
    the moments of its jobs, which the model takes from the nominal rates.

    Parameters
    ----------
    allocation : Allocation
        The optimum, such as `pricing.joint.optimum.optimum` finds; near it the error is of the order of its gap's root.
    offered : array of shape (K,), optional
        bit/s of each session; the nominal rates by default.

    Notes
    -----
    One Dijkstra a session. At the optimum all used routes of a session cost the same, the least.
    """
    problem = problem_of(network)
    load = problem.loads(allocation, offered)
    prices = problem.unit_prices(load)
    demand = np.array([cheapest_route(problem, session, prices)[1] for session in network.sessions])
    worth = problem.weight * _by_capacity(problem.laws, load)
    return Sensitivity(demand, worth[: problem.link_count], worth[problem.link_count :])


def _by_capacity(laws: PollaczekKhinchine, load: FloatArray) -> FloatArray:
    """d(x D)/dC at fixed load, s a unit of load and of capacity."""
    capacity, moment = laws.capacity, (1 + laws.scv) / 2 * laws.size
    waiting = moment * load**2 * (2 * capacity - load) / (capacity * (capacity - load)) ** 2
    return np.asarray(-waiting - np.where(laws.sojourn, laws.size * load / capacity**2, 0.0))
