"""What does not work, told from the ports of switches and from servers that do not answer.

A link is down when a port at either of its ends is. A server is down when its port is, or when it has been silent: it
was sent requests that want answers and has said nothing for `SILENCE_S`. It is back when it says something: a server
that starts greets its network, and any frame will do. A greeting that was none costs one more silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from controller.fabric import Fabric
from controller.measure import Meter
from pricing.outage import Outage

Port = tuple[str, int]
"""A switch's name, and the number of a port of it."""

SILENCE_S = 0.7
"""A server that is asked and says nothing for so long is down: a tick of a second, less its jitter (ours)."""

LEAST_ASKED = 10.0
"""Packets/s from which on a server counts as asked (ours)."""


def heard(fabric: Fabric, before: Mapping[str, float], meter: Meter, dead: Set[Port]) -> dict[str, float]:
    """When each server was last known to be well, s: it said something, or had nobody to answer and gets time to."""
    found = dict(before)
    answered = {name for s in fabric.network.sessions if s.response_bits > 0 for name in fabric.plant.ends(s)}
    for server in fabric.network.servers:
        host = fabric.plant.hosts[server.name]
        said, asked = (meter.rates.get((way, host.node, host.port)) for way in ("in", "out"))
        if said is None or asked is None:
            continue
        found.setdefault(server.name, said.time)
        cut, idle = (host.node, host.port) in dead, server.name not in answered or asked.packets < LEAST_ASKED
        if said.packets > 0:
            found[server.name] = said.time
        elif cut or (idle and not silent(found, server.name, said.time)):
            found[server.name] = said.time + SILENCE_S
    return found


def silent(heard: Mapping[str, float], server: str, now: float) -> bool:
    """Whether a server was silent for too long; one that was never heard of is not."""
    return now - heard.get(server, now) >= SILENCE_S


def outage(fabric: Fabric, dead: Set[Port], heard: Mapping[str, float], now: float) -> Outage:
    """What does not work while these ports are dead."""
    switches, hosts = fabric.plant.switches, fabric.plant.hosts
    cut = {key for key in fabric.network.link_index if (key[0], switches[key[0]].ports[key[1]]) in dead}
    lost = {
        server.name
        for server in fabric.network.servers
        if (hosts[server.name].node, hosts[server.name].port) in dead or silent(heard, server.name, now)
    }
    links = frozenset(key for key in fabric.network.link_index if key in cut or key[::-1] in cut)
    return Outage(links, frozenset(lost))
