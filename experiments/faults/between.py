"""Between one switch and the controller: a relay of OpenFlow that hands everything on, or misbehaves as it is told.

    with Between(emulation, "Denver") as between:
        between.manner = Silent()

The switch is real, and so are its packets; what the controller hears of it is not. `Emulation.faults.steer` sends the
switch's connection through here, and back to the controller at the end.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from controller.guard import BARRIER_REPLY, ERROR, FLOW_STATS, HEADER, MULTIPART_REPLY, PORT_STATS
from controller.measure import NO_DATA
from controller.pipeline import SLOTS
from topologies.emulation import Emulation

FLOW_MOD = 14
TABLE_FULL = struct.pack("!HH", 5, 1)
"""OFPET_FLOW_MOD_FAILED, OFPFMFC_TABLE_FULL (OpenFlow 1.3.5, 7.5.4)."""

QUOTED = 64
"""Bytes of a refused message that the error quotes."""


class Manner:
    """How a relay treats messages; this one hands everything on."""

    def told(self, message: bytes) -> tuple[bytes, bytes]:
        """What the switch gets of a message of the controller, and what the controller gets at once in return."""
        return message, b""

    def said(self, message: bytes) -> bytes:
        """What the controller gets of a message of the switch."""
        return message


class Refusing(Manner):
    """The table of slots is full: whatever would go into it is refused."""

    def told(self, message: bytes) -> tuple[bytes, bytes]:
        version, kind, _, xid = HEADER.unpack_from(message)
        # Table and command are after cookie and mask (OpenFlow 1.3.5, 7.3.4.1); 0 to 2 add and modify.
        if kind != FLOW_MOD or message[24] != SLOTS or message[25] > 2:
            return message, b""
        body = TABLE_FULL + message[:QUOTED]
        return b"", HEADER.pack(version, ERROR, HEADER.size + len(body), xid) + body


class Late(Manner):
    """Barriers are answered late, and whatever comes after them too."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def said(self, message: bytes) -> bytes:
        if message[1] == BARRIER_REPLY:
            time.sleep(self.seconds)
        return message


class Silent(Manner):
    """Barriers are never answered, for some seconds from the first on; a later tick finds the switch as it was."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._first: float | None = None

    def said(self, message: bytes) -> bytes:
        if message[1] != BARRIER_REPLY:
            return message
        if self._first is None:
            self._first = time.monotonic()
        return b"" if time.monotonic() - self._first < self.seconds else message


class Counting(Manner):
    """Counters are told as `change(key, value)` has it; a key stays the same from reply to reply."""

    def __init__(self, change: Callable[[tuple[int, bytes, int], int], int]) -> None:
        self.change = change

    def said(self, message: bytes) -> bytes:
        if message[1] != MULTIPART_REPLY:
            return message
        kind = int.from_bytes(message[8:10], "big")
        if kind == PORT_STATS:
            return self._changed(message, 112, slice(0, 4), (8, 16, 24, 32))
        if kind == FLOW_STATS:
            return self._changed(message, 0, slice(24, 32), (32, 40))
        return message

    def _changed(self, message: bytes, size: int, name: slice, places: tuple[int, ...]) -> bytes:
        """A reply whose entries have `size` bytes, or say themselves how many, with other numbers at these places."""
        found, offset = bytearray(message), 16
        while offset < len(found):
            entry = bytes(found[offset : offset + (size or int.from_bytes(found[offset : offset + 2], "big"))])
            for place in places:
                value = self.change((size, entry[name], place), int.from_bytes(entry[place : place + 8], "big"))
                found[offset + place : offset + place + 8] = value.to_bytes(8, "big")
            offset += len(entry)
        return bytes(found)


def wrapping() -> Counting:
    """Counters that are just before their wrap, and go on from there."""
    first: dict[tuple[int, bytes, int], int] = {}
    return Counting(lambda key, value: (value - first.setdefault(key, value) - 2) % 2**64)


def raised() -> Counting:
    """Counters that are much larger than they were; when this ends, they jump back."""
    return Counting(lambda _, value: (value + 2**63) % 2**64)


def still() -> Counting:
    """Counters that do not go on."""
    first: dict[tuple[int, bytes, int], int] = {}
    return Counting(first.setdefault)


def unsupported() -> Counting:
    """Counters that the switch says not to have."""
    return Counting(lambda _, __: NO_DATA)


class Between:
    """The relay, for the length of a `with` block.

    Parameters
    ----------
    emulation : Emulation
        The calling thread is in its testbed.
    node : str
        Whose switch it is.

    Attributes
    ----------
    manner : Manner
        How messages are treated from now on.
    """

    def __init__(self, emulation: Emulation, node: str) -> None:
        self.emulation = emulation
        self.node = node
        self.manner = Manner()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._spawn(self._accept)
        self.emulation.faults.steer(self.node, f"tcp:127.0.0.1:{self._server.getsockname()[1]}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.emulation.faults.steer(self.node, None)
        for one in (self._server, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _spawn(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                switch, _ = self._server.accept()
                controller = socket.create_connection(("127.0.0.1", self.emulation.controller))
            except OSError:  # closed
                return
            for one in (switch, controller):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [switch, controller]
            back = threading.Lock()
            self._spawn(_pump, controller, switch, partial(self._told, switch, controller, back))
            self._spawn(_pump, switch, controller, partial(self._said, controller, back))

    def _told(self, switch: socket.socket, controller: socket.socket, back: threading.Lock, message: bytes) -> None:
        on, answer = self.manner.told(message)
        switch.sendall(on)
        with back:
            controller.sendall(answer)

    def _said(self, controller: socket.socket, back: threading.Lock, message: bytes) -> None:
        answer = self.manner.said(message)
        with back:
            controller.sendall(answer)


def _pump(source: socket.socket, target: socket.socket, hand_on: Callable[[bytes], None]) -> None:
    """Hand on whole messages until either side has ended, then end both."""
    waiting = bytearray()
    with suppress(OSError):
        while data := source.recv(1 << 16):
            waiting += data
            while len(waiting) >= HEADER.size and len(waiting) >= (length := HEADER.unpack_from(waiting)[2]):
                message = bytes(waiting[:length])
                del waiting[:length]
                hand_on(message)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
