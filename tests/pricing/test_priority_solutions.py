"""Optimum and equilibria, tatonnement, regimes, capacity: known answers and theorems."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from economies import alone, drawn, four_services, two_equilibria
from scipy.optimize import brentq

from pricing.errors import Infeasible, NotConverged, WardropError
from pricing.priority.capacity import entry_and_exit, value_of_capacity
from pricing.priority.economy import Economy, Machine, Program, Service, Visit
from pricing.priority.regimes import claims, compare, gains, temptation
from pricing.priority.sizes import exponential
from pricing.priority.solve import equilibria, free_access, optimum, starting_points
from pricing.priority.state import State
from pricing.priority.tatonnement import tatonnement
from pricing.priority.values import Isoelastic, Log, Quadratic


def test_one_queue_one_class_by_hand() -> None:
    """M/M/1 sojourn 1/(1 - X), value a log(1 + X): W' = 0 is a/(1 + X) = 1/(1 - X)^2."""
    best = optimum(alone(Log(4.0, 1.0)), starts=6)
    wanted = brentq(lambda x: 4 / (1 + x) - 1 / (1 - x) ** 2, 0, 0.999)
    assert best.best.totals == pytest.approx([wanted])
    assert best.best.rents == pytest.approx([wanted / (1 - wanted) ** 2])
    free = free_access(alone(Log(4.0, 1.0)), starts=6).best
    assert free.totals == pytest.approx([brentq(lambda x: 4 / (1 + x) - 1 / (1 - x), 0, 0.999)])


def test_two_equilibria_and_the_one_between() -> None:
    economy = two_equilibria()
    tops = optimum(economy)
    assert [s.state.welfare for s in tops.all] == pytest.approx([11.697122, 3.655208], abs=1e-6)
    assert tops.all[0].state.totals == pytest.approx([0.815005, 0], abs=1e-6)
    assert tops.all[1].state.totals == pytest.approx([0, 0.0305556], abs=1e-7)
    assert str(tops).startswith("2 solutions found, W = 11.6971, 3.65521")
    found = equilibria(economy)
    assert [s.maximum for s in found.all] == [True, True, False]
    assert all(s.state.residual < 1e-9 for s in found.all)
    assert found.all[2].state.totals.min() > 0.01
    assert str(optimum(alone(Log(4.0, 1.0)), starts=3)).startswith("one solution found")


@pytest.mark.parametrize(("start", "end"), [((0.5, 0.0), (0.815005, 0)), ((0.01, 0.02), (0, 0.0305556))])
def test_tatonnement_goes_to_the_equilibrium_near_its_start(
    start: tuple[float, float], end: tuple[float, float]
) -> None:
    *_, last = tatonnement(two_equilibria(), np.array(start))
    assert last.state.totals == pytest.approx(end, abs=1e-6)


def test_tatonnement_and_newton_agree() -> None:
    economy = four_services()
    best = optimum(economy, starts=4).best
    for x in list(starting_points(economy, 2, 5)):
        *_, last = tatonnement(economy, x)
        assert last.state.residual < 1e-8
        assert last.state.welfare == pytest.approx(best.welfare, rel=1e-9)
        assert last.published.linear == pytest.approx(best.rental.linear, rel=1e-4)


def test_overload_at_the_start_is_no_obstacle() -> None:
    economy = four_services(2)
    *_, last = tatonnement(economy, 3 * economy.scale)
    assert last.state.residual < 1e-8
    assert optimum(economy, starts=0, also=[3 * economy.scale]).best.residual < 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_what_is_found_is_a_local_maximum(seed: int) -> None:
    economy = drawn(seed)
    found = optimum(economy, starts=8, seed=seed)
    random = np.random.default_rng(seed)
    for solution in found.all:
        state = solution.state
        assert solution.maximum
        assert state.residual < 1e-9
        for _ in range(50):
            moved = np.maximum(state.x + 1e-4 * economy.scale * random.normal(size=len(state.x)), 0)
            if (economy.load(moved) < 1).all():
                assert State(economy, moved).welfare <= state.welfare + 1e-10
        assert temptation(state) < 1e-7
        used = state.x > 1e-6 * economy.scale
        assert state.costs[used] == pytest.approx(claims(state).min(axis=1)[economy.owner[used]], rel=1e-7)


def test_more_classes_never_hurt_and_prices_beat_free_access() -> None:
    found = compare(four_services(), starts=6)
    welfare = {name: state.welfare for name, state in found}
    assert welfare["priority"] > welfare["fifo"] > welfare["free"]
    assert found.priority.best.welfare == pytest.approx(51.966593, abs=1e-5)
    assert found.free.best.revenue == 0
    kept = gains(found.priority.best, found.free.best)
    back = gains(found.priority.best, found.free.best, back=True)
    assert back.sum() == pytest.approx(welfare["priority"] - welfare["free"])
    assert kept.sum() == pytest.approx(back.sum() - found.priority.best.revenue)


