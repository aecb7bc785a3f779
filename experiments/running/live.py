"""The live view in the terminal: links, servers, sources with their split, and the gap to the optimum.

It is fed with the controller's record lines (docs/design/architecture.md). Where the output is no terminal it says one
line every few seconds instead. Times are in ms and rates in Mbit/s here, because people read them.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from experiments.running.terms import Terms, terms
from pricing.network import Network

Record = Mapping[str, Any]

REFRESH_S = 0.5
"""Between two pictures while no record arrives (ours): the cores belong to the packets."""

LINE_S = 5.0
"""Between two lines where the output is no terminal (ours)."""

TWO_COLUMNS = 80
"""Width from which links stand beside servers and sources."""

HUES = ("dodger_blue1", "dark_orange", "spring_green3", "orchid", "yellow3", "medium_purple1")
BLOCKS = "▁▂▃▄▅▆▇█"
LOWEST_GAP = 1e-3
NUMBERS = ("Mbit/s", "work/s", "ms", "price, ms", "pays")
"""Columns that hold numbers."""


class LiveView:
    """The view of one run; enter it, and give it every record.

    Parameters
    ----------
    network : Network
        Names and sizes of what the records tell.
    title : str
        What is run, in words.
    console : rich Console, optional
        Where to; stdout by default.
    """

    def __init__(self, network: Network, title: str, console: Console | None = None) -> None:
        self.network = network
        self.title = title
        self.console = console or Console(emoji=False)
        self.record: Record = {}
        self.phase, self.elapsed, self.total = "", 0.0, 0.0
        self.gaps: deque[float] = deque(maxlen=240)
        self.judged = ""
        self.event = ""
        self._shown = -math.inf
        self._said = ("", -math.inf)
        self._live: Live | None = None

    def __enter__(self) -> LiveView:
        if self.console.is_terminal:
            self._live = Live(self, console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, record: Record, phase: str, elapsed: float, total: float) -> None:
        """Show a new state.

        Parameters
        ----------
        record : mapping
            A record line; empty when there is none since the last call.
        phase : str
            What is being done.
        elapsed, total : float
            Seconds of the phase; `total` is 0 when it has no end of its own.
        """
        if phase != self.phase:
            self.gaps.clear()
        self.phase, self.elapsed, self.total = phase, elapsed, total
        if "links" in record:
            self.record = record
            self.event = (record.get("events") or [self.event])[-1]
            market = record.get("market")
            self.judged = "cost above the least" if market else "delay above the optimum"
            gap = (market or record).get("gap")
            if gap is not None:
                self.gaps.append(gap)
        now = time.monotonic()
        if self._live is None:
            self._say(now)
        elif record or now - self._shown >= REFRESH_S:
            self._shown = now
            self._live.refresh()

    def line(self) -> str:
        """The state in one line."""
        clock = f"{self.elapsed:.0f} of {self.total:.0f} s" if self.total else f"{self.elapsed:.0f} s"
        if not self.record:
            return f"{self.phase}: {clock}"
        name, utilization = max(self._states(), key=lambda state: state[1])
        gap = f", {self.judged} {self.gaps[-1]:.1%}" if self.gaps else ""
        return f"{self.phase}: {clock}, {self._packet_rate():,.0f} packets/s, busiest {name} at {utilization:.2f}{gap}"

    def _say(self, now: float) -> None:
        phase, last = self._said
        if phase != self.phase or now - last >= LINE_S:
            self._said = (self.phase, now)
            self.console.print(self.line(), highlight=False, markup=False, soft_wrap=True)

    def _states(self) -> list[tuple[str, float]]:
        links = zip(self.network.links, self.record["links"], strict=True)
        servers = zip(self.network.servers, self.record["servers"], strict=True)
        return [(f"{link.src}→{link.dst}", state["utilization"]) for link, state in links] + [
            (server.name, state["utilization"]) for server, state in servers
        ]

    def _packet_rate(self) -> float:
        offered: Mapping[str, float] = self.record["offered"]
        return sum(offered.get(session.name, 0.0) / session.frame_bits for session in self.network.sessions)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, console.size.height - 1
        yield from self._head(width)
        if not self.record:
            return
        rows = height - 3
        servers, sources = self.network.servers, self.network.sessions
        if width >= TWO_COLUMNS:
            side = max(31, min(60, width * 3 // 8))
            grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
            grid.add_column(width=width - side - 2)
            grid.add_column(width=side)
            beside = Table.grid()
            if servers:
                beside.add_row(self._servers(side))
                beside.add_row("")
            left = rows - (len(servers) + 2 if servers else 0)
            for told in terms(self.network, self.record):
                shown = _terms(told, max(left // 2 - 2, 1))
                beside.add_row(shown)
                beside.add_row("")
                left -= shown.row_count + 2
            beside.add_row(self._sources(side, left))
            grid.add_row(self._links(width - side - 2, rows), beside)
            yield grid
            return
        if servers:
            yield self._servers(width)
        left = rows - (len(servers) + 1 if servers else 0)
        for told in terms(self.network, self.record):
            shown = _terms(told, max(left // 3 - 1, 1))
            yield shown
            left -= shown.row_count + 1
        sources_shown = min(len(sources), max(left // 2 - 1, 1))
        yield self._sources(width, sources_shown + 1)
        yield self._links(width, left - sources_shown - 1)

    def _head(self, width: int) -> list[Text]:
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(self.phase, style="bold cyan")
        head.append(f"  {self.elapsed:.0f} of {self.total:.0f} s " if self.total else f"  {self.elapsed:.0f} s")
        if self.total:
            head.append_text(_bar(self.elapsed / self.total, max(width // 5, 8), "cyan"))
        head.append(f"  {self.title}", style="bright_black")
        if not self.record:
            return [head]
        facts = Text(no_wrap=True, overflow="ellipsis")
        facts.append(f"{self._packet_rate():,.0f} packets/s", style="bold")
        facts.append(f"  tick {self.record['tick']}, {self.record['tick_s'] * 1e3:.0f} ms")
        facts.append(f", {self.record['rules_changed']} rule{'s' * (self.record['rules_changed'] != 1)} changed")
        if self.gaps:
            facts.append(f"  {self.judged} {self.gaps[-1]:.1%} ", style="bold")
            facts.append(sparkline(list(self.gaps)[-max(width - facts.cell_len - 1, 1) :]), style="cyan")
        error = self.record.get("error")
        said = Text(error or self.event, style="red" if error else "bright_black", no_wrap=True, overflow="ellipsis")
        return [head, facts, said]

    def _links(self, width: int, rows: int) -> Table:
        states = self.record["links"]
        ranked = sorted(range(len(states)), key=lambda index: (-states[index]["utilization"], index))
        chosen = sorted(ranked[: max(rows - 1, 1)])
        failed = {frozenset(ends) for ends in self.record.get("down", {}).get("links", ())}
        marks = ["✕ " if failed & {frozenset(self.network.links[index].key)} else "" for index in chosen]
        names = [
            f"{mark}{self.network.links[index].src}→{self.network.links[index].dst}"
            for mark, index in zip(marks, chosen, strict=True)
        ]
        room = width - max(map(len, names), default=0)
        bar, price = (min(room - 26, 40), "price, ms") if room > 40 else (max(room - 20, 6), "ms")
        left_out = len(states) - len(chosen)
        table = _table("link" if not left_out else f"link, {left_out} idler not shown", "Mbit/s", "utilization", price)
        for name, index in zip(names, chosen, strict=True):
            state = states[index]
            table.add_row(
                name, f"{state['load'] / 1e6:.2f}", _utilization(state["utilization"], bar), _price(state["price"])
            )
        return table

    def _servers(self, width: int) -> Table:
        room = width - max((len(server.name) for server in self.network.servers), default=0) - 2
        wide = room > 36
        bar = min(room - 26, 40) if wide else max(room - 20, 3)
        table = _table("server", "work/s", "utilization" if bar >= 6 else "used", "price, ms" if wide else "ms")
        for index, (server, state) in enumerate(zip(self.network.servers, self.record["servers"], strict=True)):
            name = Text(f"{_digit(index)} {server.name}", style=HUES[index % len(HUES)])
            table.add_row(name, f"{state['load']:.0f}", _utilization(state["utilization"], bar), _price(state["price"]))
        return table

    def _sources(self, width: int, rows: int) -> Table:
        offered, prices = self.record["offered"], self.record.get("session_prices") or {}
        sessions = sorted(self.network.sessions, key=lambda session: -offered.get(session.name, 0.0))
        shown = {session.name for session in sessions[: max(rows - 1, 1)]}
        left_out = len(sessions) - len(shown)
        head = "source" if not left_out else f"source, {left_out} more"
        pays = {name: _pays(prices.get(name)) for name in shown} if prices else {}
        room = width - max(len(name) for name in (head, *shown)) - 9
        room -= max(map(len, ("pays", *pays.values()))) + 1 if pays else 0
        splits = not pays or room >= len("split")  # an option's name says its server
        table = _table(head, "Mbit/s", *(["pays"] if pays else []), *(["split"] if splits else []))
        for session in self.network.sessions:
            if session.name in shown:
                split = [self._split(session.name, max(min(room, 40), 5))] if splits else []
                paid = [pays[session.name]] if pays else []
                table.add_row(session.name, f"{offered.get(session.name, 0.0) / 1e6:.2f}", *paid, *split)
        return table

    def _split(self, session: str, room: int) -> Text:
        """A bar of digits: each stands for its server, or for its route where no server ends it."""
        numbers = self.network.server_index
        shares: dict[int, float] = {}
        for place, (route, weight) in enumerate(self.record["decided"].get(session, [])):
            index = numbers.get(str(route).rpartition("@")[2], place)
            shares[index] = shares.get(index, 0.0) + weight
        bar, reached = Text(no_wrap=True), 0.0
        for index in sorted(shares):
            begin, reached = round(reached * room), reached + shares[index]
            bar.append(_digit(index) * (round(reached * room) - begin), style=f"bold {HUES[index % len(HUES)]}")
        return bar


def sparkline(values: Sequence[float]) -> str:
    """Ratios as a row of blocks, in the logarithm from 0.1 % to 100 %.

    Examples
    --------
    >>> sparkline([2.0, 0.3, 0.03, 0.0])
    '█▇▄▁'
    """
    steps = []
    for value in values:
        share = math.log(max(value, LOWEST_GAP) / LOWEST_GAP) / -math.log(LOWEST_GAP)
        steps.append(BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)])
    return "".join(steps)


def _terms(told: Terms, rows: int) -> Table:
    """The first rows of what a market, classes or groups add."""
    table = _table(*told.columns, numbers=[column for column in told.columns if column not in told.words])
    for row in told.rows[:rows]:
        table.add_row(*row)
    return table


def _table(*columns: str, numbers: Collection[str] = NUMBERS) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bright_black")
    for column in columns:
        number = column in numbers
        widest = max(len(column), 4) if number else None
        table.add_column(
            column, justify="right" if number else "left", min_width=widest, no_wrap=True, overflow="ellipsis"
        )
    return table


def _bar(share: float, room: int, colour: str) -> Text:
    done = round(room * min(max(share, 0.0), 1.0))
    bar = Text(no_wrap=True)
    bar.append("━" * done, style=colour)
    return bar.append("─" * (room - done), style="bright_black")


def _utilization(value: float, room: int) -> Text:
    colour = "red" if value >= 0.9 else "yellow" if value >= 0.7 else "green"
    return _bar(value, room, colour).append(f" {value:.2f}", style=colour)


def _price(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds >= 10:
        return f"{seconds:.0f} s" if seconds < 100 else ">99 s"
    shown = seconds * 1e3
    return f"{shown:.2f}" if 0.005 <= shown < 1 else f"{shown:.1f}" if shown < 100 else f"{shown:.0f}"


def _pays(price: float | None) -> str:
    """What a request of an option pays, currency; an option that is not on offer has no price."""
    return "–" if price is None else f"{price:.3g}"


def _digit(index: int) -> str:
    return "123456789abcdefghijklmnopqrstuvwxyz"[index % 35]
