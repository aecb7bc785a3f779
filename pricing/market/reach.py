"""Whether every demand of a market can be met at all, capacities aside."""

from __future__ import annotations

import numpy as np

from pricing.market.model import Market
from pricing.market.search import Searcher


def reach_problems(market: Market) -> list[str]:
    """A sentence for each workload that no asset runs, each region out of reach, each limit below every route's."""
    searcher, problems = Searcher(market), []
    for k, load in enumerate(market.workloads):
        regions = sorted({demand.region for demand in market.demands if demand.workload == load.name})
        if not regions:
            continue
        if not any(asset.runs(load.name) for asset in market.assets):
            problems.append(f"workload {load.name}: no asset runs it; accepted: workloads that one asset runs or more")
            continue
        least, ways = searcher.fastest(k, np.array([market.node_index[region] for region in regions]))
        for region, latency, way in zip(regions, least.tolist(), ways, strict=True):
            if way is None:
                problems.append(
                    f"demand {load.name}@{region}: no route there and back to an asset that runs {load.name}; "
                    "accepted: regions with a cable, or a link in each direction, towards one"
                )
            elif latency > load.limit:
                problems.append(
                    f"demand {load.name}@{region}: found a limit of {load.limit * 1e3:g} ms, but the nearest asset "
                    f"that runs {load.name}, {market.assets[way.asset].name}, is {latency * 1e3:.3g} ms away, out and "
                    "back; accepted: a limit from there on, or an asset that is nearer"
                )
    return problems
