"""Prices, welfare and their derivatives; values of services; economies that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from economies import alone, at, drawn, four_services
from small_networks import abilene

from pricing.errors import Infeasible, ScenarioError, WardropError
from pricing.priority.economy import Economy, Machine, Program, Service, Visit, machines_of, program_of
from pricing.priority.sizes import Size, exponential
from pricing.priority.solve import starting_points
from pricing.priority.state import State, rental_prices
from pricing.priority.values import Isoelastic, Log, Quadratic, Value, checked, table
from pricing.priority.waits import single
from pricing.problem import Problem
from pricing.routes import nearest_routes

VALUES: list[Value] = [Quadratic(5, 2), Log(3, 0.4), Isoelastic(2, 1.7), table([0.3, 1, 2, 4], [3, 8, 11, 13])]


def test_printed_prices() -> None:
    gamma = np.array([[2 * 0.3, 1 * 0.5]])
    found = rental_prices(single([0.3, 0.5], 1.0), gamma, np.ones(1))
    assert found.linear[0] == pytest.approx([19.3469387755, 14.2857142857])
    assert found.quadratic == pytest.approx([4.4285714286])
    assert found.price(exponential(1.0))[0] == pytest.approx([23.7755102041, 18.7142857143])
    three = rental_prices(single([0.2, 0.3, 0.25], 1.0), np.array([[0.6, 0.6, 0.25]]), np.ones(1))
    assert three.price(exponential(1.0))[0] == pytest.approx([17.609375, 15.5, 10.25])


def test_price_of_one_class_is_the_closed_form() -> None:
    queue, gamma, v, q = single([0.6], 1.0, 0.5), 0.9, 1.0, 2.0
    rho, residual = 0.6, 0.6 * 0.75
    wanted = gamma * (0.5 * (q / v) ** 2 / (1 - rho) + residual * (q / v) / (1 - rho) ** 2)
    assert rental_prices(queue, np.array([[gamma]]), np.ones(1)).price(Size(q))[0, 0] == pytest.approx(wanted)


def test_base_is_quadratic_and_premium_linear_in_size() -> None:
    prices = State(four_services(), next(iter(starting_points(four_services(), 1, 1)))).rental
    sizes = [Size(q) for q in (1.0, 2.0, 3.0, 4.0)]
    base, premium = (np.array([part(size) for size in sizes]) for part in (prices.base, prices.premium))
    assert np.diff(base, 3, axis=0) == pytest.approx(0, abs=1e-12)
    assert np.diff(premium, 2, axis=0) == pytest.approx(0, abs=1e-12)
    assert (premium[:, :, -1] == 0).all()
    assert np.array([prices.price(s) for s in sizes]) == pytest.approx(base[:, :, None] + premium)


@pytest.mark.parametrize("seed", range(6))
def test_prices_are_derivatives_of_welfare(seed: int) -> None:
    economy = drawn(seed)
    x = economy.scale * np.random.default_rng(seed).uniform(0.2, 1.0, len(economy.scale))
    x *= 0.7 / economy.load(x).max()
    state = State(economy, x)
    step = 1e-6 * economy.scale
    moves = np.eye(len(x)) * step
    up, down = ([State(economy, x + sign * move) for move in moves] for sign in (1, -1))
    slope = np.array([(u.welfare - d.welfare) for u, d in zip(up, down, strict=True)]) / (2 * step)
    assert -state.slack == pytest.approx(slope, rel=1e-6, abs=1e-7)
    bend = np.array([(u.slack - d.slack) for u, d in zip(up, down, strict=True)]).T / (2 * step)
    assert state.slack_slopes == pytest.approx(bend, rel=1e-5, abs=1e-6)
    assert state.slack_slopes == pytest.approx(state.slack_slopes.T, rel=1e-9)
    free = replace(state, priced=False)
    up, down = ([replace(s, priced=False) for s in states] for states in (up, down))
    bend = np.array([(u.slack - d.slack) for u, d in zip(up, down, strict=True)]).T / (2 * step)
    assert free.slack_slopes == pytest.approx(bend, rel=1e-5, abs=1e-6)


def test_accounts_add_up() -> None:
    economy = four_services()
    state = State(economy, list(starting_points(economy, 6, 2))[-1])
    assert state.net_benefits.sum() + state.revenue == pytest.approx(state.welfare)
    assert state.machine_revenue.sum() == pytest.approx(state.revenue)
    assert replace(state, priced=False).revenue == 0
    assert state.throughput[0] == pytest.approx(1 / 4 + state.waits[0, 0] + state.waits[2, 0])


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_values_fit_their_parts(value: Value) -> None:
    assert checked(value, 2.4) is value
    rates = np.linspace(0.05, 2.3, 40)
    for rate in rates:
        step = 1e-6
        slope = (value.value(rate + step) - value.value(rate - step)) / (2 * step)
        assert value.marginal(rate) == pytest.approx(slope, rel=1e-5, abs=1e-7)
    assert value.demand(1e9) < 1e-9
    assert value.value(0.0) == 0
    assert value.marginal(0.0) > value.marginal(0.05)


def test_table_goes_through_its_points() -> None:
    rates, worth = [0.3, 1, 2, 4], [3, 8, 11, 13]
    found = table(rates, worth)
    assert [found.value(rate) for rate in rates] == pytest.approx(worth)
    assert (np.diff(found.marginals) < 0).all()


@dataclass(frozen=True)
class Bumpy(Quadratic):
    """Convex beyond 1."""

    def marginal(self, rate: float) -> float:
        return super().marginal(rate) + 8 * max(0.0, rate - 1)

    def bend(self, rate: float) -> float:
        return super().bend(rate) + 8 * (rate > 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: table([1, 2, 3], [5, 8, 12]), r"not strictly concave at X = 2"),
        (lambda: table([1, 2], [5, 10]), r"not strictly concave at X = 1"),
        (lambda: table([1, 2, 3], [5, 8, 7]), r"does not grow towards X = 3"),
        (lambda: table([1, 1], [5, 8]), "each rate once"),
        (lambda: table([1, 2], [5]), "as many values"),
        (lambda: Quadratic(5, -1), "b = -1"),
        (lambda: Log(0, 1), "a = 0"),
        (lambda: Isoelastic(1, 0.9), "elasticity above 1"),
        (lambda: checked(Bumpy(5, 2), 2.0, "value of x"), r"value of x at X = 1\.0.*concave"),
    ],
)
def test_values_that_are_not_concave_are_refused(make: Callable[[], Value], said: str) -> None:
    with pytest.raises(WardropError, match=said):
        make()


def test_every_problem_of_an_economy_at_once() -> None:
    with pytest.raises(ScenarioError) as refused:
        Economy(
            [Machine("m", 0.0), Machine("m", 1.0, servers=2)],
            [
                Service("s", Quadratic(1, 1), -1.0, [at("x", 1.0), Program("none", [])]),
                Service("t", Quadratic(1, 1), 1.0, [Program("p", [Visit("m", Size(1.0)), Visit("m", Size(2.0), 0)])]),
                Service("u", Quadratic(1, 1), 1.0, []),
            ],
            classes=65,
        )
    text = str(refused.value)
    for said in (
        "classes: 65; 1 to 64",
        "machine m: twice",
        "speed 0",
        "delay cost -1",
        "unknown machine x",
        "program none: no visit",
        "0 visits to m",
        "service u: no program",
        "exponential jobs of one mean",
    ):
        assert said in text


def test_delay_that_costs_nothing() -> None:
    assert alone(Quadratic(1, 2), delay_cost=0.0).classes == 1
    with pytest.raises(Infeasible, match="no price would keep the load below") as refused:
        alone(Quadratic(4, 2), delay_cost=0.0)
    assert refused.value.resources == ("m",)
    with pytest.raises(Infeasible):
        alone(Log(1, 1), delay_cost=0.0)


def test_a_route_is_a_program_and_its_price_the_sum_over_its_machines() -> None:
    network = abilene()
    session = network.sessions[0]
    problem = Problem(network)
    machines = machines_of(network)
    routes = nearest_routes(network, session, 2)
    services = [Service(session.name, Quadratic(1e3, 1.0), 1.0, [program_of(network, route) for route in routes])]
    economy = Economy(machines, services, 2)
    for n, (_, p, _) in enumerate(economy.options):
        index, amount = problem.usage(routes[p])
        used = np.zeros(len(machines))
        used[index] = amount * session.frame_bits / problem.capacity[index]
        assert economy.time[n] == pytest.approx(used), "the load that the one model gives a route"
    state = State(economy, economy.scale * 0.1)
    for n, (_, p, k) in enumerate(economy.options):
        price = sum(
            visit.count * state.rental.price(visit.size)[[m.name for m in machines].index(visit.machine), k]
            for visit in services[0].programs[p].visits
        )
        assert state.rents[n] == pytest.approx(price)
