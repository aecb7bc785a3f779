"""The joint paper's Algorithm 1 as printed, for sources with private access paths.

Each round every server moves its price a part gamma of the way to its marginal cost, and every source moves its split
a part eta of the way to its best response

    minimise over y:  sum_j y_j D_ij(y_j) + p_j y_j    s.t.  sum_j y_j = lambda_i,  y >= 0

which equalises marginal access cost plus price over the routes in use (eq. (14)): y_j is where the access path's
marginal cost is nu - p_j, and the multiplier nu is found by bisection. Its bracket must start at the *least* p_j +
D_ij(0): the paper's program starts it at the largest, which spreads light sources over routes they should leave
alone, and that is the whole of its printed gap of 2e-4. `from_largest` repeats that.

The algorithm is here to be compared with. On loaded servers it leaves the feasible set or circles: a feasible point
is nowhere promised. What runs on networks is `pricing.joint.iteration`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing.delay import PollaczekKhinchine, mm1
from pricing.values import FloatArray

MOST_ROUNDS = 400
_BISECTIONS = 200


@dataclass(frozen=True)
class Instance:
    """Rates lambda_i (I,), access capacities mu_ij (I, J) and server capacities mu_j (J,), in one unit; M/M/1 all."""

    rates: FloatArray
    access: FloatArray
    servers: FloatArray

    @property
    def paths(self) -> PollaczekKhinchine:
        """D_ij(x) = 1/(mu_ij - x)."""
        return mm1(self.access)

    @property
    def nodes(self) -> PollaczekKhinchine:
        """D_j(x) = 1/(mu_j - x)."""
        return mm1(self.servers)

    def cost(self, flows: FloatArray) -> float:
        """F: the sum over paths and servers of load times delay (eq. (9)); infinite where infeasible."""
        return float(self.paths.cost(flows).sum() + self.nodes.cost(flows.sum(axis=0)).sum())


@dataclass(frozen=True)
class Run:
    """Flows lambda_ij and prices at the end, the cost after each round, and whether the flows came to rest."""

    flows: FloatArray
    prices: FloatArray
    costs: tuple[float, ...]
    converged: bool


def best_response(instance: Instance, prices: FloatArray, from_largest: bool = False) -> FloatArray:
    """The split of every source that is cheapest at these server prices, shape (I, J)."""
    paths, rates = instance.paths, instance.rates[:, None]
    entry = prices + paths.base
    low = (entry.max if from_largest else entry.min)(axis=1, keepdims=True)
    # At this multiplier one path alone would carry more than the whole rate, or as near its capacity as floats go.
    high = low + 1.0
    while (short := paths.load_at(high - prices).sum(axis=1, keepdims=True) < rates).any():
        high = np.where(short, low + 2 * (high - low), high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        enough = paths.load_at(middle - prices).sum(axis=1, keepdims=True) >= rates
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    found = paths.load_at(high - prices)
    return np.asarray(found * rates / found.sum(axis=1, keepdims=True))


def proportional_start(instance: Instance) -> FloatArray:
    """Each source in turn over the servers in proportion to min(mu_ij, what is left of mu_j)."""
    left, flows = instance.servers.copy(), np.zeros_like(instance.access)
    for i, rate in enumerate(instance.rates):
        room = np.minimum(instance.access[i], left)
        flows[i] = rate * room / room.sum()
        left = left - flows[i]
    return flows


def run(
    instance: Instance, eta: float = 0.3, gamma: float = 0.5, tolerance: float = 1e-7, from_largest: bool = False
) -> Run:
    """Iterate from prices 0 until the flows change by less than `tolerance` (relative, Frobenius norm)."""
    flows, prices = proportional_start(instance), np.zeros_like(instance.servers)
    costs: list[float] = []
    converged = False
    while len(costs) < MOST_ROUNDS and not converged:
        marginal = instance.nodes.marginal(flows.sum(axis=0))
        if not np.isfinite(marginal).all():
            break
        prices = (1 - gamma) * prices + gamma * marginal
        moved = (1 - eta) * flows + eta * best_response(instance, prices, from_largest)
        converged = bool(np.linalg.norm(moved - flows) < tolerance * np.linalg.norm(flows))
        flows = moved
        costs.append(instance.cost(flows))
    return Run(flows, prices, tuple(costs), converged)
