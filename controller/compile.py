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
from functools import lru_cache

from controller.bypass import bypasses, towards
from controller.fabric import Fabric, Placed
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
    IP_TCP,
    PIN_IDLE_S,
    PINS,
    SLOTS,
    STAMP,
    declare,
)
from controller.plant import HostPlant
from controller.rules import (
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
    Resubmit,
    Rule,
    RuleSet,
    SetField,
    Value,
    rule_set,
)
from pricing.network import Session

Deals = Mapping[str, Sequence[int]]
"""For each session the route number of each slot."""

LABEL_MASK = "ff:ff:ff:ff:00:00"


def _match(**fields: Value | tuple[Value, Value]) -> Match:
    return tuple(sorted(fields.items()))


@lru_cache(maxsize=64)
def standing_rules(fabric: Fabric) -> tuple[Placed, ...]:
    """The rules that an allocation does not change: groups, tables 0, 3 and 5."""
    return (*bypasses(fabric), *_admit(fabric), *_sessions(fabric), *_stamp(fabric), *_background(fabric))


def _admit(fabric: Fabric) -> Iterator[Placed]:
    """Tell packets apart: ARP of hosts, labels of our own and of others, packets of no session."""
    for name in fabric.plant.switches:
        gateway = _match(eth_type=ETH_IP, eth_dst=GATEWAY_MAC)
        yield name, declare(ADMIT, 400, gateway, Goto(BACKGROUND))
        yield name, declare(ADMIT, 200, _match(eth_dst=PREFIX_MATCH))
        yield name, declare(ADMIT, 100, _match(eth_type=ETH_IP), Goto(BACKGROUND))
        for port in sorted(fabric.plant.switches[name].ports.values()):
            yield name, declare(ADMIT, 300, _match(in_port=port, eth_dst=PREFIX_MATCH), Goto(FORWARD))
    for host in fabric.plant.hosts.values():
        request = _match(in_port=host.port, eth_type=ETH_ARP, arp_op=ARP_REQUEST)
        yield host.node, declare(ADMIT, 500, request, *ARP_ANSWER)
        yield plain_rule(host)


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


def plain_rule(host: HostPlant) -> Placed:
    """Counts what a host sends that belongs to no session."""
    match = _match(in_port=host.port, eth_type=ETH_IP, eth_dst=GATEWAY_MAC)
    return host.node, declare(ADMIT, 410, match, Goto(BACKGROUND), counted=True)


def request_rule(fabric: Fabric, session: Session) -> Placed:
    """Counts, and sends to their slots, the packets of a session at its ingress."""
    client = fabric.plant.hosts[fabric.plant.source(session)]
    match = _match(in_port=client.port, eth_type=ETH_IP, ipv4_dst=fabric.plant.address(session))
    meaning = Load("metadata", fabric.session_numbers[session.name], bits=64)
    choose = (meaning, Multipath(fabric.slots, "reg2"), Resubmit(PINS), Goto(SLOTS))
    return client.node, declare(ADMIT, 450, match, *choose, counted=True)


def answer_rule(fabric: Fabric, session: Session, end: str) -> Placed:
    """Sends the answers to a session from one of its ends to their slots; counts them where sessions start too."""
    client, host = fabric.plant.hosts[fabric.plant.source(session)], fabric.plant.hosts[end]
    address = fabric.plant.address(session)
    match = _match(in_port=host.port, eth_type=ETH_IP, ipv4_src=address, ipv4_dst=client.ip)
    meaning = Load("metadata", fabric.back_numbers[session.name, end], bits=64)
    choose = (meaning, Multipath(fabric.slots, "reg2"), Goto(SLOTS))
    return host.node, declare(ADMIT, 440, match, *choose, counted=end in fabric.sources)


def leave_rule(address: str, host: HostPlant) -> Placed:
    """Counts what reaches a host, under one of its addresses, that belongs to no session."""
    match = _match(eth_type=ETH_IP, ipv4_dst=address)
    return host.node, declare(BACKGROUND, 10, match, SetField("eth_dst", host.mac), Output(host.port), counted=True)


