"""The joint paper's network, solved fast: m sources, n servers, a path of its own from each source to each server.

    minimise  sum_ij x_ij D_ij(x_ij) + sum_j L_j D_j(L_j)     s.t.  sum_j x_ij = lambda_i,  L_j = sum_i x_ij,  x >= 0

which is eq. (9) of the joint paper. A primal-dual interior-point method, whose Newton step is almost diagonal: with f'
and f'' the marginal cost of a path and its slope, g' and g'' those of a server, s the slack of x >= 0, mu the barrier's
weight, p_j the price of server j and nu_i the cost of source i,

    (f'' + s/x) dx + dp - dnu = mu/x - f' - p + nu       w = 1/(f'' + s/x)
    sum_j dx_ij = 0        sum_i dx_ij - dL_j = L_j - sum_i x_ij        g'' dL - dp = p - g'

dx and dnu are eliminated source by source, and what is left is one n x n system for the prices,

    [ diag(sum_i w_ij + 1/g''_j) - sum_i w_i w_i'/(1'w_i) ] dp = sum_i w (mu/x - f' - p + nu) + (g' - p)/g''
                                                                 + sum_i x - L

O(m n^2) a step, in which the paths' part is a symmetric product. The loads L begin inside of the servers' capacities
whatever the flows do, so no feasible start is needed; they meet after the first full step.

What stops the method is the gap of the flows as they are: `certify_flows` takes it from the flows alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from pricing.delay import DelayLaw, PollaczekKhinchine
from pricing.errors import Infeasible, NotConverged, TopologyError
from pricing.joint.bipartite_kernel import advance, condense, direct, excess, queue_derivatives
from pricing.values import Certificate, FloatArray

GAP = 1e-9
"""Relative gap at which flows count as the optimum."""

ROUNDING = 1e-10
"""Wardrop residual that counts as the optimum too: close to capacity prices are known no better."""

USED = 1e-6
"""Part of its source's rate above which a path counts as used."""

MOST_STEPS = 100

_INSIDE = 0.95
"""Part of the way to the nearest bound that a step takes at most."""

_NOTHING = 1e-14
"""Part of all rates that a source without any is given while the method runs: interior points have no zeros."""

_FLAT = 1e-12
"""Slope of a server's marginal cost, relative to price over load, below which it is taken for this."""

_ROUNDED = 1e-13
"""Part of all that is paid below which the barrier moves nothing any more."""

_UNITS = 1e8
"""Whole units in which the search for a cut counts the demand."""

Derivatives = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class BipartiteOptimum:
    """Optimal flows, what they cost at the margin, and how far from optimal they can be.

    Parameters
    ----------
    flows : array of shape (m, n)
        lambda_ij, from each source to each server.
    loads, prices : arrays of shape (n,)
        Load of each server and its marginal cost, which is what one more unit of load there adds to the cost.
    marginals : array of shape (m,)
        What one more unit of a source's rate adds to the cost.
    certificate : Certificate
        From the flows alone; `primal` and `dual` are means over the rates.
    steps : int
        Newton steps taken.
    """

    flows: FloatArray
    loads: FloatArray
    prices: FloatArray
    marginals: FloatArray
    certificate: Certificate
    steps: int


