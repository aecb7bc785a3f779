"""UDP sockets that say when a packet arrived and how many did not fit, and the header that every request carries.

The kernel stamps a packet when it enters the host (SO_TIMESTAMPNS): reading it late takes nothing from the measurement.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

HEADER = struct.Struct("!HHIQ")
"""Session, flow, sequence number of the session, time sent in ns: the first 16 bytes of a request's payload."""

ECHO = struct.Struct("!HHI")
"""The first 8 bytes of a request, which its answer carries back."""

SERVICE_PORT = 7000
"""UDP port of every service."""

FLOW_PORT = 20_000
"""UDP source port of flow 0; flow f sends from FLOW_PORT + f."""

RECEIVE_BUFFER = 8 << 20
"""Bytes of socket buffer at a server, so that its queue and nothing else is its limit."""

SEND_BUFFER = 8 << 20
"""Bytes of socket buffer of who sends (ours).

In the kernel's datapath a packet counts there until it arrives: a smaller one would hold up who sends to full queues.
"""

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
"""Socket options that Python has no names for: buffers above the machine's limit, as root."""

STAMP_SPACE = socket.CMSG_SPACE(16) + socket.CMSG_SPACE(4)
"""Room for the kernel's stamp beside a packet, and for its mark."""

_TOS = (socket.IPPROTO_IP, socket.IP_TOS)
_SO_TIMESTAMPNS = 35
_STAMP = struct.Struct("@qq")


def stamped_socket(
    address: str, port: int, buffer: int = 0, shared: bool = False, marked: bool = False
) -> socket.socket:
    """A non-blocking UDP socket bound to `address`:`port` whose packets carry the kernel's stamp.

    It sends as much as the network takes (`SEND_BUFFER`). `buffer` is the bytes of its receive buffer, as root above
    the machine's limit too; 0 leaves the kernel's own size. A `shared` socket allows others on its port: connected
    ones, told apart by where they send. A `marked` one hands out the byte of the IP header that says a packet's class.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    stamps(sock, buffer)
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
    if marked:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    return sock


def stamps(sock: socket.socket, buffer: int = 0) -> None:
    """Let a socket's packets carry the kernel's stamp, and give it a receive buffer of so many bytes, its own for 0."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)


def join(sock: socket.socket, group: str) -> None:
    """Make the host a member of a multicast group, on the interface that its routes say."""
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + bytes(4))


def leave(sock: socket.socket, group: str) -> None:
    """Let the host leave a group that it joined by this socket."""
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, socket.inet_aton(group) + bytes(4))


def stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The kernel's stamp, ns of CLOCK_REALTIME, from what `recvmsg` returned beside a packet."""
    seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def mark(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The byte of the IP header that says a packet's class, from what `recvmsg` of a marked socket returned."""
    return next((data[0] for level, kind, data in ancillary if (level, kind) == _TOS), 0)


def socket_drops() -> int:
    """Packets that found the buffer of a UDP socket full, over the open sockets of this network namespace."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return sum(int(line.rsplit(None, 1)[1]) for line in lines)
