"""What the programs in the hosts are told: a server, a page and senders for each scenario, one configuration each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pricing.chains import running
from pricing.network import LinkKey, Network
from pricing.priority.elastic import Group
from topologies.links import tos
from topologies.plant import Plant

Config = Mapping[str, Any]

SINK = {"capacity": 1.0, "scv": 0.0, "queue": 100_000}
"""Other sessions than anycast end at hosts that take every request in and answer at once: its work is none."""


DRAIN_S, DRAIN_ANSWERS = 1.5, 5
"""How long senders listen after their last packet, s, and for how many of the longest answers on the narrowest link
(ours)."""


def serving(network: Network, plant: Plant, folder: Path, seed: int, exports: Path | None = None) -> dict[str, Config]:
    """Configuration of `topologies.hosts.server` by host: servers that are asked, then where other sessions end.

    Parameters
    ----------
    folder : Path
        Where `server-HOST.npy` goes.
    seed : int
        Of the requests' works.
    exports : Path, optional
        Where servers tell of themselves, `load-HOST.json`; the folder by default.
    """
    configs: dict[str, Config] = {}
    classes = network.classes

    def add(host: str, asked: list[str], work: list[float], laws: Config) -> None:
        configs[host] = {
            "server": host,
            **_asked(asked),
            **laws,
            "seed": seed,
            "work": work,
            "response_bits": [session.response_bits for session in network.sessions],
            "classes": classes,
            "log": str(folder / f"server-{host}"),
            "load": str((exports or folder) / f"load-{host}.json"),
            "greet": plant.hosts[plant.host_at(network.sessions[0].source)].ip,
        }

    work = [session.work for session in network.sessions]
    for server in network.servers:
        addresses = _addresses(network, plant, server.name)
        if any(addresses):
            laws = {"capacity": server.capacity, "scv": server.scv, "queue": server.queue}
            add(server.name, addresses, work, laws)
    groups: dict[str, list[str]] = {}
    for session in network.sessions:
        for node in session.destinations if session.kind != "anycast" else ():
            joined = groups.setdefault(plant.host_at(node), [])
            if session.kind == "multicast" and session.group not in joined:
                joined.append(session.group)
    for host, joined in groups.items():
        # a socket that is bound to the host's own address hears no group
        address = {"address": ""} if joined else {}
        add(host, [plant.hosts[host].ip], [0.0 for _ in work], {**SINK, "groups": joined, **address})
    return configs


def processing(network: Network, folder: Path, seed: int, exports: Path | None = None) -> dict[str, Config]:
    """Configuration of `topologies.hosts.function` by host: the servers that run functions; paths as in `serving`."""
    running_here = running(network)
    return {
        server.name: {
            "server": server.name,
            "capacity": server.capacity,
            "scv": server.scv,
            "queue": server.queue,
            "seed": seed,
            "tasks": [
                [(each.scaling, each.work) if server.name in each.servers else None for each in session.chain]
                for session in network.sessions
            ],
            "log": str(folder / f"function-{server.name}"),
            "load": str((exports or folder) / f"load-{server.name}.json"),
        }
        for server in network.servers
        if server.name in running_here
    }


def showing(network: Network, plant: Plant) -> dict[str, Config]:
    """Configuration of `topologies.hosts.web` by host: a page at each server that is asked."""
    addresses = {server.name: _addresses(network, plant, server.name) for server in network.servers}
    return {
        name: {"server": name, "address": _asked(every)["address"]} for name, every in addresses.items() if any(every)
    }


def sending(
    network: Network,
    plant: Plant,
    folder: Path,
    seed: int,
    settle: float,
    measure: float,
    exports: Path | None = None,
) -> dict[str, tuple[str, Config]]:
    """Host and configuration of `topologies.hosts.sender` by session; they are told later when to start.

    Parameters
    ----------
    folder : Path
        Where `sender-SESSION.requests.npy` and `.answers.npy` go.
    settle, measure : float
        Lengths of the two segments, s.
    exports : Path, optional
        Where senders tell of themselves, `sender-SESSION.json`; the folder by default.
    """
    classes = network.classes
    answer = max((session.response_bits for session in network.sessions), default=0.0)
    drain = DRAIN_S + DRAIN_ANSWERS * answer / min((link.capacity for link in network.links), default=1.0)
    return {
        session.name: (
            plant.host_at(session.source),
            {
                "session": index,
                "seed": seed,
                "address": plant.address(session),
                "rate": session.packet_rate,
                "size": asdict(session.size),
                "flows": session.flows,
                "arrivals": asdict(session.arrivals),
                "tos": tos(session.klass, classes),
                "start": None,
                "drain": drain,
                "settle": settle,
                "measure": measure,
                "log": str(folder / f"sender-{session.name}"),
                "told": str((exports or folder) / f"sender-{session.name}.json"),
            },
        )
        for index, session in enumerate(network.sessions)
    }


def using(
    network: Network,
    plant: Plant,
    groups: Sequence[Group],
    folder: Path,
    seed: int,
    settle: float,
    measure: float,
    exports: Path | None = None,
) -> dict[str, tuple[str, Config]]:
    """Host and configuration of `topologies.hosts.user` by user; they are told later when to start.

    Parameters
    ----------
    folder : Path
        Where `user-NAME.npy` goes, and what a sender writes, for each option.
    settle, measure : float
        Lengths of the two segments, s.
    exports : Path, optional
        Where users tell of themselves, `user-NAME.json`; the folder by default.
    """
    classes = network.classes
    found: dict[str, tuple[str, Config]] = {}
    for number, group in enumerate(groups):
        sessions = [network.sessions[network.session_index[name]] for name in group.options]
        first = sessions[0]
        host = plant.host_at(first.source)
        options = [
            {
                "session": network.session_index[session.name],
                "name": session.name,
                "address": plant.address(session),
                "tos": tos(session.klass, classes),
            }
            for session in sessions
        ]
        config = {
            "session": number,
            "seed": seed,
            "address": plant.address(first),
            "rate": group.user.rate,
            "size": asdict(first.size),
            "flows": first.flows,
            "arrivals": asdict(first.arrivals),
            "start": None,
            "settle": settle,
            "measure": measure,
            "log": str(folder / f"user-{group.name}"),
            "options": options,
            "value": dict(group.user.value),
            "delay_cost": group.user.delay_cost,
            "begin": [session.packet_rate for session in sessions],
            "folder": str(folder),
            "told": str((exports or folder) / f"user-{group.name}.json"),
        }
        found[group.name] = host, config
    return found


def _addresses(network: Network, plant: Plant, server: str) -> list[str]:
    """Address under which each session asks a server, in the network's order; '' for those that do not."""
    return [
        plant.address(session) if session.kind == "anycast" and server in session.destinations else ""
        for session in network.sessions
    ]


