"""Ticks: what fails keeps the rules, what is asked is recorded, what is exported is declared."""

from __future__ import annotations

import io
import json
import re
import socket
from typing import Any

import pytest
import small_fabrics as small

from controller import slots, tick
from controller.addresses import listen, parse
from controller.app import Controller
from controller.fabric import Fabric
from controller.measure import Count, Key
from controller.metrics import METRICS, Exporter, Totals, table
from controller.plant import FLOW_PORT, SERVICE_PORT
from controller.rules import Delta, placed
from pricing.errors import InstallError, NotConverged, TopologyError, WardropError
from pricing.network import Network
from pricing.policy import POLICIES, Policy
from pricing.problem import evaluate
from pricing.values import Decision, Loads
from pricing.written import network_from_json, network_to_json


class FakeBoard:
    """Switches that take what they are told, until they are told not to."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.refuse: InstallError | None = None
        self.sent: list[Delta] = []
        self.failures: list[Exception] = []
        self.dead: frozenset[tuple[str, int]] = frozenset()
        self.missing: list[str] = []

    def wait_for_all(self, timeout: float) -> None:
        """They are all here."""

    def arrived(self) -> list[str]:
        """None is new."""
        return []

    def wipe(self, switches: list[str], timeout: float) -> None:
        """There is nothing to wipe."""

    def look(self, switches: list[str], timeout: float) -> None:
        """Their ports are as they were."""

    def counts(self, timeout: float) -> tuple[dict[Key, Count], list[str]]:
        """No counters."""
        return {}, [f"switch {name}: not connected" for name in self.missing]

    def install(self, delta: Delta, timeout: float) -> None:
        """Take it, or refuse it."""
        if self.refuse:
            raise self.refuse
        if lacking := {change.switch for change in delta} & set(self.missing):
            raise InstallError(f"switch {lacking} is not connected")
        self.sent.append(delta)


def make(policy: Policy | None = None) -> tuple[Controller, FakeBoard, io.StringIO]:
    net = small.network([("a", "b"), ("b", "c")], {"east": "c", "west": "a"}, ["b"])
    board, record = FakeBoard(), io.StringIO()
    fabric = Fabric(net, small.plant(net), 64)
    controller = Controller(fabric, policy or POLICIES["ecmp"], board, Exporter(net), 0.01, record)  # type: ignore[arg-type]
    return controller, board, record


def lines(record: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.getvalue().splitlines()]


def test_a_refused_tick_keeps_the_rules_and_says_why_once(capsys: pytest.CaptureFixture[str]) -> None:
    controller, board, record = make()
    controller.start()
    before = controller.state.installed
    controller.wanted = POLICIES["shortest-path"]
    board.refuse = InstallError("switch b refused: table 2")
    controller.tick()
    controller.tick()
    assert controller.state.deals == tick_deals(lines(record)[0])
    assert capsys.readouterr().out.count("switch b refused") == 1
    assert controller.exporter.totals.errors == {"InstallError": 2}
    assert {(s, e.cookie) for s, e in placed(controller.state.installed)} == {(s, e.cookie) for s, e in placed(before)}
    board.refuse = None
    controller.tick()
    assert controller.line["error"] is None
    assert len(controller.line["decided"]["from-b"]) == 1
    count = len(board.sent)
    controller.tick()
    assert [len(delta) for delta in board.sent[count:]] == [0]


def tick_deals(line: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(numbers) for name, numbers in line["slots"].items()}


def test_a_policy_without_an_answer_keeps_the_rules() -> None:
    def fail(network: Network, loads: Loads, state: object) -> Decision:
        raise NotConverged("no answer after 3 rounds", 3, 0.5)

    controller, board, record = make()
    controller.start()
    controller.wanted = Policy("bad", "finds nothing", fail)
    controller.tick()
    assert len(board.sent) == 1
    last = lines(record)[-1]
    assert last["error"] == "NotConverged: no answer after 3 rounds"
    assert last["rules_changed"] == 0
    assert last["decided"] == lines(record)[0]["decided"]


def test_the_gap_of_the_running_network_is_told_from_its_counters() -> None:
    net = small.network([("a", "b"), ("b", "c")], {"east": "c", "west": "a"}, ["b"])
    fabric = small.fabric(net, 64)
    state = tick.first_state(fabric, POLICIES["joint"])
    state = tick.acknowledged(state, tick.plan(fabric, state))
    assert state.decision is not None
    loads = evaluate(net, state.decision.allocation).loads
    hosts, switches = fabric.plant.hosts, fabric.plant.switches
    bits = {("out", k[0], switches[k[0]].ports[k[1]]): x for k, x in zip(net.link_index, loads.links, strict=True)}
    frame = net.sessions[0].frame_bits
    bits |= {
        ("out", hosts[s.name].node, hosts[s.name].port): x * frame
        for s, x in zip(net.servers, loads.servers, strict=True)
    }
    bits[("in", hosts["h-b"].node, hosts["h-b"].port)] = net.sessions[0].rate
    assert tick.judge(fabric, state)[1]["running_gap"] is None, "nothing was measured yet"
    for second in range(1, 4):
        counts = {k: Count(round(x * second / frame), round(x * second / 8), float(second)) for k, x in bits.items()}
        state = tick.learn(fabric, state, counts, float(second))  # type: ignore[arg-type]
    verdict = tick.judge(fabric, state)[1]
    assert verdict["running_gap"] == pytest.approx(0.0, abs=0.01)
    assert verdict["running_residual"] == pytest.approx(0.0, abs=0.05)
    over = {k: Count(count.packets, count.octets, 0.0) for k, count in counts.items()}
    for second in range(4, 9):
        ended = {k: Count(count.packets, count.octets, float(second)) for k, count in over.items()}
        state = tick.learn(fabric, state, ended, float(second))  # type: ignore[arg-type]
        assert tick.judge(fabric, state)[1]["running_gap"] is None, "nothing is offered any more"


def test_a_node_that_failed_keeps_no_other_from_its_rules() -> None:
    controller, board, record = make()
    controller.start()
    ports = controller.fabric.plant.switches
    board.missing = ["c"]
    controller.wanted = POLICIES["shortest-path"]
    controller.tick()
    board.dead = frozenset({("b", ports["b"].ports["c"]), ("c", ports["c"].ports["b"])})
    controller.wanted = POLICIES["ecmp"]
    controller.tick()
    failed = "wardrop_ticks_failed_total"
    assert f"{failed} 0.0" in controller.exporter.scrape()[1].decode(), "a silent switch keeps no rule from being sent"
    assert lines(record)[-1]["error"] == "MeasurementError: switch c: not connected"
    assert {route for route, _ in lines(record)[-1]["decided"]["from-b"]} == {"b>a@west"}
    assert board.sent[-1]
    assert "c" not in {change.switch for change in board.sent[-1]}
    board.dead = frozenset()  # its cables work, and packets may come to it: rules that it may lack have to be there
    controller.tick()
    assert f"{failed} 1.0" in controller.exporter.scrape()[1].decode()
    board.missing = []
    controller.tick()
    assert "c" in {change.switch for change in board.sent[-1]}


def test_the_record_says_what_was_installed_and_only_when_it_changed() -> None:
    controller, _, record = make()
    controller.start()
    controller.tick()
    first, second = lines(record)
    assert len(first["slots"]["from-b"]) == 64
    numbers = set(first["slots"]["from-b"])
    assert {first["routes"][str(number)]["route"] for number in numbers} == {"b>a@west", "b>c@east"}
    assert "slots" not in second
    assert second["tick"] == 1
    assert first["gap"] is None, "nobody waits for the first optimum"
    assert second["gap"] >= 0


def test_a_long_verdict_holds_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    controller, _, record = make()
    monkeypatch.setattr("controller.app.LONG_VERDICT_S", -1.0)  # every verdict takes too long
    reached: list[int] = []
    clock = [100.0]

    def verdict(fabric: Fabric, state: tick.State) -> tuple[tick.State, dict[str, float | None]]:
        reached.append(state.tick)
        clock[0] += 1.0
        return state, tick.NO_VERDICT | {"gap": float(len(reached))}

    monkeypatch.setattr(tick, "judge", verdict)
    monkeypatch.setattr("controller.app.time", type("Clock", (), {"monotonic": lambda: clock[0], "time": lambda: 0.0}))
    controller.start()
    for _ in range(3):
        controller.tick()
    clock[0] += 10.0
    controller.tick()
    assert [line["gap"] for line in lines(record)] == [None, 1.0, 1.0, 1.0, 2.0]


def test_an_allocation_that_cannot_be_judged_still_carries_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("in the certificate")

    controller, board, record = make()
    monkeypatch.setattr(tick, "certify", fail)
    controller.start()
    controller.tick()
    assert len(board.sent) == 2
    assert lines(record)[-1]["gap"] is None
    assert lines(record)[-1]["error"] == "ZeroDivisionError: in the certificate"


def test_a_change_of_policy_begins_afresh() -> None:
    controller, *_ = make()
    seen: list[object] = []

    def remember(network: Network, loads: Loads, state: object) -> Decision:
        seen.append(state)
        decision = POLICIES["ecmp"].decide(network, loads, None)
        return Decision(decision.prices, decision.allocation, state="mine")

    controller.start()
    controller.wanted = Policy("remember", "remembers", remember)
    controller.tick()
    controller.tick()
    assert seen == [None, "mine"]


def test_the_control_socket_answers_and_refuses() -> None:
    controller, *_ = make()
    assert "error" in controller.answer({"state": True})
    assert controller.answer({"policy": "joint"}) == {"policy": "joint"}
    assert "shortest-path" in controller.answer({"policy": "shortest"})["error"]
    assert "accepted" in controller.answer({"dance": True})["error"]
    assert controller.answer({"stop": True}) == {"stop": True}
    assert controller.stopping


def test_metrics_are_those_declared_and_go_with_what_they_describe() -> None:
    controller, *_ = make()
    controller.start()
    text = controller.exporter.scrape()[1].decode()
    names = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    assert names == {metric.name for metric in METRICS}
    assert 'wardrop_split_decided_ratio{route="b>a@west",session="from-b"} 0.5' in text
    assert "NaN" not in text
    controller.wanted = POLICIES["shortest-path"]
    controller.tick()
    assert controller.exporter.scrape()[1].decode().count("wardrop_split_decided_ratio{") == 1
    assert all(metric.name in table() for metric in METRICS)


def test_flows_that_no_hash_can_split_are_named_once_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    net = small.network([("a", "b"), ("b", "c")], {"east": "c", "west": "a"}, ["b"], flows=1)
    fabric = Fabric(net, small.plant(net), 64)
    controller = Controller(fabric, POLICIES["ecmp"], FakeBoard(), Exporter(net), 0.01, io.StringIO())  # type: ignore[arg-type]
    controller.start()
    controller.tick()
    assert capsys.readouterr().out.count("heavy") == 1
    assert controller.line["heavy"] == {"from-b": 1}
    assert 'wardrop_session_heavy_slots{session="from-b"} 1' in controller.exporter.scrape()[1].decode()


def test_durations_fall_into_their_buckets() -> None:
    totals = Totals()
    for seconds in (0.001, 0.01, 0.15, 9.0):
        totals.add(seconds, 0, None)
    assert sum(totals.tick_s) == 4
    assert (totals.tick_s[0], totals.tick_s[1], totals.tick_s[-1]) == (1, 1, 1)


def test_a_taken_address_names_its_holder_and_the_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WardropError, match=rf"127.0.0.1:{port}.*held by process \d+ .*--metrics"):
            listen(("127.0.0.1", port), "--metrics")


@pytest.mark.parametrize("text", ["9464", "here:", "a:b", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(WardropError, match="HOST:PORT"):
        parse(text, "--metrics")


def test_a_network_comes_back_from_its_file() -> None:
    assert network_from_json(network_to_json(small.LINE)) == small.LINE
    with pytest.raises(TopologyError, match="not a network"):
        network_from_json('{"nodes": 3}')


def test_known_flows_are_those_of_the_senders() -> None:
    sockets = pytest.importorskip("topologies.hosts.sockets")
    assert (FLOW_PORT, SERVICE_PORT) == (sockets.FLOW_PORT, sockets.SERVICE_PORT)


def test_each_slot_carries_the_flows_that_hash_to_it() -> None:
    fabric = small.fabric(small.LINE, 64)
    rates = slots.slot_rates(fabric, "from-a")
    assert rates.shape == (64,)
    assert rates.sum() == small.LINE.sessions[0].flows
