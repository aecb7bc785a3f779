"""The stability region: known answers, Proposition 1, orders between policies' regions on random graphs, prices."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import linprog

from pricing.errors import Infeasible, InstanceError
from pricing.multicast.instance import Cast, Function, Instance, Processor, SlotLink
from pricing.multicast.region import (
    Choices,
    all_choices,
    largest_scale,
    least_cost,
    proposition_1,
    relays_of,
    tree_choices,
    unicast_choices,
)
from pricing.multicast.shortest import fixed_scale
from pricing.multicast.status import Tree, choices, trees


def instance(*links: SlotLink, ends: str, rate: float = 1.0, **more: object) -> Instance:
    """One cast from node '0'."""
    nodes = tuple(sorted({end for link in links for end in (link.src, link.dst)}))
    chain = more.pop("chain", ())
    return Instance("test", nodes, links, (Cast("c", "0", tuple(ends), rate, chain),), **more)  # type: ignore[arg-type]


def star(leaves: str, rate: float = 1.0) -> Instance:
    """0 -> 1 -> leaves, all links of capacity and cost 1."""
    return instance(SlotLink("0", "1", 1, 1), *(SlotLink("1", leaf, 1, 1) for leaf in leaves), ends=leaves, rate=rate)


def random_instance(seed: int, destinations: int = 3, nodes: int = 7) -> Instance:
    """A directed cycle with random chords, random capacities and costs, and places."""
    random = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(nodes) for j in range(nodes) if i != j]
    kept = [(i, j) for i, j in pairs if j == (i + 1) % nodes or random.random() < 0.25]
    links = [SlotLink(str(i), str(j), float(random.integers(1, 6)), float(random.integers(1, 9))) for i, j in kept]
    ends = "".join(str(i) for i in sorted(random.choice(np.arange(1, nodes), destinations, replace=False)))
    places = {str(i): (float(x), float(y)) for i, (x, y) in enumerate(random.random((nodes, 2)))}
    return instance(*links, ends=ends, places=places)


def of_trees(case: Instance, local: bool) -> list[Choices]:
    """GDCNC-R's choices with one tree a cast."""
    found = trees(case, "place", 1, 0)
    return [tree_choices(t, relays_of(case, k), local) for k, t in enumerate(found)]


@pytest.mark.parametrize(
    ("case", "multicast", "unicast"),
    [
        (star("23"), 1, 1 / 2),
        (star("234"), 1, 1 / 3),
        (instance(SlotLink("0", "1", 1), SlotLink("1", "2", 1), ends="12"), 1, 1 / 2),
        (instance(SlotLink("0", "1", 1), SlotLink("0", "2", 1), ends="12"), 1, 1),
    ],
    ids=["star of 2", "star of 3", "line", "no shared link"],
)
def test_known_regions(case: Instance, multicast: float, unicast: float) -> None:
    found = proposition_1(case)
    assert found.multicast == pytest.approx(multicast)
    assert found.unicast == pytest.approx(unicast)
    assert found.holds


def test_known_least_costs() -> None:
    case = star("23", rate=0.4)
    assert least_cost(case).cost == pytest.approx(1.2)
    assert least_cost(case, [unicast_choices(2)]).cost == pytest.approx(1.6)


def butterfly() -> Instance:
    """The network where coding at 3 carries 2 to both 5 and 6, and copying alone does not."""
    ways = ("01", "02", "13", "23", "34", "15", "26", "45", "46")
    return instance(*(SlotLink(a, b, 1) for a, b in ways), ends="56")


def test_copies_carry_less_than_codes() -> None:
    """A flow for each destination under a common maximum is the bound of network coding, another program."""
    case = butterfly()
    links, nodes = case.links, case.nodes
    incidence = np.array([[(link.src == n) * 1.0 - (link.dst == n) * 1.0 for link in links] for n in nodes])
    rows = []
    for k, end in enumerate("56"):
        block = np.zeros((len(nodes), 2 * len(links) + 1))
        block[:, k * len(links) : (k + 1) * len(links)] = incidence
        block[:, -1] = [-1.0 * (n == "0") + 1.0 * (n == end) for n in nodes]
        rows.append(block)
    a = np.vstack(rows)
    limits = [(0, 1)] * (2 * len(links)) + [(0, None)]  # each flow by itself: the larger of the two is what counts
    coded = linprog(-np.eye(a.shape[1])[-1], A_eq=a, b_eq=np.zeros(len(a)), bounds=limits)
    assert -coded.fun == pytest.approx(2.0)
    assert largest_scale(case).scale == pytest.approx(1.5)


@pytest.mark.parametrize("seed", range(12))
def test_orders_on_random_graphs(seed: int) -> None:
    case = random_instance(seed)
    bounds = proposition_1(case)
    assert bounds.holds
    printed, local = (largest_scale(case, of_trees(case, splits)).scale for splits in (False, True))
    assert printed <= local * (1 + 1e-9) <= bounds.multicast * (1 + 2e-9)
    assert fixed_scale(case).scale <= bounds.multicast * (1 + 1e-9)
    scale = 0.9 * bounds.unicast
    assert least_cost(case, None, scale).cost <= least_cost(case, [unicast_choices(3)], scale).cost * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_split_variables_are_the_choices_of_the_paper(seed: int) -> None:
    """(4) as printed, a flow for every (q, s) on every link, has the same optimum."""
    case = random_instance(seed, 2 + seed % 2)
    count = len(case.casts[0].destinations)
    printed = Choices(((1 << count) - 1,), tuple(choices(count)))
    assert largest_scale(case, [printed]).scale == pytest.approx(largest_scale(case).scale)
    assert least_cost(case, [printed], 0.5).cost == pytest.approx(least_cost(case, None, 0.5).cost)


