"""Late, lost and disordered prices, and capacities that move."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import PAPER_ACCESS, PAPER_RATES, PAPER_SERVERS

from pricing.joint.asynchronous import Channel, Form, Motion, simulate
from pricing.joint.printed import Instance

WORST = Channel(late=10.0, lost=0.3)


def instance(load: float | None = None) -> Instance:
    rates, servers = np.array(PAPER_RATES), np.array(PAPER_SERVERS)
    if load is not None:
        servers = servers * rates.sum() / (load * servers.sum())
    return Instance(rates, np.array(PAPER_ACCESS), servers)


@pytest.mark.parametrize("form", ["leased", "forecast"])
@pytest.mark.parametrize("load", [None, 0.85, 0.99])
def test_safe_forms_never_leave_the_feasible_set(form: Form, load: float | None) -> None:
    trace = simulate(instance(load), form, WORST, seconds=120, every=1, seed=3)
    assert trace.overloaded == 0.0
    assert trace.gaps[-1] <= trace.gaps[0]


@pytest.mark.parametrize("form", ["printed", "leased", "forecast"])
def test_all_forms_converge_where_the_servers_are_idle(form: Form) -> None:
    assert simulate(instance(), form, Channel(late=2.0, lost=0.1), seconds=200).reached(1e-3) < 150


def test_prompt_prices_bring_the_local_form_to_the_optimum() -> None:
    assert simulate(instance(), "leased", seconds=200).reached(1e-6) < 200


def test_late_prices_throw_the_printed_form_off_loaded_servers() -> None:
    assert simulate(instance(0.85), "printed", WORST, seconds=200).overloaded > 0.0


def test_the_same_seed_gives_the_same_run() -> None:
    one, same, other = (simulate(instance(0.6), "leased", WORST, seconds=60, seed=s) for s in (1, 1, 2))
    assert (one.gaps == same.gaps).all()
    assert (one.gaps != other.gaps).any()


def test_capacities_move_as_the_paper_has_it() -> None:
    base, rng = np.array([10.0, 20.0]), np.random.default_rng(0)
    still = Motion().capacities(base, 5, rng)
    assert (still == base).all()
    moving = Motion(amplitude=2.0, period=100.0).capacities(base, 200, rng)
    assert (moving.min(axis=0) == 0.2 * base).all()
    assert moving[:100] == pytest.approx(moving[100:])
    assert moving.max(axis=0) == pytest.approx(3 * base, rel=1e-3)
    assert np.std(Motion(noise=0.1).capacities(base, 5000, rng) / base) == pytest.approx(0.1, rel=0.05)


def test_a_moving_optimum_is_followed() -> None:
    trace = simulate(instance(0.5), "leased", motion=Motion(0.2, 300.0), seconds=300, every=10)
    assert trace.overloaded == 0.0
    assert trace.gaps[3:].mean() < 0.02


def test_times_are_those_from_which_on_it_stays() -> None:
    trace = simulate(instance(0.6), "forecast", seconds=40, every=1)
    after = trace.reached(1e-3)
    assert (trace.gaps[trace.times >= after] <= 1e-3).all()
    assert trace.gaps[trace.times == after - 1].max() > 1e-3
    assert trace.reached(-1.0) == np.inf
