"""A server that queues as theory says: `python -m topologies.hosts.server CONFIG.json`.

A first-in first-out queue kept by absolute deadlines: a request that arrived at time a (the kernel's stamp), behind one
that departs at d, departs at

    max(a, d) + work.

Work is time, not processing: the process sleeps until the next deadline, so a late wake-up delays one answer and never
the queue. The work of request (session, seq) is a pure function of the seed: the same packet brings the same work to
whichever server it goes, in every phase of a run.

The configuration holds the fields of `Service`. Every second the file `load` is replaced by what the server saw; at the
end, on SIGTERM, `LOG.npy` (`logs.SERVED`) is written with its .json.
"""

from __future__ import annotations

import contextlib
import gc
import json
import select
import signal
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
    socket_drops,
    stamp,
    stamped_socket,
)
from topologies.promptness import go_first, wake_on_time

DISCARD = 9
"""The UDP port where nobody listens."""

BLOCK = 4096
"""Draws of one session that are made at once."""

NAP = SECOND // 5
"""Longest sleep in ns, after which a request to stop is seen."""

FRAME_HEADERS = 42
"""Bytes of Ethernet, IP and UDP around a payload."""

_FIELDS = ("session", "seq", "flow", "size", "sent", "received", "start", "departure")


@dataclass(frozen=True)
class Service:
    """What one server serves.

    Parameters
    ----------
    server : str
        Its name.
    address : str
        Address that it answers from.
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
        Frame size of the answer to a request of each session, bits; 0 for none.
    log : str
        Path of the log without its ending.
    load : str
        Path of the file of loads and waits.
    greet : str
        Address of a host that the server greets when it starts; none for ''.
    tos : sequence of int
        The byte of the IP header that says the class of each session's answers; empty where nobody has classes.
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
    tos: Sequence[int] = ()

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


class Server:
    """The queue, its socket, and what is known of every request."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.socket = stamped_socket(service.address, SERVICE_PORT, RECEIVE_BUFFER)
        self.queue: deque[tuple[int, int, bytes | None, tuple[str, int]]] = deque()
        self.busy_until = 0
        self.rows = array("q")
        self.works = array("d")
        self.left = array("q")
        self.refused = array("q")
        self.counts = Counter(malformed=0, errors=0)
        self.stopping = False
        self._blocks: dict[tuple[int, int], list[float]] = {}
        self._answers = [_answer_padding(bits) for bits in service.response_bits]
        tos = service.tos or [0] * len(self._answers)
        self._marks = [[(socket.IPPROTO_IP, socket.IP_TOS, struct.pack("@i", byte))] if byte else [] for byte in tos]

    def run(self) -> None:
        """Serve until told to stop."""
        second = time.time_ns() // SECOND
        export = _Export(self)
        while not self.stopping:
            now = time.time_ns()
            wait = min(NAP, (second + 1) * SECOND - now)
            if self.queue:
                wait = min(wait, self.queue[0][0] - now)
            if wait > 0 and select.select([self.socket], [], [], wait / SECOND)[0]:
                self._take_in()
            self._let_go()
            if time.time_ns() // SECOND > second:
                second += 1
                export.write(second)

    def greet(self) -> None:
        """Say something: the controller, which may have taken the server for dead, counts what it says."""
        if self.service.greet:
            with contextlib.suppress(OSError):  # its network may be down
                self.socket.sendto(b"", (self.service.greet, DISCARD))

    def stop(self, *_: object) -> None:
        """End: a signal handler."""
        self.stopping = True

    def _take_in(self) -> None:
        limit, receive = self.service.queue, self.socket.recvmsg
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
            arrival, work = stamp(ancillary), self.work(session, seq)
            if len(self.queue) >= limit:
                self.refused.extend((session, seq, flow, len(data), sent, arrival, 0, 0))
                continue
            start = max(arrival, self.busy_until)
            self.busy_until = departure = start + round(work * SECOND)
            self.rows.extend((session, seq, flow, len(data), sent, arrival, start, departure))
            self.works.append(work)
            padding = self._answers[session]
            answer = None if padding is None else data[: ECHO.size] + padding
            self.queue.append((departure, session, answer, client))

    def _let_go(self) -> None:
        queue = self.queue
        while queue and queue[0][0] <= (now := time.time_ns()):
            _, session, answer, client = queue.popleft()
            self.left.append(now)
            if answer is not None:
                try:
                    self.socket.sendmsg([answer], self._marks[session], 0, client)
                except OSError:
                    self.counts["errors"] += 1

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
        served, refused = _rows(self.rows), _rows(self.refused)
        served["work"] = np.frombuffer(self.works)
        left = np.frombuffer(self.left, np.int64)
        served["left"][: len(left)] = left
        gone = served[: len(left)]
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
        server, width = self.server, len(_FIELDS)
        arrived = server.works[self.seen :]
        rows = np.array(server.rows[self.gone * width : len(server.left) * width], np.int64).reshape(-1, width)
        left = np.array(server.left[self.gone :], np.int64)
        refused = len(server.refused) // width
        received, start, departure = rows[:, 5], rows[:, 6], rows[:, 7]
        save_summary(
            Path(server.service.load),
            {
                "server": server.service.server,
                "time": second,
                "requests": len(arrived) + refused - self.refused,
                "load": float(sum(arrived)) * server.service.capacity,
                "capacity": server.service.capacity,
                "wait_s": float((start - received).mean()) / SECOND if len(rows) else None,
                "late_p99_s": float(np.quantile(left - departure, 0.99)) / SECOND if len(rows) else None,
                "queue": len(server.queue),
                "overflow": refused,
                "socket_drops": socket_drops(),
            },
        )
        self.seen, self.gone, self.refused = len(server.works), len(server.left), refused


def _answer_padding(bits: float) -> bytes | None:
    """What follows the echo in an answer of `bits` on the wire; None where nothing is answered."""
    return bytes(max(0, round(bits / 8) - FRAME_HEADERS - ECHO.size)) if bits > 0 else None


def _rows(flat: array[int]) -> Log:
    columns = np.frombuffer(flat, np.int64).reshape(-1, len(_FIELDS)).T
    log = np.zeros(columns.shape[1], SERVED)
    for name, column in zip(_FIELDS, columns, strict=True):
        log[name] = column
    return log


def main(config: Path) -> int:
    """Run the server that the file `config` describes; the exit status."""
    try:
        server = Server(Service.read(config))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, server.stop)
    wake_on_time()
    go_first()
    gc.freeze()
    gc.disable()
    server.greet()
    print("ready", flush=True)
    server.run()
    server.save()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
