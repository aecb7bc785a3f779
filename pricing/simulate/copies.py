"""Packets that become several: every copy through every queue, an event-driven simulation in plain Python.

A route is a **tree of hops**, each the visit of one copy to one resource. When a copy has passed a hop it is delivered
to the hop's `end`, if it has one, and goes on as one copy for each of the hops after it. So a group's tree, a path and
a request with its answer are one thing:

    group        Source>A  ->  A>x (end 0), A>y (end 1)
    anycast      links  ->  server (end 0)  ->  links of the way back, which the answer loads

Resources serve first in, first out, as `pricing.simulate.packets` has it; a copy that finds the queue full is dropped,
and all that is behind it. There every packet has one hop at a time and the loop is compiled; this one takes some
microseconds a hop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from pricing.duplication import parents
from pricing.errors import WardropError
from pricing.network import Network, Route
from pricing.simulate.loop import SERVER, WAIT_LINK, IntArray
from pricing.simulate.packets import Packets, Resources
from pricing.values import FloatArray


class Hop(NamedTuple):
    """A visit to a resource: the destination reached after it, or -1; what comes next; whether as an answer."""

    resource: int
    end: int
    then: tuple[int, ...] = ()
    answer: bool = False


@dataclass(frozen=True)
class Tree:
    """Hops of a route, those that a packet begins with, and how many destinations it is owed to."""

    hops: tuple[Hop, ...]
    first: tuple[int, ...]
    ends: int


def tree_of(network: Network, route: Route) -> Tree:
    """The hops of a route: of a group's tree, or of a path with the way back of its answers.

    Raises
    ------
    WardropError
        When its packets go through functions.

    Examples
    --------
    >>> from pricing.network import Link, Node, Session
    >>> links = (Link("S", "A", 1e6), Link("A", "x", 1e6), Link("A", "y", 1e6))
    >>> group = Session("k", "S", "multicast", ("x", "y"), 1e5, group="239.0.0.1")
    >>> net = Network("n", tuple(map(Node, "SAxy")), links, (), (group,))
    >>> route = Route("k", (("S", "A"), ("A", "x"), ("A", "y")), statuses=(("x", "y"), ("x",), ("y",)))
    >>> tree_of(net, route).hops
    (Hop(resource=0, end=-1, then=(1, 2), answer=False), Hop(resource=1, end=0, then=(), answer=False), \
Hop(resource=2, end=1, then=(), answer=False))
    """
    session = network.sessions[network.session_index[route.session]]
    if session.chain:
        raise WardropError(
            f"session {session.name}: functions are not simulated; `--on slots` and `--on packets` carry it"
        )
    index = [network.link_index[key] for key in route.links]
    if route.statuses:
        by = parents(route)
        after = [tuple(p for p, parent in enumerate(by) if parent == place) for place in range(-1, len(by))]
        names = {name: d for d, name in enumerate(session.destinations)}
        ends = [
            names[dst] if dst in status else -1 for (_, dst), status in zip(route.links, route.statuses, strict=True)
        ]
        hops = tuple(Hop(*each) for each in zip(index, ends, after[1:], strict=True))
        return Tree(hops, after[0], len(names))
    there = [*index, len(network.links) + network.server_index[route.server]] if route.server else index
    back = [network.link_index[dst, src] for src, dst in reversed(route.links)] if session.response_bits > 0 else []
    last = len(there) + len(back) - 1
    chain = [
        Hop(resource, 0 if place == len(there) - 1 else -1, (place + 1,) if place < last else (), place >= len(there))
        for place, resource in enumerate([*there, *back])
    ]
    return Tree(tuple(chain), (0,), 1)


@dataclass(frozen=True)
class Copies:
    """What became of each copy that was owed, the copies of a packet side by side.

    Attributes
    ----------
    packet : (C,)
        Whose copy it is.
    left : (C,)
        When it was delivered, s; NaN for a copy that was dropped.
    carried : (R,)
        Bits, or seconds of work, that each resource took in of packets that entered from `since` on.
    """

    packet: IntArray
    left: FloatArray
    carried: FloatArray


def simulate_copies(packets: Packets, trees: Sequence[Tree], resources: Resources, since: float = 0.0) -> Copies:
    """Send packets along trees.

    Parameters
    ----------
    packets : Packets
        `route` is an index into `trees`; classes are passed over.
    since : float
        When a packet must have entered for its load to count, s.

    Notes
    -----
    O(H log F) for H hops and F copies in the network at once.
    """
    arrival, route = packets.arrival.tolist(), packets.route.tolist()
    size, work, response = packets.size.tolist(), packets.work.tolist(), packets.response.tolist()
    kind, capacity = resources.kind.tolist(), resources.capacity.tolist()
    room, far = resources.queue.tolist(), resources.propagation.tolist()
    free = [-np.inf] * len(kind)
    starts: list[deque[float]] = [deque() for _ in kind]
    carried = [0.0] * len(kind)
    base = np.concatenate([[0], np.cumsum([trees[r].ends for r in route])]).astype(int).tolist()
    left = [np.nan] * base[-1]
    order = np.argsort(packets.arrival, kind="stable").tolist()
    events = [(arrival[p], p, h) for p in order for h in trees[route[p]].first]  # sorted, and so a heap
    while events:
        time, p, h = heappop(events)
        hop = trees[route[p]].hops[h]
        r = hop.resource
        waiting = starts[r]
        while waiting and waiting[0] <= time:
            waiting.popleft()
        if len(waiting) >= room[r]:
            continue
        start = max(free[r], time)
        waiting.append(start)
        amount = work[p] if kind[r] == SERVER else response[p] if hop.answer else size[p]
        free[r] = start + (amount if kind[r] == SERVER else amount / capacity[r])
        if arrival[p] >= since:
            carried[r] += amount
        passed = (start if kind[r] == WAIT_LINK else free[r]) + far[r]
        if hop.end >= 0:
            left[base[p] + hop.end] = passed
        for then in hop.then:
            heappush(events, (passed, p, then))
    packet = np.repeat(np.arange(len(route)), np.diff(base))
    return Copies(packet, np.array(left), np.array(carried))
