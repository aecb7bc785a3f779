"""The front door: names, and where each policy ends up without a network."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import abilene, paper

from pricing.errors import Infeasible, WardropError
from pricing.joint.certificate import certify
from pricing.joint.optimum import optimum
from pricing.policy import POLICIES, get_policy, nominal_loads, solve
from pricing.shortest import shortest_path
from pricing.values import Loads


def test_policies_know_their_names_and_say_what_they_do_in_a_line() -> None:
    first = ["shortest-path", "ecmp", "joint", "joint-distributed", "user-equilibrium", "tolled"]
    assert list(POLICIES)[: len(first)] == first
    for name, policy in POLICIES.items():
        assert policy.name == name
        assert policy.summary
        assert "\n" not in policy.summary


def test_an_unknown_policy_is_answered_with_the_nearest() -> None:
    assert get_policy("ecmp") is POLICIES["ecmp"]
    with pytest.raises(WardropError, match=r"unknown policy 'shortst', accepted are .*did you mean 'shortest-path'"):
        get_policy("shortst")


NO_SERVERS = {"ucnc", "dcnc", "gdcnc", "gdcnc-r", "egdcnc", "egdcnc-r"}
"""Policies that refuse anycast sessions."""


@pytest.mark.parametrize(
    "name", [name for name, policy in POLICIES.items() if name not in NO_SERVERS and not policy.asked]
)
def test_every_policy_settles_and_is_certified(name: str) -> None:
    net = paper()
    found = solve(net, POLICIES[name])
    assert found.settled
    assert found.policy == name
    assert found.evaluation.objective == pytest.approx(found.certificate.primal)
    gap = {"joint": 1e-8, "joint-distributed": 1e-4}.get(name)
    assert gap is None or found.certificate.gap <= gap
    assert found.certificate.dual <= optimum(net).certificate.primal * (1 + 1e-9)


def test_priced_policies_beat_the_shortest_path() -> None:
    net = abilene(0.6)
    shortest = solve(net, POLICIES["shortest-path"]).evaluation.mean_delay
    assert solve(net, POLICIES["joint"]).evaluation.mean_delay < shortest
    assert solve(net, POLICIES["joint-distributed"], rounds=60).evaluation.mean_delay < shortest


def test_demand_beyond_capacity_is_told() -> None:
    for name in ("joint", "joint-distributed"):
        with pytest.raises(Infeasible, match="too much"):
            solve(abilene(1.3), POLICIES[name])


def test_the_central_policy_follows_offered_rates_and_survives_their_absence() -> None:
    net = abilene(0.75)
    loads = nominal_loads(net, shortest_path(net))
    silent = Loads(0 * loads.links, 0 * loads.servers, 0 * loads.offered)
    first = POLICIES["joint"].decide(net, silent, None)
    second = POLICIES["joint"].decide(net, loads, first.state)
    less = Loads(loads.links, loads.servers, 0.5 * loads.offered)
    third = POLICIES["joint"].decide(net, less, second.state)
    assert second.allocation == pytest.approx(optimum(net).allocation) or np.allclose(
        nominal_loads(net, second.allocation).servers, nominal_loads(net, optimum(net).allocation).servers, rtol=1e-3
    )
    best = optimum(net, less.offered)
    assert certify(net, third.allocation, less.offered, best.allocation).gap < 1e-6
