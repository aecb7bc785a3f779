"""`wardrop paper joint`: the known answers to the digits given, and files that say the same."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import experiments.commands.paper
from experiments.commands import cli
from experiments.papers import joint_solve
from experiments.papers import joint_stochastic as stochastic
from experiments.papers.joint import small
from experiments.papers.joint_instance import ORIGINS, instance, rates
from experiments.papers.joint_solve import (
    STIFFEST,
    central,
    check_routes,
    dual_bound,
    optimum,
    source_delays,
    stiffness,
    sweep,
    trace,
)
from experiments.papers.joint_tables import same
from pricing.joint.printed import proportional_start, run

FIGURES = [f"figure-{number}" for number in range(2, 9)]
PICTURES = ["table-1", "gap", "sweep", *FIGURES]
CASE = instance()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the JSON of one run, made in a folder that was not there."""
    folder = tmp_path_factory.mktemp("paper")
    experiments.commands.paper.joint(folder / "new" / "joint", folder / "joint.json")
    return folder / "new" / "joint", json.loads((folder / "joint.json").read_text())


def column(found: dict[str, Any], table: str, key: str) -> list[Any]:
    """A column of a table of the JSON."""
    part = found["tables"][table]
    return [row[part["columns"].index(key)] for row in part["rows"]]


def test_rates_are_the_classes() -> None:
    assert rates() == [0.15625, 0.09765625, 30.05859375, 30.009765625, 0.107421875]


@pytest.mark.parametrize("margin", [1e-9, 1e-6, 1e-3])
def test_central_run_is_the_printed_one_whatever_its_margin(margin: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_solve, "MARGIN", margin)
    found = central(CASE)
    assert found.iterations == 33
    assert f"{found.cost:.10f}" == "2.0157474290"


@pytest.mark.parametrize(("from_largest", "cost"), [(True, "2.0159479318"), (False, "2.0157473658")])
def test_algorithm_1_ends_where_it_should(from_largest: bool, cost: str) -> None:
    found = trace(CASE, from_largest)
    assert found.rounds == 38
    assert f"{found.costs[-1]:.10f}" == cost
    kept = run(CASE, from_largest=from_largest)
    assert found.costs[1:] == pytest.approx(kept.costs, rel=1e-14)
    assert found.prices[-1] == pytest.approx(kept.prices, rel=1e-14)


def test_optimum_is_certified() -> None:
    best = optimum(CASE)
    assert best.cost == pytest.approx(2.0157473649138, abs=5e-14)
    assert best.gap < 1e-12
    assert best.flows.sum(axis=0) / CASE.servers == pytest.approx([0.158136, 0.138642, 0.102983], abs=5e-7)


def test_the_bound_holds_at_any_prices() -> None:
    random = np.random.default_rng(1)
    best = optimum(CASE).cost
    assert all(dual_bound(CASE, random.uniform(0, 0.1, 3)) <= best for _ in range(20))


def test_only_the_authors_bracket_uses_routes_that_are_too_dear() -> None:
    wrong, right = (trace(CASE, from_largest).flows[-1] for from_largest in (True, False))
    seen = check_routes(CASE, wrong)
    assert seen.used.sum(axis=1).tolist() == [2, 2, 3, 3, 2]
    assert seen.worst[[0, 1, 4]] == pytest.approx([3.25e-4, 8.07e-4, 3.536e-3], rel=0.01)
    assert seen.weighted.sum() >= CASE.cost(wrong) - optimum(CASE).cost > 0.9 * seen.weighted.sum()
    found = check_routes(CASE, right)
    assert found.used.sum(axis=1).tolist() == [1, 1, 3, 3, 1]
    assert found.worst.max() < 1e-7


def test_delays_of_sources_add_up_to_the_objective() -> None:
    flows = proportional_start(CASE)
    assert CASE.rates @ source_delays(CASE, flows) == pytest.approx(CASE.cost(flows))


def test_sweep_knows_the_answer_at_0_2_and_where_the_iteration_fails() -> None:
    light, heavy = sweep((0.2, 0.85))
    assert f"{light.best.cost:.10f}" == "2.3244164562"
    assert light.utilizations == pytest.approx([0.24026, 0.18346, 0.17604], abs=5e-6)
    assert (light.ended, heavy.ended) == ("rest", "infeasible")
    assert light.stiffness < STIFFEST < heavy.stiffness
    assert heavy.best.gap < 1e-10


@pytest.mark.parametrize(("load", "nu"), [(None, 0.29), (0.5, 17.2)])
def test_stiffness(load: float | None, nu: float) -> None:
    case = instance(load)
    assert stiffness(case, optimum(case).flows) == pytest.approx(nu, abs=0.05)


def test_stochastic_loop_stays_near_its_fixed_point() -> None:
    found = stochastic.loop(CASE, from_largest=False, runs=20)
    assert found.counts.shape == (20, 60, 5, 3)
    # Estimates start at zero, so their means are 1 % low; the rest is chance, of 20 runs.
    target = 0.99 * optimum(CASE).flows.sum(axis=0) / CASE.servers
    spread = found.means.std(axis=0, ddof=1)
    assert (np.abs(found.means.mean(axis=0) - target) < 4 * spread / np.sqrt(20) + 0.01 * target).all()
    assert np.array_equal(found.counts, stochastic.loop(CASE, from_largest=False, runs=20).counts)


