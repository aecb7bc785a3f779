"""Studies that need no emulation: `wardrop study NAME` prints and writes tables of the distributed iterations.

`agents` simulates the agents of `docs/design/agents.md` on `abilene`, messages lost and late, and counts what they say
for more and more servers. Its columns are those of `experiments.papers.agents`.

`users` simulates users who follow measured prices, on `two-servers` and `abilene`, with seeds on which no constant was
chosen. Its columns are those of `experiments.papers.users`.

`iteration` makes figures too. Three tables, on the joint paper's instance with its servers scaled to several loads, and
where all sources and servers are alike: rounds to a certified gap and what is told for it; seconds to a gap when prices
come late and get lost; and the distance to an optimum that moves with the capacities. Fields of `--json FILE` and
columns of the CSV files:

| table | field | what |
|---|---|---|
| `rounds` | `instance`, `form` | which |
|  | `to_1e-3`, `to_1e-6`, `to_1e-9` | rounds to that certified gap; null where it was not reached |
|  | `rounds`, `gap` | rounds that were run, and the gap after the last; null where infeasible |
|  | `numbers` | numbers told in one round |
|  | `infeasible` | first round that left the feasible set; null where none did |
| `channel` | `instance`, `form`, `late_s`, `lost` | which |
|  | `share_1e-3`, `share_1e-6` | ratio of the runs that reached that gap for good |
|  | `seconds_1e-3`, `seconds_1e-6` | median of those runs, s; null without any |
|  | `overloaded` | mean part of the time with a load at or over capacity |
|  | `left` | ratio of the runs that left the feasible set |
| `moving` | `form`, `load`, `amplitude`, `period_s`, `noise`, `late_s`, `lost` | which |
|  | `mean_gap`, `worst_gap` | over the feasible time, after the first tenth; null without any |
|  | `overloaded` | mean part of the time with a load at or over capacity |
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.commands.cli import THEORY, JsonOption, app, console, write_json
from pricing.errors import WardropError


@app.command("study", rich_help_panel=THEORY)
def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to study: iteration, agents or users.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where tables and figures go.")] = Path("out/study"),
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Runs of each kind with messages.")] = 2,
    to: JsonOption = None,
) -> None:
    """Study the distributed iterations, and users: rounds, late and lost prices, what is told. Needs no root."""
    from experiments.papers import agents, iterations, users

    studies = {"iteration": iterations.study, "agents": agents.study, "users": users.study}
    if name not in studies:
        raise WardropError(f"no study is called {name!r}; iteration, agents and users are accepted")
    try:
        with console(stderr=True).status(f"{name}: a few minutes"):
            tables = studies[name](out, seeds)
    except OSError as error:
        raise WardropError(f"--out {out}: {error.strerror}; a directory that can be written is accepted") from error
    screen = console()
    for title, rows in tables.items():
        _show(screen, title, rows)
    screen.print(f"written to {out}", highlight=False)
    write_json(to, tables)


def _show(screen: Any, title: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    grid = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        grid.add_row(*("-" if v is None else f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    screen.print(grid)
