"""Flow-mods as bytes: what the framework's own parser reads in them is what was asked, and it writes the same bytes."""

from __future__ import annotations

import importlib
import struct
from typing import Any

import pytest
import small_fabrics as small

from controller.compile import compile_rules
from controller.encode import Encoder
from controller.framework import Framework
from controller.labels import Labels
from controller.rules import Bucket, Change, Entry, Goto, Group, Output, Rule, SetField, placed
from controller.slots import deal
from pricing.shortest import equal_cost


def framework() -> Framework:
    """os-ken's names, without the patches that running it needs."""
    names = ("ofproto.ofproto_v1_3", "ofproto.ofproto_v1_3_parser")
    ofproto, parser = (importlib.import_module(f"os_ken.{name}") for name in names)
    return Framework("os-ken", "", "os_ken", None, ofproto, parser)


FRAMEWORK = framework()
ENCODER = Encoder(FRAMEWORK)
DATAPATH = type("Datapath", (), {"ofproto": FRAMEWORK.ofproto, "ofproto_parser": FRAMEWORK.parser})()


def entries() -> list[Entry]:
    """Every kind of rule and group that the compiler makes."""
    fabric = small.fabric(small.network([("a", "b"), ("b", "c"), ("a", "c")], {"east": "c"}, ["a"], (("a", "b"),)))
    allocation = equal_cost(fabric.network)
    labels = Labels().given(fabric.paths(allocation))
    deals = {
        name: deal({labels.numbers[fabric.there(route)]: weight for route, weight in split}, fabric.slots)
        for name, split in allocation.splits.items()
    }
    return [entry for _, entry in placed(compile_rules(fabric, labels, deals))]


RULES = [entry for entry in entries() if isinstance(entry, Rule)]
GROUPS = [entry for entry in entries() if isinstance(entry, Group)]


def read(data: bytes) -> Any:
    """A message as the framework reads it."""
    version, kind, length, xid = struct.unpack_from("!BBHI", data)
    assert (version, kind, length) == (4, FRAMEWORK.ofproto.OFPT_FLOW_MOD, len(data))
    return FRAMEWORK.parser.OFPFlowMod.parser(DATAPATH, version, kind, length, xid, bytearray(data))


@pytest.mark.parametrize("kind", ["add", "modify", "delete"])
def test_the_framework_reads_what_was_asked(kind: Any) -> None:
    commands = {"add": 0, "modify": 2, "delete": 4}
    for rule in RULES:
        data = ENCODER.change(Change(kind, "a", rule), 0x01020304)
        message = read(data)
        assert (message.xid, message.command, message.cookie) == (0x01020304, commands[kind], rule.cookie)
        assert (message.table_id, message.priority) == (rule.table, rule.priority)
        assert dict(message.match.items()) == dict(rule.match)
        instructions = [] if kind == "delete" else rule.actions
        ends = [action.table for action in instructions if isinstance(action, Goto)]
        assert [i.table_id for i in message.instructions if hasattr(i, "table_id")] == ends
        ports = [action.port for action in instructions if isinstance(action, Output)]
        done = [action for i in message.instructions for action in getattr(i, "actions", [])]
        assert len(done) == len(instructions) - len(ends)
        assert [action.port for action in done if hasattr(action, "port")] == ports
        message.buf = None
        message.serialize()
        assert bytes(message.buf) == data


def test_wiping_is_one_message_for_all_tables() -> None:
    message = read(ENCODER.wipe(7))
    assert (message.command, message.table_id, message.instructions) == (3, 255, [])
    assert not list(message.match.items())


def test_groups_are_the_bytes_that_the_framework_writes() -> None:
    both = Group(7, "all", (Bucket((SetField("eth_dst", "02:00:00:00:00:01"), Output(1))), Bucket((Output(2),))))
    parser = FRAMEWORK.parser
    actions = [parser.OFPActionSetField(eth_dst="02:00:00:00:00:01"), parser.OFPActionOutput(1)]
    buckets = [parser.OFPBucket(actions=actions), parser.OFPBucket(actions=[parser.OFPActionOutput(2)])]
    for bucket in buckets:
        bucket.watch_port = bucket.watch_group = 0xFFFFFFFF
    for kind, command, written in (("add", 0x8000, buckets), ("modify", 0x8000, buckets), ("delete", 2, [])):
        message = parser.OFPGroupMod(DATAPATH, command, 0, 7, written)
        message.set_xid(9)
        message.serialize()
        assert ENCODER.change(Change(kind, "a", both), 9) == bytes(message.buf)  # type: ignore[arg-type]


def test_a_bypass_watches_its_ports() -> None:
    assert GROUPS
    for group in GROUPS:
        data = ENCODER.change(Change("add", "a", group), 9)
        message = FRAMEWORK.parser.OFPGroupMod(DATAPATH, 0x8000, 3, group.number, [])
        first = FRAMEWORK.parser.OFPBucket.parser(data, 16)
        second = FRAMEWORK.parser.OFPBucket.parser(data, 16 + first.len)
        assert (first.watch_port, second.watch_port) == tuple(bucket.watch for bucket in group.buckets)
        message.set_xid(9)
        message.serialize()
        assert data[8:16] == bytes(message.buf)[8:16]
        assert 16 + first.len + second.len == len(data)
