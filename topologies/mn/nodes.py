"""Hosts, switches and links for `mn`, in place of its own where its own would not carry a priced network.

| name | in `mn` | what it adds |
|---|---|---|
| `PricedHost` | `--host proc`, the default | no offloads, which nobody would carry out; addresses of services |
| `PricedSwitch` | `--switch default`, `ovs` | the datapath that there is; ready when it has its rules |
| `QueueLink` | `--link default`, `queue` | waits as theory says where it has `bw`: see `topologies.links` |
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mininet.link import Intf, Link, TCIntf
from mininet.log import error
from mininet.node import Host, Node, OVSSwitch

from pricing.errors import EmulationError
from topologies.links import capacity_problems, shaping
from topologies.testbed import datapath

OFFLOADS = "tx off rx off sg off tso off gso off gro off"
QUEUE = 1000
"""Packets that fit into a link's queue where nothing is said."""


class PricedHost(Host):  # type: ignore[misc]
    """A host of Mininet's, whose packets have their checksums, with the addresses of its services on `lo`."""

    def config(self, services: Sequence[str] = (), **params: Any) -> dict[str, Any]:
        """Configure it; Mininet calls this."""
        found: dict[str, Any] = super().config(**params)
        self.cmd("sysctl -w net.ipv6.conf.all.disable_ipv6=1")
        for interface in self.intfNames():
            self.cmd("ethtool -K", interface, OFFLOADS)
        # Mininet's `iperf` waits for two reports of the server; newer ones say nothing of the connection that knocks.
        self.cmd("export IPERF_INTERVAL=1")
        for address in services:
            self.cmd("ip address add", f"{address}/32", "dev lo")
        return found


class PricedSwitch(OVSSwitch):  # type: ignore[misc]
    """An Open vSwitch bridge on the datapath that this machine has."""

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, **{"datapath": datapath(), "failMode": "secure", **params})

    @classmethod
    def setup(cls) -> None:
        """Look whether Open vSwitch answers."""
        if subprocess.run(["ovs-vsctl", "-t", "5", "show"], capture_output=True, check=False).returncode:
            raise EmulationError(
                "Open vSwitch does not answer; start it: "
                "sudo /usr/share/openvswitch/scripts/ovs-ctl start --system-id=random"
            )
        super().setup()

    def connected(self) -> bool:
        """Whether it has a controller, and that has installed its first rules."""
        return all(getattr(node, "ready", True) for node in set(Node.inToNode.values())) and bool(super().connected())


@dataclass(frozen=True)
class Shape:
    """What `topologies.links` asks of a link; raises EmulationError where its queue has no room."""

    interface: str
    capacity: float
    propagation: float
    queue: int
    delivers: str = "wait"
    jitter: float = 0.0
    loss: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.queue, int) or self.queue < 1:
            raise EmulationError(
                f"link {self}: queue: found {self.queue!r}; accepted: a whole number of packets from 1"
            )

    def __str__(self) -> str:
        return f"out of {self.interface}"


class QueueInterface(TCIntf):  # type: ignore[misc]
    """An interface with a queue as theory has it where `bw` says how fast it is.

    It is a `TCIntf` because Mininet configures those once more when Open vSwitch, which clears queues, has started.
    """

    def config(
        self,
        bw: float | None = None,
        delay: str | None = None,
        jitter: str | None = None,
        loss: float | None = None,
        max_queue_size: int | None = None,
        queue: int | None = None,
        **params: Any,
    ) -> dict[str, Any]:
        """Configure and shape it; Mininet calls this."""
        found: dict[str, Any] = Intf.config(self, **params)
        if bw is None:
            return found
        room = next((packets for packets in (queue, max_queue_size) if packets is not None), QUEUE)
        shape = Shape(self.name, 1e6 * bw, seconds(delay), room, jitter=seconds(jitter), loss=(loss or 0) / 100)
        problems = capacity_problems([shape])
        if problems:
            raise EmulationError(problems[0])
        self.cmd(f"tc qdisc delete dev {self.name} root 2> /dev/null")
        for line in shaping(shape, self.name, netem_here()):
            said = self.cmd(f"tc {line}")
            if said:
                error(f"*** {self.name}: {said}")
        return found


class QueueLink(Link):  # type: ignore[misc]
    """A link whose packets wait as theory says.

    Parameters
    ----------
    bw : float
        Mbit/s; without it a link is not shaped, as in Mininet.
    delay, jitter : str
        Propagation and how it varies, such as `5ms`; where the kernel has netem.
    loss : float
        Per cent; where the kernel has netem.
    queue, max_queue_size : int
        Packets that fit into its FIFO; two names of one thing, ours and `TCLink`'s.
    """

    def __init__(self, *nodes: Any, **params: Any) -> None:
        super().__init__(*nodes, **{**params, "cls1": QueueInterface, "cls2": QueueInterface})


def seconds(delay: str | float | None) -> float:
    """A delay as `tc` has it, in seconds; bare numbers are microseconds.

    Raises
    ------
    EmulationError
        When it is none.

    >>> seconds("5ms"), seconds("100us"), seconds(None)
    (0.005, 0.0001, 0.0)
    """
    if delay is None:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|ms|us|)", str(delay).strip())
    if found is None:
        raise EmulationError(f"delay: found {delay!r}; accepted: a number with s, ms or us")
    return float(found[1]) * {"s": 1.0, "ms": 1e-3, "us": 1e-6, "": 1e-6}[found[2]]


@lru_cache
def netem_here() -> bool:
    """Whether the kernel can delay packets, tried in a namespace that goes at once."""
    command = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
