"""User equilibrium, tolls and the price of anarchy: Pigou's and Braess's examples by hand, and theorems on Abilene."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import abilene

from pricing.joint.certificate import certify
from pricing.joint.equilibrium import anarchy, pigou_tolls, selfish_costs, user_equilibrium
from pricing.joint.network_flow import RouteSpace, least_cost, space_of_pairs
from pricing.joint.optimum import optimum
from pricing.laws import BPR
from pricing.policy import POLICIES, solve
from pricing.problem import evaluate, problem_of


def straight(constant: list[float], slope: list[float]) -> BPR:
    """D(x) = constant + slope x."""
    free = np.maximum(constant, 1e-9)
    return BPR(free, np.ones(len(constant)), np.asarray(slope) / free, 1.0)


def pigou() -> tuple[RouteSpace, BPR]:
    """Two roads from 0 to 1: one always takes 1, the other as long as its share. Through nodes 2 and 3, in no time."""
    space = space_of_pairs(
        np.array([0, 0, 2, 3]), np.array([2, 3, 1, 1]), np.array([0]), np.array([1]), np.full(4, np.inf)
    )
    return space, straight([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0])


def braess(shortcut: bool) -> tuple[RouteSpace, BPR]:
    """0 -> 1 by 2 or by 3, x or 1 each way, and a shortcut from 2 to 3 in no time."""
    links = 5 if shortcut else 4
    tails, heads = np.array([0, 2, 0, 3, 2])[:links], np.array([2, 1, 3, 1, 3])[:links]
    space = space_of_pairs(tails, heads, np.array([0]), np.array([1]), np.full(links, np.inf))
    return space, straight([0.0, 1.0, 1.0, 0.0, 0.0][:links], [1.0, 0.0, 0.0, 1.0, 0.0][:links])


def test_pigou_by_hand() -> None:
    """The selfish all take the short road and take 1; half and half takes 3/4; the toll is 1/2; anarchy costs 4/3."""
    space, law = pigou()
    found = anarchy(space, law, np.array([1.0]), gap=1e-10)
    np.testing.assert_allclose(found.selfish.loads[:2], [0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(found.optimal.loads[:2], [0.5, 0.5], atol=1e-5)
    assert found.selfish_delay == pytest.approx(1.0, rel=1e-6)
    assert found.optimal_delay == pytest.approx(0.75, rel=1e-6)
    assert found.price == pytest.approx(4 / 3, rel=1e-6)
    np.testing.assert_allclose(found.tolls[:2], [0.0, 0.5], atol=1e-5)


def test_braess_by_hand() -> None:
    """A road more, and everybody takes 2 instead of 3/2."""
    without, with_it = (anarchy(*braess(shortcut), np.array([1.0]), gap=1e-10) for shortcut in (False, True))
    assert without.selfish_delay == pytest.approx(1.5, rel=1e-6)
    assert with_it.selfish_delay == pytest.approx(2.0, rel=1e-6)
    assert without.price == pytest.approx(1.0, rel=1e-6)
    assert with_it.price == pytest.approx(4 / 3, rel=1e-6)


@pytest.mark.parametrize("example", [pigou(), braess(True)])
def test_selfish_under_tolls_is_the_optimum(example: tuple[RouteSpace, BPR]) -> None:
    space, law = example
    found = anarchy(space, law, np.array([1.0]), gap=1e-11)
    tolled = least_cost(space, selfish_costs(law, tolls=found.tolls), np.array([1.0]), 1e-11)
    assert float(law.cost(tolled.loads).sum()) == pytest.approx(found.optimal_delay, rel=1e-7)


@pytest.mark.parametrize("rho", [0.5, 0.75, 0.95])
def test_theorems_on_abilene(rho: float) -> None:
    """Wardrop's first principle on every route; anarchy costs; tolls take the cost away."""
    net = abilene(rho)
    problem, best = problem_of(net), optimum(net)
    selfish = user_equilibrium(net)
    delays = problem.weight * problem.laws.delay(selfish.loads)
    steps, space = selfish.space.steps, selfish.space
    for k in range(len(net.sessions)):
        own = np.where(steps.serves, space.works[k], 1.0) * delays[steps.resource]
        each = own + np.where(steps.serves, 0.0, space.answers[k]) * delays[steps.back]
        paid = [
            float(each[selfish.ways[selfish.start[n] : selfish.start[n + 1]]].sum())
            for n in range(selfish.first[k], selfish.first[k + 1])
            if selfish.flows[n] > 1e-4 * problem.rates[k]
        ]
        assert max(paid) == pytest.approx(min(paid), rel=1e-3)
    price = evaluate(net, selfish.allocation(net)).objective / best.certificate.primal
    assert price > 1 + 1e-6
    tolled = user_equilibrium(net, tolled=True).allocation(net)
    assert evaluate(net, tolled).objective == pytest.approx(best.certificate.primal, rel=1e-6)


def test_tolls_are_what_one_more_unit_costs_the_others() -> None:
    law = BPR(np.array([2.0]), np.array([10.0]))
    load, step = np.array([7.0]), 1e-6
    others = load * (law.delay(load + step) - law.delay(load)) / step
    np.testing.assert_allclose(pigou_tolls(law, load), others, rtol=1e-5)


def test_policies_end_where_the_theory_says() -> None:
    net = abilene(0.75)
    selfish, tolled, best = (solve(net, POLICIES[name]) for name in ("user-equilibrium", "tolled", "joint"))
    assert selfish.settled
    assert tolled.settled
    assert tolled.evaluation.objective == pytest.approx(best.evaluation.objective, rel=1e-6)
    assert selfish.evaluation.objective > best.evaluation.objective * (1 + 1e-6)
    assert certify(net, tolled.allocation).gap < 1e-6
