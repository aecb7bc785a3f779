"""A member that comes and goes, by a plain socket: `python -m topologies.hosts.member CONFIG.json`.

It joins and leaves its group at the moments that it is told, as any program does. What reaches its host is seen on the
wire, whether the host is a member then or not: so the log tells how long a packet still came after the host had left.

The configuration holds the fields of `Turns`. On SIGTERM `LOG.npy` is written, a row for each copy that came, with its
.json, in which `turns` are the moments at which the host did join and leave, ns.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topologies.hosts.logs import ANSWERED, SECOND, save
from topologies.hosts.sockets import HEADER, RECEIVE_BUFFER, SERVICE_PORT, STAMP_SPACE, join, leave, stamp, stamps
from topologies.hosts.working import Working, carried_out

ETH_IP, IP_UDP, UDP_HEADER = 0x0800, 17, 8


@dataclass(frozen=True)
class Turns:
    """When a host is a member.

    Parameters
    ----------
    group : str
    session : int
        Number of the session whose packets are logged.
    turns : sequence of (float, float)
        When it joins and when it leaves, Unix times, s, in their order.
    log : str
        Path of the log without its ending.
    """

    group: str
    session: int
    turns: Sequence[tuple[float, float]]
    log: str


def number(packet: bytes, group: str, session: int) -> int | None:
    """The sequence number that an IP packet to a group carries; None for a packet of anything else.

    >>> number(bytes([0x45]) + bytes(8) + bytes([17]) + bytes(6) + bytes([239, 1, 1, 1]) + bytes(24), "239.1.1.1", 0)
    0
    """
    start = (packet[0] & 0xF) * 4
    if packet[9] != IP_UDP or packet[16:20] != socket.inet_aton(group):
        return None
    if len(packet) < start + UDP_HEADER + HEADER.size:
        return None
    whose, _, seq, _ = HEADER.unpack_from(packet, start + UDP_HEADER)
    return int(seq) if whose == session else None


class Member(Working):
    """The socket by which a host joins and leaves, and the wire on which its packets are seen."""

    def __init__(self, told: Turns) -> None:
        self.told = told
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_IP))
        stamps(wire, RECEIVE_BUFFER)
        super().__init__(wire)
        self.member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.member.bind((told.group, SERVICE_PORT))
        self.moments: list[int] = []
        self.heard = array("q")

    def greet(self) -> None:
        """Nothing: nobody asks whether it lives."""

    def due(self) -> int | None:
        """When it next joins or leaves."""
        turn, leaves = divmod(len(self.moments), 2)
        return round(self.told.turns[turn][leaves] * SECOND) if turn < len(self.told.turns) else None

    def take_in(self) -> None:
        """Note the packets of the group that came over the wire."""
        while True:
            try:
                packet, ancillary, _, (_, _, kind, *_) = self.socket.recvmsg(2048, STAMP_SPACE)
            except BlockingIOError:
                return
            if kind == socket.PACKET_OUTGOING:
                continue
            if (seq := number(packet, self.told.group, self.told.session)) is not None:
                self.heard.extend((seq, stamp(ancillary)))

    def let_go(self) -> None:
        """Join or leave, where it is time."""
        due = self.due()
        if due is not None and time.time_ns() >= due:
            turn = leave if len(self.moments) % 2 else join
            self.moments.append(time.time_ns())
            turn(self.member, self.told.group)

    def export(self, second: int) -> None:
        """Nothing: what it sees is told at the end."""

    def save(self) -> None:
        """Write the log."""
        seq, received = np.frombuffer(self.heard, np.int64).reshape(-1, 2).T
        log = np.zeros(len(seq), ANSWERED)
        log["seq"], log["received"] = seq, received
        whole = len(self.moments) - len(self.moments) % 2
        turns = [self.moments[place : place + 2] for place in range(0, whole, 2)]
        save(Path(self.told.log + ".npy"), log, {"turns": turns})


def main(config: Path) -> int:
    """Be the member that the file `config` describes; the exit status."""
    return carried_out(lambda: Member(Turns(**json.loads(config.read_text()))))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
