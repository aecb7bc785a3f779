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
from controller.rules import Bucket, Change, Entry, Goto, Group, Output, Rule, SetField
from controller.slots import deal
from pricing.shortest import equal_cost


def framework() -> Framework:
    """os-ken's names, without the patches that running it needs."""
    names = ("ofproto.ofproto_v1_3", "ofproto.ofproto_v1_3_parser")
    ofproto, parser = (importlib.import_module(f"os_ken.{name}") for name in names)
    return Framework("os-ken", "", "os_ken", None, ofproto, parser)


FRAMEWORK = framework()
ENCODER = Encoder(FRAMEWORK)


def entries() -> list[Entry]:
    """Every kind of rule and group that the compiler makes."""
    fabric = small.fabric(small.network([("a", "b"), ("b", "c"), ("a", "c")], {"east": "c"}, ["a"], (("a", "b"),)))
    allocation = equal_cost(fabric.network)
    labels = Labels().given(fabric.paths(allocation))
    deals = {
        name: deal({labels.numbers[fabric.there(route)]: weight for route, weight in split}, fabric.slots)
        for name, split in allocation.splits.items()
    }
    return [entry for table in compile_rules(fabric, labels, deals).values() for entry in table.values()]


RULES = [entry for entry in entries() if isinstance(entry, Rule)]
GROUPS = [entry for entry in entries() if isinstance(entry, Group)]


def read(data: bytes) -> Any:
    """A message as the framework reads it."""
    version, kind, length, xid = struct.unpack_from("!BBHI", data)
    assert (version, length) == (4, len(data))
    parser = {14: FRAMEWORK.parser.OFPFlowMod, 15: FRAMEWORK.parser.OFPGroupMod}[kind]
    datapath = type("Datapath", (), {"ofproto": FRAMEWORK.ofproto, "ofproto_parser": FRAMEWORK.parser})()
    return parser.parser(datapath, version, kind, length, xid, bytearray(data))


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


def test_groups_are_added_or_changed_by_one_message() -> None:
    both = Group(7, "all", (Bucket((SetField("eth_dst", "02:00:00:00:00:01"), Output(1))), Bucket((Output(2),))))
    for group in (*GROUPS, both):
        data = ENCODER.change(Change("modify", "a", group), 9)
        message = read(data)
        assert (message.xid, message.command, message.group_id) == (9, 0x8000, group.number)
        assert message.type == {"all": 0, "failover": 3}[group.kind]
        assert [bucket.watch_port for bucket in message.buckets] == [b.watch or 0xFFFFFFFF for b in group.buckets]
        ports = [[action.port for action in b.actions if isinstance(action, Output)] for b in group.buckets]
        assert [[a.port for a in b.actions if type(a).__name__ == "OFPActionOutput"] for b in message.buckets] == ports
        message.buf = None
        message.serialize()
        assert bytes(message.buf) == data
        gone = read(ENCODER.change(Change("delete", "a", group), 9))
        assert (gone.command, gone.group_id, gone.buckets) == (2, group.number, [])
