"""A server that queues as theory says: `python -m topologies.hosts.server CONFIG.json`.

A queue kept by absolute deadlines: a request that arrived at time a (the kernel's stamp), served behind one that
departs at d, departs at

    max(a, d) + work.

Who is next is decided at that moment: the first priority class of which somebody has arrived by then, first in, first
out within it, and nobody is interrupted. A request carries its class in its DSCP, and its answer carries the same; with
one class all wait in one line.

Work is time, not processing: the process sleeps until the next deadline, so a late wake-up delays one answer and never
the queue. The work of request (session, seq) is a pure function of the seed: the same packet brings the same work to
whichever server it goes, in every phase of a run.

The configuration holds the fields of `Service`. Every second the file `load` is replaced by what the server saw; at the
end, on SIGTERM, `LOG.npy` (`logs.SERVED`) is written with its .json.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topologies.hosts.logs import SECOND, SERVED, Log, lateness, save, save_summary
from topologies.hosts.sockets import (
    ECHO,
    HEADER,
    RECEIVE_BUFFER,
    SERVICE_PORT,
    STAMP_SPACE,
    join,
    mark,
    socket_drops,
    stamp,
    stamped_socket,
)
from topologies.hosts.working import Working, carried_out
from topologies.links import klass_of

DISCARD = 9
"""The UDP port where nobody listens."""

BLOCK = 4096
"""Draws of one session that are made at once."""

FRAME_HEADERS = 42
"""Bytes of Ethernet, IP and UDP around a payload."""

LONGEST_FRAME = FRAME_HEADERS + 1450
"""Bytes: `pricing.network.LONGEST_FRAME_BITS`, whose module takes longer to import than all that a server needs."""

IP_PKTINFO = 8

_FIELDS = ("session", "seq", "flow", "size", "sent", "received", "klass", "start", "departure")
_WIDTH = len(_FIELDS)
_RECEIVED, _KLASS, _START, _DEPARTURE = range(_WIDTH - 4, _WIDTH)


@dataclass(frozen=True)
class Service:
    """What one server serves.

    Parameters
    ----------
    server : str
        Its name.
    address : str
        Address that it answers from; empty where it serves several services, each by its own.
    capacity : float
        Work/s.
    scv : float
        Squared coefficient of variation of the work of a request.
    queue : int
        Requests that fit, the one in service included.
    seed : int
        Of the run.
    work : sequence of float
        Mean work of a request of each session, in the network's order; 0 answers at once.
    response_bits : sequence of float
        Frames of the answer to a request of each session, bits; 0 for none. As many packets as it takes.
    log : str
        Path of the log without its ending.
    load : str
        Path of the file of loads and waits.
    greet : str
        Address of a host that the server greets when it starts; none for ''.
    classes : int
        Priority classes, 1 where nobody has any.
    groups : sequence of str
        Multicast groups that it joins.
    sources : sequence of str
        Where `address` is empty: the address that each session asks, which its answers come from; '' for who does not.
    """

    server: str
    address: str
    capacity: float
    scv: float
    queue: int
    seed: int
    work: Sequence[float]
    response_bits: Sequence[float]
    log: str
    load: str
    greet: str = ""
    classes: int = 1
    groups: Sequence[str] = ()
    sources: Sequence[str] = ()

    @classmethod
    def read(cls, path: Path) -> Service:
        """The configuration at `path`."""
        values: dict[str, Any] = json.loads(path.read_text())
        return cls(**values)


def draws(seed: int, session: int, block: int, scv: float) -> NDArray[np.float64]:
    """Work of the `BLOCK` requests of a session from sequence number `block * BLOCK` on, relative to its mean.

    Gamma with mean 1 and the squared coefficient of variation `scv`: exponential for 1, fixed for 0.
    """
    if scv == 0:
        return np.ones(BLOCK)
    return np.random.default_rng([seed, session, block]).gamma(1 / scv, scv, BLOCK)


def request_work(seed: int, session: int, seq: NDArray[np.integer[Any]], scv: float) -> NDArray[np.float64]:
    """Work of the requests numbered `seq` of a session, relative to its mean; shape of `seq`."""
    blocks = {int(block): draws(seed, session, int(block), scv) for block in np.unique(seq // BLOCK)}
    return np.array([blocks[number // BLOCK][number % BLOCK] for number in seq.tolist()], np.float64)


@dataclass(frozen=True)
class _Request:
    """What waits: its row in the log, when it arrived (ns), what its answer repeats, where that goes and how marked."""

    row: int
    arrival: int
    session: int
    echo: bytes
    client: tuple[str, int]
    tos: int


class Server(Working):
    """The queues, their socket, and what is known of every request."""

    def __init__(self, service: Service) -> None:
        self.service = service
        super().__init__(stamped_socket(service.address, SERVICE_PORT, RECEIVE_BUFFER, marked=True))
        for group in service.groups:
            join(self.socket, group)
        self.waiting: list[deque[_Request]] = [deque() for _ in range(service.classes)]
        self.serving: _Request | None = None
        self.free = 0
        self.inside = 0
        self.rows = array("q")
        self.works = array("d")
        self.left = array("q")
        self.gone = array("q")
        self.refused = array("q")
        self.counts = Counter(malformed=0, errors=0, answers=0)
        self._blocks: dict[tuple[int, int], list[float]] = {}
        self._answers = [_answer_paddings(bits) for bits in service.response_bits]
        self._sources = [_source(address) for address in service.sources or [""] * len(self._answers)]
        self._export = _Export(self)

    def due(self) -> int | None:
        """When the request in service is done."""
        return self.free if self.serving else None

    def export(self, second: int) -> None:
        """Write the file of loads."""
        self._export.write(second)

    def greet(self) -> None:
        """Say something: the controller, which may have taken the server for dead, counts what it says."""
        if self.service.greet:
            with contextlib.suppress(OSError):  # its network may be down
                self.socket.sendto(b"", (self.service.greet, DISCARD))

    def take_in(self) -> None:
        """Queue the requests that have come, each in its class."""
        limit, classes, receive = self.service.queue, self.service.classes, self.socket.recvmsg
        while True:
            try:
                data, ancillary, _, client = receive(2048, STAMP_SPACE)
            except BlockingIOError:
                return
            if len(data) < HEADER.size:
                self.counts["malformed"] += 1
                continue
            session, flow, seq, sent = HEADER.unpack_from(data)
            if session >= len(self._answers) or sent >> 63:
                self.counts["malformed"] += 1
                continue
            arrival, tos = stamp(ancillary), mark(ancillary)
            klass = klass_of(tos, classes)
            if self.inside >= limit:
                self.refused.extend((session, seq, flow, len(data), sent, arrival, klass, 0, 0))
                continue
            echo = data[: ECHO.size]
            self.waiting[klass - 1].append(_Request(len(self.works), arrival, session, echo, client, tos))
            self.rows.extend((session, seq, flow, len(data), sent, arrival, klass, 0, 0))
            self.works.append(self.work(session, seq))
            self.left.append(0)
            self.inside += 1

    def let_go(self) -> None:
        """Serve whom the time has come for, and let those go whose work is done."""
        while self.serving or self._begin():
            request, now = self.serving, time.time_ns()
            if request is None or self.free > now:
                return
            self.left[request.row] = now
            self.gone.append(request.row)
            self.inside -= 1
            self.serving = None
            self._answer(request)
            if self.service.classes > 1:
                self.take_in()  # who is next depends on who is here

    def _answer(self, request: _Request) -> None:
        """Send every packet of an answer, from the address that was asked and in the class of the request."""
        about = [*self._sources[request.session]]
        if request.tos:
            about.append((socket.IPPROTO_IP, socket.IP_TOS, struct.pack("@i", request.tos)))
        for padding in self._answers[request.session]:
            try:
                self.socket.sendmsg([request.echo, padding], about, 0, request.client)
                self.counts["answers"] += 1
            except OSError:
                self.counts["errors"] += 1

    def _begin(self) -> bool:
        """Take the next request into service, if there is one; says when it will be done."""
        heads = [line[0].arrival for line in self.waiting if line]
        if not heads:
            return False
        start = max(self.free, min(heads))
        line = next(line for line in self.waiting if line and line[0].arrival <= start)
        self.serving = request = line.popleft()
        self.free = start + round(self.works[request.row] * SECOND)
        self.rows[request.row * _WIDTH + _START] = start
        self.rows[request.row * _WIDTH + _DEPARTURE] = self.free
        return True

    def work(self, session: int, seq: int) -> float:
        """Work of a request, in seconds of this server."""
        key = (session, seq // BLOCK)
        block = self._blocks.get(key)
        if block is None:
            scale = self.service.work[session] / self.service.capacity
            block = (draws(self.service.seed, *key, self.service.scv) * scale).tolist()
            self._blocks[key] = block
        return block[seq % BLOCK]

    def save(self) -> None:
        """Write the log: requests in the order of their arrival."""
        while self._begin():  # those who still wait would be served in this order
            pass
        served, refused = _rows(self.rows), _rows(self.refused)
        served["work"] = np.frombuffer(self.works)
        served["left"] = np.frombuffer(self.left, np.int64)
        gone = served[np.frombuffer(self.gone, np.int64)]
        late = (gone["left"] - gone["departure"]) / SECOND
        summary = {
            "server": self.service.server,
            "received": len(served) + len(refused),
            "served": len(gone),
            "overflow": len(refused),
            "socket_drops": socket_drops(),
            **self.counts,
            "late_p99_s": float(np.quantile(late, 0.99)) if len(late) else 0.0,
            "late": lateness(gone["departure"], gone["left"]),
        }
        log = np.concatenate([served, refused])
        save(Path(self.service.log + ".npy"), log[np.argsort(log["received"], kind="stable")], summary)


class _Export:
    """What the file of loads says: the second that has just ended."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seen = self.gone = self.refused = 0

    def write(self, second: int) -> None:
        server = self.server
        arrived, works = _table(server.rows)[self.seen :, _KLASS].copy(), np.array(server.works[self.seen :])
        rows = np.array(server.gone[self.gone :], np.int64)
        received, klass, start, departure = _table(server.rows)[rows][:, _RECEIVED:].T
        waits = (start - received) / SECOND
        lateness = (np.frombuffer(server.left, np.int64)[rows] - departure) / SECOND
        refused = len(server.refused) // _WIDTH
        capacity = server.service.capacity
        save_summary(
            Path(server.service.load),
            {
                "server": server.service.server,
                "time": second,
                "received": len(server.works) + refused,
                "requests": len(arrived) + refused - self.refused,
                "taken": len(arrived),
                "load": float(works.sum()) * capacity,
                "squares": float(works @ works) * capacity**2,
                "waiting": float(waits.sum()),
                "capacity": capacity,
                "wait_s": _mean(waits),
                "late_p99_s": float(np.quantile(lateness, 0.99)) if len(rows) else None,
                "queue": server.inside,
                "overflow": refused,
                "socket_drops": socket_drops(),
                "classes": [
                    {
                        "requests": int((arrived == k).sum()),
                        "load": float(works[arrived == k].sum()) * capacity,
                        "wait_s": _mean(waits[klass == k]),
                    }
                    for k in range(1, server.service.classes + 1)
                ],
            },
        )
        self.seen, self.gone, self.refused = len(server.works), len(server.gone), refused


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _answer_paddings(bits: float) -> list[bytes]:
    """What follows the echo in each packet of an answer of `bits` on the wire; nothing where nothing is answered."""
    size = round(bits / 8)
    count = -(-size // LONGEST_FRAME)
    cuts = [size * part // count for part in range(count + 1)] if count else []
    return [bytes(max(0, b - a - FRAME_HEADERS - ECHO.size)) for a, b in itertools.pairwise(cuts)]


def _source(address: str) -> list[tuple[int, int, bytes]]:
    """What tells the kernel from which of the host's addresses a packet goes; nothing where it has no choice."""
    if not address:
        return []
    return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("@i4s4s", 0, socket.inet_aton(address), bytes(4)))]


def _table(flat: array[int]) -> NDArray[np.int64]:
    """Rows as they are now; nothing can be added while somebody holds this."""
    return np.frombuffer(flat, np.int64).reshape(-1, _WIDTH)


def _rows(flat: array[int]) -> Log:
    columns = _table(flat).T
    log = np.zeros(columns.shape[1], SERVED)
    for name, column in zip(_FIELDS, columns, strict=True):
        log[name] = column
    return log


def main(config: Path) -> int:
    """Run the server that the file `config` describes; the exit status."""
    return carried_out(lambda: Server(Service.read(config)))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
