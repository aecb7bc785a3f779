"""What a stock kernel has and a small one lacks: netem on real links.

A packet is never faster than its link, however busy the machine is: the bound on its time is from below.
"""

from __future__ import annotations

import re
from dataclasses import replace

import machine
import pytest

from pricing.network import Link, Network, Node, Server, Session
from topologies.emulation import Emulation
from topologies.links import has_netem
from topologies.plant import plan
from topologies.testbed import Testbed

pytestmark = machine.emulated

LINK = Link("a", "b", 1e6, propagation=0.02)
PAYLOAD = 1000


def network(link: Link, classes: int = 1) -> Network:
    """Two nodes with the link there and back, and a session of each class from a to the server at b."""
    sessions = [
        Session(f"k{k}", "a", "anycast", ("east",), 1e5, klass=k, service=f"s{k}") for k in range(1, classes + 1)
    ]
    links = (link, replace(link, src="b", dst="a"))
    return Network("pair", (Node("a"), Node("b")), links, (Server("east", "b", 1e3),), tuple(sessions))


def pinged(network: Network, count: int = 5) -> str:
    """What `ping` says of so many packets from a to the server and back, by static rules."""
    with Testbed() as testbed:
        if not has_netem(testbed.run):
            pytest.skip("this kernel has no netem")
        with Emulation(network, plan(network), testbed) as emulation:
            assert emulation.plant.netem
            client, server = (emulation.plant.hosts[name] for name in ("h-a", "east"))
            for bridge, port in (("s1", client.port), ("s2", server.port)):
                rules = f"in_port={port},actions=output:1\nin_port=1,actions=output:{port}\n"
                testbed.run("ovs-ofctl", "-O", "OpenFlow13", "add-flows", bridge, "-", text=rules)
            for host, peer in (("h-a", server), ("east", client)):
                emulation.net[host].cmd(f"ip neigh replace {peer.ip} lladdr {peer.mac} dev {host}-eth0")
            return str(emulation.net["h-a"].cmd(f"ping -c {count} -i 0.2 -W 2 -s {PAYLOAD} {server.ip}"))


def fastest(said: str) -> float:
    """The shortest time of ping's summary, in seconds."""
    found = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/", said)
    assert found, said
    return float(found[1]) / 1e3


@pytest.mark.parametrize("classes", [1, 2])
def test_a_packet_takes_its_links_propagation_there_and_back(classes: int) -> None:
    assert fastest(pinged(network(LINK, classes))) >= 2 * LINK.propagation


def test_a_link_that_stores_and_forwards_takes_each_packets_own_time_too() -> None:
    headers = 14 + 20 + 8  # Ethernet, IP, ICMP
    transmission = 8 * (PAYLOAD + headers) / LINK.capacity
    assert fastest(pinged(network(replace(LINK, delivers="sojourn")))) >= 2 * (LINK.propagation + transmission)
