"""Multicast instances: the layered graph, statuses, duplication choices and trees, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.errors import InstanceError
from pricing.multicast.instance import Cast, Function, Instance, Processor, SlotLink, broadcast, from_network
from pricing.multicast.status import Tree, as_mask, as_set, choices, clustered, embedding, everything, trees
from pricing.network import Link, Network, Node

LINKS = (SlotLink("a", "b", 2.0, 1.0), SlotLink("b", "c", 3.0, 1.0), SlotLink("b", "d", 3.0, 1.0))


def star(cast: Cast, *processors: Processor, links: tuple[SlotLink, ...] = LINKS) -> Instance:
    return Instance("star", ("a", "b", "c", "d"), links, (cast,), processors)


@pytest.mark.parametrize(
    ("cast", "processors", "links", "said"),
    [
        (Cast("k", "a", ("z",), 1.0), (), LINKS, "unknown destination 'z'"),
        (Cast("k", "z", ("a",), 1.0), (), LINKS, "unknown source 'z'"),
        (Cast("k", "a", ("a", "c"), 1.0), (), LINKS, "its source 'a' is among its destinations"),
        (Cast("k", "c", ("d",), 1.0), (), LINKS, "no way from 'c' to destination 'd'"),
        (Cast("k", "a", ("c",), 1.0, (Function(),)), (), LINKS, "no way through its chain from 'a'"),
        (Cast("k", "a", ("c", ("c", "d")), 1.0), (), LINKS, "'c' is a destination twice"),
        (Cast("k", "a", (), 1.0), (), LINKS, "0 destinations, 1 to 64"),
        (Cast("k", "a", ((),), 1.0), (), LINKS, "a destination without a node"),
        (Cast("k", "a", ("c",), -1.0), (), LINKS, "rate -1.0"),
        (Cast("k", "a", ("c",), 1.0, (Function(0.0, 1.0),)), (Processor("b", 1.0),), LINKS, "scaling 0.0"),
        (Cast("k", "a", ("c",), 1.0, (Function(1.0, 0.0),)), (Processor("b", 1.0),), LINKS, "workload 0.0"),
        (Cast("k", "a", ("c",), 1.0), (Processor("b", 0.0),), LINKS, "processor b: capacity 0.0"),
        (Cast("k", "a", ("c",), 1.0), (Processor("z", 1.0),), LINKS, "unknown node 'z'"),
        (Cast("k", "a", ("c",), 1.0), (), (*LINKS, SlotLink("c", "d", 0.0)), "link c->d: capacity 0.0"),
        (Cast("k", "a", ("c",), 1.0), (), (*LINKS, SlotLink("c", "d", 1.0, -1.0)), "link c->d: cost -1.0"),
        (Cast("k", "a", ("c",), 1.0), (), (*LINKS, LINKS[0]), "link 'a->b': found twice"),
        (Cast("k", "a", ("c",), 1.0), (), (*LINKS, SlotLink("c", "c", 1.0)), "both ends are the same node"),
    ],
)
def test_what_does_not_fit_is_refused(
    cast: Cast, processors: tuple[Processor, ...], links: tuple[SlotLink, ...], said: str
) -> None:
    with pytest.raises(InstanceError, match=".*".join(said.split())):
        star(cast, *processors, links=links)


def test_all_problems_are_told_at_once_and_64_destinations_are_the_most() -> None:
    with pytest.raises(InstanceError) as refused:
        star(Cast("k", "a", ("a", "z"), -1.0))
    assert len(refused.value.problems) == 3
    names = tuple(f"n{i}" for i in range(66))
    ring = tuple(SlotLink(a, b, 1.0) for a, b in pairwise(names))
    assert len(Instance("line", names, ring, (broadcast("k", "n0", names[:65], 1.0),)).casts[0].destinations) == 64
    with pytest.raises(InstanceError, match="65 destinations"):
        Instance("line", names, ring, (broadcast("k", "n0", names, 1.0),))


def test_layers_are_normalised() -> None:
    chain = (Function(2.0, 3.0), Function(0.25, 5.0))
    graph = star(Cast("k", "a", ("c", "d"), 1.0, chain), Processor("b", 7.0, 0.5)).layered
    on = [slice(a, b) for a, b in pairwise(graph.first)]
    assert graph.use[on[0]].tolist() == [1.0, 2.0, 0.5]  # a packet of the source, scaled by 2, then by 1/4
    assert graph.use[on[3]].tolist() == [3.0, 10.0]  # work of the first function on 1 packet, of the second on 2
    assert [(int(a), int(b)) for a, b in zip(graph.tail[on[3]], graph.head[on[3]], strict=True)] == [(1, 5), (5, 9)]
    assert graph.here.nonzero()[0].tolist() == [10, 11]
    assert graph.hops(0)[:, 0].tolist() == [4, 3, 12, 12, 3, 2, 12, 12, 2, 1, 0, 12]


def test_a_group_is_one_destination_and_a_network_becomes_an_instance() -> None:
    graph = star(Cast("k", "a", (("c", "d"),), 1.0)).layered
    assert graph.here.tolist() == [0, 0, 1, 1]
    network = Network("n", (Node("a", 1.0, 2.0), Node("b", 3.0, 4.0)), (Link("a", "b", 6e6),), (), ())
    made = from_network(network, (Cast("k", "a", ("b",), 1.0),), 1e-3, 2000.0, 0.5)
    assert made.links == (SlotLink("a", "b", 3.0, 0.5),)
    assert made.places["b"] == (4.0, 3.0)
    with pytest.raises(InstanceError, match="unknown link b->a"):
        from_network(network, made.casts, 1e-3, 2000.0, {("b", "a"): 1.0})


def test_masks_and_names() -> None:
    assert as_mask(("x", "y", "z"), ("z", "x")) == 0b101
    assert as_set(("x", "y", "z"), 0b101) == {"x", "z"}
    with pytest.raises(InstanceError, match="unknown destination 'w'"):
        as_mask(("x",), ("w",))


@pytest.mark.parametrize("d", range(1, 8))
def test_choices_cover_without_overlap(d: int) -> None:
    every = list(choices(d))
    assert len(set(every)) == len(every) == 3**d - 2**d
    assert all(s and s & ~q == 0 and (s | (q & ~s)) == q for q, s in every)


@given(st.integers(1, 64), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_tree_has_4d_minus_3_choices(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = clustered(rng.uniform(size=(d + 5, 2)), [[i] for i in rng.permutation(d + 5)[:d].tolist()], rng)
    every = tree.all_choices()
    assert len(set(every)) == len(every) == 4 * d - 3
    assert len(tree.statuses) == 2 * d - 1
    assert all(s and s & ~q == 0 for q, s in every)
    lost = everything(d) & ~1  # a packet that has passed the first destination
    pair = tree.split(lost)
    assert (pair is None) == (d <= 2)
    if pair:
        assert pair[0] | pair[1] == lost
        assert not pair[0] & pair[1]


def test_what_is_no_tree_is_refused() -> None:
    for splits in (((0b1, 0b10),), ((0b11, 0b110),), ((0b11, 0b100),)):
        with pytest.raises(InstanceError):
            Tree(0b111, splits)


@pytest.mark.parametrize("distance", ["place", "capacity", "cost"])
def test_near_destinations_stay_together(distance: str) -> None:
    """Two cliques, joined by a link that is long, small and dear: the first split is between them."""
    near = [(a, b) for side in ("abc", "xyz") for a in side for b in side if a != b]
    links = [SlotLink(a, b, 10.0, 0.1) for a, b in near] + [SlotLink("c", "x", 0.5, 9.0)]
    places = {n: (float(i % 3), 50.0 * (i // 3)) for i, n in enumerate("abcxyz")}
    cast = Cast("k", "c", ("a", "x", "b", "z"), 1.0)
    both = Instance("two", tuple("abcxyz"), tuple(links), (cast,), places=places)
    for tree in trees(both, distance, 3, 1)[0]:  # type: ignore[arg-type]
        assert {frozenset(tree.splits[0])} == {frozenset((0b0101, 0b1010))}


def test_places_are_needed_for_distances_on_the_map() -> None:
    with pytest.raises(InstanceError, match="node a: no place"):
        embedding(star(Cast("k", "a", ("c",), 1.0)), "place")
