"""A result file as a table for spreadsheets: `report.csv`, a row for each quantity that was measured, in SI units."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Part = Mapping[str, Any]

COLUMNS = ("policy", "what", "name", "unit", "measured", "ci95", "n", "predicted", "model")


def as_csv(report: Part) -> str:
    """The table, with its head; what is not known is empty."""
    return table(report["runs"], _rows)


def table(runs: Iterable[Part], rows: Callable[[Part], Iterable[list[Any]]]) -> str:
    """A table of `COLUMNS`: each run's `rows`, its policy before them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        writer.writerows([run["policy"], *row] for row in rows(run))
    return text.getvalue()


def _rows(run: Part) -> Iterator[list[Any]]:
    objective = run["objective"]
    predicted, model = objective["predicted_mean_delay_s"], objective["model_mean_delay_s"]
    yield row("delay", "all", "s", objective["mean_delay_s"], predicted, model)
    for each in run["sessions"]:
        yield row("delay", each["name"], "s", each["delay_s"]["mean"], each["predicted_delay_s"], each["model_delay_s"])
    for what, parts in (("link", run["links"]), ("server", run["servers"])):
        load, unit = ("load_bps", "bit/s") if what == "link" else ("load", "work/s")
        for each in parts:
            name = f"{each['src']}>{each['dst']}" if what == "link" else each["name"]
            yield row(f"{what} load", name, unit, each[load], each[f"predicted_{load}"], None)
            yield row(f"{what} wait", name, "s", each["wait_s"], each["predicted_wait_s"], each["model_wait_s"])


def row(what: str, name: str, unit: str, measured: Part, predicted: float | None, model: float | None) -> list[Any]:
    """A quantity that was measured as an estimate, without its policy."""
    return [what, name, unit, measured["value"], measured["ci95"], measured["n"], predicted, model]
