"""From an allocation to the rules of every switch.

The **fabric** is what does not change in a run: the network, its plant, and from both the rules that tell packets
apart (table 0), stamp labels (3) and carry packets of no session by shortest path (5). A **deal** says for each
session which route each slot has. Together with the numbers of the paths they give the rule set; nothing is sent here.

A request's packets get the path of their slot at the ingress. The answer has the same slot, because the hash is
symmetric, and goes back along the links that the request came by; where these have no opposite, or the slot has since
gone to another server, it goes back by the shortest path.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from controller.labels import PREFIX, PREFIX_MATCH, Labels, Path, label
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
from controller.plant import HostPlant, Plant
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
from pricing.errors import RuleError
from pricing.network import Allocation, Network, Route, Session

Placed = tuple[str, Rule]
"""A switch's name, and a rule for it."""

Deals = Mapping[str, Sequence[int]]
"""For each session the route number of each slot."""

LABEL_MASK = "ff:ff:ff:ff:00:00"


def _match(**fields: Value | tuple[Value, Value]) -> Match:
    return tuple(sorted(fields.items()))


@dataclass(frozen=True, eq=False)
class Fabric:
    """A network, its plant, and all that follows from them alone."""

    network: Network
    plant: Plant
    slots: int

    @cached_property
    def back_numbers(self) -> dict[tuple[str, str], int]:
        """`metadata` of the answers of each (session, host that answers)."""
        pairs = sorted((session.name, end) for session in self.network.sessions for end in self.plant.ends(session))
        return {pair: BACK | number for number, pair in enumerate(pairs, 1)}

    @cached_property
    def session_numbers(self) -> dict[str, int]:
        """`metadata` of each session's packets."""
        return {session.name: number for number, session in enumerate(self.network.sessions, 1)}

    @cached_property
    def sources(self) -> frozenset[str]:
        """Names of the hosts where sessions start."""
        return frozenset(self.plant.source(session) for session in self.network.sessions)

    @cached_property
    def sessions(self) -> dict[str, Session]:
        """Sessions by name."""
        return {session.name: session for session in self.network.sessions}

    def next_hops(self, targets: Iterable[str]) -> dict[str, str]:
        """Next node from each node on a shortest path (in links) to the nearest target; ties by name."""
        distance = dict.fromkeys(targets, 0)
        hops: dict[str, str] = {}
        queue = deque(sorted(distance))
        while queue:
            node = queue.popleft()
            for before in sorted(self.network.graph.predecessors(node)):
                if before not in distance:
                    distance[before] = distance[node] + 1
                    queue.append(before)
                if distance[before] == distance[node] + 1 and node < hops.get(before, node + "\0"):
                    hops[before] = node
        return hops

    def shortest(self, source: str, target: str) -> tuple[str, ...]:
        """Nodes of the shortest path between two nodes.

        Raises
        ------
        RuleError
            When there is none.
        """
        hops = self.next_hops([target])
        nodes = [source]
        while nodes[-1] != target:
            if nodes[-1] not in hops:
                raise RuleError(
                    f"no way from {source} to {target} for answers; add the links of the opposite direction"
                )
            nodes.append(hops[nodes[-1]])
        return tuple(nodes)

    def there(self, route: Route) -> Path:
        """The path that packets of a route take."""
        session = self.sessions[route.session]
        end = route.server or self.plant.ends(session)[0]
        return Path(route.session, False, route.nodes or (session.source,), end)

    def back(self, path: Path) -> Path:
        """The way of the answers to packets that came along a path."""
        session = self.sessions[path.session]
        nodes = path.nodes[::-1]
        if any((a, b) not in self.network.link_index for a, b in itertools.pairwise(nodes)):
            return self.fallback(session, path.host)
        return Path(session.name, True, nodes, self.plant.source(session))

    @cached_property
    def fallbacks(self) -> dict[tuple[str, str], Path]:
        """The shortest way back of each session from each of its ends."""
        return {
            (session.name, end): Path(
                session.name,
                True,
                self.shortest(self.plant.hosts[end].node, session.source),
                self.plant.source(session),
            )
            for session in self.network.sessions
            for end in self.plant.ends(session)
        }

    def fallback(self, session: Session, end: str) -> Path:
        """The way back of what has no better."""
        return self.fallbacks[session.name, end]

    def route_name(self, path: Path) -> str:
        """The route that a path carries out, as `str(route)` has it."""
        way = ">".join(path.nodes) if len(path.nodes) > 1 else "here"
        return f"{way}@{path.host}" if self.sessions[path.session].kind == "anycast" else way

    def paths(self, allocation: Allocation) -> list[Path]:
        """Every path that an allocation may use, there and back."""
        there = [self.there(route) for route, _ in allocation]
        return sorted({*there, *map(self.back, there), *self.fallbacks.values()})

    @cached_property
    def standing_rules(self) -> tuple[Placed, ...]:
        """The rules that an allocation does not change: tables 0, 3 and 5."""
        return (*self._admit(), *self._sessions(), *self._stamp(), *self._background())

    def _admit(self) -> Iterator[Placed]:
        """Tell packets apart: ARP of hosts, labels of our own and of others, packets of no session."""
        for name in self.plant.switches:
            gateway = _match(eth_type=ETH_IP, eth_dst=GATEWAY_MAC)
            yield name, declare(ADMIT, 400, gateway, Goto(BACKGROUND))
            yield name, declare(ADMIT, 200, _match(eth_dst=PREFIX_MATCH))
            yield name, declare(ADMIT, 100, _match(eth_type=ETH_IP), Goto(BACKGROUND))
            for port in sorted(self.plant.switches[name].ports.values()):
                yield name, declare(ADMIT, 300, _match(in_port=port, eth_dst=PREFIX_MATCH), Goto(FORWARD))
        for host in self.plant.hosts.values():
            request = _match(in_port=host.port, eth_type=ETH_ARP, arp_op=ARP_REQUEST)
            yield host.node, declare(ADMIT, 500, request, *ARP_ANSWER)
            yield plain_rule(host)

    def _sessions(self) -> Iterator[Placed]:
        """Requests at their ingress, answers where the server is."""
        for session in self.network.sessions:
            yield request_rule(self, session)
            for end in self.plant.ends(session):
                yield answer_rule(self, session, end)

    def _stamp(self) -> Iterator[Placed]:
        """Write the label; a TCP packet of a session pins its connection first."""
        stamp = (
            Load("eth_dst", PREFIX << 32, bits=48),
            Move("reg1", "eth_dst", 16, first=16),
            Goto(FORWARD),
        )
        learn = Learn(PINS, "reg1", PIN_IDLE_S, priority=100)
        connection = _match(metadata=(0, BACK), eth_type=ETH_IP, ip_proto=IP_TCP)
        for name in self.plant.switches:
            yield name, declare(STAMP, 20, connection, learn, *stamp)
            yield name, declare(STAMP, 10, (), *stamp)

    def _background(self) -> Iterator[Placed]:
        """Packets of no session, by shortest path to a host, or to the nearest server of a service."""
        for name, host in self.plant.hosts.items():
            yield from self._carry(host.ip, [name])
        for session in self.network.sessions:
            if session.kind == "anycast":
                yield from self._carry(self.plant.address(session), session.destinations)

    def _carry(self, address: str, ends: Iterable[str]) -> Iterator[Placed]:
        match = _match(eth_type=ETH_IP, ipv4_dst=address)
        at: dict[str, HostPlant] = {}
        for end in sorted(ends):
            at.setdefault(self.plant.hosts[end].node, self.plant.hosts[end])
        for host in at.values():
            yield leave_rule(address, host)
        for node, after in self.next_hops(at).items():
            if node not in at:
                yield node, declare(BACKGROUND, 10, match, Output(self.plant.switches[node].ports[after]))


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
    switches, host, counted = fabric.plant.switches, fabric.plant.hosts[path.host], not path.back
    rules = [
        (node, declare(FORWARD, 10, match, Output(switches[node].ports[after]), counted=counted and place == 0))
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
    for number in sorted(set(deal)):
        path = labels.path(number)
        back, meaning = labels.numbers[fabric.back(path)], fabric.back_numbers[session.name, path.host]
        if back != ends[path.host]:
            node = path.nodes[-1]
            yield from ((node, back_rule(meaning, slot, back)) for slot, other in enumerate(deal) if other == number)


@lru_cache(maxsize=1 << 17)
def slot_rule(meaning: int, slot: int, number: int) -> Rule:
    """Gives a slot its route, unless a pin has given the packet one."""
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
        yield from fabric.standing_rules
        for path in labels.paths:
            yield from forward_rules(fabric, labels, path)
        for session in fabric.network.sessions:
            yield from slot_rules(fabric, labels, session, deals[session.name])

    return rule_set(rules(), fabric.plant.switches)
