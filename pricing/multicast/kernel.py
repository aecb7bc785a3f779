"""The compiled slot of backpressure: choose by weight, move what is there, receive.

Plain functions of arrays that trust their input; `pricing.multicast.backpressure` says what they mean. A **cell** is
a queue: one status at one vertex of the layered graph; the cells of a vertex stand side by side, the empty status,
which never holds anything, first. Statuses and vertices are numbers here. Source: equations (5)-(7), (10), (13) and
(16) of the multicast paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit

from pricing.multicast.instance import IntArray, MaskArray
from pricing.values import FloatArray

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True)

NOTHING, UNKNOWN, TWICE = 0, 1, 2
"""Why slots ended early: they did not; a packet may get a status that no table has; a copy was delivered again."""

FREE, USED, TOUCHED, SPLITS, SLOT, WEIGHED = range(6)
"""Places in `State.counts`: first free copy or -1, copies ever used, cells touched, splits chosen, the slot, and how
many choices were weighed in all slots."""


class Graph(NamedTuple):
    """The layered graph; the fields of `pricing.multicast.instance.Layered` that a slot needs."""

    cost: FloatArray
    first: IntArray
    cast: IntArray
    tail: IntArray
    head: IntArray
    use: FloatArray
    cast_of: IntArray  # (V,)
    source: IntArray
    room: FloatArray  # (V,) normalised packets that all edges out of a vertex carry in a slot
    blocked: MaskArray  # (V,) destinations of the cast that no way leads to


class Tables(NamedTuple):
    """Statuses of all casts one after another, and what may be sent of each."""

    base: IntArray  # (K + 1,) first status of each cast
    mask: MaskArray  # (X,)
    size: IntArray  # (X,) destinations of each status
    choice: IntArray  # (X + 1,) first choice of each status
    sent: IntArray  # status sent, within its cast
    kept: IntArray  # status kept, within its cast
    split: IntArray  # (X, 2) what it splits into where it is, or -1
    entry_first: IntArray  # (K + 1,)
    entry: IntArray  # statuses that a packet enters with
    row: IntArray  # (V,) first cell of each vertex
    drop_row: IntArray  # (V,) where `drop` begins for a destination, or -1
    drop: IntArray  # what is left of a status there: a status, or -1 when no table has it
    bias: FloatArray  # (cells,) hops to all destinations of the status, or empty


class State(NamedTuple):
    """What changes from slot to slot."""

    queue: FloatArray  # (cells,)
    level: FloatArray  # (cells,) what weights are made of; empty when that is the queue
    incoming: FloatArray  # (cells,)
    touched: IntArray  # cells with something incoming
    carry: FloatArray  # (R,) capacity that whole packets left over
    weight: FloatArray  # (R,) largest weight, 0 when none is positive
    chosen: IntArray  # (R, 5) edge or -1, status, sent, kept, choice
    splits: IntArray  # (cells, 2) vertex and status of the splits chosen
    delivered: FloatArray  # (K, 64)
    owed: FloatArray  # (K,) copies owed: sum of queue x size
    counts: IntArray  # see FREE and the names beside it
    ends: IntArray  # (cells, 2) first and last copy in each cell, when packets are followed
    copies: IntArray  # (copies, 2) next copy, packet
    born: IntArray  # (packets,) slot in which a packet entered
    delay: IntArray  # (packets, 64) slots, or -1
    moved: FloatArray  # (E, choices) what each edge has moved by each choice; empty when nobody asks


@_compiled
def levels(tables: Tables, graph: Graph, state: State, eta: float) -> None:
    """Biased queues, equation (16)."""
    for v in range(tables.row.size):
        base = tables.base[graph.cast_of[v]]
        for q in range(1, tables.base[graph.cast_of[v] + 1] - base):
            cell = tables.row[v] + q
            state.level[cell] = tables.size[base + q] * state.queue[cell] + eta * tables.bias[cell]


@_compiled
def choose(graph: Graph, tables: Tables, state: State, level: FloatArray, V: float, eta: float) -> tuple[int, int, int]:
    """The choice of largest weight for every resource, equations (10) and (13), among queues that hold something.

    Nothing is sent to where a destination of its cannot be reached from. Of equal weights the first counts: by cast,
    stage, status, and what is sent. Returns why it ended, and the vertex and
    status that no table has.
    """
    queue, chosen = state.queue, state.chosen
    for r in range(graph.cost.size):
        best, toll = 0.0, V * graph.cost[r]
        chosen[r, 0] = -1
        for e in range(graph.first[r], graph.first[r + 1]):
            k, use = graph.cast[e], graph.use[e]
            base = tables.base[k]
            tail, head = tables.row[graph.tail[e]], tables.row[graph.head[e]]
            drop, blocked = tables.drop_row[graph.head[e]], graph.blocked[graph.head[e]]
            for q in range(1, tables.base[k + 1] - base):
                if queue[tail + q] <= 0.0:
                    continue
                own = level[tail + q]
                # No choice weighs more than this; with a bias a link gains one hop a destination at most.
                most = own if eta == 0.0 else tables.size[base + q] * (queue[tail + q] + eta) * (1 + 1e-9)
                if most / use - toll <= best:
                    continue
                state.counts[WEIGHED] += tables.choice[base + q + 1] - tables.choice[base + q]
                for c in range(tables.choice[base + q], tables.choice[base + q + 1]):
                    s = tables.sent[c]
                    if blocked and tables.mask[base + s] & blocked:
                        continue
                    left = s if drop < 0 else tables.drop[drop + s]
                    if left < 0:
                        return UNKNOWN, graph.head[e], s
                    w = (own - level[head + left] - level[tail + tables.kept[c]]) / use - toll
                    if w > best:
                        best = w
                        chosen[r, 0], chosen[r, 1], chosen[r, 2], chosen[r, 3] = e, q, s, tables.kept[c]
                        chosen[r, 4] = c
        state.weight[r] = best
    _choose_splits(graph, tables, state, level)
    return NOTHING, -1, -1


@_compiled
def _choose_splits(graph: Graph, tables: Tables, state: State, level: FloatArray) -> None:
    """Which statuses split where they are: those with more in the queue than in both that they become."""
    found = 0
    if tables.split.size:
        for v in range(tables.row.size):
            k, row = graph.cast_of[v], tables.row[v]
            for q in range(1, tables.base[k + 1] - tables.base[k]):
                a, b = tables.split[tables.base[k] + q, 0], tables.split[tables.base[k] + q, 1]
                if a >= 0 and state.queue[row + q] > 0.0 and level[row + q] > level[row + a] + level[row + b]:
                    state.splits[found, 0], state.splits[found, 1] = v, q
                    found += 1
    state.counts[SPLITS] = found


@_compiled
def _receive(state: State, cell: int, amount: float) -> None:
    """Let something come into a cell; it is there from the next slot on."""
    if state.incoming[cell] == 0.0:
        state.touched[state.counts[TOUCHED]] = cell
        state.counts[TOUCHED] += 1
    state.incoming[cell] += amount


@_compiled
def _append(state: State, cell: int, copy: int) -> None:
    """Put a copy at the end of a cell."""
    state.copies[copy, 0] = -1
    if state.ends[cell, 0] < 0:
        state.ends[cell, 0] = copy
    else:
        state.copies[state.ends[cell, 1], 0] = copy
    state.ends[cell, 1] = copy


@_compiled
def _new(state: State, packet: int) -> int:
    """A copy of a packet, in a place that is free."""
    copy = state.counts[FREE]
    if copy >= 0:
        state.counts[FREE] = state.copies[copy, 0]
    else:
        copy = state.counts[USED]
        state.counts[USED] += 1
    state.copies[copy, 1] = packet
    return int(copy)


@_compiled
def _hand_over(state: State, origin: int, to: int, kept: int, bits: np.uint64, amount: int) -> bool:
    """Follow `amount` copies out of a cell: to cell `to` (or away, -1), one of each kept in `kept` (or none, -1).

    `bits` are destinations that they are delivered to on the way. Returns whether one was delivered twice.
    """
    for _ in range(amount):
        copy = state.ends[origin, 0]
        state.ends[origin, 0] = state.copies[copy, 0]
        packet = state.copies[copy, 1]
        d, rest = 0, bits
        while rest:
            if rest & np.uint64(1):
                if state.delay[packet, d] >= 0:
                    return True
                state.delay[packet, d] = state.counts[SLOT] - state.born[packet]
            rest >>= np.uint64(1)
            d += 1
        if to >= 0:
            _append(state, to, copy)
        else:
            state.copies[copy, 0] = state.counts[FREE]
            state.counts[FREE] = copy
        if kept >= 0:
            _append(state, kept, _new(state, packet))
    return False


@_compiled
def _pass_on(
    graph: Graph, tables: Tables, state: State, v: int, q: int, head: int, s: int, kept: int, want: float, follow: bool
) -> float:
    """Take up to `want` of a status at vertex v, send status s to vertex `head`, keep the rest.

    Returns how much there was to take, or -1 when a copy was delivered twice.
    """
    k = graph.cast_of[v]
    cell, base = tables.row[v] + q, tables.base[k]
    amount = min(want, state.queue[cell])
    if amount <= 0.0:
        return 0.0
    state.queue[cell] -= amount
    left = s if tables.drop_row[head] < 0 else tables.drop[tables.drop_row[head] + s]
    bits = tables.mask[base + s] ^ tables.mask[base + left]
    state.owed[k] -= amount * (tables.size[base + s] - tables.size[base + left])
    d, rest = 0, bits
    while rest:
        if rest & np.uint64(1):
            state.delivered[k, d] += amount
        rest >>= np.uint64(1)
        d += 1
    to = tables.row[head] + left if left else -1
    stays = tables.row[v] + kept if kept else -1
    if to >= 0:
        _receive(state, to, amount)
    if stays >= 0:
        _receive(state, stays, amount)
    if follow and _hand_over(state, cell, to, stays, bits, int(amount)):
        return -1.0
    return float(amount)


@_compiled
def move(
    graph: Graph,
    tables: Tables,
    state: State,
    capacity: FloatArray,
    order: IntArray,
    arrivals: FloatArray,
    packet: int,
    follow: bool,
) -> tuple[int, float, float]:
    """Carry out what was chosen, one resource after another in `order`, then what splits, then what enters.

    Nothing moves twice in a slot. Packets that enter are numbered from `packet`. Returns why it ended, and the cost
    of what was scheduled and of what really moved.
    """
    scheduled, real = 0.0, 0.0
    for r in order:
        e = state.chosen[r, 0]
        if e < 0:
            continue
        want = capacity[r] / graph.use[e]
        if follow:
            budget = capacity[r] + state.carry[r]
            want = np.floor(budget / graph.use[e] + 1e-9)
            state.carry[r] = budget - want * graph.use[e]
        scheduled += graph.cost[r] * (want * graph.use[e])
        q, s, kept = state.chosen[r, 1], state.chosen[r, 2], state.chosen[r, 3]
        took = _pass_on(graph, tables, state, graph.tail[e], q, graph.head[e], s, kept, want, follow)
        if took < 0.0:
            return TWICE, scheduled, real
        real += graph.cost[r] * (took * graph.use[e])
        if state.moved.size:
            state.moved[e, state.chosen[r, 4]] += took
    for n in range(state.counts[SPLITS]):
        v, q = state.splits[n, 0], state.splits[n, 1]
        at = tables.base[graph.cast_of[v]] + q
        want = np.ceil(graph.room[v]) if follow else graph.room[v]
        _pass_on(graph, tables, state, v, q, v, tables.split[at, 0], tables.split[at, 1], want, follow)
    for k in range(arrivals.size):
        for n in range(tables.entry_first[k], tables.entry_first[k + 1]):
            if arrivals[k] > 0.0:
                cell = tables.row[graph.source[k]] + tables.entry[n]
                _receive(state, cell, arrivals[k])
                state.owed[k] += arrivals[k] * tables.size[tables.base[k] + tables.entry[n]]
                if follow:
                    for p in range(int(arrivals[k])):
                        _append(state, cell, _new(state, packet + p))
        packet += int(arrivals[k])
    for n in range(state.counts[TOUCHED]):
        cell = state.touched[n]
        state.queue[cell] += state.incoming[cell]
        state.incoming[cell] = 0.0
    state.counts[TOUCHED] = 0
    state.counts[SLOT] += 1
    return NOTHING, scheduled, real


@_compiled
def slots(
    graph: Graph,
    tables: Tables,
    state: State,
    capacity: FloatArray,
    order: IntArray,
    arrivals: FloatArray,
    packet: int,
    follow: bool,
    V: float,
    eta: float,
    owed: FloatArray,
    costs: FloatArray,
) -> tuple[int, int, int, int]:
    """Run slots: (T, R) orders and (T, K) arrivals into (T, K) copies owed after each and (T, 2) costs.

    Returns why it ended, the vertex and status that no table has, and how many slots are done; a slot that needs what
    no table has has changed nothing.
    """
    biased = state.level.size > 0
    for t in range(arrivals.shape[0]):
        if biased:
            levels(tables, graph, state, eta)
        level = state.level if biased else state.queue
        why, vertex, status = choose(graph, tables, state, level, V, eta)
        if why != NOTHING:
            return why, vertex, status, t
        why, costs[t, 0], costs[t, 1] = move(graph, tables, state, capacity, order[t], arrivals[t], packet, follow)
        if why != NOTHING:
            return why, -1, -1, t
        owed[t] = state.owed
        for k in range(arrivals.shape[1]):
            packet += int(arrivals[t, k])
    return NOTHING, -1, -1, arrivals.shape[0]
