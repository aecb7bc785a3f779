"""The market of a network that runs: what its sessions ask for now, cleared, as routes with shares.

    d = offered tokens / frame,  b_out = frame / tokens,  b_back = answer / tokens,  a = work / tokens

A session is a demand; sessions that ask for the same thing in the same way are one workload; a server is an asset. All
bits are those of frames, headers included, as links carry them. Links and servers are cleared at a `SHARE` of their
capacity, since a queue at capacity has no steady state.

The policy `market` clears at its first round and then every `PERIOD` rounds, each time from the last answer; a failure
ends its memory, so that it clears at once, and so does demand that no longer fits what was cleared: a link that is
cleared nearly full takes minutes to empty a queue that a late answer has let grow. While nobody asks for anything, what
the scenario announces is cleared. What is not worth its price is shed: `Decision.served`. What must be served
and cannot be is shed last, as if it were worth `FIRM` times the dearest token, and named; so is what no server within
its latency limit is left for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import networkx as nx
import numpy as np

from pricing.market.clearing import Clearing, clear
from pricing.market.model import Asset, Demand, Market, Step, Workload
from pricing.network import Allocation, Link, Network, Route, Session
from pricing.problem import joined, make_allocation, problem_of
from pricing.shortest import shortest_path
from pricing.values import Decision, FloatArray, Loads, Quote, Quotes

SHARE = 0.9
"""Part of every capacity that is cleared against, headers included (ours)."""

PERIOD = 10
"""Rounds from one clearing to the next: 10 s with a tick of a second (ours)."""

ROOM = 0.05
"""Part of a share that what is offered now may be above it before the market is cleared again at once (ours)."""

FIRM = 1e3
"""How much more a token is worth that must be served than the dearest other one (ours)."""

IDLE = 1e-6
"""Part of the largest demand at which a session is cleared that offers nothing: it has a price and a route too."""

LEAST = 1e-4
"""Part of a session that no slot could carry: such routes are left out."""

ENDLESS = 1e12
"""work/s of the node where unicast sessions end: it answers at once."""

ROUNDING = 1e-9
"""Part by which latency limits are widened, so that a sum of links may be taken in any order."""


@dataclass(frozen=True)
class Ground:
    """What of a network's market no demand changes.

    Parameters
    ----------
    workloads : tuple of Workload
    names : tuple of str
        Name of each session's workload, in the network's order.
    within : tuple of bool
        Whether a session has a destination within its latency limit. Multicast sessions are in no market: they take
        their shortest trees.
    """

    links: tuple[Link, ...]
    assets: tuple[Asset, ...]
    workloads: tuple[Workload, ...]
    names: tuple[str, ...]
    within: tuple[bool, ...]


@dataclass(frozen=True)
class Dispatch:
    """A market that was cleared for a network, as the network carries it out.

    Parameters
    ----------
    clearing : Clearing, optional
        None where no session can be served at all.
    served : array of shape (K,)
        Part of each session that is let in.
    """

    clearing: Clearing | None
    allocation: Allocation
    served: FloatArray
    quotes: Quotes


@dataclass(frozen=True)
class Held:
    """What the policy remembers: its last dispatch, and the rounds since."""

    last: Dispatch
    age: int = 0


@lru_cache(maxsize=16)
def ground(network: Network, share: float = SHARE) -> Ground:
    """Links and assets at a share of their capacity, and the workloads of the sessions."""
    kinds: dict[Hashable, Workload] = {}
    names, turns = [], Counter[Hashable]()
    runs: dict[str, set[str]] = {server.name: set() for server in network.servers}
    for session in network.sessions:
        load = _workload(session)
        kind = (session.service, session.destinations, replace(load, name=""))
        turns[session.source, kind] += 1
        key = kind, turns[session.source, kind]
        if key not in kinds:
            taken = any(load.name == other.name for other in kinds.values())
            kinds[key] = replace(load, name=f"{load.name}/{len(kinds)}") if taken else load
        names.append(kinds[key].name)
        for end in session.destinations:
            runs.setdefault(end, set()).add(names[-1])
    assets = [
        Asset(server.name, server.node, share * server.capacity, (server.cost,), frozenset(runs.pop(server.name)))
        for server in network.servers
    ]
    assets += [Asset(node, node, ENDLESS, (0.0,), frozenset(loads)) for node, loads in sorted(runs.items())]
    links = tuple(replace(link, capacity=share * link.capacity, propagation=_latency(link)) for link in network.links)
    return Ground(links, tuple(assets), tuple(kinds.values()), tuple(names), _within(network))


def _workload(session: Session) -> Workload:
    tokens = session.tokens
    out, back, limit = session.frame_bits / tokens, session.response_bits / tokens, session.limit * (1 + ROUNDING)
    return Workload(session.service or session.name, session.work / tokens, out, back, limit, tokens=tokens)


def _latency(link: Link) -> float:
    return link.propagation if link.latency is None else link.latency


def _within(network: Network) -> tuple[bool, ...]:
    """Whether each session has a destination within its limit, out and back over the same cables."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(node.name for node in network.nodes)
    there = {link.key: _latency(link) for link in network.links}
    graph.add_edges_from((a, b, {"far": far + there[b, a]}) for (a, b), far in there.items() if (b, a) in there)
    at = {server.name: server.node for server in network.servers}
    far = {
        source: nx.single_source_dijkstra_path_length(graph, source, weight="far")
        for source in {session.source for session in network.sessions}
    }
    nearest = [
        min(far[session.source].get(at.get(end, end), math.inf) for end in session.destinations)
        for session in network.sessions
    ]
    limits = [session.limit * (1 + ROUNDING / 2) for session in network.sessions]
    rows = zip(network.sessions, nearest, limits, strict=True)
    return tuple(s.kind != "multicast" and near <= limit and math.isfinite(near) for s, near, limit in rows)


