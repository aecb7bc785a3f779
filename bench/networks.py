"""Least delay between all pairs of nodes: flows by projected Newton against CVXPY with Clarabel, by destination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import cvxpy as cp
import numpy as np
from scipy.sparse import csr_array

from bench.row import Row, timed
from pricing.delay import PollaczekKhinchine, mm1
from pricing.errors import WardropError
from pricing.joint.equilibrium import social_costs
from pricing.joint.network_flow import RouteSpace, Routing, least_cost, space_of_pairs
from pricing.values import FloatArray

GAP = 1e-6
TOP = 0.7
"""Utilization of the most loaded link at the optimum."""

CHANGE = 0.05
"""Most that a session's rate changes by before a warm start, a ratio."""

SEED = 1

HOW = (
    "install it with .venv/bin/pip install topohub (the extra `bench`), or clone github.com/piotrjurkiewicz/topohub, "
    "which holds SNDlib's germany50 and the Gabriel graphs, and put it on PYTHONPATH"
)
"""How to get the topologies."""


@dataclass(frozen=True)
class Case:
    """Links of capacity 1 (M/M/1, which deliver waits) and a rate for every pair of nodes."""

    name: str
    nodes: int
    space: RouteSpace
    law: PollaczekKhinchine
    rates: FloatArray

    def solve(self, rates: FloatArray | None = None, warm: Routing | None = None) -> Routing:
        """The optimum, by our solver."""
        return least_cost(self.space, social_costs(self.law), self.rates if rates is None else rates, GAP, warm)


@lru_cache
def case_of(key: str) -> Case:
    """A topology of TopoHub; rates are products of two drawn weights (from 0.5 to 1.5), scaled to `TOP`.

    Raises
    ------
    ModuleNotFoundError
        Without the package topohub.
    """
    topohub: Any = import_module("topohub")
    found = topohub.get(key)
    number = {node["id"]: i for i, node in enumerate(found["nodes"])}
    cables = np.array([(number[edge["source"]], number[edge["target"]]) for edge in found["edges"]])
    tails, heads = np.concatenate([cables, cables[:, ::-1]]).T
    nodes = len(number)
    origins, sinks = np.divmod(np.arange(nodes * nodes), nodes)
    apart = origins != sinks
    capacity = np.ones(tails.size)
    space = space_of_pairs(tails, heads, origins[apart], sinks[apart], capacity)
    weight = np.random.default_rng(SEED).uniform(0.5, 1.5, nodes)
    rates = weight[space.origins] * weight[space.sinks]
    case = Case(key, nodes, space, mm1(capacity, sojourn=False), rates / rates.sum())
    low, high = 0.0, 1.0
    while _top(case, high) < TOP:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _top(case, middle) < TOP else (low, middle)
    return replace(case, rates=case.rates * low)


def _top(case: Case, scale: float) -> float:
    """Utilization of the most loaded link; past `TOP` it need not be exact."""
    try:
        found = least_cost(case.space, social_costs(case.law), case.rates * scale, 1e-4)
    except WardropError:
        return 1.0
    return float(found.loads.max())


def by_clarabel(case: Case) -> FloatArray:
    """Loads of least delay by CVXPY and Clarabel, flows gathered by destination: x^2/(1 - x) = 1/(1 - x) - 1 - x."""
    space, links = case.space, case.space.tails.size
    ends = np.concatenate([space.tails, space.heads])
    signs = np.repeat([1.0, -1.0], links)
    balance = csr_array((signs, (ends, np.tile(np.arange(links), 2))), shape=(case.nodes, links))
    supply = np.zeros((case.nodes, case.nodes))
    supply[space.origins, space.sinks] = case.rates
    supply -= np.diag(supply.sum(axis=0))
    flows = cp.Variable((links, case.nodes), nonneg=True)
    load = cp.Variable(links)
    cost = cp.sum(cp.inv_pos(1 - load)) - links - cp.sum(load)
    task = cp.Problem(cp.Minimize(cost), [balance @ flows == supply, load == cp.sum(flows, axis=1)])
    task.solve(solver=cp.CLARABEL)
    return np.asarray(load.value)


def against_clarabel(key: str, wanted: float, runs: int, peers: int) -> Row:
    """Cold starts on one topology."""
    case = case_of(key)
    ours, found = timed("projected Newton", case.solve, lambda f: f.certificate.gap, runs)
    dual = found.certificate.dual * case.rates.sum()
    peer, _ = timed(
        "CVXPY + Clarabel",
        lambda: by_clarabel(case),
        lambda load: float(case.law.cost(load).sum()) / dual - 1,
        peers,
        False,
    )
    size = {"nodes": case.nodes, "links": case.space.tails.size, "sessions": case.rates.size}
    facts = {"top utilization": float(found.loads.max()), "rounds": found.rounds, "routes": found.flows.size}
    return Row(f"least delay, {key}, all pairs", size, ours, peer, wanted, facts=facts)


def warm_start(key: str, runs: int) -> Row:
    """Every rate changed by up to 5 %: from the old routes against from nothing."""
    case = case_of(key)
    before = case.solve()
    rates = case.rates * np.random.default_rng(SEED).uniform(1 - CHANGE, 1 + CHANGE, case.rates.size)
    ours, _ = timed("warm start", lambda: case.solve(rates, before), lambda f: f.certificate.gap, runs)
    peer, _ = timed("its own cold start", lambda: case.solve(rates), lambda f: f.certificate.gap, runs)
    size = {"nodes": case.nodes, "links": case.space.tails.size, "sessions": case.rates.size}
    return Row(f"warm start, {key}, rates changed by up to 5 %", size, ours, peer, 5.0, note="under 100 ms is wanted")
