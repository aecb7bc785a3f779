"""The joint paper's numbers as tables: printed and computed side by side, each with its source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np

from experiments.pages.paper import Column, Table, Value
from experiments.papers.joint_instance import ACCESS, CLASSES, HOLDS, NODES, PRINTED, SERVERS, SOURCES, Origin, rates
from experiments.papers.joint_solve import Central, Optimum, RouteCheck, SweepPoint, Trace, check_routes, source_delays
from experiments.papers.joint_stochastic import WARM_UP, WINDOW_S, Jobs, Run
from experiments.result.estimate import replications
from pricing.joint.printed import Instance
from pricing.values import FloatArray

SOURCE = Column("source", "source")
AUTHORS, RIGHT = "authors", "right"
BRACKETS = {AUTHORS: "authors' bracket", RIGHT: "right bracket"}
"""Brackets as the tables name them, and as people read them."""

_USED = "recomputed; ‘used’ is ours"


def same(printed: str, computed: float) -> bool:
    """Whether a computed number rounds to the printed one.

    >>> same("2.01575", 2.0157473649), same("2.01595", 2.0157473658)
    (True, False)
    """
    digits = int(Decimal(printed).as_tuple().exponent)
    return abs(computed - float(printed)) <= 0.5001 * 10.0**digits


def _digits(value: float) -> str:
    """Counts whole, differences short, the rest to the digits that the optimum has."""
    return str(value) if isinstance(value, int) else f"{value:.4e}" if abs(value) < 0.01 else f"{value:.13f}"


def _small(value: float) -> str:
    """A residual."""
    return f"{value:.1e}" if value else "0"


def _compare(name: str, printed: str | None, computed: float, source: Origin) -> list[Value]:
    agrees = None if printed is None else "yes" if same(printed, computed) else "no"
    return [name, printed, computed, agrees, source]


def results(case: Instance, central: Central, best: Optimum, authors: Trace, right: Trace) -> Table:
    """Objective values and iterations."""
    columns = (
        Column("quantity", "quantity"),
        Column("printed", "printed"),
        Column("computed", "computed", _digits),
        Column("agrees", "to the digits printed"),
        SOURCE,
    )
    (iterations,), (cost,) = PRINTED["central iterations"], PRINTED["central cost"]
    (rounds,), (end,) = PRINTED["distributed iterations"], PRINTED["distributed cost"]
    growth = float((case.access.sum(axis=1) / case.rates).min())
    rows = [
        _compare("trust-constr: iterations", iterations, central.iterations, "recomputed"),
        _compare("trust-constr: F", cost, central.cost, "recomputed"),
        _compare("trust-constr: F above the optimum", None, central.cost - best.cost, "recomputed"),
        _compare("Algorithm 1, authors' bracket: rounds", rounds, authors.rounds, "recomputed"),
        _compare("Algorithm 1, authors' bracket: F", end, float(authors.costs[-1]), "recomputed"),
        _compare("its gap to trust-constr", PRINTED["gap"][0], float(authors.costs[-1]) - central.cost, "recomputed"),
        _compare(
            "the same, relative", PRINTED["relative gap"][0], float(authors.costs[-1]) / central.cost - 1, "recomputed"
        ),
        _compare("Algorithm 1, right bracket: rounds", None, right.rounds, "recomputed"),
        _compare("Algorithm 1, right bracket: F", None, float(right.costs[-1]), "recomputed"),
        _compare("its gap to the optimum, relative", None, float(right.costs[-1]) / best.cost - 1, "recomputed"),
        _compare("optimum: F", None, best.cost, "recomputed"),
        _compare("optimum: lower bound (certificate)", None, best.bound, "recomputed"),
        _compare("demand of all sources can grow by", None, growth, "recomputed"),
    ]
    return Table("results", "Objective values and iterations", columns, rows)


def table_1(case: Instance, central: Central, best: Optimum, authors: Trace, right: Trace) -> Table:
    """Table I with more digits, and with the two rows that it should have had."""
    columns = [Column("solver", "solver")]
    for node in NODES:
        columns += [Column(f"printed_{node}", f"{node} printed"), Column(f"computed_{node}", "computed", ".6f")]
    none = (None,) * len(NODES)
    rows: list[list[Value]] = []
    for name, printed, flows in (
        ("central_flow, trust-constr", PRINTED["central utilization"], central.flows),
        ("dist_flow, authors' bracket", PRINTED["distributed utilization"], authors.flows[-1]),
        ("dist_flow, right bracket", none, right.flows[-1]),
        ("optimum", none, best.flows),
    ):
        use = (flows.sum(axis=0) / case.servers).tolist()
        rows.append([name, *(cell for pair in zip(printed, use, strict=True) for cell in pair), "recomputed"])
    return Table("table-1", "Table I: utilizations of the service nodes", [*columns, SOURCE], rows)


def given() -> list[Table]:
    """The instance: classes, sources and capacities."""
    classes: list[list[Value]] = [[kind, rate, size, "printed"] for kind, (rate, size) in CLASSES.items()]
    paths: list[list[Value]] = [
        [name, "+".join(map(str, kinds)), rate, *row, "printed; rate recomputed from the classes"]
        for name, kinds, rate, row in zip(SOURCES, HOLDS, rates(), ACCESS, strict=True)
    ]
    paths.append(["service nodes", None, None, *SERVERS, "printed"])
    class_columns = (
        Column("class", "class"),
        Column("messages_per_s", "messages/s", "g"),
        Column("size_kb", "mean size, KB", "g"),
        SOURCE,
    )
    capacity = [Column(f"capacity_{node}_mb_per_s", f"μ to {node}", ".4f") for node in NODES]
    path_columns = (
        Column("sender", "source or node"),
        Column("classes", "classes"),
        Column("rate_mb_per_s", "λ, MB/s", ".6f"),
        *capacity,
        SOURCE,
    )
    return [
        Table("classes", "Message classes", class_columns, classes),
        Table("instance", "Rates and capacities, MB/s", path_columns, paths),
    ]


def rounds(name: str, title: str, keys: Sequence[Column], runs: Iterable[tuple[str, FloatArray]]) -> Table:
    """Numbers of every round of Algorithm 1, with both brackets; each array is (rounds + 1, len(keys))."""
    columns = (Column("bracket", "bracket"), Column("round", "round", "d"), *keys, SOURCE)
    rows: list[list[Value]] = [
        [bracket, number, *values.tolist(), "recomputed"]
        for bracket, series in runs
        for number, values in enumerate(series)
    ]
    return Table(name, title, columns, rows)


def routes(case: Instance, solutions: Sequence[tuple[str, FloatArray]]) -> Table:
    """Figure 5's numbers: every route of every solution."""
    columns = (
        Column("solution", "solution"),
        Column("sender", "from"),
        Column("node", "to"),
        Column("flow_mb_per_s", "flow, MB/s", ".6f"),
        Column("marginal_cost_s", "M_ij, s", ".8f"),
        Column("excess_s", "above the cheapest, s", _small),
        Column("used", "used"),
        SOURCE,
    )
    rows: list[list[Value]] = []
    for name, flows in solutions:
        check = check_routes(case, flows)
        for i, sender in enumerate(SOURCES):
            for j, node in enumerate(NODES):
                numbers = [float(array[i, j]) for array in (flows, check.marginal, check.excess)]
                rows.append([name, sender, node, *numbers, "yes" if check.used[i, j] else "no", _USED])
    return Table("figure-5", "Total marginal cost of every route", columns, rows)


