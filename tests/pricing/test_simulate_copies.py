"""Packets that become several: each destination's copy, full queues, and the same as the compiled loop on paths."""

from __future__ import annotations

import numpy as np
import pytest

from pricing.duplication import tree_route
from pricing.network import Link, Network, Node, Route, Server, Session
from pricing.simulate.copies import simulate_copies, tree_of
from pricing.simulate.packets import Packets, Resources, Routes, simulate

LINKS = tuple(Link(*ends, 1e6, queue=3) for ends in (("S", "A"), ("A", "X"), ("A", "Y"), ("X", "A"), ("A", "S")))
GROUP = Session("k", "S", "multicast", ("X", "Y"), 1e5, group="239.0.0.1")
WEB = Session("w", "S", "anycast", ("east",), 1e5, service="web", response_bits=500.0)
NET = Network("n", tuple(map(Node, "SAXY")), LINKS, (Server("east", "X", 100.0),), (GROUP, WEB))
WAYS = {"X": (("S", "A"), ("A", "X")), "Y": (("S", "A"), ("A", "Y"))}


def test_a_copy_goes_to_each_destination_and_separate_ones_wait_for_each_other() -> None:
    packets = Packets.of([0.0], 1000.0)
    for shared, late in ((True, 0.0), (False, 0.001)):
        found = simulate_copies(packets, [tree_of(NET, tree_route(GROUP, WAYS, shared))], Resources.of(NET))
        assert found.packet.tolist() == [0, 0]
        assert found.left.tolist() == [0.0, late], "of two copies on the first link one waits a millisecond"
        assert found.carried[:3].tolist() == [1000.0 if shared else 2000.0, 1000.0, 1000.0]


def test_what_finds_a_queue_full_is_dropped_with_all_behind_it() -> None:
    found = simulate_copies(Packets.of([0.0] * 6, 1000.0), [tree_of(NET, tree_route(GROUP, WAYS))], Resources.of(NET))
    lost = np.isnan(found.left).reshape(6, 2)
    assert lost.sum(axis=0).tolist() == [2, 2], "one is served, three wait"
    assert (lost[:, 0] == lost[:, 1]).all()


def test_paths_with_servers_and_answers_are_those_of_the_compiled_loop() -> None:
    rng = np.random.default_rng(1)
    route = Route("w", (("S", "A"), ("A", "X")), "east")
    arrival = np.sort(rng.uniform(0, 1, 300))
    packets = Packets.of(arrival, rng.exponential(2000, 300), 0, rng.exponential(0.002, 300), 500.0)
    resources = Resources.of(NET)
    passage = simulate(packets, Routes.of([[0, 1, 5, 3, 4]]), resources)
    found = simulate_copies(packets, [tree_of(NET, route)], resources)
    assert np.isnan(found.left).sum() == np.isnan(passage.ended).sum() > 0
    assert np.nan_to_num(found.left) == pytest.approx(np.nan_to_num(passage.ended))
