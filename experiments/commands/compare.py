"""`bin/wardrop compare A.json B.json`: two result files side by side. It needs no root.

Fields of `--json FILE`:

| field | what |
|---|---|
| `schema` | `wardrop-compare-1` |
| `circumstances` | [{`field`, `a`, `b`}]: what differs in scenario, seed, machine and versions |
| `alone` | policies that only one file has |
| `differences` | [{`run`, `what`, `unit`, `a`, `b`, `difference`, `ci95`, `sure`}], SI; `a` and `b` are estimates |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.cli import FOUND, JsonOption, app, console, write_json

if TYPE_CHECKING:
    from experiments.result.compare import Difference


@app.command(rich_help_panel=FOUND)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A result file, report.json.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write a page of it there.")] = None,
    to: JsonOption = None,
) -> None:
    """Show two result files side by side: what differs beyond chance, and in which circumstances."""
    from rich.table import Table

    from experiments.pages.compare import HEADS, cells, html
    from experiments.result.compare import alone, circumstances, differences
    from pricing.errors import WardropError

    one, other = _read(a), _read(b)
    rows, told, unpaired = differences(one, other), circumstances(one, other), alone(one, other)
    screen = console()
    table = Table("", str(a), str(b), title="What differs in the circumstances", title_justify="left", box=None)
    for row in told:
        table.add_row(*row)
    screen.print(table if told else "The circumstances are the same.", highlight=False)
    table = Table(*HEADS, title="\nMeasured; ≠ is beyond the 95 % interval", title_justify="left", box=None)
    for difference in rows:
        if difference.told:
            table.add_row(*cells(difference))
    screen.print(table, highlight=False)
    if untold := sum(not difference.told for difference in rows):
        screen.print(f"{untold} are left out: neither file knows them, or both say 0", highlight=False)
    for name in unpaired:
        screen.print(f"{name}: only one of the files has it", highlight=False)
    if out:
        try:
            out.write_text(html(str(a), str(b), rows, told, unpaired), encoding="utf-8")
        except OSError as error:
            raise WardropError(f"--out {out}: {error.strerror}; a file that can be written is accepted") from error
    found = {"schema": "wardrop-compare-1", "alone": unpaired, "differences": [_as_json(row) for row in rows]}
    write_json(to, found | {"circumstances": [dict(zip(("field", "a", "b"), row, strict=True)) for row in told]})


def _as_json(row: Difference) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in ("run", "what", "unit", "a", "b")}
    return fields | {"difference": row.value, "ci95": row.ci95, "sure": row.sure}


def _read(file: Path) -> Any:
    from experiments.result import schema
    from pricing.errors import WardropError

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WardropError(f"{file}: {error}; a result file is accepted, such as out/demo/report.json") from error
    if isinstance(found, dict) and "groups" in found:
        raise WardropError(f"{file}: a run with groups has no delays of requests to compare; others are accepted")
    try:
        schema.check(found)
    except WardropError as error:
        raise WardropError(f"{file}: {error}") from error
    return found
