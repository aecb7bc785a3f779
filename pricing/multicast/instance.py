"""What a multicast policy is given: nodes, links, processors and casts, and the layered graph that they make.

A **cast** is a session of any kind: each packet that enters at its source owes one copy to every one of its
destinations. A destination is a node, or a group of nodes of which any one will do (anycast, Remark 1); one
destination is unicast, all other nodes are broadcast. A cast may have a **chain** of functions that its packets go
through on the way, in order and at any nodes that have a **processor**.

On the **layered graph** (Appendix F) processing is a link between layers, so forwarding and processing are one thing:
vertex (m, i) holds packets at node i that m functions have seen. Amounts are *normalised* (Remark 6): one unit is
what one packet at the source has become, however much functions blew it up. So nothing grows or shrinks on the way,
and what a unit takes of a resource is its `use`: Xi packets of a link, Xi r work of a processor.

Units: time in slots; link capacity in packets a slot, processor capacity in work a slot; cost a packet, or a unit of
work. Source: Cai, Llorca, Tulino, Molisch, 'Decentralized Control of Distributed Cloud Networks with Generalized
Network Flows' (arXiv 2204.09030), Sections II and VII-A, Appendix F.

| symbol | attribute | unit |
|---|---|---|
| C_ij, e_ij | `SlotLink.capacity`, `SlotLink.cost` | packets a slot, cost a packet |
| C_i, e_i | `Processor.capacity`, `Processor.cost` | work a slot, cost a unit of work |
| xi, r | `Function.scaling`, `Function.workload` | packets out for one in, work for one in |
| lambda | `Cast.rate` | packets a slot |
| H_i(d) | `Layered.hops` | links |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from pricing.errors import InstanceError
from pricing.network import LinkKey, Network
from pricing.values import FloatArray

MOST_DESTINATIONS = 64
"""Destinations of a cast fit into the bits of one word."""

IntArray = NDArray[np.int64]
MaskArray = NDArray[np.uint64]
Destination = str | tuple[str, ...]
"""A node, or several of which any one will do."""


@dataclass(frozen=True)
class SlotLink:
    """A directed link: `capacity` packets a slot (above 0), `cost` a packet (from 0)."""

    src: str
    dst: str
    capacity: float
    cost: float = 0.0

    def __str__(self) -> str:
        return f"{self.src}->{self.dst}"


@dataclass(frozen=True)
class Processor:
    """What a node can process: `capacity` work a slot (above 0), `cost` a unit of work (from 0)."""

    node: str
    capacity: float
    cost: float = 0.0

    def __str__(self) -> str:
        return f"processor {self.node}"


@dataclass(frozen=True)
class Function:
    """A function of a chain: `scaling` packets come out for one that goes in, which takes `workload` work.

    It runs at the processors of these `nodes`; at all of them where none is named.
    """

    scaling: float = 1.0
    workload: float = 1.0
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cast:
    """A session: packets that each owe one copy to every destination.

    Parameters
    ----------
    destinations : tuple of str or of tuples of str
        1 to 64; a tuple of nodes in it is one destination, any one of those nodes.
    rate : float
        Mean packets a slot that enter at `source`.
    chain : tuple of Function
        What packets go through before a destination may have them.
    """

    name: str
    source: str
    destinations: tuple[Destination, ...]
    rate: float
    chain: tuple[Function, ...] = ()

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """For each destination the nodes of which any one will do."""
        return tuple((d,) if isinstance(d, str) else d for d in self.destinations)

    @property
    def sizes(self) -> FloatArray:
        """Packets that one packet has become after 0, 1, ... functions (M + 1,): Xi of equation (47)."""
        return np.cumprod(np.array([1.0, *(function.scaling for function in self.chain)]))


@dataclass(frozen=True)
class Layered:
    """The layered graph of all casts as arrays: V vertices, E edges, R resources, K casts.

    Resources are the links, then the processors. An edge is one cast's use of one resource at one stage; the edges
    of resource r are `first[r]` to `first[r + 1]`, in the order of casts and stages.

    Attributes
    ----------
    capacity, cost : (R,)
        Of each resource, in its own unit (packets or work a slot; cost a packet or a unit of work).
    first : (R + 1,)
    cast, tail, head : (E,)
        Whose edge it is, and the vertices it joins.
    use : (E,)
        What one normalised packet takes of the resource: Xi packets of a link, Xi r work of a processor.
    vertices : (K + 1,)
        Vertices of cast k are `vertices[k]` to `vertices[k + 1]`: stage by stage, in the order of the nodes.
    source : (K,)
        Vertex where each cast enters.
    here : (V,)
        Destinations that a vertex is, as bits.
    """

    capacity: FloatArray
    cost: FloatArray
    first: IntArray
    cast: IntArray
    tail: IntArray
    head: IntArray
    use: FloatArray
    vertices: IntArray
    source: IntArray
    here: MaskArray

    def edges_of(self, cast: int) -> IntArray:
        """Places of a cast's edges."""
        return np.flatnonzero(self.cast == cast)

    @cached_property
    def resource(self) -> IntArray:
        """Resource of each edge (E,)."""
        return np.repeat(np.arange(len(self.capacity)), np.diff(self.first))

    @cached_property
    def blocked(self) -> MaskArray:
        """Destinations of the cast that no way leads to from a vertex, as bits, (V,)."""
        found = np.zeros(len(self.here), dtype=np.uint64)
        for k, (low, high) in enumerate(pairwise(self.vertices.tolist())):
            every = int(np.bitwise_or.reduce(self.here[low:high]))
            far = self.hops(k) == high - low
            for v in range(low, high):
                lost = sum(1 << d for d in np.flatnonzero(far[v - low]).tolist())
                found[v] = np.uint64(every & lost)
        return found

    def hops(self, cast: int) -> IntArray:
        """Fewest edges from each vertex of a cast to each of its destinations, (V_k, 64).

        Where there is no way it is the number of vertices, which is farther than any way; so it is for destinations
        that the cast has not.
        """
        low, high = int(self.vertices[cast]), int(self.vertices[cast + 1])
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(low, high))
        mine = self.edges_of(cast)
        graph.add_edges_from(zip(self.head[mine].tolist(), self.tail[mine].tolist(), strict=True))
        found = np.full((high - low, MOST_DESTINATIONS), high - low, dtype=np.int64)
        for d in range(MOST_DESTINATIONS):
            ends = [v for v in range(low, high) if int(self.here[v]) >> d & 1]
            if ends:
                for v, far in nx.multi_source_dijkstra_path_length(graph, ends, weight=None).items():
                    found[v - low, d] = far
        return found


