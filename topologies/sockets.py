"""The packet sockets of a switch: given room for what waits in them, and closed together instead of one by one.

Open vSwitch's userspace datapath has a packet socket for each interface, and closes them one by one. Each time, the
kernel waits for a grace period of some 10 ms in which no processor may still look at the socket: 600 interfaces take
as many seconds to go as they took to come. Sockets that are closed at the same time share that wait. So somebody else
holds them meanwhile, and closes them all at once.

It sends to all interfaces through one socket, to which the kernel charges what waits in their queues. With the usual
buffer, some ninety long packets in all links' queues together are all that fits: what is sent beyond that, anywhere, is
lost and counted nowhere.

What arrives waits in the interface's own socket until the switch comes to look. With the usual buffer some hundred
packets fit. While a controller started beside them on two processors, all senders were late by up to 0.17 s at once: in
such gaps a busy link fills it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from topologies.hosts.sockets import SO_RCVBUFFORCE, SO_SNDBUFFORCE

_PIDFD_GETFD = 438
"""Number of the system call, on every architecture; Python has no name for it."""

TOGETHER = 64
"""Sockets closed at the same time (ours)."""


SEND_BUFFER = 256 << 20
"""Bytes that may wait in all queues together: those of a hundred links, each full of long packets (ours)."""

RECEIVE_BUFFER = 4 << 20
"""Bytes that may wait to be looked at, for each interface: some two thousand packets (ours)."""


def give_room(pid: int) -> None:
    """Let the packet sockets of a process hold what waits; the one that sends is there from its first packet on."""
    for descriptor in _held(pid):
        with suppress(OSError):  # the process itself, of which a descriptor is held too
            with socket.socket(fileno=descriptor) as held:
                held.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
                held.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            continue
        with suppress(OSError):
            os.close(descriptor)


@contextmanager
def closed_together(pid: int) -> Iterator[None]:
    """Let the packet sockets that a process closes in the block be closed together at its end.

    Parameters
    ----------
    pid : int
        A process in the network namespace of the calling thread; nothing happens where it is none.
    """
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held: list[int] = []
    try:
        held = _held(pid)
        yield
    finally:
        with ThreadPoolExecutor(TOGETHER) as closers:
            list(closers.map(os.close, held))
        # `mnexec` closes every number below the limit, one by one, before it becomes a host's shell.
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


def _held(pid: int) -> list[int]:
    """Descriptors of our own of a process's packet sockets."""
    rows = Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]
    sockets = {f"socket:[{row.split()[8]}]" for row in rows}
    libc = ctypes.CDLL(None, use_errno=True)
    held: list[int] = []
    with suppress(OSError):  # it has died: the kernel has closed them
        process = os.pidfd_open(pid)
        held.append(process)
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(link.readlink()) in sockets:
                    held.append(libc.syscall(_PIDFD_GETFD, process, int(link.name), 0))
    return [descriptor for descriptor in held if descriptor >= 0]
