"""The table: every row by name, and one run through some of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.faults import wandering
from experiments.faults.counting import COUNTERS
from experiments.faults.failing import LINK, SERVER, SERVER_LINK
from experiments.faults.ground import Ground, spare_cables
from experiments.faults.hitless import HITLESS, roomy
from experiments.faults.overloading import OVERLOAD
from experiments.faults.packets import Packets
from experiments.faults.refusing import LATE, REFUSAL, SILENT
from experiments.faults.restarting import CONTROLLER, OPEN_VSWITCH, SWITCH
from experiments.faults.rows import Outcome, Row, Seen
from experiments.running.campaign import OPEN_END_S, Options, campaign
from experiments.running.machine import Watch
from pricing.errors import WardropError
from topologies.capture import Capture
from topologies.scenario import Scenario

SURVIVING = (
    *(LINK, SERVER, SERVER_LINK, CONTROLLER, OPEN_VSWITCH, SWITCH),
    *(REFUSAL, LATE, SILENT, COUNTERS, OVERLOAD),
)
"""Rows that are run one after the other on the scenario, under `joint-distributed`."""

ROWS: dict[str, Row] = {row.name: row for row in (HITLESS, *SURVIVING)}
"""Every row by name."""

WANDERING = f"{Path(wandering.__file__)}:{wandering.decide.__name__}"
"""The policy under which `hitless` is run, for the controller to load."""

DRAIN_S = 2.0
"""Time after a row, before anything else fails or the traffic ends: its last packets are on their way (ours)."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Done:
    """A row that was run, and when; what became of its packets is known when the traffic has ended."""

    row: Row
    seen: Seen
    start: float
    end: float


@dataclass(frozen=True)
class Table:
    """What was seen of rows that were run, on which datapath, what part of the CPU time was stolen meanwhile, and files
    that were captured."""

    outcomes: tuple[Outcome, ...]
    datapath: str
    netem: bool
    steal: float | None
    captures: tuple[Capture, ...] = ()

    def machine(self, framework: str, versions: Mapping[str, str]) -> dict[str, Any]:
        """`machine` of the file, in the words of the result file (docs/reference/report.md)."""
        told = {"datapath": self.datapath, "netem": self.netem, "framework": framework, "versions": dict(versions)}
        return told | {"steal": self.steal}


def chosen(names: Sequence[str]) -> tuple[Row, ...]:
    """The rows of these names, in the table's order; all without any.

    Raises
    ------
    WardropError
        When there is none of a name.
    """
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise WardropError(f"--only {','.join(unknown)}: unknown; {', '.join(ROWS)} are accepted")
    return tuple(row for name, row in ROWS.items() if not names or name in names)


def run(
    scenario: Scenario, rows: Sequence[Row], options: Options, seed: int, duration: float, say: Say = lambda _: None
) -> Table:
    """Run rows of the table.

    Parameters
    ----------
    duration : float
        Length of the row `hitless`, s.
    say : callable
        Told what is being done.

    Raises
    ------
    WardropError
        When nothing of the scenario could fail without harm, or something died that nobody killed.
    """
    network = scenario.network
    served = any(session.kind == "anycast" and len(session.destinations) > 1 for session in network.sessions)
    if not served or not spare_cables(network):
        raise WardropError(
            f"{scenario.name}: needed are a service on two servers or more, and a cable without which the "
            "network hangs together; abilene has both"
        )
    found: list[Table] = []
    if HITLESS in rows:
        roomy_one = replace(scenario, network=roomy(network))
        found.append(_run(roomy_one, WANDERING, (HITLESS,), _below(options, "hitless"), seed, duration, say))
    rest = [row for row in rows if row is not HITLESS]
    if rest:
        found.append(_run(scenario, "joint-distributed", rest, _below(options, "faults"), seed, OPEN_END_S, say))
    outcomes = tuple(outcome for part in found for outcome in part.outcomes)
    stolen = [part.steal for part in found if part.steal is not None]
    captures = tuple(capture for part in found for capture in part.captures)
    return replace(found[0], outcomes=outcomes, steal=max(stolen, default=None), captures=captures)


def _below(options: Options, name: str) -> Options:
    """The options with captures in a folder of their own: each network has the same hosts."""
    return replace(options, pcap=options.pcap / name) if options.pcap else options


def _run(
    scenario: Scenario, policy: str, rows: Sequence[Row], options: Options, seed: int, length: float, say: Say
) -> Table:
    """Run rows on one network, one after the other, under one stream of packets."""
    done: list[_Done] = []
    say(f"network up: {scenario.name}")
    with campaign(scenario, policy, options) as up, Watch() as machine:
        with up.traffic(seed, length) as traffic:
            ground = Ground(up, traffic, seed, length, options.tick or scenario.control.tick)
            ground.settle()
            for row in rows:
                say(f"{row.name}: {row.done}")
                start = time.time()
                seen = row.run(ground)
                done.append(_Done(row, seen, start, time.time()))
                time.sleep(DRAIN_S)
        packets = Packets.of(traffic)
    outcomes, plant = tuple(_outcome(one, packets, machine) for one in done), up.emulation.plant
    stolen = [second.steal for second in machine.seconds]
    steal = float(np.mean(stolen)) if stolen else None
    return Table(outcomes, plant.datapath, plant.netem, steal, tuple(up.captures))


def _outcome(done: _Done, packets: Packets, machine: Watch) -> Outcome:
    stolen = [second.steal for second in machine.seconds if done.start - 1 < second.time < done.end]
    figures = {
        **done.seen.figures,
        **packets.between(done.start, done.end).figures(done.seen.moment),
        "steal": float(np.mean(stolen)) if stolen else None,
    }
    return Outcome(done.row, figures)


def described() -> str:
    """The rows as the documentation has them."""
    lines: list[str] = []
    for row in ROWS.values():
        lines += [f"### {row.name}", "", f"Done: {row.done}.", "", f"Must be seen: {row.wanted}.", ""]
        lines += ["| figure | unit | bound | meaning |", "|---|---|---|---|"]
        lines += [f"| {one.name} | {one.unit} | {one.bound} | {one.meaning} |" for one in row.figures]
        lines.append("")
    return "\n".join(lines)
