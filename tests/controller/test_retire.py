"""Labels retire: tables stay bounded over a day of changes, and no number changes its meaning while in use."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from functools import cache

import small_fabrics as small
from fake_switch import FakeNetwork
from test_compile import some_allocation

from controller import tick
from controller.labels import Labels
from controller.measure import Count, Key, counters_of
from controller.openflow import phases
from controller.pipeline import PIN_IDLE_S
from controller.retire import DRAIN_S, Use, named, observe
from controller.rules import placed
from pricing.network import Network
from pricing.policy import POLICIES, Policy
from pricing.values import Decision, Loads

NODES = "abcde"
DAY_S = 86_400.0
SPANS_S = (1.0, 59.0, 59.0, 59.0)
"""Seconds to the next change, at random: within a drain, and almost as long as a pin."""

POLICY = POLICIES["ecmp"]
DENSE = small.network([(a, b) for a in NODES for b in NODES if a < b], {"east": "e", "west": "d"}, ["a", "b"])
FABRIC = small.fabric(DENSE, 4)
PORTS: dict[Key, int] = {("out", name, 1): 0 for name in FABRIC.plant.switches}


def wandering(seed: int) -> Policy:
    """A policy that decides at random, each time, among three allocations that change every 20 times."""
    draw, clock = random.Random(seed), itertools.count()
    known = cache(lambda number: some_allocation(DENSE, number))

    def decide(network: Network, loads: Loads, state: object) -> Decision:
        decision = POLICY.decide(network, loads, None)
        return replace(decision, allocation=known(draw.randrange(3) + next(clock) // 20))

    return Policy("wandering", "anywhere", decide)


def counts(state: tick.State, now: float, busy: frozenset[int] = frozenset()) -> dict[Key, Count]:
    """What switches answer when the numbers in `busy` carry 5 packets/s, and others none."""
    found = {key: Count(0, 0, now) for key in PORTS}
    for number, (enter, leaves) in counters_of(FABRIC, state.labels):
        for key in (enter, *leaves):
            sent = round(5 * now) if number in busy else 0
            found[key] = Count(sent, 100 * sent, now)
    return found


def test_tables_stay_bounded_and_numbers_keep_their_meaning() -> None:
    state, now, span = tick.first_state(FABRIC, wandering(1)), 0.0, random.Random(2)
    fake = FakeNetwork(FABRIC.plant)
    meanings: dict[int, tuple[float, object]] = {}
    sizes, reused, used = [], 0, set()
    while now < DAY_S:
        plan = tick.plan(FABRIC, state)
        for phase in phases(plan.delta):
            for change in phase:
                fake.apply(change)
        state = tick.acknowledged(state, plan)
        for path, number in state.labels.numbers.items():
            since, before = meanings.get(number, (-1e9, path))
            if before != path:
                assert now - since > DRAIN_S, "a number came back before its packets had gone"
                reused += 1
            meanings[number] = now, path
            used.add(path)
        assert named(FABRIC, state.labels, state.deals) <= set(state.labels.numbers.values())
        sizes.append(sum(len(switch.rules) for switch in fake.switches.values()))
        assert sizes[-1] == sum(1 for _, entry in placed(state.installed) if not hasattr(entry, "buckets"))
        now += span.choice(SPANS_S)
        state = tick.learn(FABRIC, state, counts(state, now), now)
    assert len(sizes) > 1800, "changes"
    assert reused > 1000
    half = len(sizes) // 2
    assert max(sizes[half:]) <= 1.2 * max(sizes[:half])
    assert len(state.labels.paths) < len(used), "fewer numbers than paths"


def idle_after(seconds: int, busy: frozenset[int] = frozenset(), told: bool = True) -> Use:
    """What is known of the numbers of all ways some time after every slot has left them."""
    state = tick.first_state(FABRIC, POLICY)
    state = tick.acknowledged(state, tick.plan(FABRIC, state))
    labels = state.labels.given(FABRIC.paths(some_allocation(DENSE, 3)))
    state = replace(state, labels=labels)
    for now in range(1, seconds + 1):
        seen = counts(state, float(now), busy)
        if not told:
            seen = {key: count for key, count in seen.items() if key[1] != "a"}
        state = tick.learn(FABRIC, state, seen, float(now))
    return state.use


def test_only_what_was_silent_for_longer_than_a_pin_retires() -> None:
    limit = int(PIN_IDLE_S + DRAIN_S)
    idle = idle_after(limit + 2).idle
    assert idle
    assert not idle_after(limit - 1).idle
    assert idle_after(limit + 2, busy=frozenset(idle)).idle < idle, "what carries packets stays"
    assert not idle_after(limit + 2, told=False).idle, "a switch that is away is not silent"


def test_a_refused_retirement_is_none() -> None:
    labels = Labels().given(FABRIC.paths(some_allocation(DENSE, 3)))
    less = labels.without({1, 2})
    assert less.with_those_of(labels).numbers == labels.numbers
    more = less.given([labels.path(1)], free=frozenset({2}))
    assert more.numbers[labels.path(1)] == 2
    assert observe(FABRIC, less, {}, tick.EMPTY, set(), Use(gone={1: 0.0}), 100.0).free == {1}
