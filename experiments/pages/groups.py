"""The report of a run with groups: copies a packet, what each destination got, trees and links.

It shares the report's look and parts (`experiments.pages.report`), and its result file the report's schema, with
`groups` in place of `runs` (docs/reference/report.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from experiments.pages import pictures
from experiments.pages.colours import UTILIZATION_STEPS
from experiments.pages.report import objection, put, rendered, told_of_machine
from experiments.pages.rows import row, table
from experiments.result import schema

Part = Mapping[str, Any]

DRAWN = 12
"""Destinations and groups of a run that have pictures of their own."""


def write(report: dict[str, Any], folder: Path) -> None:
    """Write `report.json`, `report.html` and `report.csv` into a folder; raises as `experiments.pages.report.write`."""
    schema.check(report)
    put(report, folder, html(report), as_csv(report))


def summary(report: Part) -> str:
    """What was run and what came out, in a few sentences, a line each."""
    runs = report["groups"]
    lines = [f"{report['scenario']}, seed {report['seed']}: {' then '.join(run['policy'] for run in runs)}."]
    lines += findings(report)
    lines += [objection(verdict, run) for run in runs for verdict in run["verdicts"] if verdict["verdict"] != "met"]
    return "\n".join(lines)


def findings(report: Part) -> list[str]:
    """Copies, losses and what to know about the machine: a sentence each."""
    lines = []
    for run in report["groups"]:
        copies, ends = run["copies"], run["destinations"]
        owed, lost = sum(end["sent"] for end in ends), sum(end["lost"] for end in ends)
        lines.append(
            f"{run['policy']}: {copies['measured']['value']:.3f} copies a packet, {copies['decided']:.3f} decided; "
            f"{lost:,} of {owed:,} packets owed were lost."
        )
    return lines + told_of_machine(report["machine"])


def html(report: Part) -> str:
    """The page, as a string."""
    runs = report["groups"]
    pairs = list(zip(runs, _pictures(report), strict=True))
    return rendered("groups.html", report=report, runs=runs, findings=findings(report), pairs=pairs, most=DRAWN)


def _pictures(report: Part) -> list[dict[str, Any]]:
    """The pictures of each run: its map, the delays of the slowest destinations, and what was decided over time."""
    runs = report["groups"]
    largest = max((link["load_bps"]["value"] or 0.0 for run in runs for link in run["links"]), default=0.0) or 1.0
    known = [[end for end in run["destinations"] if "delay_histogram" in end] for run in runs]
    limits = pictures.delay_limits([end["delay_histogram"] for ends in known for end in ends])
    return [
        {
            "map": Markup(pictures.network_map(report["topology"], run, "utilization", UTILIZATION_STEPS, largest)),
            "delays": [(end, Markup(_delays(end, run, limits))) for end in _slowest(ends)],
            "prices": Markup(pictures.prices(run)) if "ticks" in run else "",
            "trees": [
                (session, Markup(pictures.trees(session, run)))
                for session in sorted(
                    {tree["session"] for tree in run["trees"]} & run.get("ticks", {"splits": {}})["splits"].keys()
                )[:DRAWN]
            ],
        }
        for run, ends in zip(runs, known, strict=True)
    ]


def _delays(end: Part, run: Part, limits: tuple[float, float]) -> str:
    title = f"Distribution of the delay of {end['session']} at {end['destination']}, {run['policy']}"
    return pictures.delays(end["delay_histogram"], end["delay_s"]["value"], limits, title)


def _slowest(ends: Sequence[Part]) -> list[Part]:
    """The destinations whose delays are drawn."""
    return sorted(ends, key=lambda end: -(end["delay_s"]["value"] or 0.0))[:DRAWN]


def as_csv(report: Part) -> str:
    """Delays and losses by destination, and loads of links, beside what was decided (`predicted`)."""
    return table(report["groups"], _rows)


def _rows(run: Part) -> Iterator[list[Any]]:
    copies = run["copies"]
    yield row("copies", "all", "ratio", copies["measured"], copies["decided"], None)
    for end in run["destinations"]:
        name = f"{end['session']} at {end['destination']}"
        yield row("delay", name, "s", end["delay_s"], None, None)
        yield ["lost", name, "packets", end["lost"], 0.0, end["sent"], None, None]
    for link in run["links"]:
        yield row("link load", f"{link['src']}>{link['dst']}", "bit/s", link["load_bps"], link["decided_bps"], None)
    for server in run["servers"]:
        yield row("server load", server["name"], "work/s", server["load"], server["decided"], None)
