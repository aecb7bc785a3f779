"""Maps of a network: where its nodes go, its links as bent lines, and labels where they cover least.

What is drawn comes as mappings, in the form of a result file: nodes with `name`, `latitude` and `longitude`, links with
`src` and `dst`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from experiments.pages.style import LIGHT

Part = Mapping[str, Any]
Point = tuple[float, float]

BEND = 0.09
"""How far a link bends to its right, as a share of its length, so that both directions of a cable are seen."""

MARK = 0.2
"""Half the side of a server's square, on a canvas 10 wide."""


def place_nodes(nodes: Sequence[Part], links: Sequence[Part]) -> dict[str, Point]:
    """Coordinates on a canvas 10 wide: longitude and latitude, or a drawing of the graph where they are missing."""
    if all(node["latitude"] is not None and node["longitude"] is not None for node in nodes):
        stretch = math.cos(math.radians(sum(node["latitude"] for node in nodes) / len(nodes)))
        raw = {node["name"]: (node["longitude"] * stretch, node["latitude"]) for node in nodes}
    else:
        graph: nx.Graph[str] = nx.Graph()
        graph.add_nodes_from(sorted(node["name"] for node in nodes))
        graph.add_edges_from(sorted((link["src"], link["dst"]) for link in links))
        raw = {name: (float(x), float(y)) for name, (x, y) in nx.kamada_kawai_layout(graph).items()}
    corner = np.min(list(raw.values()), axis=0)
    extent = np.ptp(list(raw.values()), axis=0)
    scale = 10 / max(extent[0], extent[1] * 1.4, 1e-9)
    return {name: (float((x - corner[0]) * scale), float((y - corner[1]) * scale)) for name, (x, y) in raw.items()}


def blank_map(places: Mapping[str, Point]) -> tuple[Figure, Axes]:
    """A figure without axes that all places fit onto."""
    width, height = np.max(list(places.values()), axis=0) + np.array((2.2, 1.5))
    figure = Figure(figsize=(5.4, 5.4 * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.1, width - 1.1), ylim=(-0.75, height - 0.75), aspect="equal")
    axes.axis("off")
    return figure, axes


def _bend(start: Point, end: Point) -> tuple[Point, Point]:
    """Control point of a link's curve, to the right of its direction, and the point half-way along it."""
    (ax, ay), (bx, by) = start, end
    control = ((ax + bx) / 2 + BEND * (by - ay), (ay + by) / 2 - BEND * (bx - ax))
    return control, ((ax + bx) / 4 + control[0] / 2, (ay + by) / 4 + control[1] / 2)


def draw_link(axes: Axes, start: Point, end: Point, colour: Any, share: float) -> None:
    """A bent line with an arrow in its middle; `share` of the widest."""
    width = 1.1 + 4.2 * min(share, 1.0)
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={BEND}",
            arrowstyle="-",
            lw=width,
            color=colour,
            capstyle="butt",
            zorder=2,
        )
    )
    _, middle = _bend(start, end)
    angle = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
    axes.plot(
        *middle,
        ls="",
        marker=(3, 0, angle - 90),
        ms=4.5 + 1.5 * width,
        mfc=colour,
        mec=LIGHT["paper"],
        mew=0.5,
        zorder=3,
    )


def draw_labels(
    axes: Axes, places: Mapping[str, Point], links: Sequence[Part], labels: Mapping[str, str]
) -> tuple[float, float]:
    """Each label where it covers least: other labels first, then nodes, then lines; how far they reach down and up."""
    on_lines = []
    for link in links:
        start, end = places[link["src"]], places[link["dst"]]
        control, _ = _bend(start, end)
        for t in np.linspace(0.05, 0.95, 19):
            on_lines.append(
                (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(control) + t * t * np.array(end)
            )
    points = np.array(on_lines)
    marks = np.array(
        [np.add(place, (dx, dy)) for place in places.values() for dx, dy in product((-MARK, 0, MARK), repeat=2)]
    )
    boxes: list[tuple[float, float, float, float]] = []
    halo = {"facecolor": LIGHT["paper"], "edgecolor": "none", "alpha": 0.6, "pad": 0.5}

    def cost(box: tuple[float, float, float, float]) -> float:
        x0, y0, x1, y1 = box
        shared = sum(max(0, min(x1, b[2]) - max(x0, b[0])) * max(0, min(y1, b[3]) - max(y0, b[1])) for b in boxes)
        inside = [np.sum((p[:, 0] > x0) & (p[:, 0] < x1) & (p[:, 1] > y0) & (p[:, 1] < y1)) for p in (marks, points)]
        return 200 * shared + 30 * float(inside[0]) + float(inside[1])

    for name, label in labels.items():
        lines = label.split("\n")
        half_width, half_height = 0.078 * max(map(len, lines)) + 0.04, 0.175 * len(lines)
        x, y = places[name]
        tries = []
        for distance, turn in product((0.28, 0.45, 0.65, 0.9), range(16)):
            cos, sin = math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)
            cx, cy = x + cos * (distance + half_width * abs(cos)), y + sin * (distance + half_height)
            box = (cx - half_width, cy - half_height, cx + half_width, cy + half_height)
            tries.append((cost(box) + 12 * distance, turn, cx, cy, box))
        _, _, cx, cy, box = min(tries)
        boxes.append(box)
        axes.text(cx, cy, label, ha="center", va="center", fontsize=8.5, linespacing=1.15, zorder=6, bbox=halo)
    low, high = axes.get_ylim()
    return min([low, *(box[1] for box in boxes)]), max([high, *(box[3] for box in boxes)])