def market_of(network: Network, offered: FloatArray, share: float = SHARE) -> Market | None:
    """The market of what sessions offer now.

    Parameters
    ----------
    offered : array of shape (K,)
        bit/s of each session.
    share : float
        Part of every capacity that is cleared against.

    Returns
    -------
    Market or None
        Its demands are those of the sessions that have a destination within their limit; None where none has.
    """
    base = ground(network, share)
    tokens = _tokens(network, offered)
    worth = _firm(network)
    rows = zip(network.sessions, base.names, base.within, tokens.tolist(), strict=True)
    demands = [
        Demand(session.source, name, (Step(rate, min(session.value, worth)),))
        for session, name, near, rate in rows
        if near
    ]
    if not demands:
        return None
    return Market(
        network.name,
        network.currency or "currency",
        network.nodes,
        base.links,
        tuple(link.fee for link in network.links),
        base.assets,
        base.workloads,
        tuple(demands),
    )


def _tokens(network: Network, offered: FloatArray) -> FloatArray:
    """tokens/s of each session: next to nothing where it alone offers nothing, all as announced where nobody does."""
    asked = offered if offered.any() else problem_of(network).rates
    tokens: FloatArray = asked * np.array([session.tokens / session.frame_bits for session in network.sessions])
    return np.maximum(tokens, IDLE * (float(tokens.max()) or 1.0))


def _firm(network: Network) -> float:
    """What a token counts for that must be served, currency."""
    dearest = max((server.cost for server in network.servers), default=0.0)
    tokens = [session.work / session.tokens * dearest for session in network.sessions]
    values = [session.value for session in network.sessions if math.isfinite(session.value)]
    return FIRM * (max(tokens + values) or 1.0)


