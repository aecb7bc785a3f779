"""Rules as plain data, and the difference between what is wanted and what was acknowledged.

A **rule** is one entry of one table of one switch: a priority, a match and actions. It is identified by table,
priority and match; its **cookie** is a hash of these, so a counter that a switch reports finds its rule again. A
**group** is a list of buckets of actions that rules send packets to: it uses the first bucket whose port is alive, or
copies the packet to all of them. A **rule set** holds the rules and groups of every switch, in **parts**: what
follows from one thing stands together, and while that thing is the same the part is the same object, so that the
difference need not look into it. A **delta** is what turns one rule set into another: entries to add, to modify (same
identity, other actions) and to delete. It is sorted, so equal input gives equal output, and the delta between equal
rule sets is empty: applying twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from itertools import compress, starmap, zip_longest
from operator import is_not
from typing import Literal

from pricing.errors import RuleError

Value = int | str
Match = tuple[tuple[str, Value | tuple[Value, Value]], ...]
"""Pairs of field and value, sorted by field; a value may be (value, mask). Fields have their OpenFlow names."""

COUNTED = 1 << 63
"""Bit of a cookie that marks the rules whose counters are read."""

GATEWAY_MAC = "02:56:ff:ff:ff:fe"
"""The one MAC address that hosts know: the first switch answers ARP with it. It looks like no label."""

GATEWAY = "10.255.255.254"
"""Address that announcements and queries come from; no host has it."""


@dataclass(frozen=True)
class Output:
    """Send the packet out of a port; `IN_PORT` is the one that it came from, `CONTROLLER` sends it to us."""

    port: int


IN_PORT, CONTROLLER = 0xFFFFFFF8, 0xFFFFFFFD


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

Placed = tuple[str, Entry]
"""A switch's name, and a rule or group for it."""


@dataclass(frozen=True)
class Part:
    """Rules and groups that one thing stands for: the fabric, all labels, or the slots of a session.

    Parameters
    ----------
    source : object
        All that the entries follow from: equal sources, equal entries.
    entries : tuple
        None stands where there is nothing. What stays in its place from one part to the next costs nearly nothing.
    """

    source: object
    entries: tuple[Placed | None, ...]


RuleSet = Mapping[str, Part]
"""Parts by name. No two of them hold the same (switch, table, priority, match), or group."""


def part_of(source: object, entries: Iterable[Placed]) -> Part:
    """A part, each entry once.

    Raises
    ------
    RuleError
        When two rules of one switch have the same table, priority and match, or two groups the same number, but do
        different things.
    """
    found: dict[tuple[str, int], Placed] = {}
    for placed in entries:
        switch, entry = placed
        _, other = found.setdefault((switch, entry.cookie), placed)
        if other is not entry and other != entry:
            raise RuleError(f"switch {switch}, {entry}: declared twice, once to do {_does(other)}, once {_does(entry)}")
    return Part(source, tuple(found.values()))


def _does(entry: Entry) -> object:
    return entry.actions if isinstance(entry, Rule) else entry.buckets


def placed(rules: RuleSet) -> Iterator[Placed]:
    """Every rule and group of a set with its switch."""
    for name in sorted(rules):
        yield from filter(None, rules[name].entries)


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
    """What turns one rule set into another, sorted: groups first, then rules by table, switch, priority, cookie."""

    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)


def _order(change: Change) -> tuple[object, ...]:
    entry = change.entry
    if isinstance(entry, Group):
        return (-1, change.switch, 0, entry.number, change.kind)
    return (entry.table, change.switch, -entry.priority, entry.cookie, change.kind)


_NOTHING = Part(None, ())


def _unlike(new: Part, old: Part) -> tuple[dict[tuple[str, int], Entry], dict[tuple[str, int], Entry]]:
    """The entries of two parts by switch and cookie, without those that stand in the same place of both."""
    ours: dict[tuple[str, int], Entry] = {}
    theirs: dict[tuple[str, int], Entry] = {}
    pairs = list(zip_longest(new.entries, old.entries))
    for one, other in compress(pairs, starmap(is_not, pairs)):
        if one:
            ours[one[0], one[1].cookie] = one[1]
        if other:
            theirs[other[0], other[1].cookie] = other[1]
    return ours, theirs


def diff(desired: RuleSet, installed: RuleSet) -> Delta:
    """What is to be sent so that `installed` becomes `desired`.

    Notes
    -----
    O(parts), and for each part that is not the same object O(its rules), of which those in the same place are passed
    over quickly.

    >>> rule = Rule(5, 10, (("eth_type", 0x800), ("ipv4_dst", "10.0.0.1")), (Output(1),))
    >>> wanted = {"standing": part_of(None, [("a", rule)])}
    >>> [change.kind for change in diff(wanted, {})], len(diff(wanted, wanted))
    (['add'], 0)
    """
    changes: list[Change] = []
    for name in desired.keys() | installed.keys():
        new, old = desired.get(name, _NOTHING), installed.get(name, _NOTHING)
        if new is old:
            continue
        wanted, present = _unlike(new, old)
        for (switch, cookie), entry in wanted.items():
            before = present.pop((switch, cookie), None)
            if before is not entry and before != entry:
                unknown = before is None or before == doubtful(entry)
                changes.append(Change("add" if unknown else "modify", switch, entry))
        # A switch deletes by what a rule matches: not the one that took its place with the other mark of counting.
        gone = (place for place in present if (place[0], place[1] ^ COUNTED) not in wanted)
        changes.extend(Change("delete", place[0], present[place]) for place in gone)
    return Delta(tuple(sorted(changes, key=_order)))


def doubted(installed: RuleSet, desired: RuleSet) -> dict[str, Part]:
    """The rule set when the difference was sent and not acknowledged: each entry that it touches is there, and unknown.

    The next difference then sends those that are wanted again, and deletes the others.
    """
    result: dict[str, Part] = {}
    for name in sorted(desired.keys() | installed.keys()):
        new, old = desired.get(name, _NOTHING), installed.get(name, _NOTHING)
        result[name] = new
        if new is not old:
            ours, theirs = ({(p[0], p[1].cookie): p[1] for p in part.entries if p} for part in (new, old))
            known = {place: entry for place, entry in theirs.items() if ours.get(place) == entry}
            rest = {place: doubtful(entry) for place, entry in {**theirs, **ours}.items() if place not in known}
            result[name] = Part(None, tuple((switch, entry) for (switch, _), entry in {**known, **rest}.items()))
    return result
