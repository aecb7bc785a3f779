"""UCNC: universal max-weight on the layered graph, each packet's whole route chosen when it enters.

Every resource has a **virtual queue** that counts a packet at once on all resources of its route, as if it were
everywhere already:

    X_r(t + 1) = max(X_r(t) + sum of what the new packets' routes take of r - C_r, 0).

A new packet takes the lightest tree to its destinations when an edge of the layered graph weighs what the packet takes
of the resource times the virtual queue there. Resources are compared in slots of their own capacity: the weight of
an edge is (use/C_r)(X_r/C_r), which is the max-weight of the virtual queues weighted by 1/C_r^2 (ours; units of links
and processors differ). Each edge weighs a little more, `HOP`, so that among empty resources the shortest tree is taken.

Up to `pricing.multicast.steiner.MOST_EXACT` destinations the tree is the lightest; above it is grown, at most D times
as heavy, and the policy is then no longer throughput-optimal for sure.

The source knows a resource's virtual queue as it was as many slots ago as the resource is links away: queue states
travel a link a slot (Section VIII-B). The physical packets go nearest to their origin first (`routed`).

Source: Zhang, Sinha, Llorca, Tulino, Modiano, Optimal control of distributed computing networks with mixed-cast
traffic flows (2021), and Sinha and Modiano (2018): references [13] and [21] of the multicast paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing.multicast.instance import Instance, IntArray
from pricing.multicast.routed import SLOT, Plan, RoutedEngine, Yard, compiled, enter, has_room, serve
from pricing.multicast.simulate import Medium, Setting
from pricing.multicast.steiner import MOST_EXACT, grown, lightest
from pricing.values import FloatArray

HOP = 1e-6
"""Weight of an edge beside its queue; a virtual queue of a millionth of a slot, times a slot of use, weighs as much."""


@dataclass(frozen=True)
class UCNC:
    """Universal cloud network control.

    Parameters
    ----------
    delayed : bool
        Whether queue states reach the source a link a slot, or at once.
    """

    delayed: bool = True
    name: str = "UCNC"

    def start(self, instance: Instance, setting: Setting, medium: Medium | None = None) -> UniversalEngine:
        """An engine with empty queues."""
        return UniversalEngine(instance, setting.follow, medium, self.delayed)


class UniversalEngine(RoutedEngine):
    """Universal max-weight at work; `virtual` (R,) are the queues now, `past` how they were."""

    def __init__(self, instance: Instance, follow: bool, medium: Medium | None, delayed: bool) -> None:
        super().__init__(instance, follow, medium)
        away = distances(instance)
        self.age = away if delayed else np.zeros_like(away)
        self.past = np.zeros((int(self.age.max(initial=0)) + 1, len(self.capacity)))
        self.ends = np.array([len(cast.destinations) for cast in instance.casts])

    def slots(self, arrivals: FloatArray, capacity: FloatArray, owed: FloatArray, sent: FloatArray) -> int:
        """Run slots while there is room."""
        knows = (self.ends, self.age, self.past)
        return int(_slots(self.plan, self.yard, self.capacity, capacity, arrivals, *knows, owed, sent, self.delay))

    def weights(self) -> FloatArray:
        """The virtual queues, in slots of their resources' capacity."""
        return np.asarray(self.past[int(self.yard.tally[SLOT]) % len(self.past)] / self.capacity)


def distances(instance: Instance) -> IntArray:
    """Links from each cast's source to where each resource is (K, R); the links of a way back count the same."""
    place = {name: i for i, name in enumerate(instance.nodes)}
    far = np.full((len(instance.casts), len(instance.nodes)), len(instance.nodes))
    for k, cast in enumerate(instance.casts):
        far[k, place[cast.source]] = 0
        for _ in instance.nodes:
            for link in instance.links:
                ends = place[link.src], place[link.dst]
                far[k, ends[1]] = min(far[k, ends[1]], far[k, ends[0]] + 1)
                far[k, ends[0]] = min(far[k, ends[0]], far[k, ends[1]] + 1)
    where = [place[link.src] for link in instance.links] + [place[each.node] for each in instance.processors]
    return np.ascontiguousarray(far[:, where])  # one layout, one compiled form


@compiled
def _slots(
    plan: Plan,
    yard: Yard,
    scale: FloatArray,
    capacity: FloatArray,
    arrivals: FloatArray,
    ends: IntArray,
    age: IntArray,
    past: FloatArray,
    owed: FloatArray,
    sent: FloatArray,
    delay: IntArray,
) -> int:
    """Slots as `RoutedEngine.slots`; `scale` (R,) is what queues are measured in, `past` (H, R) a ring of them."""
    route = np.empty(plan.use.size, dtype=np.int64)
    for t in range(arrivals.shape[0]):
        if not has_room(yard):
            return t
        now = yard.tally[SLOT]
        new, old = past[(now + 1) % past.shape[0]], past[now % past.shape[0]]
        serve(plan, yard, capacity[t], delay)
        sent[t] = yard.sent
        taken = np.zeros(scale.size)
        for k in range(arrivals.shape[1]):
            if arrivals[t, k] > 0.0:
                length = _route(plan, scale, ends[k], age[k], past, now, k, route)
                enter(plan, yard, k, arrivals[t, k], route, length)
                for place in range(length):
                    taken[plan.resource[route[place]]] += arrivals[t, k] * plan.use[route[place]]
        for r in range(scale.size):
            new[r] = max(old[r] + taken[r] - capacity[t, r], 0.0)
        owed[t] = yard.all_owed
        yard.tally[SLOT] += 1
    return int(arrivals.shape[0])


@compiled
def _route(
    plan: Plan, scale: FloatArray, ends: int, age: IntArray, past: FloatArray, now: int, k: int, route: IntArray
) -> int:
    """The lightest tree of a cast by what its source knows in slot `now`, as edges into `route`; how many they are."""
    low, high = plan.vertices[k], plan.vertices[k + 1]
    mine = np.flatnonzero(plan.cast == k)
    weight = np.empty(mine.size)
    for i in range(mine.size):
        r = plan.resource[mine[i]]
        queue = past[max(0, now - age[r]) % past.shape[0], r]
        weight[i] = HOP + plan.use[mine[i]] / scale[r] * queue / scale[r]
    tail, head, here, root = plan.tail[mine] - low, plan.head[mine] - low, plan.here[low:high], plan.source[k] - low
    tree = np.empty(mine.size, dtype=np.int64)
    if ends <= MOST_EXACT:
        count = lightest(tail, head, weight, root, here, ends, tree)
    else:
        count = grown(tail, head, weight, root, here, ends, tree)
    for place in range(count):
        route[place] = mine[tree[place]]
    return int(count)
