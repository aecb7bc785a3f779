"""A scenario file is checked at the door: everything wrong with it is said at once, and nothing else."""

from __future__ import annotations

import contextlib
import math
import random
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.plant import plant_from_json
from pricing.errors import Infeasible, ScenarioError
from pricing.joint.feasible import least_top_utilization
from pricing.problem import problem_of
from pricing.written import network_from_json, network_to_json
from topologies import units
from topologies.plant import plan
from topologies.scenario import Control, Scenario, dump, json_schema, load, parse

GOOD = """
name: good
title: Two nodes and a server
provenance: made up
nodes: {A: {latitude: 1.5, longitude: -2}, B: {}}
cables:
  - {ends: [B, A], capacity: 4 Mbit/s, capacity_back: 250 kbit/s, length: 1000 km}
servers:
  west: {node: B, capacity: 600 work/s, scv: 0}
  east: {node: A, capacity: 1e3 work/s}
services:
  web: {servers: [west, east]}
sessions:
  one: {source: A, service: web, rate: 100 kbit/s, flows: 7, response: 100 bytes}
  two: {source: A, destination: B, rate: 1e3 bit/s, size: {law: fixed, mean: 100 bytes}}
defaults: {queue: 50, work: 2}
control: {tick: 200 ms, slots: 256}
"""


def read(text: str) -> Scenario:
    return parse(text, Path("good.yaml"))


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read(text)
    assert caught.value.exit_code == 2
    assert caught.value.source == "good.yaml"
    return caught.value.problems


def changed(**parts: Any) -> str:
    """The good file with some of its parts replaced."""
    return str(yaml.safe_dump({**yaml.safe_load(GOOD), **parts}))


def test_a_good_file_becomes_a_network() -> None:
    scenario = read(GOOD)
    network = scenario.network
    assert (scenario.name, scenario.title, scenario.provenance) == ("good", "Two nodes and a server", "made up")
    assert scenario.control == Control(0.2, 256)
    assert [(str(link), link.capacity, link.queue, link.delivers) for link in network.links] == [
        ("A->B", 250e3, 50, "wait"),
        ("B->A", 4e6, 50, "wait"),
    ]
    assert network.links[0].propagation == pytest.approx(5.00346e-3, rel=1e-5)
    assert [(s.name, s.node, s.capacity, s.scv) for s in network.servers] == [
        ("east", "A", 1000.0, 1.0),
        ("west", "B", 600.0, 0.0),
    ]
    one, two = network.sessions
    assert (one.kind, one.destinations, one.service, one.flows) == ("anycast", ("east", "west"), "web", 7)
    assert (one.rate, one.response_bits, one.work, one.size.mean) == (100e3, 800.0, 2.0, 500.0)
    assert (two.kind, two.destinations, two.rate, two.size.law, two.size.mean) == ("unicast", ("B",), 1e3, "fixed", 100)
    assert network.nodes[0].longitude == -2


def test_a_group_is_read_and_written_and_is_not_answered() -> None:
    group = "{source: A, destinations: [B], group: 239.0.0.1, rate: 1 kbit/s}"
    text = yaml.safe_load(GOOD)
    text["sessions"]["to-group"] = yaml.safe_load(group)
    text.setdefault("defaults", {})["response"] = "100 bytes"
    scenario = parse(yaml.safe_dump(text), Path("x.yaml"))
    session = scenario.network.sessions[scenario.network.session_index["to-group"]]
    assert (session.kind, session.destinations, session.group) == ("multicast", ("B",), "239.0.0.1")
    assert session.response_bits == 0
    assert parse(dump(scenario), Path("x.yaml")).network == scenario.network
    numbered = plan(scenario.network)
    assert numbered.address(session) == "239.0.0.1"
    assert numbered.host_at("B")
    told = plant_from_json(numbered.to_json(), network_from_json(network_to_json(scenario.network)))
    assert (told.ends(session), told.members(session)) == ((), (numbered.host_at("B"),))


