"""`wardrop paper multicast`: what a cell comes to, verdicts from numbers, and files that say the same."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.cells import Result
from experiments.pages import paper as page
from experiments.papers import multicast
from experiments.papers.multicast_cells import (
    FULL,
    QUICK,
    Cell,
    Name,
    Search,
    compute,
    costs,
    edges,
    grid,
    policy_for,
    search,
)
from experiments.papers.multicast_claims import (
    is_above,
    of_regions,
    of_sizes,
    of_speed,
    of_stability,
    of_tradeoff,
    over_runs,
)
from experiments.papers.multicast_speed import Cost, Extent, Slot
from experiments.result.estimate import Estimate

ETA: dict[Name, float] = {"EGDCNC": 30.0, "EGDCNC-R": 100.0}
OPTIMAL = {"DCNC": 70.7, "GDCNC-R": 19.8, "GDCNC": 18.5}


def synthetic(cell: Cell) -> Result:
    """As the paper says it is, with a little noise of the seed's."""
    noise = 0.01 * cell.seed
    delay = {"EDSPA": 1.0, "UCNC": 2.0, "EGDCNC": 4.0, "EGDCNC-R": 4.0, "DCNC": 5.0}.get(cell.policy, 9.0) + noise
    delay += cell.destinations * (1.0 if cell.policy == "GDCNC" else 0.5)
    cost = OPTIMAL.get(cell.policy, 1.0) + 100 / (cell.V + 1) - 1e-6 * noise + cell.destinations - 4
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
    return {cell: synthetic(cell) for cell in grid(QUICK, ETA)}


def test_grids_have_every_cell_once() -> None:
    for size in (QUICK, FULL):
        cells = grid(size, ETA)
        assert {cell.eta for cell in cells if cell.policy == "EGDCNC"} == {30.0}
        assert len(set(cells)) == len(cells)
        assert {cell.seed for cell in cells} == set(range(size.runs))


def test_documented_instance_keeps_the_orders_of_the_paper() -> None:
    rates, optimal = edges(3), costs()
    assert rates["DCNC"] <= rates["GDCNC"] <= 3 * rates["DCNC"]
    assert max(rates["EDSPA"], rates["GDCNC-R"]) <= rates["GDCNC"] * (1 + 1e-9)
    assert optimal["DCNC"] > optimal["GDCNC-R"] > 1.01 * optimal["GDCNC"]


@pytest.mark.parametrize("policy", ["GDCNC-R", "EGDCNC-R", "DCNC", "EDSPA"])
def test_cells_run_and_are_the_same_again(policy: Any) -> None:
    cell = Cell("delay", policy, 0.2, 5.0, 3, 200, 100, 1, eta=2.0 * (policy == "EGDCNC-R"))
    found, again = compute(cell), compute(cell)
    assert {k: v for k, v in found.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}
    assert found["delay"] > 1


def test_policies_are_those_named() -> None:
    from experiments.papers.multicast_cells import case_of
    from pricing.multicast.mec import frozen

    instance = frozen(case_of(3))
    for name in ("GDCNC", "GDCNC-R", "EGDCNC", "EGDCNC-R", "DCNC", "UCNC", "EDSPA"):
        assert policy_for(name, instance, 0.0, ETA.get(name, 0.0)).name == name


def test_the_bias_with_the_least_delay_is_found() -> None:
    found = search(Search("EGDCNC", (0.1, 0.3), 300, 2))
    delays = {eta: delay for eta, delay, _ in found["delays"]}
    assert delays[found["eta"]] == min(delays.values())
    assert len(delays) == 7


def test_the_same_rate_is_not_slightly_less() -> None:
    rates = {"GDCNC": 3.0, "GDCNC-R": 3.0, "DCNC": 1.5, "EDSPA": 1.0}
    assert [claim.verdict for claim in of_regions(rates, 3)] == ["met", "not met", "met"]
    assert of_regions({**rates, "GDCNC-R": 2.9}, 3)[1].verdict == "met"


def test_times_are_held_against_choices() -> None:
    def cost(policy: str, d: int, choices: int, seconds: float) -> Cost:
        return Cost(policy, d, 9, choices, choices * 99, Slot(1.0, seconds), Slot(1.0, seconds))

    times = {"EDSPA": 3.0, "GDCNC": 1.0, "EGDCNC": 1.0, "UCNC": 1.1}
    as_choices = [cost("GDCNC", 2, 5, 1.0), cost("GDCNC-R", 2, 5, 1.0), cost("GDCNC", 4, 65, 13.0)]
    met = of_speed([*as_choices, cost("GDCNC-R", 4, 13, 2.6)], times)
    assert [claim.verdict for claim in met] == ["met", "met", "not met", "undecided", "undecided"]
    flat = of_speed([*as_choices[:2], cost("GDCNC", 4, 65, 2.0), cost("GDCNC-R", 4, 13, 2.6)], times)
    assert [claim.verdict for claim in flat[:2]] == ["not met", "not met"]
    assert flat[0].why


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
    assert [claim.verdict for claim in of_tradeoff(good, OPTIMAL)] == ["met"] * 9
    assert [claim.verdict for claim in of_sizes(good, {2: 17.0, 5: 19.0})] == ["met"] * 3
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

    def instead(client: None, store: None, cells: Sequence[Any], *_: Any) -> dict[Any, Result]:
        found = {"eta": 30.0, "delays": [[1.0, 9.0, 0.5], [30.0, 5.0, 0.1]]}
        return {cell: synthetic(cell) if isinstance(cell, Cell) else found for cell in cells}

    @contextmanager
    def nobody(*_: Any) -> Iterator[None]:
        yield None

    folder = tmp_path_factory.mktemp("paper")
    told: Callable[[int, int], None] = lambda done, total: None  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multicast, "run", instead)
        patch.setattr(multicast, "cluster", nobody)
        patch.setattr(multicast, "EXTENT", Extent(30, 10, (2, 3), (2, 3), (20, 40)))
        found = multicast.reproduce(True, folder / "cells", None, told)
    page.write(found, folder)
    return folder, found.as_json()


def test_every_table_is_on_disk_and_says_its_source(written: tuple[Path, dict[str, Any]]) -> None:
    folder, found = written
    assert {file.stem for file in folder.glob("*.csv")} == set(found["tables"])
    assert {"claims", "regions", "figure-3a", "figure-4a", "figure-4b", "walking", "complexity", "bias"} <= set(
        found["tables"]
    )
    for name, table in found["tables"].items():
        assert table["columns"][-1] == "source"
        assert all(any(word in row[-1] for word in found["sources"]) for row in table["rows"]), name
        with (folder / f"{name}.csv").open(newline="") as file:
            assert next(csv.reader(file)) == table["columns"]


def test_page_says_every_claim_and_its_verdict(written: tuple[Path, dict[str, Any]]) -> None:
    folder, found = written
    html = (folder / "index.html").read_text()
    rows = found["tables"]["claims"]["rows"]
    assert len(rows) == 34
    assert all(row[2] in ("met", "not met", "undecided") for row in rows)
    assert html.count("<svg ") == 6
    choices = found["tables"]["complexity"]["rows"]
    assert [row[3] for row in choices] == [5, 5, 19, 9]
    assert all(row[5] < row[4] and row[7] < row[4] for row in choices)


def test_longer_runs_are_other_cells() -> None:
    assert not set(grid(QUICK, ETA)) & set(grid(replace(QUICK, delay=1, stability=1, tradeoff=2, walking=1), ETA))
