"""Topologies from elsewhere: what is read of each format, how it is fitted, and what is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.errors import ScenarioError
from pricing.joint.feasible import least_top_utilization
from pricing.network import Allocation, Network
from pricing.problem import problem_of
from pricing.shortest import shortest_path
from topologies.exporters import as_json
from topologies.importers.fitting import Fit, fitted
from topologies.importers.graphs import survey_of_graph
from topologies.importers.sources import read
from topologies.importers.survey import Cable, Demand, Place, Survey, distance, tidied, tidy
from topologies.scenario import Scenario, dump, load, parse

SNDLIB = """<?xml version="1.0" encoding="ISO-8859-1"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <networkStructure>
  <nodes coordinatesType="geographical">
   <node id="Nord"><coordinates><x>10.0</x><y>54.0</y></coordinates></node>
   <node id="Ost"><coordinates><x>13.4</x><y>52.5</y></coordinates></node>
   <node id="S&#252;d"><coordinates><x>11.6</x><y>48.1</y></coordinates></node>
  </nodes>
  <links>
   <link id="L1"><source>Nord</source><target>Ost</target>
    <preInstalledModule><capacity>40.0</capacity><cost>1</cost></preInstalledModule></link>
   <link id="L2"><source>Ost</source><target>S&#252;d</target>
    <additionalModules><addModule><capacity>10</capacity><cost>1</cost></addModule>
     <addModule><capacity>20</capacity><cost>3</cost></addModule></additionalModules></link>
   <link id="L3"><source>Nord</source><target>S&#252;d</target></link>
  </links>
 </networkStructure>
 <demands>
  <demand id="D1"><source>Nord</source><target>S&#252;d</target><demandValue>6</demandValue></demand>
  <demand id="D2"><source>Ost</source><target>Nord</target><demandValue>2.5</demandValue></demand>
 </demands>
