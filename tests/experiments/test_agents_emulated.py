"""Agents on real packets: prices cross the network, sources ask their ingress, and splits leave the shortest path."""

from __future__ import annotations

import json

import pytest

from experiments.running.campaign import Options, campaign
from pricing.joint.messages import Message
from topologies import scenario as scenarios

pytestmark = pytest.mark.emulated

WAIT = 300.0
"""Seconds for the turn of somebody else who measures on this machine."""


def test_agents_announce_hear_ask_and_are_followed() -> None:
    options = Options(metrics="127.0.0.1:19464", wait=WAIT, price_loss=0.3)
    with campaign(scenarios.load("two-servers"), "agents", options) as up:
        log = up.run_once("agents", "agents", 3, 6.0, 8.0)
        written = [json.loads(path.read_text()) for path in up.testbed.directory.glob("phase-1/source-*.json")]
    counts = [found for found in written if found.get("kind") == "sources"]
    assert len(counts) == len(up.network.sessions)
    for found in counts:
        assert min(found["heard"], found["lost"], found["questions"]) > 0
        assert found["malformed"] == 0
    assert {record["policy"] for record in log.records} == {"agents"}
    assert any(len(split) > 1 for record in log.records for split in record["decided"].values())
    said = [record["signalling"] for record in log.records]
    one = 8 * Message("prices", 0, 1, 0.0, 0.0, {0: 0.0}).octets
    assert all(max(row[kind] for row in said) > 0 for kind in ("servers", "links", "sources"))
    assert max(row["servers"] for row in said) < 3 * one * len(up.network.servers)
    assert not any(record["error"] for record in log.records[2:])