def bipartite_optimum(rates: ArrayLike, paths: DelayLaw, servers: DelayLaw, gap: float = GAP) -> BipartiteOptimum:
    """The flows of least total delay.

    Parameters
    ----------
    rates : array of shape (m,)
        lambda_i; a source without rate has no flows.
    paths, servers : DelayLaw
        Laws of m x n paths and n servers, in the unit of the rates.
    gap : float
        Relative gap to reach.

    Raises
    ------
    TopologyError
        When shapes do not fit, or a rate is negative or not finite.
    Infeasible
        When the rates reach the capacity of some paths and servers together; the message names them.
    NotConverged
        When neither the gap nor `ROUNDING` is reached.

    Examples
    --------
    >>> from pricing.delay import mm1
    >>> found = bipartite_optimum([2.0], mm1([[10.0, 10.0]]), mm1([4.0, 4.0]))
    >>> found.flows.round(6).tolist(), found.certificate.gap < 1e-9
    ([[1.0, 1.0]], True)
    """
    demand = _checked(rates, paths, servers)
    flows, steps, certificate = np.zeros(paths.capacity.shape), 0, Certificate(0.0, 0.0, 0.0, 0.0, 0.0)
    if demand.any():
        _refuse_totals(demand, paths.capacity, servers.capacity)
        flows, certificate, steps = _descend(demand, paths, servers, gap)
    if not (certificate.gap <= gap or certificate.wardrop_residual <= ROUNDING):
        _refuse_cuts(demand, paths.capacity, servers.capacity)
        raise NotConverged(
            f"{demand.size} sources and {servers.capacity.size} servers: the gap is {certificate.gap:.2g} after "
            f"{steps} steps, {gap:.2g} was asked for; ask for less or leave more room below capacity",
            steps,
            certificate.gap,
        )
    loads = flows.sum(axis=0)
    prices = servers.marginal(loads)
    marginals = (paths.marginal(flows) + prices).min(axis=1)
    return BipartiteOptimum(flows, loads, prices, marginals, certificate, steps)


def certify_flows(flows: FloatArray, paths: DelayLaw, servers: DelayLaw) -> Certificate:
    """How far from optimal flows (m, n) are, from the flows alone; zeros where nothing flows.

    At the marginal costs of the flows' own loads the dual function lies below their cost by the sum of flow times
    excess over the source's cheapest path, and no flows cost less than that. Where a load reaches its capacity, the gap
    is infinite and `dual` says no more than 0. An interior point leaves a little on every path: `kkt_residual` is over
    paths that carry more than `USED` of their source.
    """
    total, loads = float(flows.sum()), flows.sum(axis=0)
    if not total:
        return Certificate(0.0, 0.0, 0.0, 0.0, 0.0)
    primal = float(paths.cost(flows).sum() + servers.cost(loads).sum())
    if not math.isfinite(primal):
        return Certificate(math.inf, 0.0, math.inf, math.inf, math.inf)
    over, paid, worst = excess(flows, paths.marginal(flows), servers.marginal(loads), USED)
    dual = primal - over
    gap = over / dual if dual > 0 else math.inf if over > 0 else 0.0
    return Certificate(primal / total, dual / total, gap, worst, over / paid if paid else 0.0)


def _checked(rates: ArrayLike, paths: DelayLaw, servers: DelayLaw) -> FloatArray:
    demand = np.array(rates, dtype=float)
    wanted = (demand.size, servers.capacity.size)
    if demand.ndim != 1 or servers.capacity.ndim != 1 or paths.capacity.shape != wanted or 0 in wanted:
        shapes = f"rates {demand.shape}, paths {paths.capacity.shape}, servers {servers.capacity.shape}"
        raise TopologyError(f"found {shapes}; accepted: (m,), (m, n), (n,) with m and n from 1")
    wrong = np.flatnonzero(~(np.isfinite(demand) & (demand >= 0)))
    if wrong.size:
        raise TopologyError(f"rate of source {wrong[0]}: {demand[wrong[0]]}, a finite number from 0 is accepted")
    for what, capacity in (("path", paths.capacity), ("server", servers.capacity)):
        bad = np.argwhere(~(capacity > 0))
        if bad.size:
            place = tuple(bad[0].tolist())
            raise TopologyError(f"capacity of {what} {place}: {capacity[place]}, a number above 0 is accepted")
    return demand


