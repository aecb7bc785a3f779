"""Commands for scenarios: `new` to start one, `import` and `export` for other tools' formats, `show` to see it.

None needs root or emulation. What is read and written is in `topologies.importers.sources` and `topologies.exporters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from experiments.commands.cli import SCENARIOS, ScenarioArgument, app, console
from pricing.errors import ScenarioError, WardropError

if TYPE_CHECKING:
    from topologies.importers.fitting import Fit
    from topologies.scenario import Scenario

ToOption = Annotated[Path, typer.Option("--to", metavar="FILE", help="Where it goes.")]


@app.command("new", rich_help_panel=SCENARIOS)
def new_scenario(file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")]) -> None:
    """Write a scenario file to start from; its comments explain it."""
    from topologies.starter import starter

    _must_end(file, (".yaml", ".yml"), "FILE")
    if file.exists():
        raise WardropError(f"{file}: is there already; a name that is free is accepted")
    _write(file, starter(file.stem), "FILE")
    _say(f"{file}: written. Next: bin/wardrop check {file}")


@app.command("import", rich_help_panel=SCENARIOS)
def import_topology(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A .graphml, .json, .xml or _net.tntp file, or topohub:NAME (topohub:sndlib/polska)."
        ),
    ],
    to: ToOption,
    name: Annotated[str, typer.Option("--name", help="What the scenario is called; else as its origin.")] = "",
    sessions: Annotated[
        int | None, typer.Option("--sessions", metavar="N", help="Keep the N largest demands [40].")
    ] = None,
    servers: Annotated[
        int | None, typer.Option("--servers", metavar="N", help="N servers of one service that all nodes ask [none].")
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Offered in all; capacities are scaled to it ['4 Mbit/s'].")
    ] = None,
    capacity: Annotated[
        str | None, typer.Option("--capacity", help="Of every link, or keep; demands are scaled to it.")
    ] = None,
    utilization: Annotated[
        float | None, typer.Option("--utilization", metavar="RHO", help="Of the most utilized resource [0.7].")
    ] = None,
    of: Annotated[str | None, typer.Option("--of", help="Under optimum or shortest-path [optimum].")] = None,
) -> None:
    """Make a scenario file of a topology from elsewhere: capacities, delays, demands at a target utilization."""
    from topologies.importers.fitting import fitted
    from topologies.importers.sources import read
    from topologies.scenario import Scenario, dump

    _must_end(to, (".yaml", ".yml"), "--to")
    given = {"sessions": sessions, "servers": servers, "rate": rate, "capacity": capacity,
             "utilization": utilization, "of": of}  # fmt: skip
    chosen = {key: value for key, value in given.items() if value is not None}
    fit, problems = _fit(chosen)
    notes: tuple[str, ...] = ()
    try:
        found = read(source)
    except ScenarioError as error:
        raise ScenarioError(source, problems + error.problems) from error
    if problems:
        raise ScenarioError(source, problems)
    if isinstance(found, Scenario):
        if chosen or name:
            options = ", ".join(f"--{key}" for key in [*chosen, *(["name"] if name else [])])
            accepted = "accepted: no option but --to; edit the scenario file"
            raise ScenarioError(source, [f"has sessions of its own, found {options}; {accepted}"])
        scenario = found
    else:
        try:
            scenario, notes = fitted(found, fit, name)
        except ScenarioError as error:
            raise ScenarioError(source, error.problems) from error
    _write(to, dump(scenario), "--to")
    for note in notes:
        _say(f"note: {note}")
    _say(f"{to}: {_counts(scenario)}")


@app.command("export", rich_help_panel=SCENARIOS)
def export_scenario(scenario: ScenarioArgument, to: ToOption) -> None:
    """Write a scenario for Graphviz (.dot), Mermaid (.mmd), networkx (.json) or by itself (.yaml)."""
    from topologies.exporters import FORMATS
    from topologies.scenario import load

    _must_end(to, tuple(FORMATS), "--to")
    found = load(scenario)
    _write(to, FORMATS[to.suffix.lower()](found), "--to")
    _say(f"{to}: {_counts(found)}")


@app.command("show", rich_help_panel=SCENARIOS)
def show_scenario(
    scenario: ScenarioArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .png or .svg file.")],
) -> None:
    """Draw a scenario as a picture: links, servers, and who asks."""
    from experiments.pages.drawing import draw_scenario
    from topologies.scenario import load

    draw_scenario(load(scenario), out)
    _say(f"{out}: drawn")


def _fit(chosen: Mapping[str, object]) -> tuple[Fit, list[str]]:
    """The options as values, and what is wrong with them."""
    from topologies import units
    from topologies.checking import did_you_mean
    from topologies.importers.fitting import Fit

    problems: list[str] = []
    values = dict(chosen)
    for key in ("rate", "capacity"):
        if key in chosen and (key, chosen[key]) != ("capacity", "keep"):
            try:
                values[key] = units.parse(chosen[key], "capacity")
            except ValueError as error:
                problems.append(f"--{key}: {error}{', or keep' if key == 'capacity' else ''}")
                del values[key]
    ways: tuple[Literal["optimum", "shortest-path"], ...] = ("optimum", "shortest-path")
    if "of" in chosen and chosen["of"] not in ways:
        near = did_you_mean(str(chosen["of"]), ways)
        problems.append(f"--of: found {chosen['of']!r}{near}; accepted: {', '.join(ways)}")
        del values["of"]
    fit = Fit(**values)  # type: ignore[arg-type]  # checked above
    return fit, problems + fit.problems()


def _must_end(file: Path, endings: tuple[str, ...], what: str) -> None:
    from topologies.checking import did_you_mean

    if file.suffix.lower() not in endings:
        near = did_you_mean(file.suffix.lower(), endings)
        found = f"the ending {file.suffix!r}{near}" if file.suffix else "no ending"
        raise WardropError(f"{what} {file}: found {found}; accepted: {', '.join(endings)}")


def _write(file: Path, text: str, what: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WardropError(f"{what} {file}: {error.strerror}; a file that can be written is accepted") from error


def _counts(scenario: Scenario) -> str:
    network = scenario.network
    counts = [f"{len(getattr(network, part))} {part}" for part in ("nodes", "links", "servers", "sessions")]
    return ", ".join([*counts, f"{sum(session.packet_rate for session in network.sessions):,.0f} packets/s"])


def _say(line: str) -> None:
    console().print(line, soft_wrap=True, highlight=False, markup=False)
