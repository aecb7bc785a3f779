"""`--test pricing`: the scenario's own traffic for some seconds, and what became of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from mininet.log import error, output

from pricing.errors import EmulationError
from topologies.mn.environment import answer
from topologies.mn.prompt import board, wait_ready
from topologies.mn.survey import survey

LOST = 0.01
"""Share of requests that do not arrive from which the test fails (ours)."""

START_S = 4.0
"""What the programs take to start, about (ours); prices are shown from the middle of the traffic."""


def pricing(net: Any, seconds: float = 15) -> None:
    """Send each session's traffic, and show delays, prices, splits and the gap.

    Parameters
    ----------
    net : Mininet
        With the controller `priced` and a topology from a scenario.
    seconds : float
        Of traffic: `--test pricing,seconds=30`.
    """
    try:
        wait_ready(net)
        seen = board(net)
        if seen.directory is None:
            raise EmulationError("the test needs our controller: start with `--controller priced`")
        scenario = survey().scenario
        if not scenario:
            raise EmulationError("the test needs a scenario's traffic: start with a `--topo` of the plugin's")
        load = [] if scenario["load"] is None else [f"--load={scenario['load']}"]
        where = [str(scenario["scenario"]), str(seen.directory), json.dumps(dict(seen.pids)), str(seconds)]
        with ThreadPoolExecutor(1) as running:
            traffic = running.submit(answer, "topologies.hosts.traffic", *where, *load)
            wait([traffic], timeout=START_S + seconds / 2)
            tables = [] if traffic.done() else [seen.prices(), seen.splits(), seen.gap()]
            found = json.loads(traffic.result())
        output("\n\n".join([*tables, _told(found)]) + "\n")
        arrived = sum(found["served"].values())
        if arrived < (1 - LOST) * found["sent"] or not found["sent"]:
            raise EmulationError(f"{found['sent'] - arrived} of {found['sent']} requests did not arrive")
    except EmulationError as failure:
        error(f"*** pricing: failed: {failure}\n")
    else:
        output("*** pricing: passed\n")


def _told(found: dict[str, Any]) -> str:
    """What became of the requests, as a sentence."""
    shares = ", ".join(f"{name} {count}" for name, count in sorted(found["served"].items()))
    mean = "" if found["delay_s"] is None else f", {1e3 * found['delay_s']:.2f} ms on average"
    return f"{found['sent']} requests, {found['answered']} answered{mean}; served by {shares}"
