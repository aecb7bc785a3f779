"""A scenario as a picture: `wardrop show SCENARIO --out FILE`.

Every direction of a cable is a line as wide as its capacity; sources are dots, servers squares, with what they are
asked for and what they can do beside them.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from matplotlib.patches import FancyArrowPatch

from experiments.pages.canvas import blank_map, draw_labels, draw_link, place_nodes
from experiments.pages.style import LIGHT, drawn
from pricing.errors import WardropError
from pricing.network import Network
from topologies.checking import did_you_mean
from topologies.scenario import Scenario

ENDINGS = (".png", ".svg")
"""Pictures that can be written."""

DOTS_AN_INCH = 160

CLEAR = 0.08
"""Between the labels and what stands above and below all of them, in the map's own lengths."""

LABELLED, EXPLAINED = 60, 16
"""Nodes up to which each has its name beside it, and up to which its servers and what it asks for too."""


@drawn
def draw_scenario(scenario: Scenario, path: Path) -> None:
    """Draw a scenario into a PNG or an SVG file.

    Raises
    ------
    WardropError
        When the file's ending is another one, or it cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        near = did_you_mean(path.suffix.lower(), ENDINGS)
        raise WardropError(f"--out {path}: found the ending {path.suffix!r}{near}; accepted: {', '.join(ENDINGS)}")
    network = scenario.network
    nodes = [{"name": n.name, "latitude": n.latitude, "longitude": n.longitude} for n in network.nodes]
    links = [{"src": link.src, "dst": link.dst} for link in network.links]
    places = place_nodes(nodes, links)
    figure, axes = blank_map(places)
    # Half as wide as a load that fills the link would be, and less where there are many.
    share = min(0.5, 8 / len(nodes))
    widest = max((link.capacity for link in network.links), default=1.0)
    for link in network.links:
        draw_link(axes, places[link.src], places[link.dst], LIGHT["scale1"], share * link.capacity / widest)
    for session in network.sessions:
        if session.kind == "unicast":
            ends = places[session.source], places[session.destinations[0]]
            axes.add_patch(
                FancyArrowPatch(
                    *ends,
                    connectionstyle="arc3,rad=-0.2",
                    arrowstyle="-|>",
                    mutation_scale=8,
                    ls="--",
                    lw=0.8,
                    color=LIGHT["predicted"],
                    alpha=0.5,
                    zorder=3,
                )
            )
    sources = {session.source for session in network.sessions}
    servers = {server.node for server in network.servers}
    for name, (x, y) in places.items():
        if name in servers:
            axes.plot(x, y, "s", ms=13, mfc=LIGHT["hue4"], mec=LIGHT["ink"], mew=1.2, zorder=4)
        if name in sources:
            axes.plot(x, y, "o", ms=5.5, mfc=LIGHT["ink"], mec=LIGHT["paper"], mew=1.0, zorder=5)
        elif name not in servers:
            axes.plot(x, y, "o", ms=5, mfc=LIGHT["paper"], mec=LIGHT["soft"], mew=1.2, zorder=4)
    low, high = draw_labels(axes, places, links, _labels(network))
    middle = sum(axes.get_xlim()) / 2
    axes.text(middle, high + CLEAR, scenario.title, ha="center", va="bottom", fontsize="large")
    legend = "line: link, as wide as its capacity    dot: source    square: servers    dashed: session to a node"
    axes.text(middle, low - CLEAR, legend, ha="center", va="top", fontsize=7, color=LIGHT["soft"])
    try:
        figure.savefig(path, dpi=DOTS_AN_INCH, bbox_inches="tight", pad_inches=0.1, facecolor=LIGHT["paper"],
                       metadata={"Date": None} if path.suffix.lower() == ".svg" else None)  # fmt: skip
    except OSError as error:
        raise WardropError(f"--out {path}: {error.strerror}; a file that can be written is accepted") from error


def _labels(network: Network) -> dict[str, str]:
    """What is written beside each node: its name, its servers, and what it asks for."""
    lines: defaultdict[str, list[str]] = defaultdict(list)
    asked: defaultdict[str, float] = defaultdict(float)
    for session in network.sessions:
        asked[session.source] += session.rate
    for server in network.servers:
        lines[server.node].append(f"{server.name}: {server.capacity:.4g} work/s")
    for node, rate in asked.items():
        lines[node].append(f"{rate / 1e6:.3g} Mbit/s")
    if len(network.nodes) > LABELLED:
        return {}
    if len(network.nodes) > EXPLAINED:
        return {node.name: node.name for node in network.nodes}
    return {node.name: "\n".join([node.name, *lines[node.name]]) for node in network.nodes}
