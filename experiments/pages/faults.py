"""The page of faults, in the report's look: a row each, with what was done, what must be seen, and its figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.faults.rows import Outcome
from experiments.pages.report import rendered, told_of_machine


def number(value: float | None) -> str:
    """A figure for people."""
    if value is None:
        return "never"
    return f"{value:,}" if isinstance(value, int) or value == int(value) else f"{value:.3g}"


def findings(made: Mapping[str, Any], found: Sequence[Outcome]) -> list[str]:
    """What came out, a sentence each."""
    packets = sum(outcome.figures.get("packets") or 0 for outcome in found)
    lost = sum(outcome.figures.get("lost") or 0 for outcome in found)
    failed = [outcome.row.name for outcome in found if not outcome.passed]
    lines = [f"{number(packets)} requests were sent meanwhile; {number(lost)} of them were lost."]
    if failed:
        lines.append(f"Not passed: {', '.join(failed)}.")
    if left_out := made.get("left_out"):
        lines.append(f"Left out, because {made['scenario']} lacks what they need: {', '.join(left_out)}.")
    return lines + told_of_machine(made["machine"])


def as_csv(found: Sequence[Outcome]) -> str:
    """For spreadsheets: a row for each figure; what was never seen is empty, as are bounds that there are not."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("fault", "figure", "unit", "measured", "least", "most", "kept"))
    for outcome in found:
        for figure in outcome.row.figures:
            measured = outcome.figures.get(figure.name)
            bounds = (figure.least, figure.most)
            writer.writerow((outcome.row.name, figure.name, figure.unit, measured, *bounds, figure.holds(measured)))
    return text.getvalue()


def html(made: Mapping[str, Any], found: Sequence[Outcome]) -> str:
    """The page.

    Parameters
    ----------
    made : mapping
        The JSON file.
    """
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
    return rendered("faults.html", made=made, rows=rows, findings=findings(made, found))
