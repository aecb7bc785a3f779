"""What observers are given: the ticks of the last 15 minutes, as JSON, and what happened in words.

A **tick** is the controller's record line (docs/design/architecture.md) without the tables of routes and slots, and
with what only the run knows beside it:

| field | what |
|---|---|
| `id` | its number in this feed, from 1 |
| `phase`, `elapsed`, `total` | what is being done, for how long, and how long it takes in all (0: no end of its own) |
| `down` | what is failed: `links` [[node, node]], `nodes`, `servers` |
| `demand` | {session: factor} of those whose demand was changed |
| `worth` | {user: factor} of those whose requests were made worth more or less |
| `changes` | whether the run takes changes |
| `events` | what has happened since the tick before, a sentence each |

Numbers have six significant digits. The thread of the run adds ticks; any number of threads may read them.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.observing.changes import Inbox
from experiments.observing.events import Watcher
from pricing.network import Network

KEPT_S = 900.0
"""How far back the feed goes (ours)."""

LEFT_OUT = ("routes", "slots", "installed")
"""Fields of a record line that only the compiler's own reader wants."""


class Tick(NamedTuple):
    """One tick: its number, its time (Unix, s), and its JSON."""

    id: int
    time: float
    json: str


class Feed:
    """The ticks of a run.

    Parameters
    ----------
    network : Network
        What the ticks are of.
    title : str
        What is run, in words.
    users : mapping of str to str
        By session, the user whose option it is; without those that are nobody's.

    Attributes
    ----------
    run : str
        A word that no other feed has.
    inbox : Inbox
        Where changes to the run go.
    """

    def __init__(self, network: Network, title: str, users: Mapping[str, str] = MappingProxyType({})) -> None:
        self.network = network
        self.title = title
        self.users = users
        self.run = secrets.token_hex(8)
        self.inbox = Inbox()
        self.closed = False
        self.down: dict[str, list[Any]] = {"links": [], "nodes": [], "servers": []}
        self.demand: dict[str, float] = {}
        self.worth: dict[str, float] = {}
        self._watcher = Watcher(network)
        self._said: list[str] = []
        self._ticks: deque[Tick] = deque()
        self._lock = threading.Lock()

    def add(self, record: Mapping[str, Any], phase: str, elapsed: float, total: float) -> None:
        """Take in a record line; one without resources, as before the first decision, is passed over."""
        if "links" not in record:
            return
        line = {key: value for key, value in record.items() if key not in LEFT_OUT}
        with self._lock:
            events = [*self._said, *self._watcher.events({**record, "down": self.down}, phase)]
            self._said = []
            number = self._ticks[-1].id + 1 if self._ticks else 1
            line |= {"id": number, "phase": phase, "elapsed": elapsed, "total": total, "events": events}
            line |= {"down": self.down, "demand": self.demand, "worth": self.worth}
            line["changes"] = self.inbox.is_open
            self._ticks.append(Tick(number, record["time"], json.dumps(rounded(line), separators=(",", ":"))))
            while self._ticks[0].time < record["time"] - KEPT_S:
                self._ticks.popleft()

    def say(self, event: str) -> None:
        """Tell with the next tick that something has happened."""
        with self._lock:
            self._said.append(event)

    def failed(self, things: Collection[frozenset[str] | str]) -> None:
        """Tell from now on that these links (both ends), nodes and servers are failed, and no others."""
        servers = self.network.server_index
        names = sorted(thing for thing in things if isinstance(thing, str))
        with self._lock:
            self.down = {
                "links": sorted(sorted(thing) for thing in things if not isinstance(thing, str)),
                "nodes": [name for name in names if name not in servers],
                "servers": [name for name in names if name in servers],
            }

    def demanded(self, session: str, factor: float) -> None:
        """Tell from now on that a session sends `factor` times its rate."""
        with self._lock:
            self.demand = {**self.demand, session: factor}

    def valued(self, user: str, factor: float) -> None:
        """Tell from now on that a user's requests are worth `factor` times what they were at the start."""
        with self._lock:
            self.worth = {**self.worth, user: factor}

    def last(self) -> Tick | None:
        """The newest tick, where there is one."""
        with self._lock:
            return self._ticks[-1] if self._ticks else None

    def between(self, after: int, before: int | None, limit: int) -> list[Tick]:
        """The newest `limit` ticks with after < id < before."""
        with self._lock:
            if not self._ticks:
                return []
            first = self._ticks[0].id
            end = len(self._ticks) if before is None else min(max(before - first, 0), len(self._ticks))
            begin = max(after - first + 1, end - limit, 0)
            return [self._ticks[place] for place in range(begin, end)]

    def close(self) -> None:
        """Let those who follow end."""
        self.closed = True


def rounded(value: Any) -> Any:
    """The value with six significant digits in every number below it that is not whole; times keep milliseconds.

    >>> rounded({"load": [1234567.8, 3], "time": 1700000000.1234})
    {'load': [1234570.0, 3], 'time': 1700000000.123}
    """
    match value:
        case float():
            return float(f"{value:.6g}") if abs(value) < 1e9 else round(value, 3)
        case dict():
            return {key: rounded(part) for key, part in value.items()}
        case list() | tuple():
            return [rounded(part) for part in value]
    return value
