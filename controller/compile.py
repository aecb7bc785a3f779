"""From an allocation to the rules of every switch.

From the fabric alone come the rules that tell packets apart (table 0), stamp labels (3), carry packets of no session by
shortest path (5) and lead around links that fail. A **deal** says for each session which route each slot has. Together
with the numbers of the paths they give the rule set; nothing is sent here.

A request's packets get the path of their slot at the ingress. The answer has the same slot, because the hash is
symmetric, and goes back along the links that the request came by; where these have no opposite, or the slot has since
gone to another server, it goes back by the shortest path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from controller.bypass import VLAN_PRESENT, bypasses, towards
from controller.duplicate import numbers_of_parts, returning_rules, tree_rules
from controller.fabric import Fabric
from controller.group import group_rules
from controller.labels import PREFIX, PREFIX_MATCH, REFUSED, Labels, Path, label
from controller.pipeline import (
    ADMIT,
    ARP_REPLY,
    ARP_REQUEST,
    BACK,
    BACKGROUND,
    ETH_ARP,
    ETH_IP,
    FORWARD,
    IP_IGMP,
    IP_TCP,
    PIN_IDLE_S,
    PINS,
    SLOTS,
    STAMP,
    declare,
)
from controller.plant import HostPlant
from controller.rules import (
    CONTROLLER,
    GATEWAY_MAC,
    IN_PORT,
    Action,
    Goto,
    Learn,
    Load,
    Match,
    Move,
    Multipath,
    Output,
    Part,
    Placed,
    Resubmit,
    RuleSet,
    SetField,
    Value,
    part_of,
)
from pricing.frames import dscp
from pricing.network import Session

Deals = Mapping[str, Sequence[int]]
"""For each session the route number of each slot."""

LABEL_MASK = "ff:ff:ff:ff:00:00"


def _match(**fields: Value | tuple[Value, Value]) -> Match:
    return tuple(sorted(fields.items()))


@lru_cache(maxsize=64)
def standing_rules(fabric: Fabric) -> Part:
    """The rules that an allocation does not change: groups, tables 0, 3 and 5."""
    every = (bypasses, group_rules, _admit, returning_rules, _sessions, _stamp, _background)
    return part_of(fabric, chain.from_iterable(rules(fabric) for rules in every))


def _admit(fabric: Fabric) -> Iterator[Placed]:
    """Tell packets apart: by label and of no session from switches, honest or not from hosts; others meet no rule.

    What hosts report of groups comes to us where members come and go, and never to another host, which would then say
    nothing of its own membership (RFC 2236, 3).
    """
    for name in fabric.plant.switches:
        for port in sorted(fabric.plant.switches[name].ports.values()):
            yield name, declare(ADMIT, 300, _match(in_port=port, eth_dst=PREFIX_MATCH), Goto(FORWARD))
            yield name, declare(ADMIT, 100, _match(in_port=port, eth_type=ETH_IP), Goto(BACKGROUND))
    for name, host in fabric.plant.hosts.items():
        for address in fabric.addresses[name]:
            request = _match(in_port=host.port, eth_type=ETH_ARP, arp_spa=address, arp_op=ARP_REQUEST)
            answer = _match(in_port=host.port, eth_type=ETH_ARP, arp_spa=address)
            yield host.node, declare(ADMIT, 500, request, *ARP_ANSWER)
            yield host.node, declare(ADMIT, 490, answer)  # nobody asked for it
        if fabric.joined:
            report = _match(in_port=host.port, eth_type=ETH_IP, ip_proto=IP_IGMP, ipv4_src=host.ip)
            yield host.node, declare(ADMIT, 470, report, Output(CONTROLLER))
        yield from plain_rules(fabric, name)
        yield from remarks(fabric)[name]
        yield from (rule for rules in refusals(host).values() for rule in rules)


def _sessions(fabric: Fabric) -> Iterator[Placed]:
    """Requests at their ingress, answers where the server is."""
    for session in fabric.network.sessions:
        yield request_rule(fabric, session)
        for end in fabric.plant.ends(session):
            yield answer_rule(fabric, session, end)


def _stamp(fabric: Fabric) -> Iterator[Placed]:
    """Write the label; a TCP packet of a session pins its connection first."""
    stamp = (
        Load("eth_dst", PREFIX << 32, bits=48),
        Move("reg1", "eth_dst", 16, first=16),
        Goto(FORWARD),
    )
    learn = Learn(PINS, "reg1", PIN_IDLE_S, priority=100)
    connection = _match(metadata=(0, BACK), eth_type=ETH_IP, ip_proto=IP_TCP)
    for name in fabric.plant.switches:
        yield name, declare(STAMP, 20, connection, learn, *stamp)
        yield name, declare(STAMP, 10, (), *stamp)


def _background(fabric: Fabric) -> Iterator[Placed]:
    """Packets of no session, by shortest path to a host, or to the nearest server of a service."""
    for name, host in fabric.plant.hosts.items():
        yield from _carry(fabric, host.ip, [name])
    for session in fabric.network.sessions:
        if session.kind == "anycast":
            alive = [server for server in session.destinations if server not in fabric.outage.servers]
            yield from _carry(fabric, fabric.plant.address(session), alive or session.destinations)


def _carry(fabric: Fabric, address: str, ends: Iterable[str]) -> Iterator[Placed]:
    match = _match(eth_type=ETH_IP, ipv4_dst=address)
    at: dict[str, HostPlant] = {}
    for end in sorted(ends):
        at.setdefault(fabric.plant.hosts[end].node, fabric.plant.hosts[end])
    for host in at.values():
        yield leave_rule(address, host)
    for node, after in fabric.next_hops(at).items():
        if node not in at:
            yield node, declare(BACKGROUND, 10, match, towards(fabric, node, after))


ARP_ANSWER: tuple[Action, ...] = (
    Move("eth_src", "eth_dst", 48),
    SetField("eth_src", GATEWAY_MAC),
    SetField("arp_op", ARP_REPLY),
    Move("arp_sha", "arp_tha", 48),
    SetField("arp_sha", GATEWAY_MAC),
    Move("arp_tpa", "reg3", 32),
    Move("arp_spa", "arp_tpa", 32),
    Move("reg3", "arp_spa", 32),
    Output(IN_PORT),
)
"""An ARP request turned into its answer: asker and asked change places, the address asked for is the gateway's."""


