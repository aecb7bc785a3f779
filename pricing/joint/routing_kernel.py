"""The compiled part of the solver for general networks: pairs of ways, passes over them, and routes from flows.

Plain functions of arrays that trust their input; `pricing.joint.network_flow` says what they mean. What a group's flow
can do is to leave a used way for a cheaper one between the same two nodes. Such a pair of ways is often the same for
many groups and is then kept once, with the groups beside it (paired alternative segments: Bar-Gera 2010).
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pricing.joint.tree_kernel import Groups, IntArray, Steps, compiled
from pricing.values import FloatArray

_Kind = TypeVar("_Kind", bound=np.generic)

_DUST = 1e-14
"""Flow that is left of a step, as a part of what just went, and is rounding."""

_ROUNDING, _LEAST = 1e-9, 1e-12
"""Part of a session's rate that may follow its first route for being so small, and that a route carries at least."""


_RELAX = 1.5
"""Newton steps of the passes, over-relaxed: below 2 the model falls with each."""

_LEAP = 8
"""Passes after which all flows go on along their last changes."""

_FARTHEST = 1000.0
"""Multiple of these changes that is as far as rounding, which grows with it, lets them go."""


class Pairs(NamedTuple):
    """Pair n leads over `ways` of start[n] to cut[n], or over those of cut[n] to start[n + 1].

    A unit of flow that changes from the second way to the first loads uses[place[n]:place[n + 1]] by the `amounts`
    beside them; `bend` is the curvature of the cost along this. Its groups are who[i] for i = head[n], then
    after[i], until -1.
    """

    start: IntArray
    cut: IntArray
    ways: IntArray
    place: IntArray
    uses: IntArray
    amounts: FloatArray
    bend: FloatArray
    head: IntArray
    after: IntArray
    who: IntArray


@compiled
def _survey(steps: Steps, groups: Groups, flow: FloatArray, by: IntArray, fullest: IntArray) -> int:
    """The step with most flow into each node, or -1, and how many steps are used that no tree has."""
    count = 0
    for g in range(flow.shape[0]):
        for node in range(steps.through.size):
            most, best = 0.0, -1
            for e in range(steps.enter[node], steps.enter[node + 1]):
                amount = flow[g, e]
                if amount > 0.0:
                    count += e != by[g, node]
                    if amount > most:
                        most, best = amount, e
            fullest[g, node] = best
        fullest[g, groups.origins[g]] = -1
    return count


@compiled
def _trace(
    steps: Steps, origin: int, by: IntArray, fullest: IntArray, step: int, mark: IntArray, stamp: int, way: IntArray
) -> tuple[int, int]:
    """A used step, the fullest way to it, and the cheapest way that this leaves: into `way`, one after the other.

    Returns where the first ends and the second ends. Flow that runs in a circle is a way beside none; a
    step that no flow reaches has no way.
    """
    node = steps.heads[step]
    mark[node] = stamp
    while node != origin:
        node = steps.tails[by[node]]
        mark[node] = stamp
    way[0], count, node = step, 1, steps.tails[step]
    while mark[node] != stamp:
        into = fullest[node]
        if into < 0:
            return 0, 0
        if count == fullest.size:
            end, count = node, 0
            while count == 0 or node != end:
                way[count] = fullest[node]
                node = steps.tails[way[count]]
                count += 1
            return count, count
        way[count] = into
        node = steps.tails[into]
        count += 1
    cut, end, node = count, node, steps.heads[step]
    while node != end:
        way[count] = by[node]
        node = steps.tails[by[node]]
        count += 1
    return cut, count


@compiled
def _grown(array: NDArray[_Kind], used: int, more: int) -> NDArray[_Kind]:
    """A longer copy of an array that has no room for `more`."""
    longer = np.empty(2 * array.size + more, array.dtype)
    longer[:used] = array[:used]
    return longer


@compiled
def _differ(
    steps: Steps,
    answer: float,
    work: float,
    way: IntArray,
    middle: int,
    end: int,
    curvature: FloatArray,
    scratch: FloatArray,
    uses: IntArray,
    amounts: FloatArray,
    used: int,
) -> tuple[int, float]:
    """What the first way loads more than the second, written down from `used`: where it ends, and the curvature."""
    for i in range(end):
        step, sign = way[i], 1.0 if i < middle else -1.0
        scratch[steps.resource[step]] += sign * (work if steps.serves[step] else 1.0)
        if answer > 0.0 and not steps.serves[step]:
            scratch[steps.back[step]] += sign * answer
    bend = 0.0
    for i in range(end):
        for use in (steps.resource[way[i]], steps.back[way[i]]):
            if use >= 0 and scratch[use] != 0.0:
                uses[used], amounts[used] = use, scratch[use]
                bend += scratch[use] * scratch[use] * curvature[use]
                scratch[use] = 0.0
                used += 1
    return used, bend


