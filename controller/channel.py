"""A connection with a switch: a socket to the framework, on which only well-formed messages arrive.

TLS, where it is wanted, is spoken here too, on bytes: one lock guards its state, so that one thread may read while
another writes, and a peer that never ends its handshake holds up nobody but itself. What is dropped, and who is shut
out, is counted by kind; a peer that sends what nobody asked for is read more slowly.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from controller import guard
from pricing.errors import ProtocolError, WardropError

INTRODUCTION_S = 10.0
"""Longest time from a connection to the name of its switch, TLS's handshake included (ours)."""

UNASKED_PER_S = 100
"""Messages that nobody asked for that are read from one switch in a second (ours)."""

PACKETS_PER_S = 1000
"""Packets that one switch may send up in a second; what is more is dropped (ours). Ours is told to send less."""

AUTHORITY = "authority.pem"
"""The certificate that signed the others."""

CONTROLLER, SWITCH = "controller", "switch"
"""Who has a certificate: `ROLE-certificate.pem` and `ROLE-key.pem`."""

_CHUNK = 1 << 16


def tls(folder: Path) -> ssl.SSLContext:
    """The controller's side of TLS, with files that `controller.certificates` made; switches must show theirs.

    Raises
    ------
    WardropError
        When the files cannot be used.
    """
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.verify_mode = ssl.CERT_REQUIRED
    try:
        found.load_cert_chain(folder / f"{CONTROLLER}-certificate.pem", folder / f"{CONTROLLER}-key.pem")
        found.load_verify_locations(folder / AUTHORITY)
    except OSError as error:  # ssl.SSLError too
        raise WardropError(
            f"--certificates {folder}: {error.strerror or error}; a folder made by `bin/wardrop certificates DIR` is "
            "accepted"
        ) from error
    return found


@dataclass
class Refusals:
    """What was not let in from switches, by kind; the first of each kind is logged, and then one a minute at most.

    The kinds are 'malformed' and 'handshake', after which the connection was closed, 'crowd', a connection too many,
    and 'unasked', a message that was dropped.
    """

    counts: Counter[str] = field(default_factory=Counter)
    _logged: dict[str, float] = field(default_factory=dict)

    def note(self, kind: str, why: str) -> None:
        """Count one."""
        self.counts[kind] += 1
        now = time.monotonic()
        if now - self._logged.get(kind, -60.0) >= 60.0:
            self._logged[kind] = now
            structlog.get_logger().warning("refused", kind=kind, why=why)


class Secure:
    """TLS on a socket, for one thread that reads and one that writes."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._lock = threading.Lock()

    def handshake(self, deadline: float) -> None:
        """Agree with the peer.

        Raises
        ------
        OSError
            When it does not, within the time; `ssl.SSLError` is one.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if time.monotonic() > deadline:
                    raise TimeoutError("TLS handshake") from None
                self._feed()
            except ssl.SSLError:
                self._flush()  # an alert tells the peer why
                raise
            else:
                self._flush()
                return

    def recv(self, size: int) -> bytes:
        """Some bytes, none at the end; raises OSError as a socket does."""
        while True:
            try:
                with self._lock:
                    return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._feed()
            except ssl.SSLZeroReturnError:
                return b""

    def sendall(self, data: bytes) -> None:
        """Send all of it; raises OSError as a socket does."""
        with self._lock:
            if data:
                self._tls.write(data)
            self._flush()

    def _feed(self) -> None:
        data = self._plain.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("the peer closed the connection")
        with self._lock:
            self._incoming.write(data)

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._plain.sendall(data)


@dataclass
class Door:
    """How switches come in, `most` at a time: with TLS where there is a context for it."""

    context: ssl.SSLContext | None
    refusals: Refusals
    most: int

    def open(self, plain: socket.socket) -> Channel:
        """What is spoken on; raises OSError when TLS does not come about."""
        return Channel(plain, self.context, self.refusals)

    def refused(self, kind: str, why: str) -> None:
        """Note a connection that was ended."""
        self.refusals.note(kind, why)


class Channel:
    """What the framework takes for a switch's socket.

    Parameters
    ----------
    plain : socket
    context : ssl.SSLContext, optional
        TLS is spoken where it is given.
    refusals : Refusals

    Raises
    ------
    OSError
        When TLS does not come about.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext | None, refusals: Refusals) -> None:
        self._plain = plain
        self._deadline: float | None = time.monotonic() + INTRODUCTION_S
        self._refusals = refusals
        self._raw, self._ready = bytearray(), bytearray()
        self._second, self._unasked, self._packets = 0.0, 0, 0
        self._stream: socket.socket | Secure = plain
        plain.settimeout(INTRODUCTION_S)
        if context is not None:
            self._stream = Secure(plain, context)
            self._stream.handshake(self._deadline)

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes of messages that may be read; none at the end of the connection, or of our patience."""
        while not self._ready:
            try:
                data = self._stream.recv(_CHUNK)
            except TimeoutError:
                if self._late():
                    return b""
                raise
            except OSError:
                return b""  # TLS that cannot go on is one of these
            if not data or self._late():
                return b""
            self._raw += data
            try:
                self._sort()
            except ProtocolError as error:
                self._refusals.note("malformed", str(error))
                return b""
        found = bytes(self._ready[:size])
        del self._ready[:size]
        return found

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._stream.sendall(data)

    def settimeout(self, seconds: float) -> None:
        """How long a call may take."""
        self._plain.settimeout(seconds)

    def setsockopt(self, level: int, name: int, value: int) -> None:
        """As a socket's."""
        self._plain.setsockopt(level, name, value)

    def shutdown(self, how: int) -> None:
        """As a socket's."""
        self._plain.shutdown(how)

    def close(self) -> None:
        """End the connection."""
        self._plain.close()

    def _late(self) -> bool:
        late = self._deadline is not None and time.monotonic() > self._deadline
        if late:
            self._refusals.note("handshake", f"no switch introduced itself within {INTRODUCTION_S:.0f} s")
        return late

    def _sort(self) -> None:
        """Hand whole messages on, or drop them.

        Raises
        ------
        ProtocolError
            When one is malformed.
        """
        while len(self._raw) >= guard.HEADER.size:
            kind, length = guard.heading(self._raw)
            if len(self._raw) < length:
                return
            message = guard.admitted(bytes(self._raw[:length]))
            del self._raw[:length]
            if message is None or (kind == guard.PACKET_IN and self._crowded()):
                self._drop(kind)
                continue
            if kind == guard.FEATURES_REPLY:
                self._deadline = None
            self._ready += message

    def _crowded(self) -> bool:
        """Count a packet, and say whether it is one too many in its second."""
        self._count(time.monotonic())
        self._packets += 1
        return self._packets > PACKETS_PER_S

    def _drop(self, kind: int) -> None:
        """Count a message that nobody asked for; too many in a second make the reader wait for the next."""
        self._refusals.note("unasked", f"a message of kind {kind}, for which nobody asked, was dropped")
        now = time.monotonic()
        self._count(now)
        self._unasked += 1
        if self._unasked > UNASKED_PER_S:
            time.sleep(max(0.0, self._second + 1.0 - now))

    def _count(self, now: float) -> None:
        """Begin to count anew when a second is over."""
        if now - self._second >= 1.0:
            self._second, self._unasked, self._packets = now, 0, 0
