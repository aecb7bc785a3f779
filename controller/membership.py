"""Who is a member of which group, told from what hosts report: the controller as querier of IGMP.

Of a session whose members come and go (`pricing.network.Session.joined`) the destinations are those nodes whose host
has joined its group. A host says which sources of a group it wants to hear, its **filter**: these (include), or all but
these (exclude). What it says last holds until it says something else, or nothing for `HOLD_S`: a query every `QUERY_S`
asks all hosts for all of it. As one host is behind a port and no report is passed on to another, a host that leaves is
gone at once: there is nobody else to be asked.

Nothing of a report is believed but its sender's own wishes, and only of groups that there are:

| refused | what |
|---|---|
| `malformed` | no report, cut off, or a checksum is wrong |
| `forged` | its address is not that of the host behind the port |
| `rate` | more than `MOST_PER_S` from one host, with `MOST_AT_ONCE` at a time |
| `group` | a join of a group that no session sends to |
| `place` | a join by a host that is not at a destination of its sessions |

Everything is a function of values: `listen` makes of what is known and what was heard what is known now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache

from controller import igmp
from controller.fabric import Fabric
from controller.igmp import Record, Report
from pricing.errors import ProtocolError

QUERY_S = 5.0
"""Time from query to query."""

RESPONSE_S = 0.5
"""Time in which hosts answer a query (ours)."""

HOLD_S = 2 * QUERY_S + RESPONSE_S
"""How long a report holds: two queries, so that one may be lost (RFC 3376, 8.4, with a robustness of 2)."""

MOST_PER_S, MOST_AT_ONCE = 200.0, 400.0
"""Reports of one host: a hundred groups and more may answer one query, a message each (ours)."""

LOCAL = "224.0.0."
"""Groups that never leave a link (RFC 5771); hosts report some of them, and nobody sends to them."""


@dataclass(frozen=True)
class Heard:
    """A frame that a switch handed up: where it came in, and when, s."""

    switch: str
    port: int
    frame: bytes
    time: float


@dataclass(frozen=True)
class Filter:
    """Which sources of a group a host wants to hear: these, each until a time (s); or all but these, until `until`."""

    excludes: bool
    sources: Mapping[str, float]
    until: float = 0.0

    def wants(self, source: str, now: float) -> bool:
        """Whether packets of a source are wanted now."""
        if self.excludes:
            return now < self.until and source not in self.sources
        return now < self.sources.get(source, now)

    def alive(self, now: float) -> bool:
        """Whether it still says anything."""
        return now < (self.until if self.excludes else max(self.sources.values(), default=now))

    def held(self, until: float) -> Filter:
        """The same until a time at least."""
        times = {source: max(time, until) for source, time in self.sources.items()}
        return Filter(self.excludes, times, max(self.until, until))


@dataclass(frozen=True)
class Members:
    """All that is known of members.

    Parameters
    ----------
    filters : mapping of (host, group) to Filter
    reports, refused : mapping of str to int
        What was heard and taken, by the name of the message; what was not, by reason.
    budgets : mapping of host to (messages, s)
        How many more each host may send at once, and as of when.
    """

    filters: Mapping[tuple[str, str], Filter] = field(default_factory=dict)
    reports: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    budgets: Mapping[str, tuple[float, float]] = field(default_factory=dict)


NOBODY = Members()


def listen(
    fabric: Fabric, before: Members, heard: Iterable[Heard], now: float, silent: Collection[str] = ()
) -> Members:
    """What is known after new frames; never fails.

    Parameters
    ----------
    now : float
        s, on the clock of the frames.
    silent : collection of str
        Switches that are not connected: what hosts said there holds on, because nobody hears what they say now.

    Notes
    -----
    O(filters + bytes heard).
    """
    filters, budgets = dict(before.filters), dict(before.budgets)
    reports, refused = Counter(before.reports), Counter(before.refused)
    for one in heard:
        host = _ports(fabric).get((one.switch, one.port), "")
        left, since = budgets.get(host, (MOST_AT_ONCE, one.time))
        left = min(MOST_AT_ONCE, left + MOST_PER_S * max(one.time - since, 0.0))
        budgets[host] = (left - 1 if left >= 1 else left), one.time
        if left < 1:
            refused["rate"] += 1
            continue
        try:
            report = igmp.read(one.frame)
        except ProtocolError:
            refused["malformed"] += 1
            continue
        if not host or report.sender != fabric.plant.hosts[host].ip:
            refused["forged"] += 1
            continue
        reports[report.name] += 1
        refused.update(_take(fabric, filters, host, report, one.time))
    for (host, group), kept in list(filters.items()):
        if fabric.plant.hosts[host].node in silent:
            filters[host, group] = kept.held(now + HOLD_S)
        elif not kept.alive(now):
            del filters[host, group]
    return Members(filters, reports, refused, budgets)


def _take(
    fabric: Fabric, filters: dict[tuple[str, str], Filter], host: str, report: Report, now: float
) -> Iterator[str]:
    """Note what a host says of each group, and tell why some of it is refused."""
    for record in report.records:
        senders = _groups(fabric).get(record.group)
        key, asks = (host, record.group), record.kind in ("exclude", "to exclude") or bool(record.sources)
        joins = asks and record.kind != "block"
        if senders is None:
            if joins and not record.group.startswith(LOCAL) and record.group not in _listed(fabric):
                yield "group"
        elif host not in senders:
            if joins:
                yield "place"
        elif (after := changed(filters.get(key), record, senders[host], now + HOLD_S)).alive(now):
            filters[key] = after
        else:
            filters.pop(key, None)


def changed(before: Filter | None, record: Record, senders: Collection[str], until: float) -> Filter:
    """A host's filter after what it says of a group; what it names beside the group's `senders` does not matter.

    The table of RFC 3376, 6.4, for one host: what it says of its state is all of it, so nobody is asked again.
    """
    named = dict.fromkeys((source for source in senders if source in record.sources), until)
    old = before or Filter(False, {})
    match record.kind:
        case "exclude" | "to exclude":
            return Filter(True, named, until)
        case "to include":
            return Filter(False, named)
        case "include" if old.excludes:
            return Filter(False, named)
        case "block" if old.excludes:
            return Filter(True, {**old.sources, **named}, old.until)
        case "allow" if old.excludes:
            return Filter(True, {s: time for s, time in old.sources.items() if s not in named}, old.until)
        case "block":
            return Filter(False, {s: time for s, time in old.sources.items() if s not in named})
    return Filter(False, {**old.sources, **named})  # several reports may share the list of a large filter


def present(fabric: Fabric, members: Members, now: float) -> frozenset[tuple[str, str]]:
    """The destinations of groups that come and go whose hosts are members now: (session, node) each."""
    return frozenset(
        (name, fabric.plant.hosts[host].node)
        for (host, group), kept in members.filters.items()
        for source, name in _groups(fabric)[group][host].items()
        if kept.wants(source, now)
    )


def absent(fabric: Fabric, members: Set[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """The destinations of groups that come and go that are not among the members."""
    joined = (session for session in fabric.network.sessions if session.joined)
    return frozenset((one.name, node) for one in joined for node in one.destinations) - members


def listed(fabric: Fabric, absent: Set[tuple[str, str]]) -> dict[str, list[str]]:
    """The nodes where each group's members are now."""
    groups = (session for session in fabric.network.sessions if session.kind == "multicast")
    return {one.name: [node for node in one.destinations if (one.name, node) not in absent] for one in groups}


