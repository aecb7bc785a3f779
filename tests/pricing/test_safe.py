"""The safe iteration: strictly feasible in every round, to a certified optimum on every strictly feasible instance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import (
    PAPER_ACCESS,
    PAPER_RATES,
    PAPER_SERVERS,
    abilene,
    anycast,
    cables,
    network,
    paper,
    ring,
    unicast,
)

from pricing.delay import md1, mm1
from pricing.errors import Infeasible, NotConverged
from pricing.joint import local, safe
from pricing.joint.certificate import certify
from pricing.joint.optimum import optimum
from pricing.joint.rounds import iterate
from pricing.laws import BPR, Several, fitted
from pricing.network import Network, Server
from pricing.problem import problem_of
from pricing.shortest import shortest_path
from pricing.values import FloatArray

OPTIMUM = 2.0157473649138


def paper_task(load: float | None = None) -> safe.Task:
    """The paper's instance, its servers scaled to a load."""
    rates, servers = np.array(PAPER_RATES), np.array(PAPER_SERVERS)
    if load is not None:
        servers = servers * rates.sum() / (load * servers.sum())
    return safe.bipartite(rates, mm1(PAPER_ACCESS), mm1(servers))


def alike(load: float, sources: int = 5, servers: int = 3) -> safe.Task:
    """Sources and servers that are all alike: constant steps circle here."""
    rates = np.full(sources, 10.0)
    return safe.bipartite(
        rates, mm1(np.full((sources, servers), 50.0)), mm1(np.full(servers, 10.0 * sources / servers / load))
    )


def lopsided(task: safe.Task, seed: int = 1) -> FloatArray:
    """A strictly feasible start far from even."""
    rng = np.random.default_rng(seed)
    shares = np.concatenate([rng.dirichlet(np.full(len(mine), 0.3)) for mine in task.members])
    start = safe.find_start(task)
    part = 1.0
    while not (task.load((1 - part) * start + part * shares) < task.capacity).all():
        part *= 0.8
    return (1 - part) * start + part * shares


def watched(task: safe.Task, start: FloatArray | None, rounds: int) -> list[safe.State]:
    """The states of some rounds."""
    states = [safe.begin(task, start)]
    for _ in range(rounds):
        states.append(safe.step(task, states[-1]))
    return states


def test_one_source_and_two_servers_by_hand() -> None:
    # 1/(mu - x)^2 mu is equal: 4/(4 - x)^2 = 1/(1 - (2 - x))^2, so 4 - x = 2 (x - 1) and x = 2: all at the first.
    task = safe.bipartite(np.array([2.0]), BPR(np.ones((1, 2)), np.ones((1, 2)), 0.0, 1.0), mm1([4.0, 1.0]))
    assert safe.run(task, gap=1e-9).shares == pytest.approx([1.0, 0.0], abs=1e-4)
    task = safe.bipartite(np.array([2.0]), BPR(np.ones((1, 2)), np.ones((1, 2)), 0.0, 1.0), mm1([4.0, 4.0]))
    assert safe.run(task, lopsided(task), gap=1e-9).shares == pytest.approx([0.5, 0.5], abs=1e-4)


def test_fewer_rounds_than_the_papers_algorithm_on_its_instance() -> None:
    gaps = safe.run(paper_task(), gap=4e-10).gaps
    assert len(gaps) - 1 < 38
    assert next(k for k, gap in enumerate(gaps) if gap <= 1e-7) < 24
    assert paper_task().cost(safe.run(paper_task(), gap=1e-10).shares) == pytest.approx(OPTIMUM, rel=1e-9)


@pytest.mark.parametrize("load", [0.6, 0.85, 0.99, 0.999, 1 - 1e-4])
@pytest.mark.parametrize("lop", [False, True])
@pytest.mark.parametrize("kind", [paper_task, alike])
def test_at_most_100_rounds_however_loaded(kind: object, load: float, lop: bool) -> None:
    task = kind(load)  # type: ignore[operator]
    found = safe.run(task, lopsided(task) if lop else None)
    assert found.gap <= 1e-6
    assert found.rounds <= 40


def test_links_at_99_percent_too() -> None:
    rates = np.array([10.0, 7.0])
    access = np.array([[6.0, 4.2], [5.0, 2.1]]) * np.array([[10.0 / 10.2 / 0.99], [7.0 / 7.1 / 0.99]])
    found = safe.run(safe.bipartite(rates, md1(access), mm1([20.0, 9.0])))
    assert found.rounds <= 40


