"""The multicast paper reproduced: Section VIII's figures on instances of our own, and what its text lets one compare.

`reproduce` runs the grid on Dask and returns the page; `experiments.pages.paper.write` puts it on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.pages.paper import Column, Page, Picture, Section, Table, Value
from experiments.pages.style import HUES
from experiments.papers.cells import Store, cluster, run
from experiments.papers.multicast_cells import (
    COSTS_D,
    DELAYED,
    ETA,
    FULL,
    PRICED,
    QUICK,
    RATES_D,
    case_of,
    compute,
    costs,
    edges,
    grid,
    top,
)
from experiments.papers.multicast_claims import (
    Claim,
    Results,
    of_delays,
    of_regions,
    of_stability,
    of_tradeoff,
    of_walking,
    over_runs,
)
from pricing.multicast.backpressure import gdcnc, gdcnc_r
from pricing.multicast.mec import frozen
from pricing.multicast.simulate import Setting, simulate

CITATION = (
    "Y. Cai, J. Llorca, A. M. Tulino and A. F. Molisch: Decentralized Control of Distributed Cloud Networks with "
    "Generalized Network Flows (arXiv 2204.09030)."
)
SOURCES = {
    "ours": "a choice of ours",
    "program": "computed by a linear program on our instance; no chance in it",
    "simulated": "simulated on our instance; ± is 95 % over independent runs",
    "measured": "time on this machine while the page was made, other work on it included",
    "counted": "counted in the tables that the compiled policy works with",
}
SOURCE = Column("source", "source")
WORKERS = 2
COMPLEXITY = ((2, 3, 4, 5, 6), 2000)
"""Destinations, and slots, of the times that are measured."""

Lines = dict[str, list[tuple[float, float, float]]]
"""For each policy (x, mean, half-width), by rising x."""


def reproduce(quick: bool, folder: Path, scheduler: str | None, told: Callable[[int, int], None]) -> Page:
    """Compute everything that the page shows.

    Parameters
    ----------
    folder : Path
        Where finished cells are kept; those in it are not computed again.
    scheduler : str, optional
        Address of a Dask scheduler; without it processes of our own.
    told : function
        Called with cells done and cells in all.
    """
    cells = grid(QUICK if quick else FULL)
    with cluster(scheduler, WORKERS) as client:
        results: Results = run(client, Store(folder), cells, compute, told)
    rates, optimal = edges(RATES_D), costs()
    claims = [
        *of_regions(rates, RATES_D),
        *of_stability(results),
        *of_delays(results),
        *of_tradeoff(results, optimal),
        *of_walking(results),
    ]
    return Page(
        paper="multicast",
        title="Multicast with duplication in the network: the paper reproduced",
        citation=CITATION,
        text=_lead(claims, quick),
        sources=SOURCES,
        sections=[
            Section("What it says, and what comes out", [], [_claims(claims)]),
            _regions(rates),
            _delays(results),
            _tradeoff(results, optimal),
            _walking(results),
            _complexity(),
            _instance(),
        ],
    )


def _lead(claims: list[Claim], quick: bool) -> list[str]:
    count = {word: sum(claim.verdict == word for claim in claims) for word in ("met", "not met", "undecided")}
    return [
        f"Of {len(claims)} comparisons that the paper's text allows {count['met']} are met, {count['not met']} are "
        f"not, and {count['undecided']} are undecided. Its tables of parameters and its figures' numbers are lost, so "
        "the instances are ours and no figure of the paper is printed beside a figure of ours: only orders, ratios and "
        "shapes are compared.",
        *(
            ["These are the short runs of --quick: intervals are wide, and queues that fill slowly are not full."]
            * quick
        ),
    ]


def _claims(claims: list[Claim]) -> Table:
    columns = (
        Column("says", "the paper says"),
        Column("found", "found"),
        Column("verdict", "verdict"),
        Column("why", "why not"),
        SOURCE,
    )
    rows: list[list[Value]] = [
        [c.says, c.found, c.verdict, c.why, "program" if n < 3 else "simulated"] for n, c in enumerate(claims)
    ]
    return Table("claims", "Claims", columns, rows)


def _regions(rates: dict[str, float]) -> Section:
    columns = (
        Column("policy", "policy"),
        Column("rate", "largest rate, packets a slot", ".4f"),
        Column("share", "of GDCNC's", ".3f"),
        SOURCE,
    )
    rows: list[list[Value]] = [[name, rate, rate / rates["GDCNC"], "program"] for name, rate in rates.items()]
    narrow = Column("resource", "resource"), Column("price", "rate gained by a unit more of it", ".5f"), SOURCE
    best, instance = top(RATES_D), frozen(case_of(RATES_D))
    priced: list[list[Value]] = [
        [str(instance.resources[r]), float(best.prices[r]), "program"] for r in np.flatnonzero(best.prices > 1e-9)
    ]
    return Section(
        "The stability region",
        [f"Users stand, D = {RATES_D}, both services at one rate: how far it goes, each policy by its own program."],
        [
            Table("regions", "Largest rates", columns, rows),
            Table("prices", "What limits GDCNC, and what it is worth", narrow, priced),
        ],
    )


def _series(results: Results, figure: str, key: str, **wanted: object) -> Lines:
    """For each policy (x, mean, half-width) by rising x."""
    lines: Lines = {}
    for cell, value in over_runs(results, figure, **wanted).items():
        half = value.ci95 if np.isfinite(value.ci95) else 0.0
        lines.setdefault(cell.policy, []).append((float(getattr(cell, key)), value.value, half))
    return {name: sorted(points) for name, points in lines.items()}


def _in_order(lines: Lines, names: Sequence[str]) -> Lines:
    return {name: lines[name] for name in names}


def _table(
    name: str, title: str, key: Column, value: Column, lines: dict[str, list[tuple[float, float, float]]]
) -> Table:
    columns = (Column("policy", "policy"), key, value, Column(f"{value.key}_ci95", "± 95 %", value.form), SOURCE)
    rows: list[list[Value]] = [[policy, *point, "simulated"] for policy, points in lines.items() for point in points]
    return Table(name, title, columns, rows)


def _draw(lines: Lines, x: str, y: str, log: bool, levels: dict[str, float]) -> Figure:
    figure = Figure(figsize=(6.8, 3.0), layout="constrained")
    axes = figure.subplots()
    for n, (name, points) in enumerate(lines.items()):
        where, mean, half = np.array(points).T
        axes.errorbar(where, mean, half, label=name, color=HUES[n % len(HUES)], marker="o", ms=3)
        if name in levels:
            axes.axhline(levels[name], color=HUES[n % len(HUES)], lw=0.9, ls=(0, (5, 3)))
    axes.set(xlabel=x, ylabel=y, yscale="log" if log else "linear")
    axes.tick_params(length=0)
    axes.legend(fontsize=8, ncols=2)
    return figure


def _delays(results: Results) -> Section:
    lines = _series(results, "delay", "share", part="delay")
    lines = _in_order(lines, DELAYED)
    table = _table(
        "figure-3a",
        "Mean delay of a copy over the rate",
        Column("share", "rate, of GDCNC's largest", ".2f"),
        Column("delay_slots", "delay, slots", ".1f"),
        lines,
    )
    slopes = [Column("policy", "policy"), Column("share", "rate, of the largest", ".2f")]
    slopes += [Column("slope", "growth, copies a slot", ".3f"), Column("slope_ci95", "± 95 %", ".3f"), SOURCE]
    rows: list[list[Value]] = [
        [cell.policy, cell.share, value.value, value.ci95, "simulated"]
        for cell, value in over_runs(results, "slope", part="stability").items()
    ]
    return Section(
        "Delay over the rate",
        [
            f"Figure 3a's form, users standing, D = {RATES_D}, V = 0; a hop weighs {ETA:g} packets in the biased "
            "policies. Delays are by Little's law, equation (39).",
        ],
        [
            Picture(
                "Figure 3a: delay over the rate",
                "EDSPA leaves the picture at its own largest rate. Without a bias backpressure fills every queue "
                "before it knows the way: its delay at low load is long.",
                table,
                partial(_draw, lines, "rate, of GDCNC's largest", "delay, slots", True, {}),
            ),
            Table("stability", "Growth of the backlog just inside and just outside the region", slopes, rows),
        ],
    )


def _tradeoff(results: Results, optimal: dict[str, float]) -> Section:
    delay, cost = (_series(results, figure, "V", part="tradeoff") for figure in ("delay", "cost"))
    V = Column("V", "V", "g")
    found = _in_order(cost, PRICED)
    return Section(
        "Delay and cost over V",
        [
            f"Figures 4a and 4b's form, users standing, D = {COSTS_D}, at 0.8 of what unicast carries. Cost is counted "
            "on what is scheduled, idle fill included. h* of each policy's own region: "
            + ", ".join(f"{name} {value:.3f}" for name, value in optimal.items())
            + ".",
        ],
        [
            Picture(
                "Figure 4a: delay over V",
                "",
                _table("figure-4a", "Mean delay over V", V, Column("delay_slots", "delay, slots", ".1f"), delay),
                partial(_draw, _in_order(delay, PRICED), "V", "delay, slots", False, {}),
            ),
            Picture(
                "Figure 4b: cost over V",
                "Dashed: h* of each policy's own program, where its curve must end.",
                _table("figure-4b", "Cost a slot over V", V, Column("cost", "cost a slot", ".3f"), cost),
                partial(_draw, found, "V", "cost a slot", True, optimal),
            ),
        ],
    )


def _walking(results: Results) -> Section:
    columns = (
        Column("policy", "policy"),
        Column("power", "power"),
        Column("delivered", "delivered of what arrives", ".4f"),
        Column("delivered_ci95", "± 95 %", ".4f"),
        SOURCE,
    )
    rows: list[list[Value]] = [
        [cell.policy, cell.users, value.value, value.ci95, "simulated"]
        for cell, value in over_runs(results, "delivered", part="walking").items()
    ]
    return Section(
        "Users who walk, and power by weight",
        [
            "Figure 3b's comparison. With users who walk no linear program gives the boundary, and finding it by "
            "simulation alone takes runs far longer than these. So every policy is given 1.5 times the rate that the "
            "standing users' region takes, and what it delivers after the warm-up is compared.",
        ],
        [Table("walking", "Delivered beyond the region", columns, rows)],
    )


def _complexity() -> Section:
    """Choices of a slot and its time over D; measured here, one after another, on one thread."""
    columns = (
        Column("destinations", "D", "d"),
        Column("choices_all", "GDCNC: choices of a service", "d"),
        Column("choices_tree", "GDCNC-R", "d"),
        Column("all_us", "GDCNC, µs a slot", ".0f"),
        Column("tree_us", "GDCNC-R, µs a slot", ".0f"),
        SOURCE,
    )
    rows: list[list[Value]] = []
    many, slots = COMPLEXITY
    for count in many:
        instance = frozen(case_of(count, 3.0))
        both = gdcnc(), gdcnc_r(instance)
        spent = []
        for policy in both:
            simulate(instance, policy, Setting(10))
            begin = time.perf_counter()
            simulate(instance, policy, Setting(slots))
            spent.append((time.perf_counter() - begin) / slots * 1e6)
        rows.append([count, 3**count - 2**count, 4 * count - 3, *spent, "counted; measured"])
    return Section(
        "Complexity",
        ["A slot weighs the choices of queues that hold something, so its time grows no faster than the choices do."],
        [Table("complexity", "Choices and time over D", columns, rows)],
    )


def _instance() -> Section:
    case = case_of(RATES_D)
    columns = Column("parameter", "parameter"), Column("value", "value"), SOURCE
    rows: list[list[Value]] = [[name, str(value), "ours"] for name, value in vars(case).items() if name != "radio"]
    rows += [[f"radio: {name}", f"{value:g}", "ours"] for name, value in vars(case.radio).items()]
    return Section(
        "The instance",
        ["Every parameter is ours, for the paper's are lost; units are those of `pricing.multicast.mec`."],
        [Table("instance", "Parameters", columns, rows)],
    )
