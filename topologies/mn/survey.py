"""What Mininet has built, looked at from inside: nodes, cables, addresses; and what the controller is told of it.

Mininet tells a controller nothing of the network, but every node of a process is in `Node.inToNode`. A network made
from a scenario brings its description along; any other is **adopted**: its switches are the nodes, its links have the
capacity of `bw` and the propagation of `delay`, and each pair of hosts at different switches is a session whose rate
is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mininet.node import Host, Node, Switch

from pricing.errors import EmulationError
from topologies.faults import End, Wiring
from topologies.mn.nodes import QUEUE, netem_here, seconds

UNNAMED = 1e9
"""Capacity of a link without `bw`, bit/s (ours): more than a veth pair carries through a switch."""

NOMINAL = 1e3
"""Rate of an adopted session until it is measured, bit/s (ours)."""


@dataclass
class Survey:
    """A network of Mininet's.

    Attributes
    ----------
    switches, hosts : dict of name to Mininet's node
    names : dict of switch name to node name
        They differ where the network was made from a scenario.
    ends : list of (interface, node, towards)
        Mininet's interface at a switch, the node's name, and the name of the node or host at its other end.
    scenario : dict
        Its description; empty where there is none.
    problems : list of str
        What of it a priced network cannot have.
    """

    switches: dict[str, Any]
    hosts: dict[str, Any]
    names: dict[str, str]
    ends: list[tuple[Any, str, str]]
    scenario: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    @property
    def wiring(self) -> Wiring:
        """How it is wired."""
        plant = self.scenario.get("plant", {"hosts": {}})
        servers = [name for name, host in plant["hosts"].items() if host["role"] == "server"]
        bridges = {node: bridge for bridge, node in self.names.items()}
        return Wiring(bridges, servers, tuple(End(intf.name, node, towards) for intf, node, towards in self.ends))

    @property
    def addresses(self) -> dict[str, str]:
        """IP address of each host and service."""
        services: dict[str, str] = self.scenario.get("plant", {}).get("services", {})
        return {name: host.IP() for name, host in self.hosts.items()} | services


def survey() -> Survey:
    """The network of this process."""
    nodes = sorted(set(Node.inToNode.values()), key=lambda node: str(node.name))
    switches = {node.name: node for node in nodes if isinstance(node, Switch)}
    hosts = {node.name: node for node in nodes if isinstance(node, Host)}
    scenario: dict[str, Any] = next((s.params["scenario"] for s in switches.values() if "scenario" in s.params), {})
    named = {f"s{switch['dpid']}": node for node, switch in scenario.get("plant", {"switches": {}})["switches"].items()}
    names = {name: named.get(name, name) for name in switches}
    found = Survey(switches, hosts, names, [], scenario)
    cables: set[tuple[str, str]] = set()
    for name, switch in switches.items():
        for interface in switch.intfList():
            if interface.link is None:
                continue  # lo
            ends = (interface.link.intf1, interface.link.intf2)
            other = ends[1].node if ends[0] is interface else ends[0].node
            towards = names.get(other.name, other.name)
            if (names[name], towards) in cables:
                found.problems.append(f"{name} has two links to {other.name}; the first is priced")
                continue
            cables.add((names[name], towards))
            found.ends.append((interface, names[name], towards))
    for name, host in hosts.items():
        links = [interface for interface in host.intfList() if interface.link is not None]
        if len(links) != 1:
            found.problems.append(f"host {name} has {len(links)} links; hosts with one are served")
    return found


def adopted(found: Survey) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Network and plant of a network that no scenario describes, in the form of their files, and what to warn of.

    Raises
    ------
    EmulationError
        When there is no switch.
    """
    if not found.switches:
        raise EmulationError("found no switch; the controller `priced` needs one or more")
    netem = netem_here()
    places: dict[str, dict[str, int]] = {name: {} for name in found.switches}
    links, hosts, without = [], {}, []
    for interface, node, towards in found.ends:
        port = found.switches[interface.node.name].ports[interface]
        if towards in found.hosts:
            host = found.hosts[towards]
            role = {"role": "source", "sessions": []}
            hosts[towards] = {"node": node, "port": port, "ip": host.IP(), "mac": host.MAC(), **role}
            continue
        places[node][towards] = port
        given = interface.params
        if given.get("bw") is None:
            without.append(f"{node}->{towards}")
        link = {
            "src": node,
            "dst": towards,
            "capacity": 1e6 * given["bw"] if given.get("bw") else UNNAMED,
            "propagation": seconds(given.get("delay")) if netem else 0.0,
            "queue": given.get("queue") or given.get("max_queue_size") or QUEUE,
        }
        links.append(link)
    pairs = {f"{a}-{b}": (a, b) for a in hosts for b in hosts if hosts[a]["node"] != hosts[b]["node"]}
    sessions = [_session(name, hosts[a]["node"], hosts[b]["node"]) for name, (a, b) in sorted(pairs.items())]
    network = {
        "name": "mininet",
        "nodes": [{"name": name} for name in sorted(found.switches)],
        "links": sorted(links, key=lambda link: (link["src"], link["dst"])),
        "servers": [],
        "sessions": sessions,
    }
    switches = {name: {"dpid": int(found.switches[name].dpid, 16), "ports": places[name]} for name in found.switches}
    plant = {"netns": "", "switches": switches, "hosts": hosts, "services": {}, "pairs": pairs}
    said = list(found.problems)
    if without:
        said.append(f"no `bw` given, taken as {UNNAMED / 1e6:g} Mbit/s: {', '.join(sorted(without))}")
    return network, plant, said


def _session(name: str, source: str, destination: str) -> dict[str, Any]:
    values = {"name": name, "source": source, "kind": "unicast", "destinations": [destination], "rate": NOMINAL}
    return {**values, "size": {}}
