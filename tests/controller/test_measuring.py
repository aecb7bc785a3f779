"""Counters to rates: wrap, reset, gaps, no data and silence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import small_fabrics as small
from hypothesis import given
from hypothesis import strategies as st

from controller.compile import request_rule
from controller.labels import Labels
from controller.measure import EMPTY, FORGET_S, NO_DATA, Count, Key, Reader, going, increase, read
from pricing.values import Loads

KEY: Key = ("out", "a", 1)


@given(st.integers(0, 2**64 - 2), st.integers(0, 2**40))
def test_a_wrap_is_seen_through(start: int, grown: int) -> None:
    end = (start + grown) % 2**64
    assert increase(start, end) == (None if end == NO_DATA else grown)


@given(st.integers(2**20, 2**61), st.integers(0, 2**10))
def test_a_reset_is_no_traffic(before: int, after: int) -> None:
    assert increase(before, after) is None


@given(st.lists(st.tuples(st.floats(0.1, 5), st.integers(0, 10**9)), min_size=2, max_size=10))
def test_rates_times_spans_are_what_was_counted(steps: list[tuple[float, int]]) -> None:
    meter, now, total, carried = EMPTY, 0.0, 0, 0.0
    for place, (span, octets) in enumerate(steps):
        now, total = now + span, total + octets
        meter = read(meter, {KEY: Count(total, total, now)})
        if place:
            carried += meter.rates[KEY].bits * span
    assert carried == pytest.approx(8 * (total - steps[0][1]), rel=1e-6)


def test_silence_keeps_the_last_rate_and_no_data_teaches_nothing() -> None:
    meter = read(read(EMPTY, {KEY: Count(0, 0, 1.0)}), {KEY: Count(10, 1000, 2.0)})
    assert meter.rates[KEY].bits == 8000
    for counts in ({}, {KEY: Count(NO_DATA, NO_DATA, 3.0)}, {KEY: Count(0, 0, 2.0)}):
        assert read(meter, counts).rates[KEY] == meter.rates[KEY]
    after_gap = read(meter, {KEY: Count(20, 2000, 12.0)})
    assert after_gap.rates[KEY].bits == pytest.approx(800)


def test_after_a_reset_the_next_interval_counts() -> None:
    meter = read(read(EMPTY, {KEY: Count(0, 0, 1.0)}), {KEY: Count(1000, 1000, 2.0)})
    reset = read(meter, {KEY: Count(5, 5, 3.0)})
    assert reset.rates[KEY].time == 2.0
    assert read(reset, {KEY: Count(105, 105, 4.0)}).rates[KEY].packets == 100


def test_a_counter_that_is_gone_is_forgotten() -> None:
    other: Key = ("out", "a", 2)
    meter = read(read(EMPTY, {KEY: Count(0, 0, 1.0)}), {KEY: Count(1, 1, 2.0)})
    assert KEY not in read(meter, {other: Count(0, 0, 3.0 + FORGET_S)}).rates


def test_a_switch_that_stands_still_while_it_is_sent_packets_is_silent() -> None:
    fabric = small.fabric(small.LINE)
    ports = fabric.plant.switches
    sends: Key = ("out", "a", ports["a"].ports["b"])
    other: Key = ("out", "b", ports["b"].ports["c"])
    rule: Key = ("rule", "b", 7)
    before = read(EMPTY, {key: Count(10, 10, 1.0) for key in (sends, other, rule)})

    def kept(sent: int, passed: int, when: float = 2.0) -> set[Key]:
        counts = {sends: Count(sent, sent, 2.0), other: Count(passed, passed, when), rule: Count(99, 99, when)}
        return set(going(fabric, before, counts))

    assert kept(20, 10) == {sends}, "its rules are not believed either"
    assert kept(20, 11) == {sends, other, rule}
    assert kept(10, 10) == {sends, other, rule}, "nobody sends it anything"
    assert kept(20, 10, 1.0) == {sends, other, rule}, "no new answer"
    assert kept(20, NO_DATA) == {sends, other, rule}, "no counter at all is no standstill"


def test_unknown_is_never_zero() -> None:
    fabric = small.fabric(small.LINE)
    links, servers = len(small.LINE.links), len(small.LINE.servers)
    assumed = Loads(np.full(links, 7.0), np.full(servers, 8.0), np.full(1, 9.0))
    measured = Reader(fabric, Labels(), EMPTY, 5.0).measured(lambda: assumed)
    assert (measured.loads.links == 7).all()
    assert (measured.loads.servers == 8).all()
    assert (measured.loads.offered == 9).all()
    assert np.isinf(measured.link_ages).all()
    assert math.isnan(measured.delivered[0])


def test_loads_are_read_from_their_ports() -> None:
    fabric = small.fabric(small.LINE)
    plant, session = fabric.plant, small.LINE.sessions[0]
    host, east = plant.hosts["h-a"], plant.hosts["east"]
    switch, rule = request_rule(fabric, session)
    keys: dict[Key, int] = {
        ("out", "a", plant.switches["a"].ports["b"]): 1000,
        ("in", "a", host.port): 2000,
        ("out", east.node, east.port): 3000,
        ("rule", switch, rule.cookie): 500,
    }
    meter = read(EMPTY, {key: Count(0, 0, 0.0) for key in keys})
    meter = read(meter, {key: Count(octets // 100, octets, 1.0) for key, octets in keys.items()})
    nothing = Loads(np.zeros(len(small.LINE.links)), np.zeros(2), np.zeros(1))
    measured = Reader(fabric, Labels(), meter, 3.0).measured(lambda: nothing)
    assert measured.loads.links[small.LINE.link_index["a", "b"]] == 8000
    assert measured.link_ages[small.LINE.link_index["a", "b"]] == 2.0
    assert measured.loads.offered[0] == 16000
    assert measured.loads.servers[small.LINE.server_index["east"]] == 30
