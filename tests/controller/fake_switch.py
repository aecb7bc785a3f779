"""An in-memory OpenFlow 1.3 switch, and a network of them, that executes rules and refuses illegal ones.

It is written against OpenFlow and the Nicira extensions, not against the compiler: it knows prerequisites of matches,
priorities and overlaps, registers, resubmits, learned rules and the hash, and answers 'who receives this packet, over
which links'.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.hashing import slot_of
from controller.plant import Plant
from controller.rules import (
    CONTROLLER,
    IN_PORT,
    Action,
    Change,
    Goto,
    Group,
    Learn,
    Load,
    Move,
    Multipath,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    Rule,
    SetField,
    ToGroup,
    Value,
)

Packet = dict[str, int]
"""Header fields and registers as numbers; addresses too."""

NEEDS = {
    "ipv4_src": ("eth_type", 0x0800),
    "ipv4_dst": ("eth_type", 0x0800),
    "ip_proto": ("eth_type", 0x0800),
    "ip_dscp": ("eth_type", 0x0800),
    "arp_op": ("eth_type", 0x0806),
    "arp_spa": ("eth_type", 0x0806),
    "arp_tpa": ("eth_type", 0x0806),
    "arp_sha": ("eth_type", 0x0806),
    "arp_tha": ("eth_type", 0x0806),
    "tcp_src": ("ip_proto", 6),
    "tcp_dst": ("ip_proto", 6),
}
REGISTERS = {"reg1", "reg2", "reg3", "metadata"}
MOST_HOPS = 64


class RefusedError(Exception):
    """A message that a switch does not take."""


def number(value: Value) -> int:
    """A field's value as a number."""
    if isinstance(value, int):
        return value
    return int(value.replace(":", ""), 16) if ":" in value else int(ipaddress.IPv4Address(value))


def fits(rule: Rule, packet: Packet) -> bool:
    """Whether a packet meets a rule's match."""
    for name, value in rule.match:
        wanted, mask = (number(value[0]), number(value[1])) if isinstance(value, tuple) else (number(value), -1)
        if name not in packet and name not in REGISTERS:
            return False
        if packet.get(name, 0) & mask != wanted & mask:
            return False
    return True


def overlap(one: Rule, other: Rule) -> bool:
    """Whether some packet meets both matches."""
    mine, theirs = dict(one.match), dict(other.match)
    for name in mine.keys() & theirs.keys():
        a, b = mine[name], theirs[name]
        x, m = (number(a[0]), number(a[1])) if isinstance(a, tuple) else (number(a), (1 << 64) - 1)
        y, n = (number(b[0]), number(b[1])) if isinstance(b, tuple) else (number(b), (1 << 64) - 1)
        if (x ^ y) & m & n:
            return False
    return True


