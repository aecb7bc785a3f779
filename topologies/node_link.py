"""A scenario in networkx' node-link form, and back: any tool that knows networkx reads the graph, Wardrop all of it.

Nodes and edges carry SI numbers (`capacity` in bit/s, `delay` in s, `latitude` and `longitude` in degrees); an edge is
a directed link. `graph` has what a graph has no place for, in the form of a scenario file: name, title, provenance,
servers, services, sessions, background and control.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pricing.errors import ScenarioError
from topologies import units
from topologies.scenario import Scenario, as_form, parse

GRAPH = (
    *("name", "title", "provenance", "currency", "servers", "services", "functions", "sessions"),
    *("background", "control"),
)
"""Parts of the form that go under `graph`."""


def node_link(scenario: Scenario) -> dict[str, Any]:
    """The scenario as `networkx.node_link_graph(..., edges="edges")` reads it."""
    form = as_form(scenario)
    network = scenario.network
    return {
        "directed": True,
        "multigraph": False,
        "graph": {key: form[key] for key in GRAPH if key in form},
        "nodes": [{"id": name, **attributes} for name, attributes in form["nodes"].items()],
        "edges": [
            {
                "source": link.src,
                "target": link.dst,
                "capacity": link.capacity,
                "delay": link.propagation,
                "queue": link.queue,
                "delivers": link.delivers,
                **({"fee": units.show_money(link.fee, network.currency, "fee")} if link.fee else {}),
            }
            for link in network.links
        ],
    }


def is_scenario(data: Any) -> bool:
    """Whether a node-link form has sessions of its own, as `node_link` writes them."""
    graph = data.get("graph") if isinstance(data, dict) else None
    return isinstance(graph, dict) and "sessions" in graph


def scenario_of_node_link(data: dict[str, Any], path: Path) -> Scenario:
    """The scenario that `node_link` wrote.

    Raises
    ------
    ScenarioError
        With every problem of it.
    """
    problems = []
    for key in ("nodes", "edges"):
        if not isinstance(data.get(key), list) or not all(isinstance(part, dict) for part in data[key]):
            problems.append(f"{key}: found {units.shown(data.get(key))}; accepted: a list of mappings")
    if problems:
        raise ScenarioError(str(path), problems)
    names = [part.get("id") for part in data["nodes"]]
    for index, name in enumerate(names):
        if not isinstance(name, str):
            problems.append(f"nodes[{index}].id: found {units.shown(name)}; accepted: a name")
        elif name in names[:index]:
            problems.append(f"nodes[{index}].id: found {name!r} twice; accepted: each id once")
    if problems:
        raise ScenarioError(str(path), problems)
    nodes = {part.get("id"): {key: part[key] for key in part if key != "id"} for part in data["nodes"]}
    form = {**data["graph"], "nodes": nodes, "links": [_link(edge) for edge in data["edges"]]}
    return parse(yaml.safe_dump(form, sort_keys=False), path)


def _link(edge: dict[str, Any]) -> dict[str, Any]:
    """An edge in the form of a scenario file; what is no number stays, for the check to refuse."""
    names = {"source": "from", "target": "to"}
    link = {names.get(key, key): value for key, value in edge.items()}
    for key, kind in (("capacity", "capacity"), ("delay", "delay")):
        value = link.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
            link[key] = units.show(value, kind)  # type: ignore[arg-type]
    if link.get("delay") == 0:
        del link["delay"]
    return link
