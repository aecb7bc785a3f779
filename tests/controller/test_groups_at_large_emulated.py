"""Groups at their largest, on real switches: 18 members, which no label holds; 200 groups; programs of others."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
import small_fabrics as small
from private_switch import can_emulate
from test_membership_emulated import GROUP, bed

from pricing.network import Network, Session

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.long,
    pytest.mark.skipif(not can_emulate(), reason="needs root and Open vSwitch"),
]

LEAVES = tuple(f"n{number:02}" for number in range(24))
MEMBERS, BOTH = LEAVES[1:19], LEAVES[20:22]
MANY = tuple(f"239.2.0.{number}" for number in range(1, 201))
SENDER = """
import socket, sys, time
period, groups = float(sys.argv[1]), sys.argv[2:]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 20000))
sent, began = 0, time.monotonic()
while True:
    turn, place = divmod(sent, len(groups))
    sock.sendto(turn.to_bytes(8, "big") + bytes(100), (groups[place], 7000))
    sent += 1
    time.sleep(max(0.0, began + period * sent - time.monotonic()))
"""
MEMBER = """
import collections, json, select, socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
wire.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)
wire.bind(("eth0", 0x800))
socks, seen = [], collections.defaultdict(list)
for group in sys.argv[1:]:  # a socket joins twenty at most
    socks.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    socks[-1].setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + bytes(4))
print("up", flush=True)
while True:
    ready = select.select([wire, sys.stdin], [], [])[0]
    if wire in ready:
        frame, (_, _, kind, *_) = wire.recvfrom(2000)
        if kind != socket.PACKET_OUTGOING and frame[23] == 17:
            seen[socket.inet_ntoa(frame[30:34])].append(int.from_bytes(frame[42:50], "big"))
    if sys.stdin in ready:
        break
print(json.dumps(seen), flush=True)
"""


def star() -> Network:
    """A star of 24: one group of 18 members, and 200 groups of two."""
    net = small.network([("hub", leaf) for leaf in LEAVES], {}, [])
    sessions = [Session("large", LEAVES[0], "multicast", MEMBERS, 2e5, flows=1, group=GROUP, joined=True)]
    for number, group in enumerate(MANY):
        sessions.append(Session(f"g{number:03}", LEAVES[19], "multicast", BOTH, 1e4, flows=1, group=group, joined=True))
    return Network(net.name, net.nodes, net.links, (), tuple(sorted(sessions, key=lambda session: session.name)))


def told(program: subprocess.Popen[str]) -> dict[str, list[int]]:
    """What a member saw, by group, once it is asked to stop."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("stop\n")
    program.stdin.flush()
    found: dict[str, list[int]] = json.loads(program.stdout.readline())
    return found


def test_eighteen_members_and_two_hundred_groups_have_each_packet_once(tmp_path: Path) -> None:
    groups = {f"g{number:03}": group for number, group in enumerate(MANY)}
    with bed(tmp_path, "--tick=1", net=star(), sends=False) as net:
        net.program(f"h-{LEAVES[0]}", SENDER, "0.01", GROUP)
        net.program(f"h-{LEAVES[19]}", SENDER, "0.005", *MANY)
        members = {leaf: net.program(f"h-{leaf}", MEMBER, GROUP) for leaf in MEMBERS}
        both = {leaf: net.program(f"h-{leaf}", MEMBER, *MANY) for leaf in BOTH}
        for program in (*members.values(), *both.values()):
            assert program.stdout is not None
            assert program.stdout.readline() == "up\n"
        wanted = {"large": list(MEMBERS)} | {name: list(BOTH) for name in groups}
        line = net.until(lambda line: line["members"] == wanted and line["error"] is None)
        later = net.until(lambda each: each["tick"] >= line["tick"] + 6)  # queries were answered again
        assert (later["members"], later["error"], later["reports_refused"]) == (wanted, None, {})
        seen = {leaf: told(program)[GROUP] for leaf, program in members.items()}
        for numbers in seen.values():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        common = set.intersection(*map(set, seen.values()))
        assert len(common) > 300, "all eighteen have the same packets"
        for program in both.values():
            found = told(program)
            assert found.keys() == set(MANY)
            for numbers in found.values():
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
                assert len(numbers) >= 4
        lines = map(json.loads, (tmp_path / "record.jsonl").read_text().splitlines())
        routes = [line["routes"] for line in lines if "routes" in line][-1]
        labels = Counter(one["route"] for one in routes.values() if one["session"] == "large")
        assert max(labels.values()) == 2, "a label tells sixteen apart"


def test_programs_that_know_nothing_of_us_send_and_hear(tmp_path: Path) -> None:
    """iperf 2: its server is a member, its client the source; datagrams are numbered, and the server counts."""
    if not shutil.which("iperf"):
        pytest.skip("iperf 2 is not installed")
    with bed(tmp_path, sends=False) as net:
        command = ["stdbuf", "-oL", "iperf", "-s", "-u", "-B", GROUP, "-i", "1"]
        servers = [net.run(host, *command) for host in ("h-b", "h-c")]
        net.members("b", "c")
        # not the policy's first tick with them: its rules are in the switches
        net.until(lambda line: line["served"]["k"] == 1 and line["members"]["k"] == ["b", "c"])
        client = net.run("h-a", "iperf", "-c", GROUP, "-u", "-T", "16", "-b", "400k", "-l", "500", "-t", "5")
        said, _ = client.communicate(timeout=30)
        sent = int(re.findall(r"Sent (\d+) datagrams", said)[0])
        time.sleep(1.0)
        net.members("b", "c")
        for server in servers:
            server.send_signal(signal.SIGINT)
            heard, _ = server.communicate(timeout=30)
            whole = [(int(lost), int(total)) for lost, total in re.findall(r"(\d+)/ *(\d+) \(", heard)]
            assert whole
            assert "out-of-order" not in heard
            assert whole[-1][0] == 0, heard
            assert sent - 1 <= whole[-1][1] <= sent + 1


FILM = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-t", "8", "-c:v", "mpeg2video", "-b:v", "300k"]


def frames(told: str) -> list[list[str]]:
    """Size and checksum of each frame, as `-f framecrc` writes them."""
    return [line.split(",")[4:6] for line in told.splitlines() if line.startswith("0,")]


def test_a_film_reaches_both_members_frame_by_frame(tmp_path: Path) -> None:
    """ffmpeg streams to a group and ffmpeg joins it; what both receive is what was encoded."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    with bed(tmp_path, sends=False) as net:
        quiet, url = ["ffmpeg", "-nostdin", "-loglevel", "error"], f"udp://{GROUP}:7000"
        # a member ends when nothing has come for ten seconds
        hear = [*quiet, "-i", f"{url}?timeout=10000000", "-map", "0:v", "-c", "copy", "-f", "framecrc", "-"]
        members = [net.run(host, *hear) for host in ("h-b", "h-c")]
        net.members("b", "c")
        net.until(lambda line: line["served"]["k"] == 1 and line["members"]["k"] == ["b", "c"])
        both = f"[f=mpegts]{url}?ttl=16|[f=framecrc]pipe:1"
        told, _ = net.run("h-a", *quiet, *FILM, "-map", "0:v", "-f", "tee", both).communicate(timeout=60)
        sent = frames(told)
        assert len(sent) == 200, "eight seconds"
        for member in members:
            told, _ = member.communicate(timeout=60)
            assert frames(told) == sent
        net.members()
