"""Turns: one at a time, named while it lasts, waited for, and free when the holder has died."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricing.errors import EmulationError
from topologies import testbed, turns
from topologies.turns import holder, turn

HOLDER = """
import sys
from pathlib import Path
from topologies import turns
turns.RUN = Path(sys.argv[1])
with turns.turn():
    print("mine", flush=True)
    sys.stdin.read()
"""

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Turns of this test alone."""
    monkeypatch.setattr(turns, "RUN", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def other(place: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has the turn."""
    command = [sys.executable, "-c", HOLDER, str(place)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_turn_leaves_nothing(place: Path) -> None:
    with turn():
        found = holder()
        assert found is not None
        assert found.pid == os.getpid()
    assert holder() is None
    assert not place.exists()


def test_the_holder_is_named(other: subprocess.Popen[str]) -> None:
    today = time.strftime("%Y-")
    said = rf"process {other.pid} \(.*\) measures since {today}.* `--wait SECONDS`"
    with pytest.raises(EmulationError, match=said), turn():
        pytest.fail("entered")


def test_whoever_waits_gets_it(other: subprocess.Popen[str]) -> None:
    told: list[int] = []

    def waiting(seen: turns.Holder) -> None:
        told.append(seen.pid)
        assert other.stdin is not None
        threading.Thread(target=other.stdin.close).start()

    with turn(30.0, waiting):
        assert told == [other.pid]


def test_a_holder_that_was_killed_holds_nothing(other: subprocess.Popen[str], place: Path) -> None:
    other.kill()
    other.wait()
    assert (place / "measuring").exists()
    with turn():
        assert holder() == turns.Holder(os.getpid(), pytest.approx(time.time(), abs=60))


def test_a_number_that_somebody_else_has_now_holds_nothing(place: Path) -> None:
    place.mkdir()
    start = testbed.start_time(os.getpid())
    (place / "measuring").write_text(f"{os.getpid()} {int(start or 0) + 1} 0\n")
    assert holder() is None
    (place / "measuring").write_text("not three words\n")
    assert holder() is None
