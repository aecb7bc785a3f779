"""How far from cleared an answer is, computed from the answer alone: flows, what is shed, and prices.

    bound = sum over demands and steps of rate x min(value, cheapest route) - sum mu C - sum nu B

lies below the cost of every feasible answer, for any mu and nu that are not negative, when the cheapest route is over
all routes of the network within the limit. At the optimum it is the cost: strong duality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pricing.market.flows import Flow, compute, loads, moved
from pricing.market.model import Market
from pricing.market.program import Duals, Frame, cheapest
from pricing.values import FloatArray


@dataclass(frozen=True)
class Certificate:
    """What optimality asks for, each as a ratio that should be 0 up to rounding.

    Parameters
    ----------
    primal, dual : float
        Cost of the answer and the bound below every answer, currency/s.
    gap : float
        (primal - dual)/primal.
    primal_residual : float
        Most that a capacity is exceeded, a demand missed or a latency limit exceeded, relative.
    dual_residual : float
        Most that a demand's price exceeds its cheapest route or the value of what is shed of it, relative to the price.
    complementarity : float
        Rents of what is not full, dear routes in use, and prices below the value of what was shed, relative to the
        cost.
    """

    primal: float
    dual: float
    gap: float
    primal_residual: float
    dual_residual: float
    complementarity: float


def certify(
    market: Market, flows: Sequence[Flow], shed: Sequence[float] | FloatArray, duals: Duals, frame: Frame | None = None
) -> Certificate:
    """The certificate of an answer; O(one search for each workload and period)."""
    frame = frame or Frame(market)
    missed, asked = np.asarray(shed, dtype=float), np.array([demand.rate for demand in market.demands])
    assets, links = loads(market, flows)
    served = np.bincount([f.demand for f in flows], [f.rate for f in flows], len(asked)) if flows else 0 * asked
    lost, left = _lost(market, missed)
    priced = [(_cost(market, frame, flow), _price(market, duals, flow), flow) for flow in flows]
    cost = float(sum(own * flow.rate for own, _, flow in priced)) + float(lost.sum())
    least = cheapest_of_all(frame, duals)
    rents = float((duals.assets * frame.capacities[:, None]).sum() + (duals.links * frame.bandwidths[:, None]).sum())
    bound = sum(
        step.rate * min(step.value, float(price))
        for demand, price in zip(market.demands, least, strict=True)
        for step in demand.steps
    )
    over = [assets / frame.capacities[:, None] - 1, links / frame.bandwidths[:, None] - 1]
    late = [_latency(frame, flow) / frame.limits[frame.workload[flow.demand]] - 1 for flow in flows]
    primal = [*(float(part.max(initial=0.0)) for part in over), float(np.abs((served + missed) / asked - 1).max())]
    prices = np.maximum(np.abs(duals.demands), 1e-300)
    slack = float((duals.assets * (frame.capacities[:, None] - assets)).sum())
    slack += float((duals.links * (frame.bandwidths[:, None] - links)).sum())
    dear = sum(abs(price - duals.demands[flow.demand]) * flow.rate for _, price, flow in priced)
    dear += sum(abs(float(duals.demands[d]) * missed[d] - lost[d]) for d in np.flatnonzero(left))
    return Certificate(
        primal=cost,
        dual=float(bound) - rents,
        gap=(cost - float(bound) + rents) / max(cost, 1e-300),
        primal_residual=max(0.0, *primal, *late),
        dual_residual=float(np.maximum((duals.demands - least) / prices, 0.0).max()),
        complementarity=(abs(slack) + float(dear)) / max(cost, 1e-300),
    )


def cheapest_of_all(frame: Frame, duals: Duals) -> FloatArray:
    """The cheapest route of each demand at the duals (D,), over all routes and all periods it may be served in."""
    least = np.full(frame.demands, math.inf)
    for (k, period), which in frame.tasks.items():
        costs, _ = cheapest(frame, duals, k, period, which, float(frame.limits[k]))
        least[which] = np.minimum(least[which], costs)
    return least


def _lost(market: Market, shed: FloatArray) -> tuple[FloatArray, list[bool]]:
    """Value of what is shed of each demand, the least valued first; and whether it lies within one step of one
    value."""
    values, single = np.zeros(len(shed)), [False] * len(shed)
    for d in np.flatnonzero(shed > 0).tolist():
        rest, steps = float(shed[d]), sorted(market.demands[d].steps, key=lambda step: step.value)
        single[d] = len(steps) == 1 and rest < (1 - 1e-9) * steps[0].rate
        for step in steps:
            part = min(rest, step.rate)
            values[d] += part * step.value if part else 0.0
            rest -= part
    return values, single


def _cost(market: Market, frame: Frame, flow: Flow) -> float:
    """Compute and fees of a token of a flow."""
    fees = sum(bits * frame.fees[market.link_index[key]] for key, bits in moved(market, flow))
    return float(compute(market, flow) * frame.costs[market.asset_index[flow.route.server], flow.period] + fees)


def _price(market: Market, duals: Duals, flow: Flow) -> float:
    """What the route of a flow costs a token at the duals."""
    asset = market.asset_index[flow.route.server]
    price = compute(market, flow) * (market.assets[asset].costs[flow.period] + duals.assets[asset, flow.period])
    for key, bits in moved(market, flow):
        link = market.link_index[key]
        price += bits * (market.fees[link] + duals.links[link, flow.period])
    return float(price)


def _latency(frame: Frame, flow: Flow) -> float:
    index = frame.market.link_index
    return float(sum(frame.searcher.latency[index[key]] for key in flow.route.links))
