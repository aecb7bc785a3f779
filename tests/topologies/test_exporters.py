"""Scenarios for other tools: what they read is what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import networkx as nx
import pytest

from topologies.exporters import FORMATS, as_dot, as_json, as_mermaid
from topologies.importers.fitting import Fit, fitted
from topologies.importers.sources import read
from topologies.scenario import Scenario, load, parse


@pytest.mark.parametrize("name", ["abilene", "braess", "butterfly", "fat-tree(4)", "geant", "joint-5x3", "star(3)"])
@pytest.mark.parametrize("ending", [".json", ".yaml"])
def test_what_holds_everything_comes_back_equal(tmp_path: Path, name: str, ending: str) -> None:
    before = load(name)
    file = tmp_path / f"x{ending}"
    file.write_text(FORMATS[ending](before))
    after = read(str(file)) if ending == ".json" else load(file)
    assert isinstance(after, Scenario)
    assert (after.name, after.title, after.provenance) == (before.name, before.title, before.provenance)
    assert (after.network, after.control) == (before.network, before.control)


def test_an_imported_topology_survives_every_way(tmp_path: Path) -> None:
    found = read("topohub:sndlib/polska")
    assert not isinstance(found, Scenario)
    scenario, _ = fitted(found, Fit(servers=2))
    (tmp_path / "p.json").write_text(as_json(scenario))
    back = read(str(tmp_path / "p.json"))
    assert isinstance(back, Scenario)
    assert back.network == scenario.network == parse(FORMATS[".yaml"](back), Path("p.yaml")).network


def test_networkx_reads_the_json() -> None:
    scenario = load("abilene")
    graph = nx.node_link_graph(json.loads(as_json(scenario)), edges="edges")
    assert {(a, b): data["capacity"] for a, b, data in graph.edges(data=True)} == {
        link.key: link.capacity for link in scenario.network.links
    }
    assert graph.nodes["Denver"] == {"latitude": 39.74, "longitude": -104.98}
    assert graph.graph["sessions"]["denver"]["rate"] == "830 kbit/s"


def test_graphviz_has_every_part_once() -> None:
    text = as_dot(load("two-servers"))
    assert text.startswith('digraph "two-servers" {')
    assert text.endswith("}\n")
    cables = re.findall(r'^  "(\w+)" -> "(\w+)" \[label="([^"]+)", dir=none\];$', text, flags=re.MULTILINE)
    assert cables == [("Left", "North", "3 Mbit/s"), ("Left", "Right", "1.5 Mbit/s"), ("Right", "South", "3 Mbit/s")]
    assert text.count("shape=box") == 2
    assert len(re.findall(r'"Left" -> "(left|right)" \[label="many, 1.9 Mbit/s", style=dashed', text)) == 2
    assert '"Left" [pos="0,0!"];' in text


def test_graphviz_escapes_quotes_and_keeps_one_way_links() -> None:
    one_way = parse(ONE_WAY, Path("one-way.yaml"))
    assert as_dot(one_way).count("dir=none") == 0
    quoted = parse(FORMATS[".yaml"](one_way).replace("title: ", "title: 'say \"so\"' # "), Path("q.yaml"))
    assert 'label="say \\"so\\"";' in as_dot(quoted)


def test_mermaid_goes_by_number_and_shows_names() -> None:
    text = as_mermaid(load("two-servers"))
    assert text.splitlines()[:4][3] == "flowchart LR"
    number = {name: n for n, name in re.findall(r'^  (n\d+)\(?\(?\[?"(\w+)', text, flags=re.MULTILINE)}
    assert len(number) == 6
    assert f'{number["Left"]} ---|"1.5 Mbit/s"| {number["Right"]}' in text
    assert f'{number["Right"]} -.->|"few, 0.7 Mbit/s"| {number["left"]}' in text
    assert '-->|"10 Mbit/s"|' in as_mermaid(parse(ONE_WAY, Path("one-way.yaml")))


ONE_WAY = """
name: one-way
title: "One link"
provenance: Wardrop's own.
nodes: {A: {}, B: {}}
links:
  - {from: A, to: B, capacity: 10 Mbit/s}
sessions:
  all: {source: A, destination: B, rate: 1 Mbit/s}
"""
