"""Counters to rates: what was counted, over which time, and how old the answer is.

A **counter** has a key (what it counts), a value in packets and bytes, and the time of the reply that carried it. A
rate is the increase over the time between two replies of the same counter, however far apart they are. Four things
are told apart from traffic:

| seen | meaning | what follows |
|---|---|---|
| 2^64 - 1 | the switch does not support the counter | no data: nothing is learnt |
| less than before, near 2^64 before | the counter wrapped | the increase modulo 2^64 |
| less than before, else | the counter was reset | this interval is skipped, the next one starts here |
| no reply | silence | the last rate stays, its age grows |

Unknown is never zero. What was never measured has no rate; where a number must be had (the loads that a policy
prices), the model's load of the allocation in force stands in, and its age is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from controller.compile import answer_rule, forward_rules, leave_rule, plain_rule, request_rule
from controller.fabric import Fabric, Placed
from controller.labels import Labels
from pricing.network import Link, Session
from pricing.values import FloatArray, Loads

NO_DATA = 2**64 - 1
WRAP_LIMIT = 2**62
"""An increase beyond this, taken modulo 2^64, is a reset: at 1 Tbit/s it would take over a year."""

FORGET_S = 60.0
"""A counter that no reply has named for so long is gone."""

Key = tuple[Literal["in", "out", "rule"], str, int]
"""(what, switch, port or cookie): frames in at a port, frames out of it, packets that met a rule."""


@dataclass(frozen=True)
class Count:
    """Packets and bytes so far, at `time` (s)."""

    packets: int
    octets: int
    time: float


@dataclass(frozen=True)
class Rate:
    """packets/s and bit/s, told from the interval that ended at `time` (s)."""

    packets: float
    bits: float
    time: float


Counts = Mapping[Key, Count]


@dataclass(frozen=True)
class Meter:
    """The last counters, and the last rates that they gave."""

    counts: Counts
    rates: Mapping[Key, Rate]


EMPTY = Meter({}, {})


def increase(before: int, after: int) -> int | None:
    """How much a 64-bit counter grew; None where that cannot be told.

    >>> increase(2**64 - 10, 5), increase(1000, 5), increase(5, 2**64 - 1)
    (15, None, None)
    """
    if NO_DATA in (before, after):
        return None
    grown = (after - before) % 2**64
    return grown if grown < WRAP_LIMIT else None


def read(meter: Meter, counts: Counts) -> Meter:
    """The meter after new counters; O(counters).

    Counters that are silent keep their last rate for `FORGET_S`; a counter with no data, or with the time of the one
    before, changes nothing.
    """
    now = max((count.time for count in counts.values()), default=0.0)
    kept = {key: count for key, count in meter.counts.items() if now - count.time < FORGET_S}
    rates = {key: rate for key, rate in meter.rates.items() if key in kept}
    for key, count in counts.items():
        before = kept.get(key)
        if NO_DATA in (count.packets, count.octets) or (before and count.time <= before.time):
            continue
        kept[key] = count
        if before is None:
            continue
        packets, octets = increase(before.packets, count.packets), increase(before.octets, count.octets)
        if packets is not None and octets is not None:
            span = count.time - before.time
            rates[key] = Rate(packets / span, 8 * octets / span, count.time)
    return Meter(kept, rates)


@dataclass(frozen=True)
class Measured:
    """What was measured of a network.

    Parameters
    ----------
    loads : Loads
        Of links, servers and sessions; assumed ones where nothing was ever measured.
    link_ages, server_ages, session_ages : arrays of shape (L,), (J,), (K,)
        Seconds since the measurement; infinite where the load is assumed.
    delivered : array of shape (K,)
        bit/s of each session that left towards its destination; NaN where unknown.
    carried : mapping of session name to {route number: packets/s}
        By the counters of the labels at the session's ingress.
    """

    loads: Loads
    link_ages: FloatArray
    server_ages: FloatArray
    session_ages: FloatArray
    delivered: FloatArray
    carried: Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Reader:
    """Finds the rates of a network's links, servers and sessions in a meter, by ports and by the rules that count."""

    fabric: Fabric
    labels: Labels
    meter: Meter
    now: float

    def measured(self, assumed: Loads) -> Measured:
        """Everything, with `assumed` loads where nothing was ever measured."""
        network = self.fabric.network
        links = [self._link(link) for link in network.links]
        servers = [self._server(server.name) for server in network.servers]
        sessions = [self._offered(session) for session in network.sessions]
        return Measured(
            Loads(_values(links, assumed.links), _values(servers, assumed.servers), _values(sessions, assumed.offered)),
            self._ages(links),
            self._ages(servers),
            self._ages(sessions),
            np.array([self._delivered(session) for session in network.sessions]),
            {session.name: self._carried(session) for session in network.sessions},
        )

    def _ages(self, rows: list[Load]) -> FloatArray:
        return np.array([self.now - row[1] if row else np.inf for row in rows], dtype=float)

    def _rule(self, placed: Placed) -> Rate | None:
        switch, rule = placed
        return self.meter.rates.get(("rule", switch, rule.cookie))

    def _link(self, link: Link) -> Load:
        """What left the port of its source, after the queue."""
        rate = self.meter.rates.get(("out", link.src, self.fabric.plant.switches[link.src].ports[link.dst]))
        return (rate.bits, rate.time) if rate else None

    def _server(self, name: str) -> Load:
        """work/s that reaches a server: packets/s out of its port, less background, times a request's mean work.

        TCP segments of a service count as requests: its label does not tell them apart.
        """
        host = self.fabric.plant.hosts[name]
        rate = self.meter.rates.get(("out", host.node, host.port))
        if rate is None:
            return None
        users = [session for session in self.fabric.network.sessions if name in session.destinations]
        addresses = {host.ip, *(self.fabric.plant.address(session) for session in users)}
        background = [self._rule(leave_rule(address, host)) for address in sorted(addresses)]
        packets = rate.packets - sum(one.packets for one in background if one)
        total = sum(session.packet_rate for session in users)
        work = sum(session.packet_rate * session.work for session in users) / total if total else 1.0
        return max(packets, 0.0) * work, rate.time

    def _offered(self, session: Session) -> Load:
        """bit/s that a session offers: what its host sends, less background and answers of its own.

        Several sessions of one host are told apart by the counters of their rules, which lag by up to a second.
        """
        plant, sessions = self.fabric.plant, self.fabric.network.sessions
        client = plant.source(session)
        host = plant.hosts[client]
        rate = self.meter.rates.get(("in", host.node, host.port))
        if rate is None:
            return None
        if sum(plant.source(other) == client for other in sessions) > 1:
            own = self._rule(request_rule(self.fabric, session))
            return (own.bits, own.time) if own else None
        answers = [answer_rule(self.fabric, other, client) for other in sessions if client in plant.ends(other)]
        others = [self._rule(placed) for placed in [plain_rule(host), *answers]]
        return max(rate.bits - sum(one.bits for one in others if one), 0.0), rate.time

    def _forward(self, session: Session) -> list[tuple[int, Rate | None, Rate | None]]:
        """(number, rate where packets enter, rate where they leave) of each of the session's paths."""
        found = []
        for path, number in self.labels.numbers.items():
            if path.session == session.name and not path.back:
                rules = list(forward_rules(self.fabric, self.labels, path))
                found.append((number, self._rule(rules[0]), self._rule(rules[-1])))
        return found

    def _carried(self, session: Session) -> dict[int, float]:
        return {number: first.packets for number, first, _ in self._forward(session) if first}

    def _delivered(self, session: Session) -> float:
        rates = [last.bits for _, _, last in self._forward(session) if last]
        return sum(rates) if rates else math.nan


Load = tuple[float, float] | None
"""A load and the time of its measurement, where there is one."""


def _values(rows: list[Load], assumed: FloatArray) -> FloatArray:
    return np.array([row[0] if row else other for row, other in zip(rows, assumed, strict=True)], dtype=float)