def plain_rules(fabric: Fabric, name: str) -> tuple[Placed, ...]:
    """Count what a host sends, from each of its addresses, that belongs to no session."""
    host = fabric.plant.hosts[name]
    matches = [_match(in_port=host.port, eth_type=ETH_IP, ipv4_src=address) for address in fabric.addresses[name]]
    return tuple((host.node, declare(ADMIT, 410, match, Goto(BACKGROUND), counted=True)) for match in matches)


@lru_cache(maxsize=1 << 12)
def refusals(host: HostPlant) -> Mapping[str, tuple[Placed, ...]]:
    """The rules that drop and count what a host may not send, by what it is.

    A label ('label') or a VLAN tag, which would be a bypass ('vlan'), is for switches to write; a packet or an ARP
    message from another's address ('address') could take answers that are not the host's.
    """
    matches = {
        "vlan": [(700, _match(in_port=host.port, vlan_vid=(VLAN_PRESENT, VLAN_PRESENT)))],
        "label": [(650, _match(in_port=host.port, eth_dst=PREFIX_MATCH))],
        "address": [(p, _match(in_port=host.port, eth_type=kind)) for p, kind in ((480, ETH_ARP), (400, ETH_IP))],
    }
    return {
        kind: tuple((host.node, declare(ADMIT, priority, match, counted=True)) for priority, match in rows)
        for kind, rows in matches.items()
    }


@lru_cache(maxsize=64)
def remarks(fabric: Fabric) -> Mapping[str, tuple[Placed, ...]]:
    """The rules that re-mark and count what a host sends in a class that it has not bought; none without classes.

    A host buys a class by a session of that class. What it sends to the same place under another mark goes with the
    last class that it has bought there, and what belongs to no session goes without a mark, with the last of all.
    """
    network, plant = fabric.network, fabric.plant
    found: dict[str, dict[Match, int]] = {name: {} for name in plant.hosts}
    for session in network.sessions if fabric.network.classes > 1 else ():
        host = plant.source(session)
        match = _between(plant.hosts[host], plant.address(session))
        found[host][match] = max(session.klass, found[host].get(match, 1))
    return {
        name: tuple(
            (host.node, declare(ADMIT, 445, match, _marked(dscp(klass)), Resubmit(ADMIT), counted=True))
            for match, klass in found[name].items()
        )
        + tuple(
            (host.node, declare(ADMIT, 415, match, _marked(0), Resubmit(ADMIT), counted=True))
            for address in fabric.addresses[name]
            for k in range(1, fabric.network.classes)
            for match in [_match(in_port=host.port, eth_type=ETH_IP, ipv4_src=address, ip_dscp=dscp(k))]
        )
        for name, host in plant.hosts.items()
    }


