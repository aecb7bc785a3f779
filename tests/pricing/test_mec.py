"""The mobile edge computing case: water-filling against a solver, path loss, association, walks, both instances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from pricing.multicast.backpressure import gdcnc
from pricing.multicast.mec import Case, frozen, mobile, scene, walk
from pricing.multicast.region import least_cost
from pricing.multicast.simulate import Setting, simulate
from pricing.multicast.universal import UCNC
from pricing.multicast.wireless import Air, Radio, by_weight, capacities, path_gain, uniform, water_filling

SMALL = Case(users=6, grid=2, side=160.0, destinations=2)


@pytest.mark.parametrize("toll", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_water_filling_is_the_optimum(seed: int, toll: float) -> None:
    random = np.random.default_rng(seed)
    worth, gain, budget = random.uniform(0.1, 5, 5), random.uniform(0.05, 20, 5), 2.0

    def loss(p: np.ndarray) -> float:
        return float(toll * p.sum() - worth @ np.log2(1 + gain * p))

    found = water_filling(worth, gain, budget, toll)
    best = minimize(
        loss,
        np.full(5, 0.1),
        bounds=[(0, None)] * 5,
        constraints={"type": "ineq", "fun": lambda p: budget - p.sum()},
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 500},
    )
    assert found.sum() <= budget * (1 + 1e-12)
    theirs = np.maximum(best.x, 0) * min(1.0, budget / best.x.sum())  # its answer keeps its limits to rounding only
    assert loss(found) <= loss(theirs) + 1e-9


def test_water_filling_meets_its_conditions() -> None:
    """One level for all open links, above which closed ones would open: (15) with one multiplier."""
    worth, gain = np.array([3.0, 1.0, 0.0, 2.0, 0.001]), np.array([1.0, 2.0, 5.0, 0.0, 1.0])
    power = water_filling(worth, gain, 4.0, 0.0)
    assert power.sum() == pytest.approx(4.0)
    assert power[[2, 3, 4]].tolist() == [0, 0, 0]
    level = (power[:2] + 1 / gain[:2]) / worth[:2]
    assert level[0] == pytest.approx(level[1])
    assert level[0] <= 1 / (worth[4] * gain[4])
    assert not water_filling(np.zeros(3), np.ones(3), 4.0, 0.0).any()


def test_a_dear_joule_leaves_power_unused() -> None:
    power = water_filling(np.array([1.0]), np.array([1.0]), 100.0, 0.5)
    assert power[0] == pytest.approx(2 / np.log(2) - 1)


def pair() -> Air:
    """One user and two edge servers, links up and down."""
    up = np.array([True, False, True, False])
    return Air(Radio(), np.arange(4), np.zeros(4, dtype=np.int64), np.array([0, 0, 1, 1]), up)


def test_one_edge_server_a_user() -> None:
    air = pair()
    near_first = np.array([9.0, 9.0, 4.0, 4.0])
    assert (uniform(air, near_first) > 0).tolist() == [True, True, False, False]
    # The nearer one is nothing to talk to when nothing weighs there.
    weight = np.array([0.0, 0.0, 1.0, 0.0])
    assert (by_weight(air, near_first, weight, 0.0) > 0).tolist() == [False, False, True, False]
    assert by_weight(air, near_first, weight, 0.0)[2] == pytest.approx(air.radio.user_power)


def test_power_by_weight_is_worth_more_than_uniform() -> None:
    """For the same weights (15) carries at least the weight that equal shares carry."""
    case, random = Case(), np.random.default_rng(5)
    _, medium = mobile(case, 10, "uniform")
    air = medium.air
    gain = scene(case).gains(case.radio)[air.user, air.server]
    for _ in range(20):
        weight = random.exponential(1.0, len(gain)) * (random.random(len(gain)) < 0.5)
        worths = [
            weight @ capacities(gain, p, case.radio) for p in (by_weight(air, gain, weight, 0.0), uniform(air, gain))
        ]
        assert worths[0] >= 0.95 * worths[1]
        power = by_weight(air, gain, weight, 0.0)
        talks = np.unique(np.stack([air.user, air.server])[:, power > 0], axis=1)
        assert np.bincount(talks[0]).max() == 1
        for server in range(4):
            assert power[(air.server == server) & ~air.upward].sum() <= case.radio.server_power * (1 + 1e-9)


def test_path_loss_of_a_microcell() -> None:
    radio = replace(Radio(), carrier=10e9, bandwidth=1.0, noise=1.0, reach=1e4)
    assert -10 * np.log10(path_gain(np.array([100.0]), np.array([6.0]), radio)) == pytest.approx(32.4 + 42 + 20 + 6)


def test_walks_stay_inside_and_spread() -> None:
    case = replace(SMALL, step=1.0)
    paths = walk(case, scene(case).users, 4000)
    assert np.abs(paths).max() <= case.side / 2
    steps = np.diff(paths, axis=0)
    assert np.median(np.abs(steps)) == pytest.approx(0.6745, rel=0.03)
    assert np.abs(paths[0] - scene(case).users).max() < 1e-4


def test_frozen_case_is_a_linear_program() -> None:
    case = Case()
    instance = frozen(case)
    assert len(instance.nodes) == 12
    assert len(instance.links) == 2 * 8 + 8
    assert all(sum(link.src == f"u{i}" for link in instance.links) == 1 for i in range(1, 9))
    assert least_cost(instance, None, 3.0).cost > 0


@pytest.mark.parametrize("power", ["uniform", "by weight"])
def test_mobile_case_runs_and_counts_its_power(power: str) -> None:
    case = replace(SMALL, rate=1.0)
    instance, medium = mobile(case, 1000, power)  # type: ignore[arg-type]
    run = simulate(instance, UCNC() if power == "uniform" else gdcnc(), Setting(1000, 500), medium)
    assert run.owed[-1].sum() < run.arrivals.sum()  # of the two copies of each packet more than half were delivered
    # With nothing in the queues no link weighs anything: equal shares are sent all the same, (15) sends nothing.
    most = case.radio.slot * (6 * case.radio.user_power + 4 * case.radio.server_power)
    assert medium(0, np.zeros(len(instance.resources)))[1] == pytest.approx(most if power == "uniform" else 0.0)
    assert run.real_cost > 0