@pytest.mark.parametrize("seed", range(4))
def test_one_tree_is_all_with_two_destinations(seed: int) -> None:
    case = random_instance(seed, 2)
    assert largest_scale(case, of_trees(case, local=False)).scale == pytest.approx(largest_scale(case).scale)


def test_a_tree_as_printed_can_lose_everything_and_local_splits_mend_it() -> None:
    case = instance(*(SlotLink("0", end, 1) for end in "1234"), ends="1234")
    tree = [Tree(0b1111, ((0b0011, 0b1100), (0b0001, 0b0010), (0b0100, 0b1000)))]
    assert largest_scale(case).scale == pytest.approx(1)
    assert largest_scale(case, [tree_choices(tree, 0, local=False)]).scale == pytest.approx(0)
    assert largest_scale(case, [tree_choices(tree, 0, local=True)]).scale == pytest.approx(1)


def test_relays_are_destinations_with_a_way_on() -> None:
    line = instance(SlotLink("0", "1", 1), SlotLink("1", "2", 1), ends="12")
    assert relays_of(line, 0) == 0b01


def test_chains_use_links_and_processors_by_size_and_workload() -> None:
    """Work before the link halves what the link carries; the processor of the sink would do it too late."""
    links = (SlotLink("0", "1", 1, 3),)
    chain = (Function(scaling=0.5, workload=4.0),)
    both = (Processor("0", 3, 1), Processor("1", 3, 1))
    case = instance(*links, ends="1", chain=chain, processors=both)
    # At the source x, at the end y: 4x <= 3, 4y <= 3, x/2 + y <= 1.
    assert largest_scale(case).scale == pytest.approx(0.75 + 0.625)
    assert least_cost(case, None, 0.5).cost == pytest.approx(0.5 * 4 + 0.25 * 3)
    blown = instance(*links, ends="1", chain=(Function(2.0, 4.0),), processors=both)
    assert largest_scale(blown).scale == pytest.approx(0.75 + 0.125)


def test_processing_before_duplication_is_counted_once() -> None:
    chain, ends = (Function(1.0, 1.0),), "23"
    links = [SlotLink(a, b, 10) for a, b in ("01", "12", "13")]
    case = instance(*links, ends=ends, chain=chain, processors=(Processor("1", 1, 1),))
    assert proposition_1(case).gain == pytest.approx(2)


@pytest.mark.parametrize("seed", range(3))
def test_prices_are_derivatives(seed: int) -> None:
    case = random_instance(seed)
    top = largest_scale(case)
    assert top.prices @ case.layered.capacity == pytest.approx(top.scale)
    inside = least_cost(case, None, 0.95 * top.scale)
    for r in np.flatnonzero(inside.prices > 1e-6)[:2]:
        link = case.links[r]
        wider = [SlotLink(x.src, x.dst, x.capacity + 1e-5 * (x is link), x.cost) for x in case.links]
        moved = least_cost(instance(*wider, ends="".join(map(str, case.casts[0].destinations))), None, inside.scale)
        assert (inside.cost - moved.cost) / 1e-5 == pytest.approx(inside.prices[r], rel=1e-3)
    assert (inside.loads <= case.layered.capacity * (1 + 1e-9)).all()


def test_least_cost_rises_ever_faster() -> None:
    case = random_instance(5)
    costs = [least_cost(case, None, share * largest_scale(case).scale).cost for share in (0.25, 0.5, 0.75, 1 - 1e-9)]
    steps = [b - a for a, b in pairwise(costs)]
    assert all(b >= a * (1 - 1e-7) for a, b in pairwise(steps))


def test_too_much_names_what_limits() -> None:
    with pytest.raises(Infeasible, match=r"times 2 found, at most times 1 is accepted; the limit is 0->1") as found:
        least_cost(star("23"), None, 2.0)
    assert found.value.excess == pytest.approx(1.0)


def test_no_rate_and_too_many_destinations_are_refused() -> None:
    with pytest.raises(InstanceError, match="all rates are 0"):
        largest_scale(star("23", rate=0.0))
    with pytest.raises(InstanceError, match="9 destinations, at most 8 are accepted"):
        largest_scale(star("23456789a"))


def test_two_casts_share_a_link() -> None:
    links = tuple(SlotLink(a, b, 1) for a, b in ("01", "12", "13"))
    casts = (Cast("a", "0", ("2", "3"), 1.0), Cast("b", "0", ("2",), 3.0))
    case = Instance("two", ("0", "1", "2", "3"), links, casts)
    assert largest_scale(case).scale == pytest.approx(1 / 4)
    assert largest_scale(case, [all_choices(2), all_choices(1)]).loads[0] == pytest.approx(1.0)
