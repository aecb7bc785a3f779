"""The backpressure family: every slot each resource sends what weighs most, by the queues at its two ends.

    w = [P(i, q) - P(j, s) - P(i, q - s)] / use - V e          (10), (13)

P is the queue itself, or the biased queue |q| Q + eta H(q) of (16), with H(q) the hops to all destinations of q; the
empty status has P = 0, and a copy that reaches a destination of its own counts as what is left of it there. The
members of the family differ only in their duplications and in eta:

| policy | duplications |
|---|---|
| `dcnc` | none: a copy for each destination is made at the source |
| `gdcnc` | all 3^D - 2^D |
| `egdcnc` | the same, biased |
| `gdcnc_r` | those of one or several duplication trees, 4D - 3 each; as printed or with local splits |
| `egdcnc_r` | the same, biased |

Ours: only queues that hold something compete. Without a bias it changes nothing, for an empty queue has no positive
weight; with one, empty queues far from their destinations would otherwise win for ever over packets that wait. What
such a choice loses in weight is bounded, so stability and the O(1/V) of the cost remain.

Ours too: nothing is sent to a node from which one of its destinations cannot be reached; on one-way links it would lie
there for ever.

And the **local split**. With a tree as printed a status can only be divided by sending one of its two parts,
and a node from which no neighbour leads to all of a part sends nothing. With local splits a status may become both of
its parts where it is, when its level is above the sum of theirs, as many packets a slot as the node can send.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy as shallow
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from pricing.errors import Imbalance, InstanceError
from pricing.multicast import kernel
from pricing.multicast.instance import Instance, IntArray, Layered
from pricing.multicast.simulate import Balance, Medium, Setting, Tally
from pricing.multicast.status import Distance, Tree, trees
from pricing.multicast.tables import Book, tabled
from pricing.values import FloatArray

Move = tuple[int, int, int]
"""An edge of the layered graph, the status that a packet had, and the status of the copy that crossed."""

MOST_FOR_ALL_CHOICES = 12
"""Destinations at which all duplications are still tried: 527,345 choices and 4,096 queues a vertex."""


@dataclass(frozen=True)
class Backpressure:
    """A member of the family.

    Parameters
    ----------
    name : str
    duplications : 'all', 'none' or 'trees'
    V : float
        What a unit of cost weighs against a packet in a queue.
    eta : float
        What a hop weighs; 0 for queues as they are.
    trees : tuple of tuples of Tree
        With 'trees': for each cast those that are allowed.
    local_splits : bool
        With 'trees': whether packets may split where they are.
    """

    name: str
    duplications: Literal["all", "none", "trees"] = "all"
    V: float = 0.0
    eta: float = 0.0
    trees: tuple[tuple[Tree, ...], ...] = ()
    local_splits: bool = False

    def start(self, instance: Instance, setting: Setting, medium: Medium | None = None) -> Queues:
        """Empty queues.

        Raises
        ------
        InstanceError
            More than 12 destinations with all duplications, casts without a tree or with one of another size, V or
            eta below 0.
        """
        problems = [
            f"{what} {value}: a finite number from 0 is accepted"
            for what, value in (("V", self.V), ("eta", self.eta))
            if not (np.isfinite(value) and value >= 0)
        ]
        for k, cast in enumerate(instance.casts):
            count = len(cast.destinations)
            if self.duplications == "all" and count > MOST_FOR_ALL_CHOICES:
                problems.append(
                    f"cast {cast.name}: {count} destinations, up to {MOST_FOR_ALL_CHOICES} are accepted; use gdcnc_r"
                )
            mine = self.trees[k] if k < len(self.trees) else ()
            if self.duplications == "trees" and (not mine or any(tree.root.bit_length() != count for tree in mine)):
                problems.append(f"cast {cast.name}: no duplication tree of its {count} destinations; one is needed")
        if problems:
            raise InstanceError(f"policy {self.name}", problems)
        return Queues(instance, self, setting, medium)

    def books(self, instance: Instance) -> list[Book]:
        """The statuses and choices of each cast."""
        mine = self.trees if self.duplications == "trees" else tuple(() for _ in instance.casts)
        return [
            Book(len(cast.destinations), some, self.duplications == "none", self.local_splits)
            for cast, some in zip(instance.casts, mine, strict=True)
        ]


def dcnc(V: float = 0.0, eta: float = 0.0) -> Backpressure:
    """Unicast copies made at the source."""
    return Backpressure("DCNC", "none", V, eta)


def gdcnc(V: float = 0.0) -> Backpressure:
    """All duplications, Algorithm 1 of the multicast paper."""
    return Backpressure("GDCNC", "all", V)


def egdcnc(V: float, eta: float) -> Backpressure:
    """All duplications, biased by hops: (16)."""
    return Backpressure("EGDCNC", "all", V, eta)


def gdcnc_r(
    instance: Instance,
    V: float = 0.0,
    eta: float = 0.0,
    distance: Distance = "place",
    many: int = 1,
    seed: int = 0,
    local_splits: bool = False,
) -> Backpressure:
    """The duplications of up to `many` trees by clustering (Section VI); EGDCNC-R with `eta` above 0.

    Raises
    ------
    InstanceError
        As `pricing.multicast.status.embedding`.
    """
    name = ("EGDCNC-R" if eta else "GDCNC-R") + (f"({many})" if many > 1 else "") + ("+split" if local_splits else "")
    return Backpressure(name, "trees", V, eta, trees(instance, distance, many, seed), local_splits)


def _room(layered: Layered) -> FloatArray:
    """Normalised packets that all edges out of each vertex carry in a slot, (V,)."""
    carried = layered.capacity[layered.resource] / layered.use
    return np.bincount(layered.tail, carried, len(layered.here)).astype(float)


class Queues:
    """The family's engine: queues, and the compiled slots that move them.

    Notes
    -----
    Memory: three numbers of 8 bytes for each status of each vertex, two more with a bias, with local splits and for
    followed packets, and two for each choice; with all duplications 2^D statuses and 3^D - 2^D choices.
    A slot costs O(sum over edges of choices of queues that hold something).
    """

    def __init__(self, instance: Instance, policy: Backpressure, setting: Setting, medium: Medium | None) -> None:
        self.instance, self.setting, self.medium = instance, setting, medium
        self.V, self.eta = policy.V, policy.eta
        self._layered = layered = instance.layered
        self._books = policy.books(instance)
        self._graph = kernel.Graph(
            layered.cost, layered.first, layered.cast, layered.tail, layered.head, layered.use,
            np.repeat(np.arange(len(instance.casts)), np.diff(layered.vertices)), layered.source,
            _room(layered), layered.blocked,
        )  # fmt: skip
        self._tables = self._write_tables()
        self._counting = False
        self._moves: dict[Move, float] = {}
        self._state = self._empty_state()
        self._packets = 0

    def count_moves(self) -> None:
        """Count from now on what moves; `moves` tells."""
        self._counting = True
        self._state = self._state._replace(moved=np.zeros((len(self._layered.tail), len(self._tables.sent))))

    def moves(self) -> Mapping[Move, float]:
        """What was moved since the last answer, normalised packets by edge and duplication, without local splits."""
        self._settle()
        told, self._moves = self._moves, {}
        return told

    def _settle(self) -> None:
        """Take the counts over under names that outlive the tables."""
        edges, choices = np.nonzero(self._state.moved)
        statuses = np.searchsorted(self._tables.choice, choices, side="right") - 1
        casts = np.searchsorted(self._tables.base, statuses, side="right") - 1
        for e, c, x, k in zip(edges.tolist(), choices.tolist(), statuses.tolist(), casts.tolist(), strict=True):
            q, s = int(self._tables.mask[x]), int(self._tables.mask[self._tables.base[k] + self._tables.sent[c]])
            self._moves[e, q, s] = self._moves.get((e, q, s), 0.0) + float(self._state.moved[e, c])
        self._state.moved[:] = 0.0

    def carry(self, capacity: FloatArray) -> None:
        """From now on resources have these capacities (R,), in the units of the instance's; all above 0."""
        self._layered = replace(self._layered, capacity=capacity)
        self._graph = self._graph._replace(room=_room(self._layered))

    def entries(self, cast: int) -> tuple[int, ...]:
        """Statuses as which each packet of a cast enters."""
        return tuple(self._books[cast].entry)

    def copy(self) -> Queues:
        """The same queues once more, which go their own way from here."""
        twin = shallow(self)
        twin._state = deepcopy(self._state)
        twin._books, twin._moves = deepcopy(self._books), self._moves.copy()
        return twin

    def _write_tables(self) -> kernel.Tables:
        return tabled(self._layered, self._books, self._hops if self.eta else None)

    @cached_property
    def _hops(self) -> list[FloatArray]:
        return [self._layered.hops(k).astype(float) for k in range(len(self._books))]

    def _empty_state(self) -> kernel.State:
        cells, resources = self._cells(), len(self._layered.capacity)
        follow, casts = self.setting.follow, len(self._books)
        return kernel.State(
            np.zeros(cells), np.zeros(cells if self.eta else 0), np.zeros(cells),
            np.zeros(cells, dtype=np.int64), np.zeros(resources), np.zeros(resources),
            np.zeros((resources, 5), dtype=np.int64),
            np.zeros((cells if self._tables.split.size else 0, 2), dtype=np.int64),
            np.zeros((casts, 64)), np.zeros(casts), np.array([-1, 0, 0, 0, 0, 0]),
            np.full((cells if follow else 0, 2), -1), np.zeros((0, 2), dtype=np.int64),
            np.zeros(0, dtype=np.int64), np.zeros((0, 64), dtype=np.int64),
            np.zeros((len(self._layered.tail) if self._counting else 0, len(self._tables.sent))),
        )  # fmt: skip

    def _cells(self) -> int:
        statuses = np.diff(self._tables.base)
        return int((np.diff(self._layered.vertices) * statuses).sum())

    @property
    def memory(self) -> int:
        """Bytes of queues and tables."""
        return sum(array.nbytes for array in (*self._state, *self._tables))

    @property
    def choices(self) -> int:
        """Duplications known of all casts."""
        return len(self._tables.sent)

    @property
    def weighed(self) -> int:
        """Choices whose weight was computed, of all edges and slots so far."""
        return int(self._state.counts[kernel.WEIGHED])

    def fill(self, rng: np.random.Generator, most: int) -> None:
        """Put 1 to `most` packets into every queue that a packet can be in, in place of what is there.

        So one sees what a slot costs when nothing is empty; the balance of a run does not survive it.
        """
        for k, book in enumerate(self._books):
            vertices = slice(*self._layered.vertices[k : k + 2])
            never = (self._layered.here | self._layered.blocked)[vertices, None]
            masks = np.array(book.masks, dtype=np.uint64)
            held = rng.integers(1, most, (len(never), len(masks)), endpoint=True).astype(float)
            held[:, masks == 0] = 0.0
            held[(masks & never) > 0] = 0.0
            self._state.queue[self._rows(k, len(masks))] = held
            self._state.owed[k] = (held @ [q.bit_count() for q in book.masks]).sum()

    def queue(self, cast: int, vertex: int) -> dict[int, float]:
        """What a vertex (of the layered graph, counted within the cast) holds: normalised packets by status."""
        row = int(self._tables.row[self._layered.vertices[cast] + vertex])
        held = self._state.queue[row : row + len(self._books[cast].masks)]
        return {q: amount for q, amount in zip(self._books[cast].masks, held.tolist(), strict=True) if amount}

    def advance(self, arrivals: FloatArray, order: IntArray) -> Tally:
        """Run slots; see `pricing.multicast.simulate.Engine`."""
        owed, costs = np.empty_like(arrivals), np.empty((len(arrivals), 2))
        if self.setting.follow:
            self._expect(arrivals)
        step = 1 if self.medium else len(arrivals)
        done = 0
        while done < len(arrivals):
            here = slice(done, done + step)
            if self.medium:
                self._slot(arrivals[done], order[done], owed[done], costs[done])
                done += 1
            else:
                done += self._slots(arrivals[here], order[here], owed[here], costs[here])
                step = len(arrivals) - done
        return Tally(owed, costs[:, 0], costs[:, 1])

    def _slots(self, arrivals: FloatArray, order: IntArray, owed: FloatArray, costs: FloatArray) -> int:
        """Slots until the last, or until a status turns up that has to be written down first."""
        why, vertex, status, done = kernel.slots(
            self._graph, self._tables, self._state, self._layered.capacity, order, arrivals, self._packets,
            self.setting.follow, self.V, self.eta, owed, costs,
        )  # fmt: skip
        self._packets += int(arrivals[:done].sum())
        self._after(why, vertex, status)
        return done

    def _slot(self, arrivals: FloatArray, order: IntArray, owed: FloatArray, costs: FloatArray) -> None:
        """One slot whose capacities the medium tells, given the weights."""
        assert self.medium is not None
        why = kernel.UNKNOWN
        while why == kernel.UNKNOWN:
            level = self._state.queue
            if self.eta:
                kernel.levels(self._tables, self._graph, self._state, self.eta)
                level = self._state.level
            why, vertex, status = kernel.choose(self._graph, self._tables, self._state, level, self.V, self.eta)
            self._after(why, vertex, status)
        capacity, extra = self.medium(int(self._state.counts[kernel.SLOT]), self._state.weight)
        why, scheduled, real = kernel.move(
            self._graph, self._tables, self._state, capacity, order, arrivals, self._packets, self.setting.follow
        )
        self._after(why, -1, -1)
        self._packets += int(arrivals.sum())
        owed[:], costs[:] = self._state.owed, (scheduled + extra, real + extra)

    def _after(self, why: int, vertex: int, status: int) -> None:
        if why == kernel.TWICE:
            raise Imbalance(f"slot {self._state.counts[kernel.SLOT]}: a copy was delivered twice; a fault of Wardrop")
        if why == kernel.UNKNOWN:
            before = [book.masks for book in self._books]
            k = int(self._graph.cast_of[vertex])
            cells = self._state.queue[self._rows(k, len(before[k]))]
            held = [before[k][s] for s in np.flatnonzero(cells.any(axis=0)).tolist()]
            self._books[k].grow(status, int(self._layered.here[vertex]), held)
            self._rewrite(before)

    def _rows(self, cast: int, statuses: int) -> IntArray:
        """Cells of a cast, a row for each vertex."""
        first, end = (int(v) for v in self._layered.vertices[cast : cast + 2])
        return np.asarray(self._tables.row[first:end, None] + np.arange(statuses))

    def _rewrite(self, before: list[list[int]]) -> None:
        """New tables for books that had the masks `before`, and the queues as they were in their new places."""
        self._settle()
        old, were = self._state, [self._rows(k, len(masks)) for k, masks in enumerate(before)]
        self._tables = self._write_tables()
        new = self._empty_state()
        for k, (masks, book) in enumerate(zip(before, self._books, strict=True)):
            stay = [s for s, q in enumerate(masks) if q in book.index]
            are = self._rows(k, len(book.masks))[:, [book.index[masks[s]] for s in stay]]
            new.queue[are] = old.queue[were[k][:, stay]]
            if self.setting.follow:
                new.ends[are] = old.ends[were[k][:, stay]]
        kept = ("carry", "delivered", "owed", "counts", "copies", "born", "delay")
        self._state = new._replace(**{name: getattr(old, name) for name in kept})

    def _expect(self, arrivals: FloatArray) -> None:
        """Room for the packets that will enter, and for all the copies that may then be about."""
        sizes = [len(cast.destinations) for cast in self.instance.casts]
        state, entering = self._state, arrivals.sum(axis=1).astype(np.int64)
        first = int(state.counts[kernel.SLOT])
        born = np.repeat(np.arange(first, first + len(arrivals)), entering)
        copies = int(state.owed.sum() + (arrivals @ np.array(sizes)).sum()) + 1
        more = np.zeros((max(0, copies - len(state.copies)), 2), dtype=np.int64)
        self._state = state._replace(
            copies=np.concatenate([state.copies, more]),
            born=np.concatenate([state.born, born]),
            delay=np.concatenate([state.delay, np.full((len(born), 64), -1)]),
        )

    def drain(self) -> None:
        """Deliver what is left by the hops alone: cost no longer weighs, and a hop weighs at least a packet."""
        self.V, self.eta = 0.0, max(self.eta, 1.0)
        self._rewrite([book.masks for book in self._books])

    def balance(self) -> Balance:
        """What was delivered, and what the queues owe, (K, 64) each."""
        owed = np.zeros_like(self._state.delivered)
        cast_of, ends = self._graph.cast_of, [*self._tables.row.tolist(), self._cells()]
        for v, (begin, end) in enumerate(pairwise(ends)):
            held = self._state.queue[begin:end]
            k = int(cast_of[v])
            for s in np.flatnonzero(held).tolist():
                mask = self._books[k].masks[s]
                owed[k, [d for d in range(64) if mask >> d & 1]] += held[s]
        return Balance(self._state.delivered.copy(), owed)

    def delays(self) -> tuple[IntArray, IntArray]:
        """Slots in which followed packets entered, and slots to each of their destinations."""
        return self._state.born, self._state.delay
