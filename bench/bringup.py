"""A large network, up with all its rules and gone again: against plain Mininet with `TCLink`, which installs none.

Ours is a testbed, an emulation, and a controller that says when every switch has acknowledged the first allocation.
The peer gets a testbed's Open vSwitch too, but its time counts from Mininet alone. It needs root.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import networkx as nx

from bench.row import Row, Side
from experiments.running.campaign import Options, campaign
from pricing.network import Link, Network, Node, Server, Session
from topologies.scenario import Control, Scenario, load
from topologies.testbed import Testbed, datapath

CAPACITY, CLIENTS, SERVERS, SLOTS = 10e6, 20, 5, 64
"""bit/s of a link; nodes with a session, and servers of its service; hash slots a session."""


def network(switches: int, cables: int) -> Network:
    """A random graph in which every node has the same number of cables, and a service that is asked from everywhere."""
    graph = nx.random_regular_graph(2 * cables // switches, switches, seed=1)
    names = [f"n{number:03}" for number in range(switches)]
    links = [Link(names[a], names[b], CAPACITY) for edge in graph.edges for a, b in (edge, edge[::-1])]
    step = switches // SERVERS
    servers = tuple(Server(f"server{number}", names[number * step], 1e4) for number in range(SERVERS))
    ends = tuple(server.name for server in servers)
    asking = names[1 :: switches // CLIENTS]
    sessions = tuple(Session(f"k-{name}", name, "anycast", ends, 1e5, service="web") for name in asking)
    return Network("large", tuple(map(Node, names)), tuple(sorted(links, key=lambda link: link.key)), servers, sessions)


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    """Wall time of a block."""
    begun = time.perf_counter()
    yield
    times.append(time.perf_counter() - begun)


def ours(of: Network, pinged: int = 0) -> tuple[float, float, int]:
    """Seconds until every rule is acknowledged, seconds until all is gone, and pings lost of so many."""
    known = load("abilene")
    scenario = Scenario("large", "", "", of, Control(1.0, SLOTS), known.path)
    started = time.time()
    with campaign(scenario, "shortest-path", Options(metrics="127.0.0.1:19498")) as up:
        # The controller notes when the last barrier came, and only then works out how good the allocation is.
        ready = next(record["installed"] for record in up.history if record.get("slots")) - started
        hosts = [up.net[name] for name in list(up.emulation.plant.hosts)[:pinged]]
        lost = round(up.net.ping(hosts, timeout="2")) if hosts else 0
        begun = time.perf_counter()
    return ready, time.perf_counter() - begun, lost


def mininet(of: Network) -> tuple[float, float]:
    """Seconds that Mininet needs for the same switches, hosts and shaped cables, up and gone."""
    from importlib import import_module

    net_of: Any = import_module("mininet.net").Mininet
    nodes, links = import_module("mininet.node"), import_module("mininet.link")
    up, gone = list[float](), list[float]()
    with Testbed():
        nodes.OVSSwitch.setup()
        with timed(up):
            net = net_of(controller=None, switch=nodes.OVSSwitch, link=links.TCLink)
            switches = {node.name: net.addSwitch(f"s{i}", datapath=datapath()) for i, node in enumerate(of.nodes, 1)}
            for link in of.links:
                if link.src < link.dst:
                    net.addLink(switches[link.src], switches[link.dst], bw=link.capacity / 1e6)
            places = [server.node for server in of.servers] + [session.source for session in of.sessions]
            for number, node in enumerate(places, 1):
                net.addLink(net.addHost(f"h{number}"), switches[node])
            net.start()
        with timed(gone):
            net.stop()
    return up[0], gone[0]


WALL = "wall time in both columns: the kernel, Open vSwitch and the controller do the work"


def against_mininet(switches: int, cables: int) -> Row:
    """Up with every rule acknowledged, and gone, beside Mininet with no rule at all; once each.

    Raises
    ------
    EmulationError
        Without root.
    """
    of = network(switches, cables)
    ready, gone, _ = ours(of)
    theirs, theirs_gone = mininet(of)
    size = {"switches": switches, "shaped cables": cables, "hosts": SERVERS + CLIENTS}
    sides = Side("up, rules acknowledged", ready, ready, 1, 0.0), Side("Mininet with TCLink", theirs, theirs, 1, 0.0)
    facts = {"gone, s": gone, "Mininet gone, s": theirs_gone, "gone faster, times (5 wanted)": theirs_gone / gone}
    return Row(f"bring-up, {switches} switches", size, *sides, 3.0, "none", WALL, facts)


def large(switches: int, cables: int) -> Row:
    """Ours alone: up, pings between six hosts, gone.

    Raises
    ------
    EmulationError
        Without root.
    """
    ready, gone, lost = ours(network(switches, cables), pinged=6)
    size = {"switches": switches, "shaped cables": cables, "hosts": SERVERS + CLIENTS}
    side = Side("up, rules acknowledged", ready, ready, 1, 0.0)
    facts = {"gone, s": gone, "pings lost, %": float(lost)}
    return Row(f"bring-up, {switches} switches", size, side, None, None, "none", WALL, facts)
