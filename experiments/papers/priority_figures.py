"""The priority paper's two figures in its form, with numbers; and three of ours. Waits are in ms, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.pages.style import HUES, LIGHT
from pricing.priority.capacity import Investment
from pricing.priority.regimes import claims
from pricing.priority.solve import Solutions
from pricing.priority.state import State
from pricing.values import FloatArray

WIDTH = 6.8


def _panels(height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, columns)).ravel()
    for each in axes:
        each.tick_params(length=0)
    return figure, list(axes)


def demand_curve(state: State, s: int) -> tuple[FloatArray, FloatArray]:
    """Rates up to twice the demand, and the marginal value there."""
    rates = np.linspace(0, 2 * state.totals[s], 101)[1:]
    return rates, np.array([state.economy.services[s].value.marginal(float(rate)) for rate in rates])


def figure_1(state: State) -> Figure:
    """Fig. 1: the demand curve, the cost as a level line, and the rate where they meet, for each service."""
    figure, panels = _panels(2.5, len(state.totals))
    costs = claims(state).min(axis=1)
    for s, axes in enumerate(panels):
        rates, worth = demand_curve(state, s)
        axes.plot(rates, worth, color=HUES[s])
        axes.axhline(costs[s], color=LIGHT["ink"], lw=0.9)
        axes.plot([state.totals[s]] * 2, [0, costs[s]], color=LIGHT["soft"], lw=0.9, ls=(0, (2, 2)))
        axes.plot(state.totals[s], costs[s], "o", ms=4, color=LIGHT["ink"])
        axes.set(xlim=(0, rates[-1]), ylim=(0, min(float(worth.max()), 3 * costs[s]) * 1.05))
        axes.set_title(state.economy.services[s].name)
        axes.set_xlabel("X, requests/s")
    panels[0].set_ylabel("credits a request")
    return figure


def tradeoff(state: State, m: int, points: int = 121) -> tuple[FloatArray, FloatArray]:
    """Machine m with all its arrivals scaled: load of each scaling, and waits (points, K), s."""
    top = state.economy.load(state.x)[m]
    loads = np.linspace(0.01, 0.97, points)
    waits = np.array([State(state.economy, state.x * load / top).queues.waits[m] for load in loads])
    return loads, waits


def figure_2(state: State, waits: Mapping[int, tuple[FloatArray, FloatArray]]) -> Figure:
    """Fig. 2: wait, plotted downward, against throughput; the mix of arrivals is that of the optimum."""
    figure, panels = _panels(2.7, len(waits))
    for axes, (m, (loads, curve)) in zip(panels, waits.items(), strict=True):
        here = state.economy.load(state.x)[m]
        for k in range(curve.shape[1]):
            axes.plot(loads, curve[:, k] * 1e3, color=HUES[k], label=f"class {k + 1}")
            axes.plot(here, state.waits[m, k] * 1e3, "o", ms=4, color=HUES[k])
        axes.axvline(1, color=LIGHT["soft"], lw=0.9, ls=(0, (5, 3)))
        axes.set(xlim=(0, 1.03), ylim=(5 * float(state.waits[m, -1]) * 1e3, 0))
        axes.set_title(state.economy.machines[m].name)
        axes.set_xlabel("throughput by capacity")
    panels[0].set_ylabel("wait, ms (downward)")
    panels[0].legend(loc="lower left")
    return figure


def landscape(
    solutions: Solutions, welfare: tuple[FloatArray, FloatArray, FloatArray], paths: Sequence[FloatArray]
) -> Figure:
    """W over the rates of two services, the equilibria, and ways of the tatonnement."""
    figure, (axes,) = _panels(3.6)
    x, y, w = welfare
    axes.contour(x, y, w, levels=np.arange(0, 12), colors=LIGHT["soft"], linewidths=0.6, linestyles="solid")
    for path in paths:
        axes.plot(path[:, 0], path[:, 1], color=LIGHT["predicted"], lw=0.9)
        axes.plot(*path[0], ".", ms=4, color=LIGHT["predicted"])
    for solution in solutions.all:
        rates = solution.state.totals
        filled = LIGHT["ink"] if solution.maximum else LIGHT["paper"]
        axes.plot(*rates, "o", ms=6, mfc=filled, mec=LIGHT["ink"], clip_on=False, zorder=5)
        axes.annotate(
            f"W = {solution.state.welfare:.3f}", tuple(rates), xytext=(7, 5), textcoords="offset points", fontsize=8
        )
    axes.set(xlim=(0, float(x.max())), ylim=(0, float(y.max())))
    axes.set_xlabel("rate of small jobs")
    axes.set_ylabel("rate of large jobs")
    return figure


def regimes(kept: Mapping[str, FloatArray], revenue: Mapping[str, float], services: Sequence[str]) -> Figure:
    """Welfare of each regime: what each service keeps, and the revenue."""
    figure, (axes,) = _panels(2.0)
    for row, (name, parts) in enumerate(kept.items()):
        left = 0.0
        for s, part in enumerate([*parts, revenue[name]]):
            colour = HUES[s] if s < len(parts) else LIGHT["rule"]
            axes.barh(
                row, part, left=left, color=colour, height=0.6, label=[*services, "revenue"][s] if not row else None
            )
            left += part
        axes.text(left, row, f" {left:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(kept)), list(kept))
    axes.invert_yaxis()
    axes.set_xlabel("credits/s")
    figure.legend(loc="outside upper center", ncols=len(services) + 1, fontsize=8)
    return figure


def investment(rounds: Sequence[Investment]) -> Figure:
    """Worth of capacity against its cost, and the surplus, round by round."""
    figure, (left, right) = _panels(2.6, 2)
    number = np.arange(1, len(rounds) + 1)
    ratios = np.array([one.worth / one.costs for one in rounds])
    for m, machine in enumerate(rounds[0].state.economy.machines):
        left.plot(number, ratios[:, m], "o-", ms=3, color=HUES[m], label=machine.name)
    left.axhline(1, color=LIGHT["ink"], lw=0.9, ls=(0, (5, 3)))
    left.set_title("worth of capacity by its cost")
    left.legend()
    right.plot(number, [one.surplus for one in rounds], "o-", ms=3, color=LIGHT["ink"])
    right.set_title("W less cost of capacity, credits/s")
    for axes in (left, right):
        axes.set_xlabel("round")
        axes.set_xticks(number)
    return figure
