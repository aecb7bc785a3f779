"""Events in words: what of a tick is news after the tick before.

An alarm that stands is not repeated; it is news again when it has gone and comes back. What goes and comes at its limit
would be news at every tick, so an alarm goes only some way below the limit at which it came; one of loads, which are
counted over a second and swing, only when it has stayed there for some ticks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pricing.chains import node_of
from pricing.network import Network

Record = Mapping[str, Any]

NEAR, AWAY = 0.9, 0.85
"""Utilization at which a resource is near its capacity, and below which it no longer is (ours)."""

FAR, CLOSE = 0.05, 0.04
"""Gap at which the network is said to be far from its optimum, and below which it no longer is (ours)."""

CALM = 5
"""Ticks in a row below that after which the alarm of a load or of the gap goes (ours)."""

OLD_S = 5.0
"""Age of a measurement that is an alarm (ours)."""

PART = 0.01
"""Share of a session that is worth an alarm when it is not served (ours)."""

MOVED = 0.2
"""Share of a session's traffic that is worth a sentence when it moves in one tick (ours)."""

NAMED = 3
"""Sessions that are named when they move at once (ours)."""


@dataclass
class Watcher:
    """What has been said of a network; give it every record line in its order."""

    network: Network
    _last: Record = field(default_factory=dict)
    _phase: str = ""
    _standing: dict[str, int] = field(default_factory=dict)  # alarms, and for how many ticks each has been away

    def events(self, record: Record, phase: str) -> list[str]:
        """The news of a record line with its resources, a sentence each."""
        found = [*self._changes(record, phase), *self._alarms(record), *self._moves(record)]
        self._last, self._phase = record, phase
        return found

    def _changes(self, record: Record, phase: str) -> Iterator[str]:
        if phase != self._phase:
            yield f"Phase: {phase}"
        before = self._last.get("policy", record["policy"])
        if record["policy"] != before:
            yield f"Policy: {record['policy']} after {before}"
        error, known = record.get("error"), self._last.get("error")
        if error and error != known:
            yield f"Tick {record['tick']}: {error}"
        elif known and not error:
            yield f"Tick {record['tick']} went well again"
        yield from self._members(record)
        yield from self._failures(record)

    def _failures(self, record: Record) -> Iterator[str]:
        """What the controller finds failed that nobody has failed from outside, who would be told so anyway."""
        found, known = cables_and_servers(record.get("outage")), cables_and_servers(self._last.get("outage"))
        down = record.get("down", {})
        dead = set(down.get("nodes", ()))
        asked = cables_and_servers(down)
        asked |= {f"Link {min(link.key)}-{max(link.key)}" for link in self.network.links if dead & set(link.key)}
        asked |= {f"Server {server.name}" for server in self.network.servers if server.node in dead}
        for name in sorted(found - known - asked):
            self._standing[f"{name} has failed"] = 0
            yield f"{name} has failed"
        for name in sorted(known - found):
            if self._standing.pop(f"{name} has failed", None) is not None:
                yield f"{name} works again"

    def _members(self, record: Record) -> Iterator[str]:
        """Who has joined a group, and who has left it."""
        now, known = record.get("members", {}), self._last.get("members", {})
        for group in sorted(now.keys() & known.keys()):
            yield from (f"{node} joins {group}" for node in now[group] if node not in known[group])
            yield from (f"{node} leaves {group}" for node in known[group] if node not in now[group])

    def _alarms(self, record: Record) -> Iterator[str]:
        links = zip((f"Link {link.src}→{link.dst}" for link in self.network.links), record["links"], strict=True)
        servers = zip((f"Server {server.name}" for server in self.network.servers), record["servers"], strict=True)
        for name, state in (*links, *servers):
            used, age = state["utilization"], state.get("age")
            yield from self._alarm(
                f"{name} is near its capacity", f"{name} is no longer near its capacity", used, NEAR, AWAY, CALM
            )
            if self._last and age is not None:
                yield from self._alarm(
                    f"{name} has not been measured for {OLD_S:g} s", f"{name} is measured again", age, OLD_S, OLD_S
                )
        gap = record.get("gap")
        if gap is not None:
            yield from self._alarm(
                f"The network is more than {FAR:.0%} above its optimum",
                f"The network is within {FAR:.0%} of its optimum",
                gap,
                FAR,
                CLOSE,
                CALM,
            )
        for session in self.network.sessions:
            yield from self._unserved(session.name, record)

    def _unserved(self, name: str, record: Record) -> Iterator[str]:
        """A session that reaches nobody, or of which a part is refused; a group without members asks for nothing."""
        cut = name in record.get("stranded", ())
        yield from self._alarm(
            f"{name} is cut off from every destination", f"{name} reaches a destination again", float(cut), 1, 1
        )
        asks = not cut and record.get("members", {}).get(name) != []
        refused = 1 - record.get("served", {}).get(name, 1.0) if asks else 0.0
        yield from self._alarm(
            f"A part of {name} is refused", f"{name} is served wholly again", refused, PART, PART / 2
        )

    def _alarm(self, comes: str, goes: str, value: float, limit: float, release: float, calm: int = 1) -> Iterator[str]:
        if comes in self._standing:
            self._standing[comes] = self._standing[comes] + 1 if value < release else 0
            if self._standing[comes] >= calm:
                del self._standing[comes]
                yield goes
        elif value >= limit:
            self._standing[comes] = 0
            yield comes

    def _moves(self, record: Record) -> list[str]:
        found = list(self._each_move(record))
        return found if len(found) <= NAMED else [f"{len(found)} sessions move {MOVED:.0%} or more of their traffic"]

    def _each_move(self, record: Record) -> Iterator[str]:
        for session, split in sorted(record["decided"].items()):
            before = dict(self._last.get("decided", {}).get(session, split))
            now = dict(split)
            grown = {route: now[route] - before.get(route, 0.0) for route in now}
            share = sum(change for change in grown.values() if change > 0)
            if share >= MOVED:
                most = max(sorted(grown), key=lambda route: grown[route])
                yield f"{session} moves {share:.0%} of its traffic, most of it to {spoken(most)}"


def cables_and_servers(failed: Record | None) -> set[str]:
    """The cables and servers of an `outage` or `down`, as they are called in sentences."""
    links, servers = (failed or {}).get("links", ()), (failed or {}).get("servers", ())
    return {f"Link {min(ends)}-{max(ends)}" for ends in links} | {f"Server {name}" for name in servers}


def spoken(route: str) -> str:
    """A route for people: where it leads, and by which nodes.

    >>> spoken("Denver>KansasCity>Chicago@east"), spoken("here@west"), spoken("a>b")
    ('east by KansasCity, Chicago', 'west at its own node', 'b')
    >>> spoken("S>A{x,y} A>x{x} A>y{y}")
    'a tree over A, x, y'
    """
    if "{" in route:
        reached = dict.fromkeys(node_of(copy.partition("{")[0].partition(">")[2]) for copy in route.split())
        return f"a tree over {', '.join(reached)}"
    way, _, server = route.partition("@")
    nodes = way.split(">")
    if way == "here":
        return f"{server} at its own node"
    between = nodes[1:] if server else nodes[1:-1]
    return (server or nodes[-1]) + (f" by {', '.join(between)}" if between else "")
