"""The table of faults: its verdicts, its documentation, its relay's manners on bytes, its packets by their numbers."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from typer.testing import CliRunner

import experiments.__main__  # noqa: F401  adds every command
from controller.guard import BARRIER_REPLY, HEADER, MULTIPART_REPLY, PORT_STATS
from controller.measure import EMPTY, NO_DATA, Count, Key, read
from controller.pipeline import FORWARD, SLOTS
from experiments.commands.cli import app
from experiments.commands.faults import as_json, show
from experiments.faults.between import Counting, Refusing, Silent, raised, still, unsupported, wrapping
from experiments.faults.ground import Ground
from experiments.faults.hitless import Label, balance, roomy
from experiments.faults.packets import Packets
from experiments.faults.rows import Figure, Outcome, Row, Seen
from experiments.faults.table import ROWS, WANDERING, Bed, Table, _do, chosen, described, run
from experiments.pages.faults import as_csv, html, number
from experiments.running.campaign import Options
from pricing.errors import MeasurementError, WardropError
from pricing.network import Network
from pricing.own import named
from pricing.policy import nominal_loads
from pricing.problem import make_allocation, problem_of
from pricing.routes import nearest_routes
from pricing.values import Loads
from topologies import scenario as scenarios
from topologies.scenario import Scenario

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "faults.md"


def outcome(name: str, **other: float | None) -> Outcome:
    """A row with figures that keep their bounds, but for some."""
    row = ROWS[name]
    kept = {figure.name: figure.least if figure.least is not None else figure.most or 0 for figure in row.figures}
    return Outcome(row, kept | other)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_passed_when_every_figure_keeps_its_bounds(name: str) -> None:
    assert outcome(name).passed
    for figure in ROWS[name].figures:
        if figure.bound:
            assert outcome(name, **{figure.name: None}).broken == (figure,), "never seen is not kept"
    assert not all(figure.timing or not figure.bound for figure in ROWS[name].figures), "a quiet machine is no proof"


def test_bounds_are_kept_or_not() -> None:
    figure = Figure("x", "", "", least=1, most=3)
    assert [figure.holds(value) for value in (0.9, 1, 3, 3.1, None)] == [False, True, True, False, False]
    assert (figure.bound, Figure("x", "", "", least=1, most=1).bound) == ("≥ 1, ≤ 3", "= 1")
    assert Figure("x", "", "").holds(None)


def test_the_documentation_has_every_row_and_figure() -> None:
    assert described() in DOCUMENT.read_text()


def test_the_file_and_the_page_have_every_row() -> None:
    found = [outcome("link"), outcome("hitless", lost=3)]
    machine = Table(tuple(found), "user", False, 0.01).machine("os-ken", {"python": "3.11.2"})
    made = as_json("abilene", 1, found, machine)
    assert [(entry["name"], entry["passed"]) for entry in made["faults"]] == [("link", True), ("hitless", False)]
    assert made["faults"][1]["figures"].keys() == {figure.name for figure in ROWS["hitless"].figures}
    documented = {line.split("`")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")}
    assert {*made, *(f"faults[].{key}" for key in made["faults"][0])} <= documented
    page = html(made, found)
    assert "1 of 2 passed" in page
    assert "3 ✗" in page
    rows = {(row["fault"], row["figure"]): row for row in csv.DictReader(io.StringIO(as_csv(found)))}
    assert len(rows) == sum(len(each.row.figures) for each in found)
    lost = {"fault": "hitless", "figure": "lost", "unit": "packets", "measured": "3", "least": "", "most": "0"}
    assert rows["hitless", "lost"] == lost | {"kept": "False"}
    assert all(words in page for words in ("python 3.11.2", "no netem", "Not passed: hitless", escape(made["command"])))
    show(found)
    assert [number(value) for value in (None, 1200, 0.0123, 5.0)] == ["never", "1,200", "0.0123", "5.0"]


def test_what_cannot_be_run_says_why() -> None:
    said = CliRunner().invoke(app, ["faults", "--only", "flood"])
    assert "flood: unknown; hitless, link" in str(said.exception)
    assert "5 s and more" in str(CliRunner().invoke(app, ["faults", "--duration", "1"]).exception)
    assert [row.name for row in chosen(["link", "hitless"])] == ["hitless", "link"]
    for name in ("diamond", "two-servers"):
        with pytest.raises(WardropError, match="needed are a service"):
            run(scenarios.load(name), chosen([]), Options(), 1, 5.0)


def test_packets_are_counted_by_their_numbers() -> None:
    packets = Packets(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 0, 2, 1]))
    assert packets.figures(1.5) == {"packets": 4, "lost": 1, "duplicated": 1, "last_lost_s": 0.5}
    assert packets.between(2.5, 4.0).figures(1.5) == {"packets": 1, "lost": 0, "duplicated": 1, "last_lost_s": 0.0}


def test_no_allocation_fills_a_roomy_network() -> None:
    network: Network = roomy(scenarios.load("abilene").network)
    problem = problem_of(network)
    assert sum(session.packet_rate for session in network.sessions) == pytest.approx(2000)
    rng = np.random.default_rng(1)
    for _ in range(20):
        every = [route for session in network.sessions for route in nearest_routes(network, session, 3)]
        loads = nominal_loads(network, make_allocation(every, rng.random(len(every)) ** 8))
        assert (np.concatenate([loads.links, loads.servers]) < 0.5 * problem.capacity).all()


def flow_mod(table: int, command: int) -> bytes:
    """The head of a message that changes a rule."""
    return HEADER.pack(4, 14, 56, 7) + bytes(16) + bytes([table, command]) + bytes(30)


def test_a_refused_rule_is_answered_by_an_error_and_goes_nowhere() -> None:
    manner = Refusing()
    on, back = manner.told(flow_mod(SLOTS, 0))
    assert on == b""
    assert HEADER.unpack_from(back) == (4, 1, len(back), 7)
    assert struct.unpack_from("!HH", back, 8) == (5, 1)
    for message in (flow_mod(SLOTS, 4), flow_mod(FORWARD, 0), HEADER.pack(4, 20, 8, 1)):
        assert manner.told(message) == (message, b"")
    barrier = HEADER.pack(4, BARRIER_REPLY, 8, 1)
    assert (manner.said(barrier), Silent(9.0).said(barrier), Silent(0.0).said(barrier)) == (barrier, b"", barrier)


def port_reply(octets: int) -> bytes:
    """Counters of two ports."""
    entries = b"".join(struct.pack("!I4x12Q8x", port, *[octets] * 12) for port in (1, 2))
    return HEADER.pack(4, MULTIPART_REPLY, 16 + len(entries), 1) + struct.pack("!HHxxxx", PORT_STATS, 0) + entries


def told(manner: Counting, octets: int) -> int:
    """What the controller reads of a port's bytes."""
    message = manner.said(port_reply(octets))
    assert len(message) == len(port_reply(octets))
    return int.from_bytes(message[16 + 112 + 32 :][:8], "big")


