"""What a person at Mininet's prompt can see and do: prices, splits, routes, the gap, real ways of packets, faults.

A **board** looks at a network that is up: at the controller's own words (its control socket, `network.json` and
`record.jsonl` in the run's directory), at the switches, and into hosts. Every answer is a text. `Commands` makes them
commands of a prompt; `topologies.emulation` and the plugin for `mn` mix it into Mininet's. Nothing here needs more than
Python's own library.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pricing.errors import EmulationError, WardropError
from topologies import trace
from topologies.faults import Faults


def ask(path: Path, request: Mapping[str, Any], timeout: float = 10.0) -> dict[str, Any]:
    """One request to a controller's control socket, and its reply.

    Raises
    ------
    WardropError
        With the controller's own words when it refuses.
    EmulationError
        When it does not answer in time.
    """
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(timeout)
            control.connect(str(path))
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile("rb") as reader:
                line = reader.readline()
    except OSError as error:
        raise EmulationError(f"the controller does not answer on {path}: {error}") from error
    reply: dict[str, Any] = json.loads(line)
    if reply.keys() == {"error"}:  # the state of a tick has an `error` too, beside much else
        raise WardropError(str(reply["error"]))
    return reply


@dataclass(frozen=True)
class Board:
    """A network that is up, as its prompt sees it.

    Parameters
    ----------
    faults : Faults
        With the wiring, and the way to run commands where the switches are.
    addresses : mapping of the name of a host or service to its IP address
    pids : mapping of host name to the process id of its shell
    directory : Path, optional
        Of the run; none where the controller is not ours.
    """

    faults: Faults
    addresses: Mapping[str, str]
    pids: Mapping[str, int]
    directory: Path | None = None

    def prices(self) -> str:
        """Load, utilization and price of each link and server: what one more packet, or request, would cost."""
        network, state = self._network(), self._state()
        rows = [("link", "Mbit/s", "utilization", "price, ms")]
        for link, seen in zip(network["links"], state["links"], strict=True):
            rows.append((f"{link['src']}->{link['dst']}", f"{seen['load'] / 1e6:.3f}", *_seen(seen)))
        if network["servers"]:
            rows.append(("server", "work/s", "utilization", "price, ms"))
        for server, seen in zip(network["servers"], state["servers"], strict=True):
            rows.append((server["name"], f"{seen['load']:.1f}", *_seen(seen)))
        return table(rows)

    def splits(self) -> str:
        """For each session the weight of each route: as decided, and as packets were counted."""
        state = self._state()
        rows = [("session", "decided", "counted", "route")]
        for name, split in sorted(state["decided"].items()):
            counted = dict(state["realised"].get(name, []))
            decided = dict(split)
            for route in sorted(decided.keys() | counted.keys(), key=lambda r: (-decided.get(r, 0.0), r)):
                weights = (f"{found[route]:.3f}" if route in found else "-" for found in (decided, counted))
                rows.append((name, *weights, route))
        return table(rows)

    def routes(self) -> str:
        """Every route that has a label, with the label and the slots that name it."""
        known = self._installed()
        slots = {number: deal.count(number) for deal in known["slots"].values() for number in set(deal)}
        rows = [("label", "session", "slots", "way")]
        for number, route in sorted(((int(n), r) for n, r in known["routes"].items()), key=lambda item: item[0]):
            way = " > ".join(route["nodes"]) + f" > {route['host']}"
            deal = "answers" if route["back"] else str(slots.get(number, 0))
            rows.append((trace.label_text(number), route["session"], deal, way))
        return table(rows)

    def gap(self) -> str:
        """How far the allocation in force is from the optimum, proven, at the rates that are measured."""
        state = self._state()
        rows = [("policy", state["policy"]), ("tick", str(state["tick"]))]
        for field, what in (("objective", "cost, s of delay a s"), ("optimum", "least cost"), ("gap", "gap, proven")):
            value = state.get(field)
            rows.append((what, "not known" if value is None else f"{value:.6g}"))
        return table(rows, head=False)

    def trace(self, source: str, destination: str) -> str:
        """The ways that packets take from a host to a host, server or service; see `topologies.trace`.

        Raises
        ------
        EmulationError
            When there is no such host or address.
        """
        if source not in self.pids:
            raise EmulationError(f"found no host {source!r}; accepted: {', '.join(sorted(self.pids))}")
        if destination not in self.addresses:
            raise EmulationError(f"found no address of {destination!r}; accepted: {', '.join(sorted(self.addresses))}")
        wiring, run = self.faults.wiring, self.faults.run
        ways = trace.trace(wiring, run, self.pids[source], self.addresses[destination], self.pids.values())
        return trace.told(wiring, source, ways)

    def _file(self, name: str) -> Path:
        if self.directory is None:
            raise EmulationError("Wardrop's controller does not run here (yet); start with `--controller priced`")
        return self.directory / name

    def _network(self) -> dict[str, Any]:
        network: dict[str, Any] = json.loads(self._file("network.json").read_text())
        return network

    def _state(self) -> dict[str, Any]:
        return ask(self._file("control.sock"), {"state": True})

    def _installed(self) -> dict[str, Any]:
        """The record's last line that says what labels and slots mean."""
        found: dict[str, Any] = {}
        with self._file("record.jsonl").open() as record:
            for line in record:
                if '"slots"' in line and line.endswith("\n"):
                    found = json.loads(line)
        if not found:
            raise EmulationError("no rules are installed yet; ask again in a second")
        return found


