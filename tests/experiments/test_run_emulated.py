"""The main job on real packets, shortened: two policies on Abilene, and what is left afterwards: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.result import schema
from experiments.result.assemble import Account, report
from experiments.result.verdicts import verdicts
from experiments.running.campaign import Options, campaign, excluded_share
from pricing.own import named
from pricing.policy import POLICIES
from topologies import scenario as scenarios
from topologies.hosts.logs import SECOND
from topologies.hosts.sender import FIRST_MEASURED

pytestmark = pytest.mark.emulated

ROOT = Path(__file__).parents[2]

WAIT = 300.0
"""Seconds for the turn of somebody else who measures on this machine."""


def namespaces() -> set[str]:
    """Names of the testbeds that stand."""
    found = Path("/run/netns")
    return {path.name for path in found.iterdir() if path.name.startswith("wardrop-")} if found.exists() else set()


def silent(*_: object) -> None:
    """Show nothing."""


OWN = """
from pricing.shortest import shortest_path
from pricing.values import Decision


def short(network, loads, state):
    return Decision(None, shortest_path(network), state)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A policy of one's own, forgotten afterwards."""
    file = tmp_path_factory.mktemp("own") / "own.py"
    file.write_text(OWN)
    yield named(f"{file}:short").name
    del POLICIES[f"{file}:short"]


@pytest.fixture(scope="module")
def result(own: str) -> dict[str, Any]:
    """A report of two short phases on the same packets, after which the policy is changed to one's own."""
    chosen = scenarios.load("abilene")
    before = namespaces()
    with campaign(chosen, "shortest-path", Options(metrics="127.0.0.1:19464", wait=WAIT), silent) as up:
        with up.testbed.outside(), urllib.request.urlopen("http://127.0.0.1:19464/metrics") as page:
            metrics = page.read().decode()
        logs = [up.run_once(policy, policy, 3, 6.0, 8.0) for policy in ("shortest-path", "joint-distributed")]
        changed = up.controller.ask({"policy": own})
    assert namespaces() == before
    assert "wardrop_link_load" in metrics
    accounts = [Account(up.network, up.emulation.plant, log) for log in logs]
    found = report(accounts, chosen.name, 3, "test", {"framework": "os-ken", "versions": {}})
    for account, entry in zip(accounts, found["runs"], strict=True):
        entry["verdicts"] = verdicts(account, accounts[0] if account is not accounts[0] else None)
    found |= {"accounts": accounts, "changed": changed}
    return found


def test_the_result_file_fits_its_schema(result: dict[str, Any]) -> None:
    schema.check({key: value for key, value in result.items() if key not in {"accounts", "changed"}})


def test_the_policy_may_be_changed_to_ones_own(result: dict[str, Any], own: str) -> None:
    assert result["changed"] == {"policy": own}


def test_every_packet_is_accounted_for(result: dict[str, Any]) -> None:
    for run in result["runs"]:
        assert run["losses"]["unaccounted"] == 0
        assert sum(session["sent"] for session in run["sessions"]) > 5000
        assert all(session["duplicated"] == 0 for session in run["sessions"])


def test_both_phases_had_the_same_packets(result: dict[str, Any]) -> None:
    shortest, priced = (account.log for account in result["accounts"])
    for session in shortest.requests:
        drawn = []
        for log in (shortest, priced):
            rows = log.requests[session][0]
            measured = rows[rows["seq"] >= FIRST_MEASURED]
            drawn.append((measured["flow"], measured["size"], measured["due"] - round(log.start * SECOND)))
        assert all(np.array_equal(one, other) for one, other in zip(*drawn, strict=True))


def test_the_hash_and_the_record_tell_where_packets_went(result: dict[str, Any]) -> None:
    shortest, priced = result["accounts"]
    assert shortest.prediction.elsewhere == 0
    # While slots change hands at a tick, a packet may be just before the change.
    assert priced.prediction.elsewhere < 0.01 * len(priced.requests.sent)
    assert all(account.prediction.balance.unaccounted == 0 for account in (shortest, priced))


def test_loads_are_those_of_the_routes(result: dict[str, Any]) -> None:
    """Counted at the queues, and by the simulation of the same packets; a stall moves bits over the window's ends."""
    for run, account in zip(result["runs"], result["accounts"], strict=True):
        tolerance = 0.1 + 0.5 * excluded_share(account.log)
        for link in run["links"]:
            if link["predicted_load_bps"] > 0.1 * link["capacity_bps"]:
                assert link["load_bps"]["value"] == pytest.approx(link["predicted_load_bps"], rel=tolerance)


def test_without_a_tick_in_the_time_measured_the_decision_before_it_counts(result: dict[str, Any]) -> None:
    seen = result["accounts"][1]
    start, _ = seen.log.window
    before, ticks = ([row for row in rows if row["time"] < start] for rows in (seen.log.history, seen.log.records))
    still = Account(seen.network, seen.plant, replace(seen.log, history=tuple(before), records=tuple(ticks)))
    assert still.decided.keys() == {session.name for session in seen.network.sessions}
    told = report([still], "abilene", 3, "test", {"framework": "os-ken", "versions": {}})["runs"][0]
    assert told["sessions"]
    assert verdicts(still)


def test_priced_servers_share_the_work(result: dict[str, Any]) -> None:
    shortest, priced = (max(server["utilization"] for server in run["servers"]) for run in result["runs"])
    assert priced < shortest


def test_pages_came_by_tcp_from_the_same_address(result: dict[str, Any]) -> None:
    for run in result["runs"]:
        assert "failed" not in run["pages"]
        assert sum(run["pages"].values()) >= 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """By Ctrl-C it tidies up itself; after kill -9 `clean` does."""
    before = namespaces()
    command = [
        sys.executable,
        "-m",
        "experiments",
        "run",
        "abilene",
        "--metrics",
        "127.0.0.1:19465",
        "--wait",
        str(WAIT),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, start_new_session=True)
        try:
            deadline = time.monotonic() + WAIT + 60
            while "packets/s" not in (tmp_path / "said").read_text():
                assert process.poll() is None, (tmp_path / "said").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            process.send_signal(number)
            process.wait(30)
        finally:
            process.kill()
    if number == signal.SIGKILL:
        assert namespaces() > before
        subprocess.run([sys.executable, "-m", "experiments", "clean"], env=environment, check=True, cwd=tmp_path)
    assert namespaces() == before
    assert "Traceback" not in (tmp_path / "said").read_text()
    left = subprocess.run(["pgrep", "-f", "topologies.hosts"], capture_output=True, text=True, check=False).stdout
    assert left == ""


def test_a_taken_port_is_one_clear_message(tmp_path: Path) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        where = ["--metrics", f"127.0.0.1:{port}", "--wait", str(WAIT)]
        command = [sys.executable, "-m", "experiments", "validate", "abilene", *where]
        said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert said.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said.stderr
    assert f"process {os.getpid()}" in said.stderr
    assert "Traceback" not in said.stderr


def test_demand_beyond_capacity_is_infeasible_before_anything_is_built(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments", "validate", "abilene", "--load", "1.25", "--json", "found.json"]
    said = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path
    )
    assert said.returncode == 1
    assert "servers" in said.stderr
    assert "too much" in said.stderr
    assert not list(tmp_path.iterdir())
