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

from pricing.joint.cheapest import cheapest_costs
from pricing.network import Allocation, Network
from pricing.problem import Problem, joined, problem_of
from pricing.values import Certificate, FloatArray, Loads

LOOSE = 0.01
"""Relative gap from which on more prices are tried for a better bound."""


def dual_bound(problem: Problem, unit_prices: FloatArray, offered: FloatArray) -> float:
    """D(p), s·bit/s: no allocation of the `offered` bit/s (K,) costs less.

    Parameters
    ----------
    unit_prices : array of shape (R,)
        Price of a unit of load, s·bit, none negative.
    """
    routes = float(offered @ cheapest_costs(problem, unit_prices))
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


def certify_loads(network: Network, loads: Loads, bound: float = -math.inf) -> Certificate:
    """What loads alone say of a running network: nobody need tell who sends what where.

    With p the marginal costs at the loads x, all traffic pays p.x, and on the cheapest routes it would pay
    sum_k rate_k min over routes (sum_r A_rk p_r). The difference is zero exactly at Wardrop's equilibrium of p. Traffic
    of no session, where there is some, counts as if it had no need to be there.

    Parameters
    ----------
    loads : Loads
        Measured. Noise of the loads is noise of the residual.
    bound : float
        A lower bound on the mean delay that is known beside the one that the loads give, s; such as the optimum.

    Returns
    -------
    Certificate
        `kkt_residual` is NaN: it is a matter of routes. Infinite where a load reaches its capacity.
    """
    problem, load = problem_of(network), joined(loads)
    total, primal = float(loads.offered.sum()), problem.total_cost(load)
    if not total:
        return Certificate(0.0, 0.0, 0.0, math.nan, 0.0)
    if not math.isfinite(primal):
        return Certificate(math.inf, bound, math.inf, math.nan, math.inf)
    prices = problem.unit_prices(load)
    paid = float(prices @ load)
    excess = max(paid - float(loads.offered @ cheapest_costs(problem, prices)), 0.0)
    dual = max((primal - excess) / total, bound)
    gap = max(primal / total / dual - 1, 0.0) if dual > 0 else math.inf if excess > 0 else 0.0
    return Certificate(primal / total, dual, gap, math.nan, excess / paid if paid > 0 else 0.0)


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
    active = {session.name for session, _ in problem.active(rates)}
    pairs = [(route, weight) for route, weight in allocation if route.session in active]
    sessions = np.array([problem.network.session_index[route.session] for route, _ in pairs], dtype=np.intp)
    start, index, amount = problem.usages([route for route, _ in pairs])
    way = np.repeat(np.arange(len(pairs)), np.diff(start))
    cost = np.bincount(way, amount * prices[index], minlength=len(pairs))
    above = cost - cheapest_costs(problem, prices)[sessions]
    flow = rates[sessions] * np.array([weight for _, weight in pairs])
    return max(float(above.max(initial=0.0)), 0.0), float(flow @ np.maximum(above, 0.0)), float(flow @ cost)
