"""Which slot a packet takes: Open vSwitch's `symmetric_l3l4+udp` hash and `modulo_n`, in NumPy.

The ingress switch sends each packet to one of N slots with the action `multipath(symmetric_l3l4+udp, basis, modulo_n,
N, 0, reg)`. The hash takes the exclusive or of the two addresses, the protocol, and for TCP and UDP the exclusive or
of the two ports, so that both directions of a conversation have the same slot. It is MurmurHash3's 32-bit mixing
(A. Appleby, public domain), three words without the length at the end, as Open vSwitch computes it on a processor
for which it was built without SSE 4.2 (Debian's build for x86-64). Knowing it, slots can be dealt by what each of
them carries, and a test can say where a packet goes. That it is the right hash is tested against a real switch.
"""

from __future__ import annotations

import socket
import struct

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint32]

TCP, UDP = 6, 17


def _rotate(value: Words, bits: int) -> Words:
    return (value << np.uint32(bits)) | (value >> np.uint32(32 - bits))


def _add(state: Words, word: Words) -> Words:
    """Mix one word into the state."""
    word = _rotate(word * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    return _rotate(state ^ word, 13) * np.uint32(5) + np.uint32(0xE6546B64)


def _finish(state: Words) -> Words:
    """The last mixing, in which each bit of the state touches each bit of the hash."""
    state = state ^ (state >> np.uint32(16))
    state = state * np.uint32(0x85EBCA6B)
    state = state ^ (state >> np.uint32(13))
    state = state * np.uint32(0xC2B2AE35)
    return state ^ (state >> np.uint32(16))


def _host_order(address: str) -> int:
    """The four bytes of an address as this processor reads them from the packet."""
    return int(struct.unpack("=I", socket.inet_aton(address))[0])


def slots_of(
    src_ip: str,
    dst_ip: str,
    proto: int,
    src_ports: ArrayLike,
    dst_ports: ArrayLike,
    slots: int,
    basis: int = 0,
) -> NDArray[np.int64]:
    """Slots of many conversations between two hosts.

    Parameters
    ----------
    src_ip, dst_ip : str
        IPv4 addresses; their order does not matter.
    proto : int
        IP protocol; ports count for 6 (TCP) and 17 (UDP) alone.
    src_ports, dst_ports : array of int, broadcast together
    slots : int
        Number N of slots.
    basis : int
        The seed that the action names.

    Returns
    -------
    array of int
        Slot in 0 .. N - 1 of each pair of ports.
    """
    ports = np.asarray(src_ports, dtype=np.uint16) ^ np.asarray(dst_ports, dtype=np.uint16)
    word = ports.astype(np.uint32)
    word = ((word & np.uint32(0xFF)) << np.uint32(8)) | (word >> np.uint32(8))  # bytes as they lie in the packet
    state = np.full(word.shape, basis, dtype=np.uint32)
    state = _add(state, np.full_like(word, _host_order(src_ip) ^ _host_order(dst_ip)))
    state = _add(state, np.full_like(word, proto))
    if proto in (TCP, UDP):
        state = _add(state, word)
    return (_finish(state ^ np.uint32(basis)) % np.uint32(slots)).astype(np.int64)


def slot_of(src_ip: str, dst_ip: str, proto: int, src_port: int, dst_port: int, slots: int, basis: int = 0) -> int:
    """Slot of one conversation; see `slots_of`.

    >>> slot_of("10.0.0.1", "10.9.0.1", 17, 4000, 5000, 512) == slot_of("10.9.0.1", "10.0.0.1", 17, 5000, 4000, 512)
    True
    """
    return int(slots_of(src_ip, dst_ip, proto, [src_port], [dst_port], slots, basis)[0])
