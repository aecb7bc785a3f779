"""Pictures of a result file: maps, distributions, prices and splits over time, measured against predicted.

Each function takes a part of a result file (docs/reference/report.md) and returns an SVG element in the style of
`experiments.pages.style`. Times are in ms and rates in Mbit/s here, because people read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from experiments.pages.canvas import Part, blank_map, draw_labels, draw_link, place_nodes
from experiments.pages.style import HUES, LIGHT, SCALE, drawn, svg

NAMED = 5
"""Resources named in the picture of prices: the dearest ones at the end."""

HATCHES = ("", "////", "....")
"""What tells servers apart whose colours are the same: the second six, and the third."""

LONG_MS = 1e5
"""Price from which a picture says s."""

SPAN = 1e5
"""Largest price over the one where colours begin (ours): more would need borders of many digits."""

CURVES = {
    "measured": ("measured", "measured", "-"),
    "predicted": ("packet simulation", "predicted", "--"),
    "law": ("independent queues", "model", "-."),
}
"""Curves of a distribution by the name in a result file: what people read, its colour, and its stroke."""

PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def price_steps(runs: Sequence[Part]) -> tuple[float, ...]:
    """Borders of the colours of price, ms, the same for all runs: even in the logarithm.

    They begin where a quarter of all prices stay below, `SPAN` below the largest at most: a server far above its
    capacity leaves colours for the links.
    """
    prices = [part["price"] * 1e3 for run in runs for part in (*run["links"], *run["servers"]) if part["price"]]
    high, quarter = (max(prices), float(np.quantile(prices, 0.25))) if prices else (1.0, 1.0)
    return tuple(np.geomspace(max(min(quarter, high / 2), high / SPAN), high, SCALE.N + 1))


@drawn
def network_map(topology: Part, run: Part, quantity: str, steps: Sequence[float], largest_load: float) -> str:
    """The network on its coordinates: each direction of a cable a line, its width the load, its colour `quantity`.

    Parameters
    ----------
    topology, run : mappings
        Of a result file.
    quantity : 'utilization' or 'price'
        What the colour tells; a price in ms.
    steps : sequence of float
        Borders of the colours, in the unit shown.
    largest_load : float
        bit/s that the widest line stands for.
    """
    places = place_nodes(topology["nodes"], run["links"])
    figure, axes = blank_map(places)
    norm = BoundaryNorm(list(steps), SCALE.N, clip=True)
    factor = 1e3 if quantity == "price" else 1.0
    unit, size = _unit(steps[-1])

    def colour(part: Part) -> Any:
        return LIGHT["rule"] if part[quantity] is None else SCALE(norm(part[quantity] * factor))

    for link in run["links"]:
        draw_link(
            axes,
            places[link["src"]],
            places[link["dst"]],
            colour(link),
            (link["load_bps"]["value"] or 0) / largest_load,
        )
    states = {server["name"]: server for server in run["servers"]}
    sources = {source["node"] for source in topology["sources"]}
    servers = {server["node"]: states[server["name"]] for server in topology["servers"]}
    labels = {}
    for name, (x, y) in places.items():
        labels[name] = name
        if name in servers:
            state = servers[name]
            axes.plot(x, y, "s", ms=13, mfc=colour(state), mec=LIGHT["ink"], mew=1.2, zorder=4)
            if state[quantity] is not None:
                price = f"{_plain(state['price'] * 1e3 / size)} {unit}" if quantity == "price" else ""
                labels[name] += f"\n{state['name']} at {price or format(state['utilization'], '.2f')}"
        if name in sources:
            axes.plot(x, y, "o", ms=5.5, mfc=LIGHT["ink"], mec=LIGHT["paper"], mew=1.0, zorder=5)
        elif name not in servers:
            axes.plot(x, y, "o", ms=5, mfc=LIGHT["paper"], mec=LIGHT["soft"], mew=1.2, zorder=4)
    draw_labels(axes, places, run["links"], labels)
    below = figure.add_axes((0.08, -0.05, 0.84, 0.025))
    bar = figure.colorbar(ScalarMappable(norm, SCALE), cax=below, orientation="horizontal")
    bar.set_label(f"price, {unit}" if quantity == "price" else "utilization")
    bar.set_ticks(list(steps), labels=[_plain(step / size) for step in steps])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return svg(figure, f"Map of the network coloured by {quantity}, {run['policy']}")


@drawn
def delays(points: Part, mean: float | None, limits: tuple[float, float], title: str) -> str:
    """Distribution of a delay: measured, and what is held against it, each with a stroke of its own.

    Parameters
    ----------
    points : mapping
        A `delay_histogram`; a curve that it does not have is not drawn.
    mean : float, optional
        Of what was measured, s.
    limits : pair of float
        Of the axis, ms.
    """
    figure, axes = _panel(4.8, 2.5)
    for name, (label, colour, stroke) in CURVES.items():
        if curve := _curve(points, name):
            axes.plot(*zip(*curve, strict=True), ls=stroke, color=LIGHT[colour], label=label)
    axes.set(xscale="log", xlim=limits, ylim=(0, 1.01), xlabel="delay, ms")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(PLAIN)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if mean is not None:
        axes.axvline(mean * 1e3, color=LIGHT["soft"], lw=0.8, ls=":")
        axes.annotate("mean", (mean * 1e3, 0.03), xytext=(4, 0), textcoords="offset points", color=LIGHT["soft"])
    if axes.lines:
        axes.legend(loc="upper left")
    return svg(figure, title)


def _curve(points: Part, name: str) -> list[tuple[float, float]]:
    """Delays, ms, and the shares of the packets that they are not exceeded by, where they are known."""
    pairs = zip(points.get(f"{name}_s", ()), points["probability"], strict=False)
    return [(delay * 1e3, share) for delay, share in pairs if delay is not None and delay > 0]


def delay_limits(histograms: Sequence[Part]) -> tuple[float, float]:
    """Axis of `delays` in ms, the same for all that stand together: from the first to the last per mille.

    It begins with what packets took: by a law of waits many take no time at all, which no such axis shows.
    """
    shown = {
        name: [d for points in histograms for d, share in _curve(points, name) if 0.001 <= share <= 0.9995]
        for name in CURVES
    }
    low = min(shown["measured"] + shown["predicted"], default=0.1)
    return (low * 0.8, max((delay for each in shown.values() for delay in each), default=100.0) * 1.2)


@drawn
def prices(run: Part) -> str:
    """Prices of all resources over time; the dearest are named."""
    figure, axes = _panel(4.8, 2.4)
    ticks = run["ticks"]
    names = [f"{link['src']} → {link['dst']}" for link in run["links"]] + [server["name"] for server in run["servers"]]
    rows = [[*a, *b] for a, b in zip(ticks["link_prices"], ticks["server_prices"], strict=True)]
    series = np.array(rows, dtype=float).reshape(len(rows), len(names)) * 1e3
    unit, size = _unit(float(np.nanmax(series, initial=1.0)))
    series /= size
    last = np.nan_to_num(series[-10:].mean(axis=0)) if len(rows) else np.zeros(len(names))
    dearest = sorted(range(len(names)), key=lambda index: -last[index])[:NAMED]
    for index in range(len(names)):
        rank = dearest.index(index) if index in dearest else None
        server = index >= len(run["links"])
        axes.plot(
            ticks["time_s"],
            series[:, index],
            color=LIGHT["rule"] if rank is None else HUES[rank],
            lw=0.9 if rank is None else 1.6,
            ls="--" if server else "-",
            label=None if rank is None else names[index] + (" (server)" if server else ""),
            zorder=2 if rank is None else 3,
        )
    top, named = float(np.nanmax(series, initial=1.0 / size)), series[:, dearest]
    low = np.quantile(named[named > 0], 0.05) if (named > 0).any() else top
    axes.set(yscale="log", ylabel=f"price, {unit}", ylim=(min(low, top / 2e4), top * 1.5))
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(NullFormatter())
    _time_axis(axes, ticks)
    if dearest and len(rows):
        order = {
            names[index] + (" (server)" if index >= len(run["links"]) else ""): i for i, index in enumerate(dearest)
        }
        handles, texts = axes.get_legend_handles_labels()
        pairs = sorted(zip(handles, texts, strict=True), key=lambda pair: order[pair[1]])
        axes.legend(*zip(*pairs, strict=True), loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return svg(figure, f"Prices over time, {run['policy']}")


@drawn
def gaps(run: Part) -> str:
    """Distance to the optimum over time."""
    figure, axes = _panel(4.8, 1.7)
    ticks = run["ticks"]
    axes.plot(ticks["time_s"], np.array(ticks["gap"], dtype=float), color=LIGHT["measured"])
    axes.axhline(0.02, color=LIGHT["model"], lw=0.9, ls="--")
    axes.annotate("2 %", (0, 0.02), xytext=(2, 3), textcoords="offset points", color=LIGHT["model"])
    axes.set(yscale="symlog", ylabel="above the optimum")
    axes.set_yscale("symlog", linthresh=0.05)
    axes.set_ylim(0, max(axes.get_ylim()[1], 0.03))
    axes.yaxis.set_major_locator(FixedLocator([0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]))
    axes.yaxis.set_minor_locator(FixedLocator([]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _time_axis(axes, ticks)
    return svg(figure, f"Distance to the optimum over time, {run['policy']}")


@drawn
def split(session: str, run: Part, servers: Sequence[str]) -> str:
    """Decided split of one session over time: a hue a server (or a route, where no server ends it), a shade a route."""
    figure, axes = _panel(2.6, 1.3)
    routes = run["ticks"]["splits"][session]
    order = sorted(routes, key=lambda route: (route.rpartition("@")[2], -sum(routes[route]), route))
    colours, hatches, shades, seen = [], [], [], dict.fromkeys(servers, 0)
    for index, route in enumerate(order):
        server = route.rpartition("@")[2]
        known = server in seen
        number = list(servers).index(server) if known else index
        colours.append(HUES[number % len(HUES)])
        hatches.append(HATCHES[number // len(HUES) % len(HATCHES)])
        shades.append(max(0.9 - 0.22 * seen.get(server, 0), 0.25))
        if known:
            seen[server] += 1
    areas = axes.stackplot(run["ticks"]["time_s"], [routes[route] for route in order], colors=colours, linewidth=0.5)
    for area, shade, hatch in zip(areas, shades, hatches, strict=True):
        area.set_alpha(shade)
        area.set_hatch(hatch)
        area.set_edgecolor(LIGHT["paper"])
    axes.set(ylim=(0, 1), title=session)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _time_axis(axes, run["ticks"], label=False)
    return svg(figure, f"Split of {session} over time, {run['policy']}")


@drawn
def trees(session: str, run: Part) -> str:
    """Decided weights of a group's trees over time: the heaviest by their places in the table, and all others."""
    figure, axes = _panel(4.8, 1.7)
    routes = run["ticks"]["splits"][session]
    known = [tree["route"] for tree in run["trees"] if tree["session"] == session and tree["route"] in routes]
    named = known[: len(HUES)]
    series = [routes[route] for route in named]
    others = [sum(row) for row in zip(*(routes[route] for route in routes if route not in named), strict=True)]
    rows, labels = (
        [*series, *([others] if others else [])],
        [*(str(place + 1) for place in range(len(named))), "others"],
    )
    colours = [*HUES[: len(named)], LIGHT["rule"]]
    areas = axes.stackplot(run["ticks"]["time_s"], rows, colors=colours, linewidth=0.8)
    for area, label in zip(areas, labels, strict=False):
        area.set(edgecolor=LIGHT["paper"], label=label)
    axes.set(ylim=(0, 1))
    axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _time_axis(axes, run["ticks"])
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="tree", reverse=True)
    return svg(figure, f"Weights of the trees of {session} over time, {run['policy']}")