class _Point:
    """An interior point on its way: flows, slacks, loads and prices, and room for one Newton step."""

    def __init__(self, demand: FloatArray, paths: DelayLaw, servers: DelayLaw) -> None:
        self.capacity, self.room = paths.capacity, servers.capacity
        self.along, self.at = derivatives(paths), derivatives(servers)
        self.flows = _in_proportion(demand[:, None], self.capacity)
        self.loads = _in_proportion(demand.sum(), self.room)
        self.prices = self.at(self.loads)[0].copy()
        self.look()
        self.barrier = 0.1 * self.excess()[1] / self.flows.size
        self.slack = self.barrier / self.flows
        self.work = tuple(np.empty_like(self.flows) for _ in range(5))

    def look(self) -> None:
        """Take marginal costs and their slopes where the point is."""
        (self.first, self.second), (self.marginal, self.slope) = self.along(self.flows), self.at(self.loads)

    def excess(self) -> tuple[float, float]:
        """Sums of flow times excess and of flow times cost, at the marginal costs of flows and loads."""
        return excess(self.flows, self.first, self.marginal, USED)[:2]

    def step(self) -> tuple[float, float, float]:
        """One Newton step; how far flows and slacks went, and the sum of their products there."""
        yields, pulls, rows, move, change = self.work
        diagonal, right = np.empty_like(self.loads), np.empty_like(self.loads)
        condense(self.flows, self.slack, self.first, self.second, self.prices, self.barrier,
                 yields, pulls, rows, diagonal, right)  # fmt: skip
        give = 1 / np.maximum(self.slope, _FLAT * np.abs(self.prices) / self.loads)
        miss = (self.marginal - self.prices) * give + self.flows.sum(axis=0) - self.loads
        rise = _rise(rows, diagonal, give, right, miss)
        shift = (rise - self.marginal + self.prices) * give
        nearest, bound = direct(self.flows, self.slack, self.capacity, yields, pulls, rise, self.barrier, move, change)
        nearest = min(nearest, 1 / max(np.max(-shift / self.loads), np.max(shift / (self.room - self.loads)), 1e-300))
        reach, stretch = min(1.0, _INSIDE * nearest), min(1.0, _INSIDE * bound)
        products = advance(self.flows.ravel(), self.slack.ravel(), move.ravel(), change.ravel(), reach, stretch)
        self.loads += reach * shift
        self.prices += reach * rise
        self.look()
        return reach, stretch, products


def _rise(rows: FloatArray, diagonal: FloatArray, give: FloatArray, right: FloatArray, miss: FloatArray) -> FloatArray:
    """The rise of prices: solve (diag(diagonal) - rows'rows + diag(give)) rise = right + miss.

    The first two terms take no notice of a common rise, and near capacity the third is many orders smaller. So the
    common rise is solved for by itself, from the sum of all equations, in which the first two and `right` cancel.
    """
    system = -(rows.T @ rows)
    system.ravel()[:: give.size + 1] += diagonal + give
    both = np.array([right + miss, give]).T
    if give.size > 1:
        both[:-1] = dpotrs(dpotrf(system[:-1, :-1], lower=1)[0], both[:-1], lower=1)[0]
    both[-1] = 0.0
    own, echo = both.T
    common = (miss.sum() - give @ own) / (give.sum() - give @ echo)
    return np.asarray(own + common * (1.0 - echo))


def _descend(demand: FloatArray, paths: DelayLaw, servers: DelayLaw, gap: float) -> tuple[FloatArray, Certificate, int]:
    """The flows found, how far from optimal they are, and the Newton steps taken."""
    point = _Point(np.maximum(demand, _NOTHING * demand.sum()), paths, servers)
    steps, moving = 0, True
    # Demand beyond capacity ends in numbers that run away; what it is that limits is asked elsewhere.
    with np.errstate(all="ignore"):
        while moving and steps < MOST_STEPS:
            steps += 1
            reach, stretch, products = point.step()
            over, paid = point.excess()
            moving = products > _ROUNDED * paid
            # Until flows and loads meet, the gap told by the loads' prices means nothing.
            if over < gap * paid or not moving:
                flows = np.asarray(point.flows * (demand / point.flows.sum(axis=1))[:, None])
                certificate = certify_flows(flows, paths, servers)
                if certificate.gap <= gap:
                    return flows, certificate, steps
            far = min(reach, stretch)
            point.barrier = (0.05 if far > 0.9 else 0.2 if far > 0.6 else 0.6) * products / point.flows.size
    flows = np.asarray(point.flows * (demand / point.flows.sum(axis=1))[:, None])
    return flows, certify_flows(flows, paths, servers), steps


