"""Whether the parts of a network fit: what `pricing.network.Network` checks once, when it is made.

Every problem is a sentence that names the part, what was found and what is accepted; all are found at once.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import networkx as nx

from pricing import chains

if TYPE_CHECKING:
    from pricing.network import Network, Session

GROUPS = ipaddress.ip_network("239.0.0.0/8")
"""Addresses of groups: those of IPv4 that are no one else's business (RFC 2365)."""


def problems_of(network: Network) -> Iterator[str]:
    """Every problem of a network, a sentence each; none where its parts fit."""
    yield from _name_problems(network)
    yield from _number_problems(network)
    names = {node.name for node in network.nodes}
    servers = {server.name for server in network.servers}
    for link in network.links:
        for end in link.key:
            if end not in names:
                yield f"link {link}: unknown node {end!r}"
        if link.src == link.dst:
            yield f"link {link}: both ends are the same node"
    for server in network.servers:
        if server.node not in names:
            yield f"server {server.name}: unknown node {server.node!r}"
    for session in network.sessions:
        if session.source not in names:
            yield f"session {session.name}: unknown source {session.source!r}"
        accepted = servers if session.kind == "anycast" else names
        for destination in session.destinations:
            if destination not in accepted:
                yield f"session {session.name}: unknown destination {destination!r}"
        if session.kind == "unicast" and len(session.destinations) != 1:
            count = len(session.destinations)
            yield f"session {session.name}: a unicast session has one destination, found {count}"
        if session.kind == "unicast" and session.destinations[:1] == (session.source,):
            yield f"session {session.name}: its destination is its own source"
        if not session.destinations:
            yield f"session {session.name}: no destination"
        if session.kind == "multicast":
            yield from _group_problems(session)
        elif session.joined:
            yield f"session {session.name}: joined, and {session.kind}; members of multicast sessions come and go"
    yield from chains.problems_of(network)
    yield from _reach_problems(network)


def _name_problems(network: Network) -> Iterator[str]:
    for what, values in (
        ("node", [node.name for node in network.nodes]),
        ("link", [str(link) for link in network.links]),
        ("server", [server.name for server in network.servers]),
        ("session", [session.name for session in network.sessions]),
    ):
        for name in sorted({value for value in values if values.count(value) > 1}):
            yield f"{what} {name!r}: the name is used twice"
    for name in sorted({node.name for node in network.nodes} & {server.name for server in network.servers}):
        yield f"server {name!r}: a node has the same name"


def _number_problems(network: Network) -> Iterator[str]:
    def positive(what: str, value: float, unit: str) -> Iterator[str]:
        if not (math.isfinite(value) and value > 0):
            yield f"{what}: {value}, a positive finite number of {unit} is accepted"

    def from_zero(what: str, value: float, accepted: str) -> Iterator[str]:
        if not (math.isfinite(value) and value >= 0):
            yield f"{what}: {value}, {accepted}"

    for link in network.links:
        yield from positive(f"link {link}: capacity", link.capacity, "bit/s")
        yield from from_zero(f"link {link}: propagation", link.propagation, "seconds from 0 are accepted")
        yield from from_zero(f"link {link}: jitter", link.jitter, "seconds from 0 are accepted")
        if not 0 <= link.loss < 1:
            yield f"link {link}: loss: {link.loss}, a share from 0 to below 1 is accepted"
        yield from from_zero(f"link {link}: fee", link.fee, "a finite currency a bit from 0 is accepted")
    for server in network.servers:
        yield from positive(f"server {server.name}: capacity", server.capacity, "work/s")
        yield from from_zero(f"server {server.name}: scv", server.scv, "a finite number from 0 is accepted")
        yield from from_zero(f"server {server.name}: cost", server.cost, "a finite currency a work from 0 is accepted")
    for session in network.sessions:
        yield from from_zero(
            f"session {session.name}: rate", session.rate, "a finite number of bit/s from 0 is accepted"
        )
        yield from positive(f"session {session.name}: work", session.work, "work")
        yield from positive(f"session {session.name}: tokens", session.tokens, "tokens a request")
        if not session.value > 0:
            yield f"session {session.name}: value: {session.value}, a currency a token above 0 is accepted"
        if not session.limit > 0:
            yield f"session {session.name}: limit: {session.limit}, seconds above 0 are accepted"
        if session.klass < 1:
            yield f"session {session.name}: class: {session.klass}, a whole number from 1 is accepted"


def _reach_problems(network: Network) -> Iterator[str]:
    names = {node.name for node in network.nodes}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(link.key for link in network.links)
    if not names:
        yield "the network has no node"
        return
    parts = sorted(nx.weakly_connected_components(graph), key=lambda part: (-len(part), min(part)))
    if network.whole and len(parts) > 1:
        shown = "; ".join(", ".join(sorted(part)[:4]) for part in parts[:3])
        yield f"the network is disconnected: it has {len(parts)} parts ({shown})"
    at = {server.name: server.node for server in network.servers}
    for session in network.sessions:
        if session.source not in names:
            continue
        ways = chains.graph_of(session, graph.edges, at) if session.chain else graph
        reached = {chains.end_of(session, name) for name in nx.descendants(ways, session.source) | {session.source}}
        ends = {at.get(name, name) for name in session.destinations}
        missed = sorted(ends - reached)
        if missed and (session.kind == "multicast" or not ends & reached):
            lost = missed if session.kind == "multicast" else session.destinations
            through = " through its functions" if session.chain else ""
            yield f"session {session.name}: no route from {session.source} to {', '.join(lost)}{through}"


def _group_problems(session: Session) -> Iterator[str]:
    """What is wrong with a multicast session beside its names."""
    what, ends = f"session {session.name}", session.destinations
    if session.source in ends:
        yield f"{what}: its source {session.source!r} is among its destinations; leave it out"
    for name in sorted({name for name in ends if ends.count(name) > 1}):
        yield f"{what}: {name!r} is a destination twice, once is accepted"
    try:
        fits = ipaddress.ip_address(session.group) in GROUPS
    except ValueError:
        fits = False
    if not fits:
        yield f"{what}: group: found {session.group!r}, an address of {GROUPS} is accepted"
    if session.response_bits:
        found = f"found {session.response_bits:g}"
        yield f"{what}: response_bits: {found}, 0 is accepted: a group's packets are not answered"
