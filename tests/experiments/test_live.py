"""The live view, at every size of a terminal and without one."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from observed import decided, page_of
from rich.console import Console
from synthetic import network, record

from experiments.observing.client import Client
from experiments.running.live import LiveView, sparkline
from pricing.network import Network
from topologies.scenario import elastic, load


def console(width: int, height: int, terminal: bool = True) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=terminal, color_system=None, legacy_windows=False
    )


def records(count: int = 30) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [record(network(), "joint-distributed", tick, rng) for tick in range(count)]


def shown(width: int, height: int, **changes: Any) -> list[str]:
    """Lines of the view at that size."""
    view = LiveView(network(), "Abilene", console(width, height))
    for tick, line in enumerate(records()):
        view.update(line | changes, "joint-distributed", tick, 120.0)
    screen = Console(file=io.StringIO(), record=True, width=width, height=height, color_system=None)
    screen.print(view)
    return screen.export_text().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(40, 20), (60, 24), (80, 24), (100, 30), (120, 40), (240, 60)])
def test_it_fits_into_the_terminal(width: int, height: int) -> None:
    lines = shown(width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width


def test_a_small_terminal_keeps_the_most_loaded_links() -> None:
    text = "\n".join(shown(80, 24))
    assert "Houston→KansasCity" in text
    assert "KansasCity→Chicago" not in text
    assert "idler not shown" in text or "idler n" in text
    assert "idler" not in "\n".join(shown(120, 50))


def test_it_shows_what_people_ask_for() -> None:
    text = "\n".join(shown(120, 50))
    assert "29 of 120 s" in text
    assert "packets/s" in text
    for name in ("1 west", "2 middle", "3 east", "web-Seattle", "Denver→KansasCity", "above the optimum"):
        assert name in text


def test_an_error_and_an_unknown_price_are_shown() -> None:
    line = records(1)[0]
    links = [state | {"price": None} for state in line["links"]]
    servers = [state | {"price": price} for state, price in zip(line["servers"], (0.09, 42.0, 801.0), strict=True)]
    text = "\n".join(shown(80, 40, links=links, servers=servers, error="InstallError: switch 3 refused", gap=None))
    assert "InstallError: switch 3 refused" in text
    assert "?" in text
    assert all(price in text for price in ("90.0", "42 s", ">99 s"))
    assert "above the optimum" not in text


def told(net: Network, policy: str, width: int = 100, height: int = 40) -> tuple[dict[str, Any], str]:
    """A tick that a policy decides, and what the view of one who watches makes of it."""
    feed = decided(net, policy, 1)
    line = json.loads(feed.last().json)
    with page_of(feed) as url:
        found, title = Client(url).network()
    view = LiveView(found, title, console(width, height))
    view.update(line, policy, 0.0, 0.0)
    screen = Console(file=io.StringIO(), record=True, width=width, height=height, color_system=None)
    screen.print(view)
    text = screen.export_text().rstrip("\n")
    assert len(text.split("\n")) < height
    return line, text


@pytest.mark.parametrize(("width", "height"), [(60, 24), (100, 40)])
def test_a_market_tells_what_each_location_pays(width: int, height: int) -> None:
    line, text = told(load("us-5").network, "market", width, height)
    dearest = max(line["market"]["prices"], key=line["market"]["prices"].get)
    assert "USD/Mtoken" in text
    assert "above the optimum" not in text, "a market does not make delays least"
    assert "cost above the least 0.0%" in text or width < 100
    assert f"{1e6 * line['market']['prices'][dearest]:.3g}" in next(row for row in text.split("\n") if dearest in row)


def test_classes_tell_their_waits() -> None:
    line, text = told(elastic(load("two-servers")).network, "priority")
    head, row = (next(row for row in text.split("\n") if word in row) for word in ("waits, ms", "  left "))
    assert head.split()[-4:] == ["class", "1", "class", "2"]
    waits = line["classes"]["wait"][line["classes"]["machines"].index("left")]
    assert row.split()[-2:] == [f"{1e3 * wait:.3g}" for wait in waits]
    row = next(row for row in text.split("\n") if "few.left.2" in row)
    assert row.split()[-2] == f"{line['session_prices']['few.left.2']:.3g}", "what a request pays"


def test_groups_tell_where_copies_are_made() -> None:
    line, text = told(load("butterfly-group").network, "gdcnc")
    made = line["copies"]["to-both"]["made"]
    assert made.keys() == {"Source", "LeftSink"}
    rows = [row.split()[-3:] for row in text.split("\n")]
    assert all(["to-both", node, f"{count:.2f}"] in rows for node, count in made.items())


def test_it_waits_for_the_first_record() -> None:
    with LiveView(network(), "Abilene", console(80, 24)) as view:
        view.update({}, "network", 1.0, 0.0)
        view.update({"tick": 1, "policy": "joint"}, "controller", 2.0, 0.0)
        assert view.line() == "controller: 2 s"


def test_without_a_terminal_it_says_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(np.arange(0.0, 100.0, 1.0))
    monkeypatch.setattr("experiments.running.live.time.monotonic", lambda: float(next(now)))
    screen = console(80, 24, terminal=False)
    with LiveView(network(), "Abilene", screen) as view:
        for tick, line in enumerate(records(12)):
            view.update(line, "shortest-path" if tick < 6 else "joint-distributed", tick, 60.0)
    said = screen.file.getvalue().rstrip("\n").split("\n")  # type: ignore[attr-defined]
    assert [line.split(",")[0] for line in said] == [
        "shortest-path: 0 of 60 s",
        "shortest-path: 5 of 60 s",
        "joint-distributed: 6 of 60 s",
        "joint-distributed: 11 of 60 s",
    ]
    assert "busiest middle at 0.93" in said[0]


def test_the_sparkline_is_logarithmic() -> None:
    assert sparkline([10.0, 1.0, 0.0316, 0.001, 0.0]) == "██▄▁▁"
