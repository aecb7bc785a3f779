"""The rows of the table on real packets, shortened: a ring of four, two servers, a tick of 0.3 s.

What depends on how quiet the machine is decides nothing here. That a killed controller's rules are adopted, and that a
switch which returns gets the difference alone, is in `tests/controller/test_surviving_emulated.py`. Switches that
answer late or never are waited for, and a server's link fails as others do: `bin/wardrop faults` alone runs these.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.faults.rows import Outcome
from experiments.faults.table import ROWS, chosen, run
from experiments.running.campaign import Options
from pricing.network import Link, Network, Node, Server, Session
from topologies.scenario import Control, Scenario

pytestmark = [pytest.mark.emulated, pytest.mark.long]

TICK_S = 0.3
LENGTH_S = 4.0
"""Of the row `hitless`."""

GROUPS_S = 14.0
"""Of the row `members`: a member joins and leaves, and is away for long enough."""

ELSEWHERE = {"controller", "switch", "server-link", "late", "silent", "market-step", "market-link"}

OF_GROUPS = {"members", "tree"}

RING = Network(
    "ring",
    tuple(map(Node, "abcd")),
    tuple(Link(*ends, 2e6) for a, b in ("ab", "bc", "cd", "da") for ends in ((a, b), (b, a))),
    (Server("east", "b", 250.0), Server("west", "d", 250.0)),
    tuple(
        Session(f"from-{node}", node, "anycast", ("east", "west"), rate, response_bits=1000.0, service="web")
        for node, rate in (("a", 8e5), ("c", 6e5))
    ),
)


GROUPS = Network(
    "ring",
    RING.nodes,
    tuple(replace(link, queue=5000) for link in RING.links),
    (),
    (Session("group", "a", "multicast", ("b", "c", "d"), 4e5, group="239.1.1.1"),),
)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Every row, run once."""
    options = Options(metrics="127.0.0.1:19466", wait=300.0)
    found: dict[str, Outcome] = {}
    for network, length, names in ((RING, LENGTH_S, set(ROWS) - ELSEWHERE - OF_GROUPS), (GROUPS, GROUPS_S, OF_GROUPS)):
        scenario = Scenario("ring", "", "", network, Control(TICK_S, 128), Path("ring.yaml"))
        outcomes = run(scenario, chosen(sorted(names)), options, 1, length).outcomes
        found |= {outcome.row.name: outcome for outcome in outcomes}
    return found


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ELSEWHERE])
def test_what_must_be_seen_is_seen(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    broken = {figure.name: outcome.figures.get(figure.name) for figure in outcome.broken if not figure.timing}
    assert not broken, outcome.figures
    assert outcome.figures["packets"], "nothing was under load"
