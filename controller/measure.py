"""Counters to rates: what was counted, over which time, and how old the answer is.

A **counter** has a key (what it counts), a value in packets and bytes, and the time of the reply that carried it. A
rate is the increase over the time between two replies of the same counter, however far apart they are. Five things
are told apart from traffic:

| seen | meaning | what follows |
|---|---|---|
| 2^64 - 1 | the switch does not support the counter | no data: nothing is learnt |
| less than before, near 2^64 before | the counter wrapped | the increase modulo 2^64 |
| less than before, else | the counter was reset | this interval is skipped, the next one starts here |
| a switch whose ports count nothing, while a neighbour counts what it sends there | it stands still | as if silent |
| no reply | silence | the last rate stays, its age grows |

Unknown is never zero. What was never measured has no rate; where a number must be had (the loads that a policy
prices), the model's load of the allocation in force stands in, and its age is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from controller.compile import answer_rule, forward_rules, leave_rule, plain_rules, refusals, remarks, request_rule
from controller.duplicate import numbers_of_parts, tree_rules
from controller.fabric import Fabric
from controller.group import crossed, entries, spoken_rule
from controller.labels import Labels
from controller.rules import Placed
from pricing.network import Session
from pricing.values import FloatArray, Loads

NO_DATA = 2**64 - 1
WRAP_LIMIT = 2**62
"""An increase beyond this, taken modulo 2^64, is a reset: at 1 Tbit/s it would take over a year."""

FORGET_S = 60.0
"""A counter that no reply has named for so long is gone."""

Key = tuple[Literal["in", "out", "rule"], str, int]
"""(what, switch, port or cookie): frames in at a port, frames out of it, packets that met a rule."""


class Count(NamedTuple):
    """Packets and bytes so far, at `time` (s)."""

    packets: int
    octets: int
    time: float


class Rate(NamedTuple):
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


def going(fabric: Fabric, meter: Meter, counts: Counts) -> Counts:
    """The counters less those of switches that stand still: none of their ports counts on, and a neighbour's does.

    Parameters
    ----------
    meter : Meter
        Before these counters.

    Notes
    -----
    O(counters). A switch that nobody sends anything to may well count nothing.
    """
    told: set[str] = set()
    grown: set[Key] = set()
    for key, count in counts.items():
        if key[0] != "rule" and (before := meter.counts.get(key)) and count.time > before.time:
            told.add(key[1])
            if count.packets != before.packets:
                grown.add(key)
    suspects = told - {switch for _, switch, _ in grown}
    still = {
        other
        for other in suspects
        for name in fabric.plant.switches[other].ports
        if ("out", name, fabric.plant.switches[name].ports[other]) in grown
    }
    return {key: count for key, count in counts.items() if key[1] not in still} if still else counts


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
        bit/s of each session that left towards its destination, mean of a group's; NaN where unknown.
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
class Wiring:
    """Which counters tell the loads of a fabric's links, servers and sessions; found once.

    A load is what one counter says, less what others say.

    Parameters
    ----------
    links : tuple of Key
        What left the port of each link's source, after the queue.
    servers : tuple of (Key, tuple of Key, work)
        Packets/s out of a server's port, less background, times the mean work of a request, or of a packet that goes
        through a function there. TCP segments of a service count as requests: its label does not tell them apart. Where
        requests or packets of several works come, work is None: they are counted by their labels, which lag by up to a
        second.
    sessions : tuple of (Key, tuple of Key)
        What a session's host sends, less background, answers of its own and what its agent says. Several sessions of
        one host are told apart by the counters of their rules, which lag by up to a second.
    """

    links: tuple[Key, ...]
    servers: tuple[tuple[Key, tuple[Key, ...], float | None], ...]
    sessions: tuple[tuple[Key, tuple[Key, ...]], ...]


@lru_cache(maxsize=64)
def wiring(fabric: Fabric) -> Wiring:
    """The counters of a fabric; O(links + servers x sessions)."""
    network, plant = fabric.network, fabric.plant
    users: dict[str, list[Session]] = {}
    tasks: dict[str, set[float]] = {}
    starting: dict[str, list[Session]] = {}
    answering: dict[str, list[Session]] = {}
    for session in network.sessions:
        starting.setdefault(plant.source(session), []).append(session)
        for end in plant.ends(session):
            answering.setdefault(end, []).append(session)
        for name in session.destinations if session.kind == "anycast" else ():
            users.setdefault(name, []).append(session)
            tasks.setdefault(name, set()).add(session.work)
        for function in session.chain:
            for name in function.servers:
                tasks.setdefault(name, set()).add(function.work)

    def server(name: str) -> tuple[Key, tuple[Key, ...], float | None]:
        host, mine = plant.hosts[name], users.get(name, [])
        addresses = sorted({host.ip, *(plant.address(session) for session in mine)})
        works = tasks.get(name, {1.0})
        work = None if len(works) > 1 else next(iter(works))
        background = tuple(rule_key(leave_rule(address, host)) for address in addresses)
        return ("out", host.node, host.port), background, work

    def offered(session: Session) -> tuple[Key, tuple[Key, ...]]:
        client = plant.source(session)
        if len(starting[client]) > 1:
            return rule_key(request_rule(fabric, session)), ()
        host = plant.hosts[client]
        answers = [answer_rule(fabric, other, client) for other in answering.get(client, [])]
        others = [*plain_rules(fabric, client), *answers, spoken_rule(fabric, client)]
        return ("in", host.node, host.port), tuple(map(rule_key, others))

    return Wiring(
        tuple(("out", link.src, plant.switches[link.src].ports[link.dst]) for link in network.links),
        tuple(server(one.name) for one in network.servers),
        tuple(offered(session) for session in network.sessions),
    )


def rule_key(placed: Placed) -> Key:
    """The counter of a rule."""
    switch, rule = placed
    return "rule", switch, rule.cookie


@dataclass(frozen=True)
class Reader:
    """Finds the rates of a network's links, servers and sessions in a meter, by ports and by the rules that count."""

    fabric: Fabric
    labels: Labels
    meter: Meter
    now: float

    def measured(self, assumed: Callable[[], Loads]) -> Measured:
        """Everything, with `assumed` loads where nothing was ever measured, asked for only then; O(counters)."""
        model = cache(assumed)
        rates, found = self.meter.rates, wiring(self.fabric)
        links = [(rate.bits, rate.time) if (rate := rates.get(key)) else None for key in found.links]
        sessions = [self._offered(*counters) for counters in found.sessions]
        carried: dict[str, dict[int, float]] = {session.name: {} for session in self.fabric.network.sessions}
        delivered: dict[str, float] = {}
        works: dict[str, float] = {}
        for number, (enter, leaves) in counters_of(self.fabric, self.labels):
            path = self.labels.path(number)
            name = path.session
            if not path.part and (first := rates.get(enter)):
                carried[name][number] = first.packets
            for last in filter(None, map(rates.get, leaves)):
                delivered[name] = delivered.get(name, 0.0) + last.bits / path.receivers
                works[path.host] = works.get(path.host, 0.0) + last.packets * self.fabric.sessions[name].work
        for server, work, key in tasks_of(self.fabric, self.labels):
            if given := rates.get(key):
                works[server] = works.get(server, 0.0) + given.packets * work
        hosts = [server.name for server in self.fabric.network.servers]
        servers = [
            self._server(*counters, works.get(name, 0.0)) for name, counters in zip(hosts, found.servers, strict=True)
        ]
        return Measured(
            Loads(
                _values(links, lambda: model().links),
                _values(servers, lambda: model().servers),
                _values(sessions, lambda: model().offered),
            ),
            self._ages(links),
            self._ages(servers),
            self._ages(sessions),
            np.array([delivered.get(name, math.nan) for name in carried], dtype=float),
            carried,
        )

    def _ages(self, rows: list[Load]) -> FloatArray:
        return np.array([self.now - row[1] if row else np.inf for row in rows], dtype=float)

    def _sum(self, keys: tuple[Key, ...], kind: Literal["packets", "bits"]) -> float:
        return float(sum(getattr(rate, kind) for key in keys if (rate := self.meter.rates.get(key))))

    def _server(self, key: Key, background: tuple[Key, ...], work: float | None, labelled: float) -> Load:
        """work/s that reaches a server; `labelled` is what the labels' counters say."""
        rate = self.meter.rates.get(key)
        if rate and work is None:
            return labelled, rate.time
        return (max(rate.packets - self._sum(background, "packets"), 0.0) * (work or 0.0), rate.time) if rate else None

    def _offered(self, key: Key, others: tuple[Key, ...]) -> Load:
        """bit/s that a session offers."""
        rate = self.meter.rates.get(key)
        return (max(rate.bits - self._sum(others, "bits"), 0.0), rate.time) if rate else None