def test_members_that_come_and_go_are_of_the_nodes_that_are_named_or_of_all() -> None:
    text = yaml.safe_load(GOOD)
    text["sessions"]["any"] = {"source": "A", "group": "239.0.0.1", "members": "joined", "rate": "1 kbit/s"}
    scenario = parse(yaml.safe_dump(text), Path("x.yaml"))
    session = scenario.network.sessions[scenario.network.session_index["any"]]
    assert (session.kind, session.destinations, session.joined) == ("multicast", ("B",), True)
    assert parse(dump(scenario), Path("x.yaml")).network == scenario.network
    assert network_from_json(network_to_json(scenario.network)) == scenario.network
    text["sessions"]["any"] = {"source": "A", "destination": "B", "members": "joined", "rate": "1 kbit/s"}
    with pytest.raises(ScenarioError, match="members joined without 'group'"):
        parse(yaml.safe_dump(text), Path("x.yaml"))


def test_the_order_in_the_file_makes_no_difference() -> None:
    data = yaml.safe_load(GOOD)
    for seed in range(5):
        shuffled = {
            key: dict(random.Random(seed).sample(list(part.items()), len(part))) if isinstance(part, dict) else part
            for key, part in random.Random(seed).sample(list(data.items()), len(data))
        }
        assert read(yaml.safe_dump(shuffled, sort_keys=False)) == read(GOOD)


TEN = """
name: ten mistakes
provenance: made up
nodes:
  Alpha: {latitude: 91}
  Beta: {}
  Gamma: {}
  Island: {}
cables:
  - {ends: [Alpha, Beta], capacity: -4 Mbit/s}
  - {ends: [Beta, Gama], capacity: 4 Mbit/s}
  - {ends: [Alpha, Gamma], capacity: 4}
servers:
  east: {node: Gamma, capcity: 600 work/s}
services:
  web: {servers: [east, west]}
sessions:
  alpha: {source: Alpha, service: web, rate: 10 kbit/s}
  alpha: {source: Beta, service: web, rate: .nan}
"""


def test_mistakes_of_every_kind_are_all_reported_at_once() -> None:
    rate = "a number above 0 with its unit, '4 Mbit/s', '250 kbit/s' or '1e6 bit/s'"
    name = "a name of at most 15 letters, digits and hyphens that begins with a letter"
    nodes = "the nodes of this file, Alpha, Beta, Gamma, Island"
    found = problems(TEN + "colour: red\n")
    assert found == [
        "alpha: found a second time in line 19, first in line 18; accepted: each key once",
        f"name: found 'ten mistakes'; accepted: {name}",
        "title: missing; accepted: a line that says what it is",
        "nodes.Alpha.latitude: found 91; accepted: degrees north, a number from -90 to 90",
        f"cables[0].capacity: found '-4 Mbit/s'; accepted: {rate}",
        f"cables[2].capacity: found 4; accepted: {rate}",
        "servers.east.capcity: unknown key; did you mean 'capacity'?; accepted: node, capacity, scv, queue, cost",
        f"sessions.alpha.rate: found nan; accepted: {rate}",
        "colour: unknown key; accepted: name, title, provenance, currency, nodes, cables, links, servers, services, "
        "functions, sessions, users, classes, background, defaults, control",
        "services.web.servers: found 'west', which is no server; did you mean 'east'?; "
        "accepted: the servers of this file, east",
        f"cables[1].ends: found 'Gama', which is no node; did you mean 'Gamma'?; accepted: {nodes}",
        "the network is disconnected: it has 2 parts (Alpha, Beta, Gamma; Island)",
    ]


