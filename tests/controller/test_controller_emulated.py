"""The real controller process on real switches: three in line, hosts in namespaces, both frameworks."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import small_fabrics as small
from private_switch import PrivateSwitch, can_emulate, private_switch

from controller.certificates import make
from controller.channel import AUTHORITY, SWITCH
from controller.framework import PACKAGES
from controller.hashing import slots_of
from controller.plant import Plant
from pricing.network import Network
from pricing.written import network_to_json

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(not can_emulate(), reason="needs root and Open vSwitch"),
]

ROOT = Path(__file__).parents[2]
SERVER = """
import socket, sys, threading
name = sys.argv[1].encode()
requests = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
requests.bind(("10.9.0.1", 7000))
pages = socket.create_server(("10.9.0.1", 80), backlog=100)

def serve(connection):
    while connection.recv(1000):
        connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n" + name.ljust(5))

def accept():
    while True:
        threading.Thread(target=serve, args=pages.accept()[:1], daemon=True).start()

threading.Thread(target=accept, daemon=True).start()
print("up", flush=True)
while True:
    data, peer = requests.recvfrom(2000)
    requests.sendto(data[:8] + name, peer)
"""
DATAGRAMS = """
import socket, collections
count = collections.Counter()
for port in range(20000, 20050):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(3)
    client.bind(("", port))
    client.sendto(b"x" * 100, ("10.9.0.1", 7000))
    count[client.recv(100)[8:].decode()] += 1
print(dict(count))
"""
STREAM = """
import select, socket, sys, threading, time
clients = []
for port in range(20000, 20050):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    client.bind(("", port))
    clients.append(client)
sent, going = 0, [True]
threading.Thread(target=lambda: (sys.stdin.readline(), going.clear()), daemon=True).start()
print("up", flush=True)
while going:
    clients[sent % 50].sendto(sent.to_bytes(8, "big") + bytes(100), ("10.9.0.1", 7000))
    sent += 1
    time.sleep(0.001)
answers, deadline = [], time.monotonic() + 3
while len(answers) < sent and time.monotonic() < deadline:
    for client in select.select(clients, [], [], 0.1)[0]:
        answers.append(int.from_bytes(client.recv(100)[:8], "big"))
print(sent, len(answers), len(set(answers)))
"""
CONNECTIONS = """
import socket, sys
def ask(connection):
    connection.sendall(b"GET /")
    return connection.recv(1000)[-5:]
connections = [socket.create_connection(("10.9.0.1", 80), 3) for _ in range(20)]
before = [ask(one) for one in connections]
print(len(set(before)), flush=True)
sys.stdin.readline()
after = [ask(one) for one in connections]
fresh = [ask(socket.create_connection(("10.9.0.1", 80), 3)) for _ in range(20)]
print(before == after, len(set(fresh)))
"""
NET = small.network([("a", "b"), ("b", "c")], {"east": "c", "west": "a"}, ["b"])
"""Three switches in line, a client in the middle, a server at each end."""


def build(switch: PrivateSwitch, net: Network, openflow: str, protocol: str = "tcp") -> Plant:
    """Switches, cables and hosts of a network."""
    plant = small.plant(net, switch.netns)
    for name, one in plant.switches.items():
        switch.bridge(name, one.dpid, f"{protocol}:{openflow}")
    for link in net.links:
        if link.src < link.dst:
            ends = plant.switches[link.src].ports[link.dst], plant.switches[link.dst].ports[link.src]
            switch.cable(link.src, ends[0], link.dst, ends[1])
    for name, host in plant.hosts.items():
        service = list(plant.services.values()) if host.role == "server" else []
        switch.host(name, host.node, host.port, host.mac, [host.ip, *service])
    return plant


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """One request to the control socket, one reply."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(json.dumps(request).encode() + b"\n")
        reply: dict[str, Any] = json.loads(client.makefile().readline())
        return reply


