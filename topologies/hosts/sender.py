"""Traffic of one session: `python -m topologies.hosts.sender CONFIG.json`.

Everything is drawn before the first packet: arrival times (`topologies.hosts.arrivals`), payload sizes, and which of
the session's flows (UDP source ports) each packet belongs to. The time of a run has two segments, one random stream
each: `settle` seconds with sequence numbers from 0, then `measure` seconds with sequence numbers from 1,000,000. The
measured packets are therefore the same, however long the network was given to settle.

A packet is due at an absolute time. The process sleeps until 0.1 ms before and spins for the rest; answers wait in
their sockets, stamped by the kernel, and are read when the next packet is far enough away.

While it runs, a line on standard input with a factor of 0 or more makes what is still to come so much denser: the times
of a Poisson stream, brought together by a factor f, are a Poisson stream of f times the rate. What was drawn lasts so
much shorter; at 0 nothing is sent until the next line.

A rate that this machine cannot hold shows in the log: each request has when it was due and when it was sent.

The configuration holds the fields of `Traffic`. Written at the end, or on SIGTERM: `LOG.requests.npy` (`logs.SENT`) and
`LOG.answers.npy` (`logs.ANSWERED`), each with its .json. The file `told` is replaced about every second, when there is
time before the next packet: it lies in memory, and takes a fraction of that time.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pricing.errors import EmulationError, WardropError
from topologies.hosts.arrivals import POISSON, Pattern, times
from topologies.hosts.logs import ANSWERED, SECOND, SENT, Log, lateness, save, save_summary
from topologies.hosts.orders import told_start
from topologies.hosts.pcap import read_capture
from topologies.hosts.sockets import (
    ECHO,
    FLOW_PORT,
    HEADER,
    SERVICE_PORT,
    STAMP_SPACE,
    socket_drops,
    stamp,
    stamped_socket,
)
from topologies.promptness import go_first, wake_on_time

if TYPE_CHECKING:
    from pricing.network import ArrivalLaw, SizeLaw

FIRST_MEASURED = 1_000_000
"""Sequence number of the first measured packet."""

SPIN = 100_000
"""ns before a packet is due when sleeping ends: a sleep may overshoot, a spin does not."""

READING_ROOM = 400_000
"""ns to the next packet from which there is time to read answers in between."""

LONGEST_DRAIN = 20 * SECOND
"""How long answers are waited for at most, ns: a full link's queue takes so long to empty (ours)."""

TELLING_ROOM = 2_000_000
"""ns to the next packet from which there is time to write a small file in memory."""

NAP = SECOND // 5
"""Longest sleep in ns, after which a request to stop is seen."""


class Payloads(NamedTuple):
    """The fields of `pricing.network.SizeLaw`, whose module takes longer to import than all that a sender needs."""

    law: str
    mean: float
    low: int
    high: int
    points: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Traffic:
    """What one sender sends.

    Parameters
    ----------
    session : int
        Index of the session, carried in every packet.
    seed : int
        Of the run; the session's own streams follow from it.
    address : str
        Where the packets go, UDP port 7000.
    rate : float
        Packets/s.
    size : SizeLaw or Payloads
        Of the payloads.
    flows : int
        Equal flows.
    start : float or None
        Time of the first segment, s of CLOCK_REALTIME; None when it is told on standard input, once this is ready.
    settle, measure : float
        Length of the two segments, s.
    log : str
        Path of the logs without their endings.
    drain : float
        How long answers are waited for after the last packet, and after each answer, s.
    arrivals : ArrivalLaw or Pattern
        When packets come.
    tos : int
        The byte of the IP header that says the class.
    told : str
        Path of the file where it says every second what it has done; none for ''.
    """

    session: int
    seed: int
    address: str
    rate: float
    size: SizeLaw | Payloads
    flows: int
    start: float | None
    settle: float
    measure: float
    log: str
    drain: float = 1.5
    arrivals: ArrivalLaw | Pattern = POISSON
    tos: int = 0
    told: str = ""

    @classmethod
    def read(cls, path: Path) -> Traffic:
        """The configuration at `path`; `size` and `arrivals` are objects with the fields of their laws."""
        values: dict[str, Any] = json.loads(path.read_text())
        arrivals = Pattern(**values.get("arrivals", {}))
        return cls(**{**values, "size": Payloads(**values["size"]), "arrivals": arrivals})