@lru_cache(maxsize=4)
def counters_of(fabric: Fabric, labels: Labels) -> tuple[tuple[int, tuple[Key, tuple[Key, ...]]], ...]:
    """Of each path there its number, and the counters where its packets enter and where they leave.

    The parts of a tree enter as one.
    """
    found = []
    for path, number in labels.numbers.items():
        if path.copies:
            enters = forward_rules(fabric, labels, replace(path, part=0))[0]
            leaves = tree_rules(fabric, path, numbers_of_parts(fabric, labels, path)).leaves
            found.append((number, (rule_key(enters), tuple(map(rule_key, leaves)))))
        elif not path.back:
            rules = forward_rules(fabric, labels, path)
            found.append((number, (rule_key(rules[0]), (rule_key(rules[-1]),))))
    return tuple(found)


@lru_cache(maxsize=4)
def tasks_of(fabric: Fabric, labels: Labels) -> tuple[tuple[str, float, Key], ...]:
    """Of each rule that hands packets to a function: the server, the mean work of a packet, and the counter."""
    return tuple(
        (server, work, rule_key(placed))
        for path in labels.numbers
        if path.copies
        for server, work, placed in tree_rules(fabric, path, numbers_of_parts(fabric, labels, path)).tasks
    )


def dropped(fabric: Fabric, meter: Meter) -> dict[str, dict[str, int]]:
    """Packets that each host sent and may not send, by what they were; hosts that no reply tells of are left out."""
    found: dict[str, dict[str, int]] = {}
    for name, host in fabric.plant.hosts.items():
        for kind, rules in refusals(host).items():
            counts = [meter.counts.get(("rule", node, rule.cookie)) for node, rule in rules]
            if all(counts):
                found.setdefault(name, {})[kind] = sum(count.packets for count in counts if count)
    return found


