"""The report: one file without outside resources, that says what the result file says."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from synthetic import groups_report, network, report, users

from experiments.pages import groups
from experiments.pages.colours import COLOURS
from experiments.pages.pictures import price_steps
from experiments.pages.report import NO_NETEM, headline_ratio, html, summary, table, write
from experiments.result import schema
from pricing.errors import WardropError


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return report(ticks=20)


@pytest.fixture(scope="module")
def folder(made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("report") / "out" / "demo"
    write(made, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


def small(made: dict[str, Any]) -> dict[str, Any]:
    """A copy with one run and one session, quick to draw."""
    copy: dict[str, Any] = json.loads(json.dumps(made))
    run = copy["runs"][1]
    run["sessions"] = run["sessions"][:1]
    run["ticks"]["splits"] = {name: run["ticks"]["splits"][name] for name in ("web-Seattle",)}
    return copy | {"runs": [run]}


class Elements(HTMLParser):
    """All elements, and whether each is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(page)
    assert parser.stack == []
    return parser.found


def test_both_files_are_written(made: dict[str, Any], folder: Path) -> None:
    assert json.loads((folder / "report.json").read_text()) == made
    assert (folder / "report.html").stat().st_size < 3e6


def test_the_table_for_spreadsheets_has_every_quantity_measured(made: dict[str, Any], folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text())))
    last = made["runs"][-1]
    mine = {(row["what"], row["name"]): row for row in rows if row["policy"] == last["policy"]}
    links, servers, sessions = (len(last[part]) for part in ("links", "servers", "sessions"))
    assert len(mine) == 1 + sessions + 2 * links + 2 * servers
    link = last["links"][0]
    row = mine["link load", f"{link['src']}>{link['dst']}"]
    assert (row["unit"], float(row["measured"]), int(row["n"])) == (
        "bit/s",
        link["load_bps"]["value"],
        link["load_bps"]["n"],
    )
    assert float(mine["delay", "all"]["ci95"]) == last["objective"]["mean_delay_s"]["ci95"]


