"""The bipartite interior point: known answers, its own certificate, and a second opinion from the network's solver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import PAPER_ACCESS, PAPER_RATES, PAPER_SERVERS, paper

from pricing.delay import md1, mg1, mm1
from pricing.errors import Infeasible, TopologyError
from pricing.joint.bipartite import bipartite_optimum, certify_flows
from pricing.joint.optimum import optimum
from pricing.joint.printed import Instance
from pricing.joint.reference import reference_objective
from pricing.values import FloatArray

PAPER = Instance(np.array(PAPER_RATES), np.array(PAPER_ACCESS), np.array(PAPER_SERVERS))
BEST = 2.0157473649138


def drawn(m: int, n: int, load: float, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rates, path capacities and server capacities of a random instance whose servers are loaded to `load`."""
    rng = np.random.default_rng(seed)
    rates, servers = rng.uniform(0.1, 2.0, m), rng.uniform(0.5, 1.5, n)
    paths = rng.uniform(0.5, 1.5, (m, n)) * rates[:, None] * max(3.0, 20 / n)
    return rates, paths, servers * rates.sum() / load / servers.sum()


def test_the_papers_optimum_to_the_last_digits() -> None:
    found = bipartite_optimum(PAPER.rates, PAPER.paths, PAPER.nodes, gap=1e-11)
    assert PAPER.cost(found.flows) == pytest.approx(BEST, rel=1e-11)
    np.testing.assert_allclose(found.prices, [0.0087771, 0.0126550, 0.0063226], atol=5e-8)
    np.testing.assert_allclose(found.loads / PAPER.servers, [0.158136, 0.138642, 0.102983], atol=5e-7)
    used = found.flows > 1e-6 * PAPER.rates[:, None]
    assert used.tolist() == [[False, False, True]] * 2 + [[True] * 3] * 2 + [[False, False, True]]


def test_three_solvers_agree_on_the_papers_instance() -> None:
    total = sum(PAPER_RATES)
    ours = bipartite_optimum(PAPER.rates, PAPER.paths, PAPER.nodes).certificate.primal
    assert ours == pytest.approx(optimum(paper()).certificate.primal, rel=1e-8)
    assert ours == pytest.approx(reference_objective(paper()), rel=1e-6)
    assert ours * total == pytest.approx(BEST, rel=1e-9)


def test_two_servers_by_hand() -> None:
    """Wide paths: 1/(4 - x)^2 times 4 = 1/(9 - y)^2 times 9 with x + y = 5 has (9 - y) = 1.5 (4 - x): x = 0.8."""
    found = bipartite_optimum([5.0], mm1([[1e9, 1e9]]), mm1([4.0, 9.0]), gap=1e-12)
    np.testing.assert_allclose(found.flows, [[0.8, 4.2]], rtol=1e-5)
    np.testing.assert_allclose(found.prices, 4 / 3.2**2, rtol=1e-5)
    np.testing.assert_allclose(found.marginals, found.prices[:1], rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 6), st.sampled_from([0.2, 0.6, 0.9, 0.95, 0.99]), st.integers(0, 10**6),
    st.sampled_from([0.0, 1.0, 4.0]),
)  # fmt: skip
def test_random_instances_are_certified_and_no_flows_do_better(
    m: int, n: int, load: float, seed: int, scv: float
) -> None:
    rates, paths, servers = drawn(m, n, load, seed)
    laws = mm1(paths), mg1(servers, scv=scv)
    found = bipartite_optimum(rates, *laws)
    np.testing.assert_allclose(found.flows.sum(axis=1), rates, rtol=1e-12)
    assert (found.flows >= 0).all()
    assert (found.loads < servers).all()
    assert found.certificate.gap < 1e-7
    assert (found.prices > 0).all()
    even = rates[:, None] * paths / paths.sum(axis=1, keepdims=True)
    bound = found.certificate.dual * (1 - 1e-12)
    assert certify_flows(even, *laws).primal >= bound
    assert certify_flows(0.5 * (even + found.flows), *laws).primal >= bound


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.6, 0.95]))
def test_more_capacity_never_costs_more_and_order_does_not_matter(seed: int, load: float) -> None:
    rates, paths, servers = drawn(6, 4, load, seed)
    best = bipartite_optimum(rates, mm1(paths), mm1(servers)).certificate
    wider = servers.copy()
    wider[seed % 4] *= 1.1
    assert bipartite_optimum(rates, mm1(paths), mm1(wider)).certificate.dual <= best.primal
    i, j = np.random.default_rng(seed).permutation(6), np.random.default_rng(seed).permutation(4)
    other = bipartite_optimum(rates[i], mm1(paths[i][:, j]), mm1(servers[j])).certificate
    assert other.primal == pytest.approx(best.primal, rel=1e-8)


