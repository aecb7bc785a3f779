"""The page of faults: a row each, with what was done, what must be seen, and every figure beside its bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.faults.rows import Outcome
from experiments.pages.colours import stylesheet
from experiments.pages.report import TEMPLATES


def number(value: float | None) -> str:
    """A figure for people."""
    if value is None:
        return "never"
    return f"{value:,}" if isinstance(value, int) or value == int(value) else f"{value:.3g}"


def html(made: Mapping[str, Any], found: Sequence[Outcome]) -> str:
    """The page.

    Parameters
    ----------
    made : mapping
        The JSON file.
    """
    env = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    rows = [
        (
            outcome,
            [
                (figure, number(outcome.figures.get(figure.name)), figure in outcome.broken)
                for figure in outcome.row.figures
            ],
        )
        for outcome in found
    ]
    return env.get_template("faults.html").render(made=made, rows=rows, colours=Markup(stylesheet()))