@st.composite
def instances(draw: st.DrawFn) -> tuple[safe.Task, FloatArray]:
    """A task and a strictly feasible point of it, with loads up to 0.99 on paths and servers."""
    sources, servers = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    shares = rng.dirichlet(np.ones(servers), size=sources)
    flows = shares * 10 ** rng.uniform(-2, 1, (sources, 1))
    paths = flows / rng.choice([0.1, 0.5, 0.9, 0.99], flows.shape)
    nodes = flows.sum(axis=0) / rng.choice([0.3, 0.9, 0.99], servers)
    return safe.bipartite(flows.sum(axis=1), mm1(paths), mm1(nodes)), shares.ravel()


@settings(max_examples=40, deadline=None)
@given(instances(), st.booleans())
def test_every_round_is_strictly_feasible_and_the_end_is_the_optimum(
    case: tuple[safe.Task, FloatArray], given_start: bool
) -> None:
    task, point = case
    for state in watched(task, point if given_start else None, 12):
        assert (task.load(state.shares) < task.capacity).all()
        assert (state.shares > 0).all()
        assert np.bincount(task.groups, state.shares) == pytest.approx(np.ones(len(task.members)), abs=1e-12)
    found = safe.run(task, point if given_start else None)
    assert found.rounds <= 60
    # No feasible point costs less than the bound.
    assert task.cost(point) >= task.cost(found.shares) / (1 + 2e-6)


@settings(max_examples=40, deadline=None)
@given(instances())
def test_a_round_lowers_its_merit_by_what_is_promised(case: tuple[safe.Task, FloatArray]) -> None:
    task, point = case
    state = safe.begin(task, point)
    for _ in range(6):
        barrier = state.cut * float(state.shares @ state.slack) / len(state.shares)
        after = safe.step(task, state)

        def merit(shares: FloatArray, barrier: float = barrier) -> float:
            return task.cost(shares) - barrier * float(np.log(shares).sum())

        assert merit(after.shares) <= merit(state.shares) + 1e-12 * abs(merit(state.shares))
        state = after


@pytest.mark.parametrize("net", [paper(), abilene(0.75), abilene(0.97), abilene(0.99), abilene(0.75, capacity=0.85e6)])
def test_networks_with_shared_links(net: Network) -> None:
    found = iterate(net)
    assert found.rounds <= 40
    assert certify(net, found.allocation).gap <= 2e-6
    assert certify(net, found.allocation).primal == pytest.approx(optimum(net).certificate.primal, rel=2e-6)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(4.0, 20.0), min_size=4, max_size=5),
    st.lists(st.floats(0.0, 2.5), min_size=5, max_size=5).map(np.array),
)
def test_any_network(capacities: list[float], rates: FloatArray) -> None:
    net = ring(capacities, rates)
    try:
        best = optimum(net).certificate.primal
    except Infeasible:
        return
    found = iterate(net)
    assert certify(net, found.allocation).primal == pytest.approx(best, rel=2e-6)
    assert set(found.allocation.splits) == {session.name for session in net.sessions}


def test_several_services_and_unicast_and_a_start_that_is_given() -> None:
    net = network(
        cables(("a", "b", 12.0), ("b", "c", 9.0), ("a", "c", 11.0)),
        [Server("s", "b", 8.0), Server("t", "c", 9.0), Server("u", "c", 7.0)],
        [
            anycast("web", "a", ["s", "t"], 6.0, service="web"),
            anycast("dns", "b", ["t", "u"], 5.0, service="dns", work=0.5),
            unicast("bulk", "a", "c", 3.0),
        ],
    )
    found = iterate(net, start=shortest_path(net), gap=1e-8)
    assert certify(net, found.allocation).primal == pytest.approx(optimum(net).certificate.primal, rel=1e-7)


def test_unequal_works_are_weighed_by_work_and_stay_convex() -> None:
    net = network(
        cables(("a", "b", 50.0), ("a", "c", 50.0)),
        [Server("s", "b", 8.0), Server("t", "c", 6.0)],
        [anycast("light", "a", ["s", "t"], 4.0, work=0.5), anycast("heavy", "a", ["s", "t"], 3.0, work=2.0)],
    )
    problem = problem_of(net)
    one, other = shortest_path(net), iterate(net).allocation
    ends = problem.loads(one), problem.loads(other)
    costs = [problem.total_cost((1 - part) * ends[0] + part * ends[1]) for part in (0.0, 0.5, 1.0)]
    assert costs[1] <= (costs[0] + costs[2]) / 2 or not np.isfinite(costs[0])
    assert certify(net, other).primal == pytest.approx(optimum(net).certificate.primal, rel=2e-6)


