"""SNDlib's XML form: nodes with coordinates, links with modules of capacity, and demands.

Coordinates are degrees where the file says `geographical`; pixels have no distances. A link's capacity is what is
installed on it, or else its largest module. Links lead both ways, as in SNDlib's undirected models.

Source of the form: Orlowski, Wessäly, Pióro, Tomaszewski, SNDlib 1.0 - Survivable Network Design Library, Networks 55,
2010, doi 10.1002/net.20371.
"""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element

from pricing.errors import ScenarioError
from topologies.checking import did_you_mean
from topologies.importers.survey import Cable, Demand, Place, Survey
from topologies.importers.xml import tag
from topologies.units import shown


class _Reader:
    """Reads the parts of a file and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def text(self, node: Element, key: str, where: str) -> str:
        found = next((child.text or "" for child in node if tag(child) == key), "").strip()
        if not found:
            self.problems.append(f"{where}: no <{key}>; accepted: one with text")
        return found

    def number(self, text: str, where: str, low: float) -> float | None:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and value >= low:
            return value
        least = f" from {low:g}" if math.isfinite(low) else ""
        self.problems.append(f"{where}: found {shown(text)}; accepted: a number{least}")
        return None

    def place(self, node: Element, geographical: bool) -> Place:
        name = node.get("id", "")
        spot = {tag(child): child.text or "" for child in node.iter()}
        if not (geographical and "x" in spot and "y" in spot):
            return Place(name)
        x = self.number(spot["x"], f"node {name}: x", -math.inf)
        y = self.number(spot["y"], f"node {name}: y", -math.inf)
        if x is None or y is None:
            return Place(name)
        if abs(y) > 90 or abs(x) > 180:
            self.problems.append(f"node {name}: found x {x:g}, y {y:g}; accepted: degrees east and degrees north")
        return Place(name, latitude=y, longitude=x)

    def ends(self, node: Element, where: str, known: set[str]) -> tuple[str, str]:
        found = self.text(node, "source", where), self.text(node, "target", where)
        for end in found:
            if end and end not in known:
                self.problems.append(
                    f"{where}: found {shown(end)}, which is no node{did_you_mean(end, known)}; "
                    "accepted: the nodes of this file"
                )
        return found

    def cable(self, node: Element, known: set[str]) -> Cable:
        where = f"link {node.get('id', '')}"
        src, dst = self.ends(node, where, known)
        modules = {"preInstalledModule": [0.0], "addModule": [0.0]}
        for module in node.iter():
            if tag(module) in modules:
                value = self.number(self.text(module, "capacity", where), f"{where}: capacity", 0)
                modules[tag(module)].append(value or 0.0)
        capacity = max(modules["preInstalledModule"]) or max(modules["addModule"])
        return Cable(src, dst, capacity=capacity or None)

    def demand(self, node: Element, known: set[str]) -> Demand:
        where = f"demand {node.get('id', '')}"
        source, destination = self.ends(node, where, known)
        amount = self.number(self.text(node, "demandValue", where), f"{where}: demandValue", 0)
        return Demand(source, destination, amount or 0.0)


def survey_of_sndlib(root: Element, name: str, source: str) -> Survey:
    """The survey of an SNDlib document.

    Raises
    ------
    ScenarioError
        With every problem of the file.
    """
    reader = _Reader()
    sections = {tag(node): node for node in root.iter()}
    if "nodes" not in sections or "links" not in sections:
        raise ScenarioError(source, ["has no <nodes> and <links>; accepted: GraphML, or SNDlib's XML form"])
    geographical = sections["nodes"].get("coordinatesType") == "geographical"
    places = [reader.place(node, geographical) for node in sections["nodes"] if tag(node) == "node"]
    known = {place.name for place in places}
    twice = sorted({place.name for place in places if [p.name for p in places].count(place.name) > 1})
    reader.problems += [f"node {name}: found twice; accepted: each node once" for name in twice]
    cables = [reader.cable(node, known) for node in sections["links"] if tag(node) == "link"]
    wanted = [node for node in sections.get("demands", ()) if tag(node) == "demand"]
    demands = [reader.demand(node, known) for node in wanted]
    if reader.problems:
        raise ScenarioError(source, reader.problems)
    return Survey(
        name=name,
        title=f"{name}: {len(places)} nodes, {len(cables)} links of SNDlib's form",
        provenance=f"Read from {source}, a file in SNDlib's XML form.",
        places=tuple(places),
        cables=tuple(cables),
        demands=tuple(demands),
    )