@contextmanager
def running(folder: Path, net: Network, plant: Plant, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The controller process, until its first allocation is in force; ended afterwards."""
    (folder / "network.json").write_text(network_to_json(net))
    (folder / "plant.json").write_text(json.dumps(asdict(plant)))
    command = [sys.executable, "-m", "controller", f"--network={folder}/network.json", f"--plant={folder}/plant.json"]
    command += [f"--record={folder}/record.jsonl", f"--control={folder}/control.sock", "--tick=0.3", *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """Record lines, as they come."""
    tail = subprocess.Popen(["tail", "-n+1", "-F", folder / "record.jsonl"], stdout=subprocess.PIPE, stderr=-3)
    try:
        assert tail.stdout is not None
        for line in tail.stdout:
            yield json.loads(line)
    finally:
        tail.terminate()
        tail.wait()
        assert tail.stdout is not None
        tail.stdout.close()


@pytest.fixture(scope="module", params=list(PACKAGES))
def framework(request: pytest.FixtureRequest) -> str:
    """Each framework that is installed."""
    pytest.importorskip(PACKAGES[request.param])
    return str(request.param)


@contextmanager
def servers(switch: PrivateSwitch) -> Iterator[None]:
    """A server of datagrams and connections at each end."""
    started = []
    try:
        for name in ("east", "west"):
            command = ["ip", "netns", "exec", f"{switch.netns}-{name}", sys.executable, "-c", SERVER, name]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        for server in started:
            assert server.stdout is not None
            assert server.stdout.readline() == b"up\n"
        yield
    finally:
        for server in started:
            server.kill()
            server.communicate()


def expected(line: dict[str, Any], plant: Plant) -> dict[str, int]:
    """How many of the 50 flows each server gets by the slots in force."""
    numbers = line["slots"]["from-b"]
    taken = slots_of(plant.hosts["h-b"].ip, "10.9.0.1", 17, range(20000, 20050), 7000, len(numbers))
    return dict(Counter(line["routes"][str(numbers[slot])]["host"] for slot in taken))


def test_packets_arrive_and_answers_come_back(framework: str, tmp_path: Path) -> None:
    port = free_port()
    options = [f"--framework={framework}", f"--metrics=127.0.0.1:{port}", "--policy=ecmp", "--slots=256"]
    with private_switch() as switch:
        plant = build(switch, NET, "127.0.0.1:6653")
        client, other = (f"{switch.netns}-{name}" for name in ("h-b", "h-c"))
        with running(tmp_path, NET, plant, *options) as process, servers(switch), ExitStack() as started:
            lines = records(tmp_path)
            first = next(lines)
            assert first["error"] is None
            for target in (plant.hosts["h-c"].ip, plant.hosts["east"].ip, "10.9.0.1"):
                switch.inside("ping", "-c2", "-i0.2", "-W2", target, host=client)
            switch.inside("ping", "-c1", "-W2", "10.9.0.1", host=other)
            switch.inside("ping", "-c1", "-W2", plant.hosts["h-a"].ip, host=other)
            answers = ast.literal_eval(switch.inside(sys.executable, "-c", DATAGRAMS, host=client))
            assert answers == expected(first, plant)
            assert abs(answers["east"] - 25) <= 1
            assert switch.inside("curl", "-sS", "http://10.9.0.1/", host=client).strip() in ("east", "west")

            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
            assert 'wardrop_link_load_bytes_per_second{dst="b",src="a"}' in text
            assert "shortest-path" in ask(tmp_path / "control.sock", {"policy": "shortest"})["error"]
            command = ["ip", "netns", "exec", client, sys.executable, "-c"]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            open_ones = started.enter_context(subprocess.Popen([*command, CONNECTIONS], **pipes))
            started.callback(open_ones.kill)
            assert open_ones.stdout is not None
            assert open_ones.stdout.readline() == "2\n"
            assert ask(tmp_path / "control.sock", {"policy": "shortest-path"}) == {"policy": "shortest-path"}
            changed = next(line for line in lines if line["policy"] == "shortest-path")
            assert len(changed["decided"]["from-b"]) == 1
            assert changed["error"] is None
            settle(lines)
            assert open_ones.communicate("\n", timeout=20)[0] == "True 1\n"

            stream = started.enter_context(subprocess.Popen([*command, STREAM], **pipes))
            started.callback(stream.kill)
            assert stream.stdout is not None
            assert stream.stdout.readline() == "up\n"
            for policy in ("ecmp", "shortest-path") * 3:
                ask(tmp_path / "control.sock", {"policy": policy})
                assert next(line for line in lines if line["policy"] == policy)["rules_changed"] > 0
            sent, received, different = map(int, stream.communicate("\n", timeout=20)[0].split())
            assert sent == received == different
            assert sent > 500
            lines.close()
            assert process.poll() is None


def settle(lines: Iterator[dict[str, Any]]) -> None:
    """Some ticks more: a switch goes on with cached decisions for up to half a second."""
    for _ in range(4):
        assert next(lines)["error"] is None


FORGER = """
import socket, struct, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
own, gateway = wire.getsockname()[4], bytes.fromhex("0256fffffffe")
def ip(source):
    ends = map(socket.inet_aton, (source, sys.argv[2]))
    return struct.pack("!BBHHHBBH4s4s", 69, 0, 20, 0, 0, 9, 253, 0, *ends)
for _ in range(10):
    wire.send(bytes.fromhex("025700010000") + own + b"\\x08\\0" + ip(sys.argv[1]) + bytes(30))
    wire.send(gateway + own + b"\\x81\\0\\0\\x01\\x08\\0" + ip(sys.argv[1]) + bytes(30))
    wire.send(gateway + own + b"\\x08\\0" + ip("10.9.0.1") + bytes(30))
    wire.send(b"\\xff" * 6 + own + struct.pack("!HHHBBH6s4s6s4s", 0x806, 1, 0x800, 6, 4, 1, own,
              socket.inet_aton("10.9.0.1"), bytes(6), socket.inet_aton(sys.argv[2])) + bytes(20))
"""


def test_switches_speak_tls_and_hosts_that_forge_are_counted(framework: str, tmp_path: Path) -> None:
    make(tmp_path / "keys")
    options = [f"--framework={framework}", "--policy=shortest-path", "--slots=64", f"--metrics=127.0.0.1:{free_port()}"]
    with private_switch() as switch:
        files = (f"{SWITCH}-key.pem", f"{SWITCH}-certificate.pem", AUTHORITY)
        switch.vsctl("set-ssl", *(str(tmp_path / "keys" / file) for file in files))
        plant = build(switch, NET, "127.0.0.1:6653", "ssl")
        client, other = plant.hosts["h-b"], plant.hosts["h-c"]
        with running(tmp_path, NET, plant, *options, f"--certificates={tmp_path}/keys"):
            lines = records(tmp_path)
            assert next(lines)["error"] is None
            switch.inside("ping", "-c2", "-i0.2", "-W2", other.ip, host=f"{switch.netns}-h-b")
            switch.inside(sys.executable, "-c", FORGER, client.ip, other.ip, host=f"{switch.netns}-h-b")
            wanted = {"label": 10, "vlan": 10, "address": 20}
            seen = (line.get("dropped", {}) for line in islice(lines, 60))
            found = next(dropped for dropped in seen if dropped.get("h-b") == wanted)
            assert all(not any(kinds.values()) for host, kinds in found.items() if host != "h-b")
            lines.close()
