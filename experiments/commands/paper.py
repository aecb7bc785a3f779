"""Commands that reproduce papers: `bin/wardrop paper joint`, `priority`, `multicast`; neither root nor emulation.

Each writes a folder: `index.html` and `index.md`, where printed and computed numbers stand side by side, a CSV for each
table and each figure's data, and a PNG for each figure. `--json FILE` gets the same numbers:

| field | what |
|---|---|
| `schema` | name of this form: `wardrop-paper-1` |
| `paper` | the paper's short name |
| `command`, `versions` | what makes it again, and an object {program: version} |
| `sources` | an object {word: meaning}: what stands in the columns `source` |
| `tables` | an object {name: {`title`, `columns`, `rows`}}, where `name`.csv has the same |
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.cli import THEORY, JsonOption, app, console, write_json

if TYPE_CHECKING:
    from experiments.pages.paper import Page

papers = typer.Typer(help="Reproduce a paper: every table and figure, printed and computed side by side.")
app.add_typer(papers, name="paper", no_args_is_help=True, rich_help_panel=THEORY)


def _publish(found: Page, out: Path, to: Path | None, tables: Collection[str], text: Collection[int] = ()) -> None:
    """Write a page and its numbers, and show some of its tables and paragraphs."""
    from controller.recording import versions
    from experiments.pages import paper as page

    found = replace(found, command="bin/wardrop " + shlex.join(sys.argv[1:]), versions=versions())
    page.write(found, out)
    write_json(to, found.as_json())
    screen = console()
    for table in found.tables:
        if table.name in tables:
            screen.print(page.for_terminal(table))
    for place in text:
        screen.print(found.text[place], highlight=False, markup=False)
    screen.print(f"page: {out / 'index.html'}, {out / 'index.md'}", soft_wrap=True, highlight=False, markup=False)


@papers.callback()
def group() -> None:
    """Reproduce a paper: every table and figure, printed and computed side by side."""


@papers.command()
def joint(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the page goes.")] = Path("out/paper/joint"),
    to: JsonOption = None,
) -> None:
    """Joint network-and-server congestion (Sarkar and Krishnamachari): Section VI, and where its gap comes from."""
    from experiments.pages import paper as page
    from experiments.papers.joint import reproduce

    page.prepare(out)
    with console(stderr=True).status("computing and drawing, about half a minute"):
        _publish(reproduce(), out, to, {"results"}, [1])


@papers.command()
def priority(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the page goes.")] = Path(
        "out/paper/priority"
    ),
    to: JsonOption = None,
) -> None:
    """Prices of priority classes (Kim and Juhn): its figures, a worked example, equilibria, entry and exit."""
    from experiments.pages import paper as page
    from experiments.papers.priority import reproduce

    page.prepare(out)
    with console(stderr=True).status("computing and drawing, about half a minute"):
        _publish(reproduce(), out, to, {"equilibria", "regimes", "two-equilibria"}, [1])


@papers.command()
def multicast(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the page goes.")] = Path(
        "out/paper/multicast"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Short runs, under three minutes.")] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", metavar="ADDRESS", help="A Dask scheduler that runs; by default two processes here."
        ),
    ] = None,
    to: JsonOption = None,
) -> None:
    """Multicast with duplication in the network (Cai, Llorca, Tulino, Molisch): Section VIII on our instances.

    Finished simulations are kept in DIR/cells: a run that was cut off goes on where it was.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from experiments.pages import paper as page
    from experiments.papers.multicast import reproduce

    page.prepare(out)
    columns = TextColumn("simulations"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(stderr=True)) as bar:
        task = bar.add_task("simulations", total=None)
        found = reproduce(
            quick, out / "cells", scheduler, lambda done, total: bar.update(task, completed=done, total=total)
        )
    _publish(found, out, to, {table.name for table in found.tables[:2]}, [0])


@papers.command()
def market(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the page goes.")] = Path("out/paper/market"),
    to: JsonOption = None,
) -> None:
    """Token-flow market (Liu): the abstract's findings on instances of our own, and how much of them is calibration."""
    from experiments.pages import paper as page
    from experiments.papers.market import reproduce

    page.prepare(out)
    with console(stderr=True).status("clearing and drawing"):
        _publish(reproduce(), out, to, {"findings", "sensitivity"})
