"""Captures to be sent again: times and sizes of the packets in a file that tcpdump or Wireshark wrote.

Read are pcap (microseconds or nanoseconds, either byte order) and pcapng. Only headers of records are looked at: the
packets themselves may have been cut. A packet counts as the Ethernet frame it was, or would have been, and is sent as a
UDP packet of the same frame; what was captured before the network card cut it up is cut up here. At most `MOST` packets
are taken.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pricing.errors import ScenarioError
from topologies.hosts.logs import SECOND
from topologies.hosts.sockets import HEADER

MOST = 1_000_000
"""Packets that are taken from a capture (ours): the numbers that a sender's settling has."""

LARGEST, HEADERS = 1472, 42
"""Largest payload in a frame, and the headers around it, bytes."""

TO_ETHERNET = {0: 10, 1: 0, 12: 14, 101: 14, 113: -2, 228: 14, 229: 14, 276: -6}
"""By type of a capture's link, how many bytes longer its packets would be as Ethernet frames: loopback, Ethernet, bare
IP, and what `tcpdump -i any` writes."""

_CLASSIC = {0xA1B2C3D4: 1_000, 0xA1B23C4D: 1}
"""Magic numbers of pcap, and what its fractions of a second are, ns."""

_SECTION, _INTERFACE, _PACKET, _ORDER = 0x0A0D0D0A, 1, 6, 0x1A2B3C4D
"""pcapng: types of blocks, and the number that tells the byte order."""

_LARGEST_BLOCK = 1 << 24
_LARGEST_PACKET = 1 << 20
"""Bytes of a packet; what a network card cuts up has at most half of that."""

_RESOLUTION = 9

Packet = tuple[int, int]
"""Time, ns since 1970, and length as an Ethernet frame, bytes."""


