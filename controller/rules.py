"""Rules as plain data, and the difference between what is wanted and what was acknowledged.

A **rule** is one entry of one table of one switch: a priority, a match and actions. It is identified by table,
priority and match; its **cookie** is a hash of these, so a counter that a switch reports finds its rule again. A
**group** is a list of buckets of actions that rules send packets to: it uses the first bucket whose port is alive, or
copies the packet to all of them. A **rule set** holds the rules and groups of every switch. A **delta** is what turns
one rule set into another: entries to add, to modify (same identity, other actions) and to delete. Everything is
sorted, so equal input gives equal output, and the delta between equal rule sets is empty: applying twice changes
nothing.
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
class PushVlan:
    """Give the packet a VLAN tag; `SetField("vlan_vid", ...)` says which."""


@dataclass(frozen=True)
class PopVlan:
    """Take the VLAN tag off."""


@dataclass(frozen=True)
class ToGroup:
    """Do what the group of that number says; a packet's last action before `Goto`."""

    number: int


@dataclass(frozen=True)
class Goto:
    """Go on in a later table; always last."""

    table: int


@dataclass(frozen=True)
class Unknown:
    """What a rule does whose change was sent and never acknowledged."""


DOUBTED: tuple[Unknown, ...] = (Unknown(),)
"""The actions of a rule that may or may not be there."""

Action = Output | SetField | Load | Move | Multipath | Resubmit | Learn | PushVlan | PopVlan | ToGroup | Goto | Unknown


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


@dataclass(frozen=True)
class Bucket:
    """Actions of a group; a failover group uses them while the port `watch` is alive."""

    actions: tuple[Action, ...]
    watch: int = 0


@dataclass(frozen=True)
class Group:
    """Buckets under a number: 'failover' uses the first whose port is alive, 'all' gives each a copy of the packet."""

    number: int
    kind: Literal["failover", "all"]
    buckets: tuple[Bucket, ...]

    @property
    def cookie(self) -> int:
        """What identifies it beside the rules, whose cookies have 64 bits."""
        return 1 << 64 | self.number

    def __str__(self) -> str:
        return f"group {self.number} ({self.kind})"


Entry = Rule | Group

Table = Mapping[int, Entry]
"""The rules and groups of one switch by cookie."""

RuleSet = Mapping[str, Table]
"""The rules and groups of every switch, by its name."""


def rule_set(entries: Iterable[tuple[str, Entry]], switches: Iterable[str]) -> dict[str, dict[int, Entry]]:
    """Put rules and groups into a set, a table for each switch.

    Raises
    ------
    RuleError
        When two rules of one switch have the same table, priority and match, or two groups the same number, but do
        different things.
    """
    found: dict[str, dict[int, Entry]] = {name: {} for name in sorted(switches)}
    for switch, entry in entries:
        other = found[switch].setdefault(entry.cookie, entry)
        if other is not entry and other != entry:
            raise RuleError(f"switch {switch}, {entry}: declared twice, once to do {_does(other)}, once {_does(entry)}")
    return found


def _does(entry: Entry) -> object:
    return entry.actions if isinstance(entry, Rule) else entry.buckets


def doubtful(entry: Entry) -> Entry:
    """The entry when it may or may not be there, or do something else."""
    return replace(entry, actions=DOUBTED) if isinstance(entry, Rule) else replace(entry, buckets=())


@dataclass(frozen=True)
class Change:
    """One rule or group of one switch to add, modify or delete."""

    kind: Literal["add", "modify", "delete"]
    switch: str
    entry: Entry

    def __str__(self) -> str:
        return f"{self.kind} {self.entry}"


@dataclass(frozen=True)
class Delta:
    """What turns one rule set into another, sorted: groups first, then rules by table, switch, priority and match."""

    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)


def _order(change: Change) -> tuple[object, ...]:
    entry = change.entry
    if isinstance(entry, Group):
        return (-1, change.switch, entry.number, "", change.kind)
    return (entry.table, change.switch, -entry.priority, repr(entry.match), change.kind)


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
        for cookie, entry in wanted.items():
            old = present.get(cookie)
            if old is entry:  # nearly always: compiled rules are kept
                continue
            if old is None or old == doubtful(entry):
                changes.append(Change("add", switch, entry))
            elif old != entry:
                changes.append(Change("modify", switch, entry))
        changes.extend(Change("delete", switch, entry) for cookie, entry in present.items() if cookie not in wanted)
    return Delta(tuple(sorted(changes, key=_order)))


def applied(installed: RuleSet, delta: Delta) -> dict[str, dict[int, Entry]]:
    """The rule set after every change of a delta was acknowledged."""
    result = {switch: dict(entries) for switch, entries in installed.items()}
    for change in delta:
        entries = result.setdefault(change.switch, {})
        if change.kind == "delete":
            entries.pop(change.entry.cookie, None)
        else:
            entries[change.entry.cookie] = change.entry
    return result


def doubted(installed: RuleSet, delta: Delta) -> dict[str, dict[int, Entry]]:
    """The rule set when a delta was sent and not acknowledged: each entry that it touches is there, and unknown.

    The next difference then sends those that are wanted again, and deletes the others.
    """
    result = {switch: dict(entries) for switch, entries in installed.items()}
    for change in delta:
        result.setdefault(change.switch, {})[change.entry.cookie] = doubtful(change.entry)
    return result
