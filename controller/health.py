"""What does not work, told from the ports of switches and from servers that do not answer.

A link is down when a port at either of its ends is. A server is down when its port is, or when it has been silent: it
was sent requests that want answers, or packets for its functions, and has said next to nothing for `SILENCE_S`; nothing
at all is too much to ask, because the host of a dead process says by ICMP that nobody is there, once a second to each
who asks. It is back when it says something: a server that starts greets its network, and any frame will do. A greeting
that was none costs one more silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

from controller.fabric import Fabric
from controller.measure import Meter
from controller.membership import absent
from pricing.chains import running
from pricing.outage import Outage

Port = tuple[str, int]
"""A switch's name, and the number of a port of it."""

SILENCE_S = 0.7
"""A server that is asked and says nothing for so long is down: a tick of a second, less its jitter (ours)."""

LEAST_ASKED = 10.0
"""Packets/s from which on a server counts as asked (ours)."""

LEAST_ANSWERED = 0.25
"""Answers to each request, where all want one, up to which a server says next to nothing (ours)."""


@dataclass(frozen=True)
class Silence:
    """How long a server was asked and said nothing, s, as of a time; None while nobody asks."""

    length: float | None
    time: float

    @property
    def dead(self) -> bool:
        """Whether it was too long."""
        return self.length is not None and self.length >= SILENCE_S


def silences(fabric: Fabric, before: Mapping[str, Silence], meter: Meter, dead: Set[Port]) -> Mapping[str, Silence]:
    """The silence of each server after new rates; a server whose port is dead is not blamed for it."""
    found = dict(before)
    wants: dict[str, set[bool]] = {}
    for session in fabric.network.sessions:
        for end in fabric.plant.ends(session):
            wants.setdefault(end, set()).add(session.response_bits > 0)
    for name in running(fabric.network):
        wants[name] = {True}  # what comes out of a function is as good as an answer
    for server in fabric.network.servers:
        host = fabric.plant.hosts[server.name]
        said, asked = (meter.rates.get((way, host.node, host.port)) for way in ("in", "out"))
        if said is None or asked is None:
            continue
        last, now = found.get(server.name, Silence(None, said.time)), said.time
        wanted = wants.get(server.name, {False})
        little = LEAST_ANSWERED * asked.packets if wanted == {True} else 0.0
        if said.packets > little or (host.node, host.port) in dead:
            found[server.name] = Silence(0.0, now)
        elif wanted == {False} or asked.packets < LEAST_ASKED:
            found[server.name] = replace(last, time=now) if last.dead else Silence(None, now)
        else:  # in the first interval in which it was asked, it may have been asked only just now
            found[server.name] = Silence(0.0 if last.length is None else last.length + now - last.time, now)
    return found


def outage(
    fabric: Fabric, dead: Set[Port], silences: Mapping[str, Silence], members: Set[tuple[str, str]] = frozenset()
) -> Outage:
    """What does not work while these ports are dead, and who is not there while these are the members of groups."""
    switches, hosts = fabric.plant.switches, fabric.plant.hosts
    cut = {key for key in fabric.network.link_index if (key[0], switches[key[0]].ports[key[1]]) in dead}
    lost = {
        server.name
        for server in fabric.network.servers
        if (hosts[server.name].node, hosts[server.name].port) in dead
        or (server.name in silences and silences[server.name].dead)
    }
    links = frozenset(key for key in fabric.network.link_index if key in cut or key[::-1] in cut)
    return Outage(links, frozenset(lost), absent(fabric, members))