def queries(fabric: Fabric) -> list[tuple[str, int, bytes]]:
    """What asks every host that may be a member, out of its own port: (switch, port, frame) each."""
    frame = igmp.query(QUERY_S, RESPONSE_S)
    hosts = {host for senders in _groups(fabric).values() for host in senders}
    return [(host.node, host.port, frame) for name, host in fabric.plant.hosts.items() if name in hosts]


@lru_cache(maxsize=4)
def _ports(fabric: Fabric) -> dict[tuple[str, int], str]:
    """The host at each port of a switch that has one."""
    return {(host.node, host.port): name for name, host in fabric.plant.hosts.items()}


@lru_cache(maxsize=4)
def _groups(fabric: Fabric) -> dict[str, dict[str, dict[str, str]]]:
    """Of each group that may be joined the hosts that may, and for each the sessions by their source's address."""
    plant = fabric.plant
    found: dict[str, dict[str, dict[str, str]]] = {}
    for session in fabric.network.sessions:
        if session.joined:
            hosts, source = found.setdefault(session.group, {}), plant.hosts[plant.source(session)].ip
            for host in plant.members(session):
                hosts.setdefault(host, {})[source] = session.name
    return found


@lru_cache(maxsize=4)
def _listed(fabric: Fabric) -> frozenset[str]:
    """Groups whose members a scenario lists; their hosts report them too."""
    return frozenset(session.group for session in fabric.network.sessions if session.group)
