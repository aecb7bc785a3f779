"""Scenarios for other tools: Graphviz, Mermaid, networkx' node-link JSON, and YAML with every value written out.

JSON and YAML hold the whole scenario and come back as an equal one (`wardrop import`, or any command). Graphviz and
Mermaid are pictures: nodes, cables with their capacities, servers and the sessions that ask.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from pricing.network import Link
from topologies import units
from topologies.node_link import node_link
from topologies.scenario import Scenario, dump


def as_json(scenario: Scenario) -> str:
    """The scenario in networkx' node-link form (`topologies.node_link`)."""
    return json.dumps(node_link(scenario), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_dot(scenario: Scenario) -> str:
    """The scenario for Graphviz: nodes pinned to their places for `neato -n2`, which other engines pass over."""
    lines = [f"digraph {_quoted(scenario.name)} {{", f"  label={_quoted(scenario.title)};", "  node [shape=ellipse];"]
    for node in scenario.network.nodes:
        known = node.latitude is not None and node.longitude is not None
        place = f' [pos="{100 * (node.longitude or 0):.0f},{100 * (node.latitude or 0):.0f}!"]' if known else ""
        lines.append(f"  {_quoted(node.name)}{place};")
    for link, both, label in _wires(scenario):
        ways = ", dir=none" if both else ""
        lines.append(f"  {_quoted(link.src)} -> {_quoted(link.dst)} [label={_quoted(label)}{ways}];")
    for server in scenario.network.servers:
        label = _quoted(f"{server.name}\\n{units.show(server.capacity, 'work')}")
        lines.append(f"  {_quoted(server.name)} [shape=box, label={label}];")
        lines.append(f"  {_quoted(server.node)} -> {_quoted(server.name)} [dir=none, style=dotted];")
    for session in scenario.network.sessions:
        for destination in session.destinations:
            label = _quoted(f"{session.name}, {units.show(session.rate, 'capacity')}")
            ends = f"{_quoted(session.source)} -> {_quoted(destination)}"
            lines.append(f"  {ends} [label={label}, style=dashed, constraint=false];")
    return "\n".join([*lines, "}"]) + "\n"


def as_mermaid(scenario: Scenario) -> str:
    """The scenario as a Mermaid flowchart, which many pages draw."""
    # Mermaid has words of its own that nodes must not be called, so they go by number.
    names = [node.name for node in scenario.network.nodes] + [server.name for server in scenario.network.servers]
    number = {name: f"n{index}" for index, name in enumerate(names)}
    lines = ["---", f"title: {json.dumps(scenario.title, ensure_ascii=False)}", "---", "flowchart LR"]
    lines += [f'  {number[node.name]}(("{node.name}"))' for node in scenario.network.nodes]
    for link, both, label in _wires(scenario):
        arrow = "---" if both else "-->"
        lines.append(f'  {number[link.src]} {arrow}|"{label}"| {number[link.dst]}')
    for server in scenario.network.servers:
        label = f"{server.name}<br/>{units.show(server.capacity, 'work')}"
        lines.append(f'  {number[server.name]}["{label}"]')
        lines.append(f"  {number[server.node]} --- {number[server.name]}")
    for session in scenario.network.sessions:
        for destination in session.destinations:
            label = f"{session.name}, {units.show(session.rate, 'capacity')}"
            lines.append(f'  {number[session.source]} -.->|"{label}"| {number[destination]}')
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Scenario], str]] = {
    ".dot": as_dot,
    ".json": as_json,
    ".mmd": as_mermaid,
    ".yaml": dump,
}
"""Who writes a file, by its ending."""


def _wires(scenario: Scenario) -> Iterator[tuple[Link, bool, str]]:
    """Links, those of a cable that is the same both ways only once, with what is written beside them."""
    links = {link.key: link for link in scenario.network.links}
    for link in scenario.network.links:
        back = links.get((link.dst, link.src))
        both = back is not None and replace(back, src=link.src, dst=link.dst) == link
        if not both or link.src < link.dst:
            yield link, both, units.show(link.capacity, "capacity")


def _quoted(text: str) -> str:
    """A quoted text of Graphviz: quotes are escaped; `\\n` keeps its meaning."""
    return '"' + text.replace('"', '\\"') + '"'
