"""`new`, `import`, `export` and `show`: what they write, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

import experiments.__main__  # noqa: F401  adds every command
from experiments.commands import cli
from topologies.scenario import load


@pytest.fixture
def wardrop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs a command line in an empty folder; gives its exit code, what it printed, and what it complained of."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["wardrop", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err

    return run


def test_a_new_file_passes_the_check_and_is_not_written_over(wardrop: Any) -> None:
    assert wardrop("new", "my.yaml")[0] == 0
    assert wardrop("check", "my.yaml")[0] == 0
    before = Path("my.yaml").read_text()
    code, _, err = wardrop("new", "my.yaml")
    assert (code, Path("my.yaml").read_text()) == (1, before)
    assert "my.yaml: is there already" in err
    assert "did you mean '.yaml'?" in wardrop("new", "my.yaaml")[2]
    assert "No such file" in wardrop("new", "nowhere/my.yaml")[2]


def test_import_writes_a_scenario_that_check_passes(wardrop: Any) -> None:
    code, out, _ = wardrop("import", "topohub:sndlib/polska", "--to", "p.yaml", "--sessions", "9", "--name", "pl")
    assert code == 0
    assert "note: 9 of 66 demands were kept" in out
    assert wardrop("check", "p.yaml")[0] == 0
    scenario = load("./p.yaml")
    assert (scenario.name, len(scenario.network.sessions)) == ("pl", 9)
    assert "SNDlib" in scenario.provenance
    assert "demands in the origin's proportions" in scenario.provenance


def test_import_says_all_that_is_wrong_at_once(wardrop: Any) -> None:
    options = ["--rate", "4", "--capacity", "2 Mbit", "--of", "shortest", "--utilization", "2"]
    code, _, err = wardrop("import", "nothing.graphm", "--to", "x.yaml", *options)
    assert code == 2
    starts = ["nothing.graphm: 5 problems",
              "  --rate: found '4'", "  --capacity: found '2 Mbit'", "  --of: found 'shor",
              "  utilization: found 2", "  found the ending '.graphm'; did you mean '.graphml'"]  # fmt: skip
    for line, start in zip(err.removeprefix("wardrop: ").splitlines(), starts, strict=True):
        assert line.startswith(start)
    assert not Path("x.yaml").exists()


def test_what_was_exported_is_imported_without_a_choice(wardrop: Any) -> None:
    assert wardrop("export", "star-3", "--to", "s.json")[0] == 0
    assert wardrop("import", "s.json", "--to", "s.yaml")[0] == 0
    assert load("./s.yaml").network == load("star(3)").network
    assert "found --servers, --name; accepted: no option" in wardrop("import", "s.json", "--to", "s.yaml",
                                                                   "--servers", "1", "--name", "y")[2]  # fmt: skip


@pytest.mark.parametrize("ending", ["dot", "mmd", "yaml"])
def test_export(wardrop: Any, ending: str) -> None:
    assert wardrop("export", "diamond", "--to", f"d.{ending}")[0] == 0
    assert "Broad" in Path(f"d.{ending}").read_text()
    assert "accepted: .dot, .json, .mmd, .yaml" in wardrop("export", "diamond", "--to", "d.doc")[2]


def test_show_draws_a_picture(wardrop: Any) -> None:
    assert wardrop("show", "abilene", "--out", "a.svg")[0] == 0
    svg = Path("a.svg").read_text()
    assert svg.startswith("<?xml")
    assert "Indianapolis" in svg
    assert "var(--" not in svg
    assert wardrop("show", "star(3)", "--out", "s.png")[0] == 0
    picture = imread("s.png")
    assert picture.shape[0] > 200
    assert picture.std() > 0.01
    assert "did you mean '.png'?" in wardrop("show", "star(3)", "--out", "s.pngg")[2]


def test_families_take_a_number(wardrop: Any) -> None:
    assert "9 nodes" in wardrop("check", "star(8)")[1]
    assert wardrop("check", "fat-tree-4")[0] == 0
    assert "n (leaves): found '99'; accepted: a whole number from 3 to 24" in wardrop("check", "star(99)")[2]
    assert "k (ports of a switch): found '5'; accepted: an even number" in wardrop("check", "fat-tree(5)")[2]
    assert "n (leaves): found 'x'" in wardrop("check", "star(x)")[2]
    assert "did you mean 'fat-tree(4)'?" in wardrop("check", "fattree(4)")[2]


def test_help_of_the_commands_needs_nothing_heavy() -> None:
    code = "import sys, experiments.commands.scenarios; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "networkx", "matplotlib", "pydantic", "jinja2"} & set(loaded)
