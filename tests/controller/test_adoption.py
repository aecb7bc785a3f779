"""A controller that starts where another died: what is right stays, numbers keep their meaning."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import small_fabrics as small
from fake_switch import FakeNetwork, Packet, number
from test_encode import ENCODER, GROUPS, RULES
from test_outage import A_D, SQUARE, settled

from controller import adopt, tick
from controller.fabric import Fabric
from controller.holdings import Held, groups_in, installed, rules_in
from controller.labels import Labels
from controller.ledger import Ledger
from controller.openflow import phases
from controller.pipeline import FORWARD, PINS, SLOTS
from controller.rules import (
    COUNTED,
    GATEWAY_MAC,
    Change,
    Entry,
    Goto,
    Output,
    Rule,
    RuleSet,
    diff,
    doubtful,
    part_of,
    placed,
)
from pricing.errors import InstallError
from pricing.outage import NOTHING, Outage
from pricing.policy import POLICIES

FABRIC = small.fabric(SQUARE, 64)


def flow_reply(rules: list[Rule], cookies: Mapping[Rule, int] | None = None) -> bytes:
    """A switch's answer about its rules, made of the flow-mods that installed them."""
    body = b""
    for rule in rules:
        sent = ENCODER.change(Change("add", "a", rule), 1)[48:]
        head = struct.pack(
            "!HBxIIHHHH4xQQQ",
            *(48 + len(sent), rule.table, 5, 0, rule.priority, 0, 0, 0),
            *((cookies or {}).get(rule, rule.cookie), 7, 700),
        )
        body += head + sent
    return body


def group_reply() -> bytes:
    """A switch's answer about its groups."""
    body = b""
    for group in GROUPS:
        buckets = ENCODER.told(group)
        body += struct.pack("!HBxI", 8 + len(buckets), 3, group.number) + buckets
    return body


def held(rules: RuleSet) -> dict[str, Held]:
    """What switches hold that took these rules."""
    found: dict[str, dict[int, tuple[Entry, bytes]]] = {}
    for switch, entry in placed(rules):
        found.setdefault(switch, {})[entry.cookie] = doubtful(entry), ENCODER.told(entry)
    return dict(found)


def test_what_a_switch_tells_is_what_it_was_told() -> None:
    rules = list({rule.cookie & ~COUNTED: rule for rule in RULES}.values())
    groups = list({group.cookie: group for group in GROUPS}.values())
    wanted = {"all": part_of(None, [("a", entry) for entry in [*rules, *groups]])}
    told = dict(rules_in(flow_reply(rules), ENCODER.read)) | dict(groups_in(group_reply()))
    assert not diff(wanted, installed(wanted, {}, {"a": told}, ENCODER.told))


def test_what_is_wrong_is_sent_again_and_what_is_foreign_is_deleted() -> None:
    rule = next(rule for rule in RULES if rule.table == FORWARD and isinstance(rule.actions[-1], Output))
    other = next(entry for entry in RULES if entry.table == SLOTS)
    bent = replace(rule, actions=(Output(3),))
    foreign = Rule(4, 77, (("eth_type", 0x806),), (Output(2),))
    pin = Rule(PINS, 100, (("eth_type", 0x800),), (Goto(FORWARD),))
    wanted = {"some": part_of(None, [("a", rule), ("a", other)])}
    reply = flow_reply([bent, other, foreign, pin], {foreign: 0, other: 5})
    found = installed(wanted, {}, {"a": dict(rules_in(reply, ENCODER.read))}, ENCODER.told)
    assert {(change.kind, change.entry.cookie) for change in diff(wanted, found)} == {
        ("add", rule.cookie),
        ("add", other.cookie),
        ("delete", foreign.cookie),
    }


