"""Statuses of packets, duplication choices, and the trees that leave few of them.

A **status** is the set of destinations that a copy still owes: inside a mask of bits, the k-th bit for the k-th
destination; for people a set of names. A **duplication** (q, s) takes a packet of status q, sends a copy of status s
over a link and keeps a copy of status q - s. Every destination of q is in exactly one of the two, so each is served
once: coverage without overlap (Section II-D). s is not empty; q - s may be. There are 3^D - 2^D choices (48).

A **duplication tree** (Definition 2) allows few of them: its root is the set of all destinations, and each of its
statuses splits in one way into two, down to single destinations: 4D - 3 choices. Destinations that are near one
another stay together for long when the tree comes from clustering nodes in two, again and again (Section VI-B).

| symbol | here |
|---|---|
| q, s | masks; `q & ~s` is q - s |
| D | `destinations` |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pricing.errors import InstanceError
from pricing.multicast.instance import Instance, SlotLink
from pricing.values import FloatArray

Choice = tuple[int, int]
"""(q, s): a packet of status q, of which a copy of status s is sent."""

Distance = Literal["place", "capacity", "cost"]
"""What is near: places on the map, a link of large capacity, or a link of small cost."""


def as_mask(destinations: Sequence[str], names: Sequence[str]) -> int:
    """The bits of some destinations, given all of them in order.

    Raises
    ------
    InstanceError
        For a name that is not a destination.
    """
    strange = sorted(set(names) - set(destinations))
    if strange:
        listed = ", ".join(destinations)
        raise InstanceError("status", [f"unknown destination {name!r}; there are {listed}" for name in strange])
    return sum(1 << destinations.index(name) for name in set(names))


def as_set(destinations: Sequence[str], mask: int) -> frozenset[str]:
    """The destinations whose bits are set."""
    return frozenset(name for k, name in enumerate(destinations) if mask >> k & 1)


def everything(destinations: int) -> int:
    """The status of a packet that enters: all destinations."""
    return (1 << destinations) - 1


def parts(q: int) -> Iterator[int]:
    """Every s of a status q: q itself, then ever smaller masks, without the empty one."""
    s = q
    while s:
        yield s
        s = (s - 1) & q


def choices(destinations: int) -> Iterator[Choice]:
    """All duplication choices, by rising q; sending all of q comes first, so that a tie duplicates nothing.

    Notes
    -----
    3^D - 2^D of them, equation (48).

    Examples
    --------
    >>> list(choices(2))
    [(1, 1), (2, 2), (3, 3), (3, 2), (3, 1)]
    """
    return ((q, s) for q in range(1, 1 << destinations) for s in parts(q))


@dataclass(frozen=True)
class Tree:
    """A duplication tree: how each status splits.

    Parameters
    ----------
    root : int
        All destinations.
    splits : tuple of (int, int)
        Pairs of statuses that a status splits into, each status after the one that it comes from.

    Raises
    ------
    InstanceError
        When a pair is not a partition of the root or of a status before it, or a status with several destinations
        has no split.
    """

    root: int
    splits: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        waiting = [self.root] if self.root.bit_count() > 1 else []
        for a, b in self.splits:
            if a & b or not a or not b or a | b not in waiting:
                raise InstanceError("duplication tree", [f"{a:b} and {b:b} do not partition a status of the tree"])
            waiting.remove(a | b)
            waiting += [part for part in (a, b) if part.bit_count() > 1]
        if waiting:
            raise InstanceError("duplication tree", [f"status {q:b} has no split" for q in waiting])

    @cached_property
    def statuses(self) -> frozenset[int]:
        """All 2D - 1 statuses of the tree."""
        return frozenset([self.root, *(part for pair in self.splits for part in pair)])

    def split(self, q: int) -> tuple[int, int] | None:
        """The two statuses that a status splits into, larger mask first; none for a single destination.

        A status that is none of the tree's, for its packet has passed a destination, splits as the tree restricted
        to its own destinations does.
        """
        for a, b in self.splits:
            if q & a and q & b:
                left, right = q & a, q & b
                return (left, right) if left > right else (right, left)
        return None

    def choices(self, q: int) -> tuple[int, ...]:
        """What may be sent of a status: itself, or either of the two that it splits into."""
        return (q, *(self.split(q) or ()))

    def all_choices(self) -> tuple[Choice, ...]:
        """The 4D - 3 choices of the tree, by rising q."""
        return tuple((q, s) for q in sorted(self.statuses) for s in self.choices(q))


def clustered(features: FloatArray, ends: Sequence[Sequence[int]], rng: np.random.Generator) -> Tree:
    """The duplication tree of nodes divided in two by 2-means until each cluster holds one destination.

    Parameters
    ----------
    features : (N, F)
        Where each node is.
    ends : sequence of sequences of int
        Nodes of each destination; one that is a group stands where its first node does.
    rng : Generator
        Draws the labels that 2-means starts from.

    Notes
    -----
    Section VI-B. Clusters without a destination are dropped.
    """
    owner = {nodes[0]: k for k, nodes in enumerate(ends)}
    splits: list[tuple[int, int]] = []

    def mask(nodes: NDArray[np.int64]) -> int:
        return sum(1 << owner[i] for i in nodes.tolist() if i in owner)

    waiting = [np.arange(len(features))]
    while waiting:
        nodes = waiting.pop()
        if mask(nodes).bit_count() < 2:
            continue
        right = two_means(features[nodes], rng)
        halves = nodes[~right], nodes[right]
        if mask(halves[0]) and mask(halves[1]):
            splits.append((mask(halves[0]), mask(halves[1])))
        waiting += [half for half in halves if mask(half)]
    return Tree(everything(len(ends)), tuple(splits))


def two_means(points: FloatArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of two clusters each point (N, F) is in; both have points, of which there must be two.

    Lloyd's iteration from random labels; where all points fall into one cluster they are dealt by their order.
    """
    label = rng.permutation(np.arange(len(points)) % 2 == 1)
    for _ in range(len(points) * len(points) + 10):
        centres = points[~label].mean(axis=0), points[label].mean(axis=0)
        far = [((points - centre) ** 2).sum(axis=1) for centre in centres]
        new = far[1] < far[0]
        if new.all() or not new.any():
            return np.arange(len(points)) >= len(points) // 2
        if (new == label).all():
            break
        label = new
    return label


