"""What the prices of a cleared market are made of, and who gets what is paid.

    pi_i^k = a_k c_n + a_k mu_n + sum b_k t_e + sum b_k nu_e       compute + scarcity + fees + congestion
    sum pi x = sum compute + sum fees + sum mu C + sum nu B        payments = costs + rents

Both hold because all prices come from one dual vector; the ends of two price intervals together are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pricing.market.clearing import Clearing
from pricing.market.flows import Flow, compute, moved
from pricing.market.program import Frame, cheapest
from pricing.network import LinkKey, Route
from pricing.values import FloatArray


@dataclass(frozen=True)
class Components:
    """A locational price in its parts, currency a token.

    `route` is the one that the parts are of: the dearest in use, or the cheapest where all demand is shed, which may
    then cost more than the price; `congestion` has only links that are full.
    """

    route: Route
    period: int
    compute: float
    scarcity: float
    fees: float
    congestion: Mapping[LinkKey, float]

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return self.compute + self.scarcity + self.fees + sum(self.congestion.values())


def components(clearing: Clearing, flow: Flow) -> Components:
    """The parts of what a token costs on the route of a flow."""
    market, duals = clearing.market, clearing.duals
    asset, work = market.asset_index[flow.route.server], compute(market, flow)
    fees, congestion = 0.0, dict[LinkKey, float]()
    for key, bits in moved(market, flow):
        link = market.link_index[key]
        fees += bits * market.fees[link]
        if duals.links[link, flow.period] > 0:
            congestion[key] = congestion.get(key, 0.0) + bits * float(duals.links[link, flow.period])
    own = work * market.assets[asset].costs[flow.period]
    return Components(
        flow.route, flow.period, own, work * float(duals.assets[asset, flow.period]), fees, congestion
    )  # fmt: skip


def price_components(clearing: Clearing) -> tuple[Components, ...]:
    """The parts of each locational price (D,), on the route in use that carries most, or the cheapest one."""
    most: dict[int, Flow] = {}
    for flow in clearing.flows:
        if flow.demand not in most or flow.rate > most[flow.demand].rate:
            most[flow.demand] = flow
    idle = [d for d in range(len(clearing.market.demands)) if d not in most]
    return tuple(components(clearing, flow) for _, flow in sorted({**most, **_cheapest(clearing, idle)}.items()))


def _cheapest(clearing: Clearing, demands: list[int]) -> dict[int, Flow]:
    """A flow of nothing on the cheapest route of each demand."""
    if not demands:
        return {}
    market, frame = clearing.market, Frame(clearing.market)
    best: dict[int, tuple[float, Flow]] = {}
    for (k, period), which in frame.tasks.items():
        some = np.intersect1d(which, demands)
        if not len(some):
            continue
        costs, ways = cheapest(frame, clearing.duals, k, period, some, float(frame.limits[k]))
        for d, cost, way in zip(some.tolist(), costs.tolist(), ways, strict=True):
            if way is not None and (d not in best or cost < best[d][0]):
                keys = tuple(market.links[link].key for link in way.links)
                route = Route(str(market.demands[d]), keys, market.assets[way.asset].name)
                best[d] = cost, Flow(d, period, route, 0.0)
    return {d: flow for d, (_, flow) in best.items()}


def prices_everywhere(clearing: Clearing, workload: str, period: int = 0) -> FloatArray:
    """What a token of a workload would cost at every node (N,), currency; infinite where none can be served."""
    market = clearing.market
    frame, k = Frame(market), market.workload_index[workload]
    frame.region = np.arange(len(market.nodes))
    return cheapest(frame, clearing.duals, k, period, frame.region, float(frame.limits[k]))[0]


@dataclass(frozen=True)
class Settlement:
    """Who pays and who gets, currency/s, summed over the periods.

    Parameters
    ----------
    payments : float
        Of the regions: price times what is served.
    compute, fees : float
        Costs of the assets, and fees of the links.
    asset_rents, link_rents : arrays of shape (J, T) and (L, T)
        Scarcity times capacity, congestion times capacity.
    lost : float
        Value of what is shed; nobody pays it.
    """

    payments: float
    compute: float
    fees: float
    asset_rents: FloatArray
    link_rents: FloatArray
    lost: float

    @property
    def imbalance(self) -> float:
        """(payments - costs - rents)/payments, a ratio: rounding."""
        earned = self.compute + self.fees + float(self.asset_rents.sum() + self.link_rents.sum())
        return (self.payments - earned) / max(self.payments, 1e-300)


def settle(clearing: Clearing) -> Settlement:
    """What everybody pays and gets at the prices of a clearing."""
    market, duals = clearing.market, clearing.duals
    own = fees = 0.0
    for flow in clearing.flows:
        parts = components(clearing, flow)
        own, fees = own + parts.compute * flow.rate, fees + parts.fees * flow.rate
    capacities = np.array([asset.capacity for asset in market.assets])
    bandwidths = np.array([link.capacity for link in market.links])
    return Settlement(
        payments=float(sum(clearing.prices[flow.demand] * flow.rate for flow in clearing.flows)),
        compute=own,
        fees=fees,
        asset_rents=duals.assets * capacities[:, None],
        link_rents=duals.links * bandwidths[:, None],
        lost=clearing.cost - own - fees,
    )


def worth_of_compute(clearing: Clearing, node: str, cost: float, period: int = 0) -> float:
    """What the first work/s of a new asset at a node is worth, that would cost `cost` a work and run everything.

    Currency a work: the most that any region would save by sending a token there, for each work that it takes.
    """
    market, frame = clearing.market, Frame(clearing.market)
    best = 0.0
    for (k, when), which in frame.tasks.items():
        if when == period:
            tolls, limit = frame.fees + clearing.duals.links[:, period], float(frame.limits[k])
            costs = frame.searcher.way_to(market.node_index[node], k, tolls, limit, frame.region[which])
            best = max(best, float(((clearing.prices[which] - costs) / market.workloads[k].compute).max()) - cost)
    return best
