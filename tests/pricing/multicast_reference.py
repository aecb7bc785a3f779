"""Backpressure in plain Python, written from the equations: queues in a dict, statuses as sets, no layered arrays.

Slow and straightforward; the compiled slots are compared with it, and timed against it. Amounts are normalised, so
that a packet of stage m is `size` packets of a link.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from pricing.multicast.instance import Instance, Processor, SlotLink

Status = frozenset[int]
Place = tuple[int, int, str]
"""Cast, stage, node."""
Split = Callable[[Status], tuple[Status, Status] | None]
EMPTY: Status = frozenset()


def number(q: Status) -> int:
    return sum(1 << d for d in q)


def subsets(q: Status) -> list[Status]:
    found = [EMPTY]
    for d in q:
        found += [s | {d} for s in found]
    return sorted(found[1:], key=number, reverse=True)


class Plain:
    """All casts of an instance under one member of the family."""

    def __init__(
        self, instance: Instance, duplications: str, V: float, eta: float, trees: list[Split] | None = None,
        local_splits: bool = False, whole: bool = False,
    ) -> None:  # fmt: skip
        self.instance, self.duplications, self.V, self.eta = instance, duplications, V, eta
        self.trees, self.local_splits, self.whole = trees, local_splits, whole
        self.queue: dict[Place, dict[Status, float]] = {}
        self.edges: list[list[tuple[Place, Place, float]]] = []
        for resource in instance.resources:
            mine = []
            for k, cast in enumerate(instance.casts):
                size = 1.0
                for m in range(len(cast.chain) + 1):
                    if isinstance(resource, SlotLink):
                        mine.append(((k, m, resource.src), (k, m, resource.dst), size))
                    elif m < len(cast.chain):
                        at = resource.node
                        mine.append(((k, m, at), (k, m + 1, at), size * cast.chain[m].workload))
                    if m < len(cast.chain):
                        size *= cast.chain[m].scaling
            self.edges.append(mine)
        for k, cast in enumerate(instance.casts):
            for m in range(len(cast.chain) + 1):
                self.queue.update({(k, m, node): {} for node in instance.nodes})
        self.far = {(k, d): self._distances(k, d) for k, c in enumerate(instance.casts) for d in range(len(c.groups))}
        self.delivered: dict[tuple[int, int], float] = dict.fromkeys(self.far, 0.0)
        self.carry = [0.0 for _ in instance.resources]

    def _ends(self, k: int, d: int) -> list[Place]:
        cast = self.instance.casts[k]
        return [(k, len(cast.chain), node) for node in cast.groups[d]]

    def _distances(self, k: int, d: int) -> dict[Place, int]:
        far = dict.fromkeys(self._ends(k, d), 0)
        waiting = deque(far)
        while waiting:
            to = waiting.popleft()
            for mine in self.edges:
                for tail, head, _ in mine:
                    if head == to and tail not in far:
                        far[tail] = far[to] + 1
                        waiting.append(tail)
        return far

    def here(self, at: Place) -> Status:
        k = at[0]
        return frozenset(d for d in range(len(self.instance.casts[k].groups)) if at in self._ends(k, d))

    def level(self, at: Place, q: Status) -> float:
        if not q:
            return 0.0
        held = self.queue[at].get(q, 0.0)
        if not self.eta:
            return held
        return len(q) * held + self.eta * sum(self.far[at[0], d][at] for d in q)

    def sent(self, k: int, q: Status) -> list[Status]:
        if self.trees is None:
            return subsets(q)
        return sorted({q, *(self.trees[k](q) or ())}, key=number, reverse=True)

    def best(self, r: int) -> tuple[Place, Place, float, Status, Status] | None:
        """The choice of largest weight for a resource."""
        top, found = 0.0, None
        toll = self.V * self.instance.resources[r].cost
        for tail, head, use in self.edges[r]:
            for q in sorted((q for q, x in self.queue[tail].items() if x > 0), key=number):
                for s in self.sent(tail[0], q):
                    if any(head not in self.far[tail[0], d] for d in s):
                        continue
                    left = s - self.here(head)
                    w = (self.level(tail, q) - self.level(head, left) - self.level(tail, q - s)) / use - toll
                    if w > top:
                        top, found = w, (tail, head, use, q, s)
        return found

    def splits(self) -> list[tuple[Place, Status, Status, Status]]:
        found = []
        for at in self.queue:
            for q in sorted((q for q, x in self.queue[at].items() if x > 0), key=number):
                pair = self.trees[at[0]](q) if self.trees and self.local_splits else None
                if pair and self.level(at, q) > self.level(at, pair[0]) + self.level(at, pair[1]):
                    found.append((at, q, *pair))
        return found

    def room(self, at: Place) -> float:
        """What all edges out of a place carry in a slot."""
        total = 0.0
        for resource, mine in zip(self.instance.resources, self.edges, strict=True):
            for tail, _, use in mine:
                if tail == at:
                    total += resource.capacity / use
        return math.ceil(total) if self.whole else total

    def slot(self, arrivals: list[float], order: list[int]) -> tuple[float, float]:
        """One slot; returns the cost of what was scheduled and of what moved."""
        chosen = [self.best(r) for r in range(len(self.edges))]
        splits = self.splits()
        coming: list[tuple[Place, Status, float]] = []
        scheduled = real = 0.0
        for r in order:
            picked = chosen[r]
            if picked is None:
                continue
            tail, head, use, q, s = picked
            resource: SlotLink | Processor = self.instance.resources[r]
            want = resource.capacity / use
            if self.whole:
                budget = resource.capacity + self.carry[r]
                want = float(math.floor(budget / use + 1e-9))
                self.carry[r] = budget - want * use
            scheduled += resource.cost * (want * use)
            real += resource.cost * (self.take(tail, q, head, s, want, coming) * use)
        for at, q, a, _ in splits:
            self.take(at, q, at, a, self.room(at), coming)
        for k, amount in enumerate(arrivals):
            every = frozenset(range(len(self.instance.casts[k].groups)))
            enters = [frozenset({d}) for d in sorted(every)] if self.duplications == "none" else [every]
            if amount > 0:
                coming += [((k, 0, self.instance.casts[k].source), q, amount) for q in enters]
        sums: dict[tuple[Place, Status], float] = {}
        for at, q, amount in coming:
            sums[at, q] = sums.get((at, q), 0.0) + amount
        for (at, q), amount in sums.items():
            self.queue[at][q] = self.queue[at].get(q, 0.0) + amount
        return scheduled, real

    def take(
        self, at: Place, q: Status, to: Place, s: Status, want: float, coming: list[tuple[Place, Status, float]]
    ) -> float:
        amount = min(want, self.queue[at][q])
        if amount <= 0:
            return 0.0
        self.queue[at][q] -= amount
        left = s - self.here(to)
        for d in s - left:
            self.delivered[at[0], d] += amount
        coming += [(place, status, amount) for place, status in ((to, left), (at, q - s)) if status]
        return amount
