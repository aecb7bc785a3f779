"""What a switch really holds: its rules and groups as it tells them, held against those that are wanted.

A switch tells each rule with its cookie, match and instructions, and each group with its buckets. A rule is the wanted
one when its identity (table, priority, match) gives the same cookie as the switch tells, and its instructions are byte
for byte those that `controller.encode` writes. What is there and does something else is in doubt, so the next
difference sends it again; what nobody wants is deleted by it. Pins are left alone: connections have learned them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

from controller.pipeline import PINS
from controller.rules import COUNTED, DOUBTED, Entry, Group, Match, Part, Placed, Rule, RuleSet, doubtful, placed
from pricing.errors import ProtocolError

Held = Mapping[int, tuple[Entry, bytes]]
"""By cookie: what one switch holds, with actions unknown, and the bytes that say what it is and does."""

Written = Callable[[Entry], bytes]
"""What an entry is and does, in the bytes of the switches: `Encoder.told`."""

_RULE = struct.Struct("!HBxIIHHHH4xQQQ")
"""ofp_flow_stats up to its match (OpenFlow 1.3.5, 7.3.5.2)."""

_GROUP = struct.Struct("!HBxI")
"""ofp_group_desc up to its buckets (7.3.5.10)."""

_KINDS = {0: "all", 3: "failover"}
"""Kinds of groups that are ours: OFPGT_ALL and OFPGT_FF."""


def fields_of(match: bytes) -> list[bytes]:
    """The fields of a match one after the other, sorted: a switch tells them in an order of its own.

    Raises
    ------
    ProtocolError
        When fields do not fill it.
    """
    kind, length = struct.unpack_from("!HH", match)
    fields, offset = [], 4
    while offset < length:
        end = offset + 4 + match[offset + 3] if offset + 4 <= length else length + 1
        if end > length:
            raise ProtocolError(f"a match of {length} bytes (kind {kind}) whose fields end at {end}")
        fields.append(match[offset:end])
        offset = end
    return sorted(fields)


def rules_in(body: bytes, read: Callable[[bytes], Match]) -> Iterator[tuple[int, tuple[Entry, bytes]]]:
    """The rules of a reply of flow statistics, without pins.

    Parameters
    ----------
    body : bytes
        Of the reply, as the switch sent it.
    read : callable
        The match that bytes say: `Encoder.read`.

    Raises
    ------
    ProtocolError
        When the bytes are no rules.
    """
    offset = 0
    while offset < len(body):
        data = _piece(body, offset, _RULE.size + 8)
        _, table, _, _, priority, _, _, _, cookie, _, _ = _RULE.unpack_from(data)
        length = int.from_bytes(data[_RULE.size + 2 : _RULE.size + 4], "big")
        start = _RULE.size + (length + 7) // 8 * 8
        if length < 4 or start > len(data):
            raise ProtocolError(f"a rule of {len(data)} bytes with a match of {length}")
        match = data[_RULE.size : start]
        told = rule_told(table, priority, match, data[start:])
        offset += len(data)
        if table != PINS:
            rule = Rule(table, priority, read(match), DOUBTED, bool(cookie & COUNTED))
            yield rule.cookie, (rule, told if cookie == rule.cookie else b"")


def groups_in(body: bytes) -> Iterator[tuple[int, tuple[Entry, bytes]]]:
    """The groups of a reply of group descriptions; raises as `rules_in`."""
    offset = 0
    while offset < len(body):
        data = _piece(body, offset, _GROUP.size)
        _, kind, number = _GROUP.unpack_from(data)
        group = Group(number, "all" if kind == 0 else "failover", ())
        yield group.cookie, (group, data[_GROUP.size :] if kind in _KINDS else b"?")
        offset += len(data)


def rule_told(table: int, priority: int, match: bytes, instructions: bytes) -> bytes:
    """What a rule is and does, in bytes that are equal for equal rules."""
    return struct.pack("!BH", table, priority) + b"".join(fields_of(match)) + instructions


def _piece(body: bytes, offset: int, least: int) -> bytes:
    length = int.from_bytes(body[offset : offset + 2], "big")
    if length < least or offset + length > len(body):
        raise ProtocolError(f"an entry of {length} bytes at {offset} of {len(body)}; {least} and more fit")
    return body[offset : offset + length]


def installed(wanted: RuleSet, before: RuleSet, held: Mapping[str, Held], written: Written) -> RuleSet:
    """What all switches hold, as entries: the wanted ones where they are right, else entries in doubt; O(entries).

    Parameters
    ----------
    wanted : rule set
    before : rule set
        What was known before, which still is all that is known of switches that are not in `held`.
    held : mapping of switch name to Held
    written : callable
    """
    there: dict[tuple[str, int], Entry] = {}
    does: dict[tuple[str, int], bytes] = {}
    for switch, entry in placed(before):
        if switch not in held:
            there[switch, entry.cookie] = entry
    for switch, table in held.items():
        for cookie, (entry, told) in table.items():
            there[switch, cookie], does[switch, cookie] = entry, told
    parts: dict[str, Part] = {}
    for name, part in wanted.items():
        entries = tuple(_known(one, there, does, written) if one else None for one in part.entries)
        same = all(one is other for one, other in zip(entries, part.entries, strict=True))
        parts[name] = part if same else Part(None, entries)
    return {**parts, STRAY: Part(None, tuple((switch, entry) for (switch, _), entry in there.items()))}


STRAY = "stray"
"""The part of what is there and wanted by nobody."""


def _known(
    one: Placed, there: dict[tuple[str, int], Entry], does: Mapping[tuple[str, int], bytes], written: Written
) -> Placed | None:
    """A wanted entry as it is there; it is taken out of what is left over."""
    switch, entry = one
    place = switch, entry.cookie
    if place in does and there.pop(place, None) is not None:
        return one if written(entry) == does[place] else (switch, doubtful(entry))
    if place in there:
        return switch, there.pop(place)
    if there.pop((switch, entry.cookie ^ COUNTED), None) is not None:  # the same rule under another cookie
        return switch, doubtful(entry)
    return None