def test_counters_are_told_as_the_manner_has_it() -> None:
    assert [told(unsupported(), 5), told(raised(), 5)] == [NO_DATA, 2**63 + 5]
    frozen, wrapped = still(), wrapping()
    assert [told(frozen, 5), told(frozen, 9)] == [5, 5]
    assert [told(wrapped, 100), told(wrapped, 101), told(wrapped, 102), told(wrapped, 150)] == [
        2**64 - 2,
        2**64 - 1,
        0,
        48,
    ]


def test_the_ways_to_miscount_follow_each_other_without_a_false_rate() -> None:
    """What is true, wrapped, raised, and true again: each second 1,000 bytes, as rates tell them."""
    meter, key, value, manners = EMPTY, ("out", "a", 1), 10**9, [None, wrapping(), raised(), None, still(), None]
    found: list[Any] = []
    for now in range(24):
        value += 1000
        manner = manners[now // 4]
        octets = told(manner, value) if manner else value
        counts: dict[Key, Count] = {key: Count(octets, octets, float(now))}
        meter = read(meter, counts)
        found.append(meter.rates[key].bits if key in meter.rates else 8000.0)
    stood = slice(17, 20)  # a single counter that stands still looks like no traffic; `going` tells it by the others
    assert all(rate == 0 for rate in found[stood])
    assert {*found[:17], *found[21:]} == {8000.0}


def test_packets_that_left_a_path_are_seen_by_its_counters() -> None:
    here, there = ("k", False, "a"), ("k", True, "c")
    assert balance([Label(here, (9, 10, 10)), Label(here, (3, 2)), Label(there, (4, 4))]) == (0, 0), "to another label"
    assert balance([Label(here, (10, 10, 9))]) == (1, 0), "lost on the way"
    assert balance([Label(here, (10, 9)), Label(there, (1, 2))]) == (1, 1), "another entrance makes up for nothing"
    assert balance([Label(here, (10,)), Label(here, (3, 2))]) == (0, 0), "nobody else has counted"


class Stopping:
    """A network with its traffic, whose controller makes so many ticks, the first before anybody waits for one."""

    network = scenarios.load("two-servers").network
    history: tuple[Any, ...] = ()

    def __init__(self, ticks: int) -> None:
        self.controller, self.batches = self, [min(ticks, 1), max(ticks - 1, 0)]

    def check(self) -> None:
        """Nothing has died."""

    fetch_page = check

    def new_records(self) -> list[dict[str, Any]]:
        """The one before, then all others, then none."""
        count = self.batches.pop(0) if self.batches else 0
        return count * [{"tick": 7, "error": None}]


def ground(ticks: int) -> Ground:
    up: Any = Stopping(ticks)
    return Ground(up, up, 1, 0.0, tick=0.01, patience=0.05)


def test_ticks_that_stop_are_an_error_in_words() -> None:
    with pytest.raises(MeasurementError, match="0 came in 0 s where 2 were awaited, the last was none at all"):
        ground(0).ticks(2)
    with pytest.raises(MeasurementError, match="1 came in 0 s where 2 were awaited, the last was tick 7"):
        ground(2).ticks(2)  # one had come before
    with pytest.raises(MeasurementError, match="0 came"):
        ground(1).until(lambda line: True)
    assert ground(3).until(lambda line: False) == (None, 2 * [{"tick": 7, "error": None}]), "never as wanted, but alive"


def test_a_row_that_finds_no_end_fails_in_words_and_the_next_are_run_on_a_new_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    networks: list[list[str]] = []

    def fake(scenario: Scenario, bed: Bed, rows: Sequence[Row], *_: object) -> Table:
        networks.append([row.name for row in rows])
        whole = [outcome(row.name) for row in rows]
        if "silent" in networks[-1]:
            whole = [*whole[: networks[-1].index("silent")], Outcome(ROWS["silent"], error="ticks have stopped")]
        return Table(tuple(whole), "user", False, 0.0)

    monkeypatch.setattr("experiments.faults.table._run", fake)
    found = run(scenarios.load("abilene"), chosen(["refusal", "silent", "counters", "overload"]), Options(), 1, 5.0)
    assert networks == [["refusal", "silent", "counters", "overload"], ["counters", "overload"]]
    assert [one.passed for one in found.outcomes] == [True, False, True, True]
    made = as_json("abilene", 1, found.outcomes, found.machine("os-ken", {}))
    assert [one.get("error") for one in made["faults"]] == [None, "ticks have stopped", None, None]
    assert "Found no end: ticks have stopped." in html(made, found.outcomes)


def test_a_row_ends_where_the_ticks_do() -> None:
    def impatient(ground: Ground) -> Seen:
        ground.ticks(1)
        return Seen({"shown": 1})

    row = replace(ROWS["silent"], run=impatient)
    assert "have stopped" in _do(row, ground(0)).error
    assert _do(row, ground(9)).error == ""


def test_the_wandering_policy_decides_anew_each_round_and_the_same_again() -> None:
    net, policy = scenarios.load("abilene").network, named(WANDERING)
    idle = Loads(np.zeros(len(net.links)), np.zeros(len(net.servers)), np.array([s.rate for s in net.sessions]))
    rounds, state = [], None
    for _ in range(20):
        decision = policy.decide(net, idle, state)
        rounds.append(decision.allocation)
        state = decision.state
    assert policy.decide(net, idle, None).allocation == rounds[0]
    assert all(one != other for one, other in pairwise(rounds))
    used = {route for allocation in rounds for route, _ in allocation}
    assert {route.server for route in used} == {server.name for server in net.servers}
