"""The compiled part of the bipartite solver: one pass over all paths for each thing that a Newton step needs.

Plain functions of arrays that trust their input; `pricing.joint.bipartite` says what they mean. Compiled once by Numba
and kept beside the sources. Sums may be taken in any order, so that the machine can take several terms at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

from pricing.values import FloatArray

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "nnan", "contract", "arcp"}
)


@_compiled
def queue_derivatives(
    load: FloatArray, capacity: FloatArray, scale: FloatArray, base: FloatArray, first: FloatArray, second: FloatArray
) -> None:
    """Marginal cost a (u^2 - 1) + b and its slope 2 a u^2/(C - x), u = C/(C - x), of flat arrays, into the last two."""
    for i in range(load.size):
        room = 1.0 / (capacity[i] - load[i])
        square = (capacity[i] * room) ** 2
        first[i] = scale[i] * (square - 1.0) + base[i]
        second[i] = 2.0 * scale[i] * square * room


@_compiled
def condense(
    flows: FloatArray,
    slack: FloatArray,
    first: FloatArray,
    second: FloatArray,
    prices: FloatArray,
    barrier: float,
    yields: FloatArray,
    pulls: FloatArray,
    rows: FloatArray,
    diagonal: FloatArray,
    right: FloatArray,
) -> None:
    """What a Newton step asks of the servers alone, written into the last five.

    `yields` w = 1/(f'' + s/x); `pulls` q, less their mean in each source; `rows` w_ij/sqrt(sum_j w_ij), whose Gram
    matrix is taken from `diagonal` sum_i w; `right` sum_i w q. Costs are told against each source's cheapest path, so
    that small differences of large prices keep their digits.
    """
    diagonal[:] = 0.0
    right[:] = 0.0
    for i in range(flows.shape[0]):
        least = np.inf
        for j in range(flows.shape[1]):
            pulls[i, j] = first[i, j] + prices[j]
            least = min(least, pulls[i, j])
        total, mean = 0.0, 0.0
        for j in range(flows.shape[1]):
            inverse = 1.0 / flows[i, j]
            pull = barrier * inverse - (pulls[i, j] - least)
            give = 1.0 / (second[i, j] + slack[i, j] * inverse)
            pulls[i, j], yields[i, j] = pull, give
            total += give
            mean += give * pull
        mean /= total
        root = 1.0 / np.sqrt(total)
        for j in range(flows.shape[1]):
            pulls[i, j] -= mean
            diagonal[j] += yields[i, j]
            right[j] += yields[i, j] * pulls[i, j]
            rows[i, j] = yields[i, j] * root


@_compiled
def direct(
    flows: FloatArray,
    slack: FloatArray,
    capacity: FloatArray,
    yields: FloatArray,
    pulls: FloatArray,
    rise: FloatArray,
    barrier: float,
    move: FloatArray,
    change: FloatArray,
) -> tuple[float, float]:
    """The steps of flows and slacks that follow from the prices' `rise`, and how far each may go to its bounds."""
    nearest, bound = 1e-300, 1e-300
    for i in range(flows.shape[0]):
        total, mean = 0.0, 0.0
        for j in range(flows.shape[1]):
            total += yields[i, j]
            mean += yields[i, j] * rise[j]
        mean /= total
        for j in range(flows.shape[1]):
            step = yields[i, j] * (pulls[i, j] + mean - rise[j])
            other = (barrier - slack[i, j] * step) / flows[i, j] - slack[i, j]
            move[i, j], change[i, j] = step, other
            nearest = max(nearest, max(-step / flows[i, j], step / (capacity[i, j] - flows[i, j])))
            bound = max(bound, -other / slack[i, j])
    return 1.0 / nearest, 1.0 / bound


@_compiled
def advance(
    flows: FloatArray, slack: FloatArray, move: FloatArray, change: FloatArray, reach: float, stretch: float
) -> float:
    """Take the steps (flat arrays, in place); the products of flows and slacks, summed."""
    total = 0.0
    for i in range(flows.size):
        flows[i] += reach * move[i]
        slack[i] += stretch * change[i]
        total += flows[i] * slack[i]
    return total


@_compiled
def excess(flows: FloatArray, first: FloatArray, prices: FloatArray, used: float) -> tuple[float, float, float]:
    """Sum of flow times excess over the source's cheapest path, the sum of flow times cost, and the largest excess of
    a path that carries more than the part `used` of its source."""
    over, paid, worst = 0.0, 0.0, 0.0
    for i in range(flows.shape[0]):
        least, rate = np.inf, 0.0
        for j in range(flows.shape[1]):
            least = min(least, first[i, j] + prices[j])
            rate += flows[i, j]
        for j in range(flows.shape[1]):
            cost = first[i, j] + prices[j]
            over += flows[i, j] * (cost - least)
            paid += flows[i, j] * cost
            if flows[i, j] > used * rate:
                worst = max(worst, cost - least)
    return over, paid, worst
