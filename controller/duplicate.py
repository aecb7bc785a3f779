"""Duplication in the switches: the rules of a tree's labels.

A copy carries its tree's number and its status, the destinations that it owes (`controller.labels`); which it is says
all that a switch must know. Where a copy goes on as one it is sent on; where it becomes several, a group of kind 'all'
makes them, each with the status that it goes on with, so that each destination's bit is in exactly one of them. Where a
destination is, one of them gets the group's own MAC address back and leaves to the host.

The group has the label's number, the low 32 bits of `eth_dst`; the groups of links have those of ports, and no tree
has the number 0. As numbers never change their meaning, nor do these rules and groups: a tree is installed from its
groups on, before the first slot names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from controller.bypass import towards
from controller.fabric import Fabric
from controller.labels import STATUS_BITS, Copy, Labels, Path, label
from controller.pipeline import FORWARD, declare
from controller.rules import Bucket, Group, Output, Placed, Rule, SetField, ToGroup
from pricing.duplication import parents
from pricing.frames import group_mac
from pricing.network import Session

_ALL = (1 << STATUS_BITS) - 1


@lru_cache(maxsize=1 << 14)
def tree_rules(fabric: Fabric, path: Path, numbers: tuple[int, ...]) -> tuple[Placed, ...]:
    """The rules and groups of one part of a tree; of the part that packets enter as, that of the ingress comes first.

    Parameters
    ----------
    path : Path
        The part.
    numbers : tuple of int
        Numbers of all parts of the tree.
    """
    session, by = fabric.sessions[path.session], parents(fabric.route(path))
    found: list[Placed] = []
    if path.part == 0:
        first = [
            _sent_on(fabric, copy, numbers[part], status, 0)
            for part in range(len(numbers))
            for copy, origin in zip(path.copies, by, strict=True)
            if origin < 0 and (status := _bits(copy, part))
        ]
        found += _placed(path.nodes[0], numbers[0], 0, first, counted=True)
    number = numbers[path.part]
    for place, copy in enumerate(path.copies):
        if status := _bits(copy, path.part):
            goes_on = [
                _sent_on(fabric, other, number, rest, status)
                for other, origin in zip(path.copies, by, strict=True)
                if origin == place and (rest := _bits(other, path.part))
            ]
            here = _delivered(fabric, session, path, copy)
            found += _placed(copy[1], number, status, here + goes_on, counted=bool(here))
    return tuple(found)


def numbers_of_parts(fabric: Fabric, labels: Labels, path: Path) -> tuple[int, ...]:
    """Numbers of all parts of a path's tree, in their order."""
    parts = sorted((path, *fabric.companions(path)), key=lambda one: one.part)
    return tuple(labels.numbers[part] for part in parts)


def leave_rules(fabric: Fabric, path: Path, numbers: tuple[int, ...]) -> tuple[Placed, ...]:
    """The rules that count what one part of a tree delivers, one for each destination that it serves."""
    entering = path.nodes[0]
    return tuple(
        (node, entry)
        for node, entry in tree_rules(fabric, path, numbers)
        if isinstance(entry, Rule) and entry.counted and node != entering
    )


def _bits(copy: Copy, part: int) -> int:
    """The status that a copy's label carries in one part of its tree."""
    return copy[2] >> STATUS_BITS * part & _ALL


def _sent_on(fabric: Fabric, copy: Copy, number: int, status: int, before: int) -> Bucket:
    """Sends a copy over its link, with the status that it has there."""
    way = towards(fabric, copy[0], copy[1])
    return Bucket((way,) if status == before else (SetField("eth_dst", label(number, status)), way))


def _delivered(fabric: Fabric, session: Session, path: Path, copy: Copy) -> list[Bucket]:
    """Hands a copy to the host at its link's end, where that is a destination that this part of the tree owes."""
    for d, (node, name) in enumerate(zip(session.destinations, fabric.plant.members(session), strict=True)):
        if node == copy[1] and d // STATUS_BITS == path.part and copy[2] >> d & 1:
            return [Bucket((SetField("eth_dst", group_mac(session.group)), Output(fabric.plant.hosts[name].port)))]
    return []


def _placed(node: str, number: int, status: int, buckets: list[Bucket], counted: bool) -> Iterator[Placed]:
    """What becomes of the copies with a label: the rule, and the group where they become several."""
    match = (("eth_dst", label(number, status)),)
    if len(buckets) == 1:
        yield node, declare(FORWARD, 10, match, *buckets[0].actions, counted=counted)
        return
    group = Group(number << 16 | status, "all", tuple(buckets))
    yield node, declare(FORWARD, 10, match, ToGroup(group.number), counted=counted)
    yield node, group