def test_jobs_queue_as_the_formulas_say() -> None:
    flows = optimum(CASE).flows
    counts = np.random.default_rng(5).poisson(np.broadcast_to(flows * stochastic.WINDOW_S, (600, 5, 3)))
    jobs = stochastic.queue_up(CASE, counts)
    assert len(jobs.delay) == counts.sum()
    for source in (2, 3):
        seen = jobs.delay[jobs.source == source].mean()
        assert seen == pytest.approx(source_delays(CASE, flows)[source], rel=0.02)


def test_every_table_is_on_disk_and_agrees(written: tuple[Path, dict[str, Any]]) -> None:
    folder, found = written
    assert (found["schema"], found["paper"]) == ("wardrop-paper-1", "joint")
    assert {file.stem for file in folder.glob("*.csv")} == set(found["tables"])
    for name, table in found["tables"].items():
        with (folder / f"{name}.csv").open(newline="") as file:
            head, *rows = csv.reader(file)
        assert head == table["columns"]
        assert rows == [["" if value is None else str(value) for value in row] for row in table["rows"]]


def test_every_number_says_where_it_comes_from(written: tuple[Path, dict[str, Any]]) -> None:
    _, found = written
    assert found["sources"] == ORIGINS
    for name, table in found["tables"].items():
        assert table["columns"][-1] == "source"
        assert all(any(word in row[-1] for word in ORIGINS) for row in table["rows"]), name


def test_what_is_printed_comes_out(written: tuple[Path, dict[str, Any]]) -> None:
    _, found = written
    agrees = [word for word in column(found, "results", "agrees") if word]
    assert agrees == ["yes"] * 6
    for node in ("SN1", "SN2", "SN3"):
        printed, computed = (column(found, "table-1", f"{word}_{node}") for word in ("printed", "computed"))
        assert all(same(text, value) for text, value in zip(printed[:2], computed[:2], strict=True))
    rows = {row[0]: row[1:4] for row in found["tables"]["stochastic"]["rows"]}
    assert rows["printed"] == [0.1571, 0.1403, 0.0984]
    assert np.abs(rows["authors' bracket: printed − mean, in deviations"]).max() < 2.5


def test_figures_have_their_numbers(written: tuple[Path, dict[str, Any]]) -> None:
    _, found = written
    assert column(found, "figure-2", "round") == [*range(39), *range(39)]
    assert f"{column(found, 'figure-2', 'cost')[38]:.10f}" == "2.0159479318"
    assert len(column(found, "figure-5", "excess_s")) == 3 * 15
    assert column(found, "figure-6", "time_s")[59] == 300
    for table, key in (("figure-7", "fixed_point"), ("figure-7", "stochastic")):
        assert np.sum(column(found, table, key)) == pytest.approx(2 * 5)
    jobs, delays = (column(found, "figure-8", key) for key in ("jobs", "mean_delay_s"))
    silent = [delay for count, delay in zip(jobs, delays, strict=True) if not count]
    assert silent
    assert set(silent) == {None}


def test_pictures_and_pages(written: tuple[Path, dict[str, Any]]) -> None:
    folder, found = written
    for name in PICTURES:
        data = (folder / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert int.from_bytes(data[16:20]) > 1000, "wide enough for print"
    html, markdown = ((folder / f"index.{kind}").read_text() for kind in ("html", "md"))
    assert html.count("<svg ") == len(PICTURES)
    for page in (html, markdown):
        assert all(f"{name}.png" in page for name in PICTURES)
        assert all(f"{name}.csv" in page for name in found["tables"])
        assert all(f"Figure {number}:" in page for number in range(2, 9))
        for number in ("2.0157474290", "2.0159479318", "2.0157473658", "2.0157473649138", "0.1571", "2.005·10⁻⁴"):
            assert number in page
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html
    lines = markdown.splitlines()
    heads = [index for index, line in enumerate(lines) if line.startswith("|---") or line.startswith("|-")]
    for index in heads:
        assert lines[index - 1].count("|") == lines[index].count("|") == lines[index + 1].count("|")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("paper", "jiont"), 2, "joint"),
        (("paper", "joint", "--ou", "x"), 2, "--out"),
        (("paper", "joint", "--out", "/dev/null/joint"), 1, "a folder that can be made and written is accepted"),
        (("paper", "joint", "--out", "/dev/null"), 1, "a folder that can be made and written is accepted"),
    ],
)
def test_wrong_arguments_end_in_one_clear_message(
    words: tuple[str, ...],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["wardrop", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capsys.readouterr().err
    assert ended.value.code == code
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(0.00020050279, 4, "2.005·10⁻⁴"), (1e-6, 1, "10⁻⁶"), (4.4597e-10, 2, "4.5·10⁻¹⁰")]
)
def test_small_numbers_in_sentences(value: float, digits: int, text: str) -> None:
    assert small(value, digits) == text
