"""Flows of a cleared market, and what they load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pricing.market.model import Market
from pricing.network import LinkKey, Route
from pricing.values import FloatArray


@dataclass(frozen=True)
class Flow:
    """Tokens/s of a demand (by its place) on a route to an asset, served in a period."""

    demand: int
    period: int
    route: Route
    rate: float


def moved(market: Market, flow: Flow) -> Iterator[tuple[LinkKey, float]]:
    """The links that a flow loads, requests out and answers back, with bits a token."""
    load = market.workloads[market.workload_index[market.demands[flow.demand].workload]]
    for src, dst in flow.route.links:
        if load.bits_out:
            yield (src, dst), load.bits_out
        if load.bits_back:
            yield (dst, src), load.bits_back


def compute(market: Market, flow: Flow) -> float:
    """Work a token of a flow's workload."""
    return market.workloads[market.workload_index[market.demands[flow.demand].workload]].compute


def loads(market: Market, flows: Sequence[Flow]) -> tuple[FloatArray, FloatArray]:
    """work/s at each asset (J, T) and bit/s on each link (L, T) that flows make."""
    assets, links = (np.zeros((len(part), market.periods)) for part in (market.assets, market.links))
    for flow in flows:
        assets[market.asset_index[flow.route.server], flow.period] += compute(market, flow) * flow.rate
        for key, bits in moved(market, flow):
            links[market.link_index[key], flow.period] += bits * flow.rate
    return assets, links