def test_prices_and_marginals_are_what_one_more_unit_costs() -> None:
    rates, paths, servers = drawn(5, 3, 0.8, 1)
    best = bipartite_optimum(rates, mm1(paths), mm1(servers), gap=1e-12)
    step = 1e-4 * rates[2]
    up, down = rates.copy(), rates.copy()
    up[2], down[2] = rates[2] + step, rates[2] - step
    costs = [bipartite_optimum(r, mm1(paths), mm1(servers), gap=1e-12).certificate.primal * r.sum() for r in (up, down)]
    assert (costs[0] - costs[1]) / (2 * step) == pytest.approx(best.marginals[2], rel=1e-5)


def test_a_source_without_rate_and_nobody_at_all() -> None:
    found = bipartite_optimum([1.0, 0.0, 2.0], md1([[3.0, 2.0], [1.0, 1.0], [2.0, 2.0]]), md1([2.0, 3.0]))
    without = bipartite_optimum([1.0, 2.0], md1([[3.0, 2.0], [2.0, 2.0]]), md1([2.0, 3.0]))
    assert not found.flows[1].any()
    np.testing.assert_allclose(found.flows[[0, 2]], without.flows, atol=1e-4)
    nobody = bipartite_optimum([0.0], mm1([[1.0]]), mm1([1.0]))
    assert (nobody.certificate.primal, nobody.certificate.gap, nobody.loads.tolist()) == (0.0, 0.0, [0.0])


@pytest.mark.parametrize("room", [1e-3, 1e-6, 1e-9])
def test_a_single_server_near_its_capacity(room: float) -> None:
    found = bipartite_optimum([1 - room], mm1([[3.0]]), mm1([1.0]))
    assert found.loads == pytest.approx([1 - room])
    assert found.certificate.primal == pytest.approx(1 / room + 1 / (2 + room), rel=1e-6)


def test_the_certificate_sees_what_is_wrong() -> None:
    _, paths, servers = drawn(6, 3, 0.6, 3)
    laws = mm1(paths), mm1(servers)
    lopsided = np.zeros_like(paths)
    lopsided[:, 0] = np.minimum(0.9 * paths[:, 0], 0.5 * servers[0] / 6)
    assert certify_flows(lopsided, *laws).gap > 0.01
    assert certify_flows(np.full_like(paths, servers.max()), *laws).gap == np.inf


@pytest.mark.parametrize(
    ("rates", "paths", "servers", "said"),
    [
        ([3.0], [[1.0, 1.0]], [9.0, 9.0], "source 0"),
        ([3.0], [[9.0, 9.0]], [1.0, 2.0], "all servers"),
        ([1.0, 1.0, 1.0], [[1.0, 0.1]] * 3, [1.5, 10.0], r"servers \[0\]"),
    ],
)
def test_what_cannot_be_carried_is_named(
    rates: list[float], paths: list[list[float]], servers: list[float], said: str
) -> None:
    with pytest.raises(Infeasible, match=said) as told:
        bipartite_optimum(rates, mm1(paths), mm1(servers))
    assert told.value.resources
    assert told.value.excess >= 0


@pytest.mark.parametrize(
    ("rates", "paths", "servers", "said"),
    [
        ([np.nan], [[1.0]], [1.0], "rate of source 0: nan"),
        ([-1.0], [[1.0]], [1.0], "rate of source 0: -1"),
        ([0.1], [[np.nan]], [1.0], "capacity of path"),
        ([0.1], [[1.0]], [-2.0], "capacity of server"),
        ([0.1, 0.2], [[1.0]], [1.0], "accepted: .m,., .m, n., .n,."),
    ],
)
def test_what_is_no_instance_is_refused(
    rates: list[float], paths: list[list[float]], servers: list[float], said: str
) -> None:
    with pytest.raises(TopologyError, match=said):
        bipartite_optimum(rates, mm1(paths), mm1(servers))
