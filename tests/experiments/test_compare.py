"""Two result files side by side."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import synthetic
from typer.testing import CliRunner

import experiments.commands.compare  # noqa: F401  adds its command
from experiments.commands.cli import app
from experiments.result.compare import alone, circumstances, differences
from pricing.errors import WardropError


@pytest.fixture(scope="module")
def report() -> Any:
    return synthetic.report()


def test_a_file_beside_itself_differs_in_nothing(report: Any) -> None:
    rows = differences(report, report)
    assert {row.run for row in rows} == {run["policy"] for run in report["runs"]}
    assert not any(row.sure for row in rows)
    assert (circumstances(report, report), alone(report, report)) == ([], [])


def test_a_difference_has_the_interval_of_two_independent_estimates(report: Any) -> None:
    a, b = copy.deepcopy(report), copy.deepcopy(report)
    for other, value, half in ((a, 0.010, 0.003), (b, 0.018, 0.004)):
        other["runs"][0]["objective"]["mean_delay_s"] |= {"value": value, "ci95": half}
    row = differences(a, b)[0]
    assert (row.what, row.sure) == ("mean delay", True)
    assert row.value == pytest.approx(0.008)
    assert row.ci95 == pytest.approx(0.005)
    b["runs"][0]["objective"]["mean_delay_s"]["ci95"] = None
    row = differences(a, b)[0]
    assert (row.ci95, row.sure) == (None, False)


def test_the_command_shows_and_writes_what_differs(report: Any, tmp_path: Path) -> None:
    one, other = copy.deepcopy(report), copy.deepcopy(report)
    other["machine"]["versions"]["numpy"] = "<9>"
    other["runs"][1]["policy"] = "joint"
    idle = one["runs"][0]["links"][0]
    for link in (idle, other["runs"][0]["links"][0]):
        link["load_bps"] = {"value": 0.0, "ci95": 0.0, "n": 75}
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, data in zip(files, (one, other), strict=True):
        file.write_text(json.dumps(data))
    page, to = tmp_path / "page.html", tmp_path / "compare.json"
    shown = CliRunner().invoke(app, ["compare", *map(str, files), "--out", str(page), "--json", str(to)])
    assert shown.exit_code == 0, shown.output
    assert "version of numpy" in shown.output
    assert "joint: only one of the files has it" in shown.output
    assert "&lt;9&gt;" in page.read_text()
    assert f"load of {idle['src']} → {idle['dst']}<" not in page.read_text(), "both say 0"
    assert page.read_text().count("<thead>") == 2, "circumstances, and the one run that both have"
    untold = "are left out: neither file knows them, or both say 0"
    assert re.search(rf"0 of \d+ differ beyond their interval. \d+ {untold}", page.read_text())
    found = json.loads(to.read_text())
    assert found["circumstances"][-1]["b"] == "<9>"
    assert {row["run"] for row in found["differences"]} == {report["runs"][0]["policy"]}
    files[1].write_text("{}")
    wrong = CliRunner().invoke(app, ["compare", *map(str, files)])
    assert isinstance(wrong.exception, WardropError)
    assert str(files[1]) in str(wrong.exception)
