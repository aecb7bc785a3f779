"""The ways that packets really take: probes are sent, seen at every cable, and counted by the rules on their way.

A probe is a UDP packet from one host to an address, with a mark in its payload; probes of many source ports are many
flows, which a split sends by different routes. A packet socket in the switches' namespace sees each frame that leaves a
switch, with the label it carries there. The flows are sent a second time to see the rules' own counters rise, hop by
hop; packets of others on the same route count there too. Probes that arrive are answered where nobody else does it:
servers that are asked and say nothing would count as failed. On the bypass of a failed link frames carry a VLAN tag and
are not seen, which `...` stands for; they are again where the bypass ends.

Python's own library and Open vSwitch's tools are all that it needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import secrets
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pricing.errors import EmulationError
from topologies.faults import Wiring
from topologies.hosts.sockets import SO_RCVBUFFORCE
from topologies.namespaces import inside

FLOWS = 32
"""Flows that are sent (ours)."""

PORT, SOURCES = 9, range(41_000, 41_000 + FLOWS)
"""Probes go to the port of `discard`, from these source ports, one a flow; nothing else is answered there."""

PACE_S, WAIT_S, COUNT_WAIT_S = 0.002, 0.5, 3.0
"""Between two probes; after the last; and for counters, which follow the packets (ours)."""

PREFIX = "02:57"
"""How the label of a route begins in `eth_dst`."""

ETH_P_ALL, OUTGOING = 0x0003, 4
SO_ATTACH_FILTER, BUFFER = 26, 1 << 23
_FILTER = [
    (0x28, 0, 0, 12),  # EtherType
    (0x15, 0, 5, 0x0800),
    (0x30, 0, 0, 23),  # protocol
    (0x15, 0, 3, 17),
    (0x28, 0, 0, 36),  # destination port behind an IP header of 20 bytes
    (0x15, 0, 1, PORT),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
]
"""Classic BPF: UDP to our port."""


@dataclass(frozen=True)
class Hop:
    """A frame that left a switch: by which interface, and with which destination MAC."""

    interface: str
    mac: str


@dataclass(frozen=True)
class Way:
    """What flows had in common.

    Parameters
    ----------
    hops : tuple of Hop
        Empty for packets that no switch let out.
    flows : int
    counted : tuple of int or None
        By how much the rule of each hop's switch rose when all flows of all ways were sent again; None where the way
        has no rule of its own that could be found.
    """

    hops: tuple[Hop, ...]
    flows: int
    counted: tuple[int | None, ...]


def label_text(number: int) -> str:
    """The label of a route's number, without the status behind it.

    >>> label_text(258)
    '02:57:01:02'
    """
    return f"{PREFIX}:{number >> 8:02x}:{number & 0xFF:02x}"


def trace(wiring: Wiring, run: Callable[..., str], host: int, address: str, hosts: Iterable[int]) -> list[Way]:
    """Send probes and tell their ways, the most used first.

    Parameters
    ----------
    wiring : Wiring
        The calling thread is in the namespace of its switches.
    run : callable
        Runs a command where the switches are.
    host : int
        Process id in the sender's namespace.
    address : str
        IP address that probes are sent to.
    hosts : iterable of int
        Process ids in the namespaces of all hosts; those that have the address answer.

    Raises
    ------
    EmulationError
        When the host has no way to the address at all.
    """
    with _answering(hosts, address) as answerers:
        seen = _send(wiring, host, address, answerers)
        shares = Counter(seen.values())
        rules = {hops: _rules(wiring, hops, address) for hops in shares}
        wanted = sorted({rule for found in rules.values() for rule in found})
        before = {rule: _count(run, rule) for rule in wanted}
        _send(wiring, host, address, answerers)
    due = {rule: sum(n for hops, n in shares.items() if rule in rules[hops]) for rule in wanted}
    deadline = time.monotonic() + COUNT_WAIT_S
    rose: dict[tuple[str, str], int | None] = {}
    while time.monotonic() < deadline:
        now = {rule: _count(run, rule) for rule in wanted}
        rose = {rule: None if (n := now[rule]) is None or (b := before[rule]) is None else n - b for rule in wanted}
        if all(count is None or count >= due[rule] for rule, count in rose.items()):
            break
        time.sleep(0.1)
    return [Way(hops, n, tuple(rose.get(rule) for rule in rules[hops])) for hops, n in shares.most_common()]


def told(wiring: Wiring, source: str, ways: list[Way]) -> str:
    """Ways as a person reads them: a paragraph each."""
    ends = {end.interface: end for end in wiring.ends}
    lines = []
    for way in ways:
        if not way.hops:
            lines.append(f"{way.flows} of {FLOWS} flows: let out by no switch")
            continue
        places = [source, ends[way.hops[0].interface].node]
        for hop, following in zip(way.hops, way.hops[1:], strict=False):
            towards, node = ends[hop.interface].towards, ends[following.interface].node
            places += [node] if node == towards else [towards, "...", node]
        end = ends[way.hops[-1].interface].towards
        stop = "" if end not in wiring.bridges else ", and were lost there"
        lines.append(f"{way.flows} of {FLOWS} flows: {' > '.join([*places, end])}{stop}")
        for hop, count in zip(way.hops, way.counted, strict=True):
            labelled = hop.mac.startswith(PREFIX)
            carried = f"label {hop.mac[:11]}" if labelled else f"to {hop.mac}"
            rose = "" if count is None else f", its rule counted {count} when all were sent again"
            lines.append(f"    {ends[hop.interface].node:<16} out by {hop.interface:<12} {carried}{rose}")
    return "\n".join(lines)


def _send(wiring: Wiring, host: int, address: str, answerers: Sequence[socket.socket]) -> dict[int, tuple[Hop, ...]]:
    """Send a probe of each flow, and answer those that arrive; the hops of each."""
    mark = secrets.token_bytes(8)
    ours = {end.interface for end in wiring.ends}
    seen: dict[int, list[Hop]] = {flow: [] for flow in range(FLOWS)}
    with _capture() as capture, selectors.DefaultSelector() as selector, contextlib.ExitStack() as probes:
        for receiver in (capture, *answerers):
            selector.register(receiver, selectors.EVENT_READ, receiver)
        with inside(Path(f"/proc/{host}/ns/net")):
            try:
                for flow, source in enumerate(SOURCES):
                    probe = probes.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    probe.bind(("", source))
                    probe.sendto(mark + struct.pack("!H", flow), (address, PORT))
                    time.sleep(PACE_S)
            except OSError as error:
                raise EmulationError(f"no probe leaves the host: {error.strerror}; try `ping` there") from error
        deadline = time.monotonic() + WAIT_S
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if key.data is not capture:
                    _answer(key.data)
                    continue
                frame, (interface, _, kind, *_) = capture.recvfrom(2048)
                if kind == OUTGOING and interface in ours and frame[42:50] == mark:
                    (flow,) = struct.unpack("!H", frame[50:52])
                    seen[flow].append(Hop(interface, frame[:6].hex(":")))
    return {flow: tuple(hops) for flow, hops in seen.items()}


def _answer(answerer: socket.socket) -> None:
    """Send a probe that has arrived back to where it came from."""
    probe, sender = answerer.recvfrom(2048)
    if sender[1] in SOURCES:
        with contextlib.suppress(OSError):  # a host that just lost its way says nothing
            answerer.sendto(probe, sender)


@contextlib.contextmanager
def _answering(hosts: Iterable[int], address: str) -> Iterator[list[socket.socket]]:
    """A socket for the probes that arrive at each host with this address."""
    with contextlib.ExitStack() as sockets:
        found = []
        for host in hosts:
            with inside(Path(f"/proc/{host}/ns/net")):
                answerer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                answerer.bind((address, PORT))
            except OSError:  # not its address, or somebody answers there already
                answerer.close()
            else:
                found.append(sockets.enter_context(answerer))
        yield found


@contextlib.contextmanager
def _capture() -> Iterator[socket.socket]:
    """A socket that sees every probe on every interface of the calling thread's namespace."""
    program = b"".join(struct.pack("HBBI", *step) for step in _FILTER)
    buffer = ctypes.create_string_buffer(program)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as capture:
        filters = struct.pack("HL", len(_FILTER), ctypes.addressof(buffer))
        capture.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filters)
        capture.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        yield capture


def _rules(wiring: Wiring, hops: tuple[Hop, ...], address: str) -> tuple[tuple[str, str], ...]:
    """For each hop its bridge and what its rule matches: the label, or the address where there is none."""
    nodes = {end.interface: end.node for end in wiring.ends}
    labels = [hop.mac if hop.mac.startswith(PREFIX) else None for hop in hops]
    found = []
    for place, hop in enumerate(hops):
        # the last switch has taken the label off: it went by the one that it received
        label = labels[place] or (labels[place - 1] if place else None)
        match = f"table=4,dl_dst={label[:11]}:00:00/ff:ff:ff:ff:00:00" if label else f"table=5,ip,nw_dst={address}"
        found.append((wiring.bridges[nodes[hop.interface]], match))
    return tuple(found)


def _count(run: Callable[..., str], rule: tuple[str, str]) -> int | None:
    """Packets that a rule has counted; None where there is not exactly one."""
    bridge, match = rule
    counts = re.findall(r"n_packets=(\d+)", run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", bridge, match))
    return int(counts[0]) if len(counts) == 1 else None
