"""Graphs of networkx: as objects, as GraphML, as node-link JSON, and as TopoHub keeps them.

Attributes are found whatever their case: of a node its `name` or `label`, `latitude` and `longitude` (or `lat`, `lon`,
or `pos` = [longitude, latitude]); of an edge its `capacity` (or the Topology Zoo's `LinkSpeedRaw`), `length` or `dist`
in km, and `delay` in s. A quantity is a number, or text with its unit as in a scenario file. `demands` of the graph are
{source: {destination: amount}}, by the nodes' ids.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from io import BytesIO
from typing import Any
from warnings import catch_warnings
from xml.etree.ElementTree import Element

import networkx as nx

from pricing.errors import ScenarioError
from topologies import units
from topologies.checking import did_you_mean, nearest
from topologies.importers.survey import Cable, Demand, Place, Survey
from topologies.importers.xml import element, tag

NODE = {
    "name": ("name", "label"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng"),
    "pos": ("pos",),
}
EDGE = {"capacity": ("capacity", "linkspeedraw"), "length": ("length", "dist"), "delay": ("delay",)}
"""Attributes that are read, and the names under which they are found."""


class _Reader:
    """Reads the attributes of a graph and collects what is wrong with them."""

    def __init__(self, graph: nx.Graph[Any]) -> None:
        self.graph = graph
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.labels = _labels(graph)
        self.planar = any(_beyond(_get(data, NODE["pos"])) for _, data in graph.nodes(data=True))
        if self.planar:
            self.notes.append("positions are not degrees, and were left out")

    def quantity(self, found: Any, where: str, kind: units.Kind) -> float | None:
        """A number of 0 (which is not known, as None is) or more, or text with its unit."""
        if found is None:
            return None
        if isinstance(found, str):
            try:
                return units.parse(found, kind)
            except ValueError as error:
                self.problems.append(f"{where}: {error}")
                return None
        if isinstance(found, bool) or not isinstance(found, int | float) or not (0 <= found < math.inf):
            accepted = f"accepted: a number from 0, or text with its unit, {units.EXAMPLES[kind]}"
            self.problems.append(f"{where}: found {units.shown(found)}; {accepted}")
            return None
        return float(found) or None

    def degrees(self, found: Any, where: str, limit: float) -> float | None:
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= limit:
            accepted = f"accepted: degrees from -{limit:g} to {limit:g}"
            self.problems.append(f"{where}: found {units.shown(found)}; {accepted}")
            return None
        return float(found)

    def place(self, node: Hashable) -> Place:
        attributes, where = self.graph.nodes[node], f"node {self.labels[node]}"
        pos = _get(attributes, NODE["pos"])
        latitude = self.degrees(_get(attributes, NODE["latitude"]), f"{where}: latitude", 90)
        longitude = self.degrees(_get(attributes, NODE["longitude"]), f"{where}: longitude", 180)
        if pos is not None and latitude is None and longitude is None and not self.planar:
            longitude, latitude = self.position(pos, where)
        return Place(self.labels[node], latitude, longitude)

    def position(self, pos: Any, where: str) -> tuple[float | None, float | None]:
        """Longitude and latitude."""
        try:
            x, y = map(float, pos)
        except (TypeError, ValueError):
            self.problems.append(f"{where}: pos: found {units.shown(pos)}; accepted: [longitude, latitude]")
            return None, None
        return x, y

    def cable(self, src: Hashable, dst: Hashable, attributes: Mapping[str, Any]) -> Cable:
        where = f"edge {self.labels[src]} - {self.labels[dst]}"
        kinds: tuple[tuple[str, units.Kind], ...] = (("capacity", "capacity"), ("length", "length"), ("delay", "delay"))
        values = {key: self.quantity(_get(attributes, EDGE[key]), f"{where}: {key}", kind) for key, kind in kinds}
        return Cable(self.labels[src], self.labels[dst], not self.graph.is_directed(), **values)

    def demands(self) -> list[Demand]:
        found = self.graph.graph.get("demands") or {}
        known = {str(node): label for node, label in self.labels.items()}
        demands = []
        if not isinstance(found, Mapping) or not all(isinstance(row, Mapping) for row in found.values()):
            accepted = "accepted: {source: {destination: amount}}, by the nodes' ids"
            self.problems.append(f"demands: found {units.shown(found)}; {accepted}")
            return []
        for source, row in found.items():
            for destination, amount in row.items():
                strange = [end for end in map(str, (source, destination)) if end not in known]
                for end in strange:
                    self.problems.append(
                        f"demands: found {end!r}, which is no node{did_you_mean(end, known)}; accepted: the nodes' ids"
                    )
                value = self.quantity(amount, f"demands: {source} to {destination}", "capacity")
                if value is not None and not strange:
                    demands.append(Demand(known[str(source)], known[str(destination)], value))
        return demands

    def misspelt(self) -> None:
        """Say which attributes are not read and look as if they should be."""
        nodes = [data for _, data in self.graph.nodes(data=True)]
        edges = [data for _, _, data in self.graph.edges(data=True)]
        for what, rows, table in (("node", nodes, NODE), ("edge", edges, EDGE)):
            known = [name for names in table.values() for name in names if len(name) > 3]
            keys = {str(key) for row in rows for key in row} - {"id", "key"}
            for key in sorted(keys):
                near = nearest(key, known)
                if near and key.lower() not in {name for names in table.values() for name in names}:
                    self.notes.append(f"the attribute {key!r} of {what}s is not read; did you mean {near!r}?")


def survey_of_graph(graph: nx.Graph[Any], name: str = "", source: str = "a networkx graph") -> Survey:
    """The survey of a networkx graph of any kind; an undirected edge leads both ways.

    Parameters
    ----------
    graph : networkx graph
        With the attributes that the module's head names; each may be missing.
    name : str
        What it is called; else the graph's own `name`.
    source : str
        Where it comes from, for messages and as provenance.

    Raises
    ------
    ScenarioError
        With every problem of its attributes.
    """
    reader = _Reader(graph)
    places = [reader.place(node) for node in graph.nodes]
    cables = [reader.cable(src, dst, data) for src, dst, data in graph.edges(data=True)]
    demands = reader.demands()
    reader.misspelt()
    if not places:
        reader.problems.append("has no node; accepted: a graph of two nodes or more")
    if reader.problems:
        raise ScenarioError(source, reader.problems)
    own = next((str(graph.graph[key]) for key in ("name", "Network", "label") if graph.graph.get(key)), "graph")
    kind = "links" if graph.is_directed() else "cables"
    return Survey(
        name=name or own,
        title=f"{name or own}: {len(places)} nodes, {len(cables)} {kind}",
        provenance=f"Read from {source}.",
        places=tuple(places),
        cables=tuple(cables),
        demands=tuple(demands),
        notes=tuple(reader.notes),
    )


def graph_of_node_link(data: Any, source: str) -> nx.Graph[Any]:
    """The graph of networkx' node-link form, whose edges are under `edges` or, as older versions wrote, `links`.

    Raises
    ------
    ScenarioError
        With every problem of its form.
    """
    key = "links" if isinstance(data, dict) and "edges" not in data else "edges"
    problems = []
    if not isinstance(data, dict) or not all(isinstance(data.get(part), list) for part in ("nodes", key)):
        accepted = "accepted: networkx' node-link form, a mapping with a list of nodes and a list of edges"
        raise ScenarioError(source, [f"found {units.shown(data)}; {accepted}"])
    ids: set[Any] = set()
    for index, node in enumerate(data["nodes"]):
        found = node.get("id") if isinstance(node, dict) else None
        if not isinstance(found, str | int):
            problems.append(f"nodes[{index}]: found {units.shown(node)}; accepted: a mapping with an id")
        elif found in ids:
            problems.append(f"nodes[{index}].id: found {found!r} twice; accepted: each id once")
        else:
            ids.add(found)
    for index, edge in enumerate(data[key]):
        if not isinstance(edge, dict):
            problems.append(f"{key}[{index}]: found {units.shown(edge)}; accepted: a mapping with source and target")
            continue
        for end in ("source", "target"):
            found = edge.get(end)
            if not isinstance(found, str | int) or found not in ids:
                near = did_you_mean(str(found), map(str, ids))
                problems.append(
                    f"{key}[{index}].{end}: found {units.shown(found)}, which is no node{near}; accepted: a node's id"
                )
    if not isinstance(data.get("graph", {}), dict):
        problems.append(f"graph: found {units.shown(data['graph'])}; accepted: a mapping")
    if problems:
        raise ScenarioError(source, problems)
    graph: nx.Graph[Any] = nx.node_link_graph(data, edges=key)
    return graph


def graph_of_graphml(content: bytes, source: str) -> nx.Graph[Any]:
    """The graph of a GraphML document that `topologies.importers.xml` has let through.

    Raises
    ------
    ScenarioError
        When networkx cannot read it, or with every edge to a node that is not there.
    """
    try:
        with catch_warnings(action="ignore"):  # of attributes without a type, which are text then
            graph: nx.Graph[Any] = nx.read_graphml(BytesIO(content))
    except (nx.NetworkXException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScenarioError(source, [f"is no GraphML that can be read: {error}; accepted: GraphML"]) from error
    if problems := _stray(element(content, source)):
        raise ScenarioError(source, problems)
    return graph


def _stray(root: Element) -> list[str]:
    """What is wrong with the ends of edges, of which networkx would make nodes."""
    known = {node.get("id", "") for node in root.iter() if tag(node) == "node"}
    edges = [edge for edge in root.iter() if tag(edge) == "edge"]
    ends = [(index, end, edge.get(end, "")) for index, edge in enumerate(edges) for end in ("source", "target")]
    return [
        f"edge[{index}].{end}: found {found!r}, which is no node{did_you_mean(found, known)}; accepted: a node's id"
        for index, end, found in ends
        if found not in known
    ]


def _get(attributes: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first attribute of one of these names, whatever its case."""
    lower = {str(key).lower(): value for key, value in attributes.items()}
    return next((lower[name] for name in names if lower.get(name) is not None), None)


def _labels(graph: nx.Graph[Any]) -> dict[Hashable, str]:
    """What each node is called: its name, or its id; numbered where names are the same."""
    names = {node: str(_get(data, NODE["name"]) or node) for node, data in graph.nodes(data=True)}
    seen: Counter[str] = Counter()
    labels = {}
    for node, name in names.items():
        seen[name] += 1
        labels[node] = name if seen[name] == 1 else f"{name} {seen[name]}"
    if len(set(labels.values())) < len(labels):
        return {node: f"{name} {number}" for number, (node, name) in enumerate(names.items(), 1)}
    return labels


def _beyond(pos: Any) -> bool:
    """Whether a position lies in a plane, as synthetic graphs have them, and not on the map."""
    return isinstance(pos, list | tuple) and any(
        isinstance(value, int | float) and abs(value) > limit for value, limit in zip(pos, (180, 90), strict=False)
    )
