"""The one network model: what exists, who wants what, and the routes between.

A **network** has nodes, directed links between them, servers at nodes, and sessions. A **session** carries traffic
from its source to its destinations: one node (`unicast`), any one of several servers (`anycast`), or every one of
several nodes, the members of a group (`multicast`). A **route** is a tree of directed links, outward from the source:
a path when there is one destination, ending at a server when the session is anycast; when it is multicast, a
duplication tree, on each link of which a copy crosses that owes the destinations of its **status**. An **allocation**
gives each session a weighted set of routes; it is the one thing that every policy decides and every switch carries out.

Units inside: bit/s, bits, seconds, work, work/s. All values are frozen; `Network` is checked once, when it is made,
and trusted afterwards. Sizes are those of Ethernet frames as a port counter sees them (14 bytes of Ethernet, 20 of
IP, 8 of UDP, no checksum), because that is what links carry and switches count.

| symbol | attribute | unit |
|---|---|---|
| mu_ij, C_e | `Link.capacity` | bit/s |
| mu_j | `Server.capacity` | work/s |
| lambda_k | `Session.rate` | bit/s |

A network may say what things cost, in one currency: what a bit pays at a link, a work at a server, and what a token of
a session is worth. Policies that look at delays alone pass over it; `pricing.market.dispatch` makes a market of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Literal

import networkx as nx

from pricing.errors import TopologyError
from pricing.soundness import problems_of

FRAME_OVERHEAD_BITS = 42 * 8
"""Ethernet, IPv4 and UDP headers around a payload, in bits."""

LONGEST_FRAME_BITS = 1450 * 8 + FRAME_OVERHEAD_BITS
"""Longest frame of an answer: what fits into one packet as the longest requests do."""

LinkKey = tuple[str, str]
"""A directed link is named by its two ends: (src, dst)."""


@dataclass(frozen=True)
class SizeLaw:
    """The law of packet payloads.

    Parameters
    ----------
    law : 'exponential', 'fixed' or 'points'
        Exponential sizes are cut to [`low`, `high`] (values outside are moved to the nearer end).
    mean : float
        Mean before the cut, in bytes of payload; of `points` their mean.
    low, high : int
        Smallest and largest payload, in bytes.
    points : tuple of (bytes, weight)
        Each payload and how often it comes, in proportion; of the law `points` only.
    """

    law: Literal["exponential", "fixed", "points"] = "exponential"
    mean: float = 500.0
    low: int = 40
    high: int = 1450
    points: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of_points(cls, points: Iterable[tuple[int, float]]) -> SizeLaw:
        """The law by which payloads have just these sizes, as often as their weights say.

        Examples
        --------
        >>> SizeLaw.of_points([(100, 3.0), (1100, 1.0)]).mean
        350.0
        """
        weights: dict[int, float] = {}
        for size, weight in points:
            weights[size] = weights.get(size, 0.0) + weight
        table = tuple((size, weight) for size, weight in sorted(weights.items()) if weight > 0)
        mean = sum(size * weight for size, weight in table) / sum(weights.values())
        return cls("points", mean, table[0][0], table[-1][0], table)

    @cached_property
    def frame_moments(self) -> tuple[float, float]:
        """First and second moment of a frame's size, in bits and bits squared.

        For the cut exponential, E[g(X)] = g(low) + integral of g'(x) exp(-x/mean) over [low, high], in closed form.
        """
        head = FRAME_OVERHEAD_BITS / 8
        if self.law == "fixed":
            size = self.mean + head
            return 8 * size, 64 * size * size
        if self.law == "points":
            whole = sum(weight for _, weight in self.points)
            square = sum((size + head) ** 2 * weight for size, weight in self.points) / whole
            return 8 * (self.mean + head), 64 * square
        m, a, b = self.mean, float(self.low), float(self.high)
        tail_a, tail_b = math.exp(-a / m), math.exp(-b / m)
        first = a + m * (tail_a - tail_b)
        second = a * a + 2 * (m * (a + m) * tail_a - m * (b + m) * tail_b)
        return 8 * (first + head), 64 * (second + 2 * head * first + head * head)


@dataclass(frozen=True)
class ArrivalLaw:
    """When packets come; models assume Poisson, whatever is sent.

    Parameters
    ----------
    law : 'poisson', 'deterministic', 'on-off' or 'replay'
        At random, at equal distances, at random in bursts, or as in a capture.
    on, off : float
        Mean lengths of the times with and without packets of `on-off`, s.
    profile : tuple of (seconds, factor)
        How the rate changes over time, again and again; factors are relative to each other. Empty: it does not.
    capture : str
        Path of the capture whose times and sizes `replay` sends, again and again, as fast as the rate asks.
    """

    law: Literal["poisson", "deterministic", "on-off", "replay"] = "poisson"
    on: float = 1.0
    off: float = 1.0
    profile: tuple[tuple[float, float], ...] = ()
    capture: str = ""


@dataclass(frozen=True)
class Node:
    """A switch, with its place on the map in degrees where it has one."""

    name: str
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True)
class Link:
    """A directed link.

    Parameters
    ----------
    src, dst : str
        Names of its two ends.
    capacity : float
        bit/s.
    propagation : float
        Seconds; emulated only where the kernel can.
    delivers : 'wait' or 'sojourn'
        Whether a packet's delay is its waiting time alone (an HTB link) or waiting and transmission (store and
        forward).
    queue : int
        Packets that fit into its FIFO.
    jitter, loss : float
        By how much its propagation varies, up and down, s, and the share of its packets that it loses; emulated only
        where the kernel can, and not in the model.
    fee : float
        Currency a bit.
    latency : float, optional
        Propagation that the sessions' limits count, s, where nothing of it is emulated; `propagation` by default.
    """

    src: str
    dst: str
    capacity: float
    propagation: float = 0.0
    delivers: Literal["wait", "sojourn"] = "wait"
    queue: int = 1000
    jitter: float = 0.0
    loss: float = 0.0
    fee: float = 0.0
    latency: float | None = None

    @property
    def key(self) -> LinkKey:
        """(src, dst)."""
        return (self.src, self.dst)

    def __str__(self) -> str:
        return f"{self.src}->{self.dst}"


@dataclass(frozen=True)
class Server:
    """A server at a node.

    Parameters
    ----------
    capacity : float
        Work it does in a second, work/s.
    scv : float
        Squared coefficient of variation of the work of one request: 1 exponential, 0 fixed.
    queue : int
        Requests that fit into its FIFO.
    cost : float
        Currency a work.
    """

    name: str
    node: str
    capacity: float
    scv: float = 1.0
    queue: int = 10_000
    cost: float = 0.0


@dataclass(frozen=True)
class Function:
    """A function of a chain: a packet goes in at any one of its servers, and a packet comes out.

    Parameters
    ----------
    servers : tuple of str
        Where it may run.
    scaling : float
        Frame that comes out over the frame that goes in, a ratio.
    work : float
        Mean work of a packet.
    """

    name: str
    servers: tuple[str, ...]
    scaling: float = 1.0
    work: float = 1.0


@dataclass(frozen=True)
class Session:
    """Traffic from one source to its destinations.

    Parameters
    ----------
    source : str
        Node where it enters.
    kind : 'unicast', 'anycast' or 'multicast'
        One node, any one of several servers, or every one of several nodes.
    destinations : tuple of str
        The node of a unicast session, the servers of an anycast one, or the nodes of a group's members.
    rate : float
        Offered bit/s of frames.
    size : SizeLaw
        Of requests.
    flows : int
        Equal flows (UDP ports) that it consists of.
    response_bits : float
        Frames of the answer to each request, bits; 0 for none. What is more than `LONGEST_FRAME_BITS` takes several.
    work : float
        Mean work of one request at a server.
    service : str
        Name of the service that an anycast session asks for.
    klass : int
        Priority class, 1 first.
    delay_cost : float
        What a second of one request's delay costs whoever waits, currency/s; where nobody said, 1: prices are seconds.
    arrivals : ArrivalLaw
        When its packets come.
    tokens : float
        Tokens that a request asks for.
    value : float
        What a token is worth that is served, currency; infinite where it must be served.
    limit : float
        Longest propagation out and back that it bears, s; infinite where any will do.
    group : str
        IPv4 address of a multicast session's group.
    joined : bool
        Whether a multicast session's members come and go: its destinations are those that may join.
    chain : tuple of Function
        What packets of a multicast session go through, in order, before a destination may have them.
    """

    name: str
    source: str
    kind: Literal["unicast", "anycast", "multicast"]
    destinations: tuple[str, ...]
    rate: float
    size: SizeLaw = field(default_factory=SizeLaw)
    flows: int = 200
    response_bits: float = 0.0
    work: float = 1.0
    service: str = ""
    klass: int = 1
    delay_cost: float = 1.0
    arrivals: ArrivalLaw = field(default_factory=ArrivalLaw)
    tokens: float = 1.0
    value: float = math.inf
    limit: float = math.inf
    group: str = ""
    joined: bool = False
    chain: tuple[Function, ...] = ()

    @property
    def frame_bits(self) -> float:
        """Mean frame size of a request, bits."""
        return self.size.frame_moments[0]

    @property
    def packet_rate(self) -> float:
        """Offered packets/s."""
        return self.rate / self.frame_bits

    @property
    def answer_frames(self) -> int:
        """Frames of the answer to a request."""
        return math.ceil(self.response_bits / LONGEST_FRAME_BITS)


@dataclass(frozen=True)
class Route:
    """A path of links from the session's source, or the tree of a group's copies.

    Parameters
    ----------
    links : tuple of LinkKey
        In the order in which a packet crosses them; of a tree each after the one that leads to it, a link as often as
        copies cross it. Of a session with a chain these are steps between places (`pricing.chains`).
    server : str
        The server at the end of an anycast session's path.
    statuses : tuple of tuples of str
        Of a multicast session, for each of `links` the destinations that the copy on it owes (`pricing.duplication`).
    """

    session: str
    links: tuple[LinkKey, ...]
    server: str = ""
    statuses: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def _hash(self) -> int:
        return hash((self.session, self.links, self.server, self.statuses))

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, object]:
        """The fields: hashes of strings differ from process to process."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes on the way of a path, source first; empty for a route without links."""
        return (self.links[0][0], *(dst for _, dst in self.links)) if self.links else ()

    def __str__(self) -> str:
        if self.statuses:
            pairs = zip(self.links, self.statuses, strict=True)
            return " ".join(f"{src}>{dst}{{{','.join(status)}}}" for (src, dst), status in pairs)
        way = ">".join(self.nodes) or "here"
        return f"{way}@{self.server}" if self.server else way


