"""The real controller under malformed OpenFlow: a fake network that answers, and beside it peers that talk nonsense.

The controller is the process that every run has. Two well-behaved switches keep it ticking; one peer after the other
connects as nobody, or as one of the two, and sends messages that began as real ones and were then cut, stretched,
flipped or made up. At the end the controller must still be there, and a tick must go well.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from controller.guard import HEADER, VERSION
from controller.plant import HostPlant, Plant, SwitchPlant
from experiments.running.controller_process import ControllerProcess
from pricing.errors import WardropError
from pricing.network import Link, Network, Node, Session
from pricing.written import network_to_json

BATCH = 50
"""Messages that a peer sends at most before it leaves (ours)."""

PATIENCE_S = 5.0
"""Longest wait for a connection or an answer (ours)."""

IDENTITIES = (0, 0, 0, 0, 0, 0, 0, 9, 1, 2)
"""As whom a peer introduces itself, drawn evenly: mostly as nobody, as a switch that is none, as one of the two."""

RECOVERY_S = 20.0
"""Longest time from the last message to a tick that goes well (ours)."""

HELLO, ECHO, ECHO_REPLY, FEATURES, FEATURES_REPLY, MULTIPART, MULTIPART_REPLY, BARRIER, BARRIER_REPLY = (
    *(0, 2, 3, 5, 6),
    *(18, 19, 20, 21),
)
PORT_DESC = 13
PORTS = (1, 2)

NETWORK = Network(
    "two nodes",
    (Node("a"), Node("b")),
    (Link("a", "b", 1e7), Link("b", "a", 1e7)),
    (),
    (Session("a-to-b", "a", "unicast", ("b",), 1e5),),
)
PLANT = Plant(
    "",
    {"a": SwitchPlant(1, {"b": 1}), "b": SwitchPlant(2, {"a": 1})},
    {
        f"h-{node}": HostPlant(node, 2, f"10.0.0.{n}", f"02:00:00:00:00:0{n}", "source", ("a-to-b",))
        for n, node in enumerate("ab", 1)
    },
    {},
)


def message(kind: int, body: bytes = b"", xid: int = 1, version: int = VERSION, length: int | None = None) -> bytes:
    """An OpenFlow message; `length` may lie."""
    return HEADER.pack(version, kind, HEADER.size + len(body) if length is None else length, xid) + body


def port(number: int) -> bytes:
    """A port that is alive (OpenFlow 1.3.5, 7.2.1)."""
    return struct.pack("!IxxxxHHHxx16s8I", number, 0x200, 0, number, b"port", *[0] * 8)


def answer(kind: int, xid: int, body: bytes, dpid: int) -> bytes:
    """What a well-behaved switch says to a message."""
    match kind:
        case 2:
            return message(ECHO_REPLY, body, xid)
        case 5:
            return message(FEATURES_REPLY, struct.pack("!QIBBxxII", dpid, 0, 254, 0, 0x4F, 0), xid)
        case 18:
            asked = int.from_bytes(body[:2], "big")
            ports = b"".join(map(port, PORTS)) if asked == PORT_DESC else b""
            return message(MULTIPART_REPLY, struct.pack("!HHxxxx", asked, 0) + ports, xid)
        case 20:
            return message(BARRIER_REPLY, b"", xid)
    return b""


class Switch:
    """A well-behaved switch without packets, on a thread of its own; it comes back when its connection ends."""

    def __init__(self, address: tuple[str, int], dpid: int) -> None:
        self.address, self.dpid, self.stopping = address, dpid, False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End it."""
        self.stopping = True
        self.thread.join(5)

    def _run(self) -> None:
        while not self.stopping:
            try:
                with socket.create_connection(self.address, 1) as peer:
                    self._talk(peer)
            except OSError:
                time.sleep(0.1)

    def _talk(self, peer: socket.socket) -> None:
        peer.settimeout(0.5)
        peer.sendall(message(HELLO))
        held = bytearray()
        while not self.stopping:
            try:
                data = peer.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                return
            held += data
            while len(held) >= HEADER.size and len(held) >= (length := HEADER.unpack_from(held)[2]):
                _, kind, _, xid = HEADER.unpack_from(held)
                peer.sendall(answer(kind, xid, bytes(held[HEADER.size : length]), self.dpid))
                del held[:length]


