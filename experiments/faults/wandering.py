"""A policy that decides at random, anew each tick: `--policy experiments/faults/wandering.py:decide`.

It looks at no price and at no length, so that what a change of routes does to packets can be seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pricing.network import Network, Route
from pricing.problem import joined, make_allocation, problem_of
from pricing.routes import nearest_routes
from pricing.values import Decision, Loads

ROUTES = 3
"""Routes to each destination among which it draws (ours)."""


def decide(network: Network, loads: Loads, state: Any) -> Decision:
    """Each session at random over its shortest routes to all of its destinations.

    Half of the routes, at random, get weights that are uniform on the simplex. The draws follow from the number of the
    round alone, which is the state.
    """
    number = state or 0
    rng = np.random.default_rng(number)
    routes: list[Route] = []
    weights: list[float] = []
    for session in network.sessions:
        mine = nearest_routes(network, session, ROUTES)
        drawn = rng.exponential(size=len(mine)) * (rng.random(len(mine)) < 0.5)
        routes += mine
        weights += drawn.tolist() if drawn.any() else [1.0] + [0.0] * (len(mine) - 1)
    prices = problem_of(network).prices(joined(loads))
    return Decision(prices, make_allocation(routes, weights), number + 1)