def test_claiming_another_class_does_not_pay_unless_classes_are_free() -> None:
    best = optimum(four_services(), starts=4).best
    assert temptation(best) < 1e-9
    assert (claims(best) - claims(best).min(axis=1)[:, None]).max() > 1
    assert temptation(replace(best, priced=False)) > 0.1


def test_equal_services_share_equally_and_one_class_is_enough() -> None:
    services = [
        Service(name, Quadratic(8, 6), 1.0, [Program("p", [Visit("m", exponential(1.0))])]) for name in ("one", "other")
    ]
    economy = Economy([Machine("m", 1.0)], services, 2)
    several, one = optimum(economy, starts=6), optimum(replace(economy, classes=1), starts=6)
    assert several.best.welfare == pytest.approx(one.best.welfare)
    assert one.best.totals[0] == pytest.approx(one.best.totals[1])


def calm_beside_quick(most: float) -> Economy:
    """One who minds delay, and one who does not and wants at most `most`."""
    program = [Program("p", [Visit("m", exponential(1.0))])]
    calm = Service("calm", Quadratic(6, 6 / most), 0.0, program)
    return Economy([Machine("m", 1.0)], [Service("quick", Quadratic(20, 40), 2.0, program), calm], 2)


def test_who_does_not_mind_delay_goes_last_and_still_pays() -> None:
    best = optimum(calm_beside_quick(0.2), starts=8).best
    assert best.x[2] == pytest.approx(0, abs=1e-9)
    assert 0.05 < best.x[3] < 0.2
    assert best.rents[3] > 0
    assert best.residual < 1e-9


def test_who_does_not_mind_delay_and_fills_a_machine_is_named() -> None:
    with pytest.raises(Infeasible, match="delay costs calm nothing"):
        optimum(calm_beside_quick(1.0), starts=4)


def test_a_search_that_finds_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricing.priority.solve.ascend", lambda economy, x: x)
    with pytest.raises(NotConverged, match="no start of 2 came to rest"):
        optimum(alone(Log(4.0, 1.0)), starts=2)


@pytest.mark.parametrize("servers", [1, 3])
def test_value_of_capacity_is_a_difference_of_optima(servers: int) -> None:
    visits = [Program("p", [Visit("m", exponential(1.0))])]
    services = [Service("s", Isoelastic(4, 2), 2.0, visits), Service("t", Log(2, 0.1), 0.5, visits)]
    economy = Economy([Machine("m", 1.0, servers)], services, 2)
    state, step = optimum(economy, starts=4).best, 1e-4
    up, down = (
        optimum(replace(economy, machines=[Machine("m", 1 + sign * step, servers)]), starts=4).best.welfare
        for sign in (1, -1)
    )
    assert value_of_capacity(state) == pytest.approx([(up - down) / (2 * step)], rel=1e-5)


def test_value_of_capacity_is_the_printed_formula() -> None:
    state = optimum(four_services(), starts=2).best
    economy, v = state.economy, state.economy.speed
    sojourn = np.array([1.0, 1.0, 0.0])
    used = np.pad(v[:, None] * state.queues.sigma, ((0, 0), (1, 0)))
    waited = (state.gamma * state.waits * (1 / (v[:, None] - used[:, :-1]) + 1 / (v[:, None] - used[:, 1:]))).sum(
        axis=1
    )
    served = (economy.delay_cost * state.x) @ (economy.time * v) * sojourn / v**2
    assert value_of_capacity(state) == pytest.approx(served + waited)


def test_entry_and_exit_raises_the_surplus_and_ends_where_worth_is_cost() -> None:
    rounds = list(entry_and_exit(four_services(2), [3.0, 3.0, 0.5], rounds=10, starts=2))
    surplus = [one.surplus for one in rounds]
    assert len(rounds) == 10
    assert (np.diff(surplus) > 0).all()
    first = rounds[0]
    assert first.entered == ["a", "b", "link"][int(np.argmax(first.worth / first.costs))]
    assert first.left == "link"
    apart = [float(np.abs(np.log(one.worth / one.costs)).max()) for one in rounds]
    assert apart[-1] < 0.3 * apart[0]


def test_entry_needs_a_cost_for_each_machine() -> None:
    with pytest.raises(WardropError, match="one above 0 for each machine"):
        next(entry_and_exit(four_services(), [1.0, 0.0, 1.0]))
