"""The multicast paper reproduced: Section VIII's figures on instances of our own, and what its text lets one compare.

`reproduce` runs the grid on Dask and returns the page; `experiments.pages.paper.write` puts it on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.cells import Result, Store, cluster, run
from experiments.pages.paper import Column, Page, Picture, Section, Table, Value
from experiments.pages.style import HUES
from experiments.papers.multicast_cells import (
    COSTS_D,
    DELAYED,
    FULL,
    PRICED,
    QUICK,
    RATES_D,
    SIZED,
    Name,
    case_of,
    compute,
    cost_rate,
    costs,
    edges,
    grid,
    least_by_size,
    search,
    searches,
    top,
)
from experiments.papers.multicast_claims import (
    Claim,
    Results,
    of_delays,
    of_regions,
    of_sizes,
    of_speed,
    of_stability,
    of_tradeoff,
    of_walking,
    over_runs,
)
from experiments.papers.multicast_speed import Cost, Extent, of_policies, over_destinations, over_links, over_slots
from pricing.multicast.mec import frozen

CITATION = (
    "Y. Cai, J. Llorca, A. M. Tulino and A. F. Molisch: Decentralized Control of Distributed Cloud Networks with "
    "Generalized Network Flows (arXiv 2204.09030)."
)
SOURCES = {
    "ours": "a choice of ours",
    "program": "computed by a linear program on our instance; no chance in it",
    "simulated": "simulated on our instance; ± is 95 % over independent runs",
    "measured": "choices counted and CPU time taken on this machine while the page was made, on one thread",
}
SOURCE = Column("source", "source")
WORKERS = 2
EXTENT = Extent()

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
    size = QUICK if quick else FULL
    first = searches(size)
    with cluster(scheduler, WORKERS) as client:
        store = Store(folder)
        found = run(client, store, first, search, told)
        bias: dict[Name, Result] = {wanted.policy: found[wanted] for wanted in first}
        eta: dict[Name, float] = {name: result["eta"] for name, result in bias.items()}
        n = len(first)
        results: Results = run(client, store, grid(size, eta), compute, lambda a, b: told(n + a, n + b))
    rates, optimal, least = edges(RATES_D), costs(), least_by_size(size)
    slots, times = over_destinations(EXTENT), of_policies(EXTENT, eta["EGDCNC"])
    claims = [
        *of_regions(rates, RATES_D),
        *of_stability(results),
        *of_delays(results),
        *of_tradeoff(results, optimal),
        *of_sizes(results, least),
        *of_walking(results),
        *of_speed(slots, times),
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
            _bias(bias),
            _delays(results),
            _tradeoff(results, optimal),
            _sizes(results, least),
            _walking(results),
            _complexity(slots, over_links(EXTENT), over_slots(EXTENT, eta["EGDCNC"])),
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
    rows: list[list[Value]] = [[c.says, c.found, c.verdict, c.why, c.source] for c in claims]
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
        style = "-" if n < len(HUES) else "--"
        axes.errorbar(where, mean, half, label=name, color=HUES[n % len(HUES)], marker="o", ms=3, ls=style)
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
            f"Figure 3a's form, users standing, D = {RATES_D}, V = 0. Delays are by Little's law, equation (39).",
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
    delay, cost = (_series(results, figure, "V", part="tradeoff", destinations=COSTS_D) for figure in ("delay", "cost"))
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


def _sizes(results: Results, least: dict[int, float]) -> Section:
    table = _table(
        "figure-4c",
        "Mean delay and cost, each point at one V",
        Column("cost", "cost a slot", ".3f"),
        Column("delay_slots", "delay, slots", ".1f"),
        curves(results),
    )
    return Section(
        "More destinations",
        [
            f"Figure 4c's form, users standing, at one rate for all D: {cost_rate():.3f} packets a slot and service. "
            "The sets of destinations are drawn anew for each D; the smaller are not parts of the larger. h* of "
            "GDCNC's region: " + ", ".join(f"D = {count} {cost:.3f}" for count, cost in least.items()) + "."
        ],
        [
            Picture(
                "Figure 4c: delay over cost",
                "V rises along each curve, from low delay and high cost.",
                table,
                partial(_draw, curves(results), "cost a slot", "delay, slots", False, {}),
            )
        ],
    )


def curves(results: Results) -> Lines:
    """For each policy and number of destinations (mean cost, mean delay, half-width of the delay), by rising V."""
    lines: Lines = {}
    for name in SIZED:
        for count in sorted({cell.destinations for cell in results if cell.part == "tradeoff"}):
            wanted = {"part": "tradeoff", "policy": name, "destinations": count}
            cost, delay = (over_runs(results, figure, **wanted) for figure in ("cost", "delay"))
            lines[f"{name}, D = {count}"] = [
                (cost[cell].value, delay[cell].value, delay[cell].ci95)
                for cell in sorted(cost, key=lambda cell: cell.V)
            ]
    return lines


def _bias(found: Mapping[Name, Result]) -> Section:
    lines: Lines = {name: [(eta, mean, half) for eta, mean, half in result["delays"]] for name, result in found.items()}
    best = ", ".join(f"{name} {result['eta']:g}" for name, result in found.items())
    return Section(
        "The weight of a hop",
        [
            f"eta of (16) by search on a grid, on runs of their own, for the least mean delay at two rates together: "
            f"{best} packets. These are used wherever a biased policy is."
        ],
        [
            _table(
                "bias",
                "Mean delay over eta",
                Column("eta", "eta", "g"),
                Column("delay_slots", "delay, slots", ".1f"),
                lines,
            )
        ],
    )


def _complexity(costs: list[Cost], wider: list[Cost], longer: list[tuple[int, float]]) -> Section:
    """Choices of a slot and its time over D, over links and over slots."""
    columns = [
        Column("policy", "policy"),
        Column("destinations", "D", "d"),
        Column("links", "links", "d"),
        Column("choices", "choices of a service", "d"),
        Column("all_edges", "on all edges of the layered graph", "d"),
        Column("weighed", "weighed in a slot, running", ".0f"),
        Column("running_us", "µs a slot, running", ".1f"),
        Column("weighed_filled", "weighed, all queues filled", ".0f"),
        Column("filled_us", "µs a slot, all queues filled", ".1f"),
        SOURCE,
    ]

    def rows(some: list[Cost]) -> list[list[Value]]:
        return [
            [*cost[:5], *(x for slot in cost[5:] for x in (slot.weighed, slot.seconds * 1e6)), "measured"]
            for cost in some
        ]

    seconds = Column("slots", "slots", "d"), Column("seconds", "CPU time, s", ".3f"), SOURCE
    by_links: Lines = {
        name: [(cost.links, slot.seconds * 1e6, 0.0) for cost, slot in zip(wider, some, strict=True)]
        for name, some in (("running", [c.running for c in wider]), ("all queues filled", [c.filled for c in wider]))
    }
    by_slots: Lines = {"EGDCNC": [(slots, spent, 0.0) for slots, spent in longer]}
    return Section(
        "Complexity",
        [
            "A service has 3^D - 2^D choices under GDCNC and 4D - 3 in a tree, on every edge of the layered graph. The "
            "compiled slot weighs only those of queues that hold something and whose whole level could beat the best "
            "so far: exact, and far fewer. So its time grows slower than the choices do, even with packets in every "
            "queue. GDCNC-R's choices on all edges are more than its tree's, and grow while it runs: packets that have "
            "passed a destination go on in the tree restricted to the others.",
        ],
        [
            Table("complexity", "Choices and time over D", columns, rows(costs)),
            Picture(
                "Time of a slot over links",
                f"GDCNC, D = {RATES_D}, squares of ever more edge servers. {_line(by_links['all queues filled'])} With "
                "all queues filled every link has as much to weigh; running, queues far from the services are empty.",
                Table("growth-links", "Time of a slot over links", columns, rows(wider)),
                partial(_draw, by_links, "links", "µs a slot", False, {}),
            ),
            Picture(
                "Time of a run over slots",
                f"EGDCNC on the documented instance, from empty queues. {_line(by_slots['EGDCNC'])}",
                Table("growth-slots", "Time of a run over slots", seconds, [[*row, "measured"] for row in longer]),
                partial(_draw, by_slots, "slots", "CPU time, s", False, {}),
            ),
        ],
    )


def _line(points: list[tuple[float, float, float]]) -> str:
    """How well a straight line fits."""
    x, y, _ = np.array(points).T
    return f"A line explains {np.corrcoef(x, y)[0, 1] ** 2:.2%} of the {len(points)} times."


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