def test_the_message_names_file_and_count() -> None:
    with pytest.raises(ScenarioError, match=r"^good.yaml: 1 problem\n  title: missing"):
        read(GOOD.replace("title:", "# title:"))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"nodes": {"A": {}, "B": {}, "Llanfairpwllgwyngyll": {}}}, ["nodes: found the name", "the network is"]),
        ({"nodes": {"A": {}, "B": {}, 1: {}}}, ["nodes: found 1; accepted: a name"]),
        ({"nodes": {}}, ["the network has no node"]),
        ({"nodes": 3}, ["nodes: found 3; accepted: a mapping of names to nodes"]),
        ({"cables": {}}, ["cables: found {}; accepted: a list"]),
        ({"cables": [{"ends": ["A", "A"], "capacity": "1 Mbit/s"}]}, ["cables[0]: found 'A' at both ends"]),
        ({"links": [{"from": "A", "to": "B", "capacity": "1 Mbit/s"}]}, ["links[0]: found a second link between A"]),
        ({"cables": [{"ends": ["A"], "capacity": "0 Mbit/s"}]}, ["cables[0].capacity: found", "cables[0].ends: found"]),
        (
            {"cables": [{"ends": ["A", "C"], "capacity": "1 Mbit/s", "length": "1 km", "delay": "1 ms"}]},
            ["cables[0]: found both 'length' and 'delay'", "cables[0].ends: found 'C', which is no node"],
        ),
        ({"servers": {"east": {"node": "A", "capacity": "3 Mbit/s"}, "B": {"node": "B", "capacity": "1 work/s"}},
          "services": {"web": {"servers": ["east"]}}},
         ["servers.east.capacity: found '3 Mbit/s'", "server 'B': a node has the same name"]),
        ({"services": {"web": {"servers": []}}}, ["services.web.servers: found []"]),
        ({"services": {"web": {"servers": ["east", "east"]}}}, ["services.web.servers: found 'east' twice"]),
        ({"sessions": {}}, ["sessions: found none"]),
        ({"sessions": {"s": {"source": "A", "rate": "1 bit/s"}}}, ["sessions.s: found none; accepted: exactly one"]),
        (
            {"sessions": {"s": {"source": "A", "destinations": ["B"], "rate": "1 bit/s"}}},
            ["sessions.s: found one of 'destinations' and 'group'"],
        ),
        (
            {"sessions": {"s": {"source": "A", "destinations": ["B"], "group": "224.0.0.9", "rate": "1 bit/s"}}},
            ["session s: group: found '224.0.0.9'"],
        ),
        (
            {"sessions": {"s": {"source": "A", "destinations": ["C"], "group": "239.0.0.9", "rate": "1 bit/s"}}},
            ["sessions.s.destinations: found 'C', which is no node"],
        ),
        ({"sessions": {"s": {"source": "A", "destination": "A", "rate": "1 bit/s"}}}, ["session s: its destination"]),
        (
            {"sessions": {k: {"source": "A", "service": "web", "rate": "1 bit/s"} for k in "st"}},
            ["sessions.t: found the source and end of session s"],
        ),
        ({"defaults": {"flows": True, "work": 0}}, ["defaults.flows: found True", "defaults.work: found 0"]),
        ({"defaults": {"size": {"mean": "20 bytes"}}}, ["defaults.size: found low 40, mean 20"]),
        ({"defaults": {"size": {"law": "pareto"}}}, ["defaults.size.law: found 'pareto'; accepted: expon"]),
        ({"control": {"tick": "100 ms"}}, ["control: found tick 0.1 s"]),
        ({"control": {"tick": 1}}, ["control.tick: found 1; accepted: a number above 0 with its unit, '1 s'"]),
    ],
)  # fmt: skip
def test_each_mistake_is_said_once(parts: dict[str, Any], expected: list[str]) -> None:
    found = problems(changed(**parts))
    assert len(found) == len(expected), found
    for problem, beginning in zip(found, expected, strict=True):
        assert problem.startswith(beginning)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e999", "", "one"])
@pytest.mark.parametrize(
    ("section", "name", "key", "unit"),
    [("servers", "east", "capacity", " work/s"), ("sessions", "one", "rate", " bit/s")],
)
def test_no_quantity_is_zero_negative_or_not_a_number(section: str, name: str, key: str, unit: str, value: str) -> None:
    data = yaml.safe_load(GOOD)
    data[section][name][key] = value + unit
    (problem,) = problems(yaml.safe_dump(data))
    assert problem.startswith(f"{section}.{name}.{key}: found {value + unit!r}; accepted: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found nothing; accepted: a mapping of name"),
        ("nodes: [", "is not YAML"),
        ("[" * 5000, "is nested too deeply"),
        ("a: !!python/object/apply:os.system ['true']", "is not YAML: could not determine a constructor"),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(said)


def test_messages_stay_short_whatever_is_found() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert all(len(problem) < 300 for problem in problems(bomb + "nodes: *i\n"))


