"""Pigou and Braess as they ship: what their headers say."""

from __future__ import annotations

import pytest

from pricing.outage import Outage, remains
from pricing.policy import POLICIES, Solution, solve
from topologies.scenario import load


def solved(name: str, policy: str, without: str = "") -> Solution:
    network = load(name).network
    failed = frozenset(link.key for link in network.links if str(link) == without)
    return solve(remains(network, Outage(failed)).network, POLICIES[policy])


@pytest.mark.parametrize(("name", "selfish", "best"), [("pigou", 10.06, 7.15), ("braess", 13.00, 8.94)])
def test_selfish_optimal_and_tolled(name: str, selfish: float, best: float) -> None:
    delays = {
        policy: solved(name, policy).evaluation.mean_delay * 1e3 for policy in ("user-equilibrium", "joint", "tolled")
    }
    assert delays["user-equilibrium"] == pytest.approx(selfish, abs=0.005)
    assert delays["joint"] == pytest.approx(best, abs=0.005)
    assert delays["tolled"] == pytest.approx(delays["joint"], rel=1e-5)


def test_the_selfish_leave_pigous_slow_servers_alone() -> None:
    loads = solved("pigou", "user-equilibrium").evaluation.loads
    assert loads.servers[1:] == pytest.approx([0.0] * 4)


def test_a_link_less_is_faster_for_all() -> None:
    with_it, without = (
        solved("braess", "user-equilibrium", less).evaluation.mean_delay for less in ("", "North->South")
    )
    assert without * 1e3 == pytest.approx(8.94, abs=0.005)
    assert without < with_it
    best, less = (solved("braess", "joint", link).evaluation.mean_delay for link in ("", "North->South"))
    assert best <= less * (1 + 1e-9)
