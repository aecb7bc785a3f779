"""The priority paper made to compute: its two figures with numbers, a worked example, and what its theorems promise.

The paper prints formulas and two sketches, and no number. `reproduce` computes everything and returns the page.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from experiments.pages.paper import Column, Page, Picture, Section, Table
from experiments.papers import priority_figures as figures
from experiments.papers import priority_tables as tables
from experiments.papers.priority_instance import CAPACITY_COSTS, ORIGINS, example, two_equilibria
from pricing.priority.capacity import entry_and_exit
from pricing.priority.regimes import Regimes, claims, compare
from pricing.priority.solve import equilibria
from pricing.priority.state import State
from pricing.priority.tatonnement import tatonnement
from pricing.values import FloatArray

CITATION = "H. J. Kim and J. H. Juhn: A Pricing Scheme in Networked Computing System with Priority (ETRI)."

STARTS = ((0.4, 0.001), (0.2, 0.01), (0.05, 0.02), (0.02, 0.025), (0.1, 0.012), (0.9, 0.0005))
"""Where the tatonnement is let go in the picture of two equilibria."""


def reproduce(jobs: int = 100_000, runs: int = 16) -> Page:
    """Compute everything that the page shows, about half a minute on one core; `jobs`, `runs` of the simulations."""
    economy = example()
    found, compared = equilibria(economy), compare(economy)
    best = found.best
    return Page(
        paper="priority",
        title="Prices of priority classes: the paper made to compute",
        citation=CITATION,
        text=[
            "The paper prints formulas and two sketches, and no number. Here its formulas are computed: the known "
            "answers first, then its two figures and a worked example of ours, three machines and four services, from "
            "demand to investment.",
            f"The example: {found}. The best has {_percent(best, compared.fifo.best)} more welfare than one price "
            f"for all, first come, first served, and {best.welfare / compared.free.best.welfare:.2f} times that of "
            "free access.",
            "Two things in the paper hold less widely than it says. Waits are not convex in the rates, so the welfare "
            "optimum need not be unique (Theorem 1), and a price equilibrium need not be the optimum (Theorem 2): each "
            "equilibrium is a stationary point of welfare and the other way round, and there can be several. And that "
            "one more job of a higher class adds more to everybody's wait than one of a lower class holds only weakly: "
            "classes before both do not feel the difference.",
        ],
        sources=ORIGINS,
        sections=[
            Section("Known answers", [], [tables.known()]),
            _figures(best),
            Section(
                "The worked example",
                [
                    "Requests of four services share a link and are served by one of two servers; backup has one of "
                    "them alone. Each has another kind of value: quadratic, logarithmic, isoelastic, and a table.",
                    "Each option in use costs exactly what one more request is worth (4), and none costs less: that is "
                    "the equilibrium of users who take prices as given, and the first-order condition of welfare (8).",
                ],
                [
                    tables.solutions(found, "equilibria", "Equilibria found"),
                    tables.machines(best),
                    tables.options(best),
                    tables.lying(best),
                ],
            ),
            _gains(compared),
            Section(
                "Waits and their sensitivity by simulation",
                [
                    "Poisson arrivals at the optimum's rates, sizes as in the example, each machine by itself. An "
                    "interval of 95 % misses once in twenty.",
                ],
                [tables.simulation(best, jobs, runs)],
            ),
            _two(),
            _investment(),
        ],
    )


def _percent(one: State, other: State) -> str:
    return f"{100 * (one.welfare / other.welfare - 1):.1f} %"


def _figures(best: State) -> Section:
    demand = Table(
        "figure-1",
        "Figure 1",
        (Column("service", "service"), Column("rate_per_s", "X", ".3f"), Column("marginal_value", "V′", ".5f"),
         Column("cost", "c*", ".5f"), tables.SOURCE),
        [
            [best.economy.services[s].name, float(rate), float(worth), float(cost), "ours"]
            for s, cost in enumerate(claims(best).min(axis=1))
            for rate, worth in zip(*figures.demand_curve(best, s), strict=True)
        ],
    )  # fmt: skip
    curves = {m: figures.tradeoff(best, m) for m in range(len(best.economy.machines))}
    waits = Table(
        "figure-2",
        "Figure 2",
        (Column("machine", "machine"), Column("class", "class", "d"), Column("load", "load", ".3f"),
         Column("wait_s", "wait, s", ".5g"), tables.SOURCE),
        [
            [best.economy.machines[m].name, k + 1, float(load), float(wait[k]), "ours"]
            for m, (loads, curve) in curves.items()
            for load, wait in zip(loads, curve, strict=True)
            for k in range(curve.shape[1])
        ],
    )  # fmt: skip
    return Section(
        "Figures 1 and 2",
        ["The paper's sketches, drawn from the worked example."],
        [
            Picture(
                "Figure 1: optimal choice of average flow rates",
                "Falling: what one more request is worth, the demand curve. Level: what it costs, delay and rent. They "
                "meet at the rate that the user chooses.",
                demand,
                partial(figures.figure_1, best),
            ),
            Picture(
                "Figure 2: tradeoff between waiting time and throughput",
                "The wait is plotted downward, so users prefer points to the upper right. Dots: the optimum.",
                waits,
                partial(figures.figure_2, best, curves),
            ),
        ],
    )


def _gains(compared: Regimes) -> Section:
    table = tables.regimes(compared)
    kept = {name: state.net_benefits for name, state in compared}
    revenue = {name: state.revenue for name, state in compared}
    names = [service.name for service in compared.priority.best.economy.services]
    return Section(
        "One price, and none",
        [
            "Rents are transfers: welfare is what users keep plus what they pay. A user can lose by prices while all "
            "gain together; giving the revenue back in equal parts is one way to share it.",
        ],
        [
            table,
            Picture(
                "Welfare under three regimes",
                "What each service keeps, and the revenue.",
                table,
                partial(figures.regimes, kept, revenue, names),
            ),
        ],
    )


def _two() -> Section:
    economy = two_equilibria()
    found = equilibria(economy)
    ways: list[FloatArray] = []
    for start in STARTS:
        path = [np.array(start), *(one.state.totals for one in tatonnement(economy, np.array(start)))]
        ways.append(np.array(path))
    x, y = np.meshgrid(np.linspace(0, 0.98, 60), np.linspace(0, 0.0329, 60))
    w = np.full(x.shape, np.nan)
    for index in np.ndindex(*x.shape):
        rates = np.array([x[index], y[index]])
        if economy.load(rates)[0] < 0.995:
            w[index] = State(economy, rates).welfare
    table = tables.solutions(found, "two-equilibria", "One queue, one class, jobs of 1 and of 30")
    return Section(
        "Two equilibria",
        [
            "Small and large jobs share one queue. Where the small ones are many, the wait is short and its price for "
            "them low, but a large job would delay so many that its price keeps it out; where the large ones are, the "
            "small ones find a wait that is not worth while. Both are equilibria, prices go to either, and only one is "
            "the optimum. Between them lies a third, a saddle of welfare, which no tatonnement reaches.",
        ],
        [
            table,
            Picture(
                "Welfare, its equilibria, and where prices lead",
                "Full circles: maxima, where the tatonnement (blue, from its dots) ends; open: the one between.",
                table,
                partial(figures.landscape, found, (x, y, w), ways),
            ),
        ],
    )


def _investment() -> Section:
    rounds = list(entry_and_exit(example(), CAPACITY_COSTS, rounds=10, starts=3))
    table = tables.investments(rounds)
    return Section(
        "Entry and exit",
        [
            "Capacity is worth dW/dv, computed from waits and rates alone. Each round enlarges the machine where it "
            "is worth most for its cost and shrinks the one where it is worth least, by a part of its speed that is "
            "halved when welfare less the cost of capacity would not rise.",
            f"The surplus goes from {rounds[0].surplus:.2f} to {rounds[-1].surplus:.2f} credits/s. Worth over cost is "
            "not 1 everywhere after ten rounds: a smaller machine may be worth still less for its cost, as those who "
            "used it go elsewhere, and such a machine is on its way out.",
        ],
        [
            table,
            Picture("Ten rounds", "Dashed: worth what it costs.", table, partial(figures.investment, rounds)),
        ],
    )
