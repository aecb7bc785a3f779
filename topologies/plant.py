"""The plant: what the names of a network are in OpenFlow and in the hosts.

Emulation builds what the plan says and writes it to `plant.json`; the controller reads the same file. Numbering is a
pure function of the network, so the same scenario gives the same switches, ports and addresses, byte for byte:

| what | how |
|---|---|
| dpid | nodes sorted by name, from 1 |
| port | on each switch its neighbours sorted by name, from 1; then its hosts sorted by name |
| host | `h-NODE` where a session or background traffic starts or, at a node, ends; a server's host has its name |
| ip, mac | hosts sorted by (node, name), 10.0.x.y with y in 1..254; 02:00 and the address's four bytes |
| service | sorted by name, 10.9.x.y likewise |
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from pricing.errors import TopologyError
from pricing.network import Network, Session

HOST_NAME_LENGTH = 15
"""Longest host name; Linux allows a network interface no more."""

Role = Literal["source", "destination", "server"]


@dataclass(frozen=True)
class SwitchPlant:
    """A node's switch: its datapath id, and its port towards each neighbour."""

    dpid: int
    ports: Mapping[str, int]


@dataclass(frozen=True)
class HostPlant:
    """A host.

    Parameters
    ----------
    node : str
        The node whose switch it hangs on.
    port : int
        That switch's port towards it.
    ip, mac : str
        Its own addresses.
    role : 'source', 'destination' or 'server'
        `source` where sessions start, `destination` where they only end.
    sessions : tuple of str
        Names of the sessions that start here (source) or may end here (destination, server), sorted.
    """

    node: str
    port: int
    ip: str
    mac: str
    role: Role
    sessions: tuple[str, ...]


@dataclass(frozen=True)
class Plant:
    """What `plant.json` holds.

    Parameters
    ----------
    datapath : 'user' or 'kernel'
        Open vSwitch's datapath.
    netem : bool
        Whether links have their propagation delay.
    netns : str
        Network namespace of the testbed; empty while there is none.
    switches : mapping of node name to SwitchPlant
    hosts : mapping of host name to HostPlant
    services : mapping of service name to its anycast address
    """

    datapath: Literal["user", "kernel"]
    netem: bool
    netns: str
    switches: Mapping[str, SwitchPlant]
    hosts: Mapping[str, HostPlant]
    services: Mapping[str, str]

    def address(self, session: Session) -> str:
        """IP address that the session's packets are sent to."""
        if session.kind == "anycast":
            return self.services[service_name(session)]
        if session.kind == "multicast":
            return session.group
        return self.hosts[self.host_at(session.destinations[0])].ip

    def host_at(self, node: str) -> str:
        """Name of the host at which a node's sessions start, or unicast and multicast sessions end.

        Raises
        ------
        KeyError
            When the node has no such host.
        """
        for name, host in self.hosts.items():
            if host.node == node and host.role != "server":
                return name
        raise KeyError(node)

    def to_json(self) -> str:
        """The text of `plant.json`: equal plants give equal bytes."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plant:
        """The plant that `to_json` wrote.

        Raises
        ------
        TopologyError
            When the text is not a plant.
        """
        try:
            data = json.loads(text)
            return cls(
                datapath=data["datapath"],
                netem=data["netem"],
                netns=data["netns"],
                switches={name: SwitchPlant(**value) for name, value in data["switches"].items()},
                hosts={
                    name: HostPlant(**{**value, "sessions": tuple(value["sessions"])})
                    for name, value in data["hosts"].items()
                },
                services=dict(data["services"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TopologyError(
                f"not a plant: {type(error).__name__} {error}; what the emulation writes to plant.json is accepted"
            ) from error


def service_name(session: Session) -> str:
    """Name under which an anycast session's service has its address: the service's, else the session's own."""
    return session.service or session.name


def plan(network: Network, places: Collection[str] = ()) -> Plant:
    """The deterministic numbering of a network, before any datapath or namespace is known.

    `places` are nodes that have a host too, though no session starts or ends there. The emulation fills in `datapath`,
    `netem` and `netns` with `dataclasses.replace`.

    Notes
    -----
    O((N + L + J + K) log) for N nodes, L links, J servers, K sessions.
    """
    neighbours: dict[str, set[str]] = {node.name: set() for node in network.nodes}
    for link in network.links:
        neighbours[link.src].add(link.dst)
        neighbours[link.dst].add(link.src)
    switches = {
        name: SwitchPlant(dpid, {neighbour: port for port, neighbour in enumerate(sorted(neighbours[name]), 1)})
        for dpid, name in enumerate(sorted(neighbours), 1)
    }
    hosts: dict[str, HostPlant] = {}
    used = {name: len(switch.ports) for name, switch in switches.items()}
    for node, name, role, sessions in sorted(_hosts(network, places)):
        used[node] += 1
        ip = _address("10.0", len(hosts))
        hosts[name] = HostPlant(node, used[node], ip, _mac(ip), role, sessions)
    services = sorted({service_name(session) for session in network.sessions if session.kind == "anycast"})
    return Plant(
        datapath="user",
        netem=False,
        netns="",
        switches=switches,
        hosts=hosts,
        services={name: _address("10.9", index) for index, name in enumerate(services)},
    )


def _hosts(network: Network, places: Collection[str]) -> list[tuple[str, str, Role, tuple[str, ...]]]:
    """(node, host name, role, sessions) of every host, in no particular order."""
    starts: dict[str, list[str]] = {}
    ends: dict[str, list[str]] = {place: [] for place in places}
    serves: dict[str, list[str]] = {server.name: [] for server in network.servers}
    for session in network.sessions:
        starts.setdefault(session.source, []).append(session.name)
        for destination in session.destinations:
            (serves if session.kind == "anycast" else ends).setdefault(destination, []).append(session.name)
    hosts: list[tuple[str, str, Role, tuple[str, ...]]] = [
        (server.node, server.name, "server", tuple(sorted(serves[server.name]))) for server in network.servers
    ]
    taken = {node.name for node in network.nodes} | set(serves)
    for node in sorted(starts.keys() | ends.keys()):
        name = _host_name(node, taken)
        taken.add(name)
        if node in starts:
            hosts.append((node, name, "source", tuple(sorted(starts[node]))))
        else:
            hosts.append((node, name, "destination", tuple(sorted(ends[node]))))
    return hosts


def _host_name(node: str, taken: Collection[str]) -> str:
    """`h-NODE`, cut to fit, with a number at its end where the name is taken."""
    name, number = f"h-{node}"[:HOST_NAME_LENGTH], 1
    while name in taken:
        number += 1
        name = f"h-{node}"[: HOST_NAME_LENGTH - len(str(number))] + str(number)
    return name


def _address(prefix: str, index: int) -> str:
    return f"{prefix}.{index // 254}.{index % 254 + 1}"


def _mac(ip: str) -> str:
    return "02:00:" + ":".join(f"{int(part):02x}" for part in ip.split("."))