def embedding(instance: Instance, distance: Distance) -> FloatArray:
    """Features of the nodes (N, F) in which near ones are close together.

    Parameters
    ----------
    distance : 'place', 'capacity' or 'cost'
        Coordinates; or spectral clustering of the links with the reciprocal capacity, or with the unit cost, as the
        distance of their ends. Nodes without a link are infinitely far apart.

    Raises
    ------
    InstanceError
        For 'place' when a node has no coordinates.

    Notes
    -----
    Spectral: the eigenvectors of the normalised Laplacian to its smallest eigenvalues, without the first, as many as
    the most destinations of a cast, and at least two. Similarity is one over distance; to costs their mean is
    added, so that links that cost nothing stay comparable (ours).
    """
    if distance == "place":
        lost = [
            f"node {name}: no place, coordinates are needed" for name in instance.nodes if name not in instance.places
        ]
        if lost:
            raise InstanceError(f"multicast instance {instance.name}", lost)
        return np.array([instance.places[name] for name in instance.nodes], dtype=float)
    place = {name: i for i, name in enumerate(instance.nodes)}
    mean = sum(link.cost for link in instance.links) / max(1, len(instance.links)) or 1.0
    near = np.zeros((len(place), len(place)))
    for link in instance.links:
        near[place[link.src], place[link.dst]] += _similarity(link, distance, mean)
    near = near + near.T
    root = 1 / np.sqrt(np.maximum(near.sum(axis=1), np.finfo(float).tiny ** 0.5))
    _, vectors = np.linalg.eigh(np.eye(len(place)) - root[:, None] * near * root[None, :])
    wanted = max(2, *(len(cast.destinations) for cast in instance.casts), 2)
    return np.asarray(vectors[:, 1 : 1 + wanted])


def _similarity(link: SlotLink, distance: Distance, mean_cost: float) -> float:
    return link.capacity if distance == "capacity" else 1 / (link.cost + mean_cost)


def trees(instance: Instance, distance: Distance, many: int, seed: int) -> tuple[tuple[Tree, ...], ...]:
    """For each cast up to `many` different duplication trees, from as many starts of 2-means.

    Raises
    ------
    InstanceError
        As `embedding`.
    """
    features = embedding(instance, distance)
    place = {name: i for i, name in enumerate(instance.nodes)}
    rng = np.random.default_rng(seed)

    def of_one(groups: tuple[tuple[str, ...], ...]) -> tuple[Tree, ...]:
        ends = [[place[name] for name in group] for group in groups]
        found: dict[frozenset[int], Tree] = {}
        for _ in range(many):
            tree = clustered(features, ends, rng)
            found.setdefault(tree.statuses, tree)
        return tuple(found.values())

    return tuple(of_one(cast.groups) for cast in instance.casts)