@dataclass(frozen=True)
class Recorded:
    """The packets of a capture.

    Parameters
    ----------
    due : array of shape (n,)
        ns since the first, ascending; two packets or more, not all at one time.
    sizes : array of shape (n,)
        Payloads, bytes.
    """

    due: NDArray[np.int64]
    sizes: NDArray[np.uint16]

    @cached_property
    def rate(self) -> float:
        """Packets/s, as captured."""
        return (len(self.due) - 1) / (float(self.due[-1]) / SECOND)

    def points(self) -> tuple[tuple[int, float], ...]:
        """Each payload, bytes, and how often it comes."""
        sizes, counts = np.unique(self.sizes, return_counts=True)
        return tuple((int(size), float(count)) for size, count in zip(sizes, counts, strict=True))

    def replayed(self, rate: float, length: float) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Times (ns from the beginning) and payloads of `length` seconds at a mean of `rate` packets/s.

        The capture begins again one mean gap after its last packet.
        """
        count = len(self.due)
        period = count / rate * SECOND if rate > 0 else np.inf
        rounds = int(length * SECOND / period) + 1
        once = self.due * (self.rate / rate if rate > 0 else 0.0)
        due = (np.arange(rounds)[:, None] * (period if rounds > 1 else 0.0) + once).ravel()
        kept = (due < length * SECOND) & (rate > 0)
        return due[kept].astype(np.int64), np.tile(self.sizes, rounds)[kept]


def read_capture(path: Path) -> Recorded:
    """The packets of a capture.

    Raises
    ------
    ScenarioError
        When it cannot be read, is no capture, is damaged, or has fewer than two moments.
    """
    try:
        with path.open("rb") as file:
            packets = np.array(list(islice(_packets(file), MOST)), np.int64).reshape(-1, 2)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; accepted: a pcap or pcapng file"
        raise ScenarioError(str(path), [problem]) from error
    except (ValueError, struct.error) as error:
        found = "ends in the middle of a header" if isinstance(error, struct.error) else error
        raise ScenarioError(str(path), [f"{found}; accepted: a whole pcap or pcapng file"]) from error
    if (packets[:, 1] > _LARGEST_PACKET).any():
        found = f"found a packet of {packets[:, 1].max()} bytes"
        raise ScenarioError(str(path), [f"{found}; accepted: at most {_LARGEST_PACKET}"])
    packets = packets[np.argsort(packets[:, 0], kind="stable")]
    if len(packets) < 2 or packets[0, 0] == packets[-1, 0]:
        found = f"found {len(packets)} packet{'s' if len(packets) != 1 else ''}"
        raise ScenarioError(str(path), [f"{found}; accepted: two or more, not all at one time"])
    payloads = np.maximum(packets[:, 1] - HEADERS, HEADER.size)
    pieces = -(-payloads // LARGEST)
    last = np.cumsum(pieces) - 1
    sizes = np.full(pieces.sum(), LARGEST, np.int64)
    sizes[last] = np.maximum(payloads - (pieces - 1) * LARGEST, HEADER.size)
    due = np.repeat(packets[:, 0] - packets[0, 0], pieces)
    return Recorded(due, sizes.astype(np.uint16))


def _packets(file: BinaryIO) -> Iterator[Packet]:
    magic = file.read(4)
    for order in "<>":
        number = struct.unpack(f"{order}I", magic)[0]
        if number in _CLASSIC:
            return _classic(file, order, _CLASSIC[number])
        if number == _SECTION:
            return _blocks(file)
    raise ValueError(f"begins with {magic.hex()}, as no capture does")


def _classic(file: BinaryIO, order: str, unit: int) -> Iterator[Packet]:
    """Packets of a pcap file, after its magic number."""
    longer = _longer(struct.unpack(f"{order}16xI", file.read(20))[0] & 0xFFFF)
    record = struct.Struct(f"{order}IIII")
    while head := file.read(record.size):
        seconds, fraction, captured, length = record.unpack(head)
        if len(file.read(captured)) < captured:
            raise ValueError("ends in the middle of a packet")
        yield seconds * SECOND + fraction * unit, length + longer


def _blocks(file: BinaryIO) -> Iterator[Packet]:
    """Packets of a pcapng file, after the type of its first block."""
    order, kind = "<", _SECTION
    interfaces: list[tuple[int, int]] = []
    while True:
        length_read = file.read(4)
        if kind == _SECTION:
            magic = file.read(4)
            order = "<" if struct.unpack("<I", magic)[0] == _ORDER else ">"
            interfaces = []
            if struct.unpack(f"{order}I", magic)[0] != _ORDER:
                raise ValueError("has a section without a byte order")
        rest = struct.unpack(f"{order}I", length_read)[0] - (12 if kind == _SECTION else 8)
        if not 4 <= rest <= _LARGEST_BLOCK:
            raise ValueError(f"has a block of {rest + 8} bytes")
        body = file.read(rest)
        if len(body) < rest:
            raise ValueError("ends in the middle of a block")
        if kind == _INTERFACE:
            interfaces.append((_longer(struct.unpack_from(f"{order}H", body)[0]), _ticks(body[8:-4], order)))
        elif kind == _PACKET:
            number, high, low, _, length = struct.unpack_from(f"{order}IIIII", body)
            if number >= len(interfaces):
                raise ValueError(f"has a packet of interface {number}, which it does not describe")
            longer, ticks = interfaces[number]
            yield (high << 32 | low) * SECOND // ticks, length + longer
        head = file.read(4)
        if not head:
            return
        kind = struct.unpack(f"{order}I", head)[0]


def _ticks(options: bytes, order: str) -> int:
    """Units of an interface's time stamps in a second: a million unless it says."""
    place = 0
    while place + 4 <= len(options):
        code, length = struct.unpack_from(f"{order}HH", options, place)
        if code == _RESOLUTION and length == 1 and place + 4 < len(options):
            power = options[place + 4]
            return int(2 ** (power & 0x7F) if power & 0x80 else 10**power)
        place += 4 + length + -length % 4
    return 1_000_000


def _longer(link: int) -> int:
    if link not in TO_ETHERNET:
        raise ValueError(f"was captured at a link of type {link}, which is neither Ethernet nor IP")
    return TO_ETHERNET[link]
