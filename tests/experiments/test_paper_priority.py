"""The priority paper's page: known answers come out, every table is on disk and says where it comes from."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from experiments.pages import paper
from experiments.papers.priority import reproduce
from experiments.papers.priority_instance import ORIGINS
from experiments.papers.priority_tables import SOURCE

PICTURES = ["figure-1", "figure-2", "regimes", "two-equilibria", "investment"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the JSON of one run with short simulations."""
    folder = tmp_path_factory.mktemp("paper")
    page = reproduce(jobs=20_000, runs=8)
    paper.write(page, folder)
    return folder, page.as_json()


def rows(found: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """The rows of a table, by column."""
    part = found["tables"][table]
    return [dict(zip(part["columns"], row, strict=True)) for row in part["rows"]]


def test_known_answers_come_out(written: tuple[Path, dict[str, Any]]) -> None:
    for row in rows(written[1], "known"):
        assert row["computed"] == pytest.approx(row["known"], rel=1e-10)


def test_equilibria_are_listed_with_welfare_and_residual(written: tuple[Path, dict[str, Any]]) -> None:
    two = rows(written[1], "two-equilibria")
    assert [row["kind"] for row in two] == ["best", "maximum", "between"]
    assert [row["welfare"] for row in two[:2]] == pytest.approx([11.697122, 3.655208], abs=1e-6)
    for row in two + rows(written[1], "equilibria"):
        assert row["residual"] < 1e-9


def test_options_in_use_cost_what_they_are_worth(written: tuple[Path, dict[str, Any]]) -> None:
    for row in rows(written[1], "options"):
        if row["rate_per_s"] > 1e-6:
            assert row["cost"] == pytest.approx(row["marginal_value"])
        else:
            assert row["cost"] >= row["marginal_value"] * (1 - 1e-9)
    used = {(row["class"], row["load"] > 0.01) for row in rows(written[1], "machines")}
    assert used == {(1, True), (2, True)}, "both classes are in use at every machine"


def test_regimes_add_up(written: tuple[Path, dict[str, Any]]) -> None:
    table = rows(written[1], "regimes")
    assert table[0]["welfare"] > table[1]["welfare"] > table[2]["welfare"]
    for row in table[:3]:
        assert sum(value for key, value in row.items() if key.startswith("keeps_")) + row["revenue"] == pytest.approx(
            row["welfare"]
        )
        assert row["temptation"] < 1e-9
    for row in rows(written[1], "claims"):
        assert row["loss"] > 1e-4


def test_simulation_holds_the_formulas(written: tuple[Path, dict[str, Any]]) -> None:
    table = rows(written[1], "simulation")
    assert len(table) == 18
    for row in table:
        assert abs(row["simulated"] - row["formula"]) < 2.5 * row["half_width"], row["quantity"]
    assert sum(row["inside"] == "yes" for row in table) >= 12


def test_ten_rounds_raise_the_surplus(written: tuple[Path, dict[str, Any]]) -> None:
    surplus = [row["surplus"] for row in rows(written[1], "investment")]
    assert len(surplus) == 10
    assert surplus == sorted(surplus)


def test_files_and_sources(written: tuple[Path, dict[str, Any]]) -> None:
    folder, found = written
    for name, table in found["tables"].items():
        with (folder / f"{name}.csv").open(newline="") as file:
            assert next(csv.reader(file)) == table["columns"]
        assert table["columns"][-1] == SOURCE.key
        assert {row[-1] for row in table["rows"]} <= set(ORIGINS), name
    html, markdown = ((folder / f"index.{kind}").read_text() for kind in ("html", "md"))
    assert html.count("<svg ") == len(PICTURES)
    for name in PICTURES:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{name}.png" in markdown
    for number in ("11.697122", "3.655208", "23.7755102", "17.6093750"):
        assert number in markdown