def payload_sizes(law: SizeLaw | Payloads, rng: np.random.Generator, count: int) -> NDArray[np.uint16]:
    """`count` payloads drawn from `law`, whole bytes."""
    if law.law == "fixed":
        return np.full(count, round(law.mean), np.uint16)
    if law.law == "points":
        sizes, weights = np.array(law.points, dtype=np.float64).T
        return rng.choice(sizes.astype(np.uint16), count, p=weights / weights.sum())
    return np.rint(np.clip(rng.exponential(law.mean, count), law.low, law.high)).astype(np.uint16)


def schedule(traffic: Traffic) -> Log:
    """All requests of a run, in the order in which they are due; `sent` is 0.

    Returns
    -------
    array of `logs.SENT`
    """
    segments = []
    begin = round((traffic.start or 0.0) * SECOND)
    captured = read_capture(Path(traffic.arrivals.capture)) if traffic.arrivals.law == "replay" else None
    for index, (length, first) in enumerate(((traffic.settle, 0), (traffic.measure, FIRST_MEASURED))):
        rng = np.random.default_rng([traffic.seed, traffic.session, index])
        if captured:
            due, sizes = captured.replayed(traffic.rate, length)
        else:
            due = times(traffic.arrivals, traffic.rate, length, rng)
            sizes = payload_sizes(traffic.size, rng, len(due))
        count = len(due)
        segment = np.zeros(count, SENT)
        segment["seq"] = first + np.arange(count)
        segment["due"] = begin + due
        segment["size"] = np.maximum(sizes, HEADER.size)
        in_turn = traffic.arrivals.law == "deterministic"
        segment["flow"] = np.arange(count) % traffic.flows if in_turn else rng.integers(0, traffic.flows, count)
        segments.append(segment)
        begin += round(length * SECOND)
    return np.concatenate(segments)


T = TypeVar("T", bound=Traffic)


@dataclass(frozen=True)
class Pace:
    """How drawn times become real ones: `drawn` falls on `real` (both ns), and time goes `factor` times as fast."""

    drawn: int = 0
    real: int = 0
    factor: float = 1.0

    def due(self, drawn: int) -> int | None:
        """Real time (ns) of a drawn one; None while nothing is due."""
        if self.factor == 1.0:
            return drawn - self.drawn + self.real
        return self.real + round((drawn - self.drawn) / self.factor) if self.factor else None

    def changed(self, factor: float, now: int) -> Pace:
        """The pace from `now` (real, ns) on: what is past stays where it was."""
        return Pace(self.drawn + round((now - self.real) * self.factor), now, factor)