@dataclass(frozen=True)
class Allocation:
    """For each session a weighted set of routes: `splits[session]` is a tuple of (route, weight).

    Weights are ratios above 0 that add up to 1. Routes are sorted, so that equal allocations are equal values.
    """

    splits: Mapping[str, tuple[tuple[Route, float], ...]]

    def __iter__(self) -> Iterator[tuple[Route, float]]:
        for name in sorted(self.splits):
            yield from self.splits[name]


@dataclass(frozen=True)
class Network:
    """Nodes, links, servers and sessions that fit together.

    Parameters
    ----------
    whole : bool
        Whether it must hang together; what failures leave of a network need not.
    currency : str
        In which fees, costs and values are; empty where there are none.
    jobs : tuple of (mean, scv)
        Of the jobs that each resource serves, links first: what was learnt of them (`pricing.learnt`). Empty where the
        sessions' own laws say.

    Raises
    ------
    TopologyError
        When a name is used twice, an end or destination is unknown, a number is not positive and finite, the network
        is not connected, or a session has no route. The message holds every problem found, a line each.
    """

    name: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    servers: tuple[Server, ...]
    sessions: tuple[Session, ...]
    whole: bool = True
    currency: str = ""
    jobs: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        problems = list(problems_of(self))
        if problems:
            raise TopologyError("\n".join(problems))

    @cached_property
    def _hash(self) -> int:
        parts = self.name, self.nodes, self.links, self.servers, self.sessions, self.whole, self.currency, self.jobs
        return hash(parts)

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, object]:
        """The fields: hashes of strings differ from process to process."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def with_jobs(self, jobs: tuple[tuple[float, float], ...]) -> Network:
        """The same network with other jobs; it was checked already, and is not again."""
        made = copy(self)
        made.__dict__.update(jobs=jobs)
        return made

    def with_demand(self, factor: float) -> Network:
        """The same network whose sessions offer so many times as much."""
        return replace(self, sessions=tuple(replace(each, rate=factor * each.rate) for each in self.sessions))

    @cached_property
    def plain(self) -> Network:
        """The same network with the jobs of its sessions: what has nothing to do with delay laws is kept for it."""
        return self.with_jobs(()) if self.jobs else self

    @cached_property
    def classes(self) -> int:
        """Priority classes of its sessions: 1 where nobody has any."""
        return max((session.klass for session in self.sessions), default=1)

    @cached_property
    def link_index(self) -> dict[LinkKey, int]:
        """Place of each link in `links`."""
        return {link.key: i for i, link in enumerate(self.links)}

    @cached_property
    def server_index(self) -> dict[str, int]:
        """Place of each server in `servers`."""
        return {server.name: j for j, server in enumerate(self.servers)}

    @cached_property
    def session_index(self) -> dict[str, int]:
        """Place of each session in `sessions`."""
        return {session.name: k for k, session in enumerate(self.sessions)}

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """The links as a networkx graph; each edge carries its `index`, `capacity` and `propagation`."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(node.name for node in self.nodes)
        for i, link in enumerate(self.links):
            graph.add_edge(link.src, link.dst, index=i, capacity=link.capacity, propagation=link.propagation)
        return graph
