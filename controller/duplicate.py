"""Duplication in the switches: the rules of a tree's labels.

A copy carries its tree's number and its status, the destinations that it owes (`controller.labels`); which it is says
all that a switch must know. Where a copy goes on as one it is sent on; where it becomes several, a group of kind 'all'
makes them, each with the status that it goes on with, so that each destination's bit is in exactly one of them. Where a
destination is, one of them gets the group's own MAC address back and leaves to the host.

The group has the label's number, the low 32 bits of `eth_dst`; the groups of links have those of ports, and no tree
has the number 0. As numbers never change their meaning, nor do these rules and groups: a tree is installed from its
groups on, before the first slot names it.

Where packets go through functions, a copy is handed to the function's host with its label, by which the host knows the
stage, and comes back with the same label; the switch alone writes the next stage into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from controller.bypass import FORGET_PORT, towards
from controller.fabric import Fabric
from controller.labels import STATUS_BITS, Copy, Labels, Path, first_byte, label
from controller.pipeline import ADMIT, FORWARD, declare
from controller.rules import Action, Bucket, Goto, Group, Load, Output, Placed, SetField, ToGroup
from pricing.chains import goal, node_of, running, server_at, stage_of
from pricing.duplication import parents
from pricing.frames import group_mac
from pricing.network import Session

_ALL = (1 << STATUS_BITS) - 1


@dataclass(frozen=True)
class TreeRules:
    """What one part of a tree is in the switches.

    Attributes
    ----------
    placed : tuple of Placed
        Rules and groups; of the part that packets enter as, the rule of the ingress first.
    leaves : tuple of Placed
        The rules that count what is delivered, one for each destination that the part serves.
    tasks : tuple of (str, float, Placed)
        A server that runs a function, the mean work of what it is given for a packet that meets the rule, and the rule.
    """

    placed: tuple[Placed, ...]
    leaves: tuple[Placed, ...]
    tasks: tuple[tuple[str, float, Placed], ...]


@lru_cache(maxsize=1 << 14)
def tree_rules(fabric: Fabric, path: Path, numbers: tuple[int, ...]) -> TreeRules:
    """The rules and groups of one part of a tree.

    Parameters
    ----------
    path : Path
        The part.
    numbers : tuple of int
        Numbers of all parts of the tree.
    """
    session, by = fabric.sessions[path.session], parents(fabric.route(path))
    placed: list[Placed] = []
    leaves: list[Placed] = []
    tasks: list[tuple[str, float, Placed]] = []
    number = numbers[path.part]
    for place in range(-1, len(path.copies)):
        if place < 0 and path.part:
            continue  # packets enter as the first part
        status = 0 if place < 0 else _bits(path.copies[place], path.part)
        if place >= 0 and not status:
            continue
        parts = range(len(numbers)) if place < 0 else (path.part,)
        goes_on = [
            (copy, part)
            for part in parts
            for copy, origin in zip(path.copies, by, strict=True)
            if origin == place and _bits(copy, part)
        ]
        here = path.nodes[0] if place < 0 else path.copies[place][1]
        given = [] if place < 0 else _delivered(fabric, session, path, path.copies[place])
        buckets = [*given, *(_sent_on(fabric, session, copy, numbers[part], part, status) for copy, part in goes_on)]
        works = [_work(fabric, session, copy) for copy, _ in goes_on]
        counted = place < 0 or bool(given) or any(works)
        rules = _placed(here, number, status, buckets, counted)
        placed += rules
        if given:
            leaves.append(rules[0])
        tasks += [(*work, rules[0]) for work in works if work]
    return TreeRules(tuple(placed), tuple(leaves), tuple(tasks))


def returning_rules(fabric: Fabric) -> Iterator[Placed]:
    """Takes what comes out of a function's server on to the next stage; whatever else a host sends is no label."""
    chains = [session.chain for session in fabric.network.sessions]
    for name in sorted(running(fabric.network)):
        host = fabric.plant.hosts[name]
        stages = {m for chain in chains for m, function in enumerate(chain) if name in function.servers}
        for stage in sorted(stages):
            before = (label(0, 0, stage), "ff:ff:00:00:00:00")
            match = (("eth_dst", before), ("in_port", host.port))
            # it may go back to where it came from, for another function
            onward = (Load("eth_dst", first_byte(stage + 1), first=40, bits=8), FORGET_PORT, Goto(FORWARD))
            yield host.node, declare(ADMIT, 660, match, *onward)


def numbers_of_parts(fabric: Fabric, labels: Labels, path: Path) -> tuple[int, ...]:
    """Numbers of all parts of a path's tree, in their order."""
    parts = sorted((path, *fabric.companions(path)), key=lambda one: one.part)
    return tuple(labels.numbers[part] for part in parts)


def _bits(copy: Copy, part: int) -> int:
    """The status that a copy's label carries in one part of its tree."""
    return copy[2] >> STATUS_BITS * part & _ALL


def _sent_on(fabric: Fabric, session: Session, copy: Copy, number: int, part: int, before: int) -> Bucket:
    """Sends a copy over its link, or to its function's server, with the status that it has there."""
    status, (src, dst) = _bits(copy, part), copy[:2]
    if server := server_at(fabric.network, session, (src, dst)):
        way: Action = Output(fabric.plant.hosts[server].port)
    else:
        way = towards(fabric, node_of(src), node_of(dst))
    return Bucket((way,) if status == before else (SetField("eth_dst", label(number, status, stage_of(src))), way))


def _work(fabric: Fabric, session: Session, copy: Copy) -> tuple[str, float] | None:
    """The server that a copy is given to on its step, and the mean work of it; None on a link."""
    server = server_at(fabric.network, session, copy[:2])
    return (server, session.chain[stage_of(copy[0])].work) if server else None


def _delivered(fabric: Fabric, session: Session, path: Path, copy: Copy) -> list[Bucket]:
    """Hands a copy to the host at its link's end, where that is a destination that this part of the tree owes."""
    for d, (node, name) in enumerate(zip(session.destinations, fabric.plant.members(session), strict=True)):
        if goal(session, node) == copy[1] and d // STATUS_BITS == path.part and copy[2] >> d & 1:
            return [Bucket((SetField("eth_dst", group_mac(session.group)), Output(fabric.plant.hosts[name].port)))]
    return []


def _placed(place: str, number: int, status: int, buckets: list[Bucket], counted: bool) -> list[Placed]:
    """What becomes of the copies with a label at a place: the rule, and the group where they become several."""
    node, match = node_of(place), (("eth_dst", label(number, status, stage_of(place))),)
    if len(buckets) == 1:
        return [(node, declare(FORWARD, 10, match, *buckets[0].actions, counted=counted))]
    # a status is divided once on a tree, at one stage: its group needs no stage in its number
    group = Group(number << 16 | status, "all", tuple(buckets))
    return [(node, declare(FORWARD, 10, match, ToGroup(group.number), counted=counted)), (node, group)]
