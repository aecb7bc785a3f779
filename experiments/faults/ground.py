"""A network under load to which faults are done: its ticks as they come, and what is worth breaking in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import networkx as nx

from experiments.running.campaign import Campaign
from experiments.running.phase import Traffic
from pricing.chains import node_of
from pricing.errors import MeasurementError
from pricing.network import LinkKey, Network

PATIENCE_S = 40.0
"""Longest wait for what must be seen (ours)."""

Line = dict[str, Any]
"""A line of the controller's record."""


@dataclass
class Ground:
    """A network that is up, with its traffic.

    Parameters
    ----------
    up : Campaign
    traffic : Traffic
    seed : int
        Of the traffic.
    length : float
        Of the traffic, s.
    tick : float
        Seconds between two decisions.
    lines : list of Line
        Ticks since it was up.
    patience : float
        Longest wait for what must be seen, s.
    """

    up: Campaign
    traffic: Traffic
    seed: int
    length: float
    tick: float
    lines: list[Line] = field(default_factory=list)
    patience: float = PATIENCE_S

    @property
    def history(self) -> list[Line]:
        """Ticks since the controller was started."""
        return [*self.up.history, *self.lines]

    @property
    def network(self) -> Network:
        """The network that is emulated."""
        return self.up.network

    def look(self) -> list[Line]:
        """Ticks that came since the last look; raises as `Campaign.check` does when something has died by itself."""
        self.up.check()
        self.traffic.check()
        new = [line for line in self.up.controller.new_records() if "tick" in line]
        self.lines += new
        self.traffic.fetch_page()
        return new

    def coming(self, more: float = 0.0) -> Iterator[Line]:
        """Ticks from now on, as they come, until the patience and so much more, s, is over."""
        self.look()
        seen, deadline, late = len(self.lines), time.monotonic() + self.patience + more, False
        while not late:
            time.sleep(0.02)
            late = time.monotonic() >= deadline  # what came until now was in time
            self.look()
            while seen < len(self.lines):
                seen += 1
                yield self.lines[seen - 1]

    def until(self, wanted: Callable[[Line], bool]) -> tuple[int | None, list[Line]]:
        """How many ticks it takes from now until one is as wanted, None when none is; and these ticks, one at least.

        Raises
        ------
        MeasurementError
            When no tick comes at all.
        """
        found: list[Line] = []
        for line in self.coming():
            found.append(line)
            if wanted(line):
                return len(found), found
        self._check(found, 1, self.patience)
        return None, found

    def ticks(self, count: int) -> list[Line]:
        """The next ticks.

        Raises
        ------
        MeasurementError
            When they do not come.
        """
        more = count * self.tick
        found = [line for _, line in zip(range(count), self.coming(more), strict=False)]
        self._check(found, count, self.patience + more)
        return found

    def _check(self, found: Sequence[Line], count: int, waited: float) -> None:
        if len(found) < count:
            last = f"tick {self.lines[-1]['tick']}" if self.lines else "none at all"
            raise MeasurementError(
                f"the controller's ticks have stopped: {len(found)} came in {waited:.0f} s where {count} "
                f"{'was' if count == 1 else 'were'} awaited, the last was {last}; run this row again by --only"
            )

    def settle(self) -> None:
        """Wait until everything is measured and nothing is wrong."""
        self.until(lambda line: line["error"] is None and max_age(line) < math.inf)

    def busiest_cable(self) -> LinkKey:
        """The cable that carries most, of those without which the network still hangs together."""
        load = {link.key: row["load"] for link, row in zip(self.network.links, self.lines[-1]["links"], strict=True)}
        return max(spare_cables(self.network), key=lambda key: load[key] + load[key[::-1]])

    def entrance(self) -> str:
        """The node at which the largest session enters: its switch has slots that change."""
        return max(self.network.sessions, key=lambda session: session.rate).source


def links_of(route: str) -> set[LinkKey]:
    """The links of a route or tree as a line has it.

    >>> sorted(links_of("a>b>c@server")), sorted(links_of("a>b{x,y} b>x{x}"))
    ([('a', 'b'), ('b', 'c')], [('a', 'b'), ('b', 'x')])
    """
    ways = [hop.partition("{")[0] for hop in route.split()] if "{" in route else [route.partition("@")[0]]
    return {(node_of(src), node_of(dst)) for way in ways for src, dst in pairwise(way.split(">"))}


def spare_cables(network: Network) -> list[LinkKey]:
    """Cables without which every node still reaches every other."""

    def spare(key: LinkKey) -> bool:
        rest = network.graph.copy()
        rest.remove_edges_from([key, key[::-1]])
        return bool(nx.is_strongly_connected(rest))

    both = [key for key in network.link_index if key < key[::-1] and key[::-1] in network.link_index]
    return [key for key in both if spare(key)]


def max_age(line: Line) -> float:
    """Age of the oldest measurement of a link or server in a tick, s; infinite where one was never measured."""
    return oldest([*line["links"], *line["servers"]])


def oldest(rows: Sequence[Line]) -> float:
    """The same for some of the links or servers."""
    ages = [row["age"] for row in rows]
    return math.inf if None in ages else max(ages, default=0.0)


def blames(line: Line, node: str) -> bool:
    """Whether a tick failed for a switch's sake."""
    return f"switch {node}" in (line["error"] or "")
