"""The table: every row by name, and one run through some of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.faults import wandering
from experiments.faults.counting import COUNTERS
from experiments.faults.failing import LINK, SERVER, SERVER_LINK, TREE, sparing
from experiments.faults.ground import Ground, spare_cables
from experiments.faults.hitless import HITLESS, roomy
from experiments.faults.joining import MEMBERS, POLICY, comers, group_of, lively
from experiments.faults.overloading import OVERLOAD
from experiments.faults.packets import Packets
from experiments.faults.reclearing import MARKET_LINK, MARKET_STEP, market_lacks
from experiments.faults.refusing import LATE, REFUSAL, SILENT
from experiments.faults.restarting import CONTROLLER, OPEN_VSWITCH, SWITCH
from experiments.faults.rows import Figures, Outcome, Row, Seen
from experiments.running.campaign import OPEN_END_S, Options, campaign
from experiments.running.machine import Watch
from pricing.errors import MeasurementError, WardropError
from pricing.network import Network
from topologies.capture import Capture
from topologies.scenario import Scenario

WANDERING = f"{Path(wandering.__file__)}:{wandering.decide.__name__}"
"""The policy under which `hitless` is run, for the controller to load."""


SPARE = "a cable without which the network hangs together"


def _service_lacks(network: Network) -> str:
    several = any(session.kind == "anycast" and len(session.destinations) > 1 for session in network.sessions)
    return "" if several and spare_cables(network) else f"a service on two servers or more, and {SPARE}"


def _members_lack(network: Network) -> str:
    return "" if comers(network) else "a group of two destinations or more, the second of which ends no other session"


def _tree_lacks(network: Network) -> str:
    return "" if group_of(network) and spare_cables(network) else f"a group, and {SPARE}"


@dataclass(frozen=True)
class Bed:
    """What rows are run on together, one after the other: the scenario's network made fit for them, under a policy.

    Parameters
    ----------
    name : str
        Of its folder of captures.
    policy : str
    rows : tuple of Row
    lacks : callable
        What a network lacks for them; empty when it has everything.
    made : callable
        Their network, from the scenario's.
    timed : bool
        Whether the traffic is as long as `--duration`, and not until the rows are done.
    """

    name: str
    policy: str
    rows: tuple[Row, ...]
    lacks: Callable[[Network], str]
    made: Callable[[Network], Network] = lambda network: network
    timed: bool = False


SURVIVING = (
    *(LINK, SERVER, SERVER_LINK, CONTROLLER, OPEN_VSWITCH, SWITCH),
    *(REFUSAL, LATE, SILENT, COUNTERS, OVERLOAD),
)

BEDS = (
    Bed("hitless", WANDERING, (HITLESS,), _service_lacks, roomy, timed=True),
    Bed("faults", "joint-distributed", SURVIVING, _service_lacks),
    Bed("members", POLICY, (MEMBERS,), _members_lack, lively, timed=True),
    Bed("tree", POLICY, (TREE,), _tree_lacks, sparing),
    Bed("market", "market", (MARKET_STEP, MARKET_LINK), market_lacks),
)

ROWS: dict[str, Row] = {row.name: row for bed in BEDS for row in bed.rows}
"""Every row by name."""

DRAIN_S = 2.0
"""Time after a row, before anything else fails or the traffic ends: its last packets are on their way (ours)."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Done:
    """A row that was run, and when, and why not to its end; what became of its packets is known when the traffic is."""

    row: Row
    seen: Seen
    start: float
    end: float
    error: str = ""


