"""The solver for general networks: hand cases, certificates, and three solvers that agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import abilene, cables, network, paper, ring, unicast

from pricing.delay import mm1
from pricing.errors import Infeasible, NotConverged, TopologyError
from pricing.joint.certificate import certify
from pricing.joint.equilibrium import social_costs
from pricing.joint.network_flow import RouteSpace, least_cost, space_of_network, space_of_pairs
from pricing.joint.optimum import optimum
from pricing.joint.reference import reference_objective
from pricing.network import Network
from pricing.problem import problem_of
from pricing.values import FloatArray


def parallel(capacity: list[float]) -> RouteSpace:
    """One session from node 0 to node 1 over links side by side, each through a node of its own."""
    count = len(capacity)
    middle = np.arange(count) + 2
    tails, heads = np.concatenate([np.zeros(count, int), middle]), np.concatenate([middle, np.ones(count, int)])
    wide = np.full(count, np.inf)
    return space_of_pairs(tails, heads, np.array([0]), np.array([1]), np.concatenate([capacity, wide]))


class Wide:
    """M/M/1 where capacity is finite, no delay elsewhere."""

    def __init__(self, capacity: FloatArray) -> None:
        self.capacity, self.finite = capacity, np.isfinite(capacity)
        self.law = mm1(np.where(self.finite, capacity, 1.0))

    def __call__(self, load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        x = np.where(self.finite, load, 0.0)
        return tuple(
            np.where(self.finite, f(x), 0.0) for f in (self.law.cost, self.law.marginal, self.law.marginal_slope)
        )  # type: ignore[return-value]


def least_delay(net: Network, gap: float = 1e-9) -> float:
    problem = problem_of(net)
    found = least_cost(space_of_network(net), social_costs(problem.laws, problem.weight), problem.rates, gap)
    return found.certificate.primal


def test_two_links_by_hand() -> None:
    """sqrt(4)/(4 - x) = sqrt(9)/(9 - y) with x + y = 5: x = 0.8."""
    space = parallel([4.0, 9.0])
    found = least_cost(space, Wide(space.capacity), np.array([5.0]), 1e-13)
    np.testing.assert_allclose(found.loads[:2], [0.8, 4.2], rtol=1e-5)
    assert found.certificate.gap < 1e-12
    assert found.certificate.primal * 5 == pytest.approx(0.8 / 3.2 + 4.2 / 4.8)


@pytest.mark.parametrize(
    "net", [abilene(0.75), abilene(0.95), paper(), ring([9.0] * 4, np.array([2.0, 3.0, 1.0, 4.0]))]
)
def test_three_solvers_agree(net: Network) -> None:
    """Anycast, answers on their way back, servers and shared links."""
    ours = least_delay(net)
    assert ours == pytest.approx(optimum(net).certificate.primal, rel=1e-7)
    assert ours == pytest.approx(reference_objective(net), rel=2e-6)


def test_the_allocation_is_certified_by_another() -> None:
    net = abilene(0.75)
    problem = problem_of(net)
    found = least_cost(space_of_network(net), social_costs(problem.laws, problem.weight), problem.rates, 1e-9)
    told = certify(net, found.allocation(net))
    assert told.gap < 1e-8
    assert told.primal == pytest.approx(found.certificate.primal, rel=1e-9)
    np.testing.assert_allclose(problem.loads(found.allocation(net)), found.loads, rtol=1e-9, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 0.97))
def test_random_networks_all_pairs(seed: int, load: float) -> None:
    """Flows are conserved, no other flows do better, and more capacity never costs more."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 8))
    ring_ends = [(i, (i + 1) % count) for i in range(count)]
    chords = [(int(a), int(b)) for a, b in rng.integers(0, count, (count, 2)) if a != b]
    pairs = sorted({pair for a, b in ring_ends + chords for pair in ((a, b), (b, a))})
    tails, heads = np.array(pairs).T
    capacity = rng.uniform(1.0, 5.0, tails.size)
    origins, sinks = (axis.ravel() for axis in np.meshgrid(np.arange(count), np.arange(count), indexing="ij"))
    kept = origins != sinks
    space = space_of_pairs(tails, heads, origins[kept], sinks[kept], capacity)
    rates = rng.uniform(0.0, 1.0, kept.sum())
    # The shortest ways, scaled to the load wanted, are a feasible allocation to compare with.
    loads = space.cheapest(np.ones(tails.size), rates)[1]
    scale = load / (loads / capacity).max()
    law = mm1(capacity, sojourn=bool(seed % 2))
    found = least_cost(space, social_costs(law), rates * scale)
    assert found.certificate.gap <= 1e-8
    assert (found.loads < capacity).all()
    sums = np.add.reduceat(found.flows, found.first[:-1])
    np.testing.assert_allclose(sums, rates * scale, rtol=1e-12)
    assert law.cost(loads * scale).sum() >= found.certificate.dual * rates.sum() * scale * (1 - 1e-12)
    wider = mm1(capacity * rng.uniform(1.0, 1.5, capacity.size), sojourn=bool(seed % 2))
    wide_space = space_of_pairs(tails, heads, origins[kept], sinks[kept], wider.capacity)
    again = least_cost(wide_space, social_costs(wider), rates * scale)
    assert again.certificate.dual <= found.certificate.primal


