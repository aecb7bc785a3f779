"""The benchmarks run and say what they found; how fast is for them to say, not for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import control, multicast, networks, roads, sources
from bench.__main__ import CASES
from bench.row import Row, Side, timed
from experiments.commands import bench
from experiments.commands.cli import app
from pricing.errors import WardropError

NET = """<NUMBER OF ZONES> 2
<NUMBER OF NODES> 4
<FIRST THRU NODE> 1
<NUMBER OF LINKS> 5
<END OF METADATA>
1 3 1 0 0.1 10 1 ;
1 4 1 0 5 0.02 1 ;
3 2 1 0 5 0.02 1 ;
3 4 1 0 1 0.1 1 ;
4 2 1 0 0.1 10 1 ;
"""
TRIPS = "<END OF METADATA>\nOrigin 1\n 1 : 0.0; 2 : 6.0;\n"


def test_a_side_counts_the_runs_and_takes_the_last_answer() -> None:
    answers = iter(range(10))
    side, last = timed("x", lambda: next(answers), lambda n: n / 10, 3)
    assert (side.runs, last, side.gap) == (3, 3, 0.3)
    assert side.first is not None


def test_a_ratio_is_of_cpu_time() -> None:
    row = Row("x", ours=Side("a", 9.0, 1.0, 1, 0.0), peer=Side("b", 9.0, 4.0, 1, 0.0))
    assert row.ratio == 4.0
    assert Row("x").ratio is None


def test_sources_are_certified_on_both_sides() -> None:
    row = sources.against_clarabel(6, 3, 0.6, 1, 1)
    assert row.ours
    assert row.peer
    assert row.ours.gap < 1e-8
    assert row.peer.gap < 1e-6
    paper = sources.the_papers(1)
    assert paper.ours
    assert paper.peer
    assert paper.ours.gap < paper.peer.gap
    assert paper.facts["F"] < paper.facts["peer's F"]
    small = sources.large(8, 3)
    assert small.ours
    assert small.facts["peak memory, GiB"] > 0


class Square:
    """A stand-in for the package topohub: five nodes, six cables."""

    @staticmethod
    def get(key: str) -> dict[str, Any]:
        edges = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (4, 2)]
        return {"nodes": [{"id": i} for i in range(5)], "edges": [{"source": a, "target": b} for a, b in edges]}


def test_networks_reach_the_top_utilization_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "import_module", lambda name: Square)
    row = networks.against_clarabel("square", 1.0, 1, 1)
    assert row.facts["top utilization"] == pytest.approx(0.7, abs=1e-3)
    assert row.ours
    assert row.peer
    assert row.ours.gap < 1e-6
    assert abs(row.peer.gap) < 1e-5
    warm = networks.warm_start("square", 1)
    assert warm.ours
    assert warm.ours.gap < 1e-6


def test_roads_reach_their_gaps_and_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small_net.tntp").write_text(NET)
    (tmp_path / "small_trips.tntp").write_text(TRIPS)

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(roads, "import_module", absent)
    row = roads.against_aequilibrae(tmp_path, "small", 1, 1)
    assert row.ours
    assert row.ours.gap <= 1e-6
    assert row.facts["relative gap there"] <= 1e-10
    assert "pip install aequilibrae" in row.note
    assert "--tntp DIR" in roads.against_aequilibrae(None, "SiouxFalls", 1, 1).note


def test_the_command_shows_and_writes_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = {"name": "us", "wall": 0.1, "cpu": 0.1, "runs": 3, "gap": 1e-9, "first": None}
    asked: list[tuple[str, bool, Path | None]] = []

    def pretend(case: str, quick: bool, tntp: Path | None) -> dict[str, Any]:
        asked.append((case, quick, tntp))
        peer = {**side, "name": "them", "cpu": 2.0}
        return {"case": case, "instance": case, "size": {"nodes": 4}, "ours": side, "peer": peer, "ratio": 20.0,
                "wanted": 50.0, "measure": "", "note": "a note", "facts": {"steps": 7}}  # fmt: skip

    monkeypatch.setattr(bench, "run_case", pretend)
    to = tmp_path / "bench.json"
    done = CliRunner().invoke(app, ["bench", "--quick", "--tntp", str(tmp_path), "--json", str(to)])
    assert done.exit_code == 0, done.output
    assert [case for case, _, _ in asked] == [name for name, case in CASES.items() if case.quick]
    assert "20.0 times faster, 50 wanted" in done.output
    assert "a note" in done.output
    written = json.loads(to.read_text())
    assert written["schema"] == bench.SCHEMA
    assert len(written["rows"]) == len(asked)


def test_a_case_is_a_process_of_its_own() -> None:
    row = bench.run_case("SiouxFalls", True, None)
    assert row["case"] == "SiouxFalls"
    assert "--tntp DIR" in row["note"]
    with pytest.raises(WardropError, match="no-such-case"):
        bench.run_case("no-such-case", True, None)


def test_slots_are_those_of_plain_python() -> None:
    row = multicast.against_plain(multicast.grid(3, 2), 5)
    assert row.ours
    assert row.peer
    assert row.ours.gap == 0.0
    assert row.facts["choices of a service"] == 5
    assert row.facts["slots/s, UCNC"] > 0
    for name in ("abilene", "germany50"):
        assert max(link.capacity for link in multicast.scenario(name, 4).links) == pytest.approx(4.0)
    assert len(multicast.growth((2, 3), (50, 100)).facts) == 4


def test_ticks_of_a_controller_change_no_more_rules_than_there_are() -> None:
    row = control.ticks("joint-distributed", 3, 20)
    assert row.size["links"] == 300
    assert 0 < row.facts["rules changed a tick, median"] <= row.facts["messages a tick, median"] < row.facts["rules"]
