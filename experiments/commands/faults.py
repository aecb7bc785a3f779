"""`bin/wardrop faults`: faults on purpose, under load; what is done, what must be seen, what was.

`docs/reference/faults.md` has the rows and the fields of `--json FILE`.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.cli import PACKETS, JsonOption, app, console, together, write_json
from experiments.commands.options import (
    METRICS,
    OPENFLOW,
    FrameworkOption,
    MetricsOption,
    OpenflowOption,
    PcapOption,
    SeedOption,
    TickOption,
    WaitOption,
    options_of,
)
from experiments.commands.places import for_results, give_back, given_back
from pricing.errors import WardropError

if TYPE_CHECKING:
    from experiments.faults.rows import Outcome


@app.command(rich_help_panel=PACKETS)
def faults(
    scenario: Annotated[
        str,
        typer.Argument(metavar="[SCENARIO]", help="A scenario's name (see `list`), or the path of a scenario file."),
    ] = "abilene",
    only: Annotated[str, typer.Option("--only", metavar="NAME,...", help="These rows alone.")] = "",
    duration: Annotated[
        float, typer.Option("--duration", metavar="S", help="Seconds of the rows `hitless` and `members`.")
    ] = 300.0,
    seed: SeedOption = 1,
    framework: FrameworkOption = "os-ken",
    metrics: MetricsOption = METRICS,
    openflow: OpenflowOption = OPENFLOW,
    tick: TickOption = None,
    wait: WaitOption = 0.0,
    pcap: PcapOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write a page and a table of it there too.",
            callback=for_results,
        ),
    ] = None,
    to: JsonOption = None,
) -> None:
    """Let links, servers, switches and the controller fail under load, and members come and go: a table."""
    from experiments.faults.table import chosen, run
    from experiments.pages.faults import as_csv, html
    from experiments.running.machine import versions
    from topologies import scenario as scenarios

    network, rows, options, _ = together(
        lambda: scenarios.load(scenario),
        lambda: chosen([name.strip() for name in only.split(",") if name.strip()]),
        lambda: options_of(framework, metrics, openflow, tick, wait, None, pcap),
        lambda: _check_duration(duration),
    )
    screen = console()

    def say(what: str) -> None:
        screen.print(what, highlight=False, markup=False, soft_wrap=True)

    with given_back(pcap):
        table = run(network, rows, options, seed, duration, say)
    found = table.outcomes
    made = as_json(network.name, seed, found, table.machine(framework, versions(framework)))
    if table.left_out:
        made["left_out"] = dict(table.left_out)
    if table.captures:
        made["captures"] = [asdict(capture) for capture in table.captures]
    show(found)
    if out is not None:
        (out / "faults.html").write_text(html(made, found), encoding="utf-8")
        write_json(out / "faults.json", made)
        (out / "faults.csv").write_text(as_csv(found), encoding="utf-8")
        give_back(out / "faults.html", out / "faults.csv")
        screen.print(f"page: {out / 'faults.html'}; figures: {out / 'faults.json'}", highlight=False, markup=False)
    write_json(to, made)
    if failed := [outcome.row.name for outcome in found if not outcome.passed]:
        raise WardropError(
            f"{len(failed)} of {len(found)} did not show what they must: {', '.join(failed)}; where a figure of time "
            "failed and `steal` is high, run them again with --only"
        )


def _check_duration(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 5):
        raise WardropError(f"--duration {seconds:g}: 5 s and more are accepted")


def as_json(scenario: str, seed: int, found: Sequence[Outcome], machine: dict[str, Any]) -> dict[str, Any]:
    """What `--json FILE` holds."""
    return {
        "schema": "wardrop-faults-1",
        "scenario": scenario,
        "seed": seed,
        "command": "bin/wardrop " + shlex.join(sys.argv[1:]),
        "machine": machine,
        "faults": [outcome.as_json() for outcome in found],
    }


def show(found: Sequence[Outcome]) -> None:
    """Print the table: what was done, what must be seen, what was measured."""
    from rich.table import Table

    from experiments.pages.faults import number

    table = Table(title="Faults under load", title_justify="left", show_lines=True)
    for head in ("fault", "what was done, and what must be seen", "measured", "passed"):
        table.add_column(head)
    for outcome in found:
        lines = [
            f"{figure.name} {number(outcome.figures.get(figure.name))}{f' ({figure.bound})' if figure.bound else ''}"
            + (" ✗" if figure in outcome.broken else "")
            for figure in outcome.row.figures
        ]
        words = f"{outcome.row.done}: {outcome.row.wanted}"
        words += f"\nfound no end: {outcome.error}" if outcome.error else ""
        table.add_row(outcome.row.name, words, "\n".join(lines), "yes" if outcome.passed else "NO")
    console().print(table, highlight=False, markup=False)
