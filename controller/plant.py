"""What the controller is told at its start: the network, and what its names are in OpenFlow.

Both are files, written by whoever built the testbed: `network.json` is a `Network` (`pricing.written`), `plant.json`
says which datapath, port and address each name has, and is checked here, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pricing.errors import TopologyError
from pricing.network import Network, Session

FLOW_PORT, SERVICE_PORT = 20_000, 7_000
"""UDP ports of a session's flows, from the first on, and of what they are sent to."""


@dataclass(frozen=True)
class SwitchPlant:
    """A node's switch: its datapath id, and its port towards each neighbour."""

    dpid: int
    ports: Mapping[str, int]


@dataclass(frozen=True)
class HostPlant:
    """A host: the node and the port where it is, its addresses, its role and its sessions."""

    node: str
    port: int
    ip: str
    mac: str
    role: str
    sessions: tuple[str, ...]


@dataclass(frozen=True)
class Plant:
    """Switches, hosts and service addresses by name, and the namespace of the testbed (empty for our own).

    `pairs` names the two hosts of unicast sessions, where nodes have several hosts.
    """

    netns: str
    switches: Mapping[str, SwitchPlant]
    hosts: Mapping[str, HostPlant]
    services: Mapping[str, str]
    pairs: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def source(self, session: Session) -> str:
        """Name of the host where the session's packets enter."""
        return self.pairs[session.name][0] if session.name in self.pairs else self._host_at(session.source)

    def ends(self, session: Session) -> tuple[str, ...]:
        """Names of the hosts that may receive the session's packets and answer them; none of a group do."""
        if session.kind == "multicast":
            return ()
        if session.kind == "anycast":
            return session.destinations
        return (self.pairs[session.name][1] if session.name in self.pairs else self._host_at(session.destinations[0]),)

    def members(self, session: Session) -> tuple[str, ...]:
        """Names of the hosts of a multicast session's destinations, in their order."""
        return tuple(self._host_at(node) for node in session.destinations)

    def address(self, session: Session) -> str:
        """IP address that the session's packets are sent to."""
        if session.kind == "anycast":
            return self.services[session.service or session.name]
        if session.kind == "multicast":
            return session.group
        return self.hosts[self.ends(session)[0]].ip

    def _host_at(self, node: str) -> str:
        return next(name for name, host in self.hosts.items() if host.node == node and host.role != "server")


def plant_from_json(text: str, network: Network) -> Plant:
    """The plant of a network, from the text of `plant.json`.

    Raises
    ------
    TopologyError
        With every name of the network that has no counterpart in the plant, a line each.
    """
    try:
        data = json.loads(text)
        plant = Plant(
            data.get("netns", ""),
            {name: SwitchPlant(**value) for name, value in data["switches"].items()},
            {
                name: HostPlant(**{**value, "sessions": tuple(value["sessions"])})
                for name, value in data["hosts"].items()
            },
            dict(data["services"]),
            {name: (source, end) for name, (source, end) in data.get("pairs", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TopologyError(
            f"not a plant: {type(error).__name__} {error}; the fields of plant.json are accepted"
        ) from error
    problems = [
        f"node {node.name!r}: no switch in the plant" for node in network.nodes if node.name not in plant.switches
    ]
    for link in network.links:
        if link.src in plant.switches and link.dst not in plant.switches[link.src].ports:
            problems.append(f"link {link}: the switch {link.src!r} has no port towards {link.dst!r} in the plant")
    problems += [
        f"server {server.name!r}: no host in the plant" for server in network.servers if server.name not in plant.hosts
    ]
    for session in network.sessions:
        try:
            plant.source(session), plant.ends(session), plant.address(session)
            if session.kind == "multicast":
                plant.members(session)
        except (StopIteration, KeyError):
            problems.append(f"session {session.name}: its host, or the address it sends to, is not in the plant")
    if problems:
        raise TopologyError("\n".join(problems))
    return plant
