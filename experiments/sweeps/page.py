"""The page of a sweep: delay, loss and price of anarchy against load in one picture, and the numbers in a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from rich.table import Table as Grid

from experiments.pages.paper import Column, Page, Picture, Section, Table
from experiments.pages.style import HUES, LIGHT
from experiments.result.estimate import Estimate
from experiments.sweeps.grid import On
from experiments.sweeps.points import Point

SOURCES: dict[On, tuple[str, str]] = {
    "packets": ("measured", "real packets on the emulated network; the machine's bad runs are left out or marked"),
    "simulation": ("simulated", "every packet through every queue, on the allocation where the policy settles"),
    "model": ("model", "independent queues at the loads of the allocation where the policy settles"),
}

WIDTH = 6.8
MARKERS = "os^Dv*"

COLUMNS = (
    Column("policy", "policy"),
    Column("load", "load", ".3g"),
    Column("state", "state"),
    Column("delay_s", "mean delay, ms", lambda s: f"{s * 1e3:.4g}"),
    Column("delay_ci95_s", "±", lambda s: f"{s * 1e3:.2g}"),
    Column("loss", "loss", ".3g"),
    Column("loss_ci95", "±", ".2g"),
    Column("price_of_anarchy", "price of anarchy", ".4g"),
    Column("price_of_anarchy_ci95", "±", ".2g"),
    Column("model_delay_s", "by the model, ms", lambda s: f"{s * 1e3:.4g}"),
    Column("runs", "runs", "d"),
    Column("bad", "bad", "d"),
    Column("source", "source"),
    Column("why", "why no value"),
)


def table(points: Sequence[Point], on: On) -> Table:
    """All points, a row each; `sweep.csv`."""

    def known(value: float) -> float | None:
        return value if math.isfinite(value) else None

    rows = [
        [
            point.policy,
            point.load,
            point.state,
            *(
                known(number)
                for each in (point.delay, point.loss, point.anarchy)
                for number in (each.value, each.ci95 if math.isfinite(each.value) else math.nan)
            ),
            known(point.model_delay),
            point.runs,
            point.bad,
            SOURCES[on][0],
            point.why,
        ]
        for point in points
    ]
    return Table("sweep", "All points", COLUMNS, rows)


def for_terminal(points: Sequence[Point]) -> Grid:
    """The points as 80 columns have room for them: each number with its interval, state instead of a delay."""
    grid = Grid("policy", "load", box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for head in ("mean delay,\nms", "loss", "price of\nanarchy", "model,\nms", "bad"):
        grid.add_column(head, justify="right")
    for point in points:
        grid.add_row(
            point.policy,
            f"{point.load:.3g}",
            _told(point.delay, 1e3) if math.isfinite(point.delay.value) else point.state,
            _told(point.loss),
            _told(point.anarchy),
            f"{1e3 * point.model_delay:.4g}" if math.isfinite(point.model_delay) else "-",
            f"{point.bad}/{point.runs}",
        )
    return grid


def _told(number: Estimate, factor: float = 1.0) -> str:
    """A number and its interval, with as many digits as people read; a dash for none."""
    if not math.isfinite(number.value):
        return "-"
    half = f" ± {number.ci95 * factor:.2g}" if 0 < number.ci95 < math.inf else ""
    return f"{number.value * factor:.3g}{half}"


def page(title: str, points: Sequence[Point], on: On, says: str) -> Page:
    """The page of a sweep; `says` is how it was run, in a sentence."""
    word, meaning = SOURCES[on]
    data = table(points, on)
    caption = (
        "Bars: 95 % intervals. A triangle at the top: the policy's own allocation is overloaded there, so its delay "
        "has no bound; nothing at all: no allocation can carry the demand. Hollow: only bad runs."
    )
    picture = Picture("Delay, loss and price of anarchy against load", caption, data, partial(curves, points))
    return Page("sweep", title, says, (), {word: meaning}, (Section("Against load", (), (picture, data)),))


def curves(points: Sequence[Point]) -> Figure:
    """Three panels above each other, a curve a policy."""
    panels: list[tuple[str, Callable[[Point], Estimate], float]] = [
        ("mean delay, ms", lambda point: point.delay, 1e3),
        ("loss, % of requests", lambda point: point.loss, 1e2),
        ("price of anarchy", lambda point: point.anarchy, 1.0),
    ]
    figure = Figure(figsize=(WIDTH, 7.0), layout="constrained")
    for axes, (label, figure_of, factor) in zip(figure.subplots(3, 1, sharex=True), panels, strict=True):
        _panel(axes, points, figure_of, factor)
        axes.set_ylabel(label)
        axes.tick_params(length=0)
    top, middle, bottom = figure.axes
    top.set_yscale("log")
    top.yaxis.set_major_formatter("{x:g}")
    top.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
    figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    middle.set_ylim(bottom=0)
    bottom.axhline(1, color=LIGHT["soft"], lw=0.9, ls=(0, (5, 3)))
    bottom.set_xlabel("load")
    return figure


def _panel(axes: Axes, points: Sequence[Point], figure_of: Callable[[Point], Estimate], factor: float) -> None:
    for index, policy in enumerate(dict.fromkeys(point.policy for point in points)):
        colour, marker = HUES[index % len(HUES)], MARKERS[index % len(MARKERS)]
        mine = [point for point in points if point.policy == policy]
        known = [point for point in mine if math.isfinite(figure_of(point).value)]
        values = [figure_of(point).value * factor for point in known]
        # What has no value is NaN here: no line leads over a gap.
        axes.plot(
            [p.load for p in mine], [figure_of(p).value * factor for p in mine], color=colour, lw=1.2, label=policy
        )
        for point, value in zip(known, values, strict=True):
            half = figure_of(point).ci95 * factor
            axes.errorbar(
                point.load,
                value,
                half if math.isfinite(half) else None,
                fmt=marker,
                ms=4,
                lw=0.9,
                capsize=2,
                color=colour,
                mfc=colour if point.good else LIGHT["paper"],
            )
        # On the frame itself: at no value of the scale.
        over = [point.load for point in mine if point.state == "overloaded"]
        axes.plot(
            over, [0.96 - 0.05 * index] * len(over), "^", ms=5, color=colour, transform=axes.get_xaxis_transform()
        )
