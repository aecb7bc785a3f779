"""Two result files side by side, for people: cells of a table, and a page of its own without any outside resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.pages.colours import stylesheet
from experiments.pages.report import TEMPLATES, UNITS, UNKNOWN, with_interval
from experiments.result.compare import Difference

HEADS = ("run", "what", "unit", "A", "B", "B - A", "")

Run = tuple[str, list[tuple[str, ...]], int, int]
"""A run's name, the cells of its rows, how many of them differ for sure, and how many rows have nothing to tell."""


def cells(row: Difference) -> tuple[str, ...]:
    """A row of the table, in the units that people read."""
    factor, unit = UNITS.get(row.unit, (1.0, row.unit))

    def shown(estimate: Mapping[str, Any]) -> str:
        return UNKNOWN if estimate["value"] is None else with_interval(estimate, factor)

    difference = {"value": row.value, "ci95": row.ci95}
    return (row.run, row.what, unit.strip(), shown(row.a), shown(row.b), shown(difference), "≠" if row.sure else "")


def html(a: str, b: str, rows: Sequence[Difference], told: Sequence[tuple[str, str, str]], alone: Sequence[str]) -> str:
    """The page."""
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = made.get_template("compare.html")
    return template.render(
        a=a, b=b, heads=HEADS[3:], runs=by_run(rows), told=told, alone=alone, colours=Markup(stylesheet())
    )


def by_run(rows: Sequence[Difference]) -> list[Run]:
    """What the page shows of each run."""
    found: list[Run] = []
    for name in dict.fromkeys(row.run for row in rows):
        mine = [row for row in rows if row.run == name]
        told = [row for row in mine if row.told]
        sure = sum(row.sure for row in told)
        found.append((name, [cells(row)[1:] for row in told], sure, len(mine) - len(told)))
    return found
