"""The one place that sends: a delta becomes messages in a safe order, and each is acknowledged before the next phase.

A packet meets the tables from the first to the last, and switches from the ingress to the egress. So rules are added
from the end: groups, where labels lead (tables 5, 4, 3), then the slots that name labels (2) and what takes labelled
packets in from another switch (0), then what admits packets of hosts (0). After each phase every switch answers a
barrier. Deletes come last, in the opposite order. A packet never meets a rule that leads to nothing.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from controller.encode import Encoder
from controller.framework import Framework
from controller.guard import GROUP_DESC, PACKET, WHOLE
from controller.health import Port
from controller.holdings import Held, groups_in, rules_in
from controller.measure import Count, Key
from controller.membership import Heard
from controller.pipeline import ADMIT, FORWARD, SLOTS
from controller.rules import Change, Delta, Entry, Goto, Group
from pricing.errors import InstallError

MOST_HEARD = 10_000
"""Packets that are kept until the next tick; what comes in a flood pushes out what came before it (ours)."""

Phase = tuple[Change, ...]
Batch = list[Change | None]
"""Changes for one switch, in any order; None deletes every rule of it."""


def phases(delta: Delta) -> tuple[Phase, ...]:
    """The changes of a delta in the order in which they may be sent, a barrier after each phase; empty phases left out.

    Within a phase the order does not matter: what one phase adds is reached only through a later one.
    """
    adds: list[list[Change]] = [[], [], [], []]
    deletes: list[list[Change]] = [[], [], [], []]
    for change in delta:
        (deletes if change.kind == "delete" else adds)[_stage(change.entry)].append(change)
    return tuple(tuple(phase) for phase in [*adds, *deletes[::-1]] if phase)


def _stage(entry: Entry) -> int:
    """When it is added: groups (0); where labels lead (1); what names labels, or takes them in (2); the rest (3)."""
    if isinstance(entry, Group):
        return 0
    if entry.table == ADMIT:
        return 2 if entry.actions in ((), (Goto(FORWARD),)) else 3
    return 2 if entry.table == SLOTS else 1


@dataclass
class _Exchange:
    """Messages on their way, and what came back."""

    waits: set[tuple[int, int]] = field(default_factory=set)
    meanings: dict[tuple[int, int], Change | None] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    replies: list[tuple[int, float, Any]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


class Switchboard:
    """The switches that are connected, and the exchange of messages with them.

    It is a `framework.Listener`: its first four methods are called from the framework's threads, the others from the
    one that runs the ticks.

    Parameters
    ----------
    framework : Framework
    names : mapping of datapath id to switch name
    packets : bool
        Whether rules send packets to us.
    """

    def __init__(self, framework: Framework, names: Mapping[int, str], packets: bool = False) -> None:
        self.framework = framework
        self._packets = packets
        self._heard: deque[Heard] = deque(maxlen=MOST_HEARD)
        self._encoder = Encoder(framework)
        self.names = dict(names)
        self.datapaths: dict[Any, Any] = {}
        self.arrivals: list[str] = []
        self.failures: deque[Exception] = deque(maxlen=8)
        self.dead: frozenset[Port] = frozenset()
        self._changed = threading.Condition()
        self._xids = itertools.count(1 << 24)
        self._exchange = _Exchange()

    def connected(self, datapath: Any) -> None:
        """Note a switch, by its newest connection; one that the plant does not know is left alone."""
        if datapath.id in self.names:
            request = self.framework.quiet(datapath, self._packets)
            request.set_xid(next(self._xids))
            request.serialize()
            datapath.send(bytes(request.buf))
            with self._changed:
                before = self.datapaths.get(datapath.id)
                self.datapaths[datapath.id] = datapath
                self.arrivals.append(self.names[datapath.id])
                self._changed.notify_all()
            if before is not None:
                before.close()

    def gone(self, datapath: Any) -> None:
        """Forget a switch, unless it is back already by another connection."""
        with self._changed:
            if self._speaks(datapath):
                del self.datapaths[datapath.id]
                self._changed.notify_all()

    def received(self, datapath: Any, message: Any) -> None:
        """Match a reply or an error with what was asked; what comes by another connection is nobody's answer."""
        if not self._speaks(datapath):
            return
        if isinstance(message, self.framework.parser.OFPPortStatus):
            gone = message.reason == self.framework.ofproto.OFPPR_DELETE or not self.framework.alive(message.desc)
            port = self.names[datapath.id], message.desc.port_no
            with self._changed:
                if (port in self.dead) != gone:  # anything else is no news, and no reason for a tick
                    self.dead ^= {port}
            return
        wrapped = isinstance(message, self.framework.parser.OFPExperimenter)
        if wrapped and message.exp_type >> 16 == PACKET:
            data = bytes(message.data)
            if self._packets:
                number = int.from_bytes(data[:4], "big")
                self._heard.append(Heard(self.names[datapath.id], number, data[4:], monotonic()))
            return
        exchange, key = self._exchange, (datapath.id, message.xid)
        if isinstance(message, self.framework.parser.OFPErrorMsg):
            if key in exchange.meanings or key in exchange.waits:
                change = exchange.meanings.get(key)
                what = "a request" if key in exchange.waits else str(change or "delete all rules")
                code = f"OpenFlow error type {message.type} code {message.code}"
                exchange.errors.append((self.names[datapath.id], f"{what}: {code}"))
                exchange.waits.discard(key)
        elif key in exchange.waits:
            if not isinstance(message, self.framework.parser.OFPBarrierReply):
                exchange.replies.append((datapath.id, monotonic(), message))
                if (message.exp_type if wrapped else message.flags) & self.framework.ofproto.OFPMPF_REPLY_MORE:
                    return
            exchange.waits.discard(key)
        if not exchange.waits:
            exchange.done.set()

    def _speaks(self, datapath: Any) -> bool:
        """Whether this is the connection of a switch that the plant knows."""
        return datapath.id in self.datapaths and self.datapaths[datapath.id] is datapath

    def failed(self, error: Exception) -> None:
        """Keep a handler's failure for the next tick to report."""
        self.failures.append(error)

    @property
    def missing(self) -> list[str]:
        """Names of the switches that are not connected."""
        return sorted(name for dpid, name in self.names.items() if dpid not in self.datapaths)

    def wait_for_all(self, timeout: float) -> None:
        """Wait until every switch of the plant is connected.

        Raises
        ------
        InstallError
            When the time is over; it names the missing switches.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self.missing, timeout):
                raise InstallError(
                    f"{len(self.missing)} of {len(self.names)} switches did not connect within {timeout:.0f} s: "
                    f"{', '.join(self.missing[:8])}; check that their controller is this address"
                )

    def heard(self) -> list[Heard]:
        """Packets that switches have sent up since the last call, the first first."""
        return [self._heard.popleft() for _ in range(len(self._heard))]

    def arrived(self) -> list[str]:
        """Names of the switches that connected since the last call."""
        with self._changed:
            names, self.arrivals = sorted(set(self.arrivals)), []
            return names

    def install(self, delta: Delta, timeout: float) -> None:
        """Send a delta, phase by phase, and wait for every barrier.

        Raises
        ------
        InstallError
            When a switch is not connected, refuses a rule (naming switch, rule and OpenFlow's code) or does not
            answer its barrier within `timeout` seconds.
        """
        for phase in phases(delta):
            batches: dict[str, Batch] = {}
            for change in phase:
                batches.setdefault(change.switch, []).append(change)
            self._confirm({self._datapath(name).id: batch for name, batch in batches.items()}, timeout)

    def wipe(self, switches: Iterable[str], timeout: float) -> None:
        """Delete every rule of switches whose rules are not known.

        Raises
        ------
        InstallError
            As `install`.
        """
        self._confirm({self._datapath(name).id: [None] for name in switches}, timeout)

    def held(self, switches: Iterable[str], timeout: float) -> dict[str, Held]:
        """The rules and groups that these switches hold; those that do not tell all of it are left out."""
        names = set(switches)
        found: dict[str, dict[int, tuple[Entry, bytes]]] = {name: {} for name in names}
        for request in (self.framework.rules, self.framework.groups):
            asked: dict[int, Batch] = {d: [] for d, name in self.names.items() if name in found and d in self.datapaths}
            exchange = self._ask(asked, request, timeout, WHOLE)
            for dpid, _, message in exchange.replies:
                body, groups = bytes(message.data), message.exp_type >> 16 == GROUP_DESC
                found[self.names[dpid]].update(groups_in(body) if groups else rules_in(body, self._encoder.read))
            silent = {self.names[dpid] for dpid, _ in exchange.waits} | {name for name, _ in exchange.errors}
            told = {self.names[dpid] for dpid in asked} - silent
            found = {name: entries for name, entries in found.items() if name in told}
        return dict(found)

    def written(self, entry: Entry) -> bytes:
        """What an entry is and does, in the bytes in which a switch tells it."""
        return self._encoder.told(entry)

    def look(self, switches: Iterable[str], timeout: float) -> None:
        """Learn which ports of these switches are dead; from then on they tell by themselves."""
        names = set(switches)
        if not names:
            return
        asked: dict[int, Batch] = {dpid: [] for dpid, name in self.names.items() if name in names}
        exchange = self._ask(asked, self.framework.ports, timeout)
        told = {self.names[dpid] for dpid, _, _ in exchange.replies}
        found = {
            (self.names[dpid], port.port_no)
            for dpid, _, message in exchange.replies
            for port in message.body
            if not self.framework.alive(port)
        }
        with self._changed:
            self.dead = frozenset(port for port in self.dead if port[0] not in told) | found

    def send(self, frames: Iterable[tuple[str, int, bytes]]) -> None:
        """Let switches send frames out of their ports, (switch, port, frame) each; nobody says whether they arrive."""
        dpids = {name: dpid for dpid, name in self.names.items()}
        for name, port, frame in frames:
            datapath = self.datapaths.get(dpids[name])
            if datapath is not None:
                message = self.framework.packet(datapath, port, frame)
                message.set_xid(next(self._xids))
                message.serialize()
                datapath.send(bytes(message.buf))

    def counts(self, timeout: float) -> tuple[dict[Key, Count], list[str]]:
        """Counters of all ports and counted rules of the switches that answer, and a line for each that does not."""
        found: dict[Key, Count] = {}
        silent = dict.fromkeys(self.missing, "not connected")
        for request in (self.framework.port_counters, self.framework.rule_counters):
            exchange = self._ask({dpid: [] for dpid in sorted(self.datapaths)}, request, timeout)
            silent.update({self.names[dpid]: f"no counters within {timeout} s" for dpid, _ in exchange.waits})
            silent.update(dict(exchange.errors))
            for dpid, when, message in exchange.replies:
                found.update(_counts(self.names[dpid], when, message.body))
        return found, [f"switch {name}: {why}" for name, why in sorted(silent.items())]

    def _datapath(self, name: str) -> Any:
        for dpid, datapath in list(self.datapaths.items()):
            if self.names[dpid] == name:
                return datapath
        raise InstallError(f"switch {name} is not connected; its rules stay as they were acknowledged")

    def _confirm(self, batches: Mapping[int, Batch], timeout: float) -> None:
        exchange = self._ask(batches, self.framework.parser.OFPBarrierRequest, timeout)
        if exchange.errors:
            more = f" ({len(exchange.errors) - 1} more)" if len(exchange.errors) > 1 else ""
            name, what = exchange.errors[0]
            raise InstallError(f"switch {name} refused: {what}{more}")
        if exchange.waits:
            names = ", ".join(sorted(self.names[dpid] for dpid, _ in exchange.waits))
            raise InstallError(f"switch {names}: no answer to a barrier within {timeout} s; is Open vSwitch alive?")

    def _ask(
        self, batches: Mapping[int, Batch], closing: Callable[[Any], Any], timeout: float, mark: int = 0
    ) -> _Exchange:
        """Send changes and a closing request to each switch, and wait until all of these requests are answered."""
        exchange = self._exchange = _Exchange()
        buffers: list[tuple[Any, bytes]] = []
        for dpid, batch in batches.items():
            datapath = self.datapaths.get(dpid)
            if datapath is None:
                continue
            buffer = bytearray()
            for change, xid in zip(batch, self._xids, strict=False):
                buffer += self._encoder.change(change, xid) if change else self._encoder.wipe(xid)
                exchange.meanings[dpid, xid] = change
            request = closing(datapath)
            request.set_xid(next(self._xids) | mark)
            request.serialize()
            exchange.waits.add((dpid, request.xid))
            buffers.append((datapath, bytes(buffer + request.buf)))
        for datapath, data in buffers:
            datapath.send(data)
        if buffers:
            exchange.done.wait(timeout)
        self._exchange = _Exchange()  # what comes later is nobody's answer
        return exchange


def _counts(switch: str, when: float, body: Iterable[Any]) -> Iterator[tuple[Key, Count]]:
    """Counters of one reply: of ports, in and out, or of rules."""
    for entry in body:
        if hasattr(entry, "port_no"):
            yield ("in", switch, entry.port_no), Count(entry.rx_packets, entry.rx_bytes, when)
            yield ("out", switch, entry.port_no), Count(entry.tx_packets, entry.tx_bytes, when)
        else:
            yield ("rule", switch, entry.cookie), Count(entry.packet_count, entry.byte_count, when)
