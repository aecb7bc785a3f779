"""The plugin on Debian's `mn`: the README's command, each of its dicts alone, and the prompt's commands."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import machine
import mn_alone
import pytest

from pricing.errors import EmulationError
from topologies import emulation  # imports Mininet, whose import of distutils warns
from topologies.faults import End, Wiring
from topologies.mn.nodes import Shape
from topologies.mn.survey import Survey, adopted
from topologies.mn.topo import TOPOS
from topologies.testbed import Testbed
from topologies.trace import Hop, Way, told

assert emulation

DIAMOND = """
from mininet.topo import Topo
class Diamond(Topo):
    def build(self):
        s1, s2, s3, s4 = (self.addSwitch(f"s{i}") for i in range(1, 5))
        for a, b in ((s1, s2), (s2, s4), (s1, s3)):
            self.addLink(a, b, bw=10)
        self.addLink(s3, s4)
        for number, switch in enumerate((s1, s1, s4, s4), 1):
            self.addLink(self.addHost(f"h{number}"), switch)
topos = {"diamond4": Diamond}
open("/tmp/before-the-start", "w").write("prices")
open("/tmp/at-the-prompt", "w").write('''
trace h1 h3
fail s1 s2
trace h1 h3
heal s1 s2
prices
splits
routes
gap
trace h1 nowhere
h1 timeout 5 telnet -e A h4 22
''')
"""

LINE = """
topos = {}
open("/tmp/line.yaml", "w").write('''
name: line
title: Three nodes in line
provenance: made for a test
nodes: {a: {}, b: {}, c: {}}
cables:
  - {ends: [a, b], capacity: 5 Mbit/s}
  - {ends: [b, c], capacity: 5 Mbit/s}
servers: {east: {node: c, capacity: 1000 work/s}}
services: {web: {servers: [east]}}
sessions: {k: {source: a, service: web, rate: 0.4 Mbit/s, response: 100 bytes}}
''')
"""


def test_every_scenario_of_the_library_is_a_topology() -> None:
    from topologies.scenario import names

    assert set(TOPOS) == {*(name.partition("(")[0] for name in names()), "scenario"}


@pytest.mark.skipif(shutil.which("mn") is None, reason="this machine has no mn")
def test_mn_keeps_all_that_it_assigns_but_its_prompt_and_its_links(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("path", [*sys.path]), ("dont_write_bytecode", sys.dont_write_bytecode)):
        monkeypatch.setattr(sys, name, value)  # the plugin sets both
    assigned = ast.parse(Path(str(shutil.which("mn"))).read_text()).body
    theirs = {ast.unparse(each.targets[0]) for each in assigned if isinstance(each, ast.Assign)}
    assert "TOPOS" in theirs
    assert theirs & set(runpy.run_path("topologies/plugin.py")) == {"CLI", "LINKS"}


@pytest.mark.parametrize(
    ("topo", "given", "load", "said"),
    [
        ("abilene", [7], None, "--topo abilene,7: found 7; accepted: nothing but load=RHO"),
        ("star", [7, 8], None, "found 8; accepted: nothing but load=RHO"),
        ("abilene", [], "x", "load: found 'x'; accepted: a number above 0"),
    ],
)
def test_what_a_topology_does_not_take_is_said(topo: str, given: list[int], load: Any, said: str) -> None:
    with pytest.raises(EmulationError, match=re.escape(said)):
        TOPOS[topo](*given, load=load)


@pytest.mark.parametrize("queue", [0, 2.5, "x"])
def test_a_queue_without_room_is_refused(queue: Any) -> None:
    with pytest.raises(EmulationError, match=r"link out of s1-eth1: queue: found .* a whole number of packets from 1"):
        Shape("s1-eth1", 1e6, 0.0, queue)


class Named:
    """Stands for a node or an interface of Mininet's."""

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)


def test_links_of_others_have_their_parameters_and_one_warning_names_the_rest() -> None:
    s1, s2 = (Named(name=f"s{i}", dpid=f"{i:016x}", ports={}) for i in (1, 2))
    there = Named(node=s1, name="s1-eth1", params={"bw": 4, "delay": "5ms", "max_queue_size": 7})
    back = Named(node=s2, name="s2-eth1", params={})
    s1.ports, s2.ports = {there: 1}, {back: 1}
    ends = [(there, "s1", "s2"), (back, "s2", "s1")]
    network, plant, said = adopted(Survey({"s1": s1, "s2": s2}, {}, {"s1": "s1", "s2": "s2"}, ends, {}))
    assert [link["capacity"] for link in network["links"]] == [4e6, 1e9]
    assert [link["queue"] for link in network["links"]] == [7, 1000]
    assert plant["switches"] == {"s1": {"dpid": 1, "ports": {"s2": 1}}, "s2": {"dpid": 2, "ports": {"s1": 1}}}
    assert said == ["no `bw` given, taken as 1000 Mbit/s: s2->s1"]


