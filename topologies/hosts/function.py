"""Functions of service chains as a process: `python -m topologies.hosts.function CONFIG.json`.

Packets come with their label (`controller.labels`), which tells the stage, and go back with the same label when they
have been worked on; the switch writes the next stage. A packet that arrived at time a (the kernel's stamp), behind one
that is done at d, is done at

    max(a, d) + work,

first in, first out, whatever its session: work is time, as in `topologies.hosts.server`, drawn from the same law, and a
late wake-up delays one packet and never the queue. Its frame comes out `scaling` times as long, the payload cut or
padded, between the shortest that holds a request's head and the longest that fits; session, flow, number and time
sent stay as they are. Nothing else is answered: the host's own network never sees these frames as its own.

The configuration holds the fields of `Processing`. Every second the file `load` is replaced by what was done; at the
end, on SIGTERM, `LOG.json` is written.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pricing.frames import checksum
from topologies.hosts.logs import SECOND, save_summary
from topologies.hosts.server import BLOCK, draws
from topologies.hosts.sockets import HEADER, RECEIVE_BUFFER, STAMP_SPACE, stamp, stamps
from topologies.hosts.working import Working, carried_out

ETH_P_IP = 0x0800
HEADERS = 42
"""Bytes of Ethernet, IP and UDP before a payload."""

SHORTEST, LONGEST = HEADERS + HEADER.size, 1514
"""Frames that a function makes, bytes (`pricing.chains`, whose module takes longer to import)."""

_SOL_PACKET, _PACKET_STATISTICS = 263, 6

GREETING = bytes(6) + b"\x02" + bytes(5) + b"\x88\xb5" + bytes(46)
"""A frame of an EtherType for experiments (IEEE 802), which every switch drops and counts."""

_LABEL_LOW = b"\x57"
_IP, _UDP = slice(14, 34), 34

_TOLD = ("taken", "load", "squares", "waiting")
"""What is told of a second: packets taken in, their work, its squares, and the sum of what they waited, s."""


@dataclass(frozen=True)
class Processing:
    """What the functions at one server do.

    Parameters
    ----------
    server : str
        Its name.
    capacity, scv, queue : float, float, int
        Work/s, squared coefficient of variation of a packet's work, packets that fit, the one in work included.
    seed : int
        Of the run.
    tasks : sequence of sequences of (scaling, work), or None
        Of each session, in the network's order, and each stage: what is done here, if anything.
    log, load : str
        Path of the log without its ending, and of the file of loads.
    """

    server: str
    capacity: float
    scv: float
    queue: int
    seed: int
    tasks: Sequence[Sequence[Sequence[float] | None]]
    log: str
    load: str


def scaled(frame: bytes, scaling: float) -> bytes:
    """A frame of a UDP packet `scaling` times as long, its payload cut or padded with zeros, its checksums mended.

    >>> from pricing.frames import datagram
    >>> frame = datagram(("02:57:00:01:00:03", "02:56:ff:ff:ff:fe"), ("10.0.0.1", "239.1.1.1"), 7000, bytes(58), 8)
    >>> len(scaled(frame, 2.0)), len(scaled(frame, 0.75)), scaled(frame, 2.0)[:6] == frame[:6]
    (200, 75, True)
    """
    size = min(max(round(len(frame) * scaling), SHORTEST), LONGEST)
    made = bytearray(frame[:size].ljust(size, b"\0"))
    struct.pack_into("!H", made, 16, size - 14)
    struct.pack_into("!H", made, 24, 0)
    struct.pack_into("!H", made, 24, checksum(bytes(made[_IP])))
    struct.pack_into("!HH", made, _UDP + 4, size - 34, 0)
    return bytes(made)


class Functions(Working):
    """The queue, its socket, and what was done."""

    def __init__(self, processing: Processing) -> None:
        self.processing = processing
        super().__init__(
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_IP))
        )
        stamps(self.socket, RECEIVE_BUFFER)
        self.socket.bind((next(name for _, name in socket.if_nameindex() if name != "lo"), ETH_P_IP))
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.free = 0
        self.counts = Counter(received=0, passed=0, overflow=0, strange=0, errors=0, dropped=0)
        self.late: list[int] = []
        self.second = dict.fromkeys(_TOLD, 0.0)
        self._blocks: dict[tuple[int, int, int], list[float]] = {}

    def due(self) -> int | None:
        """When the first frame in line is done."""
        return self.waiting[0][0] if self.waiting else None

    def greet(self) -> None:
        """Say something: the controller, which may have taken the server for dead, counts what it says."""
        with contextlib.suppress(OSError):  # its network may be down
            self.socket.send(GREETING)

    def take_in(self) -> None:
        """Queue the frames that have come for a function here."""
        while True:
            try:
                frame, ancillary, _, _ = self.socket.recvmsg(2048, STAMP_SPACE)
            except BlockingIOError:
                return
            task = self._task(frame)
            if task is None:
                self.counts["strange"] += 1
                continue
            self.counts["received"] += 1
            if len(self.waiting) >= self.processing.queue:
                self.counts["overflow"] += 1
                continue
            scaling, work, arrival = *task, stamp(ancillary)
            start = max(arrival, self.free)
            self.free = start + round(work * SECOND / self.processing.capacity)
            self.waiting.append((self.free, scaled(frame[: 14 + int.from_bytes(frame[16:18])], scaling)))
            for key, amount in zip(_TOLD, (1.0, work, work * work, (start - arrival) / SECOND), strict=True):
                self.second[key] += amount

    def _task(self, frame: bytes) -> tuple[float, float] | None:
        """Scaling and drawn work of a labelled request at a stage that has a function here; None for all else."""
        if len(frame) < SHORTEST or frame[1:2] != _LABEL_LOW or frame[0] & 3 != 2 or frame[14] != 0x45:
            return None
        stage, (session, _, seq, _) = frame[0] >> 2, HEADER.unpack_from(frame, HEADERS)
        tasks = self.processing.tasks[session] if session < len(self.processing.tasks) else ()
        task = tasks[stage] if stage < len(tasks) else None
        return (task[0], task[1] * self._drawn(session, stage, seq)) if task else None

    def _drawn(self, session: int, stage: int, seq: int) -> float:
        """Work of a packet over its mean: a pure function of the seed, another at each stage."""
        key = (session, stage, seq // BLOCK)
        if key not in self._blocks:
            stream = session + ((stage + 1) << 16)
            self._blocks[key] = draws(self.processing.seed, stream, seq // BLOCK, self.processing.scv).tolist()
        return self._blocks[key][seq % BLOCK]

    def let_go(self) -> None:
        """Send on what is done by now."""
        while self.waiting and self.waiting[0][0] <= time.time_ns():
            due, frame = self.waiting.popleft()
            self.late.append(time.time_ns() - due)
            try:
                self.socket.send(frame)
                self.counts["passed"] += 1
            except OSError:
                self.counts["errors"] += 1

    def export(self, second: int) -> None:
        """Tell of the second that has just ended (`controller.exports`)."""
        told, self.second = self.second, dict.fromkeys(_TOLD, 0.0)
        wait = told["waiting"] / told["taken"] if told["taken"] else None
        late = float(np.quantile(self.late, 0.99)) / SECOND if self.late else None
        self.late.clear()
        about = {
            "server": self.processing.server,
            "time": second,
            "capacity": self.processing.capacity,
            "queue": len(self.waiting),
            "wait_s": wait,
            "late_p99_s": late,
            "socket_drops": self._drops(),
            "classes": [{"requests": told["taken"], "load": told["load"], "wait_s": wait}],
        }
        save_summary(Path(self.processing.load), {**about, **told, **self.counts})

    def _drops(self) -> int:
        """Frames that found the socket full, since the start; the kernel counts them from one question to the next."""
        _, new = struct.unpack("@II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.counts["dropped"] += new
        return self.counts["dropped"]

    def save(self) -> None:
        """Write what was done in all."""
        self._drops()
        save_summary(Path(self.processing.log + ".json"), {"server": self.processing.server, **self.counts})


def main(config: Path) -> int:
    """Run the functions that the file `config` describes; the exit status."""
    return carried_out(lambda: Functions(Processing(**json.loads(config.read_text()))))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