@compiled
def pairs(
    steps: Steps, groups: Groups, flow: FloatArray, by: IntArray, curvature: FloatArray, scratch: FloatArray
) -> Pairs:
    """For each used step that is not of its group's tree: the used way that ends in it, beside the cheapest.

    These span all that flows can change between used steps and trees. Flow on steps that no flow reaches is rounding,
    and is taken away.
    """
    nodes, fullest = steps.through.size, np.empty(by.shape, np.int64)
    most = _survey(steps, groups, flow, by, fullest)
    size = 16
    while size < 2 * most:
        size *= 2
    table = np.full(size, -1, np.int64)
    mark, stamp, way = np.zeros(nodes, np.int64), 0, np.empty(2 * nodes + 2, np.int64)
    start, cut, place = np.zeros(most + 1, np.int64), np.empty(most, np.int64), np.zeros(most + 1, np.int64)
    ways, uses, amounts, bend = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024), np.zeros(most)
    head, after, who = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    count, items = 0, 0
    for g in range(flow.shape[0]):
        origin, answer, work = groups.origins[g], groups.answers[g], groups.works[g]
        mine, toward, full = flow[g], by[g], fullest[g]
        for e in range(flow.shape[1]):
            if not mine[e] > 0.0 or toward[steps.heads[e]] == e:
                continue
            stamp += 1
            middle, end = _trace(steps, origin, toward, full, e, mark, stamp, way)
            if end == 0:
                mine[e] = 0.0
                continue
            key = middle
            for i in range(end):
                key = (key * 1000003 + way[i]) & 0xFFFFFFFFFFFFFFF
            slot = (key ^ (key >> 29)) & (size - 1)
            n = table[slot]
            while n >= 0:
                like = groups.answers[who[head[n]]] == answer and groups.works[who[head[n]]] == work
                if like and cut[n] - start[n] == middle and start[n + 1] - start[n] == end:
                    i = 0
                    while i < end and ways[start[n] + i] == way[i]:
                        i += 1
                    if i == end:
                        break
                slot = (slot + 1) & (size - 1)
                n = table[slot]
            who[items], after[items] = g, -1
            if n >= 0:
                after[items] = head[n]
                head[n] = items
                items += 1
                continue
            n = count
            table[slot], head[n] = n, items
            items, count = items + 1, count + 1
            if start[n] + end > ways.size:
                ways = _grown(ways, start[n], end)
            for i in range(end):
                ways[start[n] + i] = way[i]
            cut[n], start[n + 1] = start[n] + middle, start[n] + end
            used = place[n]
            if used + 2 * end > uses.size:
                uses, amounts = _grown(uses, used, 2 * end), _grown(amounts, used, 2 * end)
            used, bend[n] = _differ(steps, answer, work, way, middle, end, curvature, scratch, uses, amounts, used)
            place[n + 1] = used
    used = place[count]
    return Pairs(
        start[: count + 1], cut[:count], ways[: start[count]], place[: count + 1], uses[:used], amounts[:used],
        bend[:count], head[:count], after[:items], who[:items],
    )  # fmt: skip


@compiled
def sweep(row: Pairs, flow: FloatArray, slopes: FloatArray, change: FloatArray, curvature: FloatArray) -> float:
    """One pass over the pairs: each shifts flow to its cheaper way, by a Newton step or all there is, in place.

    Costs are a quadratic model: `slopes` are those at the loads as they are, and follow each `change` of these by
    `curvature`. Returns by how much the model fell.
    """
    fell = 0.0
    for n in range(row.bend.size):
        apart = 0.0
        for i in range(row.place[n], row.place[n + 1]):
            apart += row.amounts[i] * slopes[row.uses[i]]
        low, middle, high = row.start[n], row.cut[n], row.start[n + 1]
        first, last = (low, middle) if apart > 0.0 else (middle, high)
        if apart == 0.0 or first == last:
            continue
        size = abs(apart)
        wish, moved, item = _RELAX * size / row.bend[n], 0.0, row.head[n]
        while item >= 0 and moved < wish:
            g = row.who[item]
            item = row.after[item]
            shift = wish - moved
            for i in range(first, last):
                shift = min(shift, flow[g, row.ways[i]])
                if not shift > 0.0:
                    break
            if not shift > 0.0:
                continue
            moved += shift
            for i in range(low, high):
                e = row.ways[i]
                if first <= i < last:
                    flow[g, e] -= shift
                    if flow[g, e] < _DUST * shift:
                        flow[g, e] = 0.0
                else:
                    flow[g, e] += shift
        if moved > 0.0:
            fell += moved * (size - 0.5 * row.bend[n] * moved)
            if apart > 0.0:
                moved = -moved
            for i in range(row.place[n], row.place[n + 1]):
                use, more = row.uses[i], row.amounts[i] * moved
                change[use] += more
                slopes[use] += more * curvature[use]
    return fell


