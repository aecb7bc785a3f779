"""A group, a market, classes and agents on real packets: scraped by a real Prometheus, recorded, and decided again."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from real_prometheus import Prometheus, needed, prometheus, queries

pytestmark = [pytest.mark.emulated, pytest.mark.long, needed]

ROOT = Path(__file__).parents[2]
RUNS = {"butterfly-group": "gdcnc", "us-5": "market", "two-servers": "priority", "abilene": "agents"}
UP_S, ASKED_S = 600.0, 60.0
"""Longest wait for another run to end and this one to come up; for answers of all that is asked."""

ELSEWHERE = {
    "wardrop_group_reports_total", "wardrop_group_refused_total", "wardrop_group_members",
    "wardrop_errors_total", "wardrop_openflow_refused_total",
}  # fmt: skip
"""What there is only where members of a group come and go, or where something fails."""


def free() -> str:
    """An address nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


@contextmanager
def running(scenario: str, policy: str, recording: Path) -> Iterator[str]:
    """The address of the metrics of a run whose traffic flows; it ends by Ctrl-C, and well."""
    page, metrics = free(), free()
    command = [sys.executable, "-m", "experiments", "run", scenario, "--policy", policy, "--recording", str(recording)]
    command += ["--log", str(recording.with_suffix(".log.jsonl"))]
    process = subprocess.Popen(
        [*command, "--page", page, "--metrics", metrics, "--wait", str(UP_S)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        wait_for_traffic(process, page)
        yield metrics
    finally:
        os.kill(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert "stopped; everything is taken down" in said


def wait_for_traffic(process: subprocess.Popen[str], page: str) -> None:
    """Until the run takes changes, and its sessions offer something."""
    deadline = time.monotonic() + UP_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            with urllib.request.urlopen(f"http://{page}/api/state") as answer:
                tick = json.load(answer)
        except OSError:
            tick = {"changes": False}
        if tick["changes"] and sum(tick["offered"].values()) > 0:
            return
        time.sleep(0.5)
    raise AssertionError("the run is not up")


def answered(server: Prometheus, asked: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those queries that get an answer; no more are asked when none has come for some seconds."""
    found: set[tuple[str, str]] = set()
    begun = last = time.monotonic()
    while time.monotonic() < min(begun + ASKED_S, last + 25):
        new = {row for row in asked if row not in found and server.query(row[1])}
        if new:
            found, last = found | new, time.monotonic()
        time.sleep(1)
    return found


def test_dashboards_have_answers_and_recordings_decide_the_same(tmp_path: Path) -> None:
    rows, found = queries("10s"), dict[str, set[tuple[str, str]]]()
    for scenario, policy in RUNS.items():
        folder, recording = tmp_path / scenario, tmp_path / f"{scenario}.jsonl"
        folder.mkdir()
        with running(scenario, policy, recording) as metrics, prometheus(metrics, folder, "1s") as server:
            found[scenario] = answered(server, rows)
        replayed = subprocess.run(
            [sys.executable, "-m", "experiments", "replay", str(recording)], cwd=ROOT, capture_output=True, text=True
        )
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
        log = recording.with_suffix(".log.jsonl").read_text().splitlines()
        assert "ready" in {json.loads(line)["event"] for line in log}
        told = re.search(r"(\d+) ticks, \d+ of them failed; (\d+) decided the same", replayed.stdout)
        assert told
        assert told[1] == told[2]
        assert int(told[1]) > 20
    for scenario, dashboard in {"butterfly-group": "multicast", "us-5": "market", "two-servers": "class"}.items():
        lacks = [row for row in rows if row[0].startswith(f"{dashboard}: ") and row not in found[scenario]]
        assert not lacks, f"{dashboard} without an answer in the run that it is for"
    everywhere = set[tuple[str, str]]().union(*found.values())
    lacks = [row for row in rows if row not in everywhere and not any(name in row[1] for name in ELSEWHERE)]
    assert not lacks