@dataclass(frozen=True)
class Instance:
    """Nodes, links, processors and casts that fit together.

    Parameters
    ----------
    places : mapping of str to (float, float), optional
        Coordinates of the nodes, in any one unit, for what clusters by distance.

    Raises
    ------
    InstanceError
        With every problem at once: a name that is unknown or used twice, a capacity, scaling or workload that is not
        positive and finite, a cost or rate below 0, a source among its own destinations, no destination, more than
        64, a node that is two of them, a destination that no packet can reach through its chain.
    """

    name: str
    nodes: tuple[str, ...]
    links: tuple[SlotLink, ...]
    casts: tuple[Cast, ...]
    processors: tuple[Processor, ...] = ()
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [*self._name_problems(), *self._number_problems(), *self._cast_problems()]
        problems = problems or list(self._reach_problems())
        if problems:
            raise InstanceError(f"multicast instance {self.name}", problems)

    def _name_problems(self) -> Iterator[str]:
        for what, names in (
            ("node", list(self.nodes)),
            ("link", [str(link) for link in self.links]),
            ("processor", [p.node for p in self.processors]),
            ("cast", [cast.name for cast in self.casts]),
        ):
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"{what} {name!r}: found twice, one is accepted"
        known = set(self.nodes)
        for link in self.links:
            for end in sorted({link.src, link.dst} - known):
                yield f"link {link}: unknown node {end!r}; the nodes are {_few(self.nodes)}"
            if link.src == link.dst:
                yield f"link {link}: both ends are the same node, two nodes are accepted"
        for name in sorted({p.node for p in self.processors} - known):
            yield f"processor {name}: unknown node {name!r}; the nodes are {_few(self.nodes)}"
        if not self.casts:
            yield "casts: none, at least one is accepted"

    def _number_problems(self) -> Iterator[str]:
        for resource in self.resources:
            what = f"link {resource}" if isinstance(resource, SlotLink) else str(resource)
            if not (math.isfinite(resource.capacity) and resource.capacity > 0):
                yield f"{what}: capacity {resource.capacity}, a finite number above 0 is accepted (leave out 0)"
            if not (math.isfinite(resource.cost) and resource.cost >= 0):
                yield f"{what}: cost {resource.cost}, a finite number from 0 is accepted"
        for cast in self.casts:
            if not (math.isfinite(cast.rate) and cast.rate >= 0):
                yield f"cast {cast.name}: rate {cast.rate}, a finite number of packets a slot from 0 is accepted"
            for m, function in enumerate(cast.chain):
                for what, value in (("scaling", function.scaling), ("workload", function.workload)):
                    if not (math.isfinite(value) and value > 0):
                        yield f"cast {cast.name}, function {m + 1}: {what} {value}, a finite number above 0 is accepted"

    def _cast_problems(self) -> Iterator[str]:
        known = set(self.nodes)
        for cast in self.casts:
            ends = [node for group in cast.groups for node in group]
            if cast.source not in known:
                yield f"cast {cast.name}: unknown source {cast.source!r}; the nodes are {_few(self.nodes)}"
            for name in sorted(set(ends) - known):
                yield f"cast {cast.name}: unknown destination {name!r}; the nodes are {_few(self.nodes)}"
            if cast.source in ends:
                yield f"cast {cast.name}: its source {cast.source!r} is among its destinations; leave it out"
            for name in sorted({name for name in ends if ends.count(name) > 1}):
                yield f"cast {cast.name}: {name!r} is a destination twice, once is accepted"
            count = len(cast.destinations)
            if not 1 <= count <= MOST_DESTINATIONS:
                yield f"cast {cast.name}: {count} destinations, 1 to {MOST_DESTINATIONS} are accepted"
            if not all(cast.groups):
                yield f"cast {cast.name}: a destination without a node, a node or several are accepted"

    def _reach_problems(self) -> Iterator[str]:
        for k, cast in enumerate(self.casts):
            far = self.layered.hops(k)
            start = far[self.layered.source[k] - self.layered.vertices[k]]
            for d, group in enumerate(cast.groups):
                if start[d] == len(far):
                    way = " through its chain" if cast.chain else ""
                    yield f"cast {cast.name}: no way{way} from {cast.source!r} to destination {'|'.join(group)!r}"

    @cached_property
    def resources(self) -> tuple[SlotLink | Processor, ...]:
        """Links, then processors: the order of the layered graph's resources."""
        return (*self.links, *self.processors)

    @cached_property
    def layered(self) -> Layered:
        """The layered graph."""
        place = {name: i for i, name in enumerate(self.nodes)}
        count = len(self.nodes)
        base = np.cumsum([0, *(count * (len(cast.chain) + 1) for cast in self.casts)])
        edges: list[tuple[int, int, int, float]] = []
        first = [0]
        for resource in self.resources:
            for k, cast in enumerate(self.casts):
                for m, size in enumerate(cast.sizes.tolist()):
                    start = int(base[k]) + m * count
                    if isinstance(resource, SlotLink):
                        edges.append((k, start + place[resource.src], start + place[resource.dst], size))
                    elif m < len(cast.chain) and resource.node in (cast.chain[m].nodes or (resource.node,)):
                        at = start + place[resource.node]
                        edges.append((k, at, at + count, size * cast.chain[m].workload))
            first.append(len(edges))
        here = np.zeros(int(base[-1]), dtype=np.uint64)
        for k, cast in enumerate(self.casts):
            for d, group in enumerate(cast.groups):
                for name in group:
                    here[int(base[k + 1]) - count + place[name]] |= np.uint64(1 << d)
        owner, tail, head, use = zip(*edges, strict=True) if edges else ((), (), (), ())
        return Layered(
            np.array([resource.capacity for resource in self.resources], dtype=float),
            np.array([resource.cost for resource in self.resources], dtype=float),
            np.array(first),
            np.array(owner, dtype=np.int64),
            np.array(tail, dtype=np.int64),
            np.array(head, dtype=np.int64),
            np.array(use, dtype=float),
            base,
            np.array([int(base[k]) + place[cast.source] for k, cast in enumerate(self.casts)]),
            here,
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def from_network(
    network: Network,
    casts: tuple[Cast, ...],
    slot: float,
    packet_bits: float,
    costs: Mapping[LinkKey, float] | float = 0.0,
    processors: tuple[Processor, ...] = (),
) -> Instance:
    """An instance on the nodes and links of a network; its own servers and sessions are left out.

    Parameters
    ----------
    slot : float
        Length of a slot, s.
    packet_bits : float
        Size of a packet, bits: a link carries capacity x slot / packet_bits packets a slot.
    costs : mapping or float
        Cost a packet: of each link, or of every one.

    Raises
    ------
    InstanceError
        As `Instance`, and for links in `costs` that the network has not.
    """
    by_link = costs if isinstance(costs, Mapping) else dict.fromkeys(network.link_index, costs)
    strange = sorted(set(by_link) - set(network.link_index))
    if strange:
        raise InstanceError(network.name, [f"costs: unknown link {src}->{dst}" for src, dst in strange])
    return Instance(
        network.name,
        tuple(node.name for node in network.nodes),
        tuple(
            SlotLink(link.src, link.dst, link.capacity * slot / packet_bits, by_link.get(link.key, 0.0))
            for link in network.links
        ),
        casts,
        processors,
        {
            n.name: (n.longitude, n.latitude)
            for n in network.nodes
            if n.longitude is not None and n.latitude is not None
        },
    )


def broadcast(name: str, source: str, nodes: tuple[str, ...], rate: float) -> Cast:
    """The cast from a source to all other nodes."""
    return Cast(name, source, tuple(node for node in nodes if node != source), rate)
