"""Four switches in line on real packets, with rules of their own and no controller: what a calibration measures on.

    h-a ── a ══narrow══> b ──────── c ──────── d ── h-d
                         └ h-b

The link from a to b is the one that is measured, and is given new queues as often as wanted. From h-a packets go to h-b
over one link and to h-d over three, from h-b to h-d over two that are never full.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from experiments.running.machine import Watch, bad_seconds
from pricing.network import FRAME_OVERHEAD_BITS, ArrivalLaw, Link, Network, Node, Session, SizeLaw
from pricing.simulate.loop import IntArray
from pricing.values import FloatArray
from topologies.emulation import Emulation, host_interface
from topologies.hosts.logs import SECOND, load
from topologies.hosts.start import Program, stop
from topologies.plant import plan
from topologies.testbed import Testbed

CAPACITY, WIDE = 10e6, 1e9
"""bit/s of the measured link and of all others."""

QUEUE = 4000
"""Packets that fit into the measured link's queue: none is to be dropped."""

ENDS = {"near": ("a", "b"), "far": ("a", "d"), "wide": ("b", "d")}
"""Where a stream of each way starts and ends."""

START_DELAY_S, END_TIMEOUT_S = 0.5, 60.0


@dataclass(frozen=True)
class Stream:
    """What one sender sends.

    Parameters
    ----------
    way : str
        A key of `ENDS`.
    rate : float
        Mean packets/s.
    size : SizeLaw
    arrivals : ArrivalLaw
    tos : int
        The byte of the IP header that says the class.
    """

    way: str
    rate: float
    size: SizeLaw
    arrivals: ArrivalLaw
    tos: int = 0


@dataclass(frozen=True)
class Trace:
    """What became of a stream: arrays of shape (N,), in the order in which packets were due.

    Parameters
    ----------
    due, sent : array
        s from the beginning of the run; `sent` is NaN where the socket refused.
    bits : array
        Frames.
    delay : array
        From sending to the kernel's stamp at the other end, s; NaN for a packet that did not arrive.
    quiet : array of bool
        Whether it was sent in a quiet second.
    excluded : array of int
        Whole seconds, from the beginning of the run, that were not quiet.
    """

    due: FloatArray
    sent: FloatArray
    bits: FloatArray
    delay: FloatArray
    quiet: np.ndarray[tuple[int], np.dtype[np.bool_]]
    excluded: FloatArray


class Bed:
    """The line while it is up."""

    def __init__(self, emulation: Emulation) -> None:
        self.emulation = emulation
        self.link = next(link for link in emulation.network.links if link.key == ("a", "b"))
        self.interface = emulation.interfaces[self.link.key]
        self._runs = 0

    def tc(self, *lines: str) -> None:
        """Carry out lines of a `tc -batch`."""
        self.emulation.testbed.run("tc", "-batch", "-", text="\n".join(lines) + "\n")

    def shape(self, lines: Sequence[str]) -> None:
        """Give the measured link other queues."""
        self.tc(f"qdisc delete dev {self.interface} root", *lines)

    def run(
        self, streams: Sequence[Stream], seconds: float, attend: Callable[[float], None] = lambda _: None
    ) -> list[Trace]:
        """Send, and say what became of every packet.

        Parameters
        ----------
        attend : callable
            Called a few ten times a second with the seconds since the beginning.
        """
        self._runs += 1
        folder = self.emulation.testbed.directory / f"run-{self._runs}"
        folder.mkdir()
        servers = [self._server(node, len(streams), folder) for node in sorted({ENDS[s.way][1] for s in streams})]
        senders = [self._sender(index, stream, seconds, folder) for index, stream in enumerate(streams)]
        try:
            for program in (*servers, *senders):
                program.wait_ready()
            start = time.time() + START_DELAY_S
            for sender in senders:
                sender.tell(repr(start))
            with Watch() as machine:
                while any(sender.process.poll() is None for sender in senders):
                    attend(time.time() - start)
                    time.sleep(0.02)
                time.sleep(
                    1.0 - time.time() % 1 + 0.1
                )  # the second in which the last packet came is watched to its end
        finally:
            stop([*senders, *servers], END_TIMEOUT_S)
        sent = [load(folder / f"sender-{index}.requests.npy") for index in range(len(streams))]
        late = [{int(row["second"]): float(row["max_s"]) for row in summary["late"]} for _, summary in sent]
        bad = np.array(sorted(bad_seconds(machine.seconds, late)), dtype=np.int64)
        arrived = [load(path)[0] for path in sorted(folder.glob("server-*.npy"))]
        served = np.concatenate(arrived)
        return [_trace(rows, served[served["session"] == index], start, bad) for index, (rows, _) in enumerate(sent)]

    def _server(self, node: str, sessions: int, folder: Path) -> Program:
        host = self.emulation.plant.host_at(node)
        config = {
            "server": host,
            "address": self.emulation.plant.hosts[host].ip,
            "capacity": 1.0,
            "scv": 0.0,
            "queue": 100_000,
            "seed": 1,
            "work": [0.0] * sessions,
            "response_bits": [0.0] * sessions,
            "log": str(folder / f"server-{host}"),
            "load": str(folder / f"load-{host}.json"),
        }
        return self.emulation.start(host, "server", config, f"{folder.name}/server-{host}.config")

    def _sender(self, index: int, stream: Stream, seconds: float, folder: Path) -> Program:
        source, end = (self.emulation.plant.host_at(node) for node in ENDS[stream.way])
        config = {
            "session": index,
            "seed": self._runs,
            "address": self.emulation.plant.hosts[end].ip,
            "rate": stream.rate,
            "size": asdict(stream.size),
            "flows": 1,
            "arrivals": asdict(stream.arrivals),
            "tos": stream.tos,
            "start": None,
            "settle": 0.0,
            "measure": seconds,
            "drain": 0.5,
            "log": str(folder / f"sender-{index}"),
        }
        return self.emulation.start(source, "sender", config, f"{folder.name}/sender-{index}.config")


