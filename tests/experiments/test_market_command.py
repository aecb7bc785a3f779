"""`wardrop market` and `wardrop paper market`: the findings on us-5 and us-20, and files that say the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.commands import cli, market
from experiments.papers.market import findings, limited, merit_order, moves
from pricing.errors import Infeasible
from pricing.market.clearing import clear
from pricing.market.model import scaled
from topologies.market import load


def test_us_5_has_the_findings_that_it_is_calibrated_to() -> None:
    found = findings(load("us-5").market)
    assert found.saturated == 4
    assert f"{found.cost:.1%}" == "2.7%"
    assert f"{found.premium:.0%}" == "117%"
    assert found.where == "chatbot@NewYork"


def test_us_20_fills_in_the_order_of_cost_and_ends_at_its_capacity() -> None:
    twenty = load("us-20").market
    used = [share for _, _, _, share in merit_order(twenty)]
    partly = [share for share in used if 1e-9 < share < 1 - 1e-9]
    assert len(partly) <= 1
    assert used == pytest.approx(sorted(used, reverse=True))
    assert (
        max(abs(value) for value in (clear(twenty).certificate.gap, clear(twenty).certificate.complementarity)) < 1e-9
    )
    with pytest.raises(Infeasible, match="alone would do"):
        clear(scaled(load("us-5").market, 2.0))


def test_inputs_that_move_change_what_they_should() -> None:
    five = load("us-5").market
    assert findings(moves()["link capacity"](five, 1.2)).cost < findings(five).cost
    assert findings(moves()["lengths"](five, 0.8)).premium < findings(five).premium
    assert clear(limited(five, 0.015)).cost > clear(five).cost


def test_the_command_clears_a_file_and_documents_every_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["wardrop", "market", "us-5", "--json", str(tmp_path / "m.json")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "Chicago > NewYork is full" in capsys.readouterr().out
    found: dict[str, Any] = json.loads((tmp_path / "m.json").read_text())
    parts = [found, found["certificate"], found["settlement"], found["demands"][0]["parts"]]
    parts += [found[key][0] for key in ("demands", "flows", "assets", "links")]
    for part in parts:
        for field in part:
            assert f"`{field}`" in str(market.__doc__), field
    assert abs(found["settlement"]["imbalance"]) < 1e-9
    assert sum(f["rate"] for f in found["flows"]) == pytest.approx(sum(d["rate"] - d["shed"] for d in found["demands"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [(("us5",), "did you mean 'us-5'"), (("us-5", "--model", "x"), "--model x: unknown"),
     (("us-5", "--demand", "-1"), "accepted: above 0"), (("us-5", "--demand", "9"), "cannot be served")],
)  # fmt: skip
def test_what_cannot_be_cleared_ends_in_one_message(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["wardrop", "market", *words])
    with pytest.raises(SystemExit):
        cli.main()
    assert said in capsys.readouterr().err


def test_the_page_says_the_same_in_all_its_files(tmp_path: Path) -> None:
    import experiments.commands.paper

    experiments.commands.paper.market(tmp_path / "page", tmp_path / "page.json")
    found = json.loads((tmp_path / "page.json").read_text())["tables"]
    assert [row[2] for row in found["findings"]["rows"]][:3] == ["4", "+2.70%", "+117.1% (chatbot@NewYork)"]
    tables = {"prices", "settlement", "map", "latency", "merit-order", "sensitivity", "bids", "markups", "bidding"}
    assert tables <= set(found)
    for name in ("map", "components", "latency", "merit-order"):
        assert (tmp_path / "page" / f"{name}.png").stat().st_size > 5000
        assert (tmp_path / "page" / f"{name}.csv").is_file()
    for row in found["prices"]["rows"]:
        assert sum(row[5:9]) == pytest.approx(row[3], rel=1e-9)
    imbalance = found["settlement"]["rows"][-1][1]
    assert abs(imbalance) < 1e-9