def residuals(solutions: Sequence[tuple[str, RouteCheck, float]]) -> Table:
    """Eq. (14) source by source: the largest excess of a used route, and what each source adds to the gap."""
    columns = [Column("solution", "solution"), Column("sender", "from")]
    columns += [
        Column("worst_excess_s", "worst used route, excess in s", _small),
        Column("gap_share", "flow × excess", _small),
        Column("gap", "F above the optimum", _small),
        SOURCE,
    ]
    rows: list[list[Value]] = []
    for name, check, above in solutions:
        for i, sender in enumerate(SOURCES):
            last = above if i == len(SOURCES) - 1 else None
            rows.append([name, sender, float(check.worst[i]), float(check.weighted[i].sum()), last, _USED])
    return Table("wardrop", "Eq. (14) source by source", columns, rows)


def sweep(points: Sequence[SweepPoint]) -> Table:
    """The optimum and Algorithm 1 over the load of the servers."""
    words = {"rest": "comes to rest", "infeasible": "leaves the feasible set", "no rest": "circles"}
    columns = (
        Column("load", "load", ".2f"),
        Column("cost", "F", ".10f"),
        Column("gap", "certified gap", ".0e"),
        *(Column(f"utilization_{node}", node, ".5f") for node in NODES),
        Column("stiffness", "ν", ",.2f"),
        Column("rounds", "rounds", "d"),
        Column("ended", "Algorithm 1, right bracket"),
        SOURCE,
    )
    rows: list[list[Value]] = [
        [p.load, p.best.cost, p.best.gap, *p.utilizations.tolist(), p.stiffness, p.rounds, words[p.ended], "ours"]
        for p in points
    ]
    return Table("sweep", "Servers scaled to a load", columns, rows)


def away(means: FloatArray) -> FloatArray:
    """How far the printed means are from those of runs (runs, J), in standard deviations of a run, shape (J,)."""
    printed = np.array([float(text) for text in PRINTED["stochastic utilization"]])
    return np.asarray((printed - means.mean(axis=0)) / means.std(axis=0, ddof=1))


