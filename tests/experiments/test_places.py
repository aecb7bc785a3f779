"""Where results go, and options of runs: refused before anything is run, all of it, and the user's own afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from synthetic import report

import experiments.__main__  # noqa: F401  adds every command
from experiments.commands import cli
from experiments.commands.places import file_to_write, for_results, give_back, given_back
from pricing.errors import WardropError

EMULATING = "demo", "validate tandem", "faults", "calibrate", "sweep tandem --on packets", "largest tandem --on packets"


def said(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that fails says."""
    monkeypatch.setattr(sys, "argv", ["wardrop", *words.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (1, 2)
    return capsys.readouterr().err


@pytest.mark.parametrize("words", EMULATING)
def test_a_file_that_cannot_be_is_refused_at_once(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert "--json file/in: Not a directory" in said(f"{words} --json file/in", monkeypatch, capsys)
    if words != "calibrate":
        assert "--pcap file/in: Not a directory" in said(f"{words} --pcap file/in", monkeypatch, capsys)
    if not words.startswith("largest"):
        assert "--out file: File exists" in said(f"{words} --out file", monkeypatch, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_all_wrong_options_of_a_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = "--framework pox --metrics here --openflow 99999 --tick nan"
    found = said(f"validate tandom --policy joit --laws old --worth =2 --duration inf {wrong}", monkeypatch, capsys)
    expected = (
        *("did you mean 'tandem'", "did you mean 'joint'", "--laws 'old'", "--worth =2", "--duration inf"),
        *("--framework pox", "--metrics 'here'", "--openflow '99999'", "--tick nan"),
    )
    assert [each for each in expected if each not in found] == []
    found = said(f"run tandom --policy joit --laws old {wrong}", monkeypatch, capsys)
    assert [each for each in (*expected[:3], *expected[5:]) if each not in found] == []
    assert "--metrics 0.0.0.0:1: others could" in said("run tandom --metrics 0.0.0.0:1", monkeypatch, capsys)
    found = said(f"faults tandom --only strom --duration 1 {wrong}", monkeypatch, capsys)
    assert [each for each in (expected[0], "--only strom", "--duration 1", *expected[5:]) if each not in found] == []


def test_looking_leaves_a_file_as_it_was(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("before")
    assert file_to_write(there) == there
    assert file_to_write(tmp_path / "new") == tmp_path / "new"
    assert there.read_text() == "before"
    assert list(tmp_path.iterdir()) == [there]
    assert file_to_write(Path("/dev/null")) == Path("/dev/null")
    with pytest.raises(WardropError, match=r"--json .*Is a directory; a file that can be written"):
        file_to_write(tmp_path)


def test_results_go_to_who_called_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under sudo: the folders made in the user's own, captures even where a run is cut off, and no device."""
    given: list[Path] = []
    monkeypatch.setenv("SUDO_UID", str(tmp_path.stat().st_uid))
    monkeypatch.setenv("SUDO_GID", "0")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, *_: given.append(Path(path)))
    monkeypatch.chdir(tmp_path)
    made = for_results(Path("out/pcaps"))
    assert made is not None
    rooted = Path("/dev/null").stat().st_uid == 0 == tmp_path.stat().st_uid
    if rooted:
        assert {path.resolve() for path in given} == {tmp_path / "out", tmp_path / "out/pcaps"}
    given.clear()
    (tmp_path / "out/pcaps/run").mkdir()
    for name in ("run/host.pcap", "note"):
        (made / name).touch()
    with pytest.raises(WardropError), given_back(made):
        raise WardropError("cut off")
    if rooted:
        assert made / "run" / "host.pcap" in given
    assert made / "note" not in given
    given.clear()
    give_back(Path("/dev/null"))
    monkeypatch.chdir("/")
    monkeypatch.setenv("SUDO_UID", "1000")
    give_back(Path("/usr/bin/env"))
    assert set(given) <= {Path("/usr/bin/env")}, "no folder of the system, no device"


def test_a_validation_says_every_verdict_even_where_no_report_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report()
    one = found["runs"][1]["verdicts"][0]
    one["verdict"] = "not met"
    monkeypatch.setattr("experiments.commands.run._validate", lambda *_: found)
    monkeypatch.setattr(sys, "argv", ["wardrop", "validate", "tandem"])
    with pytest.raises(SystemExit):
        cli.main()
    shown = capsys.readouterr().out
    assert "Verdicts:" in shown
    assert f"  not met: {one['name']}" in shown
    assert "report:" not in shown
