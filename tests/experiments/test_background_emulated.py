"""A phase with everything that a scenario can send: a replayed capture, a table of sizes, and traffic of no session."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from experiments.result.assemble import Account
from experiments.result.verdicts import verdicts
from experiments.running.campaign import Options, campaign
from topologies.scenario import parse

pytestmark = pytest.mark.emulated

SCENARIO = """
name: beside
title: Three nodes in a row
provenance: made up
nodes: {A: {}, B: {}, C: {}}
cables:
  - {ends: [A, B], capacity: 2 Mbit/s}
  - {ends: [B, C], capacity: 2 Mbit/s}
servers: {west: {node: C, capacity: 500 work/s}}
services: {web: {servers: [west]}}
sessions:
  again: {source: A, service: web, rate: as captured, arrivals: {law: replay, capture: x.pcap}, response: 60 bytes}
  table: {source: B, service: web, rate: 40 kbit/s, size: {law: points, points: [['64 bytes', 3], ['1000 bytes', 1]]}}
background:
  bulk: {kind: tcp, source: A, destination: B, rate: 200 kbit/s, streams: 2}
  noise: {kind: udp, source: C, destination: A, rate: 100 kbit/s, payload: 500 bytes}
  pages: {kind: http, source: A, service: web, pages: 5}
"""


def test_all_of_it_is_sent_and_told(tmp_path: Path) -> None:
    sizes = [60, 1514, 400]
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, 1)
    records = [struct.pack("<IIII", 0, 20_000 * index, 0, size) for index, size in enumerate(sizes)]
    (tmp_path / "x.pcap").write_bytes(head + b"".join(records))
    scenario = parse(SCENARIO, tmp_path / "beside.yaml")
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    with campaign(scenario, "shortest-path", Options(metrics=metrics, wait=600)) as up:
        log = up.run_once("shortest-path", "", 1, 2.0, 4.0)
    replayed = log.requests["again"][0]
    assert len(replayed) == 50 * 6
    counts = np.bincount(replayed["size"])[[18, 1472, 358]]
    assert abs(counts - 100).max() <= 1, "the two segments begin with the first packet"
    assert set(log.requests["table"][0]["size"]) == {64, 1000}
    bulk, noise, pages = (log.background[name] for name in ("bulk", "noise", "pages"))
    assert [each["error"] for each in (bulk, noise, pages)] == [None, None, None]
    assert 0 < bulk["received"] < 2e6
    assert noise["asked"] == 100e3
    assert 0 < noise["received"] <= noise["sent"]
    assert set(pages["servers"]) <= {"west"}
    assert pages["sent"] > 0
    account = Account(up.network, up.emulation.plant, log, up.emulation.calibration)
    found = account.run()
    assert [each["name"] for each in found["background"]] == ["bulk", "noise", "pages"]
    assert found["losses"]["unaccounted"] >= 0
    said = {entry["name"]: entry for entry in verdicts(account, priced=False)}
    assert said["mean delay against the packet simulation"]["verdict"] == "undecided"