KEYS = st.sampled_from(["nodes", "cables", "ends", "A", "B", "capacity", "sessions", "source", "size", "links"])
LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
DATA = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@settings(max_examples=30, deadline=None)
@given(DATA, st.sampled_from(["nodes", "cables", "links", "servers", "services", "sessions", "defaults", "control"]))
def test_nothing_ends_in_a_traceback(data: Any, section: str) -> None:
    with contextlib.suppress(ScenarioError):
        read(changed(**{section: data}))


def test_a_server_cannot_have_a_switchs_name() -> None:
    servers = {"s1": {"node": "B", "capacity": "600 work/s"}, "c0": {"node": "A", "capacity": "1e3 work/s"}}
    found = problems(changed(servers=servers, services={"web": {"servers": ["s1", "c0"]}}))
    assert len(found) == 2
    assert all("which a switch or the controller has" in problem for problem in found)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        load(tmp_path / "nothing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ScenarioError, match="is not text"):
        load(str(tmp_path / "bytes.yaml"))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(
        ScenarioError,
        match=r"unknown scenario; did you mean 'abilene'\?; accepted: abilene, abilene-group, braess, butterfly",
    ):
        load("Abilen")


def test_load_scales_the_servers_to_a_share_of_their_sum() -> None:
    network = load("joint-5x3", load=0.6).network
    work = sum(session.packet_rate * session.work for session in network.sessions)
    assert work / sum(server.capacity for server in network.servers) == pytest.approx(0.6, rel=1e-12)
    before = load("joint-5x3").network
    shares = [a.capacity / b.capacity for a, b in zip(network.servers, before.servers, strict=True)]
    assert shares == pytest.approx([shares[0]] * 3)
    assert network.links == before.links


@pytest.mark.parametrize("name", ["tandem", "diamond"])
def test_load_scales_the_demand_where_nobody_asks_for_work(name: str) -> None:
    """At 0.6 the fullest link is at 0.6 where routing keeps it lowest, from whatever demand the file has."""
    network, before = load(name, load=0.6).network, load(name).network
    problem = problem_of(network)
    top = np.max(problem.loads(least_top_utilization(network)) / problem.capacity)
    assert top == pytest.approx(0.6, rel=1e-6)
    assert (network.links, network.servers) == (before.links, before.servers)
    ratios = [a.rate / b.rate for a, b in zip(network.sessions, before.sessions, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    with pytest.raises(Infeasible):
        least_top_utilization(load(name, load=1.01).network)


def test_load_means_nothing_to_groups() -> None:
    with pytest.raises(ScenarioError, match=r"load: found 0\.5; accepted: none where there are groups"):
        load("butterfly-group", load=0.5)


@pytest.mark.parametrize("rho", [0.0, -1.0, float("nan"), float("inf")])
def test_load_is_above_zero(rho: float) -> None:
    with pytest.raises(ScenarioError, match=r"load: found .*accepted: a number above 0"):
        load("abilene", load=rho)


@pytest.mark.parametrize("name", ["abilene", "joint-5x3"])
def test_dump_reads_back_as_the_same_scenario(name: str) -> None:
    scenario = load(name, load=0.7)
    assert parse(dump(scenario), scenario.path) == scenario
    assert dump(parse(dump(scenario), scenario.path)) == dump(scenario)


def test_dump_keeps_what_is_one_sided() -> None:
    one_way = changed(links=[{"from": "B", "to": "C", "capacity": "1 Mbit/s", "queue": 3, "delivers": "sojourn"}],
                      nodes={"A": {}, "B": {}, "C": {}})  # fmt: skip
    for text in (GOOD, one_way):
        assert read(dump(read(text))) == read(text)


PRICED = """
name: priced
title: A network that says what things cost
provenance: made up
currency: EUR
nodes: {A: {}, B: {}}
cables: [{ends: [A, B], capacity: 1 Mbit/s, length: 1000 km, fee: 35.14 EUR/TB}]
servers: {east: {node: B, capacity: 600 work/s, cost: 0.51375 EUR/Mwork}}
services: {chat: {servers: [east]}}
sessions:
  one: {source: A, service: chat, rate: 1 kbit/s, tokens: 33, value: 20 EUR/Mtoken, limit: 15 ms, response: 990 bytes}
  two: {source: B, service: chat, rate: 1 kbit/s, response: 43500 bytes}
"""


def test_prices_limits_and_tokens_are_read_and_written() -> None:
    scenario = read(PRICED)
    (link, back), server, (one, two) = (scenario.network.links, scenario.network.servers[0], scenario.network.sessions)
    assert link.fee == back.fee == pytest.approx(35.14 / 8e12)
    assert server.cost == pytest.approx(0.51375e-6)
    assert (one.tokens, one.value, one.limit) == (33, pytest.approx(2e-5), 0.015)
    assert (two.tokens, two.value, two.limit) == (1, math.inf, math.inf)
    assert (one.answer_frames, two.answer_frames) == (1, 30)
    assert read(dump(scenario)).network == scenario.network
    plain = read(GOOD)
    assert "currency" not in dump(plain)


def test_prices_have_one_currency_which_is_said() -> None:
    mixed = PRICED.replace("35.14 EUR", "35.14 USD").replace("20 EUR", "20 CHF")
    said = "accepted: EUR, the currency of this file; convert it, or state the other currency for all"
    assert problems(mixed) == [f"cables[0].fee: found USD; {said}", f"sessions.one.value: found CHF; {said}"]
    assert len(problems(PRICED.replace("currency: EUR\n", ""))) == 3
    assert problems(PRICED.replace("tokens: 33", "tokens: 0")) == [
        "sessions.one.tokens: found 0; accepted: a number above 0: tokens of a request"
    ]


@given(value=st.floats(1e-20, 1e6), kind=st.sampled_from(["fee", "upkeep", "value"]))
@example(value=78233.76575683562, kind="fee")
def test_prices_survive_their_text(value: float, kind: units.MoneyKind) -> None:
    text = units.show_money(value, "USD", kind)
    assert units.parse_money(text, kind) == (value, "USD")


def test_the_json_schema_accepts_what_is_accepted() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(GOOD), schema)
    jsonschema.validate(yaml.safe_load(dump(load("abilene"))), schema)
    refused = list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(TEN)))
    assert {error.json_path for error in refused} >= {"$", "$.cables[0].capacity", "$.nodes.Alpha.latitude", "$.name"}


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_quantities_survive_their_text(value: float) -> None:
    for kind in ("capacity", "delay", "length", "bytes", "work"):
        assert units.parse(units.show(value, kind), kind) == value


