"""A second opinion on the clearing: CVXPY and Clarabel on every route there is, written down in advance.

It shares neither the search for routes nor the solver with `pricing.market.clearing`; the number of routes grows
without measure, so it is for small networks only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import cvxpy as cp
import networkx as nx
import numpy as np
from scipy.sparse import coo_array

from pricing.errors import Infeasible
from pricing.market.model import Market


def reference(market: Market, most_links: int | None = None) -> tuple[float, np.ndarray]:
    """Least cost, currency/s, and locational prices (D,) by CVXPY over all simple routes of at most so many links.

    Raises
    ------
    Infeasible
        When the solver says so.
    """
    demands, routes = len(market.demands), list(_routes(market, most_links))
    uses = [(row, n, amount) for n, (_, entries) in enumerate(routes) for row, amount in entries.items()]
    rows, columns, amounts = zip(*uses, strict=True)
    count = demands + (len(market.assets) + len(market.links)) * market.periods
    matrix = coo_array((amounts, (rows, columns)), shape=(count, len(routes))).tocsr()
    steps = [(d, step) for d, demand in enumerate(market.demands) for step in demand.steps]
    finite = [(d, step) for d, step in steps if math.isfinite(step.value)]
    asked = np.array([demand.rate for demand in market.demands])
    parts = [asset.capacity for asset in market.assets] + [link.capacity for link in market.links]
    capacity = np.repeat(parts, market.periods)
    tokens, unit = float(asked.mean()), float(np.mean([cost for cost, _ in routes])) or 1.0
    flow = cp.Variable(len(routes), nonneg=True)
    served = matrix[:demands] @ flow
    cost = (np.array([cost for cost, _ in routes]) / unit) @ flow
    limits = [matrix[demands:] @ flow / (capacity / tokens) <= 1]
    if finite:
        shed = cp.Variable(len(finite), nonneg=True)
        into = coo_array((np.ones(len(finite)), ([d for d, _ in finite], range(len(finite)))), (demands, len(finite)))
        served = served + into.tocsr() @ shed
        cost = cost + np.array([step.value / unit for _, step in finite]) @ shed
        limits.append(shed <= np.array([step.rate / tokens for _, step in finite]))
    balance = served == asked / tokens
    task = cp.Problem(cp.Minimize(cost), [balance, *limits])
    task.solve(solver=cp.CLARABEL)
    if task.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise Infeasible(f"market {market.name}: no flows carry the demand ({task.status})")
    return float(task.value) * unit * tokens, -np.asarray(balance.dual_value) * unit


def _routes(market: Market, most_links: int | None) -> Iterator[tuple[float, dict[int, float]]]:
    """Cost a token and entries of every route of every demand in every period."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(node.name for node in market.nodes)
    both = {link.key: link for link in market.links if (link.dst, link.src) in market.link_index}
    graph.add_edges_from(both)
    paths: dict[tuple[str, str], list[list[str]]] = {}
    for d, demand in enumerate(market.demands):
        load = market.workloads[market.workload_index[demand.workload]]
        for j, asset in enumerate(market.assets):
            if not asset.runs(load.name):
                continue
            pair = (demand.region, asset.node)
            if pair not in paths:
                here = pair[0] == pair[1]
                paths[pair] = [[pair[0]]] if here else list(nx.all_simple_paths(graph, *pair, cutoff=most_links))
            for path in paths[pair]:
                links = list(itertools.pairwise(path))
                if sum(both[a, b].propagation + both[b, a].propagation for a, b in links) > load.limit:
                    continue
                for period in range(demand.period, min(demand.period + load.wait, market.periods - 1) + 1):
                    yield _column(market, d, j, links, period)


def _column(
    market: Market, d: int, j: int, links: list[tuple[str, str]], period: int
) -> tuple[float, dict[int, float]]:
    load = market.workloads[market.workload_index[market.demands[d].workload]]
    demands, assets = len(market.demands), len(market.assets)
    entries = {d: 1.0, demands + j * market.periods + period: load.compute}
    cost = load.compute * market.assets[j].costs[period]
    for a, b in links:
        for key, bits in (((a, b), load.bits_out), ((b, a), load.bits_back)):
            e = market.link_index[key]
            cost += bits * market.fees[e]
            row = demands + (assets + e) * market.periods + period
            entries[row] = entries.get(row, 0.0) + bits
    return cost, entries