def _marked(mark: int) -> SetField:
    return SetField("ip_dscp", mark)


def _between(host: HostPlant, address: str, **fields: Value) -> Match:
    """What a host sends from its own address to another."""
    return _match(in_port=host.port, eth_type=ETH_IP, ipv4_src=host.ip, ipv4_dst=address, **fields)


def _mark_of(fabric: Fabric, session: Session) -> dict[str, Value]:
    """What tells sessions of one host and one destination apart."""
    return {"ip_dscp": dscp(session.klass)} if fabric.network.classes > 1 else {}


def request_rule(fabric: Fabric, session: Session) -> Placed:
    """Counts, and sends to their slots, the packets of a session at its ingress."""
    client = fabric.plant.hosts[fabric.plant.source(session)]
    match = _between(client, fabric.plant.address(session), **_mark_of(fabric, session))
    meaning = Load("metadata", fabric.session_numbers[session.name], bits=64)
    choose = (meaning, Multipath(fabric.slots, "reg2"), Resubmit(PINS), Goto(SLOTS))
    return client.node, declare(ADMIT, 450, match, *choose, counted=True)


def answer_rule(fabric: Fabric, session: Session, end: str) -> Placed:
    """Sends the answers to a session from one of its ends to their slots; counts them where sessions start too."""
    client, host = fabric.plant.hosts[fabric.plant.source(session)], fabric.plant.hosts[end]
    address = fabric.plant.address(session)
    match = _match(
        in_port=host.port, eth_type=ETH_IP, ipv4_src=address, ipv4_dst=client.ip, **_mark_of(fabric, session)
    )
    meaning = Load("metadata", fabric.back_numbers[session.name, end], bits=64)
    choose = (meaning, Multipath(fabric.slots, "reg2"), Goto(SLOTS))
    return host.node, declare(ADMIT, 440, match, *choose, counted=end in fabric.sources)


def leave_rule(address: str, host: HostPlant) -> Placed:
    """Counts what reaches a host, under one of its addresses, that belongs to no session."""
    match = _match(eth_type=ETH_IP, ipv4_dst=address)
    return host.node, declare(BACKGROUND, 10, match, SetField("eth_dst", host.mac), Output(host.port), counted=True)


def forward_rules(fabric: Fabric, labels: Labels, path: Path) -> tuple[Placed, ...]:
    """The rules of one label along its path; on the way there, counted where packets enter and where they leave."""
    if path.copies:
        return tree_rules(fabric, path, numbers_of_parts(fabric, labels, path)).placed
    return _forward_rules(fabric, path, labels.numbers[path])


@lru_cache(maxsize=1 << 14)
def _forward_rules(fabric: Fabric, path: Path, number: int) -> tuple[Placed, ...]:
    match = _match(eth_dst=(label(number), LABEL_MASK))
    host, counted = fabric.plant.hosts[path.host], not path.back
    rules = [
        (node, declare(FORWARD, 10, match, towards(fabric, node, after), counted=counted and place == 0))
        for place, (node, after) in enumerate(zip(path.nodes, path.nodes[1:], strict=False))
    ]
    restore = SetField("eth_dst", host.mac)
    return (*rules, (path.nodes[-1], declare(FORWARD, 10, match, restore, Output(host.port), counted=counted)))


@dataclass(frozen=True)
class Slots:
    """What the rules of a session's slots follow from.

    Parameters
    ----------
    deal : tuple of int
        Route number of each slot.
    backs : mapping of route number to (switch, metadata, number)
        Where its answers enter, what they are marked with there, and the number of their way back; only of routes
        whose way back is not the one that all answers take there.
    fallbacks : tuple of (switch, metadata, number)
        The ways back that all answers take, of each end.
    """

    deal: tuple[int, ...]
    backs: Mapping[int, tuple[str, int, int]]
    fallbacks: tuple[tuple[str, int, int], ...]


def slots_of_session(fabric: Fabric, labels: Labels, session: Session, deal: Sequence[int]) -> Slots:
    """What a deal means to the switches at both ends of a session."""
    ends = {end: labels.numbers[fabric.fallback(session, end)] for end in fabric.plant.ends(session)}
    backs: dict[int, tuple[str, int, int]] = {}
    for number in sorted(set(deal) - {REFUSED}) if ends else ():
        path = labels.path(number)
        back = labels.numbers[fabric.back(path)]
        if back != ends[path.host]:
            backs[number] = (path.nodes[-1], fabric.back_numbers[session.name, path.host], back)
    hosts = fabric.plant.hosts
    fallbacks = tuple((hosts[end].node, fabric.back_numbers[session.name, end], back) for end, back in ends.items())
    return Slots(tuple(deal), backs, fallbacks)


