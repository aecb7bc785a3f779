"""The agents' multicast group at a socket: joined, spoken to, and heard with messages lost or late on purpose."""

from __future__ import annotations

import heapq
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pricing.errors import ProtocolError
from pricing.frames import datagram, group_mac
from pricing.joint.messages import GROUP, PORT, Message, decode, encode

HOPS = 1
"""Time to live: switches do not count it down, and no router may pass the group on."""

MOST_BYTES = 2048
"""Longest message that is read."""


def speaker(address: str) -> Callable[[bytes], int]:
    """Sends to the group from a host's own address, by UDP."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOPS)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)  # other sessions of this host hear it too
    return lambda data: sock.sendto(data, (GROUP, PORT))


def listener(address: str) -> socket.socket:
    """A UDP socket that hears the group at a host's own address."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((GROUP, PORT))
    member = socket.inet_aton(GROUP) + socket.inet_aton(address)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    return sock


def frame(address: str, mac: str, data: bytes) -> bytes:
    """An Ethernet frame to the group, for ports that have no address of their own."""
    return datagram((mac, group_mac(GROUP)), (address, GROUP), PORT, data, HOPS)


@dataclass
class Mouth:
    """Says messages by what sends their bytes, and counts them and the bytes of their frames."""

    send: Callable[[bytes], int]
    counts: Counter[str] = field(default_factory=lambda: Counter(messages=0, octets=0, errors=0))

    def say(self, message: Message) -> None:
        """Say it to the group."""
        try:
            self.send(encode(message))
        except OSError:  # its network may be down
            self.counts["errors"] += 1
        else:
            self.counts["messages"] += 1
            self.counts["octets"] += message.octets


class Ear:
    """Hears messages, of which it loses some and hears others late, each by itself and at random.

    Parameters
    ----------
    sock : socket
    resources : int
        Of the network.
    lost : float
        Probability that a message is not heard.
    late : float
        Longest time that one is kept back, s.
    seed : sequence of int
    """

    def __init__(self, sock: socket.socket, resources: int, lost: float, late: float, seed: tuple[int, ...]) -> None:
        self.socket, self.resources, self.lost, self.late = sock, resources, lost, late
        self.counts = Counter[str](heard=0, lost=0, malformed=0)
        self._rng = np.random.default_rng(seed)
        self._kept: list[tuple[float, int, Message]] = []

    def listen(self, now: float) -> list[Message]:
        """What is to be heard by `now`, s."""
        while True:
            try:
                data = self.socket.recv(MOST_BYTES)
            except BlockingIOError:
                break
            if self._rng.random() < self.lost:
                self.counts["lost"] += 1
                continue
            try:
                message = decode(data, self.resources)
            except ProtocolError:
                self.counts["malformed"] += 1
                continue
            self.counts["heard"] += 1
            heapq.heappush(self._kept, (now + self._rng.uniform(0, self.late), self.counts["heard"], message))
        found = []
        while self._kept and self._kept[0][0] <= now:
            found.append(heapq.heappop(self._kept)[2])
        return found
