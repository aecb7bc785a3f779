"""Slots realise the weights, and few of them move."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.hashing import slots_of
from controller.slots import SLACK, deal, heavy, quotas

deal({1: 0.5, 2: 0.5}, 16, (), np.ones(16))  # compiles, which no deadline of an example allows for

WEIGHTS = st.dictionaries(st.integers(1, 9), st.floats(0.001, 1), min_size=1, max_size=6)


def shares(weights: dict[int, float]) -> dict[int, float]:
    total = sum(weights.values())
    return {number: weight / total for number, weight in weights.items()}


@given(WEIGHTS, st.integers(16, 1024))
def test_quotas_are_whole_and_within_one_of_exact(weights: dict[int, float], slots: int) -> None:
    dealt = quotas(weights, slots)
    assert sum(dealt.values()) == slots
    for number, share in shares(weights).items():
        assert abs(dealt[number] - share * slots) < 1 + 1e-6


@given(WEIGHTS, WEIGHTS, st.integers(16, 1024))
def test_as_many_slots_move_as_traffic_does(old: dict[int, float], new: dict[int, float], slots: int) -> None:
    before = deal(old, slots)
    after = deal(new, slots, before)
    assert {number: after.count(number) for number in set(after)} == {n: c for n, c in quotas(new, slots).items() if c}
    a, b = shares(old), shares(new)
    traffic = sum(abs(a.get(n, 0) - b.get(n, 0)) for n in a | b) / 2
    moved = sum(x != y for x, y in zip(before, after, strict=True))
    assert moved <= traffic * slots + len(a | b)


@given(WEIGHTS, st.integers(16, 512), st.booleans(), st.randoms(use_true_random=False))
def test_dealing_again_moves_nothing(weights: dict[int, float], slots: int, rated: bool, draw: object) -> None:
    rates = np.array([draw.random() for _ in range(slots)]) if rated else None  # type: ignore[attr-defined]
    before = deal(weights, slots, (), rates)
    again = deal(weights, slots, before, rates)
    assert again == before if not rated else sum(x != y for x, y in zip(again, before, strict=True)) <= len(weights)


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(100, 400))
def test_known_flows_are_split_to_within_one_flow(old: float, new: float, flows: int) -> None:
    slots = 512
    taken = slots_of("10.0.0.1", "10.9.0.1", 17, 20000 + np.arange(flows), 7000, slots)
    rates = np.bincount(taken, minlength=slots).astype(float)
    before = deal({1: old, 2: 1 - old}, slots, (), rates)
    after = np.array(deal({1: new, 2: 1 - new}, slots, before, rates))
    assert abs(rates[after == 1].sum() / flows - new) <= 1.5 / flows
    assert abs((after[rates == 0] == 1).mean() - new) <= SLACK + 0.01
    moved = rates[after != np.array(before)].sum() / flows
    assert moved <= abs(new - old) + 3 / flows


def test_a_hash_alone_would_miss_by_more() -> None:
    taken = slots_of("10.0.0.1", "10.9.0.1", 17, 20000 + np.arange(200), 7000, 512)
    rates = np.bincount(taken, minlength=512).astype(float)
    plain, rated = np.array(deal({1: 1, 2: 1}, 512)), np.array(deal({1: 1, 2: 1}, 512, (), rates))
    errors = [abs(rates[numbers == 1].sum() / 200 - 0.5) for numbers in (plain, rated)]
    assert errors[1] <= 1 / 200 < errors[0]


SPLITS = st.lists(st.integers(1, 99), min_size=8, max_size=8)


@settings(deadline=None)
@given(SPLITS, SPLITS, st.sampled_from([2, 3, 4, 8]), st.integers(0, 1000))
def test_flow_by_flow_x_points_move_x_points_and_one(old: list[int], new: list[int], routes: int, first: int) -> None:
    flows, slots = 500, 512
    slot = slots_of("10.0.0.1", "10.9.0.1", 17, 20000 + first + np.arange(flows), 7000, slots)
    rates = np.bincount(slot, minlength=slots).astype(float)
    a, b = (shares(dict(enumerate(map(float, weights[:routes]), 1))) for weights in (old, new))
    before = deal(a, slots, (), rates)
    after = deal(b, slots, before, rates)
    way = np.array(before)[slot], np.array(after)[slot]  # the route of each flow
    points = sum(abs(a[n] - b[n]) for n in a) / 2
    assert (way[0] != way[1]).mean() <= points + 0.01
    for n in b:
        assert abs((way[1] == n).mean() - b[n]) <= 0.005


def test_a_flow_that_no_hash_can_split_is_named() -> None:
    rates = np.ones(64)
    rates[7] = 100.0
    weights = {1: 0.5, 2: 0.5}
    assert heavy(weights, deal(weights, 64, (), rates), rates)[0] == 7
    assert heavy({1: 100 / 163, 2: 63 / 163}, deal({1: 100 / 163, 2: 63 / 163}, 64, (), rates), rates) == []
