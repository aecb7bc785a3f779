"""The real controller process on real switches: three in line, hosts in namespaces, both frameworks."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import small_networks as small
from private_switch import PrivateSwitch, can_emulate, private_switch

from controller.framework import PACKAGES
from controller.plant import Plant, network_to_json
from pricing.network import Network

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(not can_emulate(), reason="needs root and Open vSwitch"),
]

ROOT = Path(__file__).parents[2]
ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("10.9.0.1", 7000))
while True:
    data, peer = server.recvfrom(2000)
    server.sendto(data[:8], peer)
"""
ASK = """
import socket, sys
answered = 0
for port in range(20000, 20040):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(3)
    client.bind(("", port))
    client.sendto(b"x" * 100, ("10.9.0.1", 7000))
    answered += len(client.recv(100)) == 8
print(answered)
"""


def build(switch: PrivateSwitch, net: Network, openflow: str) -> Plant:
    """Switches, cables and hosts of a network."""
    plant = small.plant(net, switch.netns)
    for name, one in plant.switches.items():
        switch.bridge(name, one.dpid, f"tcp:{openflow}")
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


def test_packets_arrive_and_answers_come_back(framework: str, tmp_path: Path) -> None:
    port = free_port()
    with private_switch() as switch:
        plant = build(switch, small.LINE, "127.0.0.1:6653")
        client, other = (f"{switch.netns}-{name}" for name in ("h-a", "h-c"))
        servers = []
        options = [f"--framework={framework}", f"--metrics=127.0.0.1:{port}", "--policy=ecmp", "--slots=256"]
        try:
            with running(tmp_path, small.LINE, plant, *options) as process:
                lines = records(tmp_path)
                first = next(lines)
                assert first["error"] is None, (tmp_path / "log").read_text()
                for name in ("east", "west"):
                    space = ["ip", "netns", "exec", f"{switch.netns}-{name}", sys.executable]
                    servers.append(subprocess.Popen([*space, "-c", ECHO]))
                    web = [*space, "-m", "http.server", "80", "--bind", "10.9.0.1", "--directory", str(tmp_path)]
                    servers.append(subprocess.Popen(web, stderr=subprocess.DEVNULL))
                for target in (plant.hosts["h-c"].ip, plant.hosts["east"].ip, "10.9.0.1"):
                    switch.inside("ping", "-c3", "-i0.2", "-W2", target, host=client)
                switch.inside("ping", "-c1", "-W2", "10.9.0.1", host=other)
                assert switch.inside(sys.executable, "-c", ASK, host=client).strip() == "40"
                fetch = ["curl", "-sS", "--retry", "5", "--retry-connrefused", "http://10.9.0.1/network.json"]
                assert switch.inside(*fetch, host=client) == network_to_json(small.LINE)
                text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
                assert 'wardrop_link_load_bits_per_second{dst="b",src="a"}' in text
                assert ask(tmp_path / "control.sock", {"policy": "shortest"})["error"].count("shortest-path") == 2
                assert ask(tmp_path / "control.sock", {"policy": "shortest-path"}) == {"policy": "shortest-path"}
                changed = next(line for line in lines if line["policy"] == "shortest-path")
                assert changed["decided"]["from-a"] == [["a>b@west", 1.0]]
                assert changed["error"] is None
                assert process.poll() is None
                lines.close()
        finally:
            for server in servers:
                server.kill()
                server.wait()
