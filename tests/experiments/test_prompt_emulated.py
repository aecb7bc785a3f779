"""A net from a scenario in three lines of Python, and what its prompt says of it."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from experiments.running.campaign import Campaign, Options, campaign
from pricing.errors import EmulationError
from topologies.scenario import load

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def up() -> Iterator[Campaign]:
    """Abilene under the central optimum, without traffic."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with campaign(load("abilene"), "joint", Options(metrics=f"127.0.0.1:{port}", wait=300)) as up:
        yield up


def test_every_host_reaches_every_other(up: Campaign) -> None:
    hosts = [up.net.get(name) for name in ("h-Seattle", "h-NewYork", "east")]
    assert up.net.ping(hosts, timeout="2") == 0


def test_splits_and_routes_are_those_that_the_controller_decided(up: Campaign) -> None:
    board = up.emulation.board()
    rows = re.findall(r"^denver +(\d\.\d+) +\S+ +(Denver>\S+)$", board.splits(), re.M)
    assert sum(float(weight) for weight, _ in rows) == pytest.approx(1, abs=2e-3)
    for _, route in rows:
        way = route.replace(">", " > ").replace("@", " > ")
        assert re.search(rf"^02:57:\w\w:\w\w +denver +\d+ +{way}$", board.routes(), re.M)


def test_prices_name_every_link_and_server(up: Campaign) -> None:
    said = up.emulation.board().prices()
    names = [*map(str, up.network.links), *(server.name for server in up.network.servers)]
    assert [line.split()[0] for line in said.splitlines()[2:] if not line.startswith("server ")] == names


def test_gap_is_certified(up: Campaign) -> None:
    deadline = time.monotonic() + 60
    while up.controller.ask({"state": True})["gap"] is None and time.monotonic() < deadline:
        time.sleep(0.1)  # the first line of a controller is not judged
    found = re.search(r"^gap, proven +(\S+)$", up.emulation.board().gap(), re.M)
    assert found
    assert float(found[1]) < 1e-3


def test_packets_of_a_session_take_the_routes_of_the_table(up: Campaign) -> None:
    board = up.emulation.board()
    for _ in range(5):
        before, told, after = board.routes(), board.trace("h-Denver", "web"), board.routes()
        counted = [int(count) for count in re.findall(r"rule counted (\d+)", told)]
        if min(counted) > 0:
            break  # else a tick fell between the two times that flows are sent, and moved them
    ways = re.findall(r"^(\d+) of 32 flows: (.*)$", told, re.M)
    assert sum(int(count) for count, _ in ways) == 32
    rows = re.findall(r"^(\S+) +denver +\d+ +(.*)$", before + "\n" + after, re.M)
    for _, way in ways:
        labels = {label for label, route in rows if route == way.removeprefix("h-Denver > ")}
        assert any(f"label {label}" in told for label in labels)
    assert min(counted) > 0


def ticks(up: Campaign, last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The controller's ticks from now on, to the first that is the last."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while not any(map(last, found)):
        assert time.monotonic() < deadline, [(r["stranded"], r["error"], r["rules_changed"]) for r in found[-3:]]
        time.sleep(0.1)
        found += [record for record in up.controller.new_records() if "tick" in record]
    return found


def test_servers_that_run_nothing_are_traced_and_do_not_count_as_failed(up: Campaign) -> None:
    up.controller.new_records()
    for _ in range(3):
        up.emulation.board().trace("h-Denver", "web")
    assert not any(record["stranded"] for record in ticks(up, lambda record: record["error"] is None))


def test_a_failed_node_keeps_no_other_from_its_rules(up: Campaign) -> None:
    up.controller.new_records()
    up.emulation.fail_node("Houston")

    def moved(record: dict[str, Any]) -> bool:
        others = [split for session, split in record["decided"].items() if session != "houston"]
        around = not any("Houston" in route for split in others for route, _ in split)
        return "houston" in record["stranded"] and around and record["rules_changed"] > 0

    try:
        ticks(up, moved)
        assert up.net.ping([up.net.get(name) for name in ("h-Seattle", "h-Atlanta", "west")], timeout="2") == 0
    finally:
        up.emulation.heal_node("Houston")
    ticks(up, lambda record: not record["stranded"] and record["error"] is None)
    assert up.net.ping([up.net.get(name) for name in ("h-Houston", "h-NewYork")], timeout="2") == 0


def test_traces_of_nobody_are_refused(up: Campaign) -> None:
    with pytest.raises(EmulationError, match="found no host 'h-Nowhere'; accepted: central"):
        up.emulation.board().trace("h-Nowhere", "web")