@dataclass(frozen=True)
class Table:
    """What was seen of rows that were run, on which datapath, and what part of the CPU time was stolen meanwhile; files
    that were captured; and rows that were left out, with what the scenario lacks for them."""

    outcomes: tuple[Outcome, ...]
    datapath: str
    netem: bool
    steal: float | None
    captures: tuple[Capture, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

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
    """Run rows of the table; of all of them, those for which the scenario has what they need.

    Parameters
    ----------
    duration : float
        Length of the rows `hitless` and `members`, s.
    say : callable
        Told what is being done.

    Raises
    ------
    WardropError
        When the scenario lacks what rows need that were named, or what any needs, or something died that nobody killed.
    """
    beds = [(bed, [row for row in rows if row in bed.rows]) for bed in BEDS]
    lacks = {bed.name: bed.lacks(scenario.network) for bed, mine in beds if mine}
    left_out = {row.name: lacks[bed.name] for bed, mine in beds if mine and lacks[bed.name] for row in mine}
    if left_out and (len(rows) < len(ROWS) or len(left_out) == len(rows)):
        raise WardropError("\n".join(f"{scenario.name}: {said}" for said in _needed(left_out)))
    for said in _needed(left_out):
        say(f"left out: {said}")
    found: list[Table] = []
    for bed, mine in beds:
        name = bed.name
        while mine and not lacks[bed.name]:
            found.append(_run(scenario, bed, mine, _below(options, name), seed, duration, say))
            mine = mine[len(found[-1].outcomes) :]  # what is left after a row that found no end
            name = f"{bed.name}-{mine[0].name}" if mine else name
    outcomes = tuple(outcome for part in found for outcome in part.outcomes)
    stolen = [part.steal for part in found if part.steal is not None]
    captures = tuple(capture for part in found for capture in part.captures)
    return replace(found[0], outcomes=outcomes, steal=max(stolen, default=None), captures=captures, left_out=left_out)


def _needed(left_out: Mapping[str, str]) -> list[str]:
    """What rows need, a sentence for rows that need the same."""
    rows: dict[str, list[str]] = {}
    for name, lack in left_out.items():
        rows.setdefault(lack, []).append(name)
    return [f"needed are {lack} for {', '.join(names)}" for lack, names in rows.items()]


def _below(options: Options, name: str) -> Options:
    """The options with captures in a folder of their own: each network has the same hosts."""
    return replace(options, pcap=options.pcap / name) if options.pcap else options


def _run(
    scenario: Scenario, bed: Bed, rows: Sequence[Row], options: Options, seed: int, duration: float, say: Say
) -> Table:
    """Run rows on one network, one after the other, under one stream of packets; none after one that finds no end."""
    done: list[_Done] = []
    scenario, length = replace(scenario, network=bed.made(scenario.network)), duration if bed.timed else OPEN_END_S
    tick = options.tick or scenario.control.tick
    say(f"network up: {scenario.name}")
    with campaign(scenario, bed.policy, options) as up, Watch() as machine:
        with up.traffic(seed, length) as traffic:
            ground = Ground(up, traffic, seed, length, tick)
            ground.settle()
            for row in rows:
                say(f"{row.name}: {row.done}")
                done.append(_do(row, ground))
                time.sleep(DRAIN_S)
                if done[-1].error:
                    say(f"{row.name}: {done[-1].error}")
                    break
        packets = Packets.of(traffic)
        later = [one.seen.later(traffic) for one in done]
    pairs, plant = zip(done, later, strict=True), up.emulation.plant
    outcomes = tuple(_outcome(one, more, packets, machine, tick) for one, more in pairs)
    stolen = [second.steal for second in machine.seconds]
    steal = float(np.mean(stolen)) if stolen else None
    return Table(outcomes, plant.datapath, plant.netem, steal, tuple(up.captures))


def _do(row: Row, ground: Ground) -> _Done:
    start = time.time()
    try:
        return _Done(row, row.run(ground), start, time.time())
    except MeasurementError as error:  # the network is as the row left it
        return _Done(row, Seen({}), start, time.time(), str(error))


def _outcome(done: _Done, later: Figures, packets: Packets, machine: Watch, tick: float) -> Outcome:
    stolen = [second.steal for second in machine.seconds if done.start - 1 < second.time < done.end]
    counted = packets.between(done.start, done.end).figures(done.seen.moment)
    figures = {
        **done.seen.figures,
        **later,
        **counted,
        "last_lost_ticks": (counted["last_lost_s"] or 0.0) / tick,
        "steal": float(np.mean(stolen)) if stolen else None,
    }
    return Outcome(done.row, figures, done.error)


def described() -> str:
    """The rows as the documentation has them."""
    lines: list[str] = []
    for row in ROWS.values():
        lines += [f"### {row.name}", "", f"Done: {row.done}.", "", f"Must be seen: {row.wanted}.", ""]
        lines += ["| figure | unit | bound | meaning |", "|---|---|---|---|"]
        lines += [f"| {one.name} | {one.unit} | {one.bound} | {one.meaning} |" for one in row.figures]
        lines.append("")
    return "\n".join(lines)
