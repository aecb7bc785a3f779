"""Announcements: what each host is told of the prices of its sessions, as frames that its switch sends to it.

The hosts' network has no way to the controller, so a datagram goes out as the switch's own packet, from the gateway's
address to everybody's (255.255.255.255), in a frame to the host alone: where nobody listens, a host does not complain
of a broadcast. `pricing.priority.announcement` says what is in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from controller.fabric import Fabric
from controller.rules import GATEWAY, GATEWAY_MAC
from pricing.frames import datagram
from pricing.priority.announcement import PORT, Row, written
from pricing.priority.published import Published

CUT_OFF = (math.inf, 0.0)
"""Price and time of a session that failures cut off."""

EVERYBODY = "255.255.255.255"

HOPS = 64
"""Time to live of an announcement."""


def announcements(fabric: Fabric, found: Published, tick: int, time_ns: int) -> Iterator[tuple[str, int, bytes]]:
    """(switch, port, frame) of what each host is told, hosts by name."""
    rows: dict[str, list[Row]] = {}
    told = dict(zip(found.sessions, zip(found.prices.tolist(), found.times.tolist(), strict=True), strict=True))
    for index, session in enumerate(fabric.network.sessions):
        row = Row(index, session.klass, *told.get(session.name, CUT_OFF))
        rows.setdefault(fabric.plant.source(session), []).append(row)
    for name in sorted(rows):
        host = fabric.plant.hosts[name]
        for said in written(tick, time_ns, rows[name]):
            yield host.node, host.port, datagram((GATEWAY_MAC, host.mac), (GATEWAY, EVERYBODY), PORT, said, HOPS)
