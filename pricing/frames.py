"""Packets as bytes, where switches and programs in hosts must say the same: classes, addresses of groups, frames."""

from __future__ import annotations

import ipaddress
import struct

MOST_CLASSES = 8
"""Priority classes that DSCP's class selectors tell apart."""

ETHERNET_IP = b"\x08\x00"
UDP_OVER_IP, IGMP_OVER_IP = 17, 2

_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")


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


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of whole words; 0 over data that holds its own.

    >>> hex(checksum(bytes.fromhex("4500001c")))
    '0xbae3'
    """
    total = sum(data[::2]) << 8
    total += sum(data[1::2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(
    macs: tuple[str, str], addresses: tuple[str, str], protocol: int, body: bytes, hops: int, options: bytes = b""
) -> bytes:
    """An Ethernet frame with an IPv4 packet, for whoever has no socket of the sender's address.

    Parameters
    ----------
    macs, addresses : pairs of str
        From and to.
    protocol : int
        What `body` is.
    hops : int
        Time to live.
    options : bytes
        Of the IP header, whole words of 4 bytes.
    """
    ends = [ipaddress.IPv4Address(address).packed for address in addresses]
    words = _IP.size + len(options) >> 2

    def head(check: int) -> bytes:
        return _IP.pack(0x40 | words, 0, 4 * words + len(body), 0, 0, hops, protocol, check, *ends) + options

    source, target = (bytes.fromhex(mac.replace(":", "")) for mac in macs)
    return target + source + ETHERNET_IP + head(checksum(head(0))) + body


def datagram(macs: tuple[str, str], addresses: tuple[str, str], port: int, payload: bytes, hops: int) -> bytes:
    """A `packet` that is a UDP datagram, with the same port at both ends."""
    udp = _UDP.pack(port, port, _UDP.size + len(payload), 0)
    return packet(macs, addresses, UDP_OVER_IP, udp + payload, hops)
