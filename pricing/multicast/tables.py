"""The statuses that the packets of a cast may have under a policy, and what may be sent of each.

A **book** is one cast's: it begins with what a policy allows at the source and what comes from that. Packets that
pass a destination on the way lose it and may then have a status that the book has not; the book grows by it, and by
what comes from it, when such a packet turns up. So with trees only the statuses are kept that occur, which is what
makes 64 destinations possible. `tabled` writes the books of all casts as arrays for the compiled slots.
"""

from __future__ import annotations

from itertools import chain

import numpy as np

from pricing.multicast.instance import IntArray, Layered, MaskArray
from pricing.multicast.kernel import Tables
from pricing.multicast.status import Tree, everything, parts
from pricing.values import FloatArray


class Book:
    """Statuses of one cast: masks by size of the number, the empty one first.

    Parameters
    ----------
    destinations : int
    trees : tuple of Tree, optional
        Where choices come from; without trees every choice is allowed.
    copies_at_source : bool
        Whether a packet enters as a copy for each destination, which is DCNC.
    local_splits : bool
        Whether a packet may also split where it is (with trees).
    """

    def __init__(
        self,
        destinations: int,
        trees: tuple[Tree, ...] = (),
        copies_at_source: bool = False,
        local_splits: bool = False,
    ) -> None:
        self.destinations, self.trees, self.local_splits = destinations, trees, local_splits
        self._owners: dict[int, tuple[Tree, ...]] = {0: ()}
        self._sent: dict[int, list[int]] = {0: []}
        singles = [1 << d for d in range(destinations)]
        self.entry = singles if copies_at_source else [everything(destinations)]
        if trees:
            begins = sorted(frozenset[int]().union(*(tree.statuses for tree in trees)))
        else:
            begins = singles if copies_at_source else list(range(1, 1 << destinations))
        for q in begins:
            self._owners[q] = tuple(tree for tree in trees if q in tree.statuses)
        self._begun = dict(self._owners)
        self._limit = 2 * len(self._begun)
        self._number()

    def _number(self) -> None:
        self.masks = sorted(self._owners)
        self.index = {q: n for n, q in enumerate(self.masks)}

    def grow(self, status: int, passed: int, held: list[int]) -> None:
        """Write down what a status becomes when it has lost the destinations `passed`, and all that comes from that.

        It goes on in the trees that it came from. When the book has doubled it keeps only what it began with, what
        queues hold now (`held`), and what comes from those; the rest may turn up again.
        """
        before = self.masks[status]
        owners = self._owners[before]
        if len(self._owners) > self._limit:
            some = {q: self._owners[q] for q in (*held, before)}
            self._owners = dict(self._begun)
            for q, trees in some.items():
                self._write(q, trees)
            self._limit = 2 * len(self._owners)
        self._write(before & ~passed, owners)
        self._number()

    def _write(self, status: int, owners: tuple[Tree, ...]) -> None:
        waiting = [status]
        while waiting:
            q = waiting.pop()
            if q not in self._owners:
                self._owners[q] = owners
                waiting += [part for tree in owners for part in tree.split(q) or ()]

    def sent(self, q: int) -> list[int]:
        """What may be sent of a status, all of it first, then by falling mask."""
        if q not in self._sent:  # trees do not change
            some = {s for tree in self._owners[q] for s in tree.choices(q)} if self.trees else parts(q)
            self._sent[q] = sorted(some, reverse=True)
        return self._sent[q]

    def split(self, q: int) -> tuple[int, int]:
        """The numbers of the statuses that a status may split into where it is (by its first tree), or -1."""
        found = self._owners[q][0].split(q) if q and self.local_splits else None
        return (self.index[found[0]], self.index[found[1]]) if found else (-1, -1)


def tabled(graph: Layered, books: list[Book], hops: list[FloatArray] | None) -> Tables:
    """The books of all casts as arrays; `hops` (V_k, 64) of each cast where levels are biased."""
    sent: list[int] = []
    kept: list[int] = []
    first, base, row = [0], [0], [0]
    drop_row: list[int] = []
    drop: list[IntArray] = []
    bias: list[FloatArray] = []
    for k, book in enumerate(books):
        masks = np.array(book.masks, dtype=np.uint64)
        for q in book.masks:
            sent += [book.index[s] for s in book.sent(q)]
            kept += [book.index[q & ~s] for s in book.sent(q)]
            first.append(len(sent))
        base.append(base[-1] + len(book.masks))
        for v in range(int(graph.vertices[k]), int(graph.vertices[k + 1])):
            row.append(row[-1] + len(book.masks))
            drop_row.append(sum(map(len, drop)) if graph.here[v] else -1)
            if graph.here[v]:
                left = masks & ~graph.here[v]
                found = np.searchsorted(masks, left)
                drop.append(np.where(masks[found] == left, found, -1))
        if hops is not None:
            bias.append(hops[k] @ _bits(masks).T)
    every = [q for book in books for q in book.masks]
    entries = [[book.index[q] for q in book.entry] for book in books]
    splits = [book.split(q) for book in books for q in book.masks] if any(b.local_splits for b in books) else []
    return Tables(
        np.array(base),
        np.array(every, dtype=np.uint64),
        np.array([q.bit_count() for q in every]),
        np.array(first),
        np.array(sent, dtype=np.int64),
        np.array(kept, dtype=np.int64),
        np.array(splits, dtype=np.int64).reshape(-1, 2),
        np.cumsum([0, *(len(entry) for entry in entries)]),
        np.array(list(chain(*entries))),
        np.array(row[:-1]),
        np.array(drop_row),
        np.concatenate(drop),
        np.concatenate([part.ravel() for part in bias]) if bias else np.empty(0),
    )


def _bits(masks: MaskArray) -> FloatArray:
    """Which of 64 destinations each status has, (S, 64), as 0 and 1."""
    words = masks[:, None] >> np.arange(64, dtype=np.uint64)
    return (words & np.uint64(1)).astype(float)