class Sender:
    """One socket a flow, the requests in order, and what came back."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.requests = schedule(traffic)
        self.sent = array("q", bytes(8 * len(self.requests)))
        self.answers = array("q")
        self.errors: Counter[str] = Counter()
        self.done = 0
        self.stopping = False
        self.export = _Export(self)
        self.pace = Pace()
        self.sockets = self.make_sockets()
        self.by_descriptor: dict[int, socket.socket | None] = {sock.fileno(): sock for sock in self.sockets}
        self.heard: dict[int, Callable[[bytes], None]] = {}
        self.poller = select.epoll()
        for descriptor in self.by_descriptor:
            self.poller.register(descriptor, select.EPOLLIN)

    def listen(self, descriptor: int) -> None:
        """Follow the factors that come as lines from a pipe."""
        self.by_descriptor[descriptor] = None
        self.poller.register(descriptor, select.EPOLLIN)

    def listen_to(self, sock: socket.socket, hear: Callable[[bytes], None]) -> None:
        """Hand every datagram of a socket on."""
        self.by_descriptor[sock.fileno()] = sock
        self.heard[sock.fileno()] = hear
        self.poller.register(sock.fileno(), select.EPOLLIN)

    def begin(self, start: float) -> None:
        """Make every request due so much later; for traffic that was drawn before its start was known."""
        self.traffic = replace(self.traffic, start=start)
        self.requests["due"] += round(start * SECOND)

    def run(self) -> None:
        """Send every request when it is due and wait for the last answers: until none has come for `drain` seconds.

        Raises
        ------
        EmulationError
            When the start is already past.
        """
        late = time.time() - (self.traffic.start or 0.0)
        if late > 0:
            raise EmulationError(
                f"sender of session {self.traffic.session}: ready {late:.2f} s after its start; give a later start"
            )
        self._send_all()
        begun, drain = time.time_ns(), round(self.traffic.drain * SECOND)
        end = begun + drain
        while self._sleep_until(end):
            known = len(self.answers)
            self._read()
            if len(self.answers) > known:
                end = min(time.time_ns() + drain, begun + LONGEST_DRAIN)
            self.export.write()
        self._read()

    def stop(self, *_: object) -> None:
        """End early: a signal handler."""
        self.stopping = True

    def make_sockets(self) -> list[socket.socket]:
        """A flow's socket each, connected: sessions of one host share their ports and differ in where they send."""
        found = []
        for flow in range(self.traffic.flows):
            sock = stamped_socket("", FLOW_PORT + flow, shared=True)
            if self.traffic.tos:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, self.traffic.tos)
            sock.connect((self.traffic.address, SERVICE_PORT))
            found.append(sock)
        return found

    def emit(self, index: int, seq: int, flow: int, payload: memoryview, now: int) -> bool:  # noqa: ARG002
        """Send a request that is due; whether its socket took it."""
        HEADER.pack_into(payload, 0, self.traffic.session, flow, seq, now)
        return self.send(lambda: self.sockets[flow].send(payload))

    def _send_all(self) -> None:
        view, sent = memoryview(bytearray(max(2048, int(self.requests["size"].max(initial=0))))), self.sent
        columns = (self.requests[name].tolist() for name in ("seq", "flow", "size", "due"))
        for index, (seq, flow, size, drawn) in enumerate(zip(*columns, strict=True)):
            due = self._wait_for(drawn)
            if self.stopping:
                return
            if due != drawn:
                self.requests["due"][index] = due
            while (now := time.time_ns()) < due:
                pass
            if self.emit(index, seq, flow, view[:size], now):
                sent[index] = now
            self.done = index + 1

    def _wait_for(self, drawn: int) -> int:
        """Sleep until shortly before a request of that drawn time is due, reading what comes; when it is due, ns."""
        due = self.pace.due(drawn)
        if due is not None and due - time.time_ns() > READING_ROOM:
            self._read()
        if due is not None and due - time.time_ns() > TELLING_ROOM:
            self.export.write()
        while not self.stopping:
            due = self.pace.due(drawn)
            if due is None:
                self.export.write()
                self._sleep_until(time.time_ns() + NAP)
            elif not self._sleep_until(due - SPIN):
                return due
            self._read()
        return drawn

    def send(self, attempt: Callable[[], int]) -> bool:
        """Whether the socket took the packet; a connected socket first hands out the error of an earlier one."""
        for _ in range(2):
            try:
                attempt()
                return True
            except OSError as error:
                self.errors[errno.errorcode.get(error.errno or 0, str(error))] += 1
        return False

    def _sleep_until(self, moment: int) -> bool:
        """Sleep towards `moment` (ns); whether it still lies ahead, for a long sleep is cut in naps."""
        left = moment - time.time_ns()
        if left <= 0 or self.stopping:
            return False
        time.sleep(min(left, NAP) / SECOND)
        return left > NAP

    def _read(self) -> None:
        """Take in the answers that wait, and the factors told."""
        for descriptor, _ in self.poller.poll(0):
            sock = self.by_descriptor[descriptor]
            if sock is None:
                self._follow(descriptor)
            while sock is not None:
                hear = self.heard.get(descriptor)
                try:
                    data, ancillary, _, _ = sock.recvmsg(2048 if hear else ECHO.size, STAMP_SPACE)
                except BlockingIOError:
                    break
                except OSError:  # the ICMP error of an earlier packet; the packet itself is missed by its answer
                    continue
                if hear:
                    hear(data)
                elif len(data) == ECHO.size:
                    self.answered(data, ancillary)

    def answered(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        """Note an answer."""
        self.answers.extend((ECHO.unpack(data)[2], stamp(ancillary)))

    def told(self, line: str) -> None:
        """Follow a line of standard input: a factor."""
        self.pace = self.pace.changed(float(line), time.time_ns())

    def _follow(self, descriptor: int) -> None:
        """Take the last whole line that was told; a pipe that is closed tells no more."""
        lines = os.read(descriptor, 4096).decode().splitlines()
        if lines:
            self.told(lines[-1])
        else:
            self.poller.unregister(descriptor)

    def says(self, news: slice, late: float | None) -> dict[str, Any]:  # noqa: ARG002 a user's says more
        """What the file `told` says: counts so far, and the lateness (s) of the requests `news`, told of now."""
        sent, answers = self.export.sent, len(self.answers) // 2
        return {"sent": sent, "answers": answers, "errors": sum(self.errors.values()), "late_p99_s": late}

    def save(self) -> None:
        """Write both logs."""
        self.requests["sent"] = np.frombuffer(self.sent, np.int64)
        pairs = np.frombuffer(self.answers, np.int64).reshape(-1, 2)
        self.save_logs(Path(self.traffic.log), self.requests, pairs, socket_drops())

    def save_logs(self, path: Path, requests: Log, back: NDArray[np.int64], drops: int) -> None:
        """Write the logs of one session: its requests, and the number and arrival (ns) of each answer, shape (n, 2)."""
        done = requests[requests["sent"] > 0]
        summary = {
            "scheduled": len(requests),
            "sent": len(done),
            "errors": dict(self.errors),
            "stopped": self.stopping,
            "late": lateness(done["due"], done["sent"]),
        }
        save(path.with_name(path.name + ".requests.npy"), requests, summary)
        answers = np.zeros(len(back), ANSWERED)
        answers["seq"], answers["received"] = back.T
        counts = {"received": len(answers), "socket_drops": drops}
        save(path.with_name(path.name + ".answers.npy"), answers, counts)


class _Export:
    """What the file `told` says: all that was done so far, and how late since it was written last."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.told = self.sent = self.second = 0

    def write(self) -> None:
        """Say it, where that was not done in this second."""
        sender, second = self.sender, time.time_ns() // SECOND
        if second == self.second or not sender.traffic.told:
            return
        news = slice(self.told, sender.done)
        sent = np.frombuffer(sender.sent, np.int64)[news]
        late = (sent - sender.requests["due"][news])[sent > 0] / SECOND
        self.told, self.sent, self.second = sender.done, self.sent + len(late), second
        told = sender.says(news, float(np.quantile(late, 0.99)) if len(late) else None)
        save_summary(Path(sender.traffic.told), {"time": second, **told})


def serve(config: Path, read: Callable[[Path], T], make: Callable[[T], Sender]) -> int:
    """Run the sender that the file `config` describes; the exit status."""
    try:
        traffic = read(config)
        sender = make(traffic)
        signal.signal(signal.SIGTERM, sender.stop)
        wake_on_time()
        go_first()
        gc.freeze()
        gc.disable()
        print("ready", flush=True)
        if traffic.start is None:
            start = told_start()
            if start is None:
                return 0
            sender.begin(start)
            sender.listen(sys.stdin.fileno())
        sender.run()
        sender.save()
    except (OSError, WardropError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), Traffic.read, Sender))