@drawn
def loads(run: Part) -> str:
    """Measured against predicted load of each link, with the band of 5 %."""
    figure, axes = _panel(3.6, 3.6)
    known = [
        link
        for link in run["links"]
        if link["load_bps"]["value"] is not None and link["predicted_load_bps"] is not None
    ]
    most = max((max(link["load_bps"]["value"], link["predicted_load_bps"]) for link in known), default=0.0)
    top = 1.06 * (most / 1e6 or 1.0)
    axes.fill_between([0, top], [0, top * 0.95], [0, top * 1.05], color=LIGHT["rule"], lw=0)
    axes.plot([0, top], [0, top], color=LIGHT["soft"], lw=0.8)
    for link in known:
        judged = link["utilization"] is not None and link["utilization"] > 0.1
        axes.errorbar(
            link["predicted_load_bps"] / 1e6,
            link["load_bps"]["value"] / 1e6,
            yerr=(link["load_bps"]["ci95"] or 0) / 1e6,
            fmt="o",
            ms=4.5,
            color=LIGHT["predicted"],
            mfc=LIGHT["predicted"] if judged else LIGHT["paper"],
            elinewidth=1,
        )
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal", xlabel="predicted, Mbit/s", ylabel="measured, Mbit/s")
    return svg(figure, f"Measured against predicted load of each link, {run['policy']}")


def _unit(highest: float) -> tuple[str, float]:
    """What prices up to `highest` ms are told in, and how many ms that is."""
    return ("s", 1e3) if highest >= LONG_MS else ("ms", 1.0)


def _plain(value: float) -> str:
    """Two digits, in full.

    >>> _plain(8998.4), _plain(0.0456), _plain(33.2)
    ('9,000', '0.046', '33')
    """
    return f"{float(f'{value:.2g}'):,g}"


def _panel(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.tick_params(length=0)
    return figure, axes


def _time_axis(axes: Axes, ticks: Part, label: bool = True) -> None:
    """Seconds, with the time measured shaded."""
    times = ticks["time_s"] or [0.0]
    axes.set_xlim(times[0], max(times[-1], times[0] + 1))
    if label:
        axes.set_xlabel("s")
    if "measured_s" in ticks:
        axes.axvspan(*ticks["measured_s"], color=LIGHT["rule"], alpha=0.35, lw=0, zorder=0)
