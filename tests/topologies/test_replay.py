"""Captures that are sent again, and tables of payloads: what goes out is what was read, at the rate that is asked."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_scenario import changed

from pricing.errors import ScenarioError
from pricing.network import FRAME_OVERHEAD_BITS, SizeLaw
from pricing.written import network_from_json, network_to_json
from topologies.hosts.arrivals import Pattern
from topologies.hosts.pcap import read_capture
from topologies.hosts.sender import FIRST_MEASURED, Traffic, schedule
from topologies.scenario import Scenario, dump, parse

PACKETS = [(5.0, 60), (5.5, 1514), (5.5, 342), (7.0, 342)]
"""Times, s, and frames, bytes."""


def classic(packets: list[tuple[float, int]], order: str = "<", unit: float = 1e6, link: int = 1) -> bytes:
    """A pcap file that keeps 20 bytes of each packet."""
    magic = 0xA1B2C3D4 if unit == 1e6 else 0xA1B23C4D
    records = [
        struct.pack(f"{order}IIII", int(when), round(when % 1 * unit), 20, length) + bytes(20)
        for when, length in packets
    ]
    return struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 20, link) + b"".join(records)


def next_generation(packets: list[tuple[float, int]], order: str = "<", link: int = 1) -> bytes:
    """A pcapng file with nanoseconds and a block that nobody knows."""

    def block(kind: int, body: bytes) -> bytes:
        return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)

    section = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack(f"{order}HH3sx", 2, 3, b"eth") + struct.pack(f"{order}HHB3xI", 9, 1, 9, 0)
    interface = block(1, struct.pack(f"{order}HHI", link, 0, 0) + options)
    told = [block(0xBAD, b"1234")]
    for when, length in packets:
        now = int(when * 1e9)
        head = struct.pack(f"{order}IIIII", 0, now >> 32, now & 0xFFFFFFFF, 20, length)
        told.append(block(6, head + bytes(20)))
    return section + interface + b"".join(told)


FILES = {
    "pcap": classic(PACKETS),
    "other byte order, nanoseconds": classic(PACKETS, ">", 1e9),
    "pcapng": next_generation(PACKETS),
    "pcapng, other byte order": next_generation(PACKETS, ">"),
    "bare IP": classic([(when, length - 14) for when, length in PACKETS], link=101),
    "any interface": classic([(when, length + 2) for when, length in PACKETS], link=113),
    "out of order": classic(PACKETS[::-1]),
}


def written(folder: Path, content: bytes) -> Path:
    path = folder / "x.pcap"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_times_and_sizes_are_read(content: bytes, tmp_path: Path) -> None:
    found = read_capture(written(tmp_path, content))
    assert found.due.tolist() == [0, 500_000_000, 500_000_000, 2_000_000_000]
    assert sorted(found.sizes.tolist()) == sorted([18, 1472, 300, 300])
    assert (found.sizes[0], found.sizes[3]) == (18, 300)
    assert found.rate == 1.5


def test_what_a_card_would_cut_up_is_cut_up(tmp_path: Path) -> None:
    found = read_capture(written(tmp_path, classic([(0.0, 42 + 3000), (1.0, 42 + 1472)])))
    assert found.sizes.tolist() == [1472, 1472, 56, 1472]
    assert found.due.tolist() == [0, 0, 0, 1_000_000_000]


BROKEN = {
    "begins with 68656c6c, as no capture does": b"hello, world",
    "ends in the middle of a header": classic(PACKETS)[:-30],
    "ends in the middle of a packet": classic(PACKETS)[:-3],
    "ends in the middle of a block": next_generation(PACKETS)[:-3],
    "found 0 packets; accepted: two or more": classic([]),
    "found 1 packet; accepted: two or more": classic(PACKETS[:1]),
    "found 2 packets; accepted: two or more": classic(PACKETS[1:3]),
    "found a packet of 4294967295 bytes": classic([*PACKETS, (9.0, 2**32 - 1)]),
    "link of type 105": classic(PACKETS, link=105),
    "has a block of": FILES["pcapng"][:100] + b"\xff" * 60,
}


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_capture_is_refused(said: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=said.split(";")[0]):
        read_capture(written(tmp_path, BROKEN[said]))


def test_no_bytes_make_the_reader_stumble(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for content in (FILES["pcap"], FILES["pcapng"]):
        for _ in range(200):
            spoiled = bytearray(content)
            spoiled[rng.integers(0, len(spoiled))] = rng.integers(0, 256)
            try:
                read_capture(written(tmp_path, bytes(spoiled[: rng.integers(1, len(spoiled) + 1)])))
            except ScenarioError:
                continue


def replaying(folder: Path, **session: Any) -> Scenario:
    """The good scenario, where session `two` replays the capture."""
    written(folder, FILES["pcap"])
    sessions = yaml.safe_load(changed())["sessions"]
    sessions["two"] = {
        "source": "A",
        "destination": "B",
        "rate": "as captured",
        "arrivals": {"law": "replay", "capture": "x.pcap"},
        **session,
    }
    return parse(changed(sessions=sessions), folder / "good.yaml")


def test_a_session_has_the_rate_and_sizes_of_its_capture(tmp_path: Path) -> None:
    session = replaying(tmp_path).network.sessions[1]
    frames = np.array([60, 1514, 342, 342])
    assert session.frame_bits == pytest.approx(8 * frames.mean())
    assert session.size.frame_moments[1] == pytest.approx(64 * (frames**2).mean())
    assert session.packet_rate == pytest.approx(1.5)
    assert replaying(tmp_path, rate="90 kbit/s").network.sessions[1].rate == 90e3


def test_it_survives_files(tmp_path: Path) -> None:
    scenario = replaying(tmp_path)
    assert parse(dump(scenario), scenario.path) == scenario
    assert network_from_json(network_to_json(scenario.network)) == scenario.network


def test_it_is_sent_again_and_again_at_the_rate_asked(tmp_path: Path) -> None:
    pattern = Pattern("replay", capture=str(written(tmp_path, FILES["pcap"])))
    traffic = Traffic(0, 1, "", 3.0, SizeLaw(), 5, 0.0, 1.0, 8.0, "", arrivals=pattern)
    requests = schedule(traffic)
    measured = requests[requests["seq"] >= FIRST_MEASURED]
    assert len(measured) == 8.0 * 3.0
    assert measured["size"][:8].tolist() == 2 * [18, 1472, 300, 300]
    due = (measured["due"] - 1_000_000_000) / 1e9
    assert due[:8] == pytest.approx([0, 0.25, 0.25, 1, 4 / 3, 4 / 3 + 0.25, 4 / 3 + 0.25, 4 / 3 + 1])
    assert (requests["size"][:3] == measured["size"][:3]).all(), "settling begins at the beginning too"
    assert len(schedule(replace(traffic, rate=0.0))) == 0


POINTS = {"law": "points", "points": [["64 bytes", 3], ["1400 bytes", 1], ["16 bytes", 0]]}


def test_a_table_of_payloads(tmp_path: Path) -> None:
    scenario = parse(changed(defaults={"size": POINTS}), tmp_path / "x.yaml")
    law = scenario.network.sessions[0].size
    assert (law.mean, law.low, law.high) == (398.0, 64, 1400)
    assert parse(dump(scenario), tmp_path / "x.yaml").network == scenario.network
    traffic = Traffic(0, 1, "", 1000.0, law, 5, 0.0, 0.0, 50.0, "")
    frames = schedule(traffic)["size"] * 8.0 + FRAME_OVERHEAD_BITS
    assert frames.mean() == pytest.approx(law.frame_moments[0], rel=0.02)
    assert (frames**2).mean() == pytest.approx(law.frame_moments[1], rel=0.02)


def test_a_rate_over_time_is_read(tmp_path: Path) -> None:
    arrivals = {"law": "on-off", "on": "200 ms", "off": "1 s", "profile": [[30, 1], [10, 2.5]]}
    scenario = parse(changed(sessions=session_two(arrivals=arrivals)), tmp_path / "x.yaml")
    law = scenario.network.sessions[0].arrivals
    assert (law.law, law.on, law.off, law.profile) == ("on-off", 0.2, 1.0, ((30.0, 1.0), (10.0, 2.5)))
    assert parse(dump(scenario), scenario.path) == scenario


def session_two(**parts: Any) -> dict[str, Any]:
    return {"two": {"source": "A", "destination": "B", "rate": "1 kbit/s", **parts}}


REPLAY = {"law": "replay", "capture": "x.pcap"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"size": {"law": "points"}}, "sessions.two.size: found points []; accepted: [payload, weight]"),
    ({"size": {**POINTS, "mean": "99 bytes"}}, "sessions.two.size: found points and mean; accepted: points with"),
    ({"size": {"points": [["64 bytes", 1]]}}, "sessions.two.size: found points and law exponential; accepted"),
    ({"size": {"law": "points", "points": [["64.5 bytes", 1]]}}, "sessions.two.size: found points [[64.5, 1.0]]; acc"),
    ({"size": {"law": "points", "points": [["2000 bytes", 1]]}}, "sessions.two.size: found points [[2000.0, 1.0]]; a"),
    ({"size": {"law": "points", "points": [[64, 1]]}}, "sessions.two.size.points[0][0]: found 64; accepted: a number"),
    ({"arrivals": {"law": "replay"}}, "sessions.two.arrivals: found replay without a capture; accepted"),
    ({"arrivals": {"capture": "x.pcap"}}, "sessions.two.arrivals: found a capture with the law poisson; accepted"),
    ({"arrivals": {**REPLAY, "on": "1 s"}}, "sessions.two.arrivals: found replay with on; accepted: law and capture"),
    ({"arrivals": REPLAY, "size": {}}, "sessions.two: found 'size' where a capture is replayed; accepted: none"),
    ({"rate": "as captured"}, "sessions.two: found rate 'as captured' and arrivals poisson; accepted: a number"),
    ({"arrivals": REPLAY}, "sessions.two.arrivals.capture: /nowhere/x.pcap cannot be read: No such file"),
]


@pytest.mark.parametrize(("parts", "said"), WRONG, ids=[said[:60] for _, said in WRONG])
def test_what_is_not_accepted(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(changed(sessions=session_two(**parts)), Path("/nowhere/good.yaml"))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(said)
