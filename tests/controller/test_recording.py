"""What is recorded decides the same when it is replayed: after failures, refusals, silence and changes of policy."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_fabrics as small
import structlog
from typer.testing import CliRunner

import experiments.commands.replay  # noqa: F401  adds its command
from controller.app import Controller, set_up_log
from controller.holdings import Held
from controller.measure import Count, Counts, Key, wiring
from controller.metrics import Exporter
from controller.recording import Recorder, recording_from_lines, replayed
from controller.rules import Delta, Entry
from experiments.commands.cli import app
from pricing.errors import InstallError, MeasurementError
from pricing.policy import POLICIES

SQUARE = small.network(
    [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")], {"east": "c", "west": "d"}, ["a", "b"], flows=40
)


class Board:
    """Switches whose counters grow by chance, and whose ports fail when they are told to."""

    def __init__(self) -> None:
        self.fabric = small.fabric(SQUARE)
        self.names = {switch.dpid: name for name, switch in self.fabric.plant.switches.items()}
        self.rng, self.seconds = np.random.default_rng(1), 0.1
        self.totals: dict[Key, int] = {}
        self.dead: frozenset[tuple[str, int]] = frozenset()
        self.missing: list[str] = []
        self.failures: list[Exception] = []
        self.new: list[str] = []
        self.refuse = self.silent = self.deaf = False

    def wait_for_all(self, timeout: float) -> None:
        """They are all here."""

    def wipe(self, switches: list[str], timeout: float) -> None:
        """There is nothing to wipe."""

    def look(self, switches: list[str], timeout: float) -> None:
        """Their ports are as they were."""

    def arrived(self) -> list[str]:
        """Those that are new, once."""
        new, self.new = self.new, []
        return new

    def held(self, switches: list[str], timeout: float) -> dict[str, Held]:
        """They come back without a rule, or do not say so."""
        return {} if self.deaf else {name: {} for name in switches}

    def written(self, entry: Entry) -> bytes:
        """Nothing is there to be compared with."""
        return b""

    def counts(self, timeout: float) -> tuple[Counts, list[str]]:
        """All counters that loads are told from, unless they are silent."""
        if self.silent:
            return {}, ["switch a: no counters"]
        self.seconds += 1 + 0.01 * float(self.rng.random())
        found = wiring(self.fabric)
        keys = [*found.links, *(key for key, *_ in found.servers), *(key for key, _ in found.sessions)]
        for key in keys:
            self.totals[key] = self.totals.get(key, 0) + int(self.rng.integers(10, 60))
        return {key: Count(total, 1000 * total, self.seconds) for key, total in self.totals.items()}, []

    def install(self, delta: Delta, timeout: float) -> None:
        """Take it, or refuse it."""
        if self.refuse:
            raise InstallError("switch b refused")


@pytest.fixture(scope="module")
def recorded() -> str:
    """A run in which much happens."""
    board, kept = Board(), io.StringIO()
    recorder = Recorder(kept, board.fabric)
    controller = Controller(
        board.fabric,
        POLICIES["joint-distributed"],
        board,
        Exporter(SQUARE),
        1.0,
        recorder=recorder,  # type: ignore[arg-type]
    )
    controller.start()
    for number in range(1, 19):
        board.dead = frozenset({("a", 2), ("d", 1)}) if 5 <= number < 9 else frozenset()
        board.refuse, board.silent = number in (6, 10, 11), number == 13
        board.deaf = number == 5
        board.new = ["b"] if number in (5, 10) else []
        if number == 15:
            controller.wanted = POLICIES["joint"]
        controller.tick()
    return kept.getvalue()


def replay(text: str) -> list[Any]:
    return list(replayed(recording_from_lines(text.splitlines(keepends=True))))


def test_the_same_is_decided_byte_for_byte(recorded: str) -> None:
    ticks = replay(recorded)
    assert [one.tick for one in ticks] == list(range(19))
    assert all(one.same and (one.recorded or one.tick == 5) for one in ticks), "at 5 nothing was decided"
    assert {one.tick: str(one.outage) for one in ticks if one.outage} == dict.fromkeys(range(6, 9), "a - d")
    assert [one.tick for one in ticks if one.error] == [5, 6, 10, 11]
    assert len({one.recorded for one in ticks}) > 10, "digests that never change tell nothing"
    assert {one.policy for one in ticks} == {"joint-distributed", "joint"}
    assert not any("a>d" in route for route, _ in ticks[7].decided["from-a"])


@pytest.mark.parametrize("field", ["counts", "dead", "outage", "installed", "arrived", "policy"])
def test_every_input_is_needed(recorded: str, field: str) -> None:
    """A tick that was told something else decides otherwise, then or later."""
    lines = [json.loads(line) for line in recorded.splitlines()]
    other = {
        "counts": [],
        "dead": [],
        "installed": True,
        "arrived": [],
        "policy": "ecmp",
        "outage": {"links": [], "servers": []},
    }[field]
    lines = [line | {field: other} if "tick" in line else line for line in lines]
    assert not all(one.same for one in replay("".join(json.dumps(line) + "\n" for line in lines)))


def test_a_line_that_was_cut_off_is_passed_over(recorded: str) -> None:
    assert len(replay(recorded[:-20])) == 18


@pytest.mark.parametrize("text", ["", "{}\n", "no\n", '{"recording": "another-1"}\n'])
def test_what_is_no_recording_is_refused(text: str) -> None:
    with pytest.raises(MeasurementError, match="--recording FILE"):
        replay(text)


def test_the_command_says_what_is_the_same_and_where_it_ends(recorded: str, tmp_path: Path) -> None:
    file, to = tmp_path / "bug.jsonl", tmp_path / "replay.json"
    file.write_text(recorded)
    shown = CliRunner().invoke(app, ["replay", str(file), "--json", str(to)])
    assert shown.exit_code == 0
    assert "19 ticks, 4 of them failed; 19 decided the same" in shown.output
    assert "tick 6: what does not work: a - d\ntick 9: what does not work: nothing" in shown.output
    assert json.loads(to.read_text())["decisions"][7]["decided"]
    file.write_text(recorded.replace('"policy": "joint"', '"policy": "ecmp"'))
    failed = CliRunner().invoke(app, ["replay", str(file)])
    assert isinstance(failed.exception, MeasurementError)
    assert "tick 15 (ecmp) is the first" in str(failed.exception)


@pytest.mark.parametrize("form", ["human", "json"])
def test_the_log_is_for_people_or_json(form: Any) -> None:
    stream = io.StringIO()
    try:
        set_up_log(form, stream)
        structlog.get_logger().warning("outage", failed="a>d")
    finally:
        structlog.reset_defaults()
    (line,) = stream.getvalue().splitlines()
    if form == "json":
        told = json.loads(line)
        assert (told["event"], told["failed"], told["level"]) == ("outage", "a>d", "warning")
    else:
        assert "[warning" in line
        assert line.endswith("outage failed=a>d")
