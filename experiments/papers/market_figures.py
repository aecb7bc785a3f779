"""Figures of the market's page: prices on the map, in parts, against a limit, and in the order of merit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from experiments.pages.style import HUES, LIGHT, SCALE
from pricing.market.clearing import Clearing
from pricing.market.prices import price_components, prices_everywhere

WIDTH = 6.8


def price_map(found: Clearing, workload: str) -> Figure:
    """Nodes coloured by the price of a workload, links as wide as their load, full ones red."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    market, prices = found.market, 1e6 * prices_everywhere(found, workload)
    at = {node.name: (node.longitude or 0.0, node.latitude or 0.0) for node in market.nodes}
    largest = max(float(found.link_loads.max()), 1.0)
    full = set(found.saturated())
    for link, load in zip(market.links, found.link_loads[:, 0].tolist(), strict=True):
        (x, y), (u, v) = at[link.src], at[link.dst]
        across = 0.006 * np.array([v - y, u - x]) * (1, -1)
        colour = LIGHT["scale6"] if link.key in full else LIGHT["soft"]
        axes.plot([x + across[0] * 3, u + across[0] * 3], [y + across[1] * 3, v + across[1] * 3], color=colour,
                  lw=0.4 + 5 * load / largest, solid_capstyle="butt")  # fmt: skip
    norm = Normalize(float(prices.min()), float(prices.max()))
    for node, price in zip(market.nodes, prices.tolist(), strict=True):
        axes.plot(*at[node.name], "o", ms=14, mfc=SCALE(norm(price)), mec=LIGHT["ink"], zorder=4)
        away = 10 if at[node.name][1] > 36 else -30
        axes.annotate(f"{node.name}\n{price:.2f}", at[node.name], xytext=(0, away), textcoords="offset points",
                      ha="center", fontsize=8, zorder=5)  # fmt: skip
    axes.set_aspect(1.3)
    axes.margins(0.12, 0.2)
    axes.axis("off")
    bar = figure.colorbar(ScalarMappable(norm, SCALE), ax=axes, shrink=0.7)
    bar.set_label(f"{workload}, USD a million tokens")
    return figure


def stacked(found: Clearing, workloads: Sequence[str] = ("chatbot", "image")) -> Figure:
    """Prices by region as stacked parts, a panel for each workload."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    panels = figure.subplots(1, len(workloads), squeeze=False)[0]
    parts = price_components(found)
    for axes, workload in zip(panels, workloads, strict=True):
        which = [d for d, demand in enumerate(found.market.demands) if demand.workload == workload]
        names = [found.market.demands[d].region for d in which]
        left = np.zeros(len(which))
        for name, colour in zip(("compute", "scarcity", "fees", "congestion"), HUES, strict=False):
            value = [
                1e6 * (sum(parts[d].congestion.values()) if name == "congestion" else getattr(parts[d], name))
                for d in which
            ]
            axes.barh(names, value, left=left, color=colour, label=name)
            left += value
        axes.set(title=workload, xlabel="USD a million tokens")
    panels[-1].legend(fontsize=7.5, loc="lower right")
    return figure


def against_limit(regions: Sequence[str], rows: Sequence[Sequence[float | int | str | None]]) -> Figure:
    """Price of the chatbot against its limit, a line a region; gaps where it cannot be served."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    axes = figure.subplots()
    for r, region in enumerate(regions):
        points = [(float(row[0]), np.nan if row[r + 1] is None else float(row[r + 1])) for row in rows]  # type: ignore[arg-type]
        axes.plot(*zip(*points, strict=True), "o-", ms=3.5, color=HUES[r], label=region)
    axes.set(xlabel="limit, ms out and back", ylabel="USD a million tokens", xscale="log")
    axes.set_xticks([10, 15, 20, 30, 50, 100], ["10", "15", "20", "30", "50", "100"])
    axes.minorticks_off()
    axes.legend(fontsize=7.5)
    return figure


def merit_order(order: Sequence[tuple[str, float, float, float]], demand: float) -> Figure:
    """Costs of the assets in their order over the capacity so far; darker where they are in use."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    axes = figure.subplots()
    left = 0.0
    for _, cost, capacity, share in order:
        axes.bar(left, 1e6 * cost, capacity / 1e6, align="edge", color=LIGHT["rule"], edgecolor=LIGHT["paper"])
        axes.bar(left, 1e6 * cost, share * capacity / 1e6, align="edge", color=HUES[0])
        left += capacity / 1e6
    axes.axvline(demand, color=LIGHT["ink"], lw=0.9, ls=(0, (5, 3)))
    axes.annotate("demand", (demand, 1), xycoords=("data", "axes fraction"), xytext=(4, -4),
                  textcoords="offset points", va="top", fontsize=8)  # fmt: skip
    axes.set(xlabel="Mwork/s", ylabel="USD a million work", xlim=(0, left))
    return figure
