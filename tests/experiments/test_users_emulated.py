"""Users on real packets: announcements arrive, classes survive the way, and a mark that was not bought is taken off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.result.assemble import Account
from experiments.result.users import user_verdicts
from experiments.running.campaign import Options, campaign
from experiments.running.phase import Setting
from topologies.families import LIBRARY
from topologies.scenario import Scenario, elastic, parse

pytestmark = pytest.mark.emulated

FORGE = "import socket; s=socket.socket(2, 2); s.setsockopt(0, 1, 224); [s.sendto(b'x', ('{}', 9)) for _ in range(7)]"


def crowded() -> Scenario:
    """`two-servers` with a second user on the left, of a service of its own on the same servers."""
    text = (LIBRARY / "two-servers.yaml").read_text()
    for part, line in (
        ("services", "mail: {servers: [left, right]}"),
        ("sessions", "more: {source: Left, service: mail, rate: 100 kbit/s}"),
        ("users", "more: {value: {law: log, a: 200, s: 50}, delay_cost: 200, rate: 400 kbit/s}"),
    ):
        text = text.replace(f"\n{part}:\n", f"\n{part}:\n  {line}\n")
    return elastic(parse(text, Path("crowded.yaml")))


def test_users_choose_by_announced_prices_and_marks_are_policed() -> None:
    scenario = crowded()
    with campaign(scenario, "priority", Options(metrics="127.0.0.1:19467", wait=120.0)) as up:
        target = up.emulation.plant.hosts["h-Right"].ip
        up.net.get("h-Left").cmd(f'python3 -c "{FORGE.format(target)}"')
        log = up.run_once(Setting("priority", worth=("many", 2.0)), "", 1, 5.0, 6.0)
        told = json.loads((up.testbed.directory / "exports" / "user-many.json").read_text())
    assert (told["value"], told["malformed"], len(told["options"])) == (2.0, 0, 4)
    assert log.chosen.keys() == {"few", "many", "more"}
    assert {step["value"] for step in log.chosen["many"][1]["followed"]} == {1.0, 2.0}
    assert log.records[-1]["remarked"]["h-Left"] == 7
    for rows, summary in log.chosen.values():
        assert summary["malformed"] == 0
        assert len(summary["followed"]) >= 5
        assert 0 < (rows["option"] >= 0).mean() < 1
    for name, (rows, _) in log.served.items():
        sessions = [up.network.sessions[index] for index in rows["session"]]
        assert {session.destinations for session in sessions} == {(name,)}, "each went to the server that it chose"
        assert np.array_equal(rows["klass"], [session.klass for session in sessions]), "and in its class"
    account = Account(up.network, up.emulation.plant, log, up.emulation.calibration)
    assert account.losses["unaccounted"] == 0
    names = [row["name"] for row in user_verdicts(account, scenario.groups, account)]
    assert len(names) == len(set(names)) <= 7, "waits only where there was a quiet second"
    wanted = {
        "welfare over that of the best equilibrium",
        "move of a price in a tick",
        "move of a user whose value changes over that of the equilibrium",
    }
    assert wanted <= set(names)
