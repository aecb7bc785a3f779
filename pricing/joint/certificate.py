"""How far from optimal an allocation is, told from the allocation alone.

For any prices p of a unit of load the dual function bounds the cost of every allocation from below:

    D(p) = sum_k rate_k min over routes (sum_r A_rk p_r)  +  sum_r min_x [weight_r x D_r(x) - p_r x]

The first part is one Dijkstra a session, over all routes of the network; the second has its minimum where the
marginal cost is the price. The prices taken are the marginal costs at the allocation's own loads: at the optimum, and
only there, the bound meets the cost (eq. (14) of the joint paper: used routes are the cheapest ones). Where that
bound is loose, it is also taken at the marginal costs of some fractions of the loads, and the best one holds.
"""

from __future__ import annotations

import math

import numpy as np

from pricing.network import Allocation, Network
from pricing.problem import Problem, problem_of
from pricing.routes import cheapest_route
from pricing.values import Certificate, FloatArray

LOOSE = 0.01
"""Relative gap from which on more prices are tried for a better bound."""


def dual_bound(problem: Problem, unit_prices: FloatArray, offered: FloatArray) -> float:
    """D(p), s·bit/s: no allocation of the `offered` bit/s (K,) costs less.

    Parameters
    ----------
    unit_prices : array of shape (R,)
        Price of a unit of load, s·bit, none negative.
    """
    routes = sum(rate * cheapest_route(problem, session, unit_prices)[1] for session, rate in problem.active(offered))
    load = problem.laws.load_at(unit_prices / problem.weight)
    return float(routes + problem.total_cost(load) - unit_prices @ load)


def certify(
    network: Network, allocation: Allocation, offered: FloatArray | None = None, witness: Allocation | None = None
) -> Certificate:
    """Bound the distance of an allocation to the optimum, by the model.

    Parameters
    ----------
    offered : array of shape (K,), optional
        bit/s of each session; the nominal rates by default.
    witness : Allocation, optional
        Another feasible allocation whose marginal costs are tried as prices too. The bound of an optimum is the
        least cost itself: with it the gap is the true one, where prices of loaded servers make the allocation's own
        bound loose by percents though its cost is off by a hundredth of one.

    Returns
    -------
    Certificate
        Where the allocation is over capacity, `primal`, `gap` and the residuals are infinite; `dual` still holds.
        Zeros where nothing is offered.
    """
    problem = problem_of(network)
    rates = problem.rates if offered is None else np.asarray(offered, dtype=float)
    total = float(rates.sum())
    if not total:
        return Certificate(0.0, 0.0, 0.0, 0.0, 0.0)
    load = problem.loads(allocation, rates)
    primal = problem.total_cost(load)
    known = _witnessed(problem, witness, rates)
    if not math.isfinite(primal):
        dual = max(known, _best_bound(problem, load, rates)) / total
        return Certificate(math.inf, dual, math.inf, math.inf, math.inf)
    worst, excess, paid = _excess(problem, allocation, rates)
    wasted = excess / paid if paid > 0 else 0.0
    # At the marginal costs of its own loads, primal - D(p) is the excess; told so, it does not drown in rounding.
    if known > -math.inf:
        excess = min(excess, max(primal - known, 0.0))
    elif excess > LOOSE * primal:
        excess = min(excess, primal - _best_bound(problem, load, rates))
    dual = primal - excess
    gap = excess / dual if dual > 0 else math.inf if excess > 0 else 0.0
    return Certificate(primal / total, dual / total, gap, worst, wasted)


def _witnessed(problem: Problem, witness: Allocation | None, rates: FloatArray) -> float:
    """The bound at the marginal costs of a witness; -inf without one."""
    if witness is None:
        return -math.inf
    return dual_bound(problem, problem.unit_prices(problem.below(problem.loads(witness, rates))), rates)


def _best_bound(problem: Problem, load: FloatArray, rates: FloatArray) -> float:
    """The best of the bounds at the marginal costs of some fractions of the loads: at the loads themselves the bound
    is exact for an optimum, but far below it for an allocation with one overloaded resource."""
    full = problem.below(load)
    return max(dual_bound(problem, problem.unit_prices(part * full), rates) for part in (1.0, 0.9, 0.75, 0.5, 0.0))


def _excess(problem: Problem, allocation: Allocation, rates: FloatArray) -> tuple[float, float, float]:
    """Largest excess of a used route over its session's cheapest (s), the sum of rate times excess, and of rate times
    marginal cost (s·bit/s)."""
    prices = problem.unit_prices(problem.loads(allocation, rates))
    worst = excess = paid = 0.0
    for session, rate in problem.active(rates):
        cheapest = cheapest_route(problem, session, prices)[1]
        for route, weight in allocation.splits[session.name]:
            index, amount = problem.usage(route)
            cost = float(amount @ prices[index])
            worst = max(worst, cost - cheapest)
            excess += rate * weight * max(cost - cheapest, 0.0)
            paid += rate * weight * cost
    return worst, excess, paid
