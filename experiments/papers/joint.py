"""The joint paper reproduced: every table and figure of its Section VI, with what it prints and what comes out here.

`reproduce` computes everything and returns the page; `experiments.pages.paper.write` puts it on disk.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from experiments.pages.paper import Column, Page, Picture, Section, Table
from experiments.papers import joint_figures as figures
from experiments.papers import joint_stochastic as stochastic
from experiments.papers import joint_tables as tables
from experiments.papers.joint_instance import NODES, ORIGINS, SOURCES, instance
from experiments.papers.joint_solve import (
    MARGIN,
    STIFFEST,
    USED,
    Central,
    Optimum,
    Trace,
    central,
    check_routes,
    optimum,
    sweep,
    trace,
)
from experiments.papers.joint_tables import AUTHORS, RIGHT
from pricing.joint.printed import Instance
from pricing.values import FloatArray

CITATION = (
    "T. Sarkar and B. Krishnamachari: Joint Network-and-Server Congestion in Multi-Source Traffic Allocation: A Convex "
    "Formulation and Price-Based Decentralization (arXiv 2602.03246)."
)


def reproduce() -> Page:
    """Compute everything that the page shows; about half a minute on one core."""
    case = instance()
    best, middle = optimum(case), central(case)
    authors, right = trace(case, from_largest=True), trace(case, from_largest=False)
    return Page(
        paper="joint",
        title="Joint network-and-server congestion: the paper reproduced",
        citation=CITATION,
        text=_lead(middle, best, authors, right),
        sources=ORIGINS,
        sections=[
            _results(case, middle, best, authors, right),
            _gap(case, best, authors, right),
            _rounds(best, authors, right),
            _routes(case, middle, best, authors, right),
            _stochastic(case, best, authors, right),
            _sweep(),
            Section(
                "The instance",
                [
                    "Rates and capacities are in MB/s. With a delay of 1/(μ − λ) in seconds this says that a job is "
                    "1 MB on average, which the paper does not mention; F, rate times delay summed, is then the "
                    "mean number of jobs in the system."
                ],
                tables.given(),
            ),
        ],
    )


def small(value: float, digits: int = 2) -> str:
    """A small number for a sentence.

    >>> small(0.00020050279, 4)
    '2.005·10⁻⁴'
    """
    number, exponent = f"{value:.{digits - 1}e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if number == "1" else f"{number}·{power}"


def _lead(middle: Central, best: Optimum, authors: Trace, right: Trace) -> list[str]:
    above = float(authors.costs[-1] - middle.cost)
    share = float(right.costs[-1] / best.cost - 1)
    return [
        "What the paper prints of its two solvers comes out here digit by digit: the central run ends after "
        f"{middle.iterations} iterations at F = {middle.cost:.10f}, Algorithm 1 as the authors ran it after "
        f"{authors.rounds} rounds at F = {authors.costs[-1]:.10f}.",
        f"The printed gap of {small(above, 4)} between the two is not the method's. It is an error in the program "
        "with which a source computes its best response: a bisection that starts its search too high. With the "
        f"right bracket the same algorithm with the same steps also takes {right.rounds} rounds and ends at F = "
        f"{right.costs[-1]:.10f}, {small(share)} above the optimum (relative), which is F⋆ = {best.cost:.13f}. There "
        f"the certificate proves a gap of at most {small(max(best.gap, 1e-15), 1)}.",
        "Figures 2 to 8 and Table I below keep the paper's numbers. Its Figure 1 is a drawing of the model. The paper "
        "has no figure with capacities that vary in time: it leaves them for later, and so does this page.",
    ]


def _results(case: Instance, middle: Central, best: Optimum, authors: Trace, right: Trace) -> Section:
    table = tables.table_1(case, middle, best, authors, right)
    return Section(
        "Objective values and Table I",
        [
            "The central run is SciPy's trust-constr with analytic gradients and its default tolerances, from a "
            "start in proportion to min(μ_ij, what is left of μ_j). The paper calls its margin ε below capacity "
            f"small and does not give it; {small(MARGIN, 1)} MB/s is ours, and any from 10⁻⁹ to 10⁻³ gives the same "
            f"digits. It stops {small(middle.cost - best.cost)} above the optimum. The optimum itself is computed by "
            "an interior-point method and certified by a dual bound: at the prices p, no flows cost less than Σ_i "
            "min_y [g_i(y) + p·y] + Σ_j min_x [g_j(x) − p_j x].",
            "Table I's distributed row is the authors' bracket's. The right one repeats the central row.",
        ],
        [
            tables.results(case, middle, best, authors, right),
            table,
            Picture(
                "Table I drawn: utilizations, printed with their rounding and computed",
                "Dashed: the optimum. The printed distributed row fits the orange points only.",
                table,
                partial(figures.table_1, case, best, authors, right, middle.flows),
            ),
        ],
    )


def _gap(case: Instance, best: Optimum, authors: Trace, right: Trace) -> Section:
    check = check_routes(case, authors.flows[-1])
    parts = check.weighted.sum(axis=1)
    worst = int(parts.argmax())
    flows = authors.flows[-1]
    light = [i for i in range(len(SOURCES)) if case.rates[i] < 1]
    spread = "; ".join(
        f"{SOURCES[i]} sends "
        + " and ".join(f"{flows[i, j]:.4f} to {NODES[j]}" for j in range(len(NODES)) if check.used[i, j])
        for i in light
    )
    prices = right.prices[-1]
    entries = prices + case.paths.base[worst]
    multipliers = np.linspace(entries.min(), entries.max(), 201)
    columns = (
        Column("multiplier_s", "multiplier, s", ".6f"),
        *(Column(f"flow_{node}_mb_per_s", node, ".4f") for node in NODES),
        tables.SOURCE,
    )
    rows = [[float(nu), *case.paths.load_at(nu - prices)[worst].tolist(), "recomputed"] for nu in multipliers]
    return Section(
        "Where the printed gap comes from",
        [
            "Given prices, a source's best response puts y_j on route j so that marginal access cost plus price is the "
            "same multiplier α on every route it uses; a route opens at α = p_j + 1/μ_ij. The right α is where all "
            "routes together carry the source's rate, so the search for it must start where the first route opens. The "
            "authors start it where the last one opens.",
            "A source with much to send has its α above that, and nothing happens. A light source has it below: its "
            "search ends at its own lower end, where the routes carry far more than it has, and scaling this down "
            "to its rate spreads it over routes it should leave alone. Here these are "
            f"{', '.join(SOURCES[i] for i in light)}: {spread} MB/s, where each should use SN3 only.",
            f"To first order the gap is flow times excess marginal cost, summed: {small(float(parts.sum()), 3)} "
            f"here, of which {SOURCES[worst]} has {parts[worst] / parts.sum():.0%} and P2 and P3 together "
            f"{(parts[2] + parts[3]) / parts.sum():.1%}; F itself is "
            f"{small(float(authors.costs[-1]) - best.cost, 3)} above the optimum. With the bracket alone changed, "
            "the excess is gone and the gap with it.",
        ],
        [
            Picture(
                f"The best response of {SOURCES[worst]} at the final prices",
                "All routes together rise with the multiplier. The root is far left of where the authors' search "
                "starts.",
                Table("gap", f"What {SOURCES[worst]} sends at a multiplier", columns, rows),
                partial(figures.gap, case, prices, worst),
            )
        ],
    )


def _rounds(best: Optimum, authors: Trace, right: Trace) -> Section:
    both = ((AUTHORS, authors), (RIGHT, right))
    cost = (Column("cost", "F", ".10f"), Column("excess", "F/F⋆ − 1", ".2e"))
    use = [Column(f"utilization_{node}", node, ".6f") for node in NODES]
    delay = [Column(f"delay_{source}_s", source, ".6f") for source in SOURCES]
    return Section(
        "Algorithm 1 round by round",
        [
            "η = 0.3, γ = 0.5, prices from 0, and the same start as the central run; it ends when the flows change by "
            "less than 10⁻⁷ (relative, Frobenius norm). Round 0 is the start."
        ],
        [
            Picture(
                "Figure 2: the objective over the rounds",
                "Left as in the paper, right what its scale hides: with the authors' bracket F stops falling near "
                "10⁻⁴.",
                tables.rounds(
                    "figure-2",
                    "F after each round",
                    cost,
                    [(name, np.stack([run.costs, run.costs / best.cost - 1], axis=1)) for name, run in both],
                ),
                partial(figures.objective, best, authors, right),
            ),
            Picture(
                "Figure 3: utilization of each service node over the rounds",
                "Dashed: where it ends.",
                tables.rounds(
                    "figure-3",
                    "Utilization after each round",
                    use,
                    [(name, run.utilizations) for name, run in both],
                ),
                partial(figures.utilizations, authors, right),
            ),
            Picture(
                "Figure 4: mean end-to-end delay of each source over the rounds",
                "As the paper says, P4 is soon at the least delay and P3 stays at the greatest. The light sources, "
                "P0, P1 and P4, are those whose delays the bracket changes; at the optimum a source's own delay "
                "need not be less, only the sum is.",
                tables.rounds(
                    "figure-4",
                    "Mean delay of each source after each round, s",
                    delay,
                    [(name, run.delays) for name, run in both],
                ),
                partial(figures.delays, authors, right),
            ),
        ],
    )


def _routes(case: Instance, middle: Central, best: Optimum, authors: Trace, right: Trace) -> Section:
    solutions = [
        ("central (trust-constr)", middle.flows, figures.CENTRAL_COLOUR),
        (f"Algorithm 1, {figures.AUTHORS}", authors.flows[-1], figures.AUTHORS_COLOUR),
        (f"Algorithm 1, {figures.RIGHT}", right.flows[-1], figures.RIGHT_COLOUR),
    ]
    checks = [(name, check_routes(case, flows), colour) for name, flows, colour in solutions]
    above = [case.cost(flows) - best.cost for _, flows, _ in solutions]
    return Section(
        "The KKT and Wardrop check of every route",
        [
            "Eq. (14): at the optimum all routes that a source uses have the same total marginal cost M_ij, and no "
            f"other is cheaper. A route counts as used from {USED:g} of its source's rate on; the paper gives no "
            "threshold, and this one is ours.",
            "The paper finds the same pattern at both of its solutions. It holds for the central one and for the right "
            "bracket. As the authors ran it P0, P1 and P4 use routes that are too dear, P4 by "
            f"{checks[1][1].worst[4] * 1e3:.1f} ms.",
        ],
        [
            Picture(
                "Figure 5: total marginal cost of every route, above the cheapest of its source",
                "Filled: used. Hollow: not used. Eq. (14) asks that all filled points lie at zero.",
                tables.routes(case, [(name, flows) for name, flows, _ in solutions]),
                partial(figures.routes, checks),
            ),
            tables.residuals(
                [(name, check, over) for (name, check, _), over in zip(checks, above, strict=True)],
            ),
        ],
    )


def _stochastic(case: Instance, best: Optimum, authors: Trace, right: Trace) -> Section:
    asran, fixed = stochastic.loop(case, from_largest=True), stochastic.loop(case, from_largest=False)
    queued = [stochastic.queue_up(case, counts, seed) for seed, counts in enumerate(asran.counts[: stochastic.QUEUED])]
    jobs = queued[0]
    optimal = best.flows.sum(axis=0) / case.servers
    references = [
        ("optimum", optimal),
        ("authors' bracket, fixed point", authors.utilizations[-1]),
        ("right bracket, fixed point", right.utilizations[-1]),
    ]
    splits = ((AUTHORS, authors.flows[-1], asran.shares[0]), (RIGHT, right.flows[-1], fixed.shares[0]))
    panels = [
        (figures.AUTHORS, authors.flows[-1], asran.shares[0], figures.AUTHORS_COLOUR),
        (figures.RIGHT, right.flows[-1], fixed.shares[0], figures.RIGHT_COLOUR),
    ]
    means = figures.window_means(jobs, stochastic.WINDOWS)
    return Section(
        "The stochastic M/M/1 run",
        [
            "300 s in windows of 5 s, 4 of them warm-up; Poisson counts a window; EWMA 0.3, γ = 0.5, inertia 0.35: "
            "so much is published, and the mean utilizations. The seed is lost, and so are three readings, which "
            "are ours: inertia is the part of the old split that is kept; estimates start at zero; the mean printed "
            "is that of the estimates of Figure 6. Estimates that start at zero are on average 1 % low over the "
            "windows counted, which is one reason why the printed means lie below the optimum.",
            "One run's means scatter, so a run of ours cannot repeat the printed digits. The table says how far "
            f"they lie from the mean of {stochastic.RUNS} runs with the authors' bracket: {_signed(asran.means)} "
            "standard deviations of a run at the three nodes, which chance does. Read as means of the windows' own "
            f"counts, unsmoothed, they lie at {_signed(asran.unsmoothed(case))}, which it hardly does: hence our "
            "third reading.",
            "Figure 8 sends every counted job through its queues, first come, first served, with exponential "
            "services. What the paper computed its delays from is lost. The light sources send less than one job in "
            "a window, and their points are single jobs: that, not the network, is what fluctuates.",
        ],
        [
            tables.stochastic(case, [(AUTHORS, asran), (RIGHT, fixed)], references),
            Picture(
                "Figure 6: utilization over time in the stochastic run, authors' bracket",
                "Solid: the smoothed estimate. Dashed: the optimum. Dotted: where Algorithm 1 ends. The CSV has "
                "both brackets.",
                tables.estimates([(AUTHORS, asran), (RIGHT, fixed)]),
                partial(figures.estimates, asran, optimal, authors.utilizations[-1]),
            ),
            Picture(
                "Figure 7: each source's split, at the fixed point (bars) and in the stochastic run (points)",
                "The points are shares of the jobs sent after the warm-up. Above as the authors ran it: P0, P1 and "
                "P4 are split, to no one's advantage. Below with the right bracket.",
                tables.splits(case, splits),
                partial(figures.shares, case, panels),
            ),
            Picture(
                "Figure 8: mean delay of each source's jobs over time, authors' bracket",
                "Points: mean of the jobs sent in a window. Dashed: the formulas at the fixed point. Shaded: warm-up.",
                tables.windows(jobs, means),
                partial(figures.queued, case, jobs, authors.flows[-1], stochastic.WINDOWS),
            ),
            tables.delays(case, queued, authors.flows[-1]),
        ],
    )


def _sweep() -> Section:
    points = sweep()
    steady = [point.load for point in points if point.ended == "rest"]
    return Section(
        "Past the paper: servers under load",
        [
            "The paper's servers are loaded to 0.13 of their sum. Here they are scaled to more: the optimum is "
            "certified at each load, and Algorithm 1 is run with the right bracket and the printed steps.",
            f"It comes to rest up to a load of {max(steady):.1f} among those tried. Near the optimum it is stable "
            f"while ν, the largest eigenvalue of diag(C_j′) Σ_i K_i, is below (2 − η)(2 − γ)/(ηγ) = {STIFFEST:.0f}; "
            "the paper's convergence theorem assumes a contraction, and this is where the assumption ends. Under "
            "more load the iteration circles or puts a server above its capacity.",
        ],
        [
            Picture(
                "Load sweep: optimum, utilizations, and how Algorithm 1 ends",
                "ν measures how strongly prices answer to flows. The dashed line is the printed steps' limit.",
                tables.sweep(points),
                partial(figures.sweep, points),
            ),
            tables.sweep(points),
        ],
    )


def _signed(means: FloatArray) -> str:
    """How far the printed means are from runs' means, node by node, in deviations."""
    return ", ".join(f"{value:+.1f}".replace("-", "−") for value in tables.away(means))