@contextmanager
def bed() -> Iterator[Bed]:
    """Bring the line up, and take it down at the end of the block.

    Raises
    ------
    EmulationError
        When the machine cannot emulate, or something does not come up.
    """
    network = _line()
    with Testbed() as testbed, Emulation(network, plan(network), testbed) as emulation:
        emulation.check_ports()
        _install(emulation)
        yield Bed(emulation)


def _line() -> Network:
    narrow = ("a", "b")
    pairs = [("a", "b"), ("b", "c"), ("c", "d")]
    keys = [key for pair in pairs for key in (pair, pair[::-1])]
    links = tuple(
        Link(*key, CAPACITY if key == narrow else WIDE, queue=QUEUE if key == narrow else 1000) for key in keys
    )
    sessions = tuple(Session(way, src, "unicast", (dst,), 1e6) for way, (src, dst) in ENDS.items())
    return Network("calibration", tuple(Node(name) for name in "abcd"), links, (), sessions)


def _install(emulation: Emulation) -> None:
    """Rules for every host on every switch, and neighbours that nobody has to ask for."""
    plant = emulation.plant
    for node, switch in plant.switches.items():
        rules = []
        for host in plant.hosts.values():
            port = host.port if host.node == node else switch.ports[_next(node, host.node)]
            rules.append(f"ip,nw_dst={host.ip},actions=output:{port}")
        text = "\n".join(rules) + "\n"
        emulation.testbed.run("ovs-ofctl", "-O", "OpenFlow13", "add-flows", f"s{switch.dpid}", "-", text=text)
    for name in plant.hosts:
        for other, there in plant.hosts.items():
            if other != name:
                device = host_interface(name)
                emulation.net[name].cmd(f"ip neigh add {there.ip} lladdr {there.mac} dev {device}")


def _next(node: str, end: str) -> str:
    """The neighbour towards a node, on a line in the order of the alphabet."""
    return chr(ord(node) + (1 if end > node else -1))


def _trace(
    rows: np.ndarray[tuple[int], np.dtype[np.void]],
    served: np.ndarray[tuple[int], np.dtype[np.void]],
    start: float,
    bad: IntArray,
) -> Trace:
    origin = round(start * SECOND)
    went = rows["sent"] > 0
    received = np.full(len(rows), np.nan)
    place = np.searchsorted(rows["seq"], served["seq"])
    received[place] = (served["received"] - origin) / SECOND
    sent = np.where(went, (rows["sent"] - origin) / SECOND, np.nan)
    return Trace(
        due=(rows["due"] - origin) / SECOND,
        sent=sent,
        bits=rows["size"] * 8.0 + FRAME_OVERHEAD_BITS,
        delay=received - sent,
        quiet=went & ~np.isin(rows["sent"] // SECOND, bad),
        excluded=np.asarray(bad - start, dtype=np.float64),
    )


def steps(
    levels: Sequence[tuple[float, float]], gap: float
) -> tuple[ArrivalLaw, float, Mapping[int, tuple[float, float]]]:
    """A Poisson stream in steps with silence between.

    Parameters
    ----------
    levels : sequence of (seconds, relative rate)
    gap : float
        Seconds of silence after each.

    Returns
    -------
    ArrivalLaw, float, mapping
        The law, its mean relative rate, and when each step begins and ends, s, by its number.
    """
    profile = tuple(step for seconds, height in levels for step in ((seconds, height), (gap, 0.0)))
    edges = np.concatenate([[0.0], np.cumsum([seconds for seconds, _ in profile])])
    mean = sum(seconds * height for seconds, height in profile) / edges[-1]
    windows = {i: (float(edges[2 * i]), float(edges[2 * i + 1])) for i in range(len(levels))}
    return ArrivalLaw(profile=profile), float(mean), windows
