"""`wardrop paper multicast`: what a cell comes to, verdicts from numbers, and files that say the same."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.pages import paper as page
from experiments.papers import multicast
from experiments.papers.cells import Result
from experiments.papers.multicast_cells import FULL, QUICK, Cell, compute, costs, edges, grid, policy_of
from experiments.papers.multicast_claims import is_above, of_stability, of_tradeoff, over_runs
from experiments.result.estimate import Estimate

OPTIMAL = {"DCNC": 70.7, "GDCNC-R": 19.8, "GDCNC": 18.5}


def synthetic(cell: Cell) -> Result:
    """As the paper says it is, with a little noise of the seed's."""
    noise = 0.01 * cell.seed
    delay = {"EDSPA": 1.0, "UCNC": 2.0, "EGDCNC": 4.0, "EGDCNC-R": 4.0}.get(cell.policy, 9.0) + noise
    cost = OPTIMAL.get(cell.policy, 1.0) + 100 / (cell.V + 1) - 1e-6 * noise
    slope = noise - 0.005 if cell.share < 1 else 1.0 + noise
    delivered = (
        {"EDSPA": 0.1, "DCNC": 0.2, "GDCNC-R": 0.7}.get(cell.policy, 0.8) + noise + (cell.users == "by weight") * 0.1
    )
    return {
        "delay": delay + cell.V,
        "backlog": 100 + cell.V * 3 + noise,
        "cost": cost,
        "slope": slope,
        "slope_ci95": 0.0,
        "delivered": delivered,
        "seconds": 1e-4,
    }


def results() -> dict[Cell, Result]:
    return {cell: synthetic(cell) for cell in grid(QUICK)}


def test_grids_have_every_cell_once() -> None:
    for size in (QUICK, FULL):
        cells = grid(size)
        assert len(set(cells)) == len(cells)
        assert {cell.seed for cell in cells} == set(range(size.runs))


def test_documented_instance_keeps_the_orders_of_the_paper() -> None:
    rates, optimal = edges(3), costs()
    assert rates["DCNC"] <= rates["GDCNC"] <= 3 * rates["DCNC"]
    assert max(rates["EDSPA"], rates["GDCNC-R"]) <= rates["GDCNC"] * (1 + 1e-9)
    assert optimal["DCNC"] > optimal["GDCNC-R"] > 1.01 * optimal["GDCNC"]


@pytest.mark.parametrize("policy", ["GDCNC-R", "EGDCNC-R", "DCNC", "EDSPA"])
def test_cells_run_and_are_the_same_again(policy: Any) -> None:
    cell = Cell("delay", policy, 0.2, 5.0, 3, 200, 100, 1)
    found, again = compute(cell), compute(cell)
    assert {k: v for k, v in found.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}
    assert found["delay"] > 1


def test_policies_are_those_named() -> None:
    from experiments.papers.multicast_cells import case_of
    from pricing.multicast.mec import frozen

    instance = frozen(case_of(3))
    for name in ("GDCNC", "GDCNC-R", "EGDCNC", "EGDCNC-R", "DCNC", "UCNC", "EDSPA"):
        assert policy_of(Cell("", name, 1.0, 0.0, 3, 2, 1, 0), instance).name == name  # type: ignore[arg-type]


def test_users_who_walk_are_simulated() -> None:
    found = compute(Cell("walking", "GDCNC", 0.2, 0.0, 3, 100, 20, 0, "by weight"))
    assert found["cost"] > 0


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(Estimate(1, 0.5, 4), "met"), (Estimate(-1, 0.5, 4), "not met"), (Estimate(1, 2, 4), "undecided")],
)
def test_verdicts_come_from_intervals(value: Estimate, verdict: str) -> None:
    assert is_above(value) == verdict


def test_runs_are_gathered_over_seeds() -> None:
    found = over_runs(results(), "slope", part="stability", policy="GDCNC", share=1.02)
    (value,) = found.values()
    assert value.n == QUICK.runs
    assert value.value == pytest.approx(1 + 0.01 * (QUICK.runs - 1) / 2)


def test_what_is_as_the_paper_says_is_met_and_what_is_not_is_not() -> None:
    good = results()
    assert [claim.verdict for claim in of_stability(good)] == ["met"] * 6
    assert [claim.verdict for claim in of_tradeoff(good, OPTIMAL)] == ["met"] * 8
    dear = {c: {**r, "cost": r["cost"] + 30 * (c.policy == "GDCNC" and c.V > 0)} for c, r in good.items()}
    verdicts = {claim.says: claim for claim in of_tradeoff(dear, OPTIMAL)}
    wrong = verdicts["At large V GDCNC-R costs more than GDCNC (D = 4)"]
    assert wrong.verdict == "not met"
    assert wrong.why
    steep = {c: {**r, "slope": 1.0 + 1e-3 * c.seed} for c, r in good.items()}
    assert of_stability(steep)[0].verdict == "not met"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page of synthetic results, and its JSON."""

    def instead(client: None, store: None, cells: Sequence[Cell], *_: Any) -> dict[Cell, Result]:
        return {cell: synthetic(cell) for cell in cells}

    @contextmanager
    def nobody(*_: Any) -> Iterator[None]:
        yield None

    folder = tmp_path_factory.mktemp("paper")
    told: Callable[[int, int], None] = lambda done, total: None  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multicast, "run", instead)
        patch.setattr(multicast, "cluster", nobody)
        patch.setattr(multicast, "COMPLEXITY", ((2, 3), 50))
        found = multicast.reproduce(True, folder / "cells", None, told)
    page.write(found, folder)
    return folder, found.as_json()


def test_every_table_is_on_disk_and_says_its_source(written: tuple[Path, dict[str, Any]]) -> None:
    folder, found = written
    assert {file.stem for file in folder.glob("*.csv")} == set(found["tables"])
    assert {"claims", "regions", "figure-3a", "figure-4a", "figure-4b", "walking", "complexity"} <= set(found["tables"])
    for name, table in found["tables"].items():
        assert table["columns"][-1] == "source"
        assert all(any(word in row[-1] for word in found["sources"]) for row in table["rows"]), name
        with (folder / f"{name}.csv").open(newline="") as file:
            assert next(csv.reader(file)) == table["columns"]


def test_page_says_every_claim_and_its_verdict(written: tuple[Path, dict[str, Any]]) -> None:
    folder, found = written
    html = (folder / "index.html").read_text()
    rows = found["tables"]["claims"]["rows"]
    assert len(rows) == 25
    assert all(row[2] in ("met", "not met", "undecided") for row in rows)
    assert html.count("<svg ") == 3
    choices = found["tables"]["complexity"]["rows"]
    assert [row[1:3] for row in choices] == [[5, 5], [19, 9]]


def test_longer_runs_are_other_cells() -> None:
    assert not set(grid(QUICK)) & set(grid(replace(QUICK, delay=1, stability=1, tradeoff=2, walking=1)))
