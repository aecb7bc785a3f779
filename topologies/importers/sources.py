"""The door for topologies from elsewhere: a file, or `topohub:NAME`, becomes a survey.

| source | what |
|---|---|
| `topohub:NAME` | TopoHub: SNDlib with its demands, Topology Zoo, Gabriel graphs, CAIDA, backbones |
| `FILE.graphml` | GraphML, as the Topology Zoo and networkx write it |
| `FILE.json` | networkx' node-link form; what `wardrop export` wrote comes back as it was |
| `FILE.xml` | SNDlib's XML form, or GraphML |
| `NAME_net.tntp` | a road network, with `NAME_trips.tntp` beside it |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

from pricing.errors import ScenarioError
from topologies.checking import did_you_mean, listed
from topologies.importers.graphs import graph_of_graphml, graph_of_node_link, survey_of_graph
from topologies.importers.sndlib import survey_of_sndlib
from topologies.importers.survey import Cable, Demand, Place, Survey
from topologies.importers.xml import element, tag
from topologies.node_link import is_scenario, scenario_of_node_link
from topologies.scenario import Scenario
from topologies.tntp import read_road_network

TOPOHUB = "topohub:"
"""What a name of TopoHub's begins with."""

LARGEST = 64 * 2**20
"""Bytes of a file that are read."""

ROAD_SECOND = 1e-3
"""Seconds of delay for a unit of a road's free-flow time, which is minutes in most files: ours."""


def read(source: str) -> Survey | Scenario:
    """What a file or a name of TopoHub's says: a survey, or the whole scenario that `wardrop export` wrote.

    Raises
    ------
    ScenarioError
        When there is no such thing, or with every problem found in it.
    """
    if source.startswith(TOPOHUB):
        return survey_of_topohub(source.removeprefix(TOPOHUB))
    path = Path(source)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        accepted = f"accepted: {', '.join(READERS)}, or {TOPOHUB}NAME such as {TOPOHUB}sndlib/germany50"
        if path.suffix.lower() in (".yaml", ".yml"):
            raise ScenarioError(source, ["is a scenario file already: `solve` and the others take it as it is"])
        near = did_you_mean(path.suffix.lower(), READERS)
        found = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        raise ScenarioError(source, [f"found {found}{near}; {accepted}"])
    return reader(path)


def survey_of_topohub(name: str) -> Survey:
    """The survey of a topology of TopoHub's.

    Raises
    ------
    ScenarioError
        When the package is not there, or has no topology of that name.
    """
    source = f"{TOPOHUB}{name}"
    try:
        home, version = Path(str(resources.files("topohub"))) / "data", metadata.version("topohub")
    except ImportError as error:
        raise ScenarioError(source, ["the Python package topohub is missing; run `bin/wardrop setup`"]) from error
    known = sorted(str(path.relative_to(home).with_suffix("")) for path in home.rglob("*.json"))
    if name not in known:
        inside = [full for full in known if full.startswith(name.partition("/")[0] + "/")] or sorted(
            {full.partition("/")[0] + "/..." for full in known}
        )
        near = did_you_mean(name, known)
        raise ScenarioError(source, [f"TopoHub has no such topology{near}; accepted: {listed(inside)}"])
    survey = survey_of_graph(
        graph_of_node_link(json.loads((home / f"{name}.json").read_bytes()), source), _last(name), source
    )
    provenance = (
        f"{name} of TopoHub, as given in the Python package topohub {version}, whose metadata state the "
        f"MIT licence. {ORIGINS.get(name.partition('/')[0], '')} P. Jurkiewicz, TopoHub: A repository of reference "
        "Gabriel graph and real-world topologies for networking research, SoftwareX 24, 101540, 2023, doi "
        "10.1016/j.softx.2023.101540."
    )
    return replace(survey, title=f"{survey.title}, {name} of TopoHub", provenance=provenance)


ORIGINS: Mapping[str, str] = {
    "sndlib": (
        "It is SNDlib's: S. Orlowski, R. Wessäly, M. Pióro, A. Tomaszewski, SNDlib 1.0 - Survivable Network Design "
        "Library, Networks 55, 276-286, 2010, doi 10.1002/net.20371."
    ),
    "topozoo": (
        "It is the Internet Topology Zoo's: S. Knight, H. X. Nguyen, N. Falkner, R. Bowden, M. Roughan, The Internet "
        "Topology Zoo, IEEE JSAC 29, 1765-1775, 2011, doi 10.1109/JSAC.2011.111002."
    ),
    "caida": "It was made of CAIDA's measurements.",
}
"""Whom to cite beside TopoHub, by the first part of a name."""


def _last(name: str) -> str:
    """What a topology of TopoHub's is called: `germany50`, but `gabriel-25-0`."""
    first, _, rest = name.partition("/")
    return rest if not rest.replace("/", "").replace("-", "").isdigit() else f"{first}-{rest.replace('/', '-')}"


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise ScenarioError(str(path), [f"has more than {LARGEST >> 20} MiB; accepted: a smaller file"])
        return path.read_bytes()
    except OSError as error:
        raise ScenarioError(str(path), [f"cannot be read: {error.strerror}; accepted: the path of a file"]) from error


def _json(path: Path) -> Survey | Scenario:
    source = str(path)
    try:
        data = json.loads(_content(path))
    except (ValueError, RecursionError) as error:
        raise ScenarioError(source, [f"is not JSON: {error}; accepted: networkx' node-link form"]) from error
    if is_scenario(data):
        return scenario_of_node_link(data, path)
    return survey_of_graph(graph_of_node_link(data, source), _name(data) or path.stem, path.name)


def _name(data: Any) -> str:
    graph = data.get("graph") if isinstance(data, dict) else None
    return str(graph.get("name") or "") if isinstance(graph, dict) else ""


def _xml(path: Path) -> Survey:
    content = _content(path)
    root = element(content, str(path))
    if tag(root) == "graphml":
        return survey_of_graph(graph_of_graphml(content, str(path)), path.stem, path.name)
    return survey_of_sndlib(root, path.stem, path.name)


def _tntp(path: Path) -> Survey:
    name = path.stem.removesuffix("_net")
    if name == path.stem:
        raise ScenarioError(str(path), ["is one file of several; accepted: the NAME_net.tntp of a road network"])
    road = read_road_network(path.parent, name)
    space, law = road.space, road.law
    places = tuple(Place(f"n{number}") for number in range(1, len(space.through) + 1))
    # A zone's own connectors may take no time at all: then nothing is known of their delay.
    cables = tuple(
        Cable(places[tail].name, places[head].name, False, float(capacity), None, float(free) * ROAD_SECOND or None)
        for tail, head, capacity, free in zip(space.tails, space.heads, law.practical, law.free, strict=True)
    )
    pairs = zip(space.origins, space.sinks, road.rates, strict=True)
    demands = tuple(Demand(places[a].name, places[b].name, float(rate)) for a, b, rate in pairs)
    notes = ["the roads' own delay laws are left: links queue as links do; 1 unit of free-flow time is 1 ms"]
    if not np.all(space.through):
        notes.append("zones may be passed through here")
    return Survey(
        name=name,
        title=f"{name}: {len(places)} nodes, {len(cables)} links of a road network",
        provenance=f"Read from {path.name}, a road network in the TNTP form.",
        places=places,
        cables=cables,
        demands=demands,
        notes=tuple(notes),
    )


READERS: Mapping[str, Callable[[Path], Survey | Scenario]] = {
    ".graphml": _xml,
    ".json": _json,
    ".xml": _xml,
    ".tntp": _tntp,
}
"""Who reads a file, by its ending."""