</network>
"""


def survey(path: Path | str) -> Survey:
    found = read(str(path))
    assert isinstance(found, Survey)
    return found


def written(home: Path, name: str, text: str) -> Path:
    (home / name).write_text(text)
    return home / name


def refused(path: Path | str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read(str(path))
    return caught.value.problems


def top(network: Network, allocation: Allocation) -> float:
    problem = problem_of(network)
    return float(np.max(problem.loads(allocation) / problem.capacity))


def square(**edge: Any) -> nx.Graph[Any]:
    graph = nx.cycle_graph(4)
    for key, value in edge.items():
        nx.set_edge_attributes(graph, value, key)
    return graph


def test_sndlib(tmp_path: Path) -> None:
    found = survey(written(tmp_path, "klein.xml", SNDLIB))
    assert found.name == "klein"
    assert found.places[2] == Place("Süd", 48.1, 11.6)
    assert [(cable.src, cable.dst, cable.both, cable.capacity) for cable in found.cables] == [
        ("Nord", "Ost", True, 40.0),
        ("Ost", "Süd", True, 20.0),
        ("Nord", "Süd", True, None),
    ]
    assert found.demands == (Demand("Nord", "Süd", 6.0), Demand("Ost", "Nord", 2.5))


def test_graphml_of_the_topology_zoo(tmp_path: Path) -> None:
    graph = nx.MultiGraph(Network="Zoo")
    graph.add_node("0", label="Wien", Latitude=48.2, Longitude=16.4)
    graph.add_node("1", label="Graz")
    graph.add_node("2", label="Linz")
    graph.add_edge("0", "1", LinkSpeedRaw=1e9)
    graph.add_edge("0", "1", LinkSpeedRaw=2e9)
    graph.add_edge("1", "2", LinkLabel="unknown")
    nx.write_graphml(graph, tmp_path / "Zoo.graphml")
    found = survey(tmp_path / "Zoo.graphml")
    assert found.places[0] == Place("Wien", 48.2, 16.4)
    assert [cable.capacity for cable in found.cables] == [1e9, 2e9, None]
    joined = tidied(found)
    assert [cable.capacity for cable in joined.cables] == [3e9, None]
    assert any("parallel" in note for note in joined.notes)


@pytest.mark.parametrize("key", ["edges", "links"])
def test_node_link_json_old_and_new(tmp_path: Path, key: str) -> None:
    data = nx.node_link_data(square(capacity="2 Mbit/s", dist=100), edges=key)
    data["graph"] = {"name": "Quadrat", "demands": {"0": {"2": 3.0, "1": 1}}}
    found = survey(written(tmp_path, "square.json", json.dumps(data)))
    assert (found.name, len(found.places), len(found.cables)) == ("Quadrat", 4, 4)
    assert found.cables[0] == Cable("0", "1", True, 2e6, 100.0)
    assert found.demands == (Demand("0", "2", 3.0), Demand("0", "1", 1.0))


def test_directed_graphs_stay_directed() -> None:
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 0)])
    nx.set_edge_attributes(graph, 0.004, "delay")
    scenario, _ = fitted(survey_of_graph(graph, "ring"))
    assert [str(link) for link in scenario.network.links] == ["n0->n1", "n1->n2", "n2->n0"]
    assert {link.propagation for link in scenario.network.links} == {0.004}
    assert len(scenario.network.sessions) == 6


@pytest.mark.parametrize(
    ("name", "nodes", "cables", "demands"),
    [
        ("sndlib/polska", 12, 18, 66),
        ("topozoo/Abilene", 11, 14, 0),
        ("gabriel/25/0", 25, 40, 0),
        ("caida/2024-08/5384", 7, 16, 0),
    ],
)
def test_topohub(name: str, nodes: int, cables: int, demands: int) -> None:
    found = survey(f"topohub:{name}")
    assert (len(found.places), len(found.cables), len(found.demands)) == (nodes, cables, demands)
    assert "SoftwareX" in found.provenance
    planar = name.startswith("gabriel")
    assert any("not degrees" in note for note in found.notes) == planar
    assert all((place.latitude is None) == planar for place in found.places)
    scenario, _ = fitted(found, Fit(sessions=6))
    assert top(scenario.network, least_top_utilization(scenario.network)) == pytest.approx(0.7, abs=1e-3)
    assert parse(dump(scenario), scenario.path) == scenario


def test_tntp(tmp_path: Path) -> None:
    written(
        tmp_path,
        "road_net.tntp",
        "<NUMBER OF ZONES> 2\n<NUMBER OF NODES> 3\n<FIRST THRU NODE> 1\n<NUMBER OF LINKS> 3\n<END OF METADATA>\n"
        "1 3 100 1 6 0.15 4 0 0 1 ;\n3 2 50 1 4 0.15 4 0 0 1 ;\n2 1 80 1 9 0.15 4 0 0 1 ;\n",
    )
    written(tmp_path, "road_trips.tntp", "<NUMBER OF ZONES> 2\n<END OF METADATA>\nOrigin 1\n 2 : 7.0;\n")
    found = survey(tmp_path / "road_net.tntp")
    assert [(c.src, c.dst, c.both, c.capacity, round(c.delay or 0, 6)) for c in found.cables] == [
        ("n1", "n3", False, 100.0, 0.006),
        ("n3", "n2", False, 50.0, 0.004),
        ("n2", "n1", False, 80.0, 0.009),
    ]
    assert found.demands == (Demand("n1", "n2", 7.0),)
    network = fitted(found)[0].network
    capacity = {str(link): link.capacity for link in network.links}
    assert capacity["n1->n3"] == pytest.approx(2 * capacity["n3->n2"], rel=1e-3)
    assert network.sessions[0].rate / capacity["n3->n2"] == pytest.approx(0.7, rel=1e-3)


def test_lengths_come_from_positions() -> None:
    berlin, hamburg = Place("Berlin", 52.52, 13.405), Place("Hamburg", 53.551, 9.994)
    assert distance(berlin, hamburg) == pytest.approx(255.3, abs=0.5)
    found = Survey("x", "x", "x", (berlin, hamburg), (Cable("Berlin", "Hamburg"),))
    links = fitted(found)[0].network.links
    assert links[0].propagation == pytest.approx(255.3 / 199_861.6, abs=2e-6)
    assert distance(berlin, Place("nowhere")) is None


def test_names_fit_and_differ() -> None:
    names = tidy(["Frankfurt am Main Süd", "Frankfurt am Main Süd", "4", "", "São Paulo", "SaoPaulo", "北京"])
    assert names == ["FrankfurtamMain", "FrankfurtamMa-2", "n4", "n", "SaoPaulo", "SaoPaulo-2", "n-2"]


def test_of_a_network_in_parts_the_largest_stays() -> None:
    graph = nx.disjoint_union(nx.path_graph(4), nx.path_graph(2))
    graph.add_edge(0, 0)
    kept = tidied(survey_of_graph(graph))
    assert len(kept.places) == 4
    assert any("2 of 6 nodes" in note for note in kept.notes)
    assert any("itself" in note for note in kept.notes)


@pytest.mark.parametrize("servers", [0, 2])
@pytest.mark.parametrize("of", ["optimum", "shortest-path"])
@pytest.mark.parametrize("capacity", [None, 3e6, "keep"])
def test_the_target_utilization_is_met(servers: int, of: Any, capacity: Any) -> None:
    graph = nx.random_regular_graph(3, 8, seed=4)
    for index, (a, b) in enumerate(graph.edges):
        graph.edges[a, b]["capacity"] = 1e6 * (1 + index % 3)
    fit = Fit(sessions=10, servers=servers, capacity=capacity, utilization=0.6, of=of)
    network = fitted(survey_of_graph(graph), fit)[0].network
    allocation = least_top_utilization(network) if of == "optimum" else shortest_path(network)
    assert top(network, allocation) == pytest.approx(0.6, abs=2e-3)
    widest = max(link.capacity for link in network.links)
    assert widest / min(link.capacity for link in network.links) == pytest.approx(1 if capacity == 3e6 else 3, rel=1e-3)
    if capacity is None:
        assert sum(session.rate for session in network.sessions) == pytest.approx(4e6, rel=1e-3)
    else:
        assert widest == 3e6
    assert all(session.kind == ("anycast" if servers else "unicast") for session in network.sessions)


def test_the_largest_demands_stay_in_their_proportions() -> None:
    graph = square()
    graph.graph["demands"] = {0: {1: 1.0, 2: 8.0}, 3: {1: 4.0}}
    scenario, notes = fitted(survey_of_graph(graph), Fit(sessions=2))
    rates = {(s.source, s.destinations[0]): s.rate for s in scenario.network.sessions}
    assert rates["n0", "n2"] == pytest.approx(2 * rates["n3", "n1"], rel=1e-3)
    assert len(rates) == 2
    assert "2 of 3 demands were kept, 92% of what is asked in all" in notes


def test_servers_stand_where_they_shorten_the_ways_most() -> None:
    graph = nx.path_graph(7)
    graph.graph["demands"] = {0: {1: 9.0}, 6: {5: 9.0}, 3: {2: 1.0}}
    network = fitted(survey_of_graph(graph), Fit(servers=1))[0].network
    assert [server.node for server in network.servers] == ["n3"]
    assert {session.source for session in network.sessions} == {"n0", "n6"}


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        (
            Fit(sessions=0, servers=-1, utilization=1.0, rate=1e6, capacity=2e9),
            ["utilization: found 1", "sessions: found 0", "servers: found -1", "found both", "capacity: found 2000"],
        ),
        (Fit(servers=4, capacity="keep"), ["servers: found 4; accepted: at most 3", "capacity: keep, but 4 links"]),
        (Fit(rate=1e4), ["8 links cannot be emulated"]),
    ],
)  # fmt: skip
def test_a_wrong_choice_is_said_at_once(fit: Fit, expected: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        fitted(survey_of_graph(square()), fit)
    for problem, beginning in zip(caught.value.problems, expected, strict=True):
        assert problem.startswith(beginning)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.graphm", "", ["found the ending '.graphm'; did you mean '.graphml'?"]),
        ("a.yaml", "", ["is a scenario file already"]),
        ("a.json", "{", ["is not JSON"]),
        ("a.json", "[]", ["found []; accepted: networkx' node-link form"]),
        ("a.json", '{"nodes": [{}, {"id": 1}, {"id": 1}], "edges": [3, {"source": 1, "target": 7}]}',
         ["nodes[0]: found {}", "nodes[2].id: found 1 twice", "edges[0]: found 3", "edges[1].target: found 7"]),
        ("a.json", '{"nodes": [{"id": 1, "latitude": 91}, {"id": 2}], "edges": [{"source": 1, "target": 2, '
         '"capacity": -1, "dist": "5 ms"}], "graph": {"demands": {"1": {"3": 1}}}}',
         ["node 1: latitude: found 91", "edge 1 - 2: capacity: found -1", "edge 1 - 2: length: found '5 ms'",
          "demands: found '3', which is no node"]),
        ("a.xml", "<network>", ["is not XML: no element found in line 1"]),
        ("a.xml", "<x:network/>", ["is not XML: unbound prefix"]),
        ("a.xml", "<?xml version='1.0' encoding='ISO-8'?><network/>", ["is not XML: unknown encoding: ISO-8"]),
        ("a.xml", "<network><a/></network>", ["has no <nodes> and <links>"]),
        ("a.xml", "<a>" * 65 + "</a>" * 65, ["is nested deeper than 64"]),
        ("a.xml", SNDLIB.replace("<target>Ost<", "<target>Osst<").replace(">40.0<", ">forty<").replace(">6<", "><"),
         ["link L1: found 'Osst', which is no node; did you mean 'Ost'?", "link L1: capacity: found 'forty'",
          "demand D1: no <demandValue>", "demand D1: demandValue: found ''"]),
        ("a.graphml", "<graphml xmlns='http://graphml.graphdrawing.org/xmlns'><graph edgedefault='directed'>"
         "<node id='0'><data key='d9'>1</data></node></graph></graphml>", ["is no GraphML that can be read"]),
        ("a.graphml", "<graphml xmlns='http://graphml.graphdrawing.org/xmlns'><graph edgedefault='directed'>"
         "<node id='east'/><node id='b'/><edge source='b' target='eats'/><edge source='b'/></graph></graphml>",
         ["edge[0].target: found 'eats', which is no node; did you mean 'east'?", "edge[1].target: found ''"]),
        ("a.tntp", "", ["is one file of several"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_once(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    found = refused(written(tmp_path, name, text))
    assert len(found) == len(expected), found
    for problem, beginning in zip(found, expected, strict=True):
        assert problem.startswith(beginning)


@pytest.mark.parametrize("name", ["bomb.xml", "bomb.graphml"])
def test_entities_are_refused_unread(tmp_path: Path, name: str) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
    bomb = f'<?xml version="1.0"?><!DOCTYPE network [<!ENTITY e0 "boom">{entities}]><network>&e8;</network>'
    (problem,) = refused(written(tmp_path, name, bomb))
    assert problem.startswith("declares a document type in line 1")


def test_missing_things(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.xml")[0].startswith("cannot be read: No such file")
    assert "did you mean 'sndlib/polska'?" in refused("topohub:sndlib/polsk")[0]
    assert "accepted: backbone/..., caida/..." in refused("topohub:../secrets")[0]


def test_attributes_that_look_right_are_named() -> None:
    notes = survey_of_graph(square(capcity=1e6)).notes
    assert notes == ("the attribute 'capcity' of edges is not read; did you mean 'capacity'?",)


def test_a_scenario_of_its_own_comes_back_whole(tmp_path: Path) -> None:
    before = load("two-servers")
    after = read(str(written(tmp_path, "two.json", as_json(before))))
    assert isinstance(after, Scenario)
    assert (after.network, after.control, after.provenance) == (before.network, before.control, before.provenance)
    twice = as_json(before).replace('"id": "Left"', '"id": "Right"').replace('"id": "North"', '"id": []')
    found = refused(written(tmp_path, "twice.json", twice))
    assert found == [
        "nodes[1].id: found []; accepted: a name", "nodes[2].id: found 'Right' twice; accepted: each id once"
    ]  # fmt: skip
    broken = as_json(before).replace('"capacity": 1500000.0', '"capacity": "wide"')
    assert refused(written(tmp_path, "broken.json", broken))[0].startswith("links[1].capacity: found 'wide'")


KEYS = st.sampled_from(["id", "source", "target", "capacity", "dist", "name", "pos", "latitude", "demands", "sessions"])
LEAVES = st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.sampled_from(["0", "1", "5 ms", "é"])
DATA = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


@settings(max_examples=40, deadline=None)
@given(nodes=st.lists(DATA, max_size=3), edges=st.lists(DATA, max_size=2), attributes=DATA, alike=DATA)
def test_nothing_ends_in_a_traceback(nodes: list[Any], edges: list[Any], attributes: Any, alike: Any) -> None:
    good = [{"id": number, "name": alike, "pos": alike} for number in (0, 1)]
    joined = [{"source": 0, "target": 1, "capacity": alike, "dist": alike}]
    parts = {"nodes": [*good, *nodes], "edges": [*joined, *edges], "graph": attributes}
    with TemporaryDirectory() as home, contextlib.suppress(ScenarioError):
        for data in (parts, {**parts, "nodes": good, "edges": joined, "graph": {"demands": attributes}}):
            found = read(str(written(Path(home), "x.json", json.dumps(data))))
            if isinstance(found, Survey):
                fitted(found, Fit(servers=1))
