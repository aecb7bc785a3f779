"""Agents on real packets: prices cross the network, sources ask their ingress, and splits leave the shortest path."""

from __future__ import annotations

import json

import pytest

from controller.told import read
from experiments.running.campaign import Options, campaign
from pricing.joint.agents import PATIENCE
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
        exports = up.testbed.directory / "exports"
        hosts = {session.name: up.emulation.plant.host_at(session.source) for session in up.network.sessions}
        said = read(exports, hosts, up.emulation.plant.hosts, log.start)
        told = {name: row for kind, name, row in said if kind == "agent"}
    assert told.keys() == {*hosts, "switches", *(server.name for server in up.network.servers)}
    assert all(row["messages"] > 0 for row in told.values())
    assert all(told[name]["heard"] > 0 and 0 < told[name]["price_age_s"] < PATIENCE for name in hosts)
    counts = [found for found in written if found.get("kind") == "sources"]
    assert len(counts) == len(up.network.sessions)
    for found in counts:
        assert min(found["heard"], found["lost"], found["questions"]) > 0
        assert found["malformed"] == 0
    assert {record["policy"] for record in log.records} == {"agents"}
    assert any(len(split) > 1 for record in log.records for split in record["decided"].values())
    rates = [record["signalling"] for record in log.records]
    one = 8 * Message("prices", 0, 1, 0.0, 0.0, {0: 0.0}).octets
    assert all(max(row[kind] for row in rates) > 0 for kind in ("servers", "links", "sources"))
    assert max(row["servers"] for row in rates) < 3 * one * len(up.network.servers)
    assert not any(record["error"] for record in log.records[2:])
