"""What the rows of a market do: a step that is served and priced, and a cable that can be spared."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.faults.reclearing import STEP, dispensable, growing, known_and_cleared, market_lacks
from pricing.errors import WardropError
from pricing.market.dispatch import LEAST, dispatch
from pricing.outage import Outage, remains
from pricing.problem import problem_of
from topologies import scenario as scenarios

NETWORK = scenarios.load("us-5").network
RATES = problem_of(NETWORK).rates


def test_the_step_is_served_in_full_at_a_higher_price() -> None:
    place = growing(NETWORK)
    name, stepped = NETWORK.sessions[place].name, RATES.copy()
    stepped[place] *= STEP
    before, after = dispatch(NETWORK, RATES), dispatch(NETWORK, stepped)
    assert after.served.min() > 1 - LEAST
    assert after.quotes.sessions[name] > 1.05 * before.quotes.sessions[name]
    short = replace(NETWORK, servers=tuple(replace(one, capacity=one.capacity / 2) for one in NETWORK.servers))
    with pytest.raises(WardropError, match="no session that can be served"):
        growing(short)


def test_without_the_cable_everything_is_served_still() -> None:
    key = dispensable(NETWORK)
    left = remains(NETWORK, Outage(frozenset({key, key[::-1]}))).network
    assert dispatch(left, problem_of(left).rates).served.min() > 1 - LEAST
    loads = dispatch(NETWORK, RATES).quotes.links
    assert loads[key].load + loads[key[::-1]].load > 0.5 * NETWORK.links[NETWORK.link_index[key]].capacity


def test_a_network_without_costs_is_no_market() -> None:
    assert not market_lacks(NETWORK)
    assert "costs" in market_lacks(scenarios.load("abilene").network)


class Told(SimpleNamespace):
    """Ticks as a running network tells them: whether the demand is known, and the age of what was cleared."""

    lines: list[tuple[bool, int]]

    def until(self, wanted: Any) -> tuple[int | None, list[Any]]:
        told = [{"known": known, "market": {"age": age}} for known, age in self.lines]
        before = list(takewhile(lambda line: not wanted(line), told))
        self.lines = self.lines[len(before) + 1 :]
        return (len(before) + 1, told[: len(before) + 1]) if len(before) < len(told) else (None, told)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([(False, 0), (True, 1), (True, 2), (True, 0)], (2, 2)),
        ([(False, 1), (True, 0), (True, 1)], (2, 0)),
        ([(True, 1), (True, 2)], (1, None)),
        ([(False, 1), (False, 0)], (None, None)),
        ([], (None, None)),
    ],
)
def test_a_demand_that_never_becomes_known_is_not_cleared(
    lines: list[tuple[bool, int]], found: tuple[int | None, int | None]
) -> None:
    assert known_and_cleared(Told(lines=lines), lambda line: bool(line["known"])) == found  # type: ignore[arg-type]
