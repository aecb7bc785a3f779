"""The feed of a run, its HTTP API, and `watch`: what is read, what is changed, and who is refused."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from threading import Thread
from typing import Any

import jsonschema
import pytest
from observed import START, MadeUpRun, page_of, served
from rich.console import Console
from synthetic import network
from typer.testing import CliRunner

import experiments.commands.watch  # noqa: F401  adds its command
from experiments.commands.cli import app
from experiments.observing.changes import Inbox
from experiments.observing.client import Client
from experiments.observing.events import CALM, Watcher
from experiments.observing.feed import KEPT_S, Feed
from experiments.observing.models import facts_of
from experiments.observing.server import PageServer
from experiments.running.live import LiveView
from pricing.errors import Refused, WardropError
from pricing.network import Network, Route
from pricing.problem import problem_of


@pytest.fixture(scope="module")
def run() -> MadeUpRun:
    """A run that takes changes, ten ticks old."""
    made = MadeUpRun()
    made.feed.inbox.open()
    made.tick(10)
    return made


@pytest.fixture(scope="module")
def url(run: MadeUpRun) -> Iterator[str]:
    """Where its API is."""
    with served(run) as address:
        yield address


def get(address: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        return json.load(answer)


def put(address: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers, method="PUT")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class TestFeed:
    def test_a_tick_is_the_record_line_to_six_digits(self, run: MadeUpRun, url: str) -> None:
        made = MadeUpRun()
        made.tick(3, slots={"web-Seattle": [1]}, gap=0.123456789)
        tick = json.loads(made.feed.last().json)
        assert tick["gap"] == 0.123457
        assert (tick["id"], tick["phase"], tick["tick"]) == (3, "shortest-path", 2)
        assert "slots" not in tick

    def test_it_forgets_what_is_older_than_it_keeps(self) -> None:
        made = MadeUpRun()
        made.tick()
        line = json.loads(made.feed.last().json)
        for later in range(1, int(KEPT_S) + 50):
            made.feed.add(line | {"time": START + later}, "shortest-path", 0.0, 0.0)
        ticks = made.feed.between(0, None, 10_000)
        assert ticks[-1].time - ticks[0].time == KEPT_S
        assert ticks[-1].id == KEPT_S + 50

    def test_between_is_by_number(self, run: MadeUpRun) -> None:
        made = MadeUpRun()
        assert made.feed.between(0, None, 5) == []
        made.tick(8)

        def ids(*asked: Any) -> list[int]:
            return [tick.id for tick in made.feed.between(*asked)]

        assert ids(0, None, 3) == [6, 7, 8]
        assert ids(2, 5, 100) == [3, 4]
        assert ids(8, None, 100) == ids(0, 1, 100) == []

    def test_what_happens_between_ticks_is_told_with_the_next(self) -> None:
        made = MadeUpRun()
        made.tick()
        made.set_link("Denver", "KansasCity", False)
        made.set_server("east", False)
        made.tick()
        tick = json.loads(made.feed.last().json)
        assert tick["down"] == {"links": [["Denver", "KansasCity"]], "nodes": [], "servers": ["east"]}
        assert tick["events"][:2] == ["Failed: Denver-KansasCity", "Failed: east"]


class TestEvents:
    def said(self, *changes: dict[str, Any]) -> list[list[str]]:
        """Events of ticks that differ in these fields alone."""
        made, watcher = MadeUpRun(), Watcher(network())
        made.tick(1, gap=0.01)
        line = json.loads(made.feed.last().json)
        watcher.events(line, "calm")
        return [watcher.events(line | change, change.get("phase", "calm")) for change in changes]

    def loaded(self, utilization: float) -> dict[str, Any]:
        states = [{"load": 1.0, "utilization": 0.1, "price": 1.0, "age": 0.1} for _ in network().links]
        states[0] = states[0] | {"utilization": utilization}
        return {"links": states}

    def test_an_alarm_is_news_once_and_when_it_goes(self) -> None:
        said = self.said(*(self.loaded(value) for value in (0.92, 0.88, 0.91, 0.5, 0.95, *([0.5] * CALM), 0.95)))
        comes, goes = (
            "Link Seattle→Sunnyvale is near its capacity",
            "Link Seattle→Sunnyvale is no longer near its capacity",
        )
        assert said == [[comes], *([[]] * (3 + CALM)), [goes], [comes]]

    def test_policies_errors_and_moves_are_told(self) -> None:
        half = {
            "decided": {"web-Seattle": [["Seattle>Sunnyvale@west", 0.6], ["Seattle>Denver>KansasCity@middle", 0.4]]}
        }
        said = self.said({"policy": "joint"}, {"policy": "joint", "error": "no"}, {"policy": "joint"}, half)
        assert said[0] == ["Policy: joint after shortest-path"]
        assert said[1] == ["Tick 0: no"]
        assert said[2] == ["Tick 0 went well again"]
        assert "web-Seattle moves 40% of its traffic, most of it to middle by Denver, KansasCity" in said[3]

    def test_who_joins_a_group_and_who_leaves_it_is_told(self) -> None:
        said = self.said(*({"members": {"film": nodes}} for nodes in (["x"], ["x", "y"], ["y"], ["y"])))
        assert said == [[], ["y joins film"], ["x leaves film"], []]

    def test_failures_that_nobody_asked_for_are_told(self) -> None:
        cable = [["Denver", "KansasCity"], ["KansasCity", "Denver"]]
        node = {"links": [], "nodes": ["Denver"], "servers": []}
        found, asked = {"outage": {"links": cable, "servers": ["east"]}}, {"down": {"links": cable[:1], "servers": []}}
        calm: dict[str, Any] = {"outage": {"links": [], "servers": []}}
        assert self.said(calm, found, found, calm) == [
            [], ["Link Denver-KansasCity has failed", "Server east has failed"], [],
            ["Link Denver-KansasCity works again", "Server east works again"],
        ]  # fmt: skip
        links = {"outage": {"links": cable, "servers": []}}
        assert self.said(calm, links | asked, links, calm) == [[], [], [], []], "healed, and not yet seen to be"
        assert self.said(calm, links | {"down": node}, calm) == [[], [], []]

    def test_who_is_not_served_is_told(self) -> None:
        cut = {"stranded": ["web-Denver"], "served": {"web-Denver": 0.0}}
        part, most, whole = ({"served": {"web-Denver": value}} for value in (0.8, 0.993, 1.0))
        assert self.said(cut, part, most, whole, part | {"members": {"web-Denver": []}}) == [
            ["web-Denver is cut off from every destination"],
            ["web-Denver reaches a destination again", "A part of web-Denver is refused"],
            [],
            ["web-Denver is served wholly again"],
            [],
        ]


class TestReading:
    def test_state_and_history_agree(self, url: str, run: MadeUpRun) -> None:
        state = get(f"{url}api/state")
        assert state == json.loads(run.feed.last().json)
        assert get(f"{url}api/history?limit=3")[-1] == state
        assert [tick["id"] for tick in get(f"{url}api/history?after=1&before=4")] == [2, 3]

    def test_every_tick_fits_its_description(self, url: str) -> None:
        description = get(f"{url}api/openapi.json")
        schema = {"$ref": "#/components/schemas/TickFacts", "components": description["components"]}
        jsonschema.Draft202012Validator(schema).validate(get(f"{url}api/state"))
        changes = {path for path, calls in description["paths"].items() if "put" in calls}
        assert changes == {
            "/api/policy",
            "/api/sessions/{session}/demand",
            "/api/users/{user}/value",
            "/api/links/{src}/{dst}",
            "/api/nodes/{node}",
            "/api/servers/{server}",
        }

    def test_a_stream_begins_with_the_newest_and_goes_on(self, url: str, run: MadeUpRun) -> None:
        ticks = Client(url).ticks()
        first = next(ticks)
        run.tick(2)
        assert [next(ticks)["id"], next(ticks)["id"]] == [first["id"] + 1, first["id"] + 2]
        ticks.close()

    def test_an_event_source_that_comes_back_misses_nothing(self, url: str, run: MadeUpRun) -> None:
        newest = run.feed.last().id
        request = urllib.request.Request(f"{url}api/ticks", headers={"Last-Event-ID": str(newest - 2)})
        with urllib.request.urlopen(request) as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            text = b"".join(stream.readline() for _ in range(8)).decode()
        assert f"id: {newest - 1}\n" in text
        assert f"id: {newest}\n" in text
        assert text.count("event: tick\n") == 2

    def test_parts_of_a_price_add_up_to_what_the_problem_says(self) -> None:
        net = network()
        problem, prices = problem_of(net), {link.key: 1e-3 * (1 + place) for place, link in enumerate(net.links)}
        session = net.sessions[0]
        route = Route(session.name, (("Seattle", "Sunnyvale"),), "west")
        facts = facts_of(Feed(net, "")).sessions[0]
        index, amount = problem.usage(route)
        row = [*prices.values(), *(0.1 for _ in net.servers)]
        priced = sum(problem.weight[r] * row[r] * used for r, used in zip(index, amount, strict=True))
        back = facts.answers * prices["Sunnyvale", "Seattle"]
        assert prices["Seattle", "Sunnyvale"] + back + facts.work["west"] * 0.1 == pytest.approx(priced)

    def test_an_option_says_whose_it_is(self) -> None:
        made = MadeUpRun(users={"web-Denver": "web"})
        made.feed.inbox.open()
        made.tick()
        with served(made) as url:
            users = {session["name"]: session["user"] for session in get(f"{url}api/network")["sessions"]}
            code, _ = put(f"{url}api/users/web/value", {"factor": 2.0})
        assert users == {session.name: "" for session in network().sessions} | {"web-Denver": "web"}
        assert code == 200
        assert made.feed.worth == {"web": 2.0}

    def test_nodes_without_coordinates_have_a_place(self) -> None:
        net = network(places=False)
        facts = facts_of(Feed(net, ""))
        assert len({(node.x, node.y) for node in facts.nodes}) == len(net.nodes)

    def test_the_page_loads_nothing_from_elsewhere(self, url: str) -> None:
        with urllib.request.urlopen(url) as page:
            text, policy = page.read().decode(), page.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "//" not in text.replace("<!doctype html>", "")


class TestChanges:
    def test_policy_demand_and_failures(self, url: str, run: MadeUpRun) -> None:
        assert put(f"{url}api/policy", {"policy": "joint"})[0] == 200
        assert run.policy == "joint"
        assert put(f"{url}api/sessions/web-Seattle/demand", {"factor": 1.5})[0] == 200
        assert run.feed.demand == {"web-Seattle": 1.5}
        for path, thing in (
            ("links/Denver/KansasCity", frozenset(("Denver", "KansasCity"))),
            ("nodes/Denver", "Denver"),
        ):
            assert put(f"{url}api/{path}", {"works": False})[0] == 200
            assert thing in run.failed
            assert put(f"{url}api/{path}", {"works": True})[0] == 200
            assert thing not in run.failed

    @pytest.mark.parametrize(
        ("path", "body", "said"),
        [
            ("policy", {"policy": "jojnt"}, "did you mean 'joint'"),
            ("sessions/nobody/demand", {"factor": 1.0}, "unknown session 'nobody'"),
            ("sessions/web-Seattle/demand", {"factor": -1.0}, "greater than or equal to 0"),
            ("users/nobody/value", {"factor": 2.0}, "unknown user 'nobody'"),
            ("users/nobody/value", {"factor": 0.0}, "greater than 0"),
            ("servers/east", {"work": True}, "works"),
        ],
    )
    def test_what_is_wrong_is_said(self, url: str, path: str, body: Any, said: str) -> None:
        code, answer = put(f"{url}api/{path}", body)
        assert code == 400
        assert said in answer["error"]

    def test_a_run_that_measures_takes_none(self) -> None:
        made = MadeUpRun()
        with served(made) as url:
            code, answer = put(f"{url}api/policy", {"policy": "joint"})
        assert code == 409
        assert "bin/wardrop run" in answer["error"]
        assert made.policy == "shortest-path"

    def test_a_run_that_does_not_answer_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("experiments.observing.changes.REPLY_S", 0.05)
        inbox, made = Inbox(), MadeUpRun()
        inbox.open()
        with pytest.raises(Refused, match="not answered"):
            inbox.ask(lambda run: run.set_policy("joint"))
        inbox.carry_out(made)
        assert made.policy == "shortest-path", "what was given up is not carried out later"


class TestWhoIsRefused:
    def test_changes_need_the_token_and_reading_does_not(self) -> None:
        made = MadeUpRun()
        made.feed.inbox.open()
        made.tick()
        with served(made, token="secret") as url:
            assert get(f"{url}api/state")["tick"] == 0
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                assert put(f"{url}api/policy", {"policy": "joint"}, **headers)[0] == 401
            assert made.policy == "shortest-path"
            assert put(f"{url}api/policy", {"policy": "joint"}, Authorization="Bearer secret")[0] == 200
        assert made.policy == "joint"

    def test_others_are_not_let_in_without_a_token(self) -> None:
        with pytest.raises(WardropError, match="--token"):
            PageServer(MadeUpRun().feed, "0.0.0.0:0")

    def test_a_name_that_is_not_ours_is_refused(self, url: str) -> None:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{url}api/state", Host="elsewhere.example")
        refused.value.close()
        assert refused.value.code == 400

    def test_a_taken_port_is_one_message(self, url: str) -> None:
        address = url.removeprefix("http://").rstrip("/")
        with pytest.raises(WardropError) as refused:
            PageServer(MadeUpRun().feed, address)
        assert address in str(refused.value)
        assert "--page HOST:PORT" in str(refused.value)
        assert "\n" not in str(refused.value)


class TestWatch:
    def test_the_network_comes_back(self, url: str) -> None:
        found, title = Client(url).network()
        net = network()
        assert isinstance(found, Network)
        assert title == "Abilene, made up"
        assert [link.key for link in found.links] == [link.key for link in net.links]
        for mine, theirs in zip(found.sessions, net.sessions, strict=True):
            assert mine.packet_rate == pytest.approx(theirs.packet_rate)

    def test_it_shows_the_run_until_it_ends(self) -> None:
        made = MadeUpRun()
        made.tick(5)
        screen = Console(file=io.StringIO(), record=True, width=120, height=40, force_terminal=True, color_system=None)
        with served(made) as url:
            client = Client(url)
            found, title = client.network()
            view, ticks = LiveView(found, title, screen), client.ticks()
            tick = next(ticks)
            view.update(tick, tick["phase"], tick["elapsed"], tick["total"])
            made.set_link("Denver", "KansasCity", False)
            made.tick()
            tick = next(ticks)
            view.update(tick, tick["phase"], tick["elapsed"], tick["total"])
            rest: list[Any] = []
            reader = Thread(target=lambda: rest.extend(ticks))
            reader.start()
        reader.join()
        assert rest == []
        screen.print(view)
        shown = screen.export_text()
        for words in ("✕ Denver→KansasCity", "web-Seattle", "Abilene, made up", "Failed: Denver-KansasCity"):
            assert words in shown

    def test_nobody_there_is_one_message(self) -> None:
        with pytest.raises(WardropError, match="no run of Wardrop answers there"):
            Client("127.0.0.1:1").network()


def test_the_command_follows_a_run_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    made, shows = MadeUpRun(), LiveView.update
    made.tick(3)

    def show(view: LiveView, *tick: Any) -> None:
        shows(view, *tick)
        made.feed.close()

    monkeypatch.setattr(LiveView, "update", show)
    with page_of(made.feed) as url:
        said = CliRunner().invoke(app, ["watch", url])
    assert said.exit_code == 0
    first, last = said.output.splitlines()
    assert first.startswith("shortest-path: 2 s, ")
    assert last == "the run has ended"
