"""Plain sockets join and leave groups on real switches; whoever stays hears every packet once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import small_fabrics as small
from private_switch import PrivateSwitch, can_emulate, private_switch
from test_controller_emulated import build, free_port, records, running

from controller.framework import PACKAGES
from controller.plant import Plant
from pricing.network import Network, Session

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.long,
    pytest.mark.skipif(not can_emulate(), reason="needs root and Open vSwitch"),
]

GROUP = "239.1.2.3"
SENDER = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 20000))
sent, began = 0, time.monotonic()
while True:
    sock.sendto(sent.to_bytes(8, "big") + bytes(100), (sys.argv[1], 7000))
    sent += 1
    time.sleep(max(0.0, began + 0.005 * sent - time.monotonic()))
"""
MEMBER = """
import json, select, socket, sys, time
group, source = sys.argv[1:3]
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
wire.bind(("eth0", 0x800))
sock, told, seen = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), [], []
ends = [socket.inet_aton(group), bytes(4)] + ([socket.inet_aton(source)] if source else [])
join, leave = (39, 40) if source else (socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP)
print("up", flush=True)
while True:
    ready = select.select([wire, sys.stdin], [], [])[0]
    if wire in ready:
        frame, (_, _, kind, *_) = wire.recvfrom(2000)
        if kind != socket.PACKET_OUTGOING and frame[30:34] == ends[0] and frame[23] == 17:
            seen.append((int.from_bytes(frame[42:50], "big"), time.time()))
    if sys.stdin in ready:
        word = sys.stdin.readline().strip()
        if word == "stop":
            break
        told.append((word, time.time()))
        sock.setsockopt(socket.IPPROTO_IP, join if word == "join" else leave, b"".join(ends))
print(json.dumps({"told": told, "seen": seen}), flush=True)
"""
STRANGE = """
import socket, struct
wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for source in ("0.0.0.0", "10.0.0.77"):  # the kernel fills in the host's own address for the first
    ends = map(socket.inet_aton, (source, "224.0.0.22"))
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 1, 2, 0, *ends)
    wire.sendto(head + b"\\x16\\0\\1\\2" + socket.inet_aton("239.1.2.3"), ("224.0.0.22", 0))
"""


def group_network() -> Network:
    """Three switches in line; one sends to a group, the two others may join."""
    net = small.network([("a", "b"), ("b", "c")], {}, [])
    session = Session("k", "a", "multicast", ("b", "c"), 2e5, flows=1, group=GROUP, joined=True)
    return Network(net.name, net.nodes, net.links, (), (session,))


LINE = group_network()


@dataclass
class Host:
    """A program in a host that joins and leaves when it is told."""

    process: subprocess.Popen[str]

    def say(self, word: str) -> None:
        """join, leave or stop."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def seen(self) -> tuple[list[tuple[str, float]], list[tuple[int, float]]]:
        """What it was told, and the packets of the group that came over its wire: number and time."""
        self.say("stop")
        assert self.process.stdout is not None
        found = json.loads(self.process.stdout.readline())
        return [(word, at) for word, at in found["told"]], [(number, at) for number, at in found["seen"]]


@dataclass
class Bed:
    """A network that runs, with a source that sends."""

    switch: PrivateSwitch
    plant: Plant
    lines: Iterator[dict[str, Any]]
    started: ExitStack

    def program(self, host: str, text: str, *arguments: str) -> subprocess.Popen[str]:
        """A program of ours in a host, ended with the bed."""
        return self.run(host, sys.executable, "-c", text, *arguments)

    def run(self, host: str, *words: str) -> subprocess.Popen[str]:
        """Any program in a host, ended with the bed."""
        command = ["ip", "netns", "exec", f"{self.switch.netns}-{host}", *words]
        found = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.started.enter_context(found)
        self.started.callback(found.kill)
        return found

    def member(self, host: str, source: str = "") -> Host:
        """A member to be."""
        found = Host(self.program(host, MEMBER, GROUP, source))
        assert found.process.stdout is not None
        assert found.process.stdout.readline() == "up\n"
        return found

    def until(self, right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first record line from now on that is right."""
        return next(line for line in islice(self.lines, 100) if right(line))

    def members(self, *nodes: str) -> dict[str, Any]:
        """The first line in which these are the members."""
        return self.until(lambda line: line["members"]["k"] == list(nodes))


@contextmanager
def bed(folder: Path, *options: str, net: Network = LINE, sends: bool = True) -> Iterator[Bed]:
    """A network, its controller, and the source where nobody else sends."""
    every = ["--policy=steiner", "--slots=16", f"--metrics=127.0.0.1:{free_port()}", *options]
    with private_switch() as switch:
        plant = build(switch, net, "127.0.0.1:6653")
        for space in switch.hosts:
            switch.inside("ip", "route", "add", "224.0.0.0/4", "dev", "eth0", host=space)
        with running(folder, net, plant, *every), ExitStack() as started:
            lines = records(folder)
            started.callback(lines.close)  # type: ignore[attr-defined]
            found = Bed(switch, plant, lines, started)
            first = found.until(lambda line: "members" in line)
            assert first["error"] is None
            assert not any(first["members"].values())
            assert not any(first["served"].values())
            if sends:
                found.program("h-a", SENDER, GROUP)
            yield found


def once(seen: list[tuple[int, float]]) -> list[int]:
    """The numbers, each one more than the one before."""
    numbers = [number for number, _ in seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return numbers


def test_who_joins_is_served_who_leaves_is_pruned_and_who_stays_misses_nothing(tmp_path: Path) -> None:
    with bed(tmp_path) as net:
        stays, comes = net.member("h-b"), net.member("h-c", net.plant.hosts["h-a"].ip)
        stays.say("join")
        net.members("b")
        comes.say("join")
        net.members("b", "c")
        net.switch.inside(sys.executable, "-c", STRANGE, host=f"{net.switch.netns}-h-c")
        comes.say("leave")
        gone = net.members("b")
        late = net.until(lambda line: line["dropped"].get("h-c", {}).get("address") == 1)
        assert (late["reports_refused"], late["error"]) == ({"malformed": 1}, None)
        assert gone["reports"]["v3"] >= 3
        told, seen = comes.seen()
        assert [word for word, _ in told] == ["join", "leave"]
        numbers = once(stays.seen()[1])
        assert set(once(seen)) < set(numbers)
        assert len(numbers) > 100


@pytest.mark.parametrize("framework", list(PACKAGES))
def test_version_2_and_a_member_that_vanishes(framework: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[framework])
    with bed(tmp_path, f"--framework={framework}", "--tick=1") as net:
        for host in ("h-b", "h-c"):
            net.switch.inside(
                "sysctl", "-qw", "net.ipv4.conf.eth0.force_igmp_version=2", host=f"{net.switch.netns}-{host}"
            )
        stays, goes = net.member("h-b"), net.member("h-c")
        stays.say("join")
        goes.say("join")
        net.members("b", "c")
        net.switch.inside("ip", "link", "set", "eth0", "down", host=f"{net.switch.netns}-h-c")
        line = net.members("b")
        assert line["reports"]["v2"] >= 2  # the kernel may have spoken version 3 before it was told
        once(stays.seen()[1])
