"""The command line: what it prints, what it writes, and that nothing ends in a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.commands import cli
from pricing.policy import POLICIES
from topologies.scenario import load, names

MISTAKES = """
name: two mistakes
title: one more
provenance: made up
nodes: {A: {}, B: {}}
cables: [{ends: [A, B], capacity: 4}]
sessions: {s: {source: A, destination: B, rate: 1 bit/s}}
"""


@pytest.fixture
def wardrop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line; gives its exit code, what it printed, and what it complained of."""

    def run(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["wardrop", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err

    return run


def test_help_needs_nothing_heavy() -> None:
    heavy = {"numpy", "scipy", "numba", "cvxpy", "matplotlib", "networkx", "pydantic", "mininet"}
    code = "import sys, experiments.__main__; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "typer" in loaded
    assert not loaded & heavy


def test_help_lists_the_commands(wardrop: Any) -> None:
    code, out, _ = wardrop("--help")
    assert code == 0
    assert all(f"│ {command} " in out for command in ("list", "check", "solve"))


def test_list_has_a_line_for_each_scenario_and_policy(wardrop: Any, tmp_path: Path) -> None:
    code, out, _ = wardrop("list", "--json", str(tmp_path / "list.json"))
    assert code == 0
    lines = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert lines == [*names(), *POLICIES]
    found = json.loads((tmp_path / "list.json").read_text())
    assert [row["name"] for row in found["scenarios"]] == list(names())
    assert found["policies"] == [{"name": p.name, "summary": p.summary} for p in POLICIES.values()]


def test_check_of_a_good_file(wardrop: Any, tmp_path: Path) -> None:
    code, out, _ = wardrop("check", str(load("abilene").path), "--json", str(tmp_path / "check.json"))
    assert code == 0
    assert "all is well: 11 nodes, 28 links, 3 servers, 8 sessions, 1,200 packets/s" in out
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["problems"] == []
    assert (found["name"], found["nodes"], found["server_load"]) == ("abilene", 11, pytest.approx(0.75, abs=0.002))


def test_check_reports_every_problem_and_ends_with_2(wardrop: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(MISTAKES)
    code, out, err = wardrop("check", str(tmp_path / "bad.yaml"), "--json", str(tmp_path / "check.json"))
    assert (code, out) == (2, "")
    first, *rest = err.splitlines()
    assert first == f"wardrop: {tmp_path / 'bad.yaml'}: 2 problems"
    assert [line.split(":")[0].strip() for line in rest] == ["name", "cables[0].capacity"]
    assert len(json.loads((tmp_path / "check.json").read_text())["problems"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("solve", "abilen"), 2, "did you mean 'abilene'"),
        (("solve", "abilene", "--policy", "jiont"), 1, "did you mean 'joint'"),
        (("solve", "abilene", "--load", "0"), 2, "a number above 0"),
        (("solve", "abilene", "--load", "1.1"), 1, "central, east, west together"),
        (("check", "nothing.yaml"), 2, "No such file"),
        (("check", "abilene", "--json", "/nowhere/at/all.json"), 1, "No such file"),
        (("list", "--json", "/"), 1, "Is a directory"),
        (("slove",), 2, "Did you mean 'solve'"),
        (("solve",), 2, "Missing argument"),
    ],
)
def test_bad_input_ends_in_one_clear_message(wardrop: Any, words: tuple[str, ...], code: int, said: str) -> None:
    ended, _, err = wardrop(*words)
    assert ended == code
    assert said in err


def test_solve_prints_tables_and_writes_what_it_documents(wardrop: Any, tmp_path: Path) -> None:
    code, out, _ = wardrop(
        "solve", "abilene", "--policy", "joint", "--no-propagation", "--json", str(tmp_path / "s.json")
    )
    assert code == 0
    assert all(word in out for word in ("Seattle > Sunnyvale @ west", "central", "NewYork > WashingtonDC", "gap"))
    found = json.loads((tmp_path / "s.json").read_text())
    network = load("abilene").network
    assert (found["schema"], found["scenario"], found["policy"]) == ("wardrop-solve-1", "abilene", "joint")
    assert (found["load"], found["propagation"], found["feasible"]) == (None, False, True)
    assert found["certificate"]["gap"] < 1e-6
    assert found["mean_delay_s"] == pytest.approx(9.33e-3, rel=0.01)
    assert [(row["src"], row["dst"]) for row in found["links"]] == [link.key for link in network.links]
    assert [row["name"] for row in found["servers"]] == [server.name for server in network.servers]
    for row in (*found["links"], *found["servers"]):
        assert row["price"] >= row["delay_s"] >= 0
    for row in found["sessions"]:
        assert sum(part["weight"] for part in row["split"]) == pytest.approx(1)
        assert row["delay_s"]["total"] == pytest.approx(row["delay_s"]["network"] + row["delay_s"]["server"])
        assert all(part["route"][0] == row["source"] for part in row["split"])
    # the servers' loads are the sessions' packets, split by weight
    east = sum(
        row["packets_per_s"] * p["weight"] for row in found["sessions"] for p in row["split"] if p["server"] == "east"
    )
    assert found["servers"][1]["load"] == pytest.approx(east)


def test_solve_finds_users_at_rest_with_the_certificate_of_their_routes(wardrop: Any, tmp_path: Path) -> None:
    words = ("solve", "two-servers", "--policy", "joint-priority", "--json", str(tmp_path / "s.json"))
    code, out, _ = wardrop(*words)
    found = json.loads((tmp_path / "s.json").read_text())
    assert code == 0
    assert "users at rest: welfare 2865.54 currency/s" in out
    assert found["users"]["welfare"] == pytest.approx(2865.54, rel=1e-5)
    assert found["users"]["classes"]["excess"] < 1e-6
    assert found["sessions"][0]["name"] == "few.left.1"


def test_solve_documents_every_field(wardrop: Any, tmp_path: Path) -> None:
    from experiments.commands import solution

    wardrop("solve", "joint-5x3", "--policy", "ecmp", "--json", str(tmp_path / "s.json"))
    found = json.loads((tmp_path / "s.json").read_text())
    inner = [*found["sessions"][:1], *found["sessions"][0]["split"][:1], *found["links"][:1], *found["servers"][:1]]
    for part in (found, found["certificate"], *inner):
        for field in part:
            assert f"`{field}`" in str(solution.__doc__)


def test_solve_scales_the_servers_and_says_what_is_over_capacity(wardrop: Any, tmp_path: Path) -> None:
    words = ("solve", "joint-5x3", "--policy", "shortest-path", "--load", "0.8", "--json", str(tmp_path / "s.json"))
    code, out, _ = wardrop(*words)
    assert code == 0
    assert "over capacity: S1" in out
    found = json.loads((tmp_path / "s.json").read_text())
    assert (found["load"], found["feasible"], found["mean_delay_s"]) == (0.8, False, None)
    assert sum(row["load"] for row in found["servers"]) / sum(
        row["capacity"] for row in found["servers"]
    ) == pytest.approx(0.8)


def test_a_function_of_a_file_is_written_as_it_was_named(capsys: pytest.CaptureFixture[str]) -> None:
    cli.console().print("fixed.py:two", markup=False)
    assert "fixed.py:two" in capsys.readouterr().out