def test_the_bypass_of_a_failed_link_shows_in_a_trace() -> None:
    wiring = Wiring({"a": "s1", "b": "s2", "c": "s3"}, [], (End("s1-eth1", "a", "b"), End("s3-eth1", "c", "h3")))
    hops = (Hop("s1-eth1", "02:57:00:01:00:00"), Hop("s3-eth1", "02:00:0a:00:00:03"))
    assert told(wiring, "h1", [Way(hops, 32, (None, None))]).startswith("32 of 32 flows: h1 > a > b > ... > c > h3\n")


@pytest.fixture(scope="module")
def own() -> str:
    """Our controller with a topology of somebody's, two routes between its sides, and a script at the prompt."""
    options = ["--topo", "diamond4", "--controller", "priced,policy=ecmp"]
    script = ["--pre", "/tmp/before-the-start", "--test", "pingall+iperf", "--post", "/tmp/at-the-prompt"]
    with Testbed() as testbed:
        said = mn_alone.mn(testbed, *options, *script, custom=DIAMOND)
        assert testbed.run("ovs-vsctl", "list-br") == ""
    return said


class TestTheirTopology:
    pytestmark = machine.emulated

    def test_one_warning_names_links_without_bw(self, own: str) -> None:
        assert own.count("no `bw` given") == 1
        assert "taken as 1000 Mbit/s: s3->s4, s4->s3" in own

    def test_ping_and_tcp_through_shaped_links(self, own: str) -> None:
        assert "0% dropped (12/12 received)" in own
        rates = re.findall(r"Results: \['([\d.]+) Mbits/sec', '([\d.]+)", own)
        assert rates
        assert all(0 < float(rate) < 11 for rate in rates[0])

    def test_trace_shows_both_routes_and_counters_and_what_fails(self, own: str) -> None:
        assert re.search(r"of 32 flows: h1 > s1 > s2 > s4 > h3\n +s1 +out by s1-eth1 +label 02:57:\w\w:\w\w", own)
        assert re.search(r"of 32 flows: h1 > s1 > s3 > s4 > h3\n +s1 .* rule counted [1-9]", own)
        broken = own[own.index("failed now: s1-s2") : own.index("failed now: nothing")]
        assert sum(int(n) for n in re.findall(r"^(\d+) of 32 flows: .* > h3$", broken, re.M)) >= 24, (
            "led around, or moved; half took the link, and some may have been on it as it failed"
        )
        assert "s1-eth1" not in broken
        assert "found no address of 'nowhere'; accepted: h1, h2, h3, h4" in own

    def test_a_script_that_comes_before_the_start_is_told_so(self, own: str) -> None:
        assert own.count("Wardrop's controller does not run here (yet)") == 1

    def test_the_controller_tells_prices_splits_routes_and_gap(self, own: str) -> None:
        assert re.search(r"^s1->s3 +\d+\.\d{3} +\d\.\d{3} +\d+\.\d{3}$", own, re.M)
        assert re.search(r"^h1-h3 +\d\.\d{3} .* s1>s\d>s4$", own, re.M)
        assert re.search(r"^02:57:00:01 +h1-h3 +\d+ +s1 > s\d > s4 > h3$", own, re.M)
        assert re.search(r"^gap, proven +\d", own, re.M)


class TestOurs:
    pytestmark = machine.emulated

    def test_the_command_of_the_readme(self) -> None:
        options = ["--topo", "scenario,/tmp/line.yaml", "--controller", "priced"]
        with Testbed() as testbed:
            said = mn_alone.mn(testbed, *options, "--test", "pricing,seconds=3", custom=LINE)
            assert testbed.run("ovs-vsctl", "list-br") == ""
        assert "*** pricing: passed" in said
        sent, answered = re.findall(r"(\d+) requests, (\d+) answered", said)[0]
        assert int(sent) == int(answered) > 100
        assert re.search(r"^east +\d+\.\d +0\.\d+ +\d", said, re.M)

    def test_topology_alone(self) -> None:
        options = ["--topo", "scenario,/tmp/line.yaml", "--switch", "ovsbr,datapath=user", "--controller", "none"]
        with Testbed() as testbed:
            said = mn_alone.mn(testbed, *options, "--test", "pingall", custom=LINE)
        assert "0% dropped (2/2 received)" in said

    def test_a_policy_that_is_none_is_said_and_nothing_is_left(self) -> None:
        options = ["--topo", "scenario,/tmp/line.yaml", "--controller", "priced,policy=dear"]
        with Testbed() as testbed:
            said = mn_alone.mn(testbed, *options, "--test", "none", "--wait", custom=LINE)
            assert [line.split()[0] for line in testbed.run("ip", "-br", "link").splitlines()] == ["lo"]
        assert "dear" in said
        assert "Caught exception" in said
