"""The rows of the table on real packets, shortened: a ring of four, two servers, a tick of 0.3 s.

What depends on how quiet the machine is decides nothing here. That a killed controller's rules are adopted, and that a
switch which returns gets the difference alone, is in `tests/controller/test_surviving_emulated.py`. Switches that
answer late or never are waited for, and a server's link fails as others do: `bin/wardrop faults` alone runs these.
"""

from __future__ import annotations

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

ELSEWHERE = {"controller", "switch", "server-link", "late", "silent"}

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


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Every row, run once."""
    scenario = Scenario("ring", "", "", RING, Control(TICK_S, 128), Path("ring.yaml"))
    options = Options(metrics="127.0.0.1:19466", wait=300.0)
    rows = [row for row in chosen([]) if row.name not in ELSEWHERE]
    return {outcome.row.name: outcome for outcome in run(scenario, rows, options, 1, LENGTH_S).outcomes}


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ELSEWHERE])
def test_what_must_be_seen_is_seen(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    broken = {figure.name: outcome.figures.get(figure.name) for figure in outcome.broken if not figure.timing}
    assert not broken, outcome.figures
    assert outcome.figures["packets"], "nothing was under load"
