"""Packets that know their whole route when they enter: what carries them, the nearest to their origin first.

All packets of a cast that enter in one slot are a **batch** and share a route, a tree of edges of the layered graph
from the cast's source to its destinations. A **pile** is what waits of a batch before one edge of its route. At every
resource the piles that crossed fewest edges so far go first (nearest to origin), and of those the ones that came
first. Packets that arrive where their route branches are duplicated there, one copy for each branch, and copies
leave at their destinations.

Amounts are whole packets; what a resource has left when the next packet is too large for it is kept for the next slot,
unless nothing waits. This is the physical half of universal max-weight (`pricing.multicast.universal`) and all of
fixed trees (`pricing.multicast.shortest`). Source: Sinha and Modiano, Optimal control for generalized network flow
problems (2018), reference [21] of the multicast paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit

from pricing.multicast.instance import MOST_DESTINATIONS, Instance, IntArray, MaskArray
from pricing.multicast.simulate import Balance, Medium, Tally
from pricing.values import FloatArray

_Function = TypeVar("_Function", bound=Callable[..., Any])
compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True)

FREE, USED, SLOT, PACKETS = range(4)
"""Places in `Yard.tally`: the first batch that may be used again or -1, batches ever used, slots, packets so far."""

LENGTH, CAST, ENTERED, NEXT = range(4)
"""Columns of `Yard.batch`."""


class Plan(NamedTuple):
    """The fields of `pricing.multicast.instance.Layered` that a slot needs."""

    resource: IntArray  # (E,)
    cast: IntArray  # (E,)
    tail: IntArray  # (E,)
    head: IntArray  # (E,)
    use: FloatArray  # (E,)
    vertices: IntArray  # (K + 1,)
    source: IntArray  # (K,)
    here: MaskArray  # (V,)


class Yard(NamedTuple):
    """What waits, and what has left. A pile is numbered batch * L + place of its edge in the route."""

    batch: IntArray  # (B, 4)
    edge: IntArray  # (B, L) the route, parents before children
    parent: IntArray  # (B, L) place of the edge before, or -1 at the source
    serves: IntArray  # (B, L) destinations served behind an edge
    depth: IntArray  # (B, L) edges before it
    owed: FloatArray  # (B,) copies not yet delivered
    amount: FloatArray  # (B, L) packets that wait before each edge
    after: IntArray  # (B, L) the next pile in the same line, or -1
    line: IntArray  # (R, L, 2) first and last pile of a resource with so many edges crossed, or -1
    over: FloatArray  # (B, L) packets that have crossed each edge
    first: IntArray  # (B,) number of a batch's first packet
    carry: FloatArray  # (R,) capacity that whole packets left over
    sent: FloatArray  # (R,) taken of each resource in this slot
    all_owed: FloatArray  # (K,) copies not yet delivered
    delivered: FloatArray  # (K, 64) copies
    tally: IntArray


def plan_of(instance: Instance) -> Plan:
    """The arrays of an instance."""
    graph = instance.layered
    where = (graph.resource, graph.cast, graph.tail, graph.head)
    return Plan(*where, graph.use, graph.vertices, graph.source, graph.here)


def empty_yard(instance: Instance, batches: int) -> Yard:
    """Nothing waits; routes have room for as many edges as a cast has vertices."""
    graph = instance.layered
    longest, resources, casts = int(np.diff(graph.vertices).max()), len(graph.capacity), len(instance.casts)

    def whole(*shape: int) -> IntArray:
        return np.zeros(shape, dtype=np.int64)

    return Yard(
        batch=whole(batches, 4),
        edge=whole(batches, longest),
        parent=whole(batches, longest),
        serves=whole(batches, longest),
        depth=whole(batches, longest),
        owed=np.zeros(batches),
        amount=np.zeros((batches, longest)),
        after=whole(batches, longest),
        line=whole(resources, longest, 2) - 1,
        over=np.zeros((batches, longest)),
        first=whole(batches),
        carry=np.zeros(resources),
        sent=np.zeros(resources),
        all_owed=np.zeros(casts),
        delivered=np.zeros((casts, MOST_DESTINATIONS)),
        tally=np.array([-1, 0, 0, 0]),
    )


def larger(yard: Yard) -> Yard:
    """The same with room for twice the batches."""
    fields = ("batch", "edge", "parent", "serves", "depth", "owed", "amount", "after", "over", "first")
    return yard._replace(**{name: np.concatenate([old := getattr(yard, name), np.zeros_like(old)]) for name in fields})


@compiled
def has_room(yard: Yard) -> bool:
    """Whether every cast can have a new batch."""
    return bool(yard.tally[USED] + yard.all_owed.size <= yard.owed.size)


@compiled
def _line_up(plan: Plan, yard: Yard, batch: int, place: int, amount: float) -> None:
    """Packets of a batch wait before an edge of their route; a pile that waits already keeps its turn."""
    if yard.amount[batch, place] == 0.0:
        longest = yard.edge.shape[1]
        pile, r, depth = batch * longest + place, plan.resource[yard.edge[batch, place]], yard.depth[batch, place]
        yard.after[batch, place] = -1
        last = yard.line[r, depth, 1]
        if last < 0:
            yard.line[r, depth, 0] = pile
        else:
            yard.after[last // longest, last % longest] = pile
        yard.line[r, depth, 1] = pile
    yard.amount[batch, place] += amount


@compiled
def enter(plan: Plan, yard: Yard, cast: int, amount: float, route: IntArray, length: int) -> None:
    """`amount` packets of a cast enter with a route: `length` edges of the layered graph, parents before children."""
    batch = int(yard.tally[FREE])
    if batch >= 0:
        yard.tally[FREE] = yard.batch[batch, NEXT]
    else:
        batch = int(yard.tally[USED])
        yard.tally[USED] += 1
    yard.batch[batch, LENGTH], yard.batch[batch, CAST], yard.batch[batch, ENTERED] = length, cast, yard.tally[SLOT]
    served = np.uint64(0)
    for place in range(length):
        edge = route[place]
        yard.edge[batch, place], yard.amount[batch, place], yard.over[batch, place] = edge, 0.0, 0.0
        yard.parent[batch, place], yard.depth[batch, place] = -1, 0
        for before in range(place):
            if plan.head[yard.edge[batch, before]] == plan.tail[edge]:
                yard.parent[batch, place], yard.depth[batch, place] = before, yard.depth[batch, before] + 1
        new = plan.here[plan.head[edge]] & ~served
        yard.serves[batch, place] = np.int64(new)
        served |= new
    copies = 0
    for d in range(MOST_DESTINATIONS):
        copies += int(served >> np.uint64(d) & np.uint64(1))
    yard.owed[batch] = amount * copies
    yard.all_owed[cast] += amount * copies
    yard.first[batch] = yard.tally[PACKETS]
    yard.tally[PACKETS] += int(amount)
    for place in range(length):
        if yard.parent[batch, place] < 0:
            _line_up(plan, yard, batch, place, amount)


@compiled
def serve(plan: Plan, yard: Yard, capacity: FloatArray, delay: IntArray) -> None:
    """One slot at every resource: what crosses has left its line, and is received when all resources have sent.

    `delay` (P, 64) takes the slots that each packet took to each destination; of shape (0, 64) it takes nothing.
    """
    longest = yard.edge.shape[1]
    crossed = np.empty((64, 2))
    count = 0
    for r in range(capacity.size):
        left, depth = capacity[r] + yard.carry[r], 0
        yard.sent[r] = 0.0
        while depth < longest:
            pile = yard.line[r, depth, 0]
            if pile < 0:
                depth += 1
                continue
            batch, place = pile // longest, pile % longest
            use = plan.use[yard.edge[batch, place]]
            # Sums of what was left over are exact to rounding only; a packet must not wait a slot for it.
            amount = min(yard.amount[batch, place], np.floor(left / use * (1 + 1e-12) + 1e-9))
            if amount <= 0.0:
                break
            left = max(0.0, left - amount * use)
            yard.sent[r] += amount * use
            yard.amount[batch, place] -= amount
            if yard.amount[batch, place] == 0.0:
                yard.line[r, depth, 0] = yard.after[batch, place]
                if yard.after[batch, place] < 0:
                    yard.line[r, depth, 1] = -1
            if count == crossed.shape[0]:
                crossed = np.concatenate((crossed, np.empty_like(crossed)))
            crossed[count, 0], crossed[count, 1] = pile, amount
            count += 1
        yard.carry[r] = 0.0 if depth == longest else left
    for i in range(count):
        pile = int(crossed[i, 0])
        _receive(plan, yard, pile // longest, pile % longest, crossed[i, 1], delay)


@compiled
def _receive(plan: Plan, yard: Yard, batch: int, place: int, amount: float, delay: IntArray) -> None:
    """Packets are across an edge: copies leave at destinations, the others wait before every branch."""
    cast, bits, d = yard.batch[batch, CAST], np.uint64(yard.serves[batch, place]), 0
    begin = yard.first[batch] + int(yard.over[batch, place])
    yard.over[batch, place] += amount
    while bits:
        if bits & np.uint64(1):
            yard.delivered[cast, d] += amount
            yard.owed[batch] -= amount
            yard.all_owed[cast] -= amount
            if delay.shape[0]:
                delay[begin : begin + int(amount), d] = yard.tally[SLOT] - yard.batch[batch, ENTERED]
        bits >>= np.uint64(1)
        d += 1
    for other in range(place + 1, yard.batch[batch, LENGTH]):
        if yard.parent[batch, other] == place:
            _line_up(plan, yard, batch, other, amount)
    if yard.owed[batch] < 1e-9:
        yard.owed[batch] = 0.0
        yard.batch[batch, NEXT] = yard.tally[FREE]
        yard.tally[FREE] = batch


@compiled
def _still_owed(yard: Yard, owed: FloatArray) -> None:
    """Copies owed to each destination of each cast (K, 64), from the piles: each owes what its branch serves."""
    below = np.zeros(yard.edge.shape[1])
    for batch in range(yard.tally[USED]):
        if yard.owed[batch] == 0.0:
            continue
        for place in range(yard.batch[batch, LENGTH]):
            before = yard.parent[batch, place]
            # What waits here or anywhere on the way here has not been where this edge leads.
            below[place] = yard.amount[batch, place] + (below[before] if before >= 0 else 0.0)
            for d in range(owed.shape[1]):
                if np.uint64(yard.serves[batch, place]) >> np.uint64(d) & np.uint64(1):
                    owed[yard.batch[batch, CAST], d] += below[place]


class RoutedEngine:
    """A policy at work that gives every batch its whole route; subclasses run the slots.

    Parameters
    ----------
    follow : bool
        Whether the delay of each packet is kept.
    medium : callable, optional
        Capacities that change from slot to slot.
    """

    def __init__(self, instance: Instance, follow: bool, medium: Medium | None) -> None:
        self.plan, self.yard = plan_of(instance), empty_yard(instance, 1024)
        self.capacity, self.cost = instance.layered.capacity, instance.layered.cost
        self.medium, self.follow = medium, follow
        self.born = np.zeros(0, dtype=np.int64)
        self.delay = np.zeros((0, MOST_DESTINATIONS), dtype=np.int64)

    def advance(self, arrivals: FloatArray, order: IntArray) -> Tally:  # noqa: ARG002 - a line has one order only
        """Run slots with (T, K) arrivals; the order of service makes no difference."""
        slots = len(arrivals)
        if self.follow:
            now = int(self.yard.tally[SLOT])
            self.born = np.append(self.born, np.repeat(now + np.arange(slots), arrivals.sum(axis=1).astype(np.int64)))
            self.delay = np.vstack([self.delay, np.full((len(self.born) - len(self.delay), MOST_DESTINATIONS), -1)])
        owed, sent, extra = np.empty(arrivals.shape), np.empty((slots, len(self.cost))), np.zeros(slots)
        capacity = np.tile(self.capacity, (slots, 1))
        done = 0
        while done < slots:
            if not has_room(self.yard):
                self.yard = larger(self.yard)
            if self.medium is not None:
                capacity[done], extra[done] = self.medium(int(self.yard.tally[SLOT]), self.weights())
            part = slice(done, slots if self.medium is None else done + 1)
            done += self.slots(arrivals[part], capacity[part], owed[part], sent[part])
        real = sent @ self.cost + extra
        return Tally(owed, real, real)

    def slots(self, arrivals: FloatArray, capacity: FloatArray, owed: FloatArray, sent: FloatArray) -> int:
        """Run slots while there is room, and return how many; fill `owed` (T, K) and `sent` (T, R)."""
        raise NotImplementedError

    def weights(self) -> FloatArray:
        """What a unit of each resource's capacity is worth now (R,): work that waits for it."""
        used = int(self.yard.tally[USED])
        edges = self.yard.edge[:used].ravel()
        work = self.yard.amount[:used].ravel() * self.plan.use[edges]
        return np.bincount(self.plan.resource[edges], work, len(self.cost)).astype(np.float64)

    def drain(self) -> None:
        """Nothing changes: what is left goes its way."""

    def balance(self) -> Balance:
        """What was delivered, and what piles still owe."""
        owed = np.zeros_like(self.yard.delivered)
        _still_owed(self.yard, owed)
        return Balance(self.yard.delivered.copy(), owed)

    def delays(self) -> tuple[IntArray, IntArray]:
        """Slots of arrival and delays of followed packets."""
        return self.born, self.delay