def derivatives(law: DelayLaw) -> Derivatives:
    """Loads to marginal costs and their slopes; compiled for queues, whose answers are overwritten by the next."""
    if not isinstance(law, PollaczekKhinchine):
        return lambda load: (law.marginal(load), law.marginal_slope(load))
    capacity, scale, base = (np.ascontiguousarray(a).ravel() for a in (law.capacity, law.scale, law.base))
    first, second = np.empty_like(capacity), np.empty_like(capacity)

    def of_queues(load: FloatArray) -> tuple[FloatArray, FloatArray]:
        queue_derivatives(load.ravel(), capacity, scale, base, first, second)
        return first.reshape(load.shape), second.reshape(load.shape)

    return of_queues


def _in_proportion(total: FloatArray, capacity: FloatArray) -> FloatArray:
    """The total divided by capacity, or evenly where capacity is more than twice of all."""
    room = np.minimum(capacity, 2 * total)
    return np.ascontiguousarray(total * room / room.sum(axis=-1, keepdims=True))


def _refuse_totals(demand: FloatArray, paths: FloatArray, servers: FloatArray) -> None:
    """The two cuts that are seen at once: a source's own paths, and all servers."""
    over = demand - paths.sum(axis=1)
    worst = int(over.argmax())
    if over[worst] >= 0:
        raise Infeasible(
            f"source {worst}: its rate is {demand[worst]:g}, its paths carry less than {paths[worst].sum():g}; "
            "lower the rate or widen a path",
            tuple(f"path {worst}->{j}" for j in range(servers.size)),
            float(over[worst]),
        )
    if demand.sum() >= servers.sum():
        raise Infeasible(
            f"all servers: {demand.sum():g} is asked of them, they serve less than {servers.sum():g}; "
            "lower the rates or add servers",
            tuple(f"server {j}" for j in range(servers.size)),
            float(demand.sum() - servers.sum()),
        )


def _refuse_cuts(demand: FloatArray, paths: FloatArray, servers: FloatArray) -> None:
    """Any cut: the greatest flow that fits is too little, and the least cut says why."""
    m, n = paths.shape
    unit = _UNITS / demand.sum()

    def whole(room: FloatArray) -> FloatArray:
        return np.asarray(np.floor(np.minimum(room, demand.sum()) * unit))

    ends = [np.arange(m) + 1, np.repeat(np.arange(m) + 1, n), np.arange(n) + m + 1]
    heads = [np.zeros(m, int), *ends[1:]]
    tails = [ends[0], np.tile(np.arange(n) + m + 1, m), np.full(n, m + n + 1)]
    room = [whole(demand), whole(paths).ravel(), whole(servers)]
    size = m + n + 2
    graph = csr_array(
        (np.concatenate(room).astype(np.int32), (np.concatenate(heads), np.concatenate(tails))), shape=(size, size)
    )
    found = maximum_flow(graph, 0, size - 1)
    asked = float(whole(demand).sum())
    if found.flow_value < (1 - 1e-6) * asked:
        left = csr_array(graph - found.flow).maximum(0)
        reached = set(breadth_first_order(left, 0, return_predecessors=False).tolist())
        sources = [i for i in range(m) if i + 1 in reached]
        full = [j for j in range(n) if j + m + 1 in reached]
        others = [j for j in range(n) if j not in full]
        excess_of = (asked - found.flow_value) / unit
        raise Infeasible(
            f"sources {sources[:5]} ask for {excess_of:g} more than servers {full[:5]} and the paths to the others "
            "carry together; lower their rates or widen these",
            (*(f"server {j}" for j in full), *(f"path {i}->{j}" for i in sources for j in others)),
            excess_of,
        )
