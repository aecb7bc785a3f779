"""What hosts are told of prices: a UDP datagram a tick, big-endian, to port 7010 of each host where sessions start.

| bytes | what |
|---|---|
| 4 | `wdp1` |
| 4 | number of the tick |
| 8 | time, ns of CLOCK_REALTIME |
| 2, 2 | rows that follow; 0 |
| 4 a row | the session's index in the network, as its requests carry it; its class |
| 8 a row | price of one request, currency; infinite where the session is not on offer |
| 8 a row | time that one request takes, s |

It comes from the gateway's address. One that is lost is followed by the next; an older one that overtakes is left out
by its tick.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pricing.errors import MeasurementError

PORT = 7010
"""UDP port at which hosts listen."""

MOST_ROWS = 70
"""Rows that fit into one Ethernet frame."""

_HEAD, _ROW = struct.Struct("!4sIQHH"), struct.Struct("!HHdd")
_MAGIC = b"wdp1"


@dataclass(frozen=True)
class Row:
    """What is announced of one session."""

    session: int
    klass: int
    price: float
    time: float


def written(tick: int, time_ns: int, rows: Iterable[Row]) -> list[bytes]:
    """The datagrams that announce rows."""
    every = list(rows)
    parts = [every[first : first + MOST_ROWS] for first in range(0, len(every), MOST_ROWS)]
    return [
        _HEAD.pack(_MAGIC, tick, time_ns, len(part), 0)
        + b"".join(_ROW.pack(row.session, row.klass, row.price, row.time) for row in part)
        for part in parts
    ]


def read(datagram: bytes) -> tuple[int, list[Row]]:
    """The tick and the rows of a datagram.

    Raises
    ------
    MeasurementError
        When it is no announcement, or is cut off.

    Examples
    --------
    >>> read(written(7, 0, [Row(3, 1, 0.5, 0.002)])[0])
    (7, [Row(session=3, klass=1, price=0.5, time=0.002)])
    """
    if len(datagram) < _HEAD.size or datagram[:4] != _MAGIC:
        raise MeasurementError(f"a datagram of {len(datagram)} bytes is no announcement: it begins with {_MAGIC!r}")
    _, tick, _, count, _ = _HEAD.unpack_from(datagram)
    if len(datagram) != _HEAD.size + count * _ROW.size:
        raise MeasurementError(f"an announcement of {count} rows has {len(datagram)} bytes: it was cut off")
    return tick, [Row(*row) for row in _ROW.iter_unpack(datagram[_HEAD.size :])]


def user_of(option: str) -> str:
    """The user whose option a session is, by its name; '' for a session that is nobody's.

    >>> user_of("few.left.2"), user_of("few")
    ('few', '')
    """
    return option.rsplit(".", 2)[0] if "." in option else ""
