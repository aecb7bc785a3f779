"""A link that queues as theory says: an HTB class of the link's rate on the interface that feeds it.

The class sends while it has tokens and then pays the packet back, so the link is busy for size/C after each packet and
a packet's delay is its *waiting* time: its own transmission is not in it (`Link.delivers == 'wait'`). Below the class
is a FIFO of a stated number of packets; where the kernel has netem, the FIFO delays by the link's propagation too.

One `tc -batch` shapes all interfaces of a network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from pricing.errors import EmulationError

if TYPE_CHECKING:  # Debian's Python, which `mn` runs on, need not have what the model imports
    from pricing.network import Network

BURST_SECONDS = 50e-6
"""What a link's bucket holds, in seconds of the link.

A class is woken late by some tens of microseconds. Without a bucket that time is lost to every packet that waits, and
the link is slower than its rate; a bucket of several packets would hide the queue instead. Measured at 0.85 of 4 and
10 Mbit/s against Lindley's recursion on the same packets: with 1 us of bucket waits are 8 % too long, with 20 us 1.3 %,
with 40 us 0.4 %, with 75 us 0.1 % too short and 0.1 ms less at every wait.
"""

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
    def queue(self) -> int:
        """Packets that fit into its FIFO."""


@dataclass(frozen=True)
class QueueCounters:
    """What an interface's queue has seen: bytes and packets sent, packets dropped, packets waiting now."""

    bytes: int
    packets: int
    drops: int
    backlog: int


def as_emulated(network: Network, netem: bool) -> Network:
    """The network as these links carry it out: they deliver waits, and propagation only where the kernel has netem."""
    links = (replace(link, delivers="wait", propagation=link.propagation if netem else 0.0) for link in network.links)
    return replace(network, links=tuple(links))


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


def shaping(link: Shaped, interface: str, netem: bool) -> list[str]:
    """Lines of a `tc -batch` that give `interface` the link's rate, queue and (with netem) propagation.

    Raises
    ------
    EmulationError
        When the capacity is outside [`LOWEST`, `HIGHEST`].
    """
    problems = capacity_problems([link])
    if problems:
        raise EmulationError(problems[0])
    rate = round(link.capacity)
    burst = max(1, round(link.capacity * BURST_SECONDS / 8))
    if netem and link.propagation > 0:
        # netem keeps what is on its way in the same list as what waits.
        on_its_way = math.ceil(link.capacity * link.propagation / (8 * SMALLEST_FRAME))
        fifo = f"netem delay {link.propagation * 1e6:.0f}us limit {link.queue + on_its_way}"
    else:
        fifo = f"pfifo limit {link.queue}"
    return [
        f"qdisc add dev {interface} root handle 1: htb default 1",
        f"class add dev {interface} parent 1: classid 1:1 "
        f"htb rate {rate}bit burst {burst} cburst {burst} quantum {FRAME}",
        f"qdisc add dev {interface} parent 1:1 handle 10: {fifo}",
    ]


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
        if queue["kind"] == "htb"
    }
