"""The joint paper's figures, in our style. Delays are in ms here, because people read them.

Blue is Algorithm 1 with the right bracket, orange as the authors ran it; a node or a source keeps its hue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.pages.style import HUES, LIGHT
from experiments.papers.joint_instance import NODES, PRINTED, SOURCES
from experiments.papers.joint_solve import STIFFEST, Optimum, RouteCheck, SweepPoint, Trace, source_delays
from experiments.papers.joint_stochastic import WARM_UP, WINDOW_S, Jobs, Run
from pricing.joint.printed import Instance
from pricing.values import FloatArray

WIDTH = 6.8
AUTHORS, RIGHT = "as the authors ran it", "with the right bracket"
CENTRAL_COLOUR, AUTHORS_COLOUR, RIGHT_COLOUR = LIGHT["ink"], LIGHT["model"], LIGHT["predicted"]
DASHES: dict[str, Any] = {"lw": 0.9, "ls": (0, (5, 3))}


def _panels(height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, **kwargs)).ravel()
    for each in axes:
        each.tick_params(length=0)
    return figure, list(axes)


def _at_end(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Name a line at its right end."""
    axes.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", color=colour, fontsize=8)


def _power(value: float) -> str:
    """A small number as people write it: 1.0 · 10⁻⁴."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"${digits}\\cdot 10^{{{int(exponent)}}}$"


def table_1(case: Instance, best: Optimum, authors: Trace, right: Trace, central: FloatArray) -> Figure:
    """Utilizations of Table I against the optimum: printed with their rounding, computed as points."""
    figure, panels = _panels(1.9, columns=3, sharey=True)
    rows = (
        ("central, printed", "central utilization", None, LIGHT["soft"]),
        ("central, computed", None, central.sum(axis=0) / case.servers, LIGHT["ink"]),
        ("distributed, printed", "distributed utilization", None, LIGHT["soft"]),
        (f"distributed, {AUTHORS}", None, authors.utilizations[-1], AUTHORS_COLOUR),
        (f"distributed, {RIGHT}", None, right.utilizations[-1], RIGHT_COLOUR),
    )
    for j, axes in enumerate(panels):
        axes.axvline(float(best.flows.sum(axis=0)[j] / case.servers[j]), color=LIGHT["ink"], **DASHES)
        for y, (_, printed, computed, colour) in enumerate(rows):
            if printed:
                axes.errorbar(float(PRINTED[printed][j]), y, xerr=5e-4, fmt="|", ms=7, color=colour, capsize=2, lw=1.2)
            elif computed is not None:
                axes.plot(computed[j], y, "o", ms=5, color=colour)
        axes.set(title=NODES[j], xlabel="utilization", yticks=range(len(rows)), yticklabels=[row[0] for row in rows])
        axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5]))
        axes.margins(x=0.12, y=0.15)
    panels[0].invert_yaxis()
    return figure


def objective(best: Optimum, authors: Trace, right: Trace) -> Figure:
    """Figure 2: F over the rounds, and how far above the optimum it is."""
    figure, (whole, excess) = _panels(2.6, columns=2)
    for done, name, colour, style in ((right, RIGHT, RIGHT_COLOUR, "-"), (authors, AUTHORS, AUTHORS_COLOUR, "--")):
        whole.plot(done.costs, style, color=colour, label=name)
        above = done.costs / best.cost - 1
        excess.plot(above, style, color=colour)
        _at_end(excess, done.rounds, above[-1], _power(above[-1]), colour)
    whole.axhline(best.cost, color=LIGHT["ink"], **DASHES)
    whole.annotate("optimum", (20, best.cost), xytext=(0, -4), textcoords="offset points", va="top", fontsize=8)
    whole.set(xlabel="round", ylabel="F", xlim=(0, 38), ylim=(2.0125, None))
    whole.legend(loc="upper right")
    excess.set(xlabel="round", ylabel="F above the optimum, relative", yscale="log", xlim=(0, 50))
    excess.set_xticks(range(0, 40, 10))
    excess.minorticks_off()
    return figure


def utilizations(authors: Trace, right: Trace) -> Figure:
    """Figure 3: utilization of each node over the rounds; dashed where it ends."""
    figure, panels = _panels(2.5, columns=2, sharey=True)
    for axes, done, name in zip(panels, (authors, right), (AUTHORS, RIGHT), strict=True):
        for j, node in enumerate(NODES):
            series = done.utilizations[:, j]
            axes.axhline(series[-1], color=HUES[j], **DASHES)
            axes.plot(series, color=HUES[j])
            _at_end(axes, done.rounds, series[-1], f"{node}\n{series[-1]:.4f}", HUES[j])
        axes.set(title=name, xlabel="round", xlim=(0, 38))
    panels[0].set_ylabel("utilization")
    return figure


def delays(authors: Trace, right: Trace) -> Figure:
    """Figure 4: mean delay of each source over the rounds."""
    figure, panels = _panels(2.8, columns=2, sharey=True)
    for axes, done, name in zip(panels, (authors, right), (AUTHORS, RIGHT), strict=True):
        series = done.delays * 1e3
        for i, source in enumerate(SOURCES):
            axes.plot(series[:, i], color=HUES[i])
            _at_end(axes, done.rounds, series[-1, i], f"{source}  {series[-1, i]:.2f}", HUES[i])
        axes.set(title=name, xlabel="round", xlim=(0, 38))
    panels[0].set_ylabel("mean delay, ms")
    return figure


def routes(checks: Sequence[tuple[str, RouteCheck, str]]) -> Figure:
    """Figure 5: total marginal cost of every route above its source's cheapest; filled where the route is used."""
    figure, panels = _panels(5.6, rows=len(checks), sharex=True, sharey=True)
    place = np.arange(len(SOURCES))[:, None] * 5.0 + np.arange(len(NODES))
    for axes, (name, check, colour) in zip(panels, checks, strict=True):
        above = check.excess * 1e3
        for x, y, used in zip(place.ravel(), above.ravel(), check.used.ravel(), strict=True):
            axes.plot(x, y, "o", ms=6.5, mec=colour, mfc=colour if used else "none", mew=1.2, clip_on=False, zorder=3)
            if used and y > 0.05:
                axes.annotate(f"+{y:.2f} ms", (x, y), xytext=(-7, 0), textcoords="offset points", ha="right",
                              va="center", fontsize=8, color=colour)  # fmt: skip
        axes.set(title=name, ylabel="above the cheapest, ms", ylim=(0, 11), yticks=(0, 5, 10))
        axes.grid(visible=False, axis="x")
        for border in place[1:, 0] - 1.5:
            axes.axvline(border, color=LIGHT["rule"], lw=0.6)
    axes = panels[-1]
    axes.tick_params(axis="x", pad=8)
    axes.set_xlim(-2.5, place.max() + 1)
    axes.set_xticks(place.ravel(), ["1", "2", "3"] * len(SOURCES), fontsize=8)
    for i, source in enumerate(SOURCES):
        axes.text(place[i, 1], -0.22, source, transform=axes.get_xaxis_transform(), ha="center", va="top")
    return figure


