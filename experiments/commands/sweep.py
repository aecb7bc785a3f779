"""`wardrop sweep`: policies over a range of loads: delay, loss and price of anarchy, each with its interval.

The policy `joint`, the optimum, is swept too: the others are held against it. Cells that are done are kept in
`DIR/cells`, so the same command goes on where it was cut off. `DIR` gets `sweep.csv`, `sweep.png`, `sweep.json`,
`index.html` and `index.md`.

Fields of the JSON file. An estimate is {`value`, `ci95`, `n`}, with null for what is not known:

| field | what |
|---|---|
| `schema` | `wardrop-sweep-1` |
| `scenario`, `on` | the scenario's name; `packets`, `simulation` or `model` |
| `policies`, `loads`, `seeds` | what was swept; the optimum among the policies, seeds as a count |
| `duration_s` | seconds measured or simulated a run; null by the model |
| `optimum` | the policy that the others are held against |
| `points` | one a policy and load, below |
| `points[].policy`, `.load` | which |
| `points[].state` | `ok`; `overloaded`: by the policy's own allocation; `infeasible`: no allocation can carry it |
| `points[].why` | why it has no value; empty when it is `ok` |
| `points[].delay_s` | estimate: mean delay of a request; n: seeds, or packets of a single one |
| `points[].loss` | estimate: requests lost over requests sent; n: requests |
| `points[].price_of_anarchy` | estimate: mean delay over the optimum's under the same seeds |
| `points[].model_delay_s` | mean delay by independent queues; null where it has no value |
| `points[].runs`, `.bad` | runs, and those of them in which the machine was not quiet or packets went missing unseen |
| `cells` | every run: `policy`, `load`, `seed`, `file` (of its result, in DIR/cells), and |
| `cells[].state`, `.why` | as above; `why` only where it is not `ok`, else: |
| `cells[].delay_s`, `.requests`, `.lost`, `.model_delay_s` | estimate, counts, s |
| `cells[].captures` | with `--pcap DIR`, files in a folder of DIR for each run, as `captures` of a report |
| `cells[].quiet`, `.unaccounted` | whether the machine was quiet; packets that are nowhere |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.cli import (
    THEORY,
    JsonOption,
    ScenarioArgument,
    app,
    console,
    policies_in,
    together,
    write_json,
)
from experiments.commands.options import (
    METRICS,
    OPENFLOW,
    FrameworkOption,
    MetricsOption,
    OpenflowOption,
    PcapOption,
    WaitOption,
    options_of,
)
from experiments.commands.places import for_results, give_back, given_back
from pricing.errors import WardropError

if TYPE_CHECKING:
    from experiments.running.campaign import Options
    from experiments.sweeps.grid import Cell, On
    from topologies.scenario import Scenario

DURATIONS = {"simulation": 300.0, "packets": 60.0, "model": 0.0}
"""Seconds of a run where none are given, and where a run can be at all."""

WORKERS = 2
"""Processes that simulate."""


@app.command(rich_help_panel=THEORY)
def sweep(
    scenario: ScenarioArgument,
    policy: Annotated[
        str, typer.Option("--policy", metavar="A,B", help="Policies; the optimum is swept too.")
    ] = "shortest-path,joint-distributed",
    load: Annotated[
        str, typer.Option("--load", metavar="FROM:TO:STEP", help="Loads of the servers, or of links, or a list.")
    ] = "0.3:0.95:0.05",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Runs of each policy and load.")] = 5,
    on: Annotated[str, typer.Option("--on", metavar="HOW", help="packets, simulation or model.")] = "simulation",
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="S", help="Seconds of a run: 300 simulated, 60 on packets by default."),
    ] = None,
    framework: FrameworkOption = "os-ken",
    metrics: MetricsOption = METRICS,
    openflow: OpenflowOption = OPENFLOW,
    wait: WaitOption = 0.0,
    pcap: PcapOption = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where results go, and what is done is kept.",
            callback=for_results,
        ),
    ] = Path("out/sweep"),
    to: JsonOption = None,
) -> None:
    """Delay, loss and price of anarchy against load. Root only on packets; what is done is not done again."""
    from experiments.pages import paper as pages
    from experiments.sweeps.grid import OPTIMUM, grid
    from experiments.sweeps.page import for_terminal, page
    from experiments.sweeps.points import points
    from topologies import scenario as scenarios

    (where, policies, loads), options, _ = together(
        lambda: _checked(policy, load, seeds, on, duration, pcap),
        lambda: options_of(framework, metrics, openflow, None, wait, None, pcap),
        lambda: scenarios.load(scenario, 0.5),
    )
    scaled = [(share, scenarios.load(scenario, share)) for share in loads]
    seconds = DURATIONS[where] if duration is None else duration
    cells = grid(scaled, policies, where, seeds, seconds)
    with given_back(pcap), given_back(out / "cells", "*.json"):
        results = _results(cells, scaled, where, out / "cells", options)
    found = points(results)
    chosen = scaled[0][1]
    says = _says(chosen, where, loads, seeds, seconds)
    made = page(f"{chosen.name}: policies against load", found, where, says)
    pages.write(made, out)
    answer = {
        "schema": "wardrop-sweep-1",
        "scenario": chosen.name,
        "on": where,
        "policies": list(dict.fromkeys(cell.policy for cell in cells)),
        "loads": list(loads),
        "seeds": seeds if where != "model" else 1,
        "duration_s": seconds if where != "model" else None,
        "optimum": OPTIMUM,
        "points": [point.as_json() for point in found],
        "cells": _cells(results, out / "cells"),
    }
    write_json(out / "sweep.json", answer)
    write_json(to, answer)
    give_back(*out.glob("sweep.*"), *out.glob("index.*"))
    screen = console()
    screen.print(for_terminal(found))
    for reason in dict.fromkeys(f"no value at {point.load:g}: {point.why}" for point in found if point.why):
        screen.print(reason, soft_wrap=True, highlight=False, markup=False)
    screen.print(f"page: {out / 'index.html'}, picture: {out / 'sweep.png'}", soft_wrap=True, highlight=False)


def _checked(
    policy: str, load: str, seeds: int, on: str, duration: float | None, pcap: Path | None
) -> tuple[On, list[str], tuple[float, ...]]:
    """Where to sweep, which policies and at which loads.

    Raises
    ------
    WardropError
        With every option that cannot be used.
    """
    from experiments.sweeps.grid import loads_of
    from pricing.own import named

    names, problems = policies_in(policy, named)
    loads: tuple[float, ...] = ()
    try:
        loads = loads_of(load)
    except WardropError as error:
        problems.append(str(error))
    if seeds < 1:
        problems.append(f"--seeds {seeds}: a number of runs from 1 on is accepted")
    if on not in DURATIONS:
        problems.append(f"--on {on}: {', '.join(sorted(DURATIONS))} are accepted")
    if duration is not None and not (math.isfinite(duration) and duration > 0):
        problems.append(f"--duration {duration:g}: a number of seconds above 0 is accepted")
    if pcap is not None and on != "packets":
        problems.append(f"--pcap {pcap}: accepted with --on packets, where there are packets to capture")
    if problems:
        raise WardropError("\n".join(problems))
    where: On = "packets" if on == "packets" else "simulation" if on == "simulation" else "model"
    return where, names, loads


def _results(
    cells: list[Cell], scaled: list[tuple[float, Scenario]], on: On, folder: Path, options: Options
) -> Mapping[Cell, dict[str, Any]]:
    """Every cell's result, those that are kept from before among them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from experiments.cells import Store, cluster, run, run_here
    from experiments.sweeps.grid import VERSION, compute

    store = Store(folder, VERSION)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(stderr=True)) as bar:
        task = bar.add_task("cells", total=len(cells))

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if on != "packets":
            if all(store.get(cell) is not None for cell in cells):
                return run_here(store, cells, compute, told)
            with cluster(None, WORKERS) as client:
                return run(client, store, cells, compute, told)

        from experiments.sweeps.packets import measured

        at = dict(scaled)

        def on_packets(cell: Cell) -> dict[str, Any]:
            name = f"{cell.policy} at {cell.load:g}, seed {cell.seed}"

            def progress(phase: str, elapsed: float, total: float, _: list[dict[str, Any]]) -> None:
                bar.update(
                    task, description=f"{name}: {phase}" + (f", {elapsed:.0f} of {total:.0f} s" if total else "")
                )

            return measured(cell, at[cell.load], options, progress)

        return run_here(store, cells, on_packets, told)


def _cells(results: Mapping[Cell, dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    from experiments.cells import Store
    from experiments.sweeps.grid import VERSION

    store = Store(folder, VERSION)
    return [
        {"policy": cell.policy, "load": cell.load, "seed": cell.seed, "file": store.path(cell).name, **result}
        for cell, result in results.items()
    ]


def _says(scenario: Scenario, on: On, loads: tuple[float, ...], seeds: int, seconds: float) -> str:
    """How a sweep was run."""
    from topologies.loading import means

    runs = {
        "packets": f"{seeds} run{'s' if seeds > 1 else ''} of {seconds:g} s on real packets",
        "simulation": f"{seeds} simulated run{'s' if seeds > 1 else ''} of {seconds:g} s",
        "model": "by the model of independent queues",
    }
    count = f"{len(loads)} load{'s' if len(loads) > 1 else ''}"
    return f"{scenario.title}. {count}, {runs[on]} each; a load is {means(scenario.network)}."
