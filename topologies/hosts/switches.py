"""The price agents of all switches: `python -m topologies.hosts.switches CONFIG.json`, beside the switches.

One process stands for them. The agent of a switch reads the counters of the interfaces that its links leave by, looks
whether they have carrier, and says the prices of these links into the switch's own port. It knows nothing of other
switches and hears nobody.

The configuration holds `network` (path of network.json), `switches` (for each a `device`, its own port, an `address`
and `mac` to speak from, and `links`, the interface by the resource's index), `told` and `log`, as
`topologies.hosts.price`.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pricing.joint.agents import PriceAgent
from pricing.problem import Problem, problem_of
from pricing.written import network_from_json
from topologies.hosts.group import Mouth, frame
from topologies.hosts.logs import save_summary
from topologies.hosts.orders import told_to_end

PERIOD_S = 1.0
"""Between two announcements."""

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP, _RUNNING = 0x8913, 0x8914, 0x1, 0x40
_REQUEST = struct.Struct("16sH14x")
_SENT_BYTES = 8


class SwitchAgent:
    """One switch's: its price agent, its interfaces, and the socket into its own port."""

    def __init__(self, problem: Problem, origin: int, said: dict[str, Any], counts: Counter[str]) -> None:
        self.interfaces = {int(resource): interface for resource, interface in said["links"].items()}
        self.agent = PriceAgent(problem, origin, list(self.interfaces))
        self.control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._raise(said["device"])
        self.port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.port.bind((said["device"], 0))
        self.mouth = Mouth(lambda data: self.port.send(frame(said["address"], said["mac"], data)), counts)

    def announce(self, now: float, sent: dict[str, float]) -> None:
        """Say into the switch the prices at the bits that its interfaces have sent so far."""
        counted = np.array([sent.get(interface, 0.0) for interface in self.interfaces.values()])
        works = [bool(self._flags(interface) & _RUNNING) for interface in self.interfaces.values()]
        if message := self.agent.announce(now, counted, works):
            self.mouth.say(message)

    def _flags(self, interface: str) -> int:
        try:
            answer = fcntl.ioctl(self.control, _SIOCGIFFLAGS, _REQUEST.pack(interface.encode(), 0))
        except OSError:  # it is gone
            return 0
        return int(_REQUEST.unpack(answer)[1])

    def _raise(self, device: str) -> None:
        flags = _REQUEST.pack(device.encode(), self._flags(device) | _UP)
        fcntl.ioctl(self.control, _SIOCSIFFLAGS, flags)


def sent_bits() -> dict[str, float]:
    """Bits that each interface of this network namespace has sent."""
    found = {}
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, counters = line.partition(":")
        found[name.strip()] = 8.0 * float(counters.split()[_SENT_BYTES])
    return found


def main(config: Path) -> int:
    """Announce until SIGTERM; the exit status."""
    values = json.loads(config.read_text())
    problem = problem_of(network_from_json(Path(values["network"]).read_text()))
    first, counts = len(problem.network.servers), Counter(messages=0, octets=0, errors=0)
    try:
        agents = [SwitchAgent(problem, first + place, said, counts) for place, said in enumerate(values["switches"])]
    except OSError as error:
        print(f"price agents of switches: {error}", file=sys.stderr)
        return 1
    ending = told_to_end()
    print("ready", flush=True)
    while not ending.is_set():
        time.sleep(PERIOD_S)
        sent, now = sent_bits(), time.time()
        for agent in agents:
            agent.announce(now, sent)
        save_summary(Path(values["told"]), {"time": now, "kind": "links", **counts})
    save_summary(Path(values["log"]), {"agent": "switches", "kind": "links", **counts})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
