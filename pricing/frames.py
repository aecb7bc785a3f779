"""Packets as bytes, where switches and programs in hosts must say the same: classes, addresses of groups, frames."""

from __future__ import annotations

import ipaddress
import struct

MOST_CLASSES = 8
"""Priority classes that DSCP's class selectors tell apart."""

ETHERNET_IP = b"\x08\x00"
UDP_OVER_IP = 17

_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_WORDS = struct.Struct("!10H")


def dscp(klass: int) -> int:
    """The mark of a class, where there are several: a class selector, CS7 for class 1, CS6 for class 2, and so on.

    >>> dscp(1), dscp(2)
    (56, 48)
    """
    return 8 * (MOST_CLASSES - klass)


def group_mac(address: str) -> str:
    """The MAC address of a multicast group (RFC 1112, 6.4).

    >>> group_mac("239.129.2.3")
    '01:00:5e:01:02:03'
    """
    low = int(ipaddress.IPv4Address(address)) & 0x7FFFFF
    return "01:00:5e:" + ":".join(f"{low >> shift & 0xFF:02x}" for shift in (16, 8, 0))


def datagram(macs: tuple[str, str], addresses: tuple[str, str], port: int, payload: bytes, hops: int) -> bytes:
    """An Ethernet frame with a UDP datagram, for whoever has no socket of the sender's address.

    Parameters
    ----------
    macs, addresses : pairs of str
        From and to.
    port : int
        Of both ends.
    payload : bytes
    hops : int
        Time to live.
    """
    ends = [ipaddress.IPv4Address(address).packed for address in addresses]
    length = _IP.size + _UDP.size + len(payload)

    def head(checksum: int) -> bytes:
        return _IP.pack(0x45, 0, length, 0, 0, hops, UDP_OVER_IP, checksum, *ends)

    total = sum(_WORDS.unpack(head(0)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    source, target = (bytes.fromhex(mac.replace(":", "")) for mac in macs)
    udp = _UDP.pack(port, port, _UDP.size + len(payload), 0)
    return target + source + ETHERNET_IP + head(~total & 0xFFFF) + udp + payload
