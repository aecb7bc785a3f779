"""The study of the iterations: its tables, files and figures, on few rounds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from experiments.commands import studies
from experiments.papers import iterations
from pricing.errors import WardropError


def test_it_writes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("ROUNDS", 10),
        ("SECONDS", 20),
        ("LOADS", (0.85,)),
        ("CHANNELS", iterations.CHANNELS[::2] * 2),
    ):
        monkeypatch.setattr(iterations, name, value)
    studies.study("iteration", tmp_path / "out", 1, tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"rounds", "channel", "moving"}
    for title, rows in found.items():
        with (tmp_path / "out" / f"{title}.csv").open() as file:
            assert len(list(csv.DictReader(file))) == len(rows) > 0
    forecast = [row for row in found["rounds"] if row["form"] == "forecast"]
    assert all(row["to_1e-9"] <= 40 and row["infeasible"] is None for row in forecast)
    assert any(row["infeasible"] for row in found["rounds"] if row["form"] == "printed")
    assert (tmp_path / "out" / "figures.html").read_text().count("<svg") == 2


def test_another_study_is_refused() -> None:
    with pytest.raises(WardropError, match="iteration, agents and users are accepted"):
        studies.study("nothing")