def dispatch(network: Network, offered: FloatArray, share: float = SHARE, last: Clearing | None = None) -> Dispatch:
    """Clear the market of what sessions offer now.

    Parameters
    ----------
    offered : array of shape (K,)
        bit/s of each session.
    last : Clearing, optional
        To go on from.

    Raises
    ------
    NotConverged
        As `pricing.market.clearing.clear`.
    """
    market = market_of(network, offered, share)
    clearing = None if market is None else clear(market, last)
    names, tokens = ground(network, share).names, _tokens(network, offered)
    routes: list[Route] = []
    rates: list[float] = []
    served = np.array([float(session.kind == "multicast") for session in network.sessions])
    prices: dict[str, float] = {}
    if clearing is not None:
        of = {(session.source, name): k for k, (session, name) in enumerate(zip(network.sessions, names, strict=True))}
        demands = clearing.market.demands
        ours = [of[demand.region, demand.workload] for demand in demands]
        for k, shed, price in zip(ours, clearing.shed, clearing.prices.tolist(), strict=True):
            served[k], prices[network.sessions[k].name] = 1 - shed / tokens[k], price
        for flow in clearing.flows:
            session = network.sessions[ours[flow.demand]]
            if flow.rate > LEAST * demands[flow.demand].rate:
                server = flow.route.server if session.kind == "anycast" else ""
                routes.append(Route(session.name, flow.route.links, server))
                rates.append(flow.rate)
    served[served < LEAST] = 0.0
    carried = {route.session for route in routes}
    idle = [(route, weight) for route, weight in shortest_path(network) if route.session not in carried]
    allocation = make_allocation([*routes, *(route for route, _ in idle)], [*rates, *(weight for _, weight in idle)])
    return Dispatch(clearing, allocation, served, _quotes(network, tokens, served, prices, clearing))


def _quotes(
    network: Network, tokens: FloatArray, served: FloatArray, prices: dict[str, float], clearing: Clearing | None
) -> Quotes:
    links, servers = {}, {}
    if clearing is not None:
        duals, index = clearing.duals, clearing.market.asset_index
        for e, link in enumerate(clearing.market.links):
            scarce = float(duals.links[e, 0])
            links[link.key] = Quote(float(clearing.link_loads[e, 0]), link.fee + scarce, scarce * link.capacity)
        for server in network.servers:
            asset, scarce = clearing.market.assets[index[server.name]], float(duals.assets[index[server.name], 0])
            load = float(clearing.asset_loads[index[server.name], 0])
            servers[server.name] = Quote(load, server.cost + scarce, scarce * asset.capacity)
    missing = ((1 - served) * tokens).tolist()
    shed = {session.name: rate for session, rate in zip(network.sessions, missing, strict=True)}
    short = [
        s.name for s, part in zip(network.sessions, served, strict=True) if part < 1 - LEAST and math.isinf(s.value)
    ]
    gap = max(clearing.certificate.gap, 0.0) if clearing else None
    return Quotes(network.currency, prices, shed, tuple(short), links, servers, gap=gap)


def decide_market(network: Network, loads: Loads, state: Any) -> Decision:
    """Clear the market where it is time, else go on as it was cleared: the policy `market`."""
    prices = problem_of(network).prices(joined(loads))
    held = state if isinstance(state, Held) else None
    if held is not None and held.age + 1 < PERIOD and _fits(network, held.last, loads.offered):
        held = replace(held, age=held.age + 1)
    else:
        held = Held(dispatch(network, loads.offered, last=held.last.clearing if held else None))
    last = held.last
    quotes = replace(last.quotes, age=held.age)
    return Decision(prices, last.allocation, held, served=last.served, quotes=quotes)


def _fits(network: Network, last: Dispatch, offered: FloatArray) -> bool:
    """Whether what is offered now, as far as it is let in, finds room where the last clearing leads it."""
    problem = problem_of(network)
    loads = problem.loads(last.allocation, last.served * offered)
    return bool((loads <= (1 + ROOM) * SHARE * problem.capacity).all())