def _seen(seen: Mapping[str, Any]) -> tuple[str, str]:
    price = "none" if seen["price"] is None else f"{1e3 * seen['price']:.3f}"
    return f"{seen['utilization']:.3f}", price


def table(rows: Iterable[tuple[str, ...]], head: bool = True) -> str:
    """Rows as columns of text; the first row is the head, underlined.

    >>> print(table([("link", "price"), ("a->b", "1")]))
    link  price
    -----------
    a->b  1
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if head:
        lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


class Commands:
    """Commands of a prompt that has a `board`; to be mixed into `cmd.Cmd` or what is made of it."""

    board: Callable[[], Board]
    stdout: IO[str]

    def do_prices(self, line: str) -> None:
        """prices: load, utilization and price of each link and server."""
        self._answer(line, 0, lambda board, _: board.prices())

    def do_splits(self, line: str) -> None:
        """splits: the weight of each session's routes, decided and counted."""
        self._answer(line, 0, lambda board, _: board.splits())

    def do_routes(self, line: str) -> None:
        """routes: every route with a label."""
        self._answer(line, 0, lambda board, _: board.routes())

    def do_gap(self, line: str) -> None:
        """gap: how far the allocation is from the optimum, proven."""
        self._answer(line, 0, lambda board, _: board.gap())

    def do_trace(self, line: str) -> None:
        """trace SRC DST: the ways that packets really take from host SRC to host, server or service DST."""
        self._answer(line, 2, lambda board, names: board.trace(*names))

    def do_fail(self, line: str) -> None:
        """fail A B | NODE | SERVER: let a link, node or server fail."""
        self._answer(line, None, lambda board, names: self._turn(board, names, works=False))

    def do_heal(self, line: str) -> None:
        """heal A B | NODE | SERVER: mend a link, node or server."""
        self._answer(line, None, lambda board, names: self._turn(board, names, works=True))

    def _turn(self, board: Board, names: list[str], works: bool) -> str:
        board.faults.any(names, works)
        failed = sorted(
            "-".join(sorted(thing)) if isinstance(thing, frozenset) else thing for thing in board.faults.failed
        )
        return f"failed now: {', '.join(failed) or 'nothing'}"

    def _answer(self, line: str, names: int | None, answer: Callable[[Board, list[str]], str]) -> None:
        words = line.split()
        try:
            if names is not None and len(words) != names:
                raise EmulationError(f"found {len(words)} names, accepted: {names}; see `help`")
            said = answer(self.board(), words)
        except WardropError as error:
            said = str(error)
        self.stdout.write(said + "\n")
