"""What a switch may say: OpenFlow 1.3 messages, checked before anything else reads them.

The frameworks' parsers trust lengths that a message names: an element of length 0 keeps them in a loop for ever, and in
Ryu everything else with them. So every message is looked at first, as bytes: it is handed on, dropped because nobody
asked for it, or it is no OpenFlow, and its connection is closed. Of the counters of rules only the numbers are handed
on. What no framework's parser looks into is wrapped as a message of `OURS`: packets that a rule sends up, their port
before them; and what a switch holds, matches, actions and buckets, which is asked for with `WHOLE` in the transaction.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from pricing.errors import ProtocolError

VERSION = 4
"""OpenFlow 1.3."""

HEADER = struct.Struct("!BBHI")
"""Version, kind, length of the whole message, transaction (OpenFlow 1.3.5, 7.1)."""

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REPLY, PACKET_IN, PORT_STATUS, MULTIPART_REPLY, BARRIER_REPLY = (
    *(0, 1, 2, 3, 6),
    *(10, 12, 19, 21),
)
"""Kinds of message that are handed on."""

FLOW_STATS, PORT_STATS, GROUP_DESC, PORT_DESC = 1, 4, 7, 13
"""Kinds of multipart reply that are handed on."""

WHOLE = 1 << 31
"""Bit of a transaction whose answer is handed on as bytes."""

EXPERIMENTER, OURS = 4, 0x57617264
"""Kind of message that wraps such an answer, and whose it is; its own type is the reply's kind and flags."""

_MULTIPART = struct.Struct("!HHxxxx")
_RULE_STATS, _RULE_NUMBERS = 56, 48
"""Bytes of the counters of a rule with the shortest match; of these the numbers."""

_EMPTY_MATCH = struct.pack("!HHxxxx", 1, 4)

PACKET = 0xFFFF
"""In the place of a reply's kind: a packet, its port (4 bytes) before it."""

_PACKET_IN = struct.Struct("!IHBBQ")
"""Buffer, length of the packet, why it was sent, table and cookie of the rule (7.4.1); then come match and packet."""

_BY_RULE, _IN_PORT = 1, 0x8000_0004
"""Why: a rule said so. The match field of the port where the packet came in."""

LONGEST_PACKET = 2048
"""Bytes of a packet that is handed on; hosts' frames are shorter."""


def heading(data: bytes | bytearray) -> tuple[int, int]:
    """Kind and length of the message that begins here.

    Raises
    ------
    ProtocolError
        When no message begins so.
    """
    version, kind, length, _ = HEADER.unpack_from(data)
    if length < HEADER.size:
        raise ProtocolError(f"a message of {length} bytes; {HEADER.size} and more are accepted")
    if version != VERSION and (kind != HELLO or version == 0):
        raise ProtocolError(f"a message of version {version}; OpenFlow 1.3 ({VERSION}) is accepted")
    return kind, length


def admitted(message: bytes) -> bytes | None:
    """A whole message as it is handed on, or None when it is to be dropped.

    Raises
    ------
    ProtocolError
        When it is malformed.

    Notes
    -----
    O(length).
    """
    kind, _ = heading(message)
    check = _CHECKS.get(kind)
    return check(message) if check else None


def _at_least(size: int) -> Callable[[bytes], bytes | None]:
    def check(message: bytes) -> bytes | None:
        if len(message) < size:
            raise ProtocolError(f"a message of kind {message[1]} with {len(message)} bytes; it has {size} at least")
        return message

    return check


def _hello(message: bytes) -> bytes | None:
    """Its elements fill it; each names its length, a multiple of 8."""
    offset = HEADER.size
    while offset < len(message):
        length = int.from_bytes(message[offset + 2 : offset + 4], "big")
        if length < 8 or length % 8 or offset + length > len(message):
            raise ProtocolError(f"a hello with an element of {length} bytes at {offset} of {len(message)}")
        offset += length
    return message


def _multipart(message: bytes) -> bytes | None:
    head = HEADER.size + _MULTIPART.size
    if len(message) < head:
        raise ProtocolError(f"a multipart reply of {len(message)} bytes; {head} and more are accepted")
    kind, flags = _MULTIPART.unpack_from(message, HEADER.size)
    version, _, _, xid = HEADER.unpack_from(message)
    if xid & WHOLE and kind in (FLOW_STATS, GROUP_DESC):
        body = struct.pack("!IHH", OURS, kind, flags) + message[head:]
        return HEADER.pack(version, EXPERIMENTER, HEADER.size + len(body), xid) + body
    if kind == FLOW_STATS:
        return _rule_counters(message, head)
    size = {PORT_STATS: 112, PORT_DESC: 64}.get(kind)
    if size is None:
        return None
    if (len(message) - head) % size:
        raise ProtocolError(f"a multipart reply of kind {kind} with {len(message) - head} bytes, no multiple of {size}")
    return message


def _packet_in(message: bytes) -> bytes | None:
    """The port and the bytes of a packet that a rule sent up."""
    head = HEADER.size + _PACKET_IN.size
    _at_least(head)(message)
    if message[HEADER.size + 6] != _BY_RULE:
        return None
    _at_least(head + len(_EMPTY_MATCH) + 2)(message)
    length = int.from_bytes(message[head + 2 : head + 4], "big")
    begin = head + (length + 7) // 8 * 8 + 2
    if length < 4 or begin > len(message):
        raise ProtocolError(f"a packet with a match of {length} bytes in a message of {len(message)}")
    place, port = head + 4, b""
    while place + 4 <= head + length:
        field = int.from_bytes(message[place : place + 4], "big")
        if field == _IN_PORT:
            port = message[place + 4 : place + 8]
        place += 4 + (field & 0xFF)
    if place != head + length:
        raise ProtocolError(f"a packet with a match of {length} bytes that its fields do not fill")
    if len(port) != 4 or len(message) - begin > LONGEST_PACKET:
        return None
    version, _, _, xid = HEADER.unpack_from(message)
    body = struct.pack("!IHH", OURS, PACKET, 0) + port + message[begin:]
    return HEADER.pack(version, EXPERIMENTER, HEADER.size + len(body), xid) + body


def _rule_counters(message: bytes, head: int) -> bytes:
    """The same reply with the numbers of each rule alone."""
    entries, offset = [], head
    while offset < len(message):
        length = int.from_bytes(message[offset : offset + 2], "big")
        if length < _RULE_STATS or length % 8 or offset + length > len(message):
            raise ProtocolError(f"counters of a rule with {length} bytes at {offset} of {len(message)}")
        numbers = message[offset + 2 : offset + _RULE_NUMBERS]
        entries.append(_RULE_STATS.to_bytes(2, "big") + numbers + _EMPTY_MATCH)
        offset += length
    version, kind, _, xid = HEADER.unpack_from(message)
    length = head + len(entries) * _RULE_STATS
    return HEADER.pack(version, kind, length, xid) + message[HEADER.size : head] + b"".join(entries)


_CHECKS: Mapping[int, Callable[[bytes], bytes | None]] = {
    HELLO: _hello,
    ERROR: _at_least(12),
    ECHO_REQUEST: _at_least(8),
    ECHO_REPLY: _at_least(8),
    FEATURES_REPLY: _at_least(32),
    PACKET_IN: _packet_in,
    PORT_STATUS: _at_least(80),
    MULTIPART_REPLY: _multipart,
    BARRIER_REPLY: _at_least(8),
}
