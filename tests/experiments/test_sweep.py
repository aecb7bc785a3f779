"""`wardrop sweep`: loads as people write them, points that have no value, intervals, and a sweep that was killed."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from experiments.cells import Result
from experiments.commands import cli, sweep
from experiments.result.estimate import Estimate
from experiments.sweeps.grid import OPTIMUM, Cell, compute, grid, loads_of
from experiments.sweeps.page import curves, for_terminal
from experiments.sweeps.points import points
from pricing.errors import WardropError
from topologies.scenario import load

ROOT = Path(__file__).parents[2]


def cell(policy: str, share: float = 0.5, seed: int = 1, on: Any = "simulation", duration: float = 20.0) -> Cell:
    scenario = load("two-servers", share)
    return Cell(on, scenario.network, scenario.control, share, policy, seed, duration)


def ran(delay: float, half: float | None = None, lost: int = 0, **rest: Any) -> Result:
    said = {"state": "ok", "requests": 1000, "lost": lost, "model_delay_s": 1.0, "quiet": True, "unaccounted": 0}
    return {**said, "delay_s": {"value": delay, "ci95": half, "n": 9}, **rest}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.3:0.95:0.05", tuple(round(0.3 + 0.05 * n, 10) for n in range(14))),
        ("0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("0.1:0.35:0.1", (0.1, 0.2, 0.3)),
        ("0.9,0.5,0.5", (0.5, 0.9)),
    ],
)
def test_loads_have_both_ends(text: str, found: tuple[float, ...]) -> None:
    assert loads_of(text) == found


@pytest.mark.parametrize("text", ["", "a", "0.3:0.9", "0.9:0.3:0.1", "0.3:0.9:0", "0:0.9:0.1", "0.5,nan", "0.1:1:1e-9"])
def test_wrong_loads_say_what_is_accepted(text: str) -> None:
    with pytest.raises(WardropError, match=r"accepted: FROM:TO:STEP such as 0\.3:0\.95:0\.05"):
        loads_of(text)


def test_the_optimum_is_swept_whether_asked_for_or_not() -> None:
    scaled = [(share, load("two-servers", share)) for share in (0.5, 0.7)]
    assert {each.policy for each in grid(scaled, ["ecmp"], "simulation", 2, 9.0)} == {"ecmp", OPTIMUM}
    assert len(grid(scaled, ["ecmp"], "simulation", 2, 9.0)) == 8
    assert len(grid(scaled, [OPTIMUM, "ecmp", "ecmp"], "model", 2, 9.0)) == 4, "the model draws nothing"


def test_no_steady_state_has_no_number() -> None:
    shortest, optimum = compute(cell("shortest-path", 0.9)), compute(cell(OPTIMUM, 0.9, on="model"))
    assert shortest["state"] == "overloaded"
    assert "server left at 1.315" in shortest["why"]
    assert optimum["state"] == "ok"
    for policy in ("shortest-path", OPTIMUM):
        beyond = compute(cell(policy, 1.1))
        assert beyond["state"] == "infeasible"
        assert "57.2535 too much" in beyond["why"]
    found = points({cell("shortest-path", 0.9): shortest, cell(OPTIMUM, 0.9): compute(cell(OPTIMUM, 0.9))})
    point = found[0].as_json()
    assert [point[key]["value"] for key in ("delay_s", "loss", "price_of_anarchy")] == [None] * 3
    assert point["model_delay_s"] is None
    figure = curves(found)
    drawn = [line for line in figure.axes[0].lines if line.get_label() == "shortest-path"]
    assert all(math.isnan(value) for value in drawn[0].get_ydata())


def test_simulated_cells_agree_with_the_model_and_repeat() -> None:
    """Links are lightly loaded and the servers M/M/1: the model is right there, within the interval of the run."""
    one = cell("shortest-path", duration=400.0)
    found = compute(one)
    assert found == compute(one)
    delay = found["delay_s"]
    assert abs(delay["value"] - found["model_delay_s"]) < 2 * delay["ci95"]
    assert compute(cell("shortest-path", on="model"))["delay_s"]["value"] == found["model_delay_s"]
    rate = sum(session.packet_rate for session in one.network.sessions)
    assert found["requests"] == pytest.approx(400 * rate, rel=0.01)
    assert found["lost"] == 0


def test_a_terminal_of_80_columns_has_room() -> None:
    results = {cell(OPTIMUM): ran(0.00431254, 0.0005), cell("joint-distributed"): ran(0.0063220, 0.00137, lost=12)}
    results[cell("shortest-path")] = {"state": "overloaded", "why": "full"}
    screen = Console(width=80, record=True, file=StringIO())
    screen.print(for_terminal(points(results)))
    said = screen.export_text()
    for expected in ("joint-distributed", "6.32 ± 1.4", "1.47 ± 0.36", "4.31 ± 0.5", "overloaded"):
        assert expected in said
    assert "nan" not in said
    assert "…" not in said


def test_seeds_make_intervals() -> None:
    results = {cell(OPTIMUM, seed=n): ran(delay) for n, delay in enumerate((1.0, 2.0, 3.0), 1)}
    results |= {cell("ecmp", seed=n): ran(delay, lost=n) for n, delay in enumerate((2.0, 4.0, 6.0), 1)}
    best, other = points(results)
    assert (best.anarchy.value, best.anarchy.ci95) == (1.0, 0.0)
    assert (other.delay.value, other.delay.n) == (4.0, 3)
    assert other.delay.ci95 == pytest.approx(4.303 * 2 / math.sqrt(3), rel=1e-3)
    # Twice the optimum under every seed: the means scatter, their ratio does not.
    assert other.anarchy.value == pytest.approx(2.0)
    assert other.anarchy.ci95 == pytest.approx(0.0, abs=1e-12)
    assert other.loss.value == pytest.approx(6 / 3000)
    single = points({cell(OPTIMUM): ran(1.0, 0.1), cell("ecmp"): ran(2.0, 0.4)})[1]
    assert (single.delay, single.anarchy.ci95) == (Estimate(2.0, 0.4, 9), pytest.approx(math.hypot(0.4, 0.2)))


def test_bad_runs_count_only_where_there_are_no_others() -> None:
    results = {cell(OPTIMUM, seed=n): ran(1.0) for n in (1, 2, 3)}
    results |= {cell("ecmp", seed=n): ran(float(n), quiet=n != 3) for n in (1, 2, 3)}
    point = points(results)[1]
    assert (point.delay.value, point.runs, point.bad, point.good) == (1.5, 3, 1, True)
    spoiled = {each: {**result, "unaccounted": 4} for each, result in results.items()}
    point = points(spoiled)[1]
    assert (point.delay.value, point.bad, point.good) == (2.0, 3, False)


def test_every_wrong_option_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.app is cli.app  # importing it adds the command
    words = "sweep two-servers --policy shortest,joint --load 1:0:1 --seeds 0 --on paper --duration -1"
    monkeypatch.setattr(sys, "argv", ["wardrop", *words.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    for expected in ("did you mean 'shortest-path'", "--load 1:0:1", "--seeds 0", "--on paper", "--duration -1"):
        assert expected in said


def test_a_killed_sweep_keeps_its_cells_and_goes_on(tmp_path: Path) -> None:
    """Killed once the first cell is there; told again, it computes the others only, and writes every file."""
    out, log = tmp_path / "out", tmp_path / "said"
    words = ["two-servers", "--policy", "shortest-path", "--load", "0.5,0.9", "--seeds", "2", "--duration", "100"]
    command = [sys.executable, "-m", "experiments", "sweep", *words, "--out", str(out), "--json", str(tmp_path / "j")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while not list(out.glob("cells/*.json")):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("cells/*.json")}
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "Warning" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    found = json.loads((tmp_path / "j").read_text())
    assert found == json.loads((out / "sweep.json").read_text())
    assert {each["file"] for each in found["cells"]} == {path.name for path in out.glob("cells/*.json")}
    assert len(found["cells"]) == 8
    assert (out / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    with (out / "sweep.csv").open() as file:
        rows = {(row["policy"], row["load"]): row for row in csv.DictReader(file)}
    assert rows["shortest-path", "0.9"]["delay_s"] == ""
    assert "of capacity" in rows["shortest-path", "0.9"]["why"]
    assert float(rows["shortest-path", "0.5"]["price_of_anarchy"]) > 1.2
    assert float(rows["joint", "0.9"]["delay_s"]) > float(rows["joint", "0.5"]["delay_s"])
