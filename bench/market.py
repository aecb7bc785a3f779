"""Clearing markets: a market cleared again from its last answer, and routes on demand against CVXPY."""

from __future__ import annotations

import numpy as np

from bench.row import Row, timed
from pricing.market.clearing import Clearing, clear
from pricing.market.model import Asset, Demand, Market, Step, Workload, scaled
from pricing.market.reference import reference
from pricing.network import Link, Node
from topologies.market import load

SEED = 0
MEASURE = "(cost - dual bound)/cost, with our dual bound on both sides"


def drawn(nodes: int, workloads: int) -> Market:
    """A ring of cables with as many chords again; two of five nodes compute; everything may be shed at a price."""
    rng = np.random.default_rng(SEED)
    cables = {(i, (i + 1) % nodes) for i in range(nodes)}
    while len(cables) < 2 * nodes:
        a, b = sorted(rng.choice(nodes, 2, replace=False).tolist())
        if (b, a) not in cables:
            cables.add((a, b))
    keys = sorted({(a, b) for a, b in cables} | {(b, a) for a, b in cables})
    loads = tuple(
        Workload(f"w{k}", float(rng.uniform(0.3, 3)), float(rng.uniform(1, 3)), float(rng.uniform(1, 9)))
        for k in range(workloads)
    )
    demands = tuple(
        Demand(f"n{i}", each.name, (Step(float(rng.uniform(0.2, 1.8)), 50.0),)) for i in range(nodes) for each in loads
    )
    sites = rng.choice(nodes, max(2, 2 * nodes // 5), replace=False).tolist()
    work = sum(each.compute for each in loads) * nodes
    assets = tuple(
        Asset(f"a{s}", f"n{s}", 1.4 * work / len(sites) * float(rng.uniform(0.5, 1.5)), (float(rng.uniform(1, 3)),))
        for s in sites
    )
    room = 1.5 * sum(each.bits_back for each in loads)
    links = tuple(Link(f"n{a}", f"n{b}", room * float(rng.uniform(0.5, 1.5)), 0.002) for a, b in keys)
    nodes_ = tuple(Node(f"n{i}") for i in range(nodes))
    return Market("drawn", "USD", nodes_, links, (0.01,) * len(links), assets, loads, demands)


def _size(market: Market) -> dict[str, int]:
    return {"nodes": len(market.nodes), "links": len(market.links), "workloads": len(market.workloads),
            "demands": len(market.demands)}  # fmt: skip


def again(runs: int) -> Row:
    """us-20 cleared again after all demand moved by 3 %, from the last answer."""
    market = load("us-20").market
    before, moved = clear(market), scaled(market, 1.03)
    ours, found = timed("from the last answer", lambda: clear(moved, before), lambda f: f.certificate.gap, runs)
    facts = {"rounds": found.rounds, "milliseconds": 1e3 * ours.wall}
    return Row("us-20 cleared again, under 50 ms wanted", _size(market), ours, measure=MEASURE, facts=facts)


def against_cvxpy(nodes: int, workloads: int, runs: int) -> Row:
    """Routes on demand against CVXPY with Clarabel on every simple route of at most four links."""
    market = drawn(nodes, workloads)
    ours, found = timed("routes on demand", lambda: clear(market), lambda f: f.certificate.gap, runs)
    peer, _ = timed(
        "CVXPY + Clarabel", lambda: reference(market, 4), lambda f: f[0] / found.certificate.dual - 1, 1, False
    )
    note = "the peer has routes of at most four links"
    return Row(f"market {nodes} x {workloads}", _size(market), ours, peer, 10.0, MEASURE, note)


def large(nodes: int) -> Row:
    """Many nodes x 20 workloads, once."""
    market = drawn(nodes, 20)

    def run() -> Clearing:
        return clear(market)

    ours, found = timed("routes on demand", run, lambda f: f.certificate.gap, 1, False)
    facts: dict[str, float] = {"rounds": found.rounds, "flows": len(found.flows), "full links": len(found.saturated())}
    note = "500 nodes in under 10 s are wanted; `pricing.market.start` says how"
    return Row(f"market {nodes} x 20", _size(market), ours, measure=MEASURE, note=note, facts=facts)