def test_a_report_that_does_not_fit_is_not_written(made: dict[str, Any], tmp_path: Path) -> None:
    broken = small(made)
    broken["runs"][0]["objective"]["gap"] = float("inf")
    with pytest.raises(WardropError, match="inf is not JSON"):
        write(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_page_is_sound_and_needs_nothing_from_outside(page: str) -> None:
    found = elements(page)
    for tag, attributes in found:
        assert tag not in ("script", "link", "img", "iframe")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "url(http" not in page
    assert "@import" not in page
    assert sum(tag == "svg" for tag, _ in found) == 2 * 6 + 8
    assert all(attributes.get("aria-label") for tag, attributes in found if tag == "svg")


def test_a_run_with_groups_shows_copies_trees_and_each_destinations_loss(tmp_path: Path) -> None:
    made = groups_report()
    groups.write(made, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == made
    page = (tmp_path / "report.html").read_text()
    titles = [attributes["aria-label"] or "" for tag, attributes in elements(page) if tag == "svg"]
    for run in made["groups"]:
        mine = [title for title in titles if title.endswith(run["policy"])]
        assert sum(title.startswith("Distribution of the delay of to-both at ") for title in mine) == 2
        assert sum(title.startswith("Weights of the trees of to-both") for title in mine) == 1
        assert len(mine) == 5, "a map and prices too"
    assert page.count(">independent queues</text>") == 4
    assert ">packet simulation</text>" not in page, "no simulation has copies"
    for run in made["groups"]:
        assert f">{run['copies']['measured']['value']:.3f} ± " in page
        assert all(end["destination"] in page for end in run["destinations"])
    assert "0.011 %" in page, "one of 9,065 is lost at each destination"
    assert "LeftSink, RightSink}" in page, "a copy that owes both"
    assert made["command"] in page
    assert "2 of 18,130 packets owed were lost" in groups.summary(made)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    lost = {row["name"]: row["measured"] for row in rows if (row["what"], row["policy"]) == ("lost", "edspa")}
    assert lost == {"to-both at LeftSink": "1", "to-both at RightSink": "1"}


def test_users_are_told_where_they_chose(made: dict[str, Any]) -> None:
    chosen = small(made)
    chosen["runs"][0]["users"] = users()
    schema.check(chosen)
    page = html(chosen)
    elements(page)
    assert all(option["session"] in page for option in users()[0]["options"])
    assert ">377<" in page
    assert "<h2>Users</h2>" not in html(small(made))


def test_each_distribution_stands_beside_the_law_that_is_named(made: dict[str, Any], page: str) -> None:
    assert page.count(">independent queues</text>") == page.count(">packet simulation</text>") == len(made["runs"])
    assert "; law: servers M/M/1</figcaption>" in page
    older = small(made)
    for field in ("law", "law_s"):
        del older["runs"][0]["delay_histogram"][field]
    schema.check(older)
    assert ">independent queues</text>" not in html(older)


def test_pictures_take_every_colour_from_the_style(page: str) -> None:
    drawn = page[page.index("<svg") :]
    assert set(re.findall(r"#[0-9a-fA-F]{6}\b", drawn)) == set()
    assert set(re.findall(r"var\(--(\w+)\)", drawn)) <= COLOURS.keys()
    assert len({light for light, _ in COLOURS.values()}) == len(COLOURS)


def test_the_page_says_what_was_found(made: dict[str, Any], page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for words in ("0.448", "± 0.038", "12.80 ± 0.77", NO_NETEM, made["command"], "✓ met", "✗ not met", "? undecided"):
        assert words in text
    for place in made["runs"][0]["losses"]:
        assert place in text
    for run in made["runs"]:
        assert all(session["name"] in text for session in run["sessions"])


def test_a_dear_server_leaves_colours_of_price_for_the_links() -> None:
    links = [{"price": price / 1e3} for price in (0.1, 0.3, 1, 2, 5, 10, 20)]
    steps = price_steps([{"links": links, "servers": [{"price": 9.0}, {"price": None}]}])
    assert steps[-1] == pytest.approx(9000)
    assert sum(step < 20 for step in steps) >= 3
    assert price_steps([{"links": [], "servers": []}])[-1] == 1.0


def test_prices_of_minutes_and_links_without_load_are_told_and_drawn(made: dict[str, Any]) -> None:
    odd = small(made)
    run = odd["runs"][0]
    run["servers"][0]["price"] = 340.0
    run["ticks"]["server_prices"][-1][0] = 340.0
    for link in run["links"]:
        link |= {"load_bps": {"value": 0.0, "ci95": 0.0, "n": 75}, "predicted_load_bps": 0.0}
    shown = html(odd)
    assert shown.count(">price, s</text>") == 2
    assert " at 340 s</text>" in shown
    assert "No link carries anything." in shown
    borders = price_steps(odd["runs"])
    assert borders[-1] / borders[0] <= 1e5 * (1 + 1e-9)


def test_names_are_text_and_never_markup(made: dict[str, Any]) -> None:
    evil = json.loads(json.dumps(small(made)).replace("web-Seattle", "<script>alert(1)</script>"))
    evil["command"] = "wardrop '<b>'"
    shown = html(evil)
    assert "<script>" not in shown
    assert "wardrop &#39;&lt;b&gt;&#39;" in shown


def test_the_ratio_has_the_interval_of_two_independent_means(made: dict[str, Any]) -> None:
    ratio = headline_ratio(made)
    assert ratio is not None
    assert ratio.value == pytest.approx(0.0128 / 0.0286)
    assert ratio.ci95 == pytest.approx(ratio.value * 0.06 * 2**0.5, rel=0.02)
    assert headline_ratio(made | {"runs": made["runs"][:1]}) is None


def test_the_summary_names_what_is_not_met(made: dict[str, Any]) -> None:
    said = summary(made)
    assert "4 met, 1 not met, 1 undecided" in said
    assert "not met: 99th percentile of a tick, joint-distributed: 212 ms; accepted: at most 200 ms" in said
    assert "joint-distributed takes 0.448 ± 0.038 of the mean delay of shortest-path" in said


def test_the_closing_table_fits_80_columns(made: dict[str, Any]) -> None:
    screen = Console(file=io.StringIO(), record=True, width=80)
    screen.print(table(made))
    text = screen.export_text()
    assert "…" not in text
    assert re.search(r"joint-distributed +\d+,\d+ +12\.80 ± 0\.77 +12\.4 +\+3\.1 %", text)
    assert re.search(r"the model's optimum +13\.8", text)


def unknown(part: Any) -> Any:
    """The part with null in place of each number that may be unknown."""
    if isinstance(part, dict) and part.keys() == {"value", "ci95", "n"}:
        return {"value": None, "ci95": None, "n": 0}
    if isinstance(part, dict):
        unknowable = ("price", "gap", "kkt_residual", "utilization", "steal", "late_p99_s", "p50", "p99", "measured")
        return {
            name: None
            if (name in unknowable or name.startswith(("predicted_", "model_", "optimum_")))
            and not isinstance(inner, dict | list)
            else unknown(inner)
            for name, inner in part.items()
        }
    return [unknown(inner) for inner in part] if isinstance(part, list) else part


def test_what_is_unknown_is_shown_as_unknown(made: dict[str, Any]) -> None:
    empty = unknown(small(made))
    for run in empty["runs"]:
        run["delay_histogram"] = schema.distribution([], [], schema.Law("none: a queue is at its capacity"))
        run["ticks"]["gap"] = [None] * len(run["ticks"]["gap"])
        run["ticks"]["link_prices"] = [[None] * len(row) for row in run["ticks"]["link_prices"]]
    schema.check(empty)
    shown = html(empty)
    elements(shown)
    assert "nan" not in shown.lower().replace("nance", "")
    summary(empty)
    table(empty)


def test_runs_without_ticks_places_or_servers_are_drawn(made: dict[str, Any]) -> None:
    bare = small(made)
    bare["topology"] = schema.topology(network(places=False)) | {"servers": []}
    for run in bare["runs"]:
        run |= {"ticks": schema.ticks([]), "servers": [], "verdicts": [], "losses": {"unaccounted": 0}}
    bare["elapsed_s"] = 301.0
    bare["runs"][0]["pages"] = {"east": 12, "failed": 0}
    schema.check(bare)
    shown = html(bare)
    elements(shown)
    assert "No verdict was asked for." in shown
    assert "web pages fetched meanwhile" in shown
    summary(bare)
