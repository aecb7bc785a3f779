"""Every packet through every queue: an event-driven simulation, compiled.

What a network of queues does with given packets, without the assumption of independence that formulas make: a packet
keeps its size from hop to hop. A **hop** is one visit of one packet to one resource. Three kinds of resource, all
first in, first out by arrival, with waiting W = max(0, end of the service before - arrival):

| kind | the packet leaves | busy for |
|---|---|---|
| `WAIT_LINK` | at the start of its service, as an HTB link does | size / capacity |
| `SOJOURN_LINK` | at the end of its service: store and forward | size / capacity |
| `SERVER` | at the end of its service | work |

A route is a list of hops: links, then at most one server, then the links of the way back. The **request** (links and
server) has the packet's size; the **answer**, which starts when the server ends, has the packet's response size. A
packet that finds `queue` packets waiting is dropped. Where packets have classes, the first class goes first at every
resource, and nobody is interrupted (`pricing.simulate.classes`). With one class, service is first in, first out, so its
start and end are known when a packet arrives, and a hop is one event. Events at the same moment go by packet index:
equal input gives equal output, bit for bit.

Source: D. V. Lindley, The theory of queues with a single server (1952), for the recursion at each resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pricing.errors import TopologyError
from pricing.network import Link, Network, Server
from pricing.simulate import classes, loop
from pricing.simulate.loop import SERVER, SOJOURN_LINK, WAIT_LINK, IntArray
from pricing.values import FloatArray


@dataclass(frozen=True)
class Resources:
    """What packets queue at.

    Parameters
    ----------
    kind : array of shape (R,)
        `WAIT_LINK`, `SOJOURN_LINK` or `SERVER`.
    capacity : array of shape (R,)
        bit/s of a link; not used at a server, where work is given in seconds.
    queue : array of shape (R,)
        Packets that may wait, at least 1; the one in service is not counted.
    propagation : array of shape (R,)
        Seconds between leaving this resource and arriving at the next.
    """

    kind: IntArray
    capacity: FloatArray
    queue: IntArray
    propagation: FloatArray

    @classmethod
    def of(cls, network: Network, propagation: bool = True) -> Resources:
        """Links of `network` in its order, then its servers; without propagation where the emulation has none.

        A server's queue holds the request in service too, so one less may wait.
        """
        links, servers = network.links, network.servers
        queued: list[Link | Server] = [*links, *servers]
        kinds = [WAIT_LINK if link.delivers == "wait" else SOJOURN_LINK for link in links] + [SERVER] * len(servers)
        far = [link.propagation if propagation else 0.0 for link in links] + [0.0] * len(servers)
        return cls(
            kind=np.array(kinds, dtype=np.int64),
            capacity=np.array([item.capacity for item in queued], dtype=np.float64),
            queue=np.array(
                [link.queue for link in links] + [max(1, server.queue - 1) for server in servers], dtype=np.int64
            ),
            propagation=np.array(far, dtype=np.float64),
        )


@dataclass(frozen=True)
class Routes:
    """Hops of all routes, one after the other: route r has `hops[first[r]:first[r + 1]]`, indices of resources."""

    first: IntArray
    hops: IntArray

    @classmethod
    def of(cls, routes: Sequence[Sequence[int]]) -> Routes:
        """From a list of hops a route."""
        first = np.zeros(len(routes) + 1, dtype=np.int64)
        np.cumsum([len(route) for route in routes], out=first[1:])
        return cls(first, np.array([hop for route in routes for hop in route], dtype=np.int64))


@dataclass(frozen=True)
class Packets:
    """Packets to send; six arrays of shape (N,), in any order.

    Parameters
    ----------
    arrival : array of float
        When a packet comes to its first hop, s.
    size, response : array of float
        Frame of the request and of its answer, bits.
    route : array of int
        Index into the routes.
    work : array of float
        Service at the route's server, s.
    klass : array of int
        Priority class of a request and its answer, 1 first.
    """

    arrival: FloatArray
    size: FloatArray
    route: IntArray
    work: FloatArray
    response: FloatArray
    klass: IntArray

    @classmethod
    def of(
        cls,
        arrival: ArrayLike,
        size: ArrayLike,
        route: ArrayLike = 0,
        work: ArrayLike = 0.0,
        response: ArrayLike = 0.0,
        klass: ArrayLike = 1,
    ) -> Packets:
        """From anything that broadcasts to the shape of `arrival`."""
        when = np.ascontiguousarray(arrival, dtype=np.float64)

        def floats(value: ArrayLike) -> FloatArray:
            return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=np.float64), when.shape))

        def whole(value: ArrayLike) -> IntArray:
            return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=np.int64), when.shape))

        return cls(when, floats(size), whole(route), floats(work), floats(response), whole(klass))


class Balance(NamedTuple):
    """Where the packets went: every request and every answer ended, or was dropped at a resource."""

    requests: int
    ended: int
    dropped: int
    answers: int
    returned: int
    answers_dropped: int

    @property
    def unaccounted(self) -> int:
        """Packets that are nowhere; 0, or the simulation is wrong."""
        return abs(self.requests - self.ended - self.dropped) + abs(self.answers - self.returned - self.answers_dropped)


@dataclass(frozen=True)
class Passage:
    """What became of each packet. Times in s, NaN for what did not happen.

    Parameters
    ----------
    first : array of shape (N + 1,)
        Packet p has the hops `first[p]:first[p + 1]` of the three arrays below.
    resource : array of shape (H,)
        Where a hop was, -1 for a hop that was not reached.
    at, wait : arrays of shape (H,)
        When the packet came to the resource, and how long it waited there (NaN where it was dropped).
    reached : array of shape (N,)
        When the request was through the network: at its server, or at the end of a route without one.
    server_wait : array of shape (N,)
        Wait at the server; 0 on a route without one.
    ended : array of shape (N,)
        When the server ended; equals `reached` on a route without a server.
    returned : array of shape (N,)
        When the answer was back; NaN on a route without a way back.
    dropped_at : array of shape (N,)
        The resource that dropped the packet or its answer, -1 for none.
    answers : int
        Answers that servers sent into a way back.
    """

    first: IntArray
    resource: IntArray
    at: FloatArray
    wait: FloatArray
    reached: FloatArray
    server_wait: FloatArray
    ended: FloatArray
    returned: FloatArray
    dropped_at: IntArray
    answers: int

    def balance(self) -> Balance:
        """Count what went in and what came out, each by itself."""
        ended, dropped = np.isfinite(self.ended), self.dropped_at >= 0
        return Balance(
            requests=len(ended),
            ended=int(ended.sum()),
            dropped=int((dropped & ~ended).sum()),
            answers=self.answers,
            returned=int(np.isfinite(self.returned).sum()),
            answers_dropped=int((dropped & ended).sum()),
        )


def simulate(packets: Packets, routes: Routes, resources: Resources, sizes: FloatArray | None = None) -> Passage:
    """Send `packets` along `routes` through `resources`.

    Parameters
    ----------
    sizes : array of shape (H,), optional
        Bits of each packet at each of its hops, in the order of `Passage.first`; to draw sizes anew at every hop, as
        models of independent queues assume. Without it a packet keeps its size.

    Raises
    ------
    TopologyError
        When a route names an unknown resource or two servers, a packet an unknown route, or a number is out of range.

    Notes
    -----
    O(H log F) for F packets in the network at once.

    Examples
    --------
    Two packets of 1,000 bits at once into a link of 1 Mbit/s: the second waits for the first, 1 ms.

    >>> link = Resources(np.array([WAIT_LINK]), np.array([1e6]), np.array([10]), np.array([0.0]))
    >>> passage = simulate(Packets.of([0.0, 0.0], 1000.0), Routes.of([[0]]), link)
    >>> passage.wait.tolist(), passage.balance().unaccounted
    ([0.0, 0.001], 0)
    """
    _check(packets, routes, resources)
    lengths = np.diff(routes.first)[packets.route]
    first = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=first[1:])
    hops = int(first[-1])
    if sizes is not None and sizes.shape != (hops,):
        raise TopologyError(f"sizes: shape {sizes.shape}, one size for each of the {hops} hops is accepted")
    order, drawn = np.argsort(packets.arrival, kind="stable"), np.empty(0) if sizes is None else sizes
    ways = (packets.route, first, routes.first, routes.hops)
    laws = (resources.kind, resources.capacity, resources.queue, resources.propagation)
    bits = (packets.arrival, packets.size, packets.response, packets.work)
    if packets.klass.max(initial=1) > 1:
        return Passage(first, *classes.follow(order, *bits, packets.klass - 1, *ways, *laws, drawn))
    # A queue that no number of visits can fill needs no room for more starts than there are visits.
    uses = np.bincount(packets.route, minlength=len(routes.first) - 1)
    visits = np.bincount(routes.hops, np.repeat(uses, np.diff(routes.first)), minlength=len(resources.kind))
    ring = np.zeros(len(resources.kind) + 1, dtype=np.int64)
    np.cumsum(np.minimum(resources.queue, np.maximum(visits.astype(np.int64), 1)), out=ring[1:])
    return Passage(first, *loop.follow(order, *bits, *ways, *laws, ring, drawn))


def lindley(arrivals: FloatArray, services: FloatArray) -> FloatArray:
    """Waits in one first in, first out queue, by Lindley's recursion W' = max(0, W + S - A).

    Parameters
    ----------
    arrivals, services : arrays of shape (N,)
        Times of arrival in ascending order, and services, s.

    Returns
    -------
    array of shape (N,)
        Seconds.

    Examples
    --------
    >>> lindley(np.array([0.0, 1.0, 5.0]), np.array([2.0, 2.0, 2.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    return loop.lindley(arrivals, services)


def _check(packets: Packets, routes: Routes, resources: Resources) -> None:
    """Check once what the compiled loop trusts: it reads arrays without looking at their bounds."""
    problems = []
    count = len(resources.kind)
    if routes.hops.size and not (routes.hops.min() >= 0 and routes.hops.max() < count):
        problems.append(f"routes: a hop outside the {count} resources")
    else:
        of = np.repeat(np.arange(len(routes.first) - 1), np.diff(routes.first))
        servers = np.bincount(of, resources.kind[routes.hops] == SERVER, minlength=len(routes.first) - 1)
        problems += [f"route {r}: two servers, at most one is accepted" for r in np.flatnonzero(servers > 1)]
    if not np.isin(resources.kind, (WAIT_LINK, SOJOURN_LINK, SERVER)).all():
        problems.append("resources: an unknown kind; WAIT_LINK, SOJOURN_LINK and SERVER are accepted")
    if (resources.queue < 1).any():
        problems.append(f"resources: a queue of {resources.queue.min()} packets, 1 and more are accepted")
    if not (resources.capacity > 0).all():
        problems.append("resources: a capacity that is not positive")
    if not (np.isfinite(resources.propagation) & (resources.propagation >= 0)).all():
        problems.append("resources: a propagation that is not a finite number of seconds from 0")
    if packets.route.size and not (packets.route.min() >= 0 and packets.route.max() < len(routes.first) - 1):
        problems.append(f"packets: a route outside the {len(routes.first) - 1} routes")
    if packets.klass.size and packets.klass.min() < 1:
        problems.append("packets: a class below 1; whole numbers from 1 (first) are accepted")
    for name in ("arrival", "size", "work", "response"):
        values = getattr(packets, name)
        if not np.isfinite(values).all() or (name != "arrival" and (values < 0).any()):
            problems.append(
                f"packets: {name} is not a finite number{'' if name == 'arrival' else ' from 0'} everywhere"
            )
    if problems:
        raise TopologyError("\n".join(problems))