@dataclass
class FakeSwitch:
    """One switch with its ports and tables."""

    ports: set[int]
    rules: dict[tuple[object, ...], Rule] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)

    def apply(self, change: Change) -> None:
        """Take one message, or refuse it."""
        rule = change.entry
        if isinstance(rule, Group):
            self._apply_group(rule, change.kind == "delete")
            return
        key = (rule.table, rule.priority, rule.match)
        if change.kind == "delete":
            self.rules.pop(key, None)
            return
        if change.kind == "modify" and key not in self.rules:
            raise RefusedError(f"{rule}: nothing to modify")
        self._check(rule)
        for other_key, other in self.rules.items():
            if other_key != key and other_key[:2] == key[:2] and overlap(rule, other):
                raise RefusedError(f"{rule}: overlaps {other}")
        self.rules[key] = rule

    def _apply_group(self, group: Group, delete: bool) -> None:
        """A group that goes takes the rules that send packets to it along."""
        if delete:
            self.groups.pop(group.number, None)
            self.rules = {k: r for k, r in self.rules.items() if ToGroup(group.number) not in r.actions}
            return
        for bucket in group.buckets:
            ports = [action.port for action in bucket.actions if isinstance(action, Output)] + [bucket.watch]
            if not set(ports) <= self.ports | {0, IN_PORT}:
                raise RefusedError(f"{group}: no such ports: {ports}")
            if group.kind == "failover" and not bucket.watch:
                raise RefusedError(f"{group}: a bucket that watches nothing is never alive")
        self.groups[group.number] = group

    def _check(self, rule: Rule) -> None:
        match = dict(rule.match)
        for name in match:
            need = NEEDS.get(name)
            if need and match.get(need[0]) != need[1]:
                raise RefusedError(f"{rule}: {name} without {need}")
        for action in rule.actions:
            if isinstance(action, Goto) and not rule.table < action.table <= 254:
                raise RefusedError(f"{rule}: goes back to {action.table}")
            if isinstance(action, Output) and action.port not in self.ports | {IN_PORT, CONTROLLER}:
                raise RefusedError(f"{rule}: no port {action.port}")
            for name in (getattr(action, "field", ""), getattr(action, "source", "")):
                need = NEEDS.get(name)
                if need and match.get(need[0]) != need[1]:
                    raise RefusedError(f"{rule}: {name} without {need}")
            if isinstance(action, ToGroup) and action.number not in self.groups:
                raise RefusedError(f"{rule}: no group {action.number}")
            if isinstance(action, Learn) and match.get("ip_proto") != 6:
                raise RefusedError(f"{rule}: learns from what is not TCP")

    def receive(self, port: int, packet: Packet) -> list[tuple[int, Packet]]:
        """Ports and packets that go out for one that comes in."""
        out: list[tuple[int, Packet]] = []
        self._table(0, {**packet, "in_port": port}, out)
        return [(to, {k: v for k, v in p.items() if k not in REGISTERS | {"in_port"}}) for to, p in out]

    def met(self, table: int, packet: Packet) -> Rule | None:
        """The rule of a table that a packet meets."""
        met = [rule for rule in self.rules.values() if rule.table == table and fits(rule, packet)]
        return max(met, key=lambda rule: rule.priority, default=None)

    def _table(self, table: int, packet: Packet, out: list[tuple[int, Packet]]) -> None:
        rule = self.met(table, packet)
        if rule is not None:
            self._act(rule.actions, packet, out)

    def _act(self, actions: tuple[Action, ...], packet: Packet, out: list[tuple[int, Packet]]) -> None:
        for action in actions:
            match action:
                case Output(to):
                    port = packet["in_port"] if to == IN_PORT else to
                    if to != packet["in_port"] and port not in self.dead:  # never back unless told by IN_PORT
                        out.append((port, dict(packet)))
                case ToGroup(number_):
                    group = self.groups[number_]
                    alive = [bucket for bucket in group.buckets if bucket.watch not in self.dead]
                    for bucket in alive[:1] if group.kind == "failover" else group.buckets:
                        self._act(bucket.actions, dict(packet), out)
                case SetField(name, value):
                    packet[name] = number(value)
                case PushVlan():
                    packet["vlan_vid"] = 0x1000
                case PopVlan():
                    del packet["vlan_vid"]
                case Load("in_port_nxm", value):
                    packet["in_port"] = value
                case Load(name, value, first, bits):
                    mask = ((1 << bits) - 1) << first
                    packet[name] = packet.get(name, 0) & ~mask | value << first & mask
                case Move(source, name, bits, first):
                    mask = ((1 << bits) - 1) << first
                    packet[name] = packet.get(name, 0) & ~mask | packet.get(source, 0) << first & mask
                case Multipath(slots, name):
                    packet[name] = self._slot(packet, slots)
                case Resubmit(to) | Goto(to):
                    self._table(to, packet, out)
                case Learn(to, name, _, priority):
                    fields = ("eth_type", "ip_proto", "ipv4_src", "ipv4_dst", "tcp_src", "tcp_dst")
                    match_ = tuple(sorted((key, packet[key]) for key in fields))
                    self.rules[to, priority, match_] = Rule(to, priority, match_, (Load(name, packet[name]),))
                case _:
                    raise RefusedError(f"{action} is no action")

    def _slot(self, packet: Packet, slots: int) -> int:
        source, target = (str(ipaddress.IPv4Address(packet[name])) for name in ("ipv4_src", "ipv4_dst"))
        kind = {6: "tcp", 17: "udp"}.get(packet["ip_proto"], "")
        return slot_of(
            source, target, packet["ip_proto"], packet.get(f"{kind}_src", 0), packet.get(f"{kind}_dst", 0), slots
        )


@dataclass(frozen=True)
class Arrival:
    """A packet at a host, and the nodes that it passed."""

    host: str
    packet: Packet
    nodes: tuple[str, ...]


class FakeNetwork:
    """Switches wired as a plant says."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.told: list[tuple[str, int, Packet]] = []
        self.hosts = {(host.node, host.port): name for name, host in plant.hosts.items()}
        self.wires = {
            (name, port): (other, plant.switches[other].ports[name])
            for name, switch in plant.switches.items()
            for other, port in switch.ports.items()
        }
        ports = [*self.wires, *self.hosts]
        self.switches: Mapping[str, FakeSwitch] = {
            name: FakeSwitch({port for node, port in ports if node == name}) for name in plant.switches
        }

    def apply(self, change: Change) -> None:
        """Give a message to its switch."""
        self.switches[change.switch].apply(change)

    def fail(self, a: str, b: str, works: bool = False) -> None:
        """Let the cable between two nodes fail, or heal it."""
        for one, other in ((a, b), (b, a)):
            dead = self.switches[one].dead
            (dead.discard if works else dead.add)(self.plant.switches[one].ports[other])

    def send(self, host: str, packet: Packet) -> list[Arrival]:
        """Everyone who receives what a host sends."""
        one = self.plant.hosts[host]
        return self.inject(one.node, one.port, packet)

    def inject(self, node: str, port: int, packet: Packet, passed: tuple[str, ...] = ()) -> list[Arrival]:
        """Everyone who receives a packet that comes in at a port."""
        passed = (*passed, node)
        assert len(passed) < MOST_HOPS, f"a loop: {passed}"
        found: list[Arrival] = []
        for to, out in self.switches[node].receive(port, packet):
            if to == CONTROLLER:
                self.told.append((node, port, out))
            elif (node, to) in self.hosts:
                found.append(Arrival(self.hosts[node, to], out, passed))
            else:
                found += self.inject(*self.wires[node, to], out, passed)
        return found
