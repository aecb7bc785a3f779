"""Dealing hash slots to routes so that the split comes out as decided, and few slots move.

A session's packets fall into N slots by their hash; the ingress switch has one rule for each slot. The decided
weights become whole slots by the method of largest remainders (Hamilton): each route gets the whole part of its
quota w N, the slots left go to the largest remainders. Against the deal before, only the surplus of routes that now
have fewer slots changes hands: to move x points of traffic, x points of the slots move, and at most one slot a route
more for rounding.

Where it is known what each slot carries, slots are dealt by that: equal flows are binomial over slots, 200 flows miss
a split of one half by 3.5 points (one standard error), and dealing by rate takes this error back to the size of one
slot's traffic. Slots that carry nothing that is known of follow lazily: each change of a slot is a message, and makes
the switch look again at what it has cached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from controller.fabric import Fabric
from controller.hashing import UDP, slots_of
from controller.plant import FLOW_PORT, SERVICE_PORT
from pricing.joint.tree_kernel import IntArray, compiled
from pricing.values import FloatArray

POINT = 0.01
"""Part of a session's traffic by which its split may be off before that is told."""

SLACK = 0.1
"""Part of the empty slots by which a route may have too many or too few before they are dealt again."""


def quotas(weights: Mapping[int, float], slots: int) -> dict[int, int]:
    """Whole slots for each route number by largest remainders; they add up to `slots`.

    >>> quotas({1: 0.5, 2: 0.3, 3: 0.2}, 8)
    {1: 4, 2: 2, 3: 2}
    """
    total = sum(weights.values())
    exact = {number: weight / total * slots for number, weight in sorted(weights.items())}
    whole = {number: int(quota + 1e-9) for number, quota in exact.items()}
    left = slots - sum(whole.values())
    for number in sorted(exact, key=lambda number: (whole[number] - exact[number], number))[:left]:
        whole[number] += 1
    return whole


def deal(
    weights: Mapping[int, float],
    slots: int,
    before: Sequence[int] = (),
    rates: FloatArray | None = None,
) -> tuple[int, ...]:
    """The route number of each slot.

    Parameters
    ----------
    weights : mapping of route number to weight
        Decided split; weights above 0.
    slots : int
        Number N of slots.
    before : sequence of int
        The deal before, of length N; empty at the start.
    rates : array of shape (N,), optional
        What each slot carries, in any unit. Without it each slot counts the same.

    Returns
    -------
    tuple of int
        Of length N.

    Notes
    -----
    With equal slots at most N times half the sum of |change of weight| slots move, and one more for each route.
    O(N log N); O(N) for a single route.
    """
    if len(weights) == 1:
        (number,) = weights
        return tuple(before) if len(before) == slots and set(before) == {number} else (number,) * slots
    if rates is None or not np.any(rates > 0):
        return _deal_equal(quotas(weights, slots), before or [0] * slots)
    numbers = np.array(sorted(weights))
    old = np.array(before, dtype=np.int64) if before else np.full(slots, -1)
    held = np.minimum(np.searchsorted(numbers, old), len(numbers) - 1)
    held[numbers[held] != old] = -1
    carried = rates / rates.sum()
    shares = np.array([weights[number] for number in numbers.tolist()], dtype=float)
    _deal_rated(shares / shares.sum(), carried, np.argsort(-carried, kind="stable"), held)
    _deal_empty(weights, carried == 0, held)
    result = numbers[held]
    return tuple(before) if (result == old).all() else tuple(result.tolist())


def heavy(weights: Mapping[int, float], dealt: Sequence[int], rates: FloatArray) -> list[int]:
    """The slots that keep a split from coming out as decided, heaviest first; none where it does within `POINT`.

    A flow is in one slot, and a slot on one route. Where a route carries more than a point too much or too little, the
    slots of more than a point are to blame: no deal of them is exact.

    >>> heavy({1: 0.5, 2: 0.5}, [1, 2], np.array([3.0, 1.0]))
    [0, 1]
    >>> heavy({1: 0.75, 2: 0.25}, [1, 2], np.array([3.0, 1.0]))
    []
    """
    if len(weights) == 1:
        return []
    total, carried = sum(weights.values()), rates / rates.sum() if rates.sum() else rates
    numbers = np.array(dealt)
    off = max(abs(float(carried[numbers == number].sum()) - weight / total) for number, weight in weights.items())
    if off <= POINT or not rates.sum():
        return []
    return [int(slot) for slot in np.argsort(-carried, kind="stable") if carried[slot] > POINT]


def _deal_empty(weights: Mapping[int, float], empty: NDArray[np.bool_], held: IntArray) -> None:
    """Deal the slots that carry nothing, in `held`, when they are off by more than `SLACK`, or lack a route."""
    wanted = quotas(weights, int(empty.sum()))
    counts, idle = np.array([wanted[number] for number in sorted(weights)]), held[empty]
    off = np.abs(np.bincount(idle[idle >= 0], minlength=len(counts)) - counts).max()
    if off > SLACK * len(idle) or (idle < 0).any():
        held[empty] = _deal_equal(dict(enumerate(counts.tolist())), idle.tolist())


def _deal_equal(wanted: dict[int, int], before: Sequence[int]) -> tuple[int, ...]:
    """Keep what may stay, hand the rest to the routes that lack slots, in the order of their numbers."""
    lacking = dict(wanted)
    result: list[int] = []
    open_slots: list[int] = []
    for slot, number in enumerate(before):
        if lacking.get(number, 0) > 0:
            lacking[number] -= 1
        else:
            open_slots.append(slot)
        result.append(number)
    receivers = [number for number in sorted(lacking) for _ in range(lacking[number])]
    for slot, number in zip(open_slots, receivers, strict=True):
        result[slot] = number
    return tuple(result)


@compiled
def _deal_rated(shares: FloatArray, carried: FloatArray, order: IntArray, held: IntArray) -> None:
    """Move slots that carry something, in `held`, from routes that carry too much to routes that carry too little.

    The largest slots go first; those that fit whole into what is lacking before those that only bring both routes
    nearer to their shares, so that nothing is moved there and back. Routes are counted in the order of `shares`, -1 is
    a route that is no longer wanted.
    """
    lacking = shares.copy()
    for slot in range(held.size):
        if held[slot] >= 0:
            lacking[held[slot]] -= carried[slot]
    for slot in order:  # slots of routes that are no longer wanted go to who lacks most
        if held[slot] < 0 and carried[slot] > 0.0:
            held[slot] = lacking.argmax()
            lacking[held[slot]] -= carried[slot]
    for room in (1, 2):
        for slot in order:
            giver, taker = held[slot], lacking.argmax()
            if carried[slot] > 0.0 and carried[slot] < room * min(-lacking[giver], lacking[taker]):
                lacking[giver] += carried[slot]
                lacking[taker] -= carried[slot]
                held[slot] = taker


@lru_cache(maxsize=1024)
def slot_rates(fabric: Fabric, name: str) -> FloatArray:
    """What each slot of a session carries, in flows: its flows are known by their ports."""
    session, plant = fabric.sessions[name], fabric.plant
    ports = FLOW_PORT + np.arange(session.flows)
    source, target = plant.hosts[plant.source(session)].ip, plant.address(session)
    slots = slots_of(source, target, UDP, ports, SERVICE_PORT, fabric.slots)
    return np.bincount(slots, minlength=fabric.slots).astype(float)
