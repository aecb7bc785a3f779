"""Users on real packets: announcements arrive, classes survive the way, and a mark that was not bought is taken off."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.result.assemble import Account
from experiments.result.users import user_verdicts
from experiments.running.campaign import Options, campaign
from topologies.scenario import elastic, load

pytestmark = pytest.mark.emulated

FORGE = "import socket; s=socket.socket(2, 2); s.setsockopt(0, 1, 224); [s.sendto(b'x', ('{}', 9)) for _ in range(7)]"


def test_users_choose_by_announced_prices_and_marks_are_policed() -> None:
    scenario = elastic(load("two-servers"))
    with campaign(scenario, "priority", Options(metrics="127.0.0.1:19467", wait=120.0)) as up:
        target = up.emulation.plant.hosts["h-Right"].ip
        up.net.get("h-Left").cmd(f'python3 -c "{FORGE.format(target)}"')
        log = up.run_once("priority", "", 1, 5.0, 6.0)
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
    names = [row["name"] for row in user_verdicts(account, scenario.groups)]
    assert len(names) == len(set(names)) <= 6, "waits only where there was a quiet second"
    assert {"welfare over that of the best equilibrium", "move of a price in a tick"} <= set(names)
