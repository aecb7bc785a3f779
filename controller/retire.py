"""When a label may go: nothing names it any more, and nothing has carried it for longer than a pin or a packet lives.

A number is **named** while a slot, an answer's slot or a way back of last resort leads to it. When the last of them has
gone to another route, packets are still on their way, and TCP connections stay pinned to it until they were silent for
`PIN_IDLE_S`. So a number is retired when its counters have shown no packet for longer than that and a drain
(`DRAIN_S`); its rules are deleted last of all. Once every switch has acknowledged this and another drain has passed,
the number may be given again, to another path. What is not known is no silence: a counter without an answer, or a
switch that is away, retires nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from itertools import chain

from controller.compile import Deals
from controller.fabric import Fabric
from controller.labels import REFUSED, Labels
from controller.measure import Meter, counters_of
from controller.pipeline import PIN_IDLE_S

DRAIN_S = 5.0
"""Longer than any packet is on its way, and than a switch goes on with a decision that it has cached (ours)."""


@dataclass(frozen=True)
class Use:
    """What is known of the use of numbers.

    Parameters
    ----------
    last : mapping of number to s
        When it was last named, or carried a packet.
    idle : set of int
        Numbers that may be retired.
    gone : mapping of number to s
        When a retired one was first seen to be gone from every switch.
    free : set of int
        Retired numbers that may be given again.
    """

    last: Mapping[int, float] = field(default_factory=dict)
    idle: frozenset[int] = frozenset()
    gone: Mapping[int, float] = field(default_factory=dict)
    free: frozenset[int] = frozenset()


def named(fabric: Fabric, labels: Labels, deals: Deals) -> frozenset[int]:
    """The numbers that rules lead to: of slots, of their companions, and of the ways back of last resort."""
    numbers = set(chain.from_iterable(deals.values())) - {REFUSED}
    beside = chain.from_iterable(fabric.companions(labels.path(number)) for number in numbers)
    return frozenset(numbers.union(labels.numbers.get(path, 0) for path in chain(beside, fabric.fallbacks.values())))


def observe(fabric: Fabric, labels: Labels, deals: Deals, meter: Meter, told: Set[str], use: Use, now: float) -> Use:
    """What is known after new counters.

    Parameters
    ----------
    fabric : Fabric
        Under the present outage.
    meter : Meter
        With the counters in it.
    told : set of str
        Names of the switches that answered.

    Notes
    -----
    O(labels). Ways back have no counters: no connection is pinned to them, so time alone counts.
    """
    in_use, complete = named(fabric, labels, deals), told >= fabric.plant.switches.keys()
    counters = dict(counters_of(fabric, labels))
    last, idle = {}, set()
    for path, number in labels.numbers.items():
        last[number] = use.last.get(number, now)
        if number in in_use:
            last[number] = now
            continue
        seen = now
        if not path.back:
            rate = meter.rates.get(counters[number][0])
            seen = rate.time if rate else last[number]
            if rate and rate.packets > 0:
                last[number] = max(last[number], rate.time)
        if complete and seen - last[number] > PIN_IDLE_S + DRAIN_S:
            idle.add(number)
    gone = {number: use.gone.get(number, now) for number in labels.retired}
    free = frozenset(number for number, since in gone.items() if now - since > DRAIN_S)
    return Use(last, frozenset(idle), gone, free)
