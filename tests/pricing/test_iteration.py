"""The distributed iteration: monotone, always strictly feasible, and close to the optimum under noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import PAPER_RATES, PAPER_SERVERS, abilene, anycast, cables, network, paper, ring

from pricing.errors import Infeasible
from pricing.joint.descent import descend
from pricing.joint.iteration import LEAST_SHARE, State, answer, cold_start, step
from pricing.joint.optimum import optimum, resource_costs
from pricing.network import Network, Server
from pricing.policy import nominal_loads
from pricing.problem import Problem, evaluate, joined, make_allocation, problem_of
from pricing.shortest import shortest_path
from pricing.values import FloatArray, Loads

PAPER_LOADED = tuple(mu * sum(PAPER_RATES) / (0.85 * sum(PAPER_SERVERS)) for mu in PAPER_SERVERS)


def idle(net: Network) -> Loads:
    return Loads(np.zeros(len(net.links)), np.zeros(len(net.servers)), np.zeros(len(net.sessions)))


def answers(net: Network, rounds: int) -> list[float]:
    """Cost after each round of pure answers (no momentum, no noise) from the cold start."""
    problem, shares = problem_of(net), dict(cold_start(net))
    costs = []
    for _ in range(rounds):
        load = problem.loads(make_allocation(list(shares), list(shares.values())))
        costs.append(problem.total_cost(load))
        shares = dict(answer(problem, State(shares, shares, load, problem.rates, 1)))
    return costs


@pytest.mark.parametrize(
    "net", [paper(), paper(servers=PAPER_LOADED), abilene(0.75), abilene(0.97)], ids=["paper", "0.85", "0.75", "0.97"]
)
def test_answers_alone_are_feasible_and_never_cost_more(net: Network) -> None:
    costs = answers(net, 15)
    assert np.isfinite(costs).all()
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(costs))
    assert costs[-1] < costs[0]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(4.0, 20.0), min_size=4, max_size=5),
    st.lists(st.floats(0.0, 2.5), min_size=5, max_size=5).map(np.array),
)
def test_answers_never_cost_more_on_any_network(capacities: list[float], rates: FloatArray) -> None:
    net = ring(capacities, rates)
    try:
        costs = answers(net, 4)
    except Infeasible:
        return
    assert np.isfinite(costs).all()
    assert all(after <= before * (1 + 1e-9) + 1e-12 for before, after in itertools.pairwise(costs))


@pytest.mark.parametrize(("net", "gap"), [(paper(servers=PAPER_LOADED), 5e-3), (abilene(0.75, capacity=0.9e6), 5e-3)])
def test_without_noise_it_comes_close_to_the_optimum(net: Network, gap: float) -> None:
    decision = step(net, idle(net), None)
    for _ in range(80):
        decision = step(net, nominal_loads(net, decision.allocation), decision.state)
        assert evaluate(net, decision.allocation).feasible
    assert evaluate(net, decision.allocation).objective <= optimum(net).certificate.primal * (1 + gap)


def measured(
    problem: Problem, load: FloatArray, noise: float, rng: np.random.Generator, offered: FloatArray | None = None
) -> Loads:
    """What meters would say: noise on everything, and links that never show more than their capacity."""
    rates = problem.rates if offered is None else offered
    seen = load * (1 + noise * rng.standard_normal(len(load)))
    cut = problem.link_count
    links = np.minimum(seen[:cut], problem.capacity[:cut])
    # Offered rates come as estimates: means of some thirty ticks.
    return Loads(links, seen[cut:], rates * (1 + noise * rng.standard_normal((30, len(rates))).mean(axis=0)))


@pytest.mark.parametrize("noise", [0.05, 0.1])
@pytest.mark.parametrize("capacity", [2.5e6, 0.9e6], ids=["wide", "narrow"])
def test_under_noise_the_gap_is_small_after_60_ticks(noise: float, capacity: float) -> None:
    net = abilene(0.75, capacity=capacity)
    problem, rng = problem_of(net), np.random.default_rng(5)
    best = optimum(net).certificate.primal
    decision, before, gaps = step(net, idle(net), None), None, []
    for _ in range(90):
        load = problem.loads(decision.allocation)
        # A third of the second that was measured ran on the routes before.
        mixed = load if before is None else 0.7 * load + 0.3 * before
        before = load
        decision = step(net, measured(problem, mixed, noise, rng), decision.state)
        gaps.append(evaluate(net, decision.allocation).objective / best - 1)
    assert np.mean(gaps[60:]) < 0.02
    assert max(gaps[60:]) < 0.05


@pytest.mark.parametrize("rho", [0.5, 0.95])
def test_the_compiled_answer_is_the_solvers(rho: float) -> None:
    net = abilene(rho)
    problem, start = problem_of(net), cold_start(net)
    load = problem.loads(start)
    rates = problem.rates * np.eye(len(problem.rates))[2]  # one session alone: its part of every resource is all of it
    shares = dict(answer(problem, State(dict(start), dict(start), load, rates, 1)))
    mine = [route for route in dict(start) | shares if route.session == net.sessions[2].name]
    usage = problem.usage_matrix(mine) * problem.rates[2]
    old = np.array([dict(start).get(route, 0.0) for route in mine])

    def local(own: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return resource_costs(problem)(load + own - usage @ old)

    best = descend(local, usage, np.zeros(len(mine), dtype=np.intp), old, 1e-10)
    costs = [local(usage @ w)[0].sum() for w in (np.array([shares.get(route, 0.0) for route in mine]), best.shares)]
    assert costs[0] <= costs[1] * (1 + 1e-5)


def test_background_load_is_avoided() -> None:
    net = network(
        cables(("a", "b", 10.0), ("a", "c", 10.0)),
        [Server("s", "b", 10.0), Server("t", "c", 10.0)],
        [anycast("k", "a", ["s", "t"], 6.0)],
    )
    decision, background = step(net, idle(net), None), np.array([5.0, 0, 0, 0, 0, 0])
    for _ in range(100):
        loads = nominal_loads(net, decision.allocation)
        decision = step(net, Loads(loads.links + background[:4], loads.servers, loads.offered), decision.state)
    problem = problem_of(net)
    load = problem.loads(decision.allocation) + background
    prices = problem.unit_prices(load)
    assert prices[0] + prices[4] == pytest.approx(prices[2] + prices[5], rel=0.02)
    assert load[4] < load[5]


def test_overload_that_is_measured_drives_traffic_away() -> None:
    net = abilene(0.75)
    problem = problem_of(net)
    decision = step(net, idle(net), None)
    load = problem.loads(decision.allocation)
    load[:] = np.maximum(load, 0)
    load[problem.link_count] = 2 * problem.capacity[problem.link_count]
    before = problem.loads(decision.allocation)[problem.link_count]
    cut = problem.link_count
    decision = step(net, Loads(load[:cut], load[cut:], problem.rates), decision.state)
    assert problem.loads(decision.allocation)[cut] < 0.9 * before


def test_silence_and_idle_sessions_are_survived() -> None:
    net = abilene(0.75)
    problem = problem_of(net)
    decision = step(net, idle(net), None)
    assert decision.allocation == cold_start(net)
    decision = step(net, idle(net), decision.state)
    assert set(decision.allocation.splits) == {session.name for session in net.sessions}
    loads = nominal_loads(net, decision.allocation)
    links = loads.links.copy()
    links[::2] = np.nan
    offered = loads.offered.copy()
    offered[3] = 0.0
    for _ in range(5):
        decision = step(net, Loads(links, loads.servers, offered), decision.state)
    assert np.isfinite(decision.prices.links).all()
    for split in decision.allocation.splits.values():
        assert sum(weight for _, weight in split) == pytest.approx(1.0)
        assert min(weight for _, weight in split) >= LEAST_SHARE
    assert evaluate(net, decision.allocation).feasible
    assert np.isfinite(joined(nominal_loads(net, decision.allocation))).all()
    assert len(problem.capacity) == len(decision.state.load)


def test_the_cold_start_is_the_shortest_path_where_that_is_feasible() -> None:
    low, high = abilene(0.3), abilene(0.9)
    assert cold_start(low) == shortest_path(low)
    assert cold_start(high) != shortest_path(high)
    assert evaluate(high, cold_start(high)).feasible
    with pytest.raises(Infeasible, match="servers east, mid, west together"):
        cold_start(abilene(1.1))


def test_a_jump_of_demand_is_expected_in_the_loads_at_once() -> None:
    net = abilene(0.75)
    problem, quiet = problem_of(net), 0.2
    decision = step(net, idle(net), None)
    for _ in range(30):
        load = problem.loads(decision.allocation, quiet * problem.rates)
        cut = problem.link_count
        decision = step(net, Loads(load[:cut], load[cut:], quiet * problem.rates), decision.state)
    stale = problem.loads(decision.allocation, quiet * problem.rates)
    decision = step(net, Loads(stale[:cut], stale[cut:], problem.rates), decision.state)
    expected = problem.loads(decision.allocation)
    assert decision.state.load[cut:] == pytest.approx(expected[cut:], rel=0.1)
