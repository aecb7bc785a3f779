"""The compiled part of the solver for general networks: shortest paths, routes, and passes over sessions.

Plain functions of arrays that trust their input; `pricing.joint.network_flow` says what they mean. Compiled once by
Numba and kept beside the sources.

Routes stand in one row, those of a session next to each other: session k has the routes first[k] to first[k + 1], route
r loads the resources uses[start[r]] to uses[start[r + 1]], each by the amount beside it for a unit of flow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pricing.values import FloatArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _sink(heap: IntArray, place: IntArray, count: int, key: FloatArray, at: int) -> None:
    """Let the node at a place of the heap sink to where it belongs."""
    node = heap[at]
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        if child + 1 < count and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        if key[heap[child]] >= key[node]:
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = node
    place[node] = at


@_compiled
def _rise(heap: IntArray, place: IntArray, key: FloatArray, at: int) -> None:
    """Let the node at a place of the heap rise to where it belongs."""
    node = heap[at]
    while at > 0:
        above = (at - 1) >> 1
        if key[heap[above]] <= key[node]:
            break
        heap[at] = heap[above]
        place[heap[at]] = at
        at = above
    heap[at] = node
    place[node] = at


@_compiled
def shortest_tree(
    out: IntArray,
    steps: IntArray,
    heads: IntArray,
    length: FloatArray,
    through: BoolArray,
    origin: int,
    far: FloatArray,
    by: IntArray,
    heap: IntArray,
    place: IntArray,
) -> None:
    """Dijkstra from `origin`: distances into `far` (infinite where no way leads), the last step there into `by`.

    The steps from a node are steps[out[node]] to steps[out[node + 1]]. Only nodes marked in `through`, and the origin,
    are passed through.
    """
    far[:] = np.inf
    place[:] = -1
    by[origin] = -1
    far[origin] = 0.0
    heap[0], place[origin], count = origin, 0, 1
    while count:
        node = heap[0]
        count -= 1
        place[node] = -2
        if count:
            heap[0] = heap[count]
            _sink(heap, place, count, far, 0)
        if not (through[node] or node == origin):
            continue
        for i in range(out[node], out[node + 1]):
            step = steps[i]
            head = heads[step]
            way = far[node] + length[step]
            if way < far[head] and place[head] != -2:
                far[head], by[head] = way, step
                if place[head] == -1:
                    heap[count], place[head] = head, count
                    count += 1
                _rise(heap, place, far, place[head])


@_compiled
def route_costs(start: IntArray, uses: IntArray, amounts: FloatArray, prices: FloatArray) -> FloatArray:
    """Cost of a unit of flow on each route."""
    costs = np.zeros(start.size - 1)
    for r in range(costs.size):
        for i in range(start[r], start[r + 1]):
            costs[r] += amounts[i] * prices[uses[i]]
    return costs


@_compiled
def loads_of(start: IntArray, uses: IntArray, amounts: FloatArray, flows: FloatArray, count: int) -> FloatArray:
    """Load of each of `count` resources."""
    loads = np.zeros(count)
    for r in range(flows.size):
        for i in range(start[r], start[r + 1]):
            loads[uses[i]] += amounts[i] * flows[r]
    return loads


@_compiled
def sweep(
    first: IntArray,
    start: IntArray,
    uses: IntArray,
    amounts: FloatArray,
    flows: FloatArray,
    slopes: FloatArray,
    curvature: FloatArray,
    scratch: FloatArray,
) -> float:
    """One pass over the sessions: each moves flow from its dearer routes to its cheapest, in place.

    Costs are a quadratic model: `slopes` are those at the loads as they are, and follow each move by `curvature`. A
    move is the Newton step of the pair of routes, or all there is. Returns the sum of flow times excess as it was met.
    """
    over = 0.0
    costs = np.empty(64)
    for k in range(first.size - 1):
        low, high = first[k], first[k + 1]
        if high - low < 2:
            continue
        if high - low > costs.size:
            costs = np.empty(2 * (high - low))
        best = low
        for r in range(low, high):
            cost = 0.0
            for i in range(start[r], start[r + 1]):
                cost += amounts[i] * slopes[uses[i]]
            costs[r - low] = cost
            if cost < costs[best - low]:
                best = r
        for r in range(low, high):
            if r == best or flows[r] <= 0.0:
                continue
            apart = costs[r - low] - costs[best - low]
            over += flows[r] * apart
            # The routes' costs have moved since by what the session itself did before: take them anew.
            for i in range(start[best], start[best + 1]):
                scratch[uses[i]] -= amounts[i]
            for i in range(start[r], start[r + 1]):
                scratch[uses[i]] += amounts[i]
            apart, bend = 0.0, 0.0
            for i in range(start[r], start[r + 1]):
                use = uses[i]
                apart += scratch[use] * slopes[use]
                bend += scratch[use] * scratch[use] * curvature[use]
                scratch[use] = 0.0
            for i in range(start[best], start[best + 1]):
                use = uses[i]
                apart += scratch[use] * slopes[use]
                bend += scratch[use] * scratch[use] * curvature[use]
                scratch[use] = 0.0
            if apart <= 0.0:
                continue
            shift = flows[r] if apart >= bend * flows[r] else apart / bend
            flows[r] -= shift
            flows[best] += shift
            for i in range(start[r], start[r + 1]):
                slopes[uses[i]] -= amounts[i] * shift * curvature[uses[i]]
            for i in range(start[best], start[best + 1]):
                slopes[uses[i]] += amounts[i] * shift * curvature[uses[i]]
    return over


@_compiled
def shortest_routes(
    out: IntArray,
    steps: IntArray,
    tails: IntArray,
    heads: IntArray,
    resource: IntArray,
    back: IntArray,
    serves: BoolArray,
    through: BoolArray,
    origins: IntArray,
    sinks: IntArray,
    answers: FloatArray,
    works: FloatArray,
    prices: FloatArray,
    below: FloatArray,
) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
    """The cheapest way of every session at these prices.

    Returns its cost for each session (infinite where there is none), and the routes as (start, uses, amounts): none,
    an empty one, where the cost is not less than `below`. Sessions that follow each other and have origin, answers and
    work in common share a tree.
    """
    nodes, count = through.size, origins.size
    far, by = np.empty(nodes), np.empty(nodes, np.int64)
    heap, place = np.empty(nodes, np.int64), np.empty(nodes, np.int64)
    length = np.empty(steps.size)
    cheapest = np.empty(count)
    start = np.zeros(count + 1, np.int64)
    uses, amounts = np.empty(1024, np.int64), np.empty(1024)
    used = 0
    for k in range(count):
        origin, answer, work = origins[k], answers[k], works[k]
        if k == 0 or origin != origins[k - 1] or answer != answers[k - 1] or work != works[k - 1]:
            for e in range(steps.size):
                if serves[e]:
                    length[e] = work * prices[resource[e]]
                elif answer > 0.0:
                    length[e] = prices[resource[e]] + answer * prices[back[e]] if back[e] >= 0 else np.inf
                else:
                    length[e] = prices[resource[e]]
            shortest_tree(out, steps, heads, length, through, origin, far, by, heap, place)
        node = sinks[k]
        cheapest[k] = far[node]
        if far[node] < below[k]:
            if used + 2 * nodes > uses.size:
                more, many = np.empty(2 * uses.size + 2 * nodes, np.int64), np.empty(2 * uses.size + 2 * nodes)
                more[:used], many[:used] = uses[:used], amounts[:used]
                uses, amounts = more, many
            while node != origin:
                step = by[node]
                uses[used], amounts[used] = resource[step], work if serves[step] else 1.0
                used += 1
                if answer > 0.0 and not serves[step]:
                    uses[used], amounts[used] = back[step], answer
                    used += 1
                node = tails[step]
        start[k + 1] = used
    return cheapest, start, uses[:used], amounts[:used]


@_compiled
def merge(
    first: IntArray,
    start: IntArray,
    uses: IntArray,
    amounts: FloatArray,
    flows: FloatArray,
    new_start: IntArray,
    new_uses: IntArray,
    new_amounts: FloatArray,
) -> tuple[IntArray, IntArray, IntArray, FloatArray, FloatArray]:
    """The routes that carry something, and the new ones (at most one a session, an empty one is none) without flow."""
    sessions = first.size - 1
    most = flows.size + sessions
    places = uses.size + new_uses.size
    first_, start_, flows_ = np.zeros(sessions + 1, np.int64), np.zeros(most + 1, np.int64), np.zeros(most)
    uses_, amounts_ = np.empty(places, np.int64), np.empty(places)
    route, used = 0, 0
    for k in range(sessions):
        for r in range(first[k], first[k + 1]):
            if flows[r] > 0.0:
                for i in range(start[r], start[r + 1]):
                    uses_[used], amounts_[used] = uses[i], amounts[i]
                    used += 1
                flows_[route] = flows[r]
                route += 1
                start_[route] = used
        if new_start[k + 1] > new_start[k]:
            for i in range(new_start[k], new_start[k + 1]):
                uses_[used], amounts_[used] = new_uses[i], new_amounts[i]
                used += 1
            route += 1
            start_[route] = used
        first_[k + 1] = route
    return first_, start_[: route + 1], uses_[:used], amounts_[:used], flows_[:route]


@_compiled
def cheapest_of(first: IntArray, costs: FloatArray) -> FloatArray:
    """Cost of the cheapest route of each session, infinite where it has none."""
    least = np.full(first.size - 1, np.inf)
    for k in range(least.size):
        for r in range(first[k], first[k + 1]):
            least[k] = min(least[k], costs[r])
    return least
