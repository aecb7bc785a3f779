"""Small networks and their plants, for tests."""

from __future__ import annotations

from controller.fabric import Fabric
from controller.plant import HostPlant, Plant, SwitchPlant
from pricing.network import Link, Network, Node, Server, Session


def network(
    cables: list[tuple[str, str]],
    servers: dict[str, str],
    sources: list[str],
    unicast: tuple[tuple[str, str], ...] = (),
    flows: int = 50,
) -> Network:
    """Both directions of each cable, servers at nodes, one anycast session from each source, and unicast ones."""
    nodes = sorted({end for cable in cables for end in cable})
    links = [Link(a, b, 10e6) for cable in cables for a, b in (cable, cable[::-1])]
    sessions = [
        Session(f"from-{node}", node, "anycast", tuple(servers), 1e5, flows=flows, service="web", response_bits=800)
        for node in sources
    ]
    sessions += [Session(f"{a}-to-{b}", a, "unicast", (b,), 1e5, flows=flows, response_bits=800) for a, b in unicast]
    return Network(
        "small",
        tuple(Node(name) for name in nodes),
        tuple(sorted(links, key=lambda link: link.key)),
        tuple(Server(name, node, 1000.0) for name, node in sorted(servers.items())),
        tuple(sessions),
    )


def plant(net: Network, netns: str = "") -> Plant:
    """Numbers for a small network: ports towards neighbours first, then hosts."""
    names = [node.name for node in net.nodes]
    near = {name: sorted({*net.graph.successors(name), *net.graph.predecessors(name)}) for name in names}
    ports = {name: {other: port for port, other in enumerate(near[name], 1)} for name in names}
    switches = {name: SwitchPlant(dpid, ports[name]) for dpid, name in enumerate(names, 1)}
    wanted = [(server.name, server.node, "server") for server in net.servers]
    wanted += [(f"h-{name}", name, "source") for name in names]
    hosts, used = {}, {name: len(ports[name]) for name in names}
    for number, (host, node, role) in enumerate(wanted, 1):
        used[node] += 1
        hosts[host] = HostPlant(node, used[node], f"10.0.0.{number}", f"02:00:0a:00:00:{number:02x}", role, ())
    services = {session.service for session in net.sessions if session.kind == "anycast"}
    return Plant(netns, switches, hosts, {name: f"10.9.0.{n}" for n, name in enumerate(sorted(services), 1)})


def fabric(net: Network, slots: int = 16) -> Fabric:
    """The fabric of a small network."""
    return Fabric(net, plant(net), slots)


LINE = network([("a", "b"), ("b", "c")], {"east": "c", "west": "b"}, ["a"])
"""Three switches in line, a client at one end, two servers."""
