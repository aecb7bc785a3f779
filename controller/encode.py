"""Rules and groups as bytes: the messages of OpenFlow 1.3, quickly.

The framework's parser writes matches and actions; the message around them is put together here. Rules that differ in
one number share their match or their actions with others, so both are written once and kept: a change of a slot is
a lookup and a header, some thirty times faster than building the framework's objects anew.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from controller.framework import Framework
from controller.holdings import fields_of, rule_told
from controller.rules import (
    Action,
    Change,
    Entry,
    Goto,
    Group,
    Learn,
    Load,
    Match,
    Move,
    Multipath,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    Rule,
    SetField,
    ToGroup,
)

SYMMETRIC_L3L4_UDP = 3
"""Nicira's hash of addresses, protocol and ports, UDP's included; the frameworks have no name for it."""

_HEADER = struct.Struct("!BBHIQQBBHHHIIIHxx")
"""An OpenFlow header, then ofp_flow_mod up to its match (OpenFlow 1.3.5, 7.3.4.1)."""

_GROUP_HEADER = struct.Struct("!BBHIHBxI")
"""An OpenFlow header, then ofp_group_mod (7.3.4.2)."""

_BUCKET = struct.Struct("!HHIIxxxx")
"""ofp_bucket: its length, a weight that only other kinds of group use, the port and the group that it watches."""

VLAN = 0x8100
"""EtherType of a VLAN tag (IEEE 802.1Q)."""

ADD_OR_MODIFY_GROUP = 0x8000
"""Open vSwitch's command to add a group, or change it where it is there already: sending it twice is harmless."""

_NXM = {field: f"{field}_nxm" for field in ("eth_dst", "eth_src", "arp_sha", "arp_tha", "arp_spa", "arp_tpa")}
"""Fields that Open vSwitch names by their older names when it tells what a rule loads or moves.

Rules are written as they are read back, so that what a switch holds can be compared byte for byte.
"""

_KEPT = 1 << 18
"""Matches, fields of matches, and lists of actions that are kept with their bytes."""