def forward_rules(fabric: Fabric, labels: Labels, path: Path) -> tuple[Placed, ...]:
    """The rules of one label along its path; on the way there, counted where packets enter and where they leave."""
    return _forward_rules(fabric, path, labels.numbers[path])


@lru_cache(maxsize=1 << 16)
def _forward_rules(fabric: Fabric, path: Path, number: int) -> tuple[Placed, ...]:
    match = _match(eth_dst=(label(number), LABEL_MASK))
    host, counted = fabric.plant.hosts[path.host], not path.back
    rules = [
        (node, declare(FORWARD, 10, match, towards(fabric, node, after), counted=counted and place == 0))
        for place, (node, after) in enumerate(zip(path.nodes, path.nodes[1:], strict=False))
    ]
    restore = SetField("eth_dst", host.mac)
    return (*rules, (path.nodes[-1], declare(FORWARD, 10, match, restore, Output(host.port), counted=counted)))


def slot_rules(fabric: Fabric, labels: Labels, session: Session, deal: Sequence[int]) -> Iterator[Placed]:
    """The rules of one session's slots at its ingress, and of its ways back at each of its ends."""
    meaning = fabric.session_numbers[session.name]
    yield session.source, declare(SLOTS, 10, _match(metadata=meaning), Goto(STAMP))
    for slot, number in enumerate(deal):
        yield session.source, slot_rule(meaning, slot, number)
    ends = {end: labels.numbers[fabric.fallback(session, end)] for end in fabric.plant.ends(session)}
    for end, fallback in ends.items():
        match = _match(metadata=fabric.back_numbers[session.name, end])
        yield fabric.plant.hosts[end].node, declare(SLOTS, 10, match, Load("reg1", fallback), Goto(STAMP))
    for number in sorted(set(deal) - {REFUSED}):
        path = labels.path(number)
        back, meaning = labels.numbers[fabric.back(path)], fabric.back_numbers[session.name, path.host]
        if back != ends[path.host]:
            node = path.nodes[-1]
            yield from ((node, back_rule(meaning, slot, back)) for slot, other in enumerate(deal) if other == number)


@lru_cache(maxsize=1 << 17)
def slot_rule(meaning: int, slot: int, number: int) -> Rule:
    """Gives a slot its route, unless a pin has given the packet one; drops what is not let in."""
    if number == REFUSED:
        return declare(SLOTS, 20, _match(metadata=meaning, reg1=0, reg2=slot))
    return declare(SLOTS, 20, _match(metadata=meaning, reg1=0, reg2=slot), Load("reg1", number), Goto(STAMP))


@lru_cache(maxsize=1 << 17)
def back_rule(meaning: int, slot: int, number: int) -> Rule:
    """Gives the answers of a slot their way back."""
    return declare(SLOTS, 20, _match(metadata=meaning, reg2=slot), Load("reg1", number), Goto(STAMP))


def compile_rules(fabric: Fabric, labels: Labels, deals: Deals) -> RuleSet:
    """The rules of every switch for a deal of every session.

    Parameters
    ----------
    fabric : Fabric
    labels : Labels
        Numbers of all paths that have labels; each keeps its rules, whether a slot names it or not, so that packets on
        their way and pinned connections arrive.
    deals : mapping of session name to the route number of each slot

    Raises
    ------
    RuleError
        When a table does not declare a rule, or two sessions claim the same packets.

    Notes
    -----
    O(sessions x slots + paths x length).
    """

    def rules() -> Iterator[Placed]:
        yield from standing_rules(fabric)
        for path in labels.paths:
            yield from forward_rules(fabric, labels, path)
        for session in fabric.network.sessions:
            yield from slot_rules(fabric, labels, session, deals[session.name])

    return rule_set(rules(), fabric.plant.switches)