def gap(case: Instance, prices: FloatArray, source: int) -> Figure:
    """What one source sends on all routes together at a multiplier, and where each bracket starts to look."""
    figure, (axes,) = _panels(2.9)
    entries = prices + case.paths.base[source]
    low, high = entries.min(), entries.max()
    multipliers = np.linspace(low - 0.06 * (high - low), high + 0.22 * (high - low), 600)
    total = [float(case.paths.load_at(nu - prices)[source].sum()) for nu in multipliers]
    rate = float(case.rates[source])
    axes.plot(multipliers * 1e3, total, color=LIGHT["ink"])
    axes.axhline(rate, color=LIGHT["ink"], **DASHES)
    axes.annotate(f"{SOURCES[source]} has {rate:.4f} MB/s to send", (high * 1e3, rate), xytext=(-12, 4),
                  textcoords="offset points", ha="right", fontsize=8)  # fmt: skip
    for j, entry in enumerate(entries):
        axes.axvline(entry * 1e3, color=HUES[j], lw=1)
        axes.annotate(f"{NODES[j]} opens", (entry * 1e3, 0.9), xycoords=("data", "axes fraction"), xytext=(4, 0),
                      textcoords="offset points", color=HUES[j], fontsize=8)  # fmt: skip
    root = float(np.interp(rate, total, multipliers))
    over = float(case.paths.load_at(high - prices)[source].sum())
    axes.plot(root * 1e3, rate, "o", color=RIGHT_COLOUR, ms=7, zorder=4, clip_on=False)
    axes.annotate("the multiplier is here", (root * 1e3, rate), xytext=(14, 62), textcoords="offset points",
                  color=RIGHT_COLOUR, arrowprops={"arrowstyle": "-", "color": RIGHT_COLOUR})  # fmt: skip
    axes.plot(high * 1e3, over, "o", color=AUTHORS_COLOUR, ms=7, zorder=4)
    axes.annotate(f"the authors' search starts here,\nfinds {over:.2f} MB/s and scales it down", (high * 1e3, over),
                  xytext=(-14, 0), textcoords="offset points", ha="right", color=AUTHORS_COLOUR)  # fmt: skip
    axes.set(xlabel="multiplier, ms", ylabel="all routes together, MB/s", ylim=(0, None))
    axes.set_xlim(multipliers[0] * 1e3, multipliers[-1] * 1e3)
    return figure