def stochastic(case: Instance, runs: Sequence[tuple[str, Run]], references: Sequence[tuple[str, FloatArray]]) -> Table:
    """Mean utilizations after the warm-up: printed, one run, and how runs scatter."""
    columns = [Column("quantity", "quantity"), *(Column(node, node, ".4f") for node in NODES), SOURCE]
    printed = [float(text) for text in PRINTED["stochastic utilization"]]
    rows: list[list[Value]] = [["printed", *printed, "printed"]]
    for name, run in runs:
        mean, spread = run.means.mean(axis=0), run.means.std(axis=0, ddof=1)
        rows += [
            [f"{BRACKETS[name]}: the run shown", *run.means[0].tolist(), "ours"],
            [f"{BRACKETS[name]}: mean of {len(run.means)} runs", *mean.tolist(), "ours"],
            [f"{BRACKETS[name]}: standard deviation of a run", *spread.tolist(), "ours"],
            [f"{BRACKETS[name]}: printed − mean, in deviations", *away(run.means).tolist(), "ours"],
            [f"{BRACKETS[name]}: the same, of unsmoothed means", *away(run.unsmoothed(case)).tolist(), "ours"],
        ]
    rows += [[f"{name}, deterministic", *use.tolist(), "recomputed"] for name, use in references]
    return Table("stochastic", "Mean utilization after the warm-up", columns, rows)


def estimates(runs: Sequence[tuple[str, Run]]) -> Table:
    """Figure 6's numbers."""
    columns = (
        Column("bracket", "bracket"),
        Column("time_s", "s", "g"),
        *(Column(f"utilization_{node}", node, ".4f") for node in NODES),
        SOURCE,
    )
    rows: list[list[Value]] = [
        [name, WINDOW_S * (window + 1), *values.tolist(), "ours"]
        for name, run in runs
        for window, values in enumerate(run.estimates[0])
    ]
    return Table("figure-6", "Smoothed utilization over time", columns, rows)


def splits(case: Instance, runs: Sequence[tuple[str, FloatArray, FloatArray]]) -> Table:
    """Figure 7's numbers: splits at the fixed point, and seen."""
    columns = (
        Column("bracket", "bracket"),
        Column("sender", "from"),
        Column("node", "to"),
        Column("fixed_point", "fixed point", ".4f"),
        Column("stochastic", "stochastic run", ".4f"),
        Column("source", "source of both"),
    )
    rows: list[list[Value]] = [
        [name, sender, node, float(flows[i, j] / case.rates[i]), float(seen[i, j]), "recomputed; ours"]
        for name, flows, seen in runs
        for i, sender in enumerate(SOURCES)
        for j, node in enumerate(NODES)
    ]
    return Table("figure-7", "Splits: fixed point and stochastic run", columns, rows)


def windows(jobs: Jobs, means: FloatArray) -> Table:
    """Figure 8's numbers."""
    columns = (
        Column("window_start_s", "s", "g"),
        Column("sender", "from"),
        Column("jobs", "jobs", "d"),
        Column("mean_delay_s", "mean delay, s", ".5f"),
        SOURCE,
    )
    rows: list[list[Value]] = []
    for window in range(means.shape[1]):
        sent = np.bincount(jobs.source[jobs.window == window], minlength=len(SOURCES))
        for i, sender in enumerate(SOURCES):
            delay = float(means[i, window]) if sent[i] else None
            rows.append([window * WINDOW_S, sender, int(sent[i]), delay, "ours"])
    return Table("figure-8", "Mean delay of each source in each window", columns, rows)


def delays(case: Instance, runs: Sequence[Jobs], flows: FloatArray) -> Table:
    """Mean delays of the sources after the warm-up: every job through its queues, against the formulas."""
    columns = (
        Column("sender", "from"),
        Column("model_s", "formulas at the fixed point, s", ".5f"),
        Column("queued_s", "jobs in queues, s", ".5f"),
        Column("queued_ci95_s", "± 95 %, s", ".5f"),
        Column("runs", "runs", "d"),
        Column("jobs", "jobs", "d"),
        SOURCE,
    )
    model = source_delays(case, flows)
    rows: list[list[Value]] = []
    for i, sender in enumerate(SOURCES):
        delay = [jobs.delay[(jobs.source == i) & (jobs.window >= WARM_UP)] for jobs in runs]
        found = replications([float(each.mean()) for each in delay if len(each)])
        count = sum(map(len, delay))
        rows.append([sender, float(model[i]), found.value, found.ci95, found.n, count, "ours; formulas recomputed"])
    return Table("delays", "Mean delay of each source after the warm-up", columns, rows)
