"""What agents say to each other, and its bytes: prices by price agents, loads by source agents.

| part | bytes | what |
|---|---|---|
| mark | 2 | `W1` |
| kind | 1 | 0 prices, 1 loads |
| count | 1 | of the entries |
| origin | 2 | of the agent: its own number among its kind |
| number | 4 | of the message, ascending |
| time | 8 | s of a clock that all share, to some tenths of a second |
| span | 4 | s that a price is a mean over; 0 for loads |
| entry | 6 each | resource (2), value (4) |

Network order, values as IEEE 754 of 4 bytes: a price tells a load to a ten millionth of the headroom. So an agent with
n resources says 22 + 6 n bytes, and UDP, IP and Ethernet add 42.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pricing.errors import ProtocolError
from pricing.network import FRAME_OVERHEAD_BITS

Kind = Literal["prices", "loads"]
KINDS: tuple[Kind, ...] = ("prices", "loads")

_MARK = b"W1"
_HEAD = struct.Struct("!2sBBHIdf")
_ENTRY = struct.Struct("!Hf")

GROUP, PORT = "239.255.87.1", 7087
"""Where all that is said goes: a UDP multicast group of the administratively scoped range (RFC 2365), ours."""

MOST_ENTRIES = 255
"""Entries that one message holds."""


@dataclass(frozen=True)
class Message:
    """What an agent says at one time.

    Parameters
    ----------
    kind : 'prices' or 'loads'
    origin : int
        The agent's number among its kind.
    number : int
        Of the message, ascending from 1.
    time : float
        s: the end of the mean (prices), or since when it is so (loads).
    span : float
        Length of the mean, s.
    values : mapping of a resource's index to its marginal cost (s) or to the sender's load (bit/s or work/s)
    """

    kind: Kind
    origin: int
    number: int
    time: float
    span: float
    values: Mapping[int, float]

    @property
    def octets(self) -> int:
        """Bytes of its frame."""
        return _HEAD.size + _ENTRY.size * len(self.values) + FRAME_OVERHEAD_BITS // 8


def encode(message: Message) -> bytes:
    """The bytes of a message of at most `MOST_ENTRIES` entries."""
    head = _HEAD.pack(
        *(_MARK, KINDS.index(message.kind), len(message.values)),
        *(message.origin, message.number & 0xFFFFFFFF, message.time, message.span),
    )
    return head + b"".join(_ENTRY.pack(resource, value) for resource, value in message.values.items())


def decode(data: bytes, resources: int) -> Message:
    """The message that `encode` wrote, of a network with so many resources.

    Raises
    ------
    ProtocolError
        When it is none: its mark, kind or length is wrong, it names a resource that there is not, or a value below 0.
    """
    if len(data) < _HEAD.size:
        raise ProtocolError(f"an agent's message of {len(data)} bytes; {_HEAD.size} at least are accepted")
    mark, kind, count, origin, number, time, span = _HEAD.unpack_from(data)
    values = dict(_ENTRY.iter_unpack(data[_HEAD.size :])) if (len(data) - _HEAD.size) % _ENTRY.size == 0 else {}
    if mark != _MARK or kind >= len(KINDS) or len(values) != count or not span >= 0 or not abs(time) < 1e12:
        raise ProtocolError(f"not an agent's message: {data[: _HEAD.size].hex()} and {len(data) - _HEAD.size} bytes")
    if any(resource >= resources or not value >= 0 for resource, value in values.items()):
        raise ProtocolError(f"an agent's message names a resource beyond {resources - 1}, or a value below 0")
    return Message(KINDS[kind], origin, number, time, span, values)