def sweep(points: Sequence[SweepPoint]) -> Figure:
    """The optimum over the load of the servers, and where Algorithm 1 stops working."""
    figure, (cost, use, stiff) = _panels(2.7, columns=3)
    loads = [point.load for point in points]
    cost.plot(loads, [point.best.cost for point in points], "o-", ms=3.5, color=LIGHT["ink"])
    cost.set(title="optimal F", yscale="log")
    cost.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    cost.minorticks_off()
    for j, node in enumerate(NODES):
        use.plot(loads, [point.utilizations[j] for point in points], "o-", ms=3.5, color=HUES[j], label=node)
    use.set(title="utilization at the optimum")
    use.legend(loc="upper left")
    stiff.plot(loads, [point.stiffness for point in points], color=LIGHT["soft"], lw=1)
    for ended, mark, colour, label in (
        ("rest", "o", RIGHT_COLOUR, "comes to rest"),
        ("no rest", "s", AUTHORS_COLOUR, "circles"),
        ("infeasible", "x", AUTHORS_COLOUR, "leaves the feasible set"),
    ):
        some = [point for point in points if point.ended == ended]
        stiff.plot([p.load for p in some], [p.stiffness for p in some], mark, ms=5, color=colour, label=label)
    stiff.axhline(STIFFEST, color=LIGHT["ink"], **DASHES)
    stiff.annotate(f"stable below {STIFFEST:.0f}", (1, STIFFEST), xytext=(0, -3), textcoords="offset points",
                   xycoords=("axes fraction", "data"), ha="right", va="top", fontsize=8)  # fmt: skip
    stiff.set(title="ν, and Algorithm 1", yscale="log")
    stiff.minorticks_off()
    stiff.legend(loc="upper left", fontsize=7.5, handletextpad=0.2)
    for axes in (cost, use, stiff):
        axes.set(xlabel="load of all servers", xlim=(0, 1), xticks=(0, 0.25, 0.5, 0.75, 1))
        axes.set_xticklabels(["0", "", "0.5", "", "1"])
    return figure


