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

    The steps from a node are out[node] to out[node + 1]. Only nodes marked in `through`, and the origin,
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
        for step in range(out[node], out[node + 1]):
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
def pairs(
    first: IntArray,
    start: IntArray,
    uses: IntArray,
    amounts: FloatArray,
    flows: FloatArray,
    curvature: FloatArray,
    scratch: FloatArray,
) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray, FloatArray]:
    """Each route beside the one of its session that carries most: where they differ, and how costs bend between them.

    Returns (route, base, start, uses, amounts, bend) of the pairs: what a unit of flow loads more on the route than on
    its base, and the curvature along this.
    """
    most = flows.size - (first.size - 1)
    route, base, start_ = np.empty(most, np.int64), np.empty(most, np.int64), np.zeros(most + 1, np.int64)
    room = 0
    for k in range(first.size - 1):
        room += (first[k + 1] - first[k]) * (start[first[k + 1]] - start[first[k]])
    uses_, amounts_, bend = np.empty(room, np.int64), np.empty(room), np.empty(most)
    count, used = 0, 0
    for k in range(first.size - 1):
        low, high = first[k], first[k + 1]
        if high - low < 2:
            continue
        best = low
        for r in range(low, high):
            if flows[r] > flows[best]:
                best = r
        for r in range(low, high):
            if r == best:
                continue
            for i in range(start[best], start[best + 1]):
                scratch[uses[i]] -= amounts[i]
            for i in range(start[r], start[r + 1]):
                scratch[uses[i]] += amounts[i]
            bend[count] = 0.0
            for n in (r, best):
                for i in range(start[n], start[n + 1]):
                    use = uses[i]
                    if scratch[use] != 0.0:
                        uses_[used], amounts_[used] = use, scratch[use]
                        bend[count] += scratch[use] * scratch[use] * curvature[use]
                        scratch[use] = 0.0
                        used += 1
            route[count], base[count] = r, best
            count += 1
            start_[count] = used
    return route[:count], base[:count], start_[: count + 1], uses_[:used], amounts_[:used], bend[:count]


@_compiled
def sweep(
    route: IntArray,
    base: IntArray,
    start: IntArray,
    uses: IntArray,
    amounts: FloatArray,
    bend: FloatArray,
    flows: FloatArray,
    slopes: FloatArray,
    curvature: FloatArray,
) -> float:
    """One pass over the pairs: each shifts flow to its cheaper route, by a Newton step or all there is, in place.

    Costs are a quadratic model: `slopes` are those at the loads as they are, and follow each shift by `curvature`.
    Returns the sum of flow times excess as it was met.
    """
    over = 0.0
    for n in range(route.size):
        apart = 0.0
        for i in range(start[n], start[n + 1]):
            apart += amounts[i] * slopes[uses[i]]
        dear, cheap = (route[n], base[n]) if apart > 0.0 else (base[n], route[n])
        most, size = flows[dear], abs(apart)
        if most <= 0.0:
            continue
        over += most * size
        shift = most if size >= bend[n] * most else size / bend[n]
        flows[dear] -= shift
        flows[cheap] += shift
        if apart > 0.0:
            shift = -shift
        for i in range(start[n], start[n + 1]):
            slopes[uses[i]] += amounts[i] * shift * curvature[uses[i]]
    return over


@_compiled
def again(
    out: IntArray,
    heads: IntArray,
    length: FloatArray,
    through: BoolArray,
    origin: int,
    far: FloatArray,
    by: IntArray,
    order: IntArray,
) -> None:
    """`shortest_tree` where the nodes' order by distance is known from similar lengths: Bellman's passes in this order.

    Most nodes are right after the first pass. `order` is brought up to date.
    """
    far[:] = np.inf
    by[origin] = -1
    far[origin] = 0.0
    changed = True
    while changed:
        changed = False
        for place in range(order.size):
            node = order[place]
            reached = far[node]
            if reached == np.inf or not (through[node] or node == origin):
                continue
            for step in range(out[node], out[node + 1]):
                way = reached + length[step]
                if way < far[heads[step]]:
                    far[heads[step]], by[heads[step]] = way, step
                    changed = True
    for place in range(1, order.size):
        node, at = order[place], place
        while at > 0 and far[order[at - 1]] > far[node]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = node


@_compiled
def shortest_routes(
    out: IntArray,
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
    orders: IntArray,
    prices: FloatArray,
    below: FloatArray,
) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
    """The cheapest way of every session at these prices.

    Returns its cost for each session (infinite where there is none), and the routes as (start, uses, amounts): none,
    an empty one, where the cost is not less than `below`. Sessions that follow each other and have origin, answers and
    work in common share a tree. `orders` keeps each tree's order of the nodes, a row a tree, and begins with
    -1.
    """
    nodes, count = through.size, origins.size
    far, by = np.empty(nodes), np.empty(nodes, np.int64)
    heap, place = np.empty(nodes, np.int64), np.empty(nodes, np.int64)
    length = np.empty(tails.size)
    cheapest = np.empty(count)
    start = np.zeros(count + 1, np.int64)
    uses, amounts = np.empty(1024, np.int64), np.empty(1024)
    used, tree = 0, 0
    for k in range(count):
        origin, answer, work = origins[k], answers[k], works[k]
        like = k > 0 and answer == answers[k - 1] and work == works[k - 1]
        if not like:
            for e in range(tails.size):
                if serves[e]:
                    length[e] = work * prices[resource[e]]
                elif answer > 0.0:
                    length[e] = prices[resource[e]] + answer * prices[back[e]] if back[e] >= 0 else np.inf
                else:
                    length[e] = prices[resource[e]]
        if not like or origin != origins[k - 1]:
            order = orders[tree]
            tree += 1
            if order[0] < 0:
                shortest_tree(out, heads, length, through, origin, far, by, heap, place)
                order[:] = np.argsort(far)
            else:
                again(out, heads, length, through, origin, far, by, order)
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
