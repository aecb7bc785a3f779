"""A market on real packets: the scenario of a market file, with capacities and demand scaled down by one factor.

    tokens of a request   as many as fit into packets of some `PACKET` bytes, there and back, headers included
    rate                  scale x tokens/s / tokens of a request x frame
    capacity              scale x capacity / share, since the live market clears against a share of it

A token keeps its bits on each link and its work, so the live market clears what the file says, scaled: the same prices,
the same routes, the same full links. Requests come at equal distances and each work is as long as its tokens say: a
market has no queues, and none are asked for. Packet sizes, arrivals and the scale are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pricing.errors import ScenarioError
from pricing.market.dispatch import SHARE
from pricing.market.model import Demand, Workload
from pricing.network import FRAME_OVERHEAD_BITS, ArrivalLaw, Network, Server, Session, SizeLaw
from topologies.hosts.sockets import ECHO, HEADER
from topologies.market import MarketFile
from topologies.scenario import Control, Scenario

PACKET = 1000
"""Bytes that neither a request nor its answer exceeds, where headers leave the choice (ours)."""

SCALE = 1e-3
"""Emulated over real capacities and demand, by default (ours): us-5 is then some 1,400 packets/s."""

FLOWS, FEWEST = 200, 50
"""Flows of a session: a split is as fine as half a point, or two (ours)."""

TURN = 30.0
"""Seconds in which every flow of a session has its turn, where it has more than the fewest: a split comes out as it was
decided over whole turns (ours)."""

OVERHEAD = FRAME_OVERHEAD_BITS // 8
NAME_LENGTH = 15


def scenario_of(file: MarketFile, scale: float = SCALE) -> Scenario:
    """The scenario in which a market's first period runs.

    Raises
    ------
    ScenarioError
        When a workload asks without sending, or a demand has several values; with every such problem.
    """
    market = file.market
    loads = {load.name: load for load in market.workloads}
    demands = [demand for demand in market.demands if demand.period == 0]
    problems = [
        f"workload {load.name}: a request of no bytes; accepted: some, for it must reach the asset"
        for load in market.workloads
        if not load.bits_out
    ]
    problems += [f"demand {demand}: found steps; accepted: one value" for demand in demands if len(demand.steps) > 1]
    if problems:
        raise ScenarioError(str(file.path), problems)
    links = tuple(
        replace(link, capacity=round(scale / SHARE * link.capacity), fee=fee)
        for link, fee in zip(market.links, market.fees, strict=True)
    )
    servers = tuple(
        Server(asset.name, asset.node, _brief(scale / SHARE * asset.capacity), scv=0.0, cost=_brief(asset.costs[0]))
        for asset in sorted(market.assets, key=lambda asset: asset.name)
    )
    ends = {
        load.name: tuple(sorted(asset.name for asset in market.assets if asset.runs(load.name)))
        for load in market.workloads
    }
    names = _names(demands)
    sessions = [
        _session(name, demand, loads[demand.workload], ends[demand.workload], scale)
        for name, demand in zip(names, demands, strict=True)
    ]
    network = Network(
        market.name,
        tuple(sorted(market.nodes, key=lambda node: node.name)),
        links,
        servers,
        tuple(sorted(sessions, key=lambda session: session.name)),
        currency=market.currency,
    )
    scaled = f"On packets: capacities and demand times {scale:g}, capacities over {SHARE:g}, the share that is cleared."
    said = f"{file.provenance.rstrip()} {scaled} Packet sizes and arrivals are ours."
    return Scenario(market.name, file.title, said, network, Control(slots=256), Path(f"{market.name}.yaml"))


def frames(load: Workload) -> tuple[float, int, int]:
    """Tokens of a request, its frame and all frames of its answer, bytes; no answer where no bits go back."""
    out, back = load.bits_out / 8, load.bits_back / 8
    wanted = PACKET / max(out, back)
    least = max((OVERHEAD + HEADER.size) / out, (OVERHEAD + ECHO.size) / back if back else 0.0)
    request = math.ceil(max(wanted, least) * out) if wanted < least else math.floor(wanted * out)
    tokens = request / out
    return tokens, request, round(tokens * back)


def _brief(value: float) -> float:
    """The number with twelve digits, as files show it."""
    return float(f"{value:.12g}")


def _names(demands: Sequence[Demand]) -> list[str]:
    """WORKLOAD-REGION, cut to what names may be, with a number at the end where one is taken."""
    names: list[str] = []
    for demand in demands:
        name, number = f"{demand.workload[:10]}-{demand.region}"[:NAME_LENGTH], 1
        while name in names:
            number += 1
            name = name[: NAME_LENGTH - len(str(number))] + str(number)
        names.append(name)
    return names


def _session(name: str, demand: Demand, load: Workload, servers: tuple[str, ...], scale: float) -> Session:
    tokens, request, answer = frames(load)
    payload = request - OVERHEAD
    requests = scale * demand.rate / tokens
    return Session(
        name=name,
        source=demand.region,
        kind="anycast",
        destinations=servers,
        rate=_brief(8 * request * requests),
        size=SizeLaw("fixed", payload, payload, payload),
        flows=min(FLOWS, max(FEWEST, round(TURN * requests))),
        response_bits=8.0 * answer,
        work=_brief(load.compute * tokens),
        service=demand.workload,
        arrivals=ArrivalLaw("deterministic"),
        tokens=_brief(tokens),
        value=demand.steps[0].value,
        limit=load.limit,
    )
