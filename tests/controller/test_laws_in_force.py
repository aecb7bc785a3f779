"""The delay laws in force: from counters and exports, one interval once, replaced only where a wait has changed."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import small_fabrics as small

from controller import laws, tick
from controller.exports import Export, exports
from controller.measure import Count, Key, Meter, wiring
from pricing.errors import WardropError
from pricing.outage import Outage
from pricing.policy import POLICIES
from pricing.problem import problem_of

NET = small.network([("a", "b"), ("b", "c")], {"east": "c", "west": "a"}, ["b"])
FABRIC = small.fabric(NET, 64)
LINKS = len(NET.links)


def counters(rng: np.random.Generator, seconds: int, size: float) -> list[dict[Key, Count]]:
    """Packets of one size at every link, so that only their number varies."""
    packets = np.cumsum(rng.poisson(300, (seconds, LINKS)), axis=0)
    keys = wiring(FABRIC).links
    return [
        {key: Count(int(n), int(n * size / 8), float(now)) for key, n in zip(keys, row, strict=True)}
        for now, row in enumerate(packets)
    ]


def learnt(name: str, told: tuple[Export, ...] = (), seconds: int = 60) -> laws.Laws:
    found, before = laws.first_laws(NET, laws.law_name(name)), Meter({}, {})
    for now, counts in enumerate(counters(np.random.default_rng(1), seconds, 8000.0)):
        found = laws.learn(FABRIC, found, before, Meter(counts, {}), told, float(now))
        before = Meter(counts, {})
    return found


def test_counters_of_links_teach_the_size_of_frames() -> None:
    found = learnt("measured")
    size, scv = np.array(found.jobs).T
    assert size[:LINKS] == pytest.approx(8000, rel=0.06)
    assert (scv[:LINKS] < 0.4 * problem_of(NET).laws.scv[:LINKS]).all()  # they had one size
    assert found.jobs[LINKS:] == laws.first_laws(NET, "measured").jobs[LINKS:]
    assert learnt("mm1").jobs == laws.first_laws(NET, "mm1").jobs
    assert learnt("scenario").jobs == ()


def test_an_export_counts_once() -> None:
    one = (Export("east", 5.0, 100.0, 200.0, 800.0, 1.0),)
    found = learnt("fitted", one)
    assert found.seen.waited[LINKS] <= 100.0
    assert dict(found.told) == {"east": 5.0}
    ignored = learnt("fitted", (Export("nowhere", 5.0, 1.0, 1.0, None, 1.0),))
    assert not ignored.told


def test_laws_hold_for_a_while_and_go_with_what_remains() -> None:
    assert learnt("measured", seconds=3).jobs == learnt("measured", seconds=9).jobs != learnt("measured").jobs
    left = FABRIC.left(Outage(frozenset({("a", "b"), ("b", "a")})))
    network = laws.under(left, learnt("measured"))
    assert len(network.jobs) == len(network.links) + len(network.servers) < LINKS + 2
    assert problem_of(network).laws.size[0] == pytest.approx(8000, rel=0.06)


def test_a_tick_prices_by_the_laws_in_force() -> None:
    prices = {}
    for name in ("scenario", "mm1"):
        state = tick.first_state(FABRIC, POLICIES["joint"], laws.law_name(name))
        state = tick.acknowledged(state, tick.plan(FABRIC, state))
        for now, counts in enumerate(counters(np.random.default_rng(1), 4, 8000.0)):
            state = tick.learn(FABRIC, state, counts, float(now))
        prices[name] = tick.plan(FABRIC, state).decision.prices.links
    h = problem_of(NET).laws.scv[0]
    assert prices["mm1"] == pytest.approx(prices["scenario"] * 2 / (1 + h), rel=1e-6)


def test_unknown_laws_are_refused_with_what_is_accepted() -> None:
    with pytest.raises(WardropError, match="laws 'md1': mm1, scenario, measured, fitted are accepted"):
        laws.law_name("md1")


def test_files_are_read_and_half_a_file_tells_nothing(tmp_path: Path) -> None:
    server = {"server": "east", "time": 7, "taken": 3, "load": 6.0, "squares": 14.0, "waiting": 0.5, "queue": 1}
    (tmp_path / "load-east.json").write_text(json.dumps(server))
    (tmp_path / "load-west.json").write_text('{"server": "we')
    links = [{"link": "a->b", "time": 7.5, "packets": 10, "load": 8e4, "waiting": 0.1}]
    (tmp_path / "links.json").write_text(json.dumps(links))
    found = exports(tmp_path)
    assert found == (Export("a->b", 7.5, 10, 8e4, None, 0.1), Export("east", 7.0, 3, 6.0, 14.0, 0.5))
    assert exports(None) == exports(tmp_path / "none") == ()


def test_ticks_leave_no_memory_behind() -> None:
    """Minutes of a small network after a warm-up, in which caches fill; a state kept each tick would be kilobytes."""
    rng = np.random.default_rng(3)
    state = tick.first_state(FABRIC, POLICIES["joint-distributed"], "measured")
    state = tick.acknowledged(state, tick.plan(FABRIC, state))
    every = counters(rng, 300, 4128.0)
    tracemalloc.start()
    try:
        for now, counts in enumerate(every):
            state = tick.acknowledged(state, tick.plan(FABRIC, state))
            state = tick.learn(FABRIC, state, counts, float(now))
            if now == 200:
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100 * 500