def test_delay_weighted_by_flow_with_unequal_works_is_not_convex() -> None:
    def weighted_by_flow(light: float, heavy: float) -> float:
        return float((light + heavy) * mm1(10.0).delay(0.1 * light + 3.0 * heavy))

    def weighted_by_work(light: float, heavy: float) -> float:
        return float(mm1(10.0).cost(0.1 * light + 3.0 * heavy))

    # Trading some of one for the other at a loaded server: the middle costs more than the mean of the ends.
    ends, middle = ((20.0, 1.0), (10.0, 1.5)), (15.0, 1.25)
    assert weighted_by_flow(*middle) > sum(weighted_by_flow(*end) for end in ends) / 2
    assert weighted_by_work(*middle) <= sum(weighted_by_work(*end) for end in ends) / 2


def test_any_law_will_do() -> None:
    servers = Several((mm1(20.0), fitted([1.0, 5.0, 9.0], [0.1, 0.2, 0.9], 10.0), BPR(np.array(0.1), np.array(5.0))))
    task = safe.bipartite(np.array([9.0, 8.0]), BPR(np.full((2, 3), 0.1), np.full((2, 3), 6.0)), servers)
    assert safe.run(task, gap=1e-8).rounds <= 40


def test_what_cannot_be_carried_is_said() -> None:
    with pytest.raises(Infeasible, match="times what fits"):
        safe.run(alike(1.01))
    with pytest.raises(Infeasible, match="strictly feasible start"):
        safe.run(alike(0.9), np.tile([1.0, 0.0, 0.0], 5))
    with pytest.raises(Infeasible, match="servers east, mid, west together"):
        iterate(abilene(1.1))
    with pytest.raises(NotConverged, match="in 2 rounds"):
        safe.run(paper_task(0.99), most_rounds=2)
    with pytest.raises(NotConverged, match="in 2 rounds"):
        iterate(abilene(0.75), most_rounds=2)


def test_borderline_single_and_silent_instances() -> None:
    task = safe.bipartite(np.array([1.0]), mm1([[2.0]]), mm1([1.0 + 1e-8]))
    assert safe.run(task).rounds == 0
    net = paper(rates=(0.0, 0.0, 0.0, 0.0, 0.0))
    assert iterate(net).rounds == 0
    silent = paper(rates=(0.0, 30.0, 0.0, 20.0, 0.1))
    assert certify(silent, iterate(silent).allocation).gap <= 2e-6


def test_what_is_told_is_counted() -> None:
    # 4 numbers from each of 3 servers; 3 + 3 + 3 from each of 5 sources, whose routes use one server each.
    assert safe.numbers_told(paper_task()) == 4 * 3 + 5 * 9
    two = replace(paper_task(), usage=np.vstack([paper_task().usage, np.ones((1, 15))]))
    assert safe.numbers_told(two) == 4 * 4 + 5 * (3 + 4 + 10)
    assert local.run(paper_task()).numbers == 7 * local.run(paper_task()).rounds


@pytest.mark.parametrize(("load", "rounds"), [(None, 40), (0.6, 200)])
def test_one_price_alone_gets_there_too(load: float | None, rounds: int) -> None:
    task = paper_task(load)
    found = local.run(task, most_rounds=rounds)
    assert task.cost(found.shares) == pytest.approx(task.cost(safe.run(task, gap=1e-9).shares), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(instances())
def test_one_price_alone_is_always_feasible_and_falls(case: tuple[safe.Task, FloatArray]) -> None:
    task, point = case
    theta, first = local.parts(task), safe.begin(task, point)
    assert theta.sum(axis=0)[task.shared] == pytest.approx(np.ones(len(task.shared)))
    owns = [local.Own(first.shares[mine], first.slack[mine]) for mine in task.members]
    shares = first.shares
    for _ in range(8):
        load = task.load(shares)
        barriers = [own.cut * float(own.shares @ own.slack) / len(own.shares) for own in owns]
        before = task.cost(shares) - sum(b * np.log(own.shares).sum() for b, own in zip(barriers, owns, strict=True))
        owns = [local.own_step(task, k, own, load, theta[k]) for k, own in enumerate(owns)]
        shares = np.concatenate([own.shares for own in owns])
        after = task.cost(shares) - sum(b * np.log(own.shares).sum() for b, own in zip(barriers, owns, strict=True))
        assert (task.load(shares) < task.capacity).all()
        assert after <= before + 1e-12 * abs(before)
