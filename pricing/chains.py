"""Service chains: the places where a packet can be, and the steps between them.

A packet of a session with a chain of M functions is at a **place**: a node, and the **stage** it is at, how many of
the functions it has been through. It is written as the node's name alone at stage 0, then `Denver/1`, `Denver/2`. Two
kinds of **steps** lead from place to place: over a link at the same stage, and through a function's server at the same
node to the next stage. A destination is reached at stage M only. So places and steps are to such a session what nodes
and links are to others, its routes are trees of steps, and whether packets are computed before or after they are
duplicated is a question of the lightest tree.

What a bit/s of the session takes of a step's resource is its **use**: Xi of a link at stage m, the product of the
scalings of m functions, for frames have grown by so much; work over the mean frame at the source of a server, because
work is a packet's. This is the layered graph of Cai, Llorca, Tulino, Molisch (arXiv 2204.09030), Section VII-A and
Appendix F, with frames scaled in size and not in number: each destination is still owed exactly one copy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np

if TYPE_CHECKING:
    from pricing.network import LinkKey, Network, Session

BEHIND = "/"
"""Between a node's name and the stage; no name has it."""

MOST_FUNCTIONS = 16
"""Functions of one chain (ours); a label could tell 63 apart."""

SHORTEST_FRAME, LONGEST_FRAME = 58, 1514
"""Frames of a request at any stage, bytes: one that holds the head of its payload, one that fits."""


class Step(NamedTuple):
    """A step's resource, links first, then servers, and what a bit/s that enters the session takes of it."""

    resource: int
    use: float


def place(node: str, stage: int) -> str:
    """The name of a place.

    >>> place("Denver", 0), place("Denver", 2)
    ('Denver', 'Denver/2')
    """
    return f"{node}{BEHIND}{stage}" if stage else node


def node_of(name: str) -> str:
    """The node of a place."""
    return name.partition(BEHIND)[0]


def stage_of(name: str) -> int:
    """The stage of a place."""
    return int(name.partition(BEHIND)[2] or 0)


def goal(session: Session, destination: str) -> str:
    """The place where a destination has what it is owed."""
    return place(destination, len(session.chain))


def end_of(session: Session, name: str) -> str:
    """The node of a place at which destinations are reached; empty for a place at an earlier stage."""
    return node_of(name) if stage_of(name) == len(session.chain) else ""


def sizes(session: Session) -> tuple[float, ...]:
    """Frame at each stage over the frame that entered, (M + 1): Xi."""
    return tuple(np.cumprod([1.0, *(function.scaling for function in session.chain)]).tolist())


def places_of(network: Network, session: Session) -> tuple[str, ...]:
    """Every place of a session, stage by stage."""
    return tuple(place(node.name, m) for m in range(len(session.chain) + 1) for node in network.nodes)


def steps_of(network: Network, session: Session) -> Mapping[LinkKey, Step]:
    """Every step of a session by the two places it joins; of a session without a chain its links."""
    return _steps_of(network.plain, session)


@lru_cache(maxsize=1 << 10)
def _steps_of(network: Network, session: Session) -> Mapping[LinkKey, Step]:
    found: dict[LinkKey, Step] = {}
    for m, size in enumerate(sizes(session)):
        for i, link in enumerate(network.links):
            found[place(link.src, m), place(link.dst, m)] = Step(i, size)
    for m, function in enumerate(session.chain):
        for name in function.servers:
            j = network.server_index[name]
            node = network.servers[j].node
            found[place(node, m), place(node, m + 1)] = Step(len(network.links) + j, function.work / session.frame_bits)
    return found


def server_at(network: Network, session: Session, step: LinkKey) -> str:
    """Name of the server that a step goes through; empty for one over a link."""
    place_ = steps_of(network, session)[step].resource - len(network.links)
    return network.servers[place_].name if place_ >= 0 else ""


def running(network: Network) -> frozenset[str]:
    """Names of the servers that run functions."""
    return frozenset(name for session in network.sessions for function in session.chain for name in function.servers)


def graph_of(session: Session, links: Collection[LinkKey], at: Mapping[str, str]) -> nx.DiGraph[str]:
    """The places of a session that these links lead to, with the servers that stand at the nodes `at`."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node(session.source)
    graph.add_edges_from((place(a, m), place(b, m)) for m in range(len(session.chain) + 1) for a, b in links)
    for m, function in enumerate(session.chain):
        nodes = (at[name] for name in function.servers if name in at)
        graph.add_edges_from((place(node, m), place(node, m + 1)) for node in nodes)
    return graph


def problems_of(network: Network) -> Iterator[str]:
    """What is wrong with the chains of a network, a sentence each."""
    at = {server.name: server.node for server in network.servers}
    asked = {name for session in network.sessions if session.kind == "anycast" for name in session.destinations}
    standing: dict[str, str] = {}
    for name in sorted(running(network) & at.keys()):
        if name in asked:
            yield f"server {name}: it answers a service and runs functions; one of the two is accepted"
        if standing.setdefault(at[name], name) != name:
            there = standing[at[name]]
            yield f"server {name}: {there} runs functions at {at[name]} too; one such server at a node is accepted"
    for session in network.sessions:
        what = f"session {session.name}"
        if session.chain and session.kind != "multicast":
            yield f"{what}: a chain, and {session.kind}; chains of multicast sessions are accepted, of one member too"
        if len(session.chain) > MOST_FUNCTIONS:
            yield f"{what}: a chain of {len(session.chain)} functions; up to {MOST_FUNCTIONS} are accepted"
        for function in session.chain:
            for name in function.servers:
                if name not in at:
                    yield f"{what}: function {function.name}: unknown server {name!r}"
            if not function.servers:
                yield f"{what}: function {function.name}: no server runs it"
            for key, value in (("scaling", function.scaling), ("work", function.work)):
                if not 0 < value < np.inf:
                    yield f"{what}: function {function.name}: {key}: {value}, a finite number above 0 is accepted"
