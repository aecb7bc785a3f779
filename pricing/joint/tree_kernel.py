"""Trees of cheapest ways, compiled: the graph of all routes, the groups of sessions that share a tree, and the trees.

Plain functions of arrays that trust their input; `pricing.joint.network_flow` says what they mean. Compiled once by
Numba and kept beside the sources. A group is all sessions of one origin whose traffic loads resources alike: its flow
stands in one row, an entry a step, whatever the number of its sessions (Bar-Gera 2002: origins, not pairs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pricing.values import FloatArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_Function = TypeVar("_Function", bound=Callable[..., Any])
compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True, error_model="numpy")


class Steps(NamedTuple):
    """The graph, steps sorted by head: those of enter[i] to enter[i + 1] lead into node i, and those of `leave` from
    out[i] to out[i + 1] lead away; the other fields are those of `RouteSpace`."""

    enter: IntArray
    out: IntArray
    leave: IntArray
    tails: IntArray
    heads: IntArray
    resource: IntArray
    back: IntArray
    serves: BoolArray
    through: BoolArray


class Groups(NamedTuple):
    """Group g has the sessions begin[g] to begin[g + 1], which lead to their `sinks`."""

    origins: IntArray
    answers: FloatArray
    works: FloatArray
    begin: IntArray
    sinks: IntArray


@compiled
def order_by_hops(steps: Steps, origin: int, order: IntArray) -> None:
    """All nodes into `order`: near ones first, those out of reach last."""
    seen = np.zeros(order.size, np.bool_)
    order[0], seen[origin], count = origin, True, 1
    for at in range(order.size):
        if at == count:
            break
        for i in range(steps.out[order[at]], steps.out[order[at] + 1]):
            head = steps.heads[steps.leave[i]]
            if not seen[head]:
                seen[head] = True
                order[count] = head
                count += 1
    for node in range(order.size):
        if not seen[node]:
            order[count] = node
            count += 1


@compiled
def tree(
    steps: Steps, origin: int, length: FloatArray, order: IntArray, place: IntArray, far: FloatArray, by: IntArray
) -> None:
    """Distances from `origin` into `far` (infinite where no way leads), the last step there into `by` (or -1).

    Bellman's passes over the nodes in the order of their distances at earlier lengths: a pass is enough unless a node
    is improved that the pass has left behind. `order` is brought up to date. Only nodes marked in `through`, and the
    origin, are passed through.
    """
    for at in range(order.size):
        place[order[at]] = at
    far[:], by[:] = np.inf, -1
    far[origin] = 0.0
    behind = True
    while behind:
        behind = False
        for at in range(order.size):
            node = order[at]
            reached = far[node]
            if reached == np.inf or not (steps.through[node] or node == origin):
                continue
            for i in range(steps.out[node], steps.out[node + 1]):
                step = steps.leave[i]
                way, head = reached + length[step], steps.heads[step]
                if way < far[head]:
                    far[head], by[head] = way, step
                    behind |= place[head] < at
    for at in range(1, order.size):
        node, to = order[at], at
        while to > 0 and far[order[to - 1]] > far[node]:
            order[to] = order[to - 1]
            to -= 1
        order[to] = node


@compiled
def lengths(steps: Steps, answer: float, work: float, prices: FloatArray, length: FloatArray) -> None:
    """What a unit of a group's flow pays on each step: for itself and its answers, or for its work at a server."""
    for e in range(length.size):
        length[e] = prices[steps.resource[e]]
        if steps.serves[e]:
            length[e] *= work
        elif answer > 0.0:
            length[e] = length[e] + answer * prices[steps.back[e]] if steps.back[e] >= 0 else np.inf


@compiled
def trees(
    steps: Steps,
    groups: Groups,
    low: int,
    high: int,
    prices: FloatArray,
    orders: IntArray,
    far: FloatArray,
    by: IntArray,
) -> None:
    """The trees of the groups from `low` to before `high`, into their rows of `far` and `by`.

    `orders`, of the same shape, is full of -1 at first and makes later calls at similar prices fast.
    """
    length, place = np.empty(steps.tails.size), np.empty(steps.through.size, np.int64)
    for g in range(low, high):
        if g == low or groups.answers[g] != groups.answers[g - 1] or groups.works[g] != groups.works[g - 1]:
            lengths(steps, groups.answers[g], groups.works[g], prices, length)
        if orders[g, 0] < 0:
            order_by_hops(steps, groups.origins[g], orders[g])
        tree(steps, groups.origins[g], length, orders[g], place, far[g], by[g])


@compiled
def load_trees(
    steps: Steps, groups: Groups, low: int, high: int, rates: FloatArray, by: IntArray, flow: FloatArray
) -> None:
    """Add the rates of the sessions of some groups to the flow on their trees."""
    for g in range(low, high):
        for k in range(groups.begin[g], groups.begin[g + 1]):
            node = groups.sinks[k]
            while node != groups.origins[g]:
                flow[g, by[g, node]] += rates[k]
                node = steps.tails[by[g, node]]


@compiled
def load_routes(
    groups: Groups, first: IntArray, start: IntArray, ways: IntArray, flows: FloatArray, flow: FloatArray
) -> None:
    """Add the flows of routes, which are those of `Routing`, to the flow of their groups."""
    for g in range(flow.shape[0]):
        for n in range(first[groups.begin[g]], first[groups.begin[g + 1]]):
            for i in range(start[n], start[n + 1]):
                flow[g, ways[i]] += flows[n]


@compiled
def loads_of(steps: Steps, groups: Groups, flow: FloatArray, count: int) -> FloatArray:
    """Load of each of `count` resources."""
    loads = np.zeros(count)
    for g in range(flow.shape[0]):
        answer, work = groups.answers[g], groups.works[g]
        for e in range(flow.shape[1]):
            if flow[g, e] > 0.0:
                loads[steps.resource[e]] += flow[g, e] * (work if steps.serves[e] else 1.0)
                if answer > 0.0 and not steps.serves[e]:
                    loads[steps.back[e]] += flow[g, e] * answer
    return loads


@compiled
def excess(steps: Steps, groups: Groups, flow: FloatArray, prices: FloatArray, far: FloatArray) -> tuple[float, float]:
    """What the flow pays above the cheapest ways, a sum of small terms, none negative; and the largest of a step."""
    over, worst, length = 0.0, 0.0, np.empty(steps.tails.size)
    for g in range(flow.shape[0]):
        if g == 0 or groups.answers[g] != groups.answers[g - 1] or groups.works[g] != groups.works[g - 1]:
            lengths(steps, groups.answers[g], groups.works[g], prices, length)
        for e in range(flow.shape[1]):
            if flow[g, e] > 0.0:
                above = max(far[g, steps.tails[e]] + length[e] - far[g, steps.heads[e]], 0.0)
                over += flow[g, e] * above
                worst = max(worst, above)
    return over, worst
