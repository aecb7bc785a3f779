"""Market files: those that ship, and every mistake of a file reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pricing.errors import ScenarioError
from topologies.market import MARKETS, load, names, parse

GOOD: dict[str, Any] = {
    "name": "good",
    "title": "two nodes",
    "provenance": "made up",
    "currency": "EUR",
    "periods": {"count": 2},
    "nodes": {"A": {"energy": "72 EUR/MWh", "energy_factors": [1, 0.5], "site": "0.1 EUR/Mwork"}, "B": {}},
    "cables": [{"ends": ["A", "B"], "capacity": "1 Gbit/s", "delay": "5 ms", "fee": "8 EUR/TB"}],
    "assets": {"gpu": {"node": "A", "capacity": "2 Mwork/s", "energy": "10 J/work", "upkeep": "0.4 EUR/Mwork"}},
    "workloads": {"chat": {"compute": 1, "request": "5 bytes", "response": "20 bytes", "limit": "50 ms",
                           "value": "20 EUR/Mtoken", "factors": [1, 2]}},
    "demand": [{"region": "B", "workload": "chat", "rate": "3 ktoken/s"}],
}  # fmt: skip


def changed(**parts: Any) -> str:
    return yaml.safe_dump({**GOOD, **parts})


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse(text, Path("x.yaml"))
    return caught.value.problems


def test_a_file_means_what_it_says() -> None:
    market = parse(changed(), Path("x.yaml")).market
    (asset,) = market.assets
    # 10 J at 72 EUR/MWh is 0.2 millionths; upkeep and site 0.5 more; half the energy price in the second period
    assert asset.costs == pytest.approx((0.7e-6, 0.6e-6))
    assert asset.capacity == 2e6
    assert market.fees == pytest.approx((1e-12, 1e-12))
    assert (market.workloads[0].bits_out, market.workloads[0].bits_back, market.workloads[0].limit) == (40, 160, 0.05)
    assert [(d.period, d.rate) for d in market.demands] == [(0, 3e3), (1, 6e3)]
    assert market.demands[0].steps[0].value == pytest.approx(2e-5)
    assert market.links[0].propagation == 5e-3


@pytest.mark.parametrize("name", names())
def test_markets_that_ship_are_named_as_their_files_and_labelled_as_ours(name: str) -> None:
    found = load(name)
    assert found.market.name == name
    assert found.path == MARKETS / f"{name}.yaml"
    assert "Wardrop's own" in found.title
    assert "not the paper's" in found.provenance


def test_mistakes_of_every_kind_are_all_reported_at_once() -> None:
    nodes = {"A": {"energy": "72 USD/MWh"}, "B": {}}
    demand = [
        {"region": "B", "workload": "chat", "rate": "-3 ktoken/s"},
        {"region": "C", "workload": "caht", "rate": "3 ktoken/s"},
        {"region": "A", "workload": "chat"},
    ]
    found = problems(changed(nodes=nodes, demand=demand, cables=[{"ends": ["A", "B"], "capacity": "1 furlong"}]))
    beginnings = [
        "cables[0].capacity: found '1 furlong'; accepted: a number above 0 with its unit",
        "demand[0].rate: found '-3 ktoken/s'; accepted: a number above 0 with its unit",
        "nodes.A.energy: found USD; accepted: EUR, the currency of this file",
        "demand[1].region: found 'C', which is not in nodes",
        "demand[1].workload: found 'caht', which is not in workloads; did you mean 'chat'?",
        "demand[2]: found neither of 'rate' and 'steps'",
    ]
    for beginning in beginnings:
        assert any(problem.startswith(beginning) for problem in found), (beginning, found)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"workloads": {"chat": {**GOOD["workloads"]["chat"], "limit": "9 ms"}}}, "limit of 9 ms, but the nearest"),
        ({"cables": []}, "no route there and back"),
        ({"assets": {"gpu": {**GOOD["assets"]["gpu"], "workloads": []}}}, "no asset runs it"),
        ({"demand": []}, "demand: found none"),
        ({"currency": "euro"}, "currency: found 'euro'; accepted: three capitals"),
        ({"workloads": {"chat": {**GOOD["workloads"]["chat"], "factors": [1]}}}, "found 1 numbers; accepted: 2"),
        ({"demand": GOOD["demand"] * 2}, "demand[1]: found a second demand of B for chat"),
        ({"nodes": {"A": {}, "B": {}, "chat": {}}}, "'chat', which is in nodes too"),
        ({"assets": {"gpu": {**GOOD["assets"]["gpu"], "upkeep": "0.4 EUR/hour"}}}, "such as '20 USD/Mwork'"),
        ({"nodes": 3}, "nodes: found 3"),
    ],
)  # fmt: skip
def test_each_mistake_is_said(parts: dict[str, Any], said: str) -> None:
    assert any(said in problem for problem in problems(changed(**parts))), problems(changed(**parts))


def test_an_unknown_name_is_met_with_a_near_one() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'us-5'"):
        load("us5")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load("nowhere.yaml")
    for text in ("", "nodes: [", "- 3"):
        assert len(problems(text)) == 1
