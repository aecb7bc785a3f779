"""Real processes compute on the way: each member gets every packet once, behind both functions; work has a price."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest
import small_fabrics as small
from private_switch import can_emulate, private_switch
from test_controller_emulated import ROOT, build, free_port, records, running

from pricing.chains import sizes
from pricing.network import FRAME_OVERHEAD_BITS, Function, Network, Server, Session, SizeLaw
from topologies.hosts.configs import processing

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.long,
    pytest.mark.skipif(not can_emulate(), reason="needs root and Open vSwitch"),
]

GROUP, PAYLOAD = "239.1.2.3", 458
SENDER = """
import socket, struct, sys, time
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
for port, sock in enumerate(sockets, 20000):
    sock.bind(("", port))
sent, began = 0, time.monotonic()
while True:
    head = struct.pack("!HHIQ", 0, sent % 20, sent, time.time_ns())
    sockets[sent % 20].sendto(head + bytes(int(sys.argv[2]) - 16), (sys.argv[1], 7000))
    sent += 1
    time.sleep(max(0.0, began + 0.005 * sent - time.monotonic()))
"""
MEMBER = """
import json, select, socket, sys
sock, seen = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), []
sock.bind(("", 7000))
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(sys.argv[1]) + bytes(4))
print("up", flush=True)
while True:
    ready = select.select([sock, sys.stdin], [], [])[0]
    if sock in ready:
        data = sock.recv(2000)
        seen.append((int.from_bytes(data[4:8], "big"), len(data)))
    elif sys.stdin in ready:
        break
print(json.dumps(seen), flush=True)
"""


def chained() -> Network:
    """A star: the source's node and the centre compress, the centre and both ends expand."""
    net = small.network([("s", "a"), ("a", "x"), ("a", "y")], {}, [])
    at = {"near": "s", "middle": "a", "left": "x", "right": "y"}
    chain = (
        Function("compress", ("middle", "near"), 0.5, 1.0),
        Function("expand", ("left", "middle", "right"), 3.0, 2.0),
    )
    size = SizeLaw("fixed", PAYLOAD)
    session = Session("k", "s", "multicast", ("x", "y"), 8e5, size, flows=20, group=GROUP, chain=chain)
    servers = tuple(Server(name, node, 1000.0, scv=0.0) for name, node in sorted(at.items()))
    return Network("star", net.nodes, net.links, servers, (session,))


@pytest.mark.parametrize(("policy", "fails"), [("egdcnc", False), ("steiner", True)])
def test_packets_pass_both_functions_once_on_real_switches(policy: str, fails: bool, tmp_path: Path) -> None:
    net = chained()
    (session,) = net.sessions
    configs = processing(net, tmp_path, seed=1)
    with private_switch() as switch, ExitStack() as started:
        plant = build(switch, net, "127.0.0.1:6653")
        for space in switch.hosts:
            switch.inside("ip", "route", "add", "224.0.0.0/4", "dev", "eth0", host=space)

        def program(host: str, *command: str) -> subprocess.Popen[str]:
            inside = ["ip", "netns", "exec", f"{switch.netns}-{host}", sys.executable, *command]
            made = subprocess.Popen(inside, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            started.enter_context(made)
            started.callback(made.kill)
            return made

        functions = {}
        for host, config in configs.items():
            (tmp_path / f"{host}.json").write_text(json.dumps(config))
            functions[host] = program(host, "-m", "topologies.hosts.function", str(tmp_path / f"{host}.json"))
        members = {name: program(f"h-{name}", "-c", MEMBER, GROUP) for name in "xy"}
        for one in (*functions.values(), *members.values()):
            assert one.stdout is not None
            assert one.stdout.readline().strip() in ("ready", "up")
        started.enter_context(
            running(tmp_path, net, plant, f"--policy={policy}", f"--metrics=127.0.0.1:{free_port()}", "--slots=64")
        )
        lines = records(tmp_path)
        started.callback(lines.close)  # type: ignore[attr-defined]
        next(line for line in lines if "installed" in line)
        sender = program("h-s", "-c", SENDER, GROUP, str(PAYLOAD))

        def worked(line: dict[str, object]) -> bool:
            """Whether the load that was measured is that of 200 packets/s: one work before they part, then two."""
            rows = dict(zip((server.name for server in net.servers), line["servers"], strict=True))  # type: ignore[call-overload]
            if any(row["age"] is None for row in rows.values()):
                return False
            first, then = rows["near"]["load"], rows["left"]["load"] + rows["right"]["load"]
            return first + then > 100 and 0.8 * 600 < sum(row["load"] for row in rows.values()) < 1.2 * 1000

        told = next(line for line in islice(lines, 200) if worked(line))
        assert all(row["price"] > 0 and row["up"] for row in told["servers"])
        assert told["error"] is None
        if fails:  # the process of a function dies: packets go through the other one
            rows = dict(zip((server.name for server in net.servers), told["servers"], strict=True))
            gone, other = sorted(("near", "middle"), key=lambda name: rows[name]["load"], reverse=True)
            functions.pop(gone).kill()
            place = net.server_index[other]
            next(line for line in islice(lines, 100) if gone in line["outage"]["servers"])
            next(line for line in islice(lines, 100) if line["servers"][place]["load"] > 100)
        sender.kill()
        sender.wait()
        for _ in range(4):
            next(lines)  # whatever is on its way arrives
        numbers = {}
        for name, member in members.items():
            assert member.stdin is not None
            assert member.stdout is not None
            member.stdin.write("stop\n")
            member.stdin.flush()
            seen = json.loads(member.stdout.readline())
            numbers[name] = [number for number, _ in seen]
            assert len(set(numbers[name])) == len(seen), f"{name}: no packet twice"
            assert fails or sorted(numbers[name]) == list(range(len(seen))), f"{name}: each packet"
            head = FRAME_OVERHEAD_BITS // 8
            assert {size for _, size in seen} == {round((PAYLOAD + head) * sizes(session)[-1]) - head}
        assert set(numbers["x"]) == set(numbers["y"])
        assert len(numbers["x"]) > 100
        for host, process in functions.items():
            os.kill(process.pid, 15)
            assert process.wait(10) == 0, host
        done = [json.loads((tmp_path / f"function-{host}.json").read_text()) for host in functions]
        assert fails or sum(one["passed"] for one in done) >= 2 * len(numbers["x"])
        assert all(one["received"] == one["passed"] for one in done)
        assert sum(one["overflow"] + one["errors"] + one["strange"] for one in done) == 0