@pytest.mark.parametrize(("value", "text"), [(4e6, "4 Mbit/s"), (250e3, "250 kbit/s"), (1.5e6, "1.5 Mbit/s")])
def test_quantities_are_shown_as_people_write_them(value: float, text: str) -> None:
    assert units.show(value, "capacity") == text


def test_a_chain_comes_back_as_it_was_and_its_mistakes_are_told_with_the_others() -> None:
    functions = {"half": {"servers": ["west"], "scaling": 0.5}, "more": {"servers": ["east", "west"], "work": 2}}
    group = {"source": "A", "destinations": ["B"], "group": "239.1.1.1", "rate": "100 kbit/s"}
    good = {**group, "chain": ["half", "more"], "size": {"law": "exponential", "low": "80 bytes"}}
    scenario = read(changed(functions=functions, services={}, sessions={"k": good}))
    (session,) = scenario.network.sessions
    assert [(each.name, each.servers, each.scaling, each.work) for each in session.chain] == [
        ("half", ("west",), 0.5, 1.0),
        ("more", ("east", "west"), 1.0, 2.0),
    ]
    assert read(dump(scenario)).network == scenario.network
    assert network_from_json(network_to_json(scenario.network)) == scenario.network
    bad = {"half": {"servers": ["wets"], "scaling": -1}, "more": {"servers": ["east"], "scaling": 3}}
    found = problems(changed(functions=bad, services={}, sessions={"k": {**group, "chain": ["more", "hafl"]}}))
    for said in (
        "functions.half.scaling: found -1; accepted: a number above 0",
        "functions.half.servers: found 'wets', which is no server; did you mean 'west'?",
        "sessions.k.chain: found 'hafl', which is no function; did you mean 'half'?",
        "sessions.k.chain: found frames of 82 to 4476 bytes behind its functions; accepted: 58 to 1514 bytes",
    ):
        assert [line for line in found if line.startswith(said)], (said, found)