def estimates(run: Run, central: FloatArray, distributed: FloatArray) -> Figure:
    """Figure 6: smoothed utilization over time; dashed the central optimum, dotted Algorithm 1's end."""
    figure, (axes,) = _panels(2.9)
    series = run.estimates[0]
    times = WINDOW_S * np.arange(1, len(series) + 1)
    for j, node in enumerate(NODES):
        axes.axhline(central[j], color=HUES[j], **DASHES)
        axes.axhline(distributed[j], color=HUES[j], lw=1.1, ls=":")
        axes.plot(times, series[:, j], color=HUES[j])
        _at_end(axes, times[-1], central[j], node, HUES[j])
    axes.axvspan(0, WARM_UP * WINDOW_S, color=LIGHT["rule"], alpha=0.5, lw=0)
    axes.annotate("warm-up", (WARM_UP * WINDOW_S + 2, 0.006), fontsize=8, color=LIGHT["soft"])
    axes.set(xlabel="s", ylabel="utilization, smoothed", xlim=(0, times[-1]), ylim=(0, None))
    return figure


def shares(case: Instance, runs: Sequence[tuple[str, FloatArray, FloatArray, str]]) -> Figure:
    """Figure 7: each source's split at the fixed point (bars) and in the stochastic run (points)."""
    figure, panels = _panels(3.6, rows=len(runs), columns=len(SOURCES), sharex=True, sharey=True)
    for row, (name, flows, seen, colour) in enumerate(runs):
        for i, source in enumerate(SOURCES):
            axes = panels[row * len(SOURCES) + i]
            axes.bar(range(len(NODES)), flows[i] / case.rates[i], color=colour, alpha=0.45, width=0.7)
            axes.plot(range(len(NODES)), seen[i], "D", ms=4, color=LIGHT["ink"])
            axes.set_xticks(range(len(NODES)), ["1", "2", "3"])
            axes.set(ylim=(0, 1.05), title=source if row == 0 else None)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.grid(visible=False, axis="x")
        panels[row * len(SOURCES)].set_ylabel(name)
    figure.supxlabel("service node", fontsize=9, color=LIGHT["soft"])
    return figure


def window_means(jobs: Jobs, windows: int) -> FloatArray:
    """Mean delay of each source's jobs in each window, s, shape (I, windows); NaN where it sent none."""
    index = jobs.source * windows + jobs.window
    size = len(SOURCES) * windows
    count, total = np.bincount(index, minlength=size), np.bincount(index, jobs.delay, minlength=size)
    mean = np.divide(total, count, out=np.full(size, np.nan), where=count > 0)
    return np.asarray(mean.reshape(len(SOURCES), windows))


def queued(case: Instance, jobs: Jobs, flows: FloatArray, windows: int) -> Figure:
    """Figure 8: mean delay of each source's jobs in each window (points), and by the formulas (dashed)."""
    figure, panels = _panels(5.2, rows=len(SOURCES), sharex=True, sharey=True)
    means, model = window_means(jobs, windows) * 1e3, source_delays(case, flows) * 1e3
    times = WINDOW_S * (np.arange(windows) + 0.5)
    for i, axes in enumerate(panels):
        axes.axhline(model[i], color=LIGHT["ink"], **DASHES)
        # Where few windows have jobs, a line would join what is far apart.
        dense = case.rates[i] * WINDOW_S > 5
        axes.plot(times, means[i], "o-" if dense else "o", ms=3, lw=0.8, color=HUES[i], clip_on=False)
        axes.axvspan(0, WARM_UP * WINDOW_S, color=LIGHT["rule"], alpha=0.5, lw=0)
        per_window = f"{case.rates[i] * WINDOW_S:.1f} jobs a window"
        axes.set_title(f"{SOURCES[i]}, {per_window}", fontsize=8.5)
        axes.set(xlim=(0, times[-1] + WINDOW_S / 2), ylim=(0, None))
    panels[len(panels) // 2].set_ylabel("mean delay, ms")
    panels[-1].set_xlabel("s")
    return figure
