"""Lightest trees from a source to destinations in a directed graph: exact for few destinations, bounded above.

A **Steiner tree** here is directed and rooted: links from the root towards every destination, of least total weight.
Dreyfus and Wagner's recursion (The Steiner problem in graphs, Networks 1, 1971) in its rooted form reads like a
duplication: let w(q, i) be the weight of the lightest tree from node i to the destinations of the status q. Then

    w(q, i) = min{ min over s of w(s, i) + w(q - s, i),  min over links (i, j) of weight_ij + w(q, j) },

a packet of status q at i is duplicated there, or it crosses a link whole. Statuses are bit masks: bit k is destination
k. The work is O(3^D n + 2^D sweeps L) for n nodes and L links, so above `MOST_EXACT` destinations
the tree is grown instead: the destination that is nearest to the tree joins it by its shortest path (Takahashi and
Matsuyama, An approximate solution for the Steiner problem in graphs, 1980). On a directed graph each of these D paths
weighs at most as much as the lightest tree, so the grown tree weighs at most D times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from pricing.errors import TopologyError
from pricing.values import FloatArray

IntArray = NDArray[np.int64]
MaskArray = NDArray[np.uint64]

MOST_EXACT = 8
"""Destinations up to which trees are exact; one more triples the work."""

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True)


@dataclass(frozen=True)
class SteinerTree:
    """A tree from a root: `links` (indices, each after the one that leads to it) and the sum of their weights."""

    links: tuple[int, ...]
    weight: float


def steiner_tree(
    tails: ArrayLike,
    heads: ArrayLike,
    weights: ArrayLike,
    root: int,
    destinations: Sequence[int],
    exact: bool | None = None,
) -> SteinerTree:
    """The lightest tree of directed links from `root` to every destination.

    Parameters
    ----------
    tails, heads : array_like of int, shape (L,)
        The nodes that each link leads from and to; nodes are numbered from 0.
    weights : array_like of float, shape (L,)
        Weight of each link, not negative.
    root : int
        Where the tree starts.
    destinations : sequence of int
        Where it must lead; the root among them costs nothing.
    exact : bool, optional
        Whether the tree must be the lightest, or may weigh up to D times as much; by default exact up to `MOST_EXACT`
        destinations.

    Returns
    -------
    SteinerTree
        Every leaf of it is a destination.

    Raises
    ------
    TopologyError
        When a weight is negative or not a number, or a destination cannot be reached.

    Examples
    --------
    >>> steiner_tree([0, 1, 1, 0], [1, 2, 3, 3], [1.0, 1.0, 1.0, 1.5], 0, [2, 3])
    SteinerTree(links=(0, 1, 2), weight=3.0)
    """
    tail, head = np.asarray(tails, dtype=np.int64), np.asarray(heads, dtype=np.int64)
    weight, ends = np.asarray(weights, dtype=np.float64), np.unique(np.asarray(destinations, dtype=np.int64))
    if not (weight >= 0).all():
        bad = int(np.flatnonzero(~(weight >= 0))[0])
        raise TopologyError(f"link {bad}: weight {weight[bad]}; a weight of at least 0 is accepted")
    nodes = int(max(tail.max(initial=0), head.max(initial=0), ends.max(initial=0), root)) + 1
    into = lightest if (len(ends) <= MOST_EXACT if exact is None else exact) else grown
    here = np.zeros(nodes, dtype=np.uint64)
    here[ends] = np.uint64(1) << np.arange(len(ends), dtype=np.uint64)
    marked = np.zeros(len(tail), dtype=np.int64)
    count = into(tail, head, weight, root, here, len(ends), marked)
    if count < 0:
        raise TopologyError(f"node {ends[-1 - count]} cannot be reached from node {root}; add links that lead there")
    links = tuple(int(link) for link in marked[:count])
    return SteinerTree(links, float(weight[list(links)].sum()))


@_compiled
def lightest(
    tails: IntArray, heads: IntArray, weights: FloatArray, root: int, here: MaskArray, ends: int, tree: IntArray
) -> int:
    """Dreyfus and Wagner: the links of the lightest tree go into `tree` (L,), from the root outwards.

    Parameters
    ----------
    here : (N,)
        The destinations, of which there are `ends`, that a node is, as bits; of several nodes any one will do.

    Returns
    -------
    int
        How many links they are, or -1 - k when destination k cannot be reached.
    """
    nodes, full = here.size, 1 << ends
    least = np.full((full, nodes), np.inf)
    by = np.full((full, nodes), -1)  # a link's index, or L + s where the packet is duplicated into s and q - s
    for i in range(nodes):
        for k in range(ends):
            if here[i] >> np.uint64(k) & np.uint64(1):
                least[1 << k, i] = 0.0
    for q in range(1, full):
        s = (q - 1) & q
        while 2 * s >= q:  # each pair once; the larger mask of a pair holds the highest bit
            for i in range(nodes):
                both = least[s, i] + least[q ^ s, i]
                if both < least[q, i]:
                    least[q, i], by[q, i] = both, tails.size + s
            s = (s - 1) & q
        changed = True
        while changed:
            changed = False
            for link in range(tails.size):
                way = weights[link] + least[q, heads[link]]
                if way < least[q, tails[link]]:
                    least[q, tails[link]], by[q, tails[link]], changed = way, link, True
    for k in range(ends):
        if least[1 << k, root] == np.inf:
            return -1 - k
    return _marked(tails, heads, root, ends, by, tree)


@_compiled
def _marked(tails: IntArray, heads: IntArray, root: int, ends: int, by: IntArray, tree: IntArray) -> int:
    """Follow the choices `by` from the root.

    Where weights of 0 tie, a node may be met twice: it keeps one link in, and what led to the other is left out.
    """
    met, needed = np.zeros(by.shape[1], dtype=np.bool_), np.zeros(by.shape[1], dtype=np.bool_)
    met[root] = True
    count = 0
    at, masks = np.empty(2 * ends, dtype=np.int64), np.empty(2 * ends, dtype=np.int64)
    held, at[0], masks[0] = 1, root, (1 << ends) - 1
    while held > 0:
        held -= 1
        i, q = at[held], masks[held]
        while by[q, i] >= 0:
            choice = by[q, i]
            if choice >= tails.size:
                s = choice - tails.size
                at[held], masks[held] = i, q ^ s
                held += 1
                q = s
            else:
                i = heads[choice]
                if not met[i]:
                    met[i] = True
                    tree[count] = choice
                    count += 1
        needed[i] = True
    kept = count
    for at_end in range(count - 1, -1, -1):
        if needed[heads[tree[at_end]]]:
            needed[tails[tree[at_end]]] = True
            kept -= 1
            tree[kept] = tree[at_end]
    tree[: count - kept] = tree[kept:count].copy()
    return count - kept


@_compiled
def grown(
    tails: IntArray, heads: IntArray, weights: FloatArray, root: int, here: MaskArray, ends: int, tree: IntArray
) -> int:
    """Takahashi and Matsuyama: the nearest destination joins by its shortest path; arguments as of `lightest`."""
    inside = np.zeros(here.size, dtype=np.bool_)
    inside[root] = True
    owed = np.uint64(0)
    for k in range(ends):
        owed |= np.uint64(1) << np.uint64(k)
    owed &= ~here[root]
    count = 0
    while owed:
        far, by = np.full(here.size, np.inf), np.full(here.size, -1)
        far[inside] = 0.0
        changed = True
        while changed:
            changed = False
            for link in range(tails.size):
                way = weights[link] + far[tails[link]]
                if way < far[heads[link]]:
                    far[heads[link]], by[heads[link]], changed = way, link, True
        nearest = -1
        for i in range(here.size):
            if here[i] & owed and far[i] < np.inf and (nearest < 0 or far[i] < far[nearest]):
                nearest = i
        if nearest < 0:
            for k in range(ends):
                if owed >> np.uint64(k) & np.uint64(1):
                    return -1 - k
        i, first = nearest, count
        while not inside[i]:
            inside[i] = True
            owed &= ~here[i]
            tree[count] = by[i]
            count += 1
            i = tails[by[i]]
        tree[first:count] = tree[first:count][::-1].copy()
    return count