def remarked(fabric: Fabric, meter: Meter) -> dict[str, int]:
    """Packets of each host that were re-marked at its ingress; hosts that no reply tells of are left out."""
    found = {}
    for name, rules in remarks(fabric).items():
        counts = [meter.counts.get(("rule", node, rule.cookie)) for node, rule in rules]
        if counts and all(counts):
            found[name] = sum(count.packets for count in counts if count)
    return found


def signalling(fabric: Fabric, meter: Meter) -> dict[str, Any]:
    """What agents say, bit/s of frames: as it enters the network, by who says it; and on each link of their tree."""
    said, links = {}, [0.0] * len(fabric.network.links)
    for kind, rules in sorted(entries(fabric).items()):
        rates = [(node, rate.bits) for node, rule in rules if (rate := meter.rates.get(rule_key((node, rule))))]
        said[kind] = float(sum(bits for _, bits in rates))
        for node, bits in rates:
            for link in crossed(fabric)[node]:
                links[link] += bits
    return {"signalling": said, "signalling_links": links}


Load = tuple[float, float] | None
"""A load and the time of its measurement, where there is one."""


def _values(rows: list[Load], assumed: Callable[[], FloatArray]) -> FloatArray:
    known = [row[0] for row in rows if row]
    if len(known) < len(rows):
        known = [row[0] if row else other for row, other in zip(rows, assumed().tolist(), strict=True)]
    return np.array(known, dtype=float)
