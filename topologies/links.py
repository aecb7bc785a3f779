"""A link that queues as theory says: an HTB class of the link's rate on the interface that feeds it.

The class sends while it has tokens and then pays the packet back, so the link is busy for size/C after each packet and
a packet's delay is its *waiting* time: its own transmission is not in it (`Link.delivers == 'wait'`). Below the class
is a FIFO of a stated number of packets; where the kernel has netem, the FIFO delays by the link's propagation too,
varies that by its jitter (which reorders packets) and loses a share of them.

With priority classes among the sessions, every link has a leaf a class under one tree, each with a FIFO of its own. A
packet carries its class in its DSCP: class 1 in CS7 (56), class 2 in CS6, and so on; what carries none goes with the
last class. No packet is interrupted, so waits are Cobham's (`pricing.priority.waits.cobham`).

A link that delivers the sojourn is store and forward: netem's `rate`, where the kernel has it and nobody has classes.

One `tc -batch` shapes all interfaces of a network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from pricing.errors import EmulationError
from pricing.frames import MOST_CLASSES, dscp

if TYPE_CHECKING:  # Debian's Python, which `mn` runs on, need not have what the model imports
    from pricing.network import Network

BURST_SECONDS = 50e-6
"""What a link's bucket holds, in seconds of the link.

A class is woken late by some tens of microseconds. Without a bucket that time is lost to every packet that waits, and
the link is slower than its rate; a bucket of several packets would hide the queue instead. Measured at 0.85 of 4 and
10 Mbit/s against Lindley's recursion on the same packets: with 1 us of bucket waits are 8 % too long, with 20 us 1.3 %,
with 40 us 0.4 %, with 75 us 0.1 % too short and 0.1 ms less at every wait.
"""

DSCP = 0xFC
"""The bits of that byte of the IP header which are the DSCP; the other two are for congestion marks."""

LOWEST, HIGHEST = 100e3, 1e9
"""Capacities that HTB shapes faithfully here, bit/s.

Below, one full frame takes more than 0.12 s and the bucket less than one byte; above, a frame takes less time than a
wake-up and the switches themselves are slower than the link.
"""

FRAME = 1514
"""Largest Ethernet frame in bytes: the quantum, so that HTB serves by packets and does not warn of a big quantum."""

SMALLEST_FRAME = 64
"""Smallest Ethernet frame in bytes, with which netem's room for packets on their way is counted."""


class Shaped(Protocol):
    """What shaping asks of a link: `pricing.network.Link` has it."""

    @property
    def capacity(self) -> float:
        """bit/s."""

    @property
    def propagation(self) -> float:
        """Seconds."""

    @property
    def delivers(self) -> str:
        """'wait' or 'sojourn'."""

    @property
    def queue(self) -> int:
        """Packets that fit into its FIFO."""

    @property
    def jitter(self) -> float:
        """Seconds by which its propagation varies, up and down."""

    @property
    def loss(self) -> float:
        """Share of its packets that it loses."""


@dataclass(frozen=True)
class QueueCounters:
    """What an interface's queue has seen: bytes and packets sent, packets dropped, packets waiting now."""

    bytes: int
    packets: int
    drops: int
    backlog: int


def tos(klass: int, classes: int) -> int:
    """The byte of the IP header that says a packet's class: its DSCP and two bits of 0; 0 where there is one class.

    >>> tos(1, 2), tos(2, 2), tos(1, 1)
    (224, 192, 0)
    """
    return dscp(klass) << 2 if classes > 1 else 0


def klass_of(tos: int, classes: int) -> int:
    """The class that the byte of a packet's IP header says, among so many; the last where it says none of them.

    >>> klass_of(224, 2), klass_of(192, 2), klass_of(160, 2), klass_of(0, 2), klass_of(224, 1)
    (1, 2, 2, 2, 1)
    """
    return next((k for k in range(1, classes) if tos & DSCP == dscp(k) << 2), classes)


def as_emulated(network: Network, netem: bool) -> Network:
    """The network as these links carry it out: waits only and nothing on the way, except where the kernel has netem."""
    exact = netem and network.classes == 1
    links = tuple(
        replace(link, delivers=link.delivers if exact else "wait")
        if netem
        else replace(link, delivers="wait", propagation=0.0, jitter=0.0, loss=0.0, latency=link.propagation)
        for link in network.links
    )
    return replace(network, links=links)