def _asked(addresses: list[str]) -> Config:
    """The address that a host is asked at; empty where there are several, and then also that of each session."""
    several = {address for address in addresses if address}
    return {"address": several.pop()} if len(several) == 1 else {"address": "", "sources": addresses}


def announcing(network: Network, plant: Plant, folder: Path, exports: Path) -> dict[str, Config]:
    """Configuration of `topologies.hosts.price` by host: an agent beside each server that is asked.

    `exports` is where servers and agents tell of themselves.
    """
    return {
        server.name: {
            "network": str(folder.parent / "network.json"),
            "server": server.name,
            "address": plant.hosts[server.name].ip,
            "load": str(exports / f"load-{server.name}.json"),
            "told": str(exports / f"agent-servers-{server.name}.json"),
            "log": str(folder / f"price-{server.name}.json"),
        }
        for server in network.servers
        if any(_addresses(network, plant, server.name))
    }


def switching(network: Network, plant: Plant, folder: Path, interfaces: Mapping[LinkKey, str], exports: Path) -> Config:
    """Configuration of `topologies.hosts.switches`: every switch that links leave."""
    links: dict[str, dict[int, str]] = {}
    for place, link in enumerate(network.links):
        links.setdefault(link.src, {})[place] = interfaces[link.key]
    switches = []
    for node in sorted(links):
        number = plant.switches[node].dpid
        address = f"10.8.{number >> 8}.{number & 255}"
        mac = f"02:08:00:00:{number >> 8:02x}:{number & 255:02x}"
        switches.append({"device": f"s{number}", "address": address, "mac": mac, "links": links[node]})
    network_file = str(folder.parent / "network.json")
    told, log = str(exports / "agent-links-switches.json"), str(folder / "switches.json")
    return {"network": network_file, "switches": switches, "told": told, "log": log}


def answering(
    network: Network, plant: Plant, folder: Path, seed: int, lost: float, late: float, exports: Path
) -> dict[str, tuple[str, Config]]:
    """Host and configuration of `topologies.hosts.source` by session; messages are `lost` and `late` on purpose."""
    return {
        session.name: (
            plant.host_at(session.source),
            {
                "network": str(folder.parent / "network.json"),
                "session": session.name,
                "address": plant.hosts[plant.host_at(session.source)].ip,
                "ingress": str(folder.parent / f"ingress-{plant.switches[session.source].dpid}.sock"),
                "lost": lost,
                "late": late,
                "seed": seed,
                "told": str(exports / f"agent-sources-{session.name}.json"),
                "log": str(folder / f"source-{session.name}.json"),
            },
        )
        for session in network.sessions
    }