class Encoder:
    """Flow-mods as bytes, for one framework."""

    def __init__(self, framework: Framework) -> None:
        self.framework = framework
        of = framework.ofproto
        self._commands = {
            "add": of.OFPFC_ADD,
            "modify": of.OFPFC_MODIFY_STRICT,
            "delete": of.OFPFC_DELETE_STRICT,
        }
        self._match = lru_cache(_KEPT)(self._written_match)
        self._field = lru_cache(_KEPT)(self._read_field)
        self._instructions = lru_cache(_KEPT)(self._written_instructions)

    def change(self, change: Change, xid: int) -> bytes:
        """The message that adds, modifies or deletes one rule or group."""
        rule = change.entry
        if isinstance(rule, Group):
            return self._group(rule, change.kind == "delete", xid)
        instructions = b"" if change.kind == "delete" else self._instructions(rule.actions)
        command = self._commands[change.kind]
        return self._message(
            xid, rule.cookie, rule.table, command, rule.priority, self._match(rule.match), instructions
        )

    def told(self, entry: Entry) -> bytes:
        """What a rule or group is and does, as `controller.holdings` reads it from a switch."""
        if isinstance(entry, Rule):
            match, instructions = self._match(entry.match), self._instructions(entry.actions)
            return rule_told(entry.table, entry.priority, match, instructions)
        return self._group(entry, False, 0)[_GROUP_HEADER.size :]

    def read(self, match: bytes) -> Match:
        """The match that bytes say; those that are no match of ours say nothing that is known.

        Raises
        ------
        ProtocolError
            When its fields do not fill it.
        """
        return tuple(sorted(said for field in fields_of(match) for said in self._field(field)))

    def _read_field(self, field: bytes) -> Match:
        """What one field of a match says; the framework's parser trusts its length."""
        alone = struct.pack("!HH", 1, 4 + len(field)) + field
        return tuple(self.framework.parser.OFPMatch.parser(alone + bytes(-len(alone) % 8), 0).items())

    def wipe(self, xid: int) -> bytes:
        """The message that deletes every rule of a switch."""
        of = self.framework.ofproto
        return self._message(xid, 0, of.OFPTT_ALL, of.OFPFC_DELETE, 0, self._match(()), b"")

    def _message(
        self, xid: int, cookie: int, table: int, command: int, priority: int, match: bytes, instructions: bytes
    ) -> bytes:
        of = self.framework.ofproto
        length = _HEADER.size + len(match) + len(instructions)
        head = _HEADER.pack(
            *(of.OFP_VERSION, of.OFPT_FLOW_MOD, length, xid, cookie, 0, table, command, 0, 0, priority),
            *(of.OFP_NO_BUFFER, of.OFPP_ANY, of.OFPG_ANY, 0),
        )
        return head + match + instructions

    def _group(self, group: Group, delete: bool, xid: int) -> bytes:
        of = self.framework.ofproto
        body = b""
        for bucket in () if delete else group.buckets:
            actions = self._written_actions(bucket.actions)
            body += _BUCKET.pack(_BUCKET.size + len(actions), 0, bucket.watch or of.OFPP_ANY, of.OFPG_ANY) + actions
        command = of.OFPGC_DELETE if delete else ADD_OR_MODIFY_GROUP
        kind = {"failover": of.OFPGT_FF, "all": of.OFPGT_ALL}[group.kind]
        length = _GROUP_HEADER.size + len(body)
        head = _GROUP_HEADER.pack(of.OFP_VERSION, of.OFPT_GROUP_MOD, length, xid, command, kind, group.number)
        return head + body

    def _written_actions(self, actions: tuple[Action, ...]) -> bytes:
        buffer = bytearray()
        for action in actions:
            self._action(action).serialize(buffer, len(buffer))
        return bytes(buffer)

    def _written_match(self, match: Match) -> bytes:
        buffer = bytearray()
        self.framework.parser.OFPMatch(**dict(match)).serialize(buffer, 0)
        return bytes(buffer)

    def _written_instructions(self, actions: tuple[Action, ...]) -> bytes:
        of, parser = self.framework.ofproto, self.framework.parser
        apply = [self._action(action) for action in actions if not isinstance(action, Goto)]
        instructions = [parser.OFPInstructionActions(of.OFPIT_APPLY_ACTIONS, apply)] if apply else []
        instructions += [parser.OFPInstructionGotoTable(action.table) for action in actions if isinstance(action, Goto)]
        buffer = bytearray()
        for instruction in instructions:
            instruction.serialize(buffer, len(buffer))
        return bytes(buffer)

    def _action(self, action: Action) -> Any:
        parser = self.framework.parser
        match action:
            case Output(port):
                return parser.OFPActionOutput(port)
            case SetField(field, value):
                return parser.OFPActionSetField(**{field: value})
            case Load(field, value, first, bits):
                return parser.NXActionRegLoad(_bits(first, bits), _NXM.get(field, field), value)
            case Move(source, field, bits, first):
                return parser.NXActionRegMove(_NXM.get(source, source), _NXM.get(field, field), bits, dst_ofs=first)
            case Multipath(slots, field):
                # basis 0; algorithm 0 is modulo_n; the last slot is named, not their number
                return parser.NXActionMultipath(SYMMETRIC_L3L4_UDP, 0, 0, slots - 1, 0, _bits(0, 16), field)
            case PushVlan():
                return parser.OFPActionPushVlan(VLAN)
            case PopVlan():
                return parser.OFPActionPopVlan()
            case ToGroup(number):
                return parser.OFPActionGroup(number)
            case Resubmit(table):
                return parser.NXActionResubmitTable(table_id=table)
            case Learn():
                return self._learn(action)
        raise TypeError(f"{action} has no OpenFlow action")

    def _learn(self, learn: Learn) -> Any:
        parser = self.framework.parser
        fixed = (("eth_type_nxm", 0x0800, 16), ("ip_proto_nxm", 6, 8))
        copied = (("ipv4_src_nxm", 32), ("ipv4_dst_nxm", 32), ("tcp_src_nxm", 16), ("tcp_dst_nxm", 16))
        return parser.NXActionLearn(
            table_id=learn.table,
            specs=[
                *(parser.NXFlowSpecMatch(src=value, dst=(field, 0), n_bits=bits) for field, value, bits in fixed),
                *(parser.NXFlowSpecMatch(src=(field, 0), dst=(field, 0), n_bits=bits) for field, bits in copied),
                parser.NXFlowSpecLoad(src=(learn.field, 0), dst=(learn.field, 0), n_bits=32),
            ],
            idle_timeout=learn.idle_timeout,
            priority=learn.priority,
        )


def _bits(first: int, bits: int) -> int:
    """Nicira's way to say 'bits first .. first + bits - 1' in one number."""
    return (first << 6) | (bits - 1)
