"""The virtual network of the backpressure family: a network's sessions as casts, its links and servers in slots.

A unicast session is a cast of one destination, a multicast one a cast of all its members, with its chain: the
servers of its functions are processors at the nodes where they stand. An anycast session is a cast
whose one destination is any of its servers (Remark 1), and whose chain is one function, the server's work (13): each
server is a node of its own behind the node where it stands, with a **processor** of its capacity. So a queue forms
before a server as before a link, and what it can do is in no other session's way.

Units inside: a packet is what a link of the mean capacity carries in a slot. Links and servers have `HEADROOM` of
their capacities, so that real queues stay finite where virtual ones are stable; a packet costs 1 on every link and
nothing at a server.

Answers are no session: they take from the links of the way back what the flows of the last epoch say. So links have
what is left beside them (`capacities`).

Source: Cai, Llorca, Tulino, Molisch (arXiv 2204.09030), Sections II and VII-A; headroom and answers are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from pricing.chains import place, running, sizes
from pricing.multicast.instance import Cast, Function, Instance, Processor, SlotLink
from pricing.network import LinkKey, Network, Session
from pricing.values import FloatArray

HEADROOM = 0.95
"""Part of a capacity that virtual packets may use (ours)."""

LEFT = 0.1
"""Part of a link that answers cannot take (ours): no virtual link is without any capacity."""

SERVER = "@"
"""What the node of a server is called: this, and its name; no node of a scenario can be called so."""

Moves = dict[tuple[LinkKey, int, int], float]
"""Packets a slot by link, status and status sent; work is a move, from a server's node to it, or a function's step."""


def unit(network: Network) -> float:
    """bit/s that are a packet a slot."""
    return float(np.mean([link.capacity for link in network.links]))


@lru_cache(maxsize=32)
def instance_of(network: Network, headroom: float = HEADROOM) -> Instance:
    """The instance of a network's sessions, on that part of every capacity."""
    one = unit(network)
    asked = {name for session in network.sessions if session.kind == "anycast" for name in session.destinations}
    servers = [server for server in network.servers if server.name in asked]
    nodes = tuple(node.name for node in network.nodes)
    links = [SlotLink(link.src, link.dst, headroom * link.capacity / one, 1.0) for link in network.links]
    for server in servers:
        least = min(_work(session, one) for session in network.sessions if server.name in session.destinations)
        links.append(SlotLink(server.node, SERVER + server.name, headroom * server.capacity / least))
    at = {server.name: server.node for server in network.servers}
    casts = tuple(_cast(session, one, at) for session in network.sessions)
    functions = [server for server in network.servers if server.name in running(network)]
    return Instance(
        network.name,
        (*nodes, *(SERVER + server.name for server in servers)),
        tuple(links),
        casts,
        (
            *(Processor(SERVER + server.name, headroom * server.capacity) for server in servers),
            *(Processor(server.node, headroom * server.capacity) for server in functions),
        ),
    )


def _cast(session: Session, one: float, at: Mapping[str, str]) -> Cast:
    if session.chain:
        chain = tuple(
            # work is a packet's, whatever its size: of what is here a packet, less where frames have grown
            Function(
                each.scaling, one * each.work / session.frame_bits / size, tuple(at[name] for name in each.servers)
            )
            for each, size in zip(session.chain, sizes(session), strict=False)
        )
        return Cast(session.name, session.source, session.destinations, session.rate / one, chain)
    if session.kind != "anycast":
        return Cast(session.name, session.source, session.destinations, session.rate / one)
    any_server = tuple(SERVER + name for name in session.destinations)
    work = Function(1.0, _work(session, one), any_server)
    return Cast(session.name, session.source, (any_server,), session.rate / one, (work,))


def _work(session: Session, one: float) -> float:
    """Work of a packet of the virtual network."""
    return one * session.work / session.frame_bits


@lru_cache(maxsize=32)
def crossings(network: Network) -> tuple[LinkKey | None, ...]:
    """For each edge of the layered graph the link that a packet crosses there; None where it only comes near a server.

    A packet is at a server when its work is done: what waits before it has not arrived. Of a session with a chain it is
    the step.
    """
    instance = instance_of(network)
    layered, nodes, count = instance.layered, instance.nodes, len(instance.nodes)
    at = {SERVER + server.name: server.node for server in network.servers}
    found: list[LinkKey | None] = []
    for k, tail, head in zip(layered.cast.tolist(), layered.tail.tolist(), layered.head.tolist(), strict=True):
        ends = [divmod(end - int(layered.vertices[k]), count) for end in (tail, head)]
        here, there = (nodes[i] for _, i in ends)
        if network.sessions[k].chain:
            step = [place(nodes[i], stage) for stage, i in ends]
            found.append(None if there in at else (step[0], step[1]))
        elif here == there:
            found.append((at[here], here))
        else:
            found.append((here, there) if there not in at else None)
    return tuple(found)


def capacities(network: Network, moves: Mapping[str, Moves]) -> FloatArray:
    """Capacity of each resource of the instance in a slot (R,), beside the answers to what sessions moved."""
    whole = instance_of(network).layered.capacity
    answers = np.zeros(len(whole))
    for session in network.sessions:
        if session.response_bits > 0:
            for ((src, dst), _, _), amount in moves.get(session.name, {}).items():
                back = network.link_index.get((dst, src))
                if back is not None:
                    answers[back] += amount * session.response_bits / session.frame_bits
    return np.maximum(whole - answers, LEFT * whole)