def slot_rules(fabric: Fabric, session: Session, source: Slots, before: Part | None) -> Part:
    """The rules of one session's slots at its ingress, and of its ways back at each of its ends.

    Each slot has two places in the part, there and back; those that did not change are taken from the part before.
    """
    if before and before.source == source:
        return before
    node, meaning, slots = session.source, fabric.session_numbers[session.name], len(source.deal)
    old = before.source if before else None
    if before and isinstance(old, Slots) and len(old.deal) == slots:
        same = {number for number in set(old.deal) if old.backs.get(number) == source.backs.get(number)}
        entries = list(before.entries[: 2 * slots])
        changed = [
            slot for slot, (a, b) in enumerate(zip(source.deal, old.deal, strict=True)) if a != b or a not in same
        ]
    else:
        entries, changed = [None] * (2 * slots), list(range(slots))
    for slot in changed:
        number = source.deal[slot]
        entries[slot] = slot_rule(node, meaning, slot, number)
        back = source.backs.get(number)
        entries[slots + slot] = back_rule(back[0], back[1], slot, back[2]) if back else None
    entries.append(_pinned_rule(node, meaning))
    entries += [_fallback_rule(*fallback) for fallback in source.fallbacks]
    return Part(source, tuple(entries))


@lru_cache(maxsize=1 << 14)
def _pinned_rule(node: str, meaning: int) -> Placed:
    """Lets a packet keep the route that a pin has given it."""
    return node, declare(SLOTS, 10, _match(metadata=meaning), Goto(STAMP))


@lru_cache(maxsize=1 << 14)
def _fallback_rule(node: str, meaning: int, number: int) -> Placed:
    """Gives answers the way back of what has no better."""
    return node, declare(SLOTS, 10, _match(metadata=meaning), Load("reg1", number), Goto(STAMP))


@lru_cache(maxsize=1 << 14)
def slot_rule(node: str, meaning: int, slot: int, number: int) -> Placed:
    """Gives a slot its route, unless a pin has given the packet one; drops what is not let in."""
    match = (("metadata", meaning), ("reg1", 0), ("reg2", slot))
    return node, declare(SLOTS, 20, match, *(() if number == REFUSED else _route(number)))


@lru_cache(maxsize=1 << 14)
def back_rule(node: str, meaning: int, slot: int, number: int) -> Placed:
    """Gives the answers of a slot their way back."""
    return node, declare(SLOTS, 20, (("metadata", meaning), ("reg2", slot)), *_route(number))


@lru_cache(maxsize=1 << 16)
def _route(number: int) -> tuple[Action, ...]:
    return Load("reg1", number), Goto(STAMP)


def compile_rules(fabric: Fabric, labels: Labels, deals: Deals, before: RuleSet | None = None) -> dict[str, Part]:
    """The rules of every switch for a deal of every session.

    Parameters
    ----------
    fabric : Fabric
    labels : Labels
        Numbers of all paths that have labels; each keeps its rules, whether a slot names it or not, so that packets on
        their way and pinned connections arrive.
    deals : mapping of session name to the route number of each slot
    before : rule set, optional
        An earlier answer: what did not change since is taken from it as it is.

    Raises
    ------
    RuleError
        When a table does not declare a rule, or two sessions claim the same packets.

    Notes
    -----
    O(sessions x slots + paths x length) the first time, then O(slots) for each session whose deal changed. A deal that
    is the same object as before is the same deal.
    """
    old = before or {}
    found = {"standing": standing_rules(fabric), "labels": _label_rules(fabric, labels, old.get("labels"))}
    meant = found["labels"] is old.get("labels")  # the same numbers on the same network
    for session in fabric.network.sessions:
        name, dealt = f"slots of {session.name}", deals[session.name]
        part = old.get(name)
        if meant and part and isinstance(part.source, Slots) and part.source.deal is dealt:
            found[name] = part
        else:
            found[name] = slot_rules(fabric, session, slots_of_session(fabric, labels, session, dealt), part)
    return found


def _label_rules(fabric: Fabric, labels: Labels, before: Part | None) -> Part:
    source = fabric, labels
    if before and before.source == source:
        return before
    rules = (forward_rules(fabric, labels, path) for path in labels.numbers)
    return Part(source, tuple(chain.from_iterable(rules)))