def test_a_warm_start_ends_where_a_cold_one_does_and_sooner() -> None:
    net = abilene(0.9)
    problem, space = problem_of(net), space_of_network(net)
    costs = social_costs(problem.laws, problem.weight)
    before = least_cost(space, costs, problem.rates)
    rates = problem.rates * np.linspace(0.95, 1.05, problem.rates.size)
    cold, warm = least_cost(space, costs, rates), least_cost(space, costs, rates, warm=before)
    assert warm.certificate.primal == pytest.approx(cold.certificate.primal, rel=2e-8)
    assert warm.rounds < cold.rounds


def test_a_session_that_wakes_up_and_one_that_sleeps() -> None:
    net = abilene(0.7)
    problem, space = problem_of(net), space_of_network(net)
    costs = social_costs(problem.laws, problem.weight)
    asleep = problem.rates.copy()
    asleep[2] = 0.0
    before = least_cost(space, costs, asleep)
    assert before.allocation(net).splits.keys() >= {s.name for k, s in enumerate(net.sessions) if k != 2}
    after = least_cost(space, costs, problem.rates, warm=before)
    assert after.certificate.primal == pytest.approx(least_delay(net), rel=2e-8)


@pytest.mark.parametrize("room", [1e-3, 1e-6])
def test_near_capacity(room: float) -> None:
    space = parallel([1.0])
    found = least_cost(space, Wide(space.capacity), np.array([1 - room]))
    assert found.certificate.primal == pytest.approx(1 / room, rel=1e-6)


def test_demand_beyond_a_cut_is_named() -> None:
    space = parallel([1.0, 2.0])
    with pytest.raises(Infeasible, match="resources 0, 1") as told:
        least_cost(space, Wide(space.capacity), np.array([3.3]))
    assert told.value.resources == ("resource 0", "resource 1")
    assert told.value.excess == pytest.approx(0.3)
    with pytest.raises((Infeasible, NotConverged)):
        least_cost(space, Wide(space.capacity), np.array([3.0]))


def test_no_way_and_no_number_are_refused() -> None:
    lonely = space_of_pairs(np.array([0]), np.array([1]), np.array([1]), np.array([0]), np.array([1.0]))
    with pytest.raises(TopologyError, match="no way from node 1 to node 0"):
        least_cost(lonely, social_costs(mm1(lonely.capacity)), np.array([0.5]))
    space = parallel([1.0])
    for rate in (np.nan, -1.0, np.inf):
        with pytest.raises(TopologyError, match="rate of session 0"):
            least_cost(space, Wide(space.capacity), np.array([rate]))
    with pytest.raises(TopologyError, match="one for each"):
        least_cost(space, Wide(space.capacity), np.array([0.1, 0.2]))
    with pytest.raises(TopologyError, match="capacity of link 0"):
        space_of_pairs(np.array([0]), np.array([1]), np.array([0]), np.array([1]), np.array([np.nan]))
    with pytest.raises(TopologyError, match="shapes"):
        space_of_pairs(np.array([0, 1]), np.array([1]), np.array([0]), np.array([1]), np.array([1.0]))


def test_nobody_at_all() -> None:
    net = network(cables(("a", "b", 1.0)), sessions=[unicast("k", "a", "b", 0.0)])
    problem = problem_of(net)
    found = least_cost(space_of_network(net), social_costs(problem.laws), problem.rates)
    assert (found.certificate.primal, found.certificate.gap) == (0.0, 0.0)
    assert found.allocation(net).splits["k"][0][1] == 1.0
