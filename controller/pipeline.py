"""The tables of a switch: what each may match, do and write. A rule that its table does not declare is refused.

| table | meaning | matches | leads to |
|---|---|---|---|
| 0 `ADMIT` | drop or re-mark what no host may send; tell packets apart | port, addresses, VLAN, DSCP | 0, 1, 2, 4, 5 |
| 1 `PINS` | learned: the route of an open TCP connection | TCP addresses and ports | back |
| 2 `SLOTS` | the route of a slot | session, slot | 3 |
| 3 `STAMP` | write the route's label into the packet, learn pins | session, protocol | 4 |
| 4 `FORWARD` | follow the label; at the last switch give the host its own MAC | label | out |
| 5 `BACKGROUND` | packets of no session, by shortest path hop by hop | address | out |

Registers: `reg1` the route number (0: none yet), `reg2` the slot, `reg3` scratch of the ARP answer; `metadata` the
session (its number from 1) or a way back (`BACK` and its number).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from controller.rules import (
    Action,
    Goto,
    Learn,
    Load,
    Match,
    Move,
    Multipath,
    Output,
    PopVlan,
    Resubmit,
    Rule,
    SetField,
    ToGroup,
)
from pricing.errors import RuleError

ADMIT, PINS, SLOTS, STAMP, FORWARD, BACKGROUND = range(6)

BACK = 1 << 16
"""Bit of `metadata` that marks a way back."""

PIN_IDLE_S = 60
"""A pin goes when its connection was silent for so long."""

ETH_IP, ETH_ARP, ARP_REQUEST, ARP_REPLY, IP_TCP, IP_IGMP = 0x0800, 0x0806, 1, 2, 6, 2


@dataclass(frozen=True)
class TableLaw:
    """What the rules of one table may match, do, write and go to."""

    name: str
    matches: frozenset[str]
    actions: frozenset[type]
    writes: frozenset[str]
    leads: frozenset[int]


def _law(name: str, matches: str, actions: tuple[type, ...], writes: str = "", leads: tuple[int, ...] = ()) -> TableLaw:
    return TableLaw(name, frozenset(matches.split()), frozenset(actions), frozenset(writes.split()), frozenset(leads))


LAWS: dict[int, TableLaw] = {
    ADMIT: _law(
        "admit",
        "in_port vlan_vid eth_type eth_dst arp_op arp_spa ip_proto ipv4_src ipv4_dst ip_dscp",
        (Output, SetField, Load, Move, Multipath, Resubmit, PopVlan, Goto),
        "eth_dst eth_src in_port_nxm arp_op arp_sha arp_tha arp_spa arp_tpa ip_dscp metadata reg2 reg3",
        (ADMIT, PINS, SLOTS, FORWARD, BACKGROUND),
    ),
    PINS: _law("pins", "eth_type ip_proto ipv4_src ipv4_dst tcp_src tcp_dst", (Load,), "reg1"),
    SLOTS: _law("slots", "metadata reg1 reg2", (Load, Goto), "reg1", (STAMP,)),
    STAMP: _law("stamp", "metadata eth_type ip_proto", (Load, Move, Learn, Goto), "eth_dst", (PINS, FORWARD)),
    FORWARD: _law("forward", "eth_dst", (SetField, Output, ToGroup), "eth_dst"),
    BACKGROUND: _law("background", "eth_type ipv4_dst", (SetField, Output, ToGroup), "eth_dst"),
}


def check(rule: Rule) -> None:
    """Refuse a rule that its table does not declare.

    Raises
    ------
    RuleError
        Naming the table, what was found and what it accepts.
    """
    law = LAWS.get(rule.table)
    if law is None:
        raise RuleError(f"{rule}: there is no such table, 0 to {max(LAWS)} are accepted")
    fields = [field for field, _ in rule.match]
    if fields != sorted(set(fields)):
        raise RuleError(f"{rule}: the match must be sorted and name a field once, found {fields}")
    for field in fields:
        if field not in law.matches:
            raise RuleError(f"{rule}: table {law.name} does not match {field}, {sorted(law.matches)} are accepted")
    for place, action in enumerate(rule.actions):
        _check_action(rule, law, action, last=place == len(rule.actions) - 1)


def _check_action(rule: Rule, law: TableLaw, action: Action, last: bool) -> None:
    if type(action) not in law.actions:
        accepted = sorted(kind.__name__ for kind in law.actions)
        raise RuleError(f"{rule}: table {law.name} does not do {action}, {accepted} are accepted")
    if isinstance(action, SetField | Load | Move | Multipath) and action.field not in law.writes:
        raise RuleError(f"{rule}: table {law.name} does not write {action.field}, {sorted(law.writes)} are accepted")
    if isinstance(action, Goto | Resubmit | Learn) and action.table not in law.leads:
        raise RuleError(f"{rule}: table {law.name} does not lead to {action.table}, {sorted(law.leads)} are accepted")
    if isinstance(action, Goto) and not last:
        raise RuleError(f"{rule}: {action} must be the last action")


@lru_cache(maxsize=1 << 17)
def declare(table: int, priority: int, match: Match, *actions: Action, counted: bool = False) -> Rule:
    """A checked rule; the same arguments give the same object, so that comparing rule sets is cheap.

    Raises
    ------
    RuleError
        When the table does not declare it.
    """
    rule = Rule(table, priority, match, actions, counted)
    check(rule)
    return rule
