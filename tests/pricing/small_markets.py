"""Markets small enough to be solved by hand, and drawn ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pricing.market.model import Asset, Demand, Market, Step, Workload
from pricing.network import Link, Node


def two_nodes(capacity: float = 6.0, demand: float = 10.0, value: float = math.inf, limit: float = math.inf) -> Market:
    """Cheap compute at A, dear at B where the demand is; a cable of `capacity` bit/s, a bit a token each way.

    A token costs 1 at A and 3 at B, and a bit 0.25 on the cable.
    """
    return Market(
        "two", "USD", (Node("A"), Node("B")),
        (Link("A", "B", capacity, 0.005), Link("B", "A", 100.0, 0.005)), (0.25, 0.25),
        (Asset("a", "A", 20.0, (1.0,)), Asset("b", "B", 5.0, (3.0,))),
        (Workload("chat", 1.0, 1.0, 1.0, limit),),
        (Demand("B", "chat", (Step(demand, value),)),),
        token_bits=0.5,
    )  # fmt: skip


def drawn(seed: int, nodes: int = 6, loads: int = 3, value: float = 20.0) -> Market:
    """A ring with chords; half of the nodes compute; what is dear is shed."""
    rng = np.random.default_rng(seed)
    cables = {(i, (i + 1) % nodes) for i in range(nodes)} | {(0, nodes // 2)}
    keys = sorted({(a, b) for a, b in cables} | {(b, a) for a, b in cables})
    workloads = tuple(
        Workload(f"w{k}", float(rng.uniform(0.3, 3)), float(rng.uniform(1, 3)), float(rng.uniform(1, 9)),
                 float(rng.choice([0.03, 0.06, math.inf]))) for k in range(loads)
    )  # fmt: skip
    sites = sorted(rng.choice(nodes, nodes // 2, replace=False).tolist())
    return Market(
        "drawn", "USD", tuple(Node(f"n{i}") for i in range(nodes)),
        tuple(Link(f"n{a}", f"n{b}", float(rng.uniform(20, 60)), 0.004) for a, b in keys),
        tuple(float(rng.uniform(0, 0.2)) for _ in keys),
        tuple(Asset(f"a{s}", f"n{s}", float(rng.uniform(10, 40)), (float(rng.uniform(1, 3)),)) for s in sites),
        workloads,
        tuple(Demand(f"n{i}", load.name, (Step(float(rng.uniform(1, 6)), value),))
              for i in range(nodes) for load in workloads),
    )  # fmt: skip


def firm(market: Market) -> Market:
    """The market with everything to be served."""
    return replace(market, demands=tuple(replace(d, steps=(Step(d.rate),)) for d in market.demands))