@pytest.mark.parametrize("outage", [NOTHING, Outage(A_D)])
def test_a_new_controller_changes_nothing_that_is_right(outage: Outage) -> None:
    before = settled(FABRIC, "joint-distributed", outage)
    policy = POLICIES["joint-distributed"]
    state = adopt.adopted(FABRIC, policy, before.labels, held(before.installed), outage, ENCODER.told)
    assert state.decision is not None
    assert before.decision is not None
    assert (state.labels, dict(state.deals), state.outage) == (before.labels, dict(before.deals), outage)
    plan = tick.restore(FABRIC, state, state.decision)
    assert len(plan.delta) == 0
    weights, shares = dict(before.decision.allocation), dict(state.decision.allocation)
    assert {route: shares.get(route, 0.0) for route in weights} == pytest.approx(weights, abs=0.03)
    after = settled(FABRIC, "joint-distributed", outage, state)
    assert tick.judge(FABRIC, after)[1]["gap"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("outage", [NOTHING, Outage(A_D)])
def test_a_controller_that_was_killed_in_the_middle_of_an_update_is_followed_without_a_gap(outage: Outage) -> None:
    before = settled(FABRIC, "ecmp", NOTHING)
    policy = POLICIES["joint"]
    plan = tick.plan(FABRIC, tick.with_outage(FABRIC, tick.with_policy(before, policy), outage))
    sent = [change for phase in phases(plan.delta) for change in phase]
    right = {(switch, cookie) for switch, cookie, _ in known(before.installed) & known(plan.rules)}
    for cut in range(0, len(sent) + 1, 11):
        fake = FakeNetwork(FABRIC.plant)
        for change in (*diff(before.installed, {}), *sent[:cut]):
            fake.apply(change)
        there = [(name, rule) for name, one in fake.switches.items() for rule in one.rules.values()]
        groups = [(name, group) for name, one in fake.switches.items() for group in one.groups.values()]
        holds = held({"all": part_of(None, [*there, *groups])})
        state = adopt.adopted(FABRIC, policy, plan.labels, holds, outage, ENCODER.told)
        assert state.decision is not None
        delta = tick.restore(FABRIC, state, state.decision).delta
        assert not {(change.switch, change.entry.cookie) for change in delta} & right
        if outage:
            fake.fail("a", "d")
        for phase in phases(delta):
            for change in phase:
                fake.apply(change)
            assert all(len(fake.send("h-a", request(port))) == 1 for port in range(20000, 20008))


def known(rules: RuleSet) -> set[tuple[str, int, bytes]]:
    """Rules by what identifies them and what they do."""
    return {(switch, entry.cookie, ENCODER.told(entry)) for switch, entry in placed(rules)}


def request(port: int) -> Packet:
    """A packet of the session that starts at a."""
    addresses = {"ipv4_src": number(FABRIC.plant.hosts["h-a"].ip), "ipv4_dst": number("10.9.0.1")}
    ports = {"ip_proto": 17, "udp_src": port, "udp_dst": 7000}
    return {"eth_dst": number(GATEWAY_MAC), "eth_type": 0x800, **addresses, **ports}


def test_what_went_missing_is_put_back_alone() -> None:
    before = settled(FABRIC, "joint", NOTHING)
    told = {name: dict(table) for name, table in held(before.installed).items()}
    lost = next(e for switch, e in placed(before.installed) if switch == "b" and getattr(e, "table", 0) == FORWARD)
    del told["b"][lost.cookie]
    state = adopt.adopted(FABRIC, POLICIES["joint"], before.labels, told, NOTHING, ENCODER.told)
    assert state.decision is not None
    delta = tick.restore(FABRIC, state, state.decision).delta
    assert [(change.kind, change.entry) for change in delta] == [("add", lost)]
    back = adopt.found(FABRIC, before, {"b": told["b"]}, ENCODER.told)
    assert [change.entry for change in tick.restore(FABRIC, back, state.decision).delta] == [lost]


def test_rules_that_were_never_all_there_are_decided_anew() -> None:
    before = settled(FABRIC, "joint", NOTHING)
    told = held(before.installed)
    told["a"] = {cookie: one for cookie, one in told["a"].items() if getattr(one[0], "table", 0) != SLOTS}
    state = adopt.adopted(FABRIC, POLICIES["joint"], before.labels, told, NOTHING, ENCODER.told)
    assert state.decision is None
    assert state.labels == before.labels
    after = tick.acknowledged(state, tick.plan(FABRIC, state))
    assert after.labels.numbers.items() >= before.labels.numbers.items()
    assert set(after.deals) == set(before.deals)


def test_the_ledger_keeps_numbers_of_its_own_fabric_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "labels.json", FABRIC)
    assert ledger.read() is None
    labels = settled(FABRIC, "ecmp", NOTHING).labels
    some = labels.without({2, len(labels.paths)})
    ledger.write(some)
    read = ledger.read()
    assert read is not None
    assert read.numbers == some.numbers
    assert [path.name for path in tmp_path.iterdir()] == ["labels.json"]
    assert Ledger(ledger.path, Fabric(SQUARE, FABRIC.plant, 32)).read() is None
    for damage in ("", "[]", '{"of": "x"}', ledger.path.read_text()[:-9]):
        ledger.path.write_text(damage)
        assert ledger.read() is None
    with pytest.raises(InstallError, match="folder must take files"):
        Ledger(tmp_path / "no" / "labels.json", FABRIC).write(Labels())