@compiled
def leap(
    flow: FloatArray,
    slopes: FloatArray,
    change: FloatArray,
    flow0: FloatArray,
    slopes0: FloatArray,
    change0: FloatArray,
) -> None:
    """Go on from an earlier point through the present one to where the model is least, as far as flows last."""
    falling = bend = 0.0
    for r in range(slopes.size):
        falling -= slopes[r] * (change[r] - change0[r])
        bend += (slopes[r] - slopes0[r]) * (change[r] - change0[r])
    if not (falling > 0.0 and bend > 0.0):
        return
    far = min(falling / bend, _FARTHEST)
    for g in range(flow.shape[0]):
        for e in range(flow.shape[1]):
            if flow0[g, e] > flow[g, e]:
                far = min(far, flow[g, e] / (flow0[g, e] - flow[g, e]))
    for g in range(flow.shape[0]):
        for e in range(flow.shape[1]):
            flow[g, e] = max(flow[g, e] + far * (flow[g, e] - flow0[g, e]), 0.0)
    slopes += far * (slopes - slopes0)
    change += far * (change - change0)


@compiled
def passes(
    row: Pairs, flow: FloatArray, slopes: FloatArray, change: FloatArray, curvature: FloatArray, most: int, least: float
) -> float:
    """Passes until one falls less than a part of what all but the first fell, or as many as allowed; returns what the
    model fell."""
    fell = first = sweep(row, flow, slopes, change, curvature)
    flow0, slopes0, change0 = flow.copy(), slopes.copy(), change.copy()
    for number in range(1, most):
        if number % _LEAP == 0:
            leap(flow, slopes, change, flow0, slopes0, change0)
            flow0[:], slopes0[:], change0[:] = flow, slopes, change
        less = sweep(row, flow, slopes, change, curvature)
        fell += less
        if less <= least * (fell - first):
            break
    return fell


@compiled
def _fullest_way(steps: Steps, flow: FloatArray, origin: int, sink: int, way: IntArray) -> tuple[int, float]:
    """The way to a sink over the fullest steps: its length, steps into `way`, last first, and what it carries."""
    node, length, amount = sink, 0, np.inf
    while node != origin:
        most = 0.0
        for step in range(steps.enter[node], steps.enter[node + 1]):
            if flow[step] > most:
                most, way[length] = flow[step], step
        if most == 0.0 or length == steps.through.size:
            return 0, 0.0
        amount, node = min(amount, most), steps.tails[way[length]]
        length += 1
    return length, amount


@compiled
def routes_of(
    steps: Steps, groups: Groups, flow: FloatArray, by: IntArray, rates: FloatArray
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """The flow of each group dealt to its sessions, as few routes: (first, start, ways, flows) of `Routing`.

    A session takes the fullest way to its sink for as much as that carries, then the next; `flow` is used up. What
    rounding leaves goes with the first route; a session that finds no flow, or asks for none, goes along the tree.
    """
    nodes, count = steps.through.size, rates.size
    way, first = np.empty(nodes + 1, np.int64), np.zeros(count + 1, np.int64)
    start, ways, flows = np.zeros(2 * count + 1, np.int64), np.empty(16 * count + nodes, np.int64), np.empty(2 * count)
    routes = 0
    for g in range(flow.shape[0]):
        origin, mine, toward = groups.origins[g], flow[g], by[g]
        for k in range(groups.begin[g], groups.begin[g + 1]):
            rest = rates[k]
            while rest > 0.0 or routes == first[k]:
                length, amount = _fullest_way(steps, mine, origin, groups.sinks[k], way)
                amount = min(amount, rest)
                if amount <= _LEAST * rates[k]:
                    if routes > first[k] and rest <= _ROUNDING * rates[k]:
                        flows[first[k]] += rest
                        break
                    length, amount, node = 0, rest, groups.sinks[k]
                    while node != origin:
                        way[length] = toward[node]
                        node = steps.tails[way[length]]
                        length += 1
                if routes == flows.size:
                    start, flows = _grown(start, routes + 1, routes), _grown(flows, routes, 1)
                if start[routes] + length > ways.size:
                    ways = _grown(ways, start[routes], length)
                flows[routes], start[routes + 1] = amount, start[routes] + length
                for i in range(length):
                    ways[start[routes] + i] = way[i]
                    mine[way[i]] = max(mine[way[i]] - amount, 0.0)
                rest -= amount
                routes += 1
            first[k + 1] = routes
    return first, start[: routes + 1], ways[: start[routes]], flows[:routes]
