"""The joint paper's Algorithm 1, against what it prints and what is true."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import PAPER_ACCESS, PAPER_RATES, PAPER_SERVERS

from pricing.joint.printed import Instance, best_response, proportional_start, run

OPTIMUM = 2.0157473649138


def instance(load: float | None = None) -> Instance:
    rates, servers = np.array(PAPER_RATES), np.array(PAPER_SERVERS)
    if load is not None:
        servers = servers * rates.sum() / (load * servers.sum())
    return Instance(rates, np.array(PAPER_ACCESS), servers)


def test_with_the_right_bracket_it_ends_at_the_optimum() -> None:
    found = run(instance())
    assert found.converged
    assert len(found.costs) == 38
    assert found.costs[-1] == pytest.approx(2.0157473658, abs=5e-11)
    assert found.costs[-1] / OPTIMUM - 1 == pytest.approx(4e-10, abs=1e-10)
    assert found.prices == pytest.approx([0.0087771, 0.0126550, 0.0063226], abs=5e-8)


def test_with_the_wrong_bracket_it_ends_where_the_paper_prints() -> None:
    found = run(instance(), from_largest=True)
    assert len(found.costs) == 38
    assert found.costs[-1] == pytest.approx(2.0159479318, abs=5e-11)
    assert found.flows.sum(axis=0) / PAPER_SERVERS == pytest.approx([0.158806, 0.139029, 0.102225], abs=5e-7)


def test_the_best_response_equalises_marginal_access_cost_plus_price() -> None:
    case, prices = instance(), np.array([0.01, 0.012, 0.006])
    flows = best_response(case, prices)
    assert flows.sum(axis=1) == pytest.approx(case.rates)
    cost = case.paths.marginal(flows) + prices
    cheapest = cost.min(axis=1, keepdims=True)
    assert np.abs(np.where(flows > 1e-9, cost - cheapest, 0.0)).max() < 1e-9


def test_it_starts_in_proportion_to_what_is_left() -> None:
    case = instance()
    flows = proportional_start(case)
    assert flows[0] == pytest.approx(case.rates[0] * case.access[0] / case.access[0].sum())
    assert flows.sum(axis=1) == pytest.approx(case.rates)


@pytest.mark.parametrize("load", [0.6, 0.85])
def test_on_loaded_servers_it_leaves_the_feasible_set(load: float) -> None:
    found = run(instance(load))
    assert not found.converged
    assert found.costs[-1] == np.inf