def not_emulated(capacity: float) -> str:
    """Why a capacity (bit/s) cannot be emulated, in a sentence; empty when it can, however odd it is."""
    if LOWEST <= capacity <= HIGHEST:
        return ""
    reason = (
        "a full frame would take more than 0.12 s and the bucket hold less than a byte"
        if capacity < LOWEST
        else "a frame would take less time than the kernel to wake up, and the switches are slower than the link"
    )
    accepted = f"accepted: 100 kbit/s to 1 Gbit/s, because {reason}"
    return f"found {capacity / 1e6:g} Mbit/s; {accepted}; scale capacities and rates alike"


def capacity_problems(links: Iterable[Shaped]) -> list[str]:
    """Why capacities cannot be emulated, a sentence a link."""
    return [f"link {link}: capacity: {reason}" for link in links if (reason := not_emulated(link.capacity))]


def shaping(
    link: Shaped, interface: str, netem: bool, classes: int = 1, burst_seconds: float = BURST_SECONDS
) -> list[str]:
    """Lines of a `tc -batch` that give `interface` the link's rate, queues and (with netem) what happens on the way.

    Parameters
    ----------
    netem : bool
        Whether the kernel has it.
    classes : int
        Priority classes, 1 to `MOST_CLASSES`.
    burst_seconds : float
        What the bucket holds, in seconds of the link: `BURST_SECONDS`, or what was calibrated.

    Raises
    ------
    EmulationError
        When the capacity is outside [`LOWEST`, `HIGHEST`], or there are more classes than DSCP tells apart.
    """
    problems = capacity_problems([link])
    if classes > MOST_CLASSES:
        problems.append(f"{classes} priority classes: 1 to {MOST_CLASSES} are accepted, what DSCP tells apart")
    if problems:
        raise EmulationError("\n".join(problems))
    rate = round(link.capacity)
    if netem and classes == 1 and link.delivers == "sojourn":
        return [f"qdisc add dev {interface} root handle 1: {_on_the_way(link)} rate {rate}bit"]
    burst = max(1, round(link.capacity * burst_seconds / 8))
    shaped = f"burst {burst} cburst {burst} quantum {FRAME}"
    fifo = (
        _on_the_way(link) if netem and (link.propagation or link.jitter or link.loss) else f"pfifo limit {link.queue}"
    )
    if classes == 1:
        return [
            f"qdisc add dev {interface} root handle 1: htb default 1",
            f"class add dev {interface} parent 1: classid 1:1 htb rate {rate}bit {shaped}",
            f"qdisc add dev {interface} parent 1:1 handle 10: {fifo}",
        ]
    lines = [
        f"qdisc add dev {interface} root handle 1: htb default 1{classes}",
        f"class add dev {interface} parent 1: classid 1:1 htb rate {rate}bit {shaped}",
    ]
    for k in range(1, classes + 1):
        # A leaf has next to no rate of its own: it borrows the tree's, where the first class is asked first.
        own = f"rate 8bit ceil {rate}bit burst 1 cburst {burst} quantum {FRAME}"
        lines += [
            f"class add dev {interface} parent 1:1 classid 1:1{k} htb prio {k - 1} {own}",
            f"qdisc add dev {interface} parent 1:1{k} handle 1{k}: {fifo}",
            f"filter add dev {interface} parent 1: protocol ip prio {k} "
            f"u32 match ip dsfield {tos(k, classes):#04x} {DSCP:#04x} flowid 1:1{k}",
        ]
    return lines


def _on_the_way(link: Shaped) -> str:
    """netem's words for what happens between two ends of a link."""
    # netem keeps what is on its way in the same list as what waits.
    limit = link.queue + math.ceil(link.capacity * (link.propagation + link.jitter) / (8 * SMALLEST_FRAME))
    words = [f"netem limit {limit}"]
    if link.propagation or link.jitter:
        words.append(f"delay {link.propagation * 1e6:.0f}us")
    if link.jitter:
        words.append(f"{link.jitter * 1e6:.0f}us")
    if link.loss:
        words.append(f"loss {link.loss:.6%}")
    return " ".join(words)


def has_netem(run: Callable[..., str]) -> bool:
    """Whether the kernel can delay packets; `run` runs a command in a namespace whose `lo` nobody uses yet."""
    try:
        run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except EmulationError:
        return False
    run("tc", "qdisc", "delete", "dev", "lo", "root")
    return True


def queue_counters(run: Callable[..., str]) -> dict[str, QueueCounters]:
    """Counters of every shaped interface by its name, read at one moment by one `tc`.

    Parameters
    ----------
    run : callable
        Runs a command in the testbed and returns what it printed: `Testbed.run`.
    """
    queues = json.loads(run("tc", "-s", "-j", "qdisc", "show"))
    return {
        queue["dev"]: QueueCounters(queue["bytes"], queue["packets"], queue["drops"], queue["qlen"])
        for queue in queues
        if queue.get("root") and queue["kind"] in ("htb", "netem")
    }