@dataclass
class Nonsense:
    """Messages that no switch should send, reproducible by their seed."""

    draw: random.Random
    seeds: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        rule = struct.pack("!HBxIIHHHxxxxxxQQQ", 80, 0, 0, 0, 1, 0, 0, 1 << 63, 1, 1) + bytes(32)
        stats = struct.pack("!HHxxxx", 1, 0) + rule
        self.seeds = [
            message(HELLO, struct.pack("!HHI", 1, 8, 0x10)),
            message(1, struct.pack("!HH", 1, 1) + bytes(16)),
            message(ECHO, b"hello"),
            answer(FEATURES, 1, b"", 7),
            message(12, bytes(8) + port(1)),
            message(MULTIPART_REPLY, stats),
            message(MULTIPART_REPLY, struct.pack("!HHxxxx", 4, 0) + bytes(112)),
            message(MULTIPART_REPLY, struct.pack("!HHxxxx", PORT_DESC, 0) + port(1)),
            message(BARRIER_REPLY),
            message(10, bytes(60)),
            message(11, bytes(48)),
        ]

    def next(self) -> bytes:
        """One message: a real one cut, stretched, flipped, of a wrong length or version, or bytes made up."""
        draw = self.draw
        data = bytearray(draw.choice(self.seeds))
        match draw.randrange(7):
            case 0:
                data = bytearray(message(draw.randrange(256), draw.randbytes(draw.randrange(120))))
            case 1:
                struct.pack_into("!H", data, 2, draw.choice((0, 7, 8, len(data) // 2, len(data) + 8, 65535)))
            case 2:
                del data[draw.randrange(len(data)) :]
            case 3:
                data[0] = draw.randrange(256)
            case 4 if len(data) > HEADER.size:  # an inner length that lies
                place = draw.randrange(HEADER.size, len(data))
                data[place : place + 2] = draw.choice((b"\0\0", b"\0\1", b"\xff\xff"))
                struct.pack_into("!H", data, 2, len(data))
            case 5:
                data += draw.randbytes(draw.randrange(1, 200))
                struct.pack_into("!H", data, 2, len(data))
            case _:
                for _ in range(draw.randrange(1, 8)):
                    data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data)


class Peer:
    """One connection; each message is waited for until the controller has answered the next, or shut us out."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held, self.xid = bytearray(), 1 << 16

    def introduce(self, dpid: int) -> None:
        """Say that we are a switch."""
        self.socket.sendall(message(HELLO) + answer(FEATURES, 1, b"", dpid))
        self.socket.sendall(answer(MULTIPART, 2, struct.pack("!H", PORT_DESC), dpid))

    def say(self, data: bytes) -> bool:
        """Send a message; whether the connection goes on."""
        self.xid += 1
        whole = len(data) >= HEADER.size and HEADER.unpack_from(data)[2] == len(data)
        self.socket.sendall(data + message(ECHO, xid=self.xid) if whole else data)
        if not whole:
            self.socket.shutdown(socket.SHUT_WR)  # nothing can follow half a message
        while read := self.socket.recv(1 << 16):
            self.held += read
            while len(self.held) >= HEADER.size and len(self.held) >= HEADER.unpack_from(self.held)[2]:
                _, kind, length, xid = HEADER.unpack_from(self.held)
                del self.held[:length]
                if whole and (kind, xid) == (ECHO_REPLY, self.xid):
                    return True
        return False


def attack(address: tuple[str, int], count: int, seed: int) -> int:
    """Send `count` messages over as many connections as it takes, and return how many of these there were."""
    nonsense, sent, connections = Nonsense(random.Random(seed)), 0, 0
    while sent < count:
        connections += 1
        identity = nonsense.draw.choice(IDENTITIES)
        try:
            peer = Peer(address)
        except OSError:  # a crowd; it goes away
            continue
        with peer.socket, suppress(OSError):  # shut out, as it should be
            if identity:
                peer.introduce(identity)
            for _ in range(min(BATCH, count - sent)):
                sent += 1
                if not peer.say(nonsense.next()):
                    break
    return connections


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def threads(pid: int) -> int:
    """Threads of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def fuzz(folder: Path, framework: str, count: int, seed: int) -> dict[str, Any]:
    """Start the controller, send it `count` malformed messages, and say what became of it.

    Returns
    -------
    dict
        `messages`, `connections`, `seconds`; `refused` by kind; `memory` and `threads` before and after; `survived`,
        whether a tick went well afterwards.

    Raises
    ------
    EmulationError
        When the controller ends, with its last words.
    """
    address = _free(), _free()
    (folder / "network.json").write_text(network_to_json(NETWORK))
    (folder / "plant.json").write_text(json.dumps(asdict(PLANT)))
    options = {"network": folder / "network.json", "plant": folder / "plant.json", "framework": framework}
    options |= {"policy": "shortest-path", "slots": 8, "tick": 0.25}
    options |= {"openflow": f"127.0.0.1:{address[0]}", "metrics": f"127.0.0.1:{address[1]}"}
    controller = ControllerProcess([f"--{name}={value}" for name, value in options.items()], folder)
    switches: list[Switch] = []
    try:
        controller.start()
        switches = [Switch(("127.0.0.1", address[0]), switch.dpid) for switch in PLANT.switches.values()]
        controller.wait_ready()
        before, began = (memory(controller.pid), threads(controller.pid)), time.monotonic()
        connections = attack(("127.0.0.1", address[0]), count, seed)
        took = time.monotonic() - began
        survived = _recovers(controller)
        state = controller.ask({"state": True})
        after = memory(controller.pid), threads(controller.pid)
    finally:
        for switch in switches:
            switch.stop()
        controller.stop()
    return {
        **{"messages": count, "connections": connections, "seconds": took, "framework": framework, "seed": seed},
        **{"refused": state["refused"], "survived": survived},
        **{"memory": [before[0], after[0]], "threads": [before[1], after[1]]},
    }


def _recovers(controller: ControllerProcess) -> bool:
    """Whether a new tick goes well in time."""
    deadline = time.monotonic() + RECOVERY_S
    first = controller.ask({"state": True})["tick"]
    while time.monotonic() < deadline:
        line = controller.ask({"state": True})
        if line["tick"] > first + 1 and line["error"] is None:
            return True
        time.sleep(0.1)
    return False


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check(found: dict[str, Any]) -> None:
    """Raise a WardropError where the controller did not survive."""
    if not found["survived"]:
        raise WardropError(
            f"after {found['messages']} messages no tick went well within {RECOVERY_S:.0f} s (seed {found['seed']})"
        )
