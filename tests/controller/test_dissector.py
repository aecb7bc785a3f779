"""The dissector for Wireshark shows what compiled rules wrote into packets: route, status, who is owed, requests."""

from __future__ import annotations

import shutil
import struct
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, Packet, number
from test_duplicate import BUTTERFLY, GROUP, group_network, group_packet, rules_of

from controller.fabric import Fabric
from controller.labels import Labels
from controller.rules import GATEWAY_MAC, diff
from pricing.duplication import tree_route
from pricing.frames import datagram
from pricing.problem import make_allocation
from topologies.hosts.sockets import HEADER, SERVICE_PORT

DISSECTOR = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "wireshark" / "wardrop.lua"
FIELDS = ["route", "stage", "status", "destination", "owes", "bypass", "gateway", "session", "flow", "seq", "sent"]

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here; `bin/wardrop test` installs it")


class Wiretap(FakeNetwork):
    """A network that keeps each packet as it comes in at a switch."""

    def __init__(self, fabric: Fabric) -> None:
        super().__init__(fabric.plant)
        self.crossed: list[tuple[str, Packet]] = []

    def inject(self, node: str, port: int, packet: Packet, passed: tuple[str, ...] = ()) -> list[Any]:
        self.crossed.append((node, packet))
        return super().inject(node, port, packet, passed)


def frame(packet: Packet, seq: int) -> bytes:
    """A packet of the in-memory network as bytes, with a request in it."""
    macs = (GATEWAY_MAC, ":".join(f"{byte:02x}" for byte in packet["eth_dst"].to_bytes(6)))
    request = HEADER.pack(0, 5, seq, 1_790_000_000_123_456_789) + bytes(20)
    made = datagram(macs, ("10.0.0.1", GROUP), SERVICE_PORT, request, 8)
    tag = struct.pack("!HH", 0x8100, packet["vlan_vid"] & 0xFFF) if "vlan_vid" in packet else b""
    return made[:12] + tag + made[12:]


def dissected(path: Path, frames: list[bytes]) -> list[dict[str, str]]:
    """What tshark shows of each frame."""
    records = b"".join(struct.pack("<IIII", 0, 0, len(one), len(one)) + one for one in frames)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + records)
    command = ["tshark", "-X", f"lua_script:{DISSECTOR}", "-o", "wardrop.members:0=X,Y", "-r", str(path)]
    fields = [part for name in FIELDS for part in ("-e", f"wardrop.{name}")] + ["-e", "_ws.col.Info"]
    told = subprocess.run([*command, "-T", "fields", *fields], capture_output=True, text=True, timeout=60, check=True)
    assert "Lua" not in told.stderr, told.stderr
    return [dict(zip([*FIELDS, "info"], line.split("\t"), strict=True)) for line in told.stdout.splitlines()]


def test_a_capture_shows_who_each_copy_is_owed_to(tmp_path: Path) -> None:
    fabric = small.fabric(group_network([*BUTTERFLY, "S>N", "N>A", "X>N"], "XY"))
    (session,) = fabric.network.sessions
    ways = {"X": "SAX", "Y": "SANWY"}
    route = tree_route(session, {name: tuple(pairwise(way)) for name, way in ways.items()})
    rules, labels, _ = rules_of(fabric, make_allocation([route], [1.0]), Labels(), {}, {})
    network = Wiretap(fabric)
    for change in diff(rules, {}):
        network.apply(change)
    network.fail("S", "A")
    assert len(network.send("h-S", group_packet(fabric, 20000) | {"eth_dst": number(GATEWAY_MAC)})) == 2
    network.fail("S", "A", works=True)
    assert len(network.send("h-S", group_packet(fabric, 20000))) == 2
    assert [node for node, packet in network.crossed if "vlan_vid" in packet] == ["N"], "the tag goes before A"

    node, last = network.crossed[-1]
    network.crossed.insert(0, (node, last | {"eth_dst": last["eth_dst"] + (2 << 42)}))  # as after two functions
    frames = [frame(packet, seq) for seq, (_, packet) in enumerate(network.crossed)]
    seen = dissected(tmp_path / "seen.pcap", frames)
    assert len(seen) == len(frames)
    number_ = str(labels.numbers[fabric.there(route)])
    for seq, (shown, (_, packet)) in enumerate(zip(seen, network.crossed, strict=True)):
        assert (shown["session"], shown["flow"], shown["seq"]) == ("0", "5", str(seq))
        assert "123456789" in shown["sent"]
        assert shown["bypass"] == (str(packet["vlan_vid"] & 0xFFF) if "vlan_vid" in packet else "")
        assert ("[around link " + shown["bypass"] + "]" in shown["info"]) == ("vlan_vid" in packet)
        assert shown["stage"] == (str(packet["eth_dst"] >> 42) if shown["route"] else "")
        assert (shown["gateway"] == "1") == (packet["eth_dst"] == number(GATEWAY_MAC))
    way = [(node, shown["owes"]) for (node, _), shown in zip(network.crossed[-6:], seen[-6:], strict=True)]
    assert sorted(way) == [("A", "{X,Y}"), ("N", "{Y}"), ("S", ""), ("W", "{Y}"), ("X", "{X}"), ("Y", "{Y}")]
    labelled = [shown for shown in seen if shown["route"]]
    assert {shown["route"] for shown in labelled} == {number_}
    assert [shown["stage"] for shown in labelled][:2] == ["2", "0"]
    assert {shown["status"]: shown["destination"] for shown in labelled} == {
        "0x0001": "0",
        "0x0002": "1",
        "0x0003": "0,1",
    }
