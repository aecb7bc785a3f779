"""Sensitivity: by hand, and against differences of the optimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_networks import abilene, anycast, cables, network, paper

from pricing.joint.optimum import optimum
from pricing.network import Network, Server
from pricing.problem import problem_of
from pricing.sensitivity import sensitivity

ABILENE = abilene(0.9, capacity=0.9e6)


def least(net: Network, rates: np.ndarray | None = None) -> float:
    """The least total cost, s·bit/s."""
    offered = problem_of(net).rates if rates is None else rates
    return optimum(net, offered).certificate.primal * float(offered.sum())


def test_one_queue_by_hand() -> None:
    net = network(cables(("a", "b", 1e9)), [Server("s", "b", 4.0)], [anycast("k", "a", ["s"], 3.0)])
    found = sensitivity(net, optimum(net).allocation)
    # x/(mu - x): by x it is mu/(mu - x)^2 = 4, by mu -x/(mu - x)^2 = -3.
    assert found.demand == pytest.approx([4.0])
    assert found.servers == pytest.approx([-3.0])
    assert found.links == pytest.approx([0.0, 0.0], abs=1e-9)


@pytest.mark.parametrize("net", [paper(), ABILENE], ids=["paper", "abilene"])
def test_one_more_bit_of_demand(net: Network) -> None:
    problem = problem_of(net)
    found = sensitivity(net, optimum(net).allocation)
    for k in (0, 2):
        by = 1e-3 * problem.rates.sum() * (np.arange(len(problem.rates)) == k)
        by[k] = min(by[k], 0.5 * problem.rates[k])
        change = least(net, problem.rates + by) - least(net, problem.rates - by)
        assert found.demand[k] == pytest.approx(change / (2 * by[k]), rel=1e-3)


@pytest.mark.parametrize("net", [paper(), ABILENE], ids=["paper", "abilene"])
def test_more_capacity_at_servers_and_links(net: Network) -> None:
    found = sensitivity(net, optimum(net).allocation)
    for j, server in enumerate(net.servers[:2]):
        by = 1e-3 * server.capacity
        costs = [
            least(replace(net, servers=tuple(replace(s, capacity=s.capacity + d * (s is server)) for s in net.servers)))
            for d in (by, -by)
        ]
        assert found.servers[j] == pytest.approx((costs[0] - costs[1]) / (2 * by), rel=1e-3)
    busiest = int(np.argmin(found.links))
    link = net.links[busiest]
    by = 1e-3 * link.capacity
    costs = [
        least(replace(net, links=tuple(replace(e, capacity=e.capacity + d * (e is link)) for e in net.links)))
        for d in (by, -by)
    ]
    assert found.links[busiest] == pytest.approx((costs[0] - costs[1]) / (2 * by), rel=1e-3)


@pytest.mark.parametrize("net", [paper(), ABILENE], ids=["paper", "abilene"])
def test_demand_never_pays_and_capacity_never_costs(net: Network) -> None:
    found = sensitivity(net, optimum(net).allocation)
    assert (found.demand > 0).all()
    assert (found.links <= 0).all()
    assert (found.servers < 0).all()
