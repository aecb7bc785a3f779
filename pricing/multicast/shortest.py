"""EDSPA: the union of the shortest paths from the source to all destinations, fixed for good.

The extended Dijkstra's shortest path algorithm (reference [20] of the multicast paper) sends every packet of a cast
along one tree of the layered graph, whatever the queues are. Paths are shortest in links crossed. Functions have to
be gone through anyway; of equally short ways the one that takes the least time is chosen, the sum over its edges of
what a packet takes by what the resource has (ours: the paper does not say where a fixed tree processes).

The largest rate is that at which the busiest resource of the trees is full.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing.multicast.instance import Instance, IntArray
from pricing.multicast.region import Plan as Optimum
from pricing.multicast.region import largest_on_routes
from pricing.multicast.routed import SLOT, Plan, RoutedEngine, Yard, compiled, enter, has_room, serve
from pricing.multicast.simulate import Medium, Setting
from pricing.values import FloatArray


@dataclass(frozen=True)
class EDSPA:
    """Fixed trees of shortest paths."""

    name: str = "EDSPA"

    def start(self, instance: Instance, setting: Setting, medium: Medium | None = None) -> FixedEngine:
        """An engine with empty queues."""
        return FixedEngine(instance, setting.follow, medium, shortest_routes(instance))


class FixedEngine(RoutedEngine):
    """Fixed routes at work; `routes` are each cast's edges, parents before children."""

    def __init__(self, instance: Instance, follow: bool, medium: Medium | None, routes: list[IntArray]) -> None:
        super().__init__(instance, follow, medium)
        self.lengths = np.array([len(route) for route in routes])
        self.routes = np.zeros((len(routes), int(self.lengths.max())), dtype=np.int64)
        for k, route in enumerate(routes):
            self.routes[k, : len(route)] = route

    def slots(self, arrivals: FloatArray, capacity: FloatArray, owed: FloatArray, sent: FloatArray) -> int:
        """Run slots while there is room."""
        return int(_slots(self.plan, self.yard, capacity, arrivals, self.routes, self.lengths, owed, sent, self.delay))


def shortest_routes(instance: Instance) -> list[IntArray]:
    """For each cast the union of the shortest paths to its destinations: edges, parents before children.

    Examples
    --------
    >>> from pricing.multicast.instance import Cast, SlotLink
    >>> links = tuple(SlotLink(a, b, 1.0) for a, b in ("01", "12", "13", "02"))
    >>> case = Instance("", tuple("0123"), links, (Cast("", "0", ("2", "3"), 1.0),))
    >>> [route.tolist() for route in shortest_routes(case)]
    [[3, 0, 2]]
    """
    graph = instance.layered
    routes = []
    for k, cast in enumerate(instance.casts):
        mine = graph.edges_of(k)
        low, high = int(graph.vertices[k]), int(graph.vertices[k + 1])
        steps = np.where(graph.resource[mine] < len(instance.links), 1.0, 0.0)
        slots = graph.use[mine] / graph.capacity[graph.resource[mine]]
        tail, head = graph.tail[mine] - low, graph.head[mine] - low
        far, by = _nearest(tail, head, steps, slots, int(graph.source[k]) - low, high - low)
        route: list[int] = []
        for d in range(len(cast.destinations)):
            ends = np.flatnonzero(graph.here[low:high] >> np.uint64(d) & np.uint64(1))
            at = min(ends.tolist(), key=lambda v: (far[v][0], far[v][1], v))
            path: list[int] = []
            while by[at] >= 0 and mine[by[at]] not in route:
                path.append(int(mine[by[at]]))
                at = int(graph.tail[mine[by[at]]]) - low
            route += path[::-1]
        routes.append(np.array(route, dtype=np.int64))
    return routes


def fixed_scale(instance: Instance) -> Optimum:
    """The largest multiple of the casts' rates that the fixed trees carry."""
    return largest_on_routes(instance, shortest_routes(instance))


def _nearest(
    tail: IntArray, head: IntArray, steps: FloatArray, slots: FloatArray, root: int, vertices: int
) -> tuple[list[tuple[float, float]], IntArray]:
    """Least (links, slots) from the root to each vertex, and the edge by which it is reached (-1: none)."""
    far = [(np.inf, np.inf)] * vertices
    far[root] = (0.0, 0.0)
    by = np.full(vertices, -1)
    changed = True
    while changed:
        changed = False
        for e, (i, j) in enumerate(zip(tail.tolist(), head.tolist(), strict=True)):
            way = (far[i][0] + steps[e], far[i][1] + slots[e])
            if way < far[j]:
                far[j], by[j], changed = way, e, True
    return far, by


@compiled
def _slots(
    plan: Plan,
    yard: Yard,
    capacity: FloatArray,
    arrivals: FloatArray,
    routes: IntArray,
    lengths: IntArray,
    owed: FloatArray,
    sent: FloatArray,
    delay: IntArray,
) -> int:
    """Slots as `RoutedEngine.slots`."""
    for t in range(arrivals.shape[0]):
        if not has_room(yard):
            return t
        serve(plan, yard, capacity[t], delay)
        sent[t] = yard.sent
        for k in range(arrivals.shape[1]):
            if arrivals[t, k] > 0.0:
                enter(plan, yard, k, arrivals[t, k], routes[k], lengths[k])
        owed[t] = yard.all_owed
        yard.tally[SLOT] += 1
    return int(arrivals.shape[0])
