"""IGMP as bytes: what hosts say of groups, and the query that asks them (RFC 2236, RFC 3376).

A **report** says of groups, a **record** each, which sources a host wants to hear there. Those of versions 1 and 2 name
one group and mean all of its sources; so they are read as the records that version 3 has for it (RFC 3376, 7.3.2).

The bytes come from hosts, so nothing in them is trusted: lengths and both checksums are looked at, which the
frameworks' parsers do not do.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from controller.rules import GATEWAY, GATEWAY_MAC
from pricing.errors import ProtocolError
from pricing.frames import ETHERNET_IP, IGMP_OVER_IP, checksum, group_mac, packet

ALL_HOSTS = "224.0.0.1"

Kind = Literal["include", "exclude", "to include", "to exclude", "allow", "block"]

KINDS: dict[int, Kind] = {1: "include", 2: "exclude", 3: "to include", 4: "to exclude", 5: "allow", 6: "block"}
"""Types of group records (RFC 3376, 4.2.12): what is heard, what is heard from now on, and changes of it."""

QUERY, REPORT_V3 = 0x11, 0x22

SINGLE: dict[int, tuple[str, Kind]] = {
    0x12: ("v1", "exclude"),
    0x16: ("v2", "exclude"),
    0x17: ("leave", "to include"),
}
"""Messages that name one group: what they are called, and the record that they are read as."""

_ETHERNET, _IP_HEAD, _HEAD = 14, 20, 8
_RECORD = struct.Struct("!BBH4s")
_ROUTER_ALERT = b"\x94\x04\0\0"
_ROBUSTNESS = 2


@dataclass(frozen=True)
class Record:
    """What a host says of one group; the sources are IPv4 addresses."""

    kind: Kind
    group: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A host's message: which one ('v1', 'v2', 'leave' or 'v3'), the address that it comes from, and its records."""

    name: str
    sender: str
    records: tuple[Record, ...]


def read(frame: bytes) -> Report:
    """The report in an Ethernet frame.

    Raises
    ------
    ProtocolError
        When it is none, is cut off, or a checksum is wrong.

    Notes
    -----
    O(length). Records of types that are not known are passed over (RFC 3376, 4.2.12).
    """
    sender, body = _unwrapped(frame)
    if len(body) < _HEAD:
        raise ProtocolError(f"an IGMP message of {len(body)} bytes; it has {_HEAD} at least")
    if checksum(body):
        raise ProtocolError("an IGMP message whose checksum is wrong")
    if body[0] == REPORT_V3:
        return Report("v3", sender, tuple(_records(body)))
    if body[0] not in SINGLE:
        raise ProtocolError(f"an IGMP message of type 0x{body[0]:02x}; reports and leaves are accepted from hosts")
    name, kind = SINGLE[body[0]]
    return Report(name, sender, (Record(kind, _group(body[4:8])),))


def _unwrapped(frame: bytes) -> tuple[str, bytes]:
    """Who sent an IGMP message, and its bytes."""
    ip = frame[_ETHERNET:]
    if frame[_ETHERNET - 2 : _ETHERNET] != ETHERNET_IP or len(ip) < _IP_HEAD or ip[0] >> 4 != 4:
        raise ProtocolError(f"a frame of {len(frame)} bytes that is no IPv4 packet")
    head, length = 4 * (ip[0] & 0xF), int.from_bytes(ip[2:4], "big")
    if not _IP_HEAD <= head <= length <= len(ip):
        raise ProtocolError(f"an IPv4 packet of {length} bytes with a header of {head}, in {len(ip)}")
    if checksum(ip[:head]):
        raise ProtocolError("an IPv4 packet whose checksum is wrong")
    if ip[9] != IGMP_OVER_IP or int.from_bytes(ip[6:8], "big") & 0x3FFF:
        raise ProtocolError("an IPv4 packet that is no whole IGMP message")
    return _address(ip[12:16]), ip[head:length]


def _records(body: bytes) -> Iterator[Record]:
    """The records of a report of version 3; what follows the last is nobody's (RFC 3376, 4.2.11)."""
    place = _HEAD
    for _ in range(int.from_bytes(body[6:8], "big")):
        if len(body) < place + _RECORD.size:
            raise ProtocolError(f"a group record that is cut off at byte {place} of {len(body)}")
        kind, extra, count, group = _RECORD.unpack_from(body, place)
        begin, place = place + _RECORD.size, place + _RECORD.size + 4 * (count + extra)
        if len(body) < place:
            raise ProtocolError(f"a group record of {count} sources that is cut off at the end of {len(body)} bytes")
        sources = tuple(_address(body[at : at + 4]) for at in range(begin, begin + 4 * count, 4))
        if kind in KINDS:
            yield Record(KINDS[kind], _group(group), sources)


def _group(packed: bytes) -> str:
    if packed[0] >> 4 != 0b1110:
        raise ProtocolError(f"{_address(packed)}, which is no group's address")
    return _address(packed)


def _address(packed: bytes) -> str:
    return str(ipaddress.IPv4Address(packed))


def query(interval: float, response: float) -> bytes:
    """The frame that asks every host for all of its groups, a general query of version 3; older hosts read it too.

    Parameters
    ----------
    interval : float
        Time to the next one, whole s up to 127.
    response : float
        Time in which hosts answer, s up to 12.7.
    """

    def message(check: int) -> bytes:
        return struct.pack("!BBH4xBBH", QUERY, round(10 * response), check, _ROBUSTNESS, round(interval), 0)

    macs, ends = (GATEWAY_MAC, group_mac(ALL_HOSTS)), (GATEWAY, ALL_HOSTS)
    return packet(macs, ends, IGMP_OVER_IP, message(checksum(message(0))), 1, _ROUTER_ALERT)
