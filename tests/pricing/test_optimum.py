"""The central optimum: theorems by hand, the paper's instance, a second opinion, and what holds on any network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import PAPER_RATES, PAPER_SERVERS, abilene, anycast, cables, network, paper, ring, unicast

from pricing.delay import mm1
from pricing.errors import Infeasible
from pricing.joint.certificate import certify, certify_loads, dual_bound
from pricing.joint.feasible import least_top_utilization
from pricing.joint.optimum import optimum
from pricing.joint.reference import reference_objective
from pricing.network import Link, Network, Node, Server
from pricing.policy import nominal_loads
from pricing.problem import evaluate, make_allocation, problem_of
from pricing.routes import nearest_routes
from pricing.shortest import equal_cost, shortest_path

RHO_02 = tuple(mu * sum(PAPER_RATES) / (0.2 * sum(PAPER_SERVERS)) for mu in PAPER_SERVERS)


def weights(net: Network, offered: np.ndarray | None = None) -> dict[str, float]:
    return {str(route): weight for route, weight in optimum(net, offered).allocation}


def test_two_parallel_ways_equalise_marginal_cost() -> None:
    """mu = 4 and 9: x/mu follows from mu_1/(mu_1 - x_1)^2 = mu_2/(mu_2 - x_2)^2, so (mu - x) is as sqrt(mu)."""
    ways = [Link("a", "b", 4.0, delivers="sojourn"), Link("a", "c", 9.0, delivers="sojourn")]
    servers = [Server("s", "b", 1e6), Server("t", "c", 1e6)]
    net = network(ways, servers, [anycast("k", "a", ["s", "t"], 8.0)])
    loads = evaluate(net, optimum(net).allocation).loads.links
    assert loads == pytest.approx([4 - 2.0, 9 - 3.0], rel=1e-5)  # 13 - 8 = 5 of room, shared as 2 : 3


def test_a_light_session_uses_the_faster_way_alone() -> None:
    """Pigou: while lambda < mu_2 - sqrt(mu_1 mu_2) the slow way costs more than the fast one at its whole load."""
    ways = [Link("a", "b", 4.0, delivers="sojourn"), Link("a", "c", 9.0, delivers="sojourn")]
    servers = [Server("s", "b", 1e6), Server("t", "c", 1e6)]
    for rate, used in ((2.9, 1), (3.1, 2)):
        net = network(ways, servers, [anycast("k", "a", ["s", "t"], rate)])
        assert len(weights(net)) == used


def test_the_difference_of_server_prices_is_the_price_of_the_way() -> None:
    """A session at a full server goes on to the next one until the price difference is the congestion between them."""
    net = network(
        cables(("a", "b", 20.0)),
        [Server("near", "a", 10.0), Server("far", "b", 10.0)],
        [anycast("k", "a", ["near", "far"], 12.0)],
    )
    best = optimum(net)
    problem = problem_of(net)
    prices = problem.prices(problem.loads(best.allocation))
    assert prices.servers[0] - prices.servers[1] == pytest.approx(prices.links[0], rel=1e-6)
    assert prices.links[0] > 0


def test_the_papers_instance_has_its_known_optimum() -> None:
    best = optimum(paper())
    found = evaluate(paper(), best.allocation)
    assert found.objective * sum(PAPER_RATES) == pytest.approx(2.0157473649138, abs=2e-12)
    assert found.loads.servers / PAPER_SERVERS == pytest.approx([0.158136, 0.138642, 0.102983], abs=5e-7)
    problem = problem_of(paper())
    assert problem.prices(problem.loads(best.allocation)).servers == pytest.approx(
        [0.0087771, 0.0126550, 0.0063226], abs=5e-8
    )
    used = {name: {route.server for route, _ in split} for name, split in best.allocation.splits.items()}
    assert [used[f"P{i}"] for i in (0, 1, 4)] == [{"s2"}] * 3
    assert used["P2"] == used["P3"] == {"s0", "s1", "s2"}


def test_the_papers_instance_at_a_load_of_a_fifth() -> None:
    net = paper(servers=RHO_02)
    found = evaluate(net, optimum(net).allocation)
    assert found.objective * sum(PAPER_RATES) == pytest.approx(2.3244164562, abs=1e-9)
    assert found.loads.servers / RHO_02 == pytest.approx([0.24026, 0.18346, 0.17604], abs=5e-6)


def test_the_papers_demand_can_grow_until_the_access_paths_of_one_source_are_full() -> None:
    net = paper(servers=[1e6] * 3)
    rates = problem_of(net).rates
    optimum(net, 4.86 * rates)
    with pytest.raises(Infeasible) as caught:
        optimum(net, 4.88 * rates)
    assert caught.value.resources == ("p2->n0", "p2->n1", "p2->n2")


@pytest.mark.parametrize(
    "net", [paper(), abilene(0.75), abilene(0.9, capacity=0.9e6)], ids=["paper", "abilene", "abilene-full"]
)
def test_a_second_opinion_agrees(net: Network) -> None:
    best = optimum(net)
    assert best.certificate.primal == pytest.approx(reference_objective(net), rel=2e-6)
    assert best.certificate.gap <= 1e-8


def test_heavy_load_is_certified_too() -> None:
    for rho, gap in ((0.97, 1e-8), (0.99, 1e-8), (0.995, 1e-7)):
        best = optimum(abilene(rho))
        assert 0 <= best.certificate.gap <= gap
        assert best.certificate.kkt_residual < 1e-6 * best.certificate.primal
        assert min(weight for _, weight in best.allocation) >= 1e-6


def test_sessions_that_offer_nothing_get_their_cheapest_route() -> None:
    net = abilene()
    offered = problem_of(net).rates.copy()
    offered[2] = 0.0
    best = optimum(net, offered)
    assert len(best.allocation.splits[net.sessions[2].name]) == 1
    assert best.certificate.gap <= 1e-8
    assert certify(net, best.allocation, np.zeros(8)).gap == 0.0
    assert set(optimum(net, np.zeros(8)).allocation.splits) == {session.name for session in net.sessions}


def test_a_warm_start_ends_at_the_same_cost() -> None:
    net = abilene(0.8)
    offered = problem_of(net).rates * np.linspace(0.9, 1.1, 8)
    warm = optimum(net, offered, warm=optimum(net).allocation)
    assert warm.certificate.primal == pytest.approx(optimum(net, offered).certificate.primal, rel=1e-8)


def test_servers_short_of_work_are_named() -> None:
    net = network(
        cables(("a", "b", 1e6)),
        [Server("west", "a", 400.0), Server("east", "b", 600.0)],
        [anycast("k", "a", ["west", "east"], 1200.0)],
    )
    with pytest.raises(
        Infeasible, match="servers east, west together do 1,000 work/s, 1,200 are asked: 200 too much"
    ) as e:
        optimum(net)
    assert e.value.resources == ("east", "west")
    assert e.value.excess == pytest.approx(200.0)


def test_a_saturated_cut_is_named() -> None:
    net = network(
        cables(("a", "b", 3.0), ("a", "c", 4.0), ("b", "d", 9.0), ("c", "d", 9.0)),
        sessions=[unicast("k", "a", "d", 10.0)],
    )
    with pytest.raises(Infeasible, match="links a->b, a->c together carry 7 bit/s, 10 are asked: 3 too much"):
        optimum(net)


def test_one_server_too_small_for_its_only_session() -> None:
    net = network(cables(("a", "b", 9.0)), [Server("s", "b", 2.0)], [anycast("k", "a", ["s"], 2.0)])
    with pytest.raises(Infeasible, match="server s does 2 work/s, 2 are asked"):
        optimum(net)


def test_the_least_top_utilization_is_strictly_feasible_where_shortest_paths_are_not() -> None:
    net = abilene(0.97)
    assert not evaluate(net, shortest_path(net)).feasible
    start = least_top_utilization(net)
    found = evaluate(net, start).loads
    assert (found.servers / [s.capacity for s in net.servers]).max() == pytest.approx(0.97, rel=1e-6)
    assert certify(net, start).gap > 0


NETWORKS = st.builds(
    ring,
    st.lists(st.floats(4.0, 20.0), min_size=4, max_size=6),
    st.lists(st.floats(0.0, 2.5), min_size=6, max_size=6).map(np.array),
)
FAST = settings(max_examples=25, deadline=None)


def feasible_optimum(net: Network) -> float | None:
    try:
        return optimum(net).certificate.primal
    except Infeasible:
        return None


@FAST
@given(NETWORKS, st.integers(0, 2**32 - 1))
def test_no_feasible_allocation_is_better(net: Network, seed: int) -> None:
    best = feasible_optimum(net)
    if best is None:
        return
    rng = np.random.default_rng(seed)
    routes = [route for session in net.sessions for route in nearest_routes(net, session, 3)]
    others = [make_allocation(routes, rng.exponential(size=len(routes))) for _ in range(5)]
    for other in (*others, shortest_path(net), equal_cost(net)):
        certificate = certify(net, other)
        assert certificate.dual <= best * (1 + 1e-9) <= certificate.primal * (1 + 2e-9)


@FAST
@given(NETWORKS, st.integers(0, 5), st.floats(1.0, 3.0))
def test_more_capacity_never_costs_more(net: Network, which: int, factor: float) -> None:
    best = feasible_optimum(net)
    if best is None:
        return
    links = tuple(
        replace(link, capacity=link.capacity * factor) if i == which else link for i, link in enumerate(net.links)
    )
    # The objective of a wider link is not more, load for load, so neither is the least of it.
    assert optimum(replace(net, links=links)).certificate.primal <= best * (1 + 1e-8) + 1e-15


@FAST
@given(NETWORKS, st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(net: Network, random: object) -> None:
    best = feasible_optimum(net)
    names = [node.name for node in net.nodes]
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    new = dict(zip(names, shuffled, strict=True))
    renamed = Network(
        net.name,
        tuple(Node(name) for name in shuffled),
        tuple(replace(link, src=new[link.src], dst=new[link.dst]) for link in reversed(net.links)),
        tuple(replace(server, node=new[server.node]) for server in reversed(net.servers)),
        tuple(replace(session, source=new[session.source]) for session in reversed(net.sessions)),
    )
    again = feasible_optimum(renamed)
    assert (again is None) == (best is None)
    assert best is None or again == pytest.approx(best, rel=2e-8, abs=1e-15)


@FAST
@given(NETWORKS, st.lists(st.floats(0.01, 3.0), min_size=14, max_size=14))
def test_any_prices_bound_the_optimum_from_below(net: Network, some: list[float]) -> None:
    best = feasible_optimum(net)
    problem = problem_of(net)
    prices = np.array(some)[: len(problem.capacity)]
    if best is not None and problem.rates.any():
        assert dual_bound(problem, prices, problem.rates) / problem.rates.sum() <= best * (1 + 1e-9)


def test_the_certificate_of_an_infeasible_allocation_still_bounds() -> None:
    net = abilene(0.9)
    certificate = certify(net, shortest_path(net))
    assert certificate.primal == certificate.gap == certificate.kkt_residual == np.inf
    assert 0 < certificate.dual < optimum(net).certificate.primal


def test_the_certificate_by_hand() -> None:
    """All of 1 on the slower of two ways: excess and bound by the law."""
    ways = [Link("a", "b", 4.0, delivers="sojourn"), Link("a", "c", 9.0, delivers="sojourn")]
    servers = [Server("s", "b", 1e9), Server("t", "c", 1e9)]
    net = network(ways, servers, [anycast("k", "a", ["s", "t"], 1.0)])
    slow = make_allocation([r for r in nearest_routes(net, net.sessions[0], 1) if r.server == "s"], [1.0])
    certificate = certify(net, slow)
    slow_price, fast_price = float(mm1(4.0).marginal(1.0)), 1 / 9
    assert certificate.primal == pytest.approx(1 / 3, rel=1e-6)
    assert certificate.kkt_residual == pytest.approx(slow_price - fast_price, rel=1e-6)
    assert certificate.wardrop_residual == pytest.approx(1 - fast_price / slow_price, rel=1e-6)
    assert certificate.dual >= 1 / 3 - (slow_price - fast_price) - 1e-6
    assert certificate.dual < optimum(net).certificate.primal
    assert certificate.gap == pytest.approx((certificate.primal - certificate.dual) / certificate.dual)


def test_an_optimum_as_witness_tells_the_true_gap() -> None:
    net = abilene(0.6, capacity=1.5e6)
    best = optimum(net)
    near = make_allocation([route for route, _ in best.allocation], [weight + 0.02 for _, weight in best.allocation])
    true = evaluate(net, near).objective / best.certificate.primal - 1
    assert certify(net, near).gap > 2 * true
    assert certify(net, near, witness=best.allocation).gap == pytest.approx(true, rel=1e-3)
    assert certify(net, best.allocation, witness=best.allocation).gap <= 1e-8


@pytest.mark.parametrize("limit", ["MANY", "LARGE"])
@pytest.mark.parametrize("rho", [0.4, 0.9])
def test_many_sessions_and_links_have_the_same_optimum(rho: float, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = abilene(rho)
    few = optimum(net)
    monkeypatch.setattr(f"pricing.joint.optimum.{limit}", 1)
    many = optimum(net)
    assert many.certificate.primal == pytest.approx(few.certificate.primal, rel=1e-7)
    assert many.certificate.gap < 1e-7


def test_loads_alone_tell_how_far_a_running_network_is_from_equilibrium() -> None:
    net = abilene(0.75)
    best, start = optimum(net), shortest_path(net)
    settled = certify_loads(net, nominal_loads(net, best.allocation))
    assert settled.wardrop_residual < 1e-6
    assert settled.gap < 1e-6
    seen, known = certify_loads(net, nominal_loads(net, start), best.certificate.primal), certify(net, start)
    assert seen.wardrop_residual == pytest.approx(known.wardrop_residual)
    assert seen.primal == pytest.approx(known.primal)
    assert seen.gap == pytest.approx(known.primal / best.certificate.primal - 1)
    full = nominal_loads(net, start)
    assert certify_loads(net, replace(full, servers=2 * full.servers)).gap == np.inf
