"""Steiner trees: against every tree of small graphs, against their bound, and refused where there is none."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from pricing.errors import TopologyError
from pricing.multicast.steiner import MOST_EXACT, SteinerTree, steiner_tree


def random_graph(seed: int, nodes: int, chance: float, low: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A directed graph in which a cycle reaches every node; weights are whole numbers, so that there are ties."""
    random = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(nodes) for j in range(nodes) if i != j]
    kept = [p for p in pairs if p[1] == (p[0] + 1) % nodes or random.random() < chance]
    tails, heads = np.array(kept).T
    return tails, heads, random.integers(low, 10, len(kept)).astype(float)


def is_tree(tree: SteinerTree, tails: np.ndarray, heads: np.ndarray, root: int, ends: list[int]) -> bool:
    """Whether the links form a tree from the root, in order, whose leaves are destinations and that meets all."""
    met, leaves = {root}, {root}
    for link in tree.links:
        if tails[link] not in met or heads[link] in met:
            return False
        met.add(int(heads[link]))
        leaves = (leaves | {int(heads[link])}) - {int(tails[link])}
    return set(ends) <= met and leaves <= {root, *ends}


@pytest.mark.parametrize("seed", range(12))
def test_lightest_of_all_sets_of_links(seed: int) -> None:
    tails, heads, weights = random_graph(seed, 5, 0.15)
    ends = [2, 3, 4]
    found = steiner_tree(tails, heads, weights, 0, ends)
    assert is_tree(found, tails, heads, 0, ends)
    best = np.inf
    for size in range(1, 5):  # a tree of five nodes has at most four links
        for links in combinations(range(len(tails)), size):
            graph = nx.DiGraph([(int(tails[e]), int(heads[e])) for e in links])
            if 0 in graph and set(ends) <= nx.descendants(graph, 0):
                best = min(best, float(weights[list(links)].sum()))
    assert found.weight == best


@pytest.mark.parametrize("seed", range(20))
def test_grown_tree_keeps_its_bound(seed: int) -> None:
    tails, heads, weights = random_graph(seed, 14, 0.15, low=1)
    ends = [3, 6, 8, 11, 13]
    best, near = (steiner_tree(tails, heads, weights, 0, ends, exact=exact) for exact in (True, False))
    assert is_tree(best, tails, heads, 0, ends)
    assert is_tree(near, tails, heads, 0, ends)
    assert best.weight <= near.weight <= len(ends) * best.weight


def test_growing_can_be_heavier() -> None:
    # One link of 3 to both, or 2 for each of its own: the nearest first never sees the link that both would share.
    tails, heads, weights = [0, 0, 0, 3, 3], [1, 2, 3, 1, 2], [2.0, 2.0, 3.0, 0.25, 0.25]
    assert steiner_tree(tails, heads, weights, 0, [1, 2]).weight == 3.5
    assert steiner_tree(tails, heads, weights, 0, [1, 2], exact=False).weight == 4.0


@pytest.mark.parametrize("seed", range(10))
def test_without_weights_it_is_still_a_tree(seed: int) -> None:
    tails, heads, weights = random_graph(seed, 20, 0.1)
    ends = list(range(1, MOST_EXACT + 1))
    assert is_tree(steiner_tree(tails, heads, 0 * weights, 0, ends), tails, heads, 0, ends)


def test_many_destinations_are_grown() -> None:
    tails, heads, weights = random_graph(2, 60, 0.1, low=1)
    ends = list(range(1, 50))
    assert is_tree(steiner_tree(tails, heads, weights, 0, ends), tails, heads, 0, ends)


def test_one_destination_is_a_shortest_path() -> None:
    tails, heads, weights = random_graph(3, 30, 0.1, low=1)
    graph = nx.DiGraph()
    graph.add_weighted_edges_from(zip(tails.tolist(), heads.tolist(), weights.tolist(), strict=True))
    for exact in (True, False):
        assert steiner_tree(tails, heads, weights, 0, [17], exact).weight == nx.dijkstra_path_length(graph, 0, 17)


@pytest.mark.parametrize("exact", [True, False])
def test_no_way_is_refused(exact: bool) -> None:
    with pytest.raises(TopologyError, match="node 2 cannot be reached from node 0"):
        steiner_tree([0, 2], [1, 1], [1.0, 1.0], 0, [1, 2], exact)


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_bad_weights_are_refused(weight: float) -> None:
    with pytest.raises(TopologyError, match="link 1: weight"):
        steiner_tree([0, 0], [1, 2], [1.0, weight], 0, [1, 2])
