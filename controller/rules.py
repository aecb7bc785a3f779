"""Rules as plain data, and the difference between what is wanted and what was acknowledged.

A **rule** is one entry of one table of one switch: a priority, a match and actions. It is identified by table,
priority and match; its **cookie** is a hash of these, so a counter that a switch reports finds its rule again. A
**rule set** holds the rules of every switch. A **delta** is what turns one rule set into another: rules to add, to
modify (same identity, other actions) and to delete. Everything is sorted, so equal input gives equal output, and the
delta between equal rule sets is empty: applying twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Literal

from pricing.errors import RuleError

Value = int | str
Match = tuple[tuple[str, Value | tuple[Value, Value]], ...]
"""Pairs of field and value, sorted by field; a value may be (value, mask). Fields have their OpenFlow names."""

COUNTED = 1 << 63
"""Bit of a cookie that marks the rules whose counters are read."""

GATEWAY_MAC = "02:57:ff:ff:ff:fe"
"""The one MAC address that hosts know: the first switch answers ARP with it."""


@dataclass(frozen=True)
class Output:
    """Send the packet out of a port; `IN_PORT` is the one that it came from."""

    port: int


IN_PORT = 0xFFFFFFF8


@dataclass(frozen=True)
class SetField:
    """Write a whole header field."""

    field: str
    value: Value


@dataclass(frozen=True)
class Load:
    """Write `bits` bits of a field or register, from bit `first` on."""

    field: str
    value: int
    first: int = 0
    bits: int = 32


@dataclass(frozen=True)
class Move:
    """Copy the low `bits` bits of one field or register to bit `first` of another."""

    source: str
    field: str
    bits: int
    first: int = 0


@dataclass(frozen=True)
class Multipath:
    """Write into a register the slot, of so many, to which the packet's symmetric hash sends it."""

    slots: int
    field: str


@dataclass(frozen=True)
class Resubmit:
    """Look the packet up in another table, then come back."""

    table: int


@dataclass(frozen=True)
class Learn:
    """Pin this TCP connection: a rule in `table` that loads the present value of `field` for its packets."""

    table: int
    field: str
    idle_timeout: int
    priority: int


@dataclass(frozen=True)
class Goto:
    """Go on in a later table; always last."""

    table: int


@dataclass(frozen=True)
class Unknown:
    """What a rule does whose change was sent and never acknowledged."""


DOUBTED: tuple[Unknown, ...] = (Unknown(),)
"""The actions of a rule that may or may not be there."""

Action = Output | SetField | Load | Move | Multipath | Resubmit | Learn | Goto | Unknown


@dataclass(frozen=True)
class Rule:
    """One entry of a table; `counted` when its counters are read each tick. No action is a drop."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    counted: bool = False

    @cached_property
    def cookie(self) -> int:
        """64 bits that identify (table, priority, match), with the bit `COUNTED`."""
        text = repr((self.table, self.priority, self.match)).encode()
        number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") & ~COUNTED
        return number | COUNTED if self.counted else number

    def __str__(self) -> str:
        match = ",".join(f"{field}={value}" for field, value in self.match) or "any"
        return f"table {self.table} priority {self.priority} {match}"


Table = Mapping[int, Rule]
"""The rules of one switch by cookie."""

RuleSet = Mapping[str, Table]
"""The rules of every switch, by its name."""


def rule_set(rules: Iterable[tuple[str, Rule]], switches: Iterable[str]) -> dict[str, dict[int, Rule]]:
    """Put rules into a set, an entry for each switch.

    Raises
    ------
    RuleError
        When two rules of one switch have the same table, priority and match but do different things.
    """
    found: dict[str, dict[int, Rule]] = {name: {} for name in sorted(switches)}
    for switch, rule in rules:
        other = found[switch].setdefault(rule.cookie, rule)
        if other is not rule and other != rule:
            raise RuleError(f"switch {switch}, {rule}: declared twice, once to do {other.actions}, once {rule.actions}")
    return found


@dataclass(frozen=True)
class Change:
    """One rule of one switch to add, modify or delete."""

    kind: Literal["add", "modify", "delete"]
    switch: str
    rule: Rule

    def __str__(self) -> str:
        return f"{self.kind} {self.rule}"


@dataclass(frozen=True)
class Delta:
    """What turns one rule set into another, sorted by table, switch, priority and match."""

    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)


def _order(change: Change) -> tuple[object, ...]:
    rule = change.rule
    return (rule.table, change.switch, -rule.priority, repr(rule.match), change.kind)


def diff(desired: RuleSet, installed: RuleSet) -> Delta:
    """What is to be sent so that `installed` becomes `desired`; O(rules).

    Switches that `desired` does not name are left alone.

    >>> rule = Rule(5, 10, (("eth_type", 0x800), ("ipv4_dst", "10.0.0.1")), (Output(1),))
    >>> wanted = rule_set([("a", rule)], ["a"])
    >>> [change.kind for change in diff(wanted, {})], len(diff(wanted, wanted))
    (['add'], 0)
    """
    changes: list[Change] = []
    for switch, wanted in desired.items():
        present = installed.get(switch, {})
        for cookie, rule in wanted.items():
            old = present.get(cookie)
            if old is rule:  # nearly always: compiled rules are kept
                continue
            if old is None or old.actions == DOUBTED:
                changes.append(Change("add", switch, rule))
            elif old != rule:
                changes.append(Change("modify", switch, rule))
        changes.extend(Change("delete", switch, rule) for cookie, rule in present.items() if cookie not in wanted)
    return Delta(tuple(sorted(changes, key=_order)))


def applied(installed: RuleSet, delta: Delta) -> dict[str, dict[int, Rule]]:
    """The rule set after every change of a delta was acknowledged."""
    result = {switch: dict(rules) for switch, rules in installed.items()}
    for change in delta:
        rules = result.setdefault(change.switch, {})
        if change.kind == "delete":
            rules.pop(change.rule.cookie, None)
        else:
            rules[change.rule.cookie] = change.rule
    return result


def doubted(installed: RuleSet, delta: Delta) -> dict[str, dict[int, Rule]]:
    """The rule set when a delta was sent and not acknowledged: each rule that it touches is there, and unknown.

    The next difference then sends those that are wanted again, and deletes the others.
    """
    result = {switch: dict(rules) for switch, rules in installed.items()}
    for change in delta:
        unknown = replace(change.rule, actions=DOUBTED)
        result.setdefault(change.switch, {})[unknown.cookie] = unknown
    return result
