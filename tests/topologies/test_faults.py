"""Links, nodes and servers fail and heal: what must be down, what switches see of it, and packets before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator

import machine
import pytest

from pricing.errors import EmulationError
from pricing.network import Link, Network, Node, Server, Session
from topologies.emulation import Emulation, wiring
from topologies.faults import Faults, down
from topologies.plant import plan
from topologies.testbed import Testbed


def triangle() -> Network:
    """Three nodes, each linked with both others; a session from a to the server at c."""
    links = [Link(x, y, 10e6) for x in "abc" for y in "abc" if x != y]
    session = Session("k", "a", "anycast", ("east",), 1e6)
    return Network("triangle", tuple(map(Node, "abc")), tuple(links), (Server("east", "c", 1e3),), (session,))


class Recorded:
    """Stands for a testbed: notes the batches that it is given."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, *command: str, text: str = "") -> str:
        self.lines += text.splitlines()
        return "[]" if "get" in command else json.dumps({"data": []})


@pytest.fixture
def faults() -> Faults:
    """Of the triangle, without a machine."""
    return Faults(wiring(plan(triangle())), Recorded())


def test_a_link_is_down_until_it_and_both_its_ends_are_healed(faults: Faults) -> None:
    ends = faults.wiring.ends
    cable = {end.interface for end in ends if {end.node, end.towards} == {"a", "b"}}
    faults.link("b", "a", works=False)
    assert down(ends, faults.failed) == cable
    faults.node("a", works=False)
    faults.link("a", "b", works=True)
    assert down(ends, faults.failed) == {end.interface for end in ends if "a" in (end.node, end.towards)}
    faults.node("a", works=True)
    assert down(ends, faults.failed) == set()


def test_failing_twice_changes_nothing(faults: Faults) -> None:
    faults.server("east", works=False)
    before = list(faults.run.lines)
    faults.server("east", works=False)
    faults.link("a", "b", works=True)
    assert faults.run.lines == before == ["link set s3-eth3 down"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "x"], "a has links with b, c"),
        (["x", "y"], "the nodes are a, b, c"),
        (["west"], "no node 'west'; accepted: a, b, c"),
        ([], "accepted: a node, a server, or the two ends of a link"),
        (["a", "h-a"], "a has links with b, c"),
    ],
)
def test_what_is_not_there_cannot_fail(faults: Faults, names: list[str], said: str) -> None:
    with pytest.raises(EmulationError, match=said):
        faults.any(names, works=False)
    assert not faults.failed


@pytest.fixture(scope="module")
def emulation() -> Iterator[Emulation]:
    """The triangle on real packets, by static rules: from a to c directly, over b where that cable is cut."""
    network = triangle()
    with Testbed() as testbed, Emulation(network, plan(network), testbed) as emulation:
        yield emulation


def carriers(emulation: Emulation) -> dict[str, str]:
    """State of the link of each interface, as the switch sees it."""
    rows = json.loads(
        emulation.testbed.run("ovs-vsctl", "--format=json", "--columns=name,link_state", "list", "Interface")
    )
    return {name: state for name, state in rows["data"] if "-eth" in name}


def until(condition: str, emulation: Emulation) -> None:
    """Wait for a row of Open vSwitch's database."""
    emulation.testbed.run("ovs-vsctl", "--timeout=5", "wait-until", "Interface", *condition.split())


@pytest.mark.usefixtures("emulation")
class TestPackets:
    pytestmark = machine.emulated

    def test_both_ends_of_a_failed_link_lose_carrier(self, emulation: Emulation) -> None:
        emulation.fail_link("c", "a")
        for end in ("s1-eth2", "s3-eth1"):
            until(f"{end} link_state=down", emulation)
        assert sorted(end for end, state in carriers(emulation).items() if state != "up") == ["s1-eth2", "s3-eth1"]
        emulation.heal_link("a", "c")
        for end in ("s1-eth2", "s3-eth1"):
            until(f"{end} link_state=up", emulation)

    def test_packets_come_back_with_the_link_and_queues_keep_their_rate(self, emulation: Emulation) -> None:
        server, client = emulation.plant.hosts["east"], emulation.plant.hosts["h-a"]
        for bridge, port, back in (("s1", 2, client.port), ("s3", server.port, 1)):
            rules = f"in_port={back},actions=output:{port}\nin_port={port},actions=output:{back}\n"
            emulation.testbed.run("ovs-ofctl", "-O", "OpenFlow13", "add-flows", bridge, "-", text=rules)
        for host, peer in (("h-a", server), ("east", client)):
            emulation.net[host].cmd(f"ip neigh replace {peer.ip} lladdr {peer.mac} dev {host}-eth0")
        queues = emulation.testbed.run("tc", "class", "show", "dev", "s1-eth2")
        ping = f"ping -c 1 -W 1 {server.ip}"
        assert " 0% packet loss" in emulation.net["h-a"].cmd(ping)
        emulation.fail_link("a", "c")
        assert "100% packet loss" in emulation.net["h-a"].cmd(ping)
        emulation.heal_link("a", "c")
        until("s3-eth1 link_state=up", emulation)
        assert " 0% packet loss" in emulation.net["h-a"].cmd(ping)
        assert emulation.testbed.run("tc", "class", "show", "dev", "s1-eth2") == queues
        emulation.fail_server("east")
        assert "100% packet loss" in emulation.net["h-a"].cmd(ping)
        emulation.heal_server("east")
        until("s3-eth3 link_state=up", emulation)
        assert " 0% packet loss" in emulation.net["h-a"].cmd(ping)

    def test_a_failed_node_is_dark_and_forgets(self, emulation: Emulation) -> None:
        run = emulation.testbed.run
        run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", "s2", "in_port=1,actions=output:2")
        targets = run("ovs-vsctl", "--columns=_uuid,target", "list", "Controller")
        emulation.fail_node("b")
        for end in ("s1-eth1", "s2-eth1", "s2-eth2", "s3-eth2"):
            until(f"{end} link_state=down", emulation)
        assert "output" not in run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "s2")
        assert ":9" in run("ovs-vsctl", "get-controller", "s2")
        assert ":6653" in run("ovs-vsctl", "get-controller", "s1")
        emulation.heal_node("b")
        for end in ("s1-eth1", "s2-eth1", "s2-eth2", "s3-eth2"):
            until(f"{end} link_state=up", emulation)
        assert run("ovs-vsctl", "--columns=_uuid,target", "list", "Controller") == targets
