"""Loads, weights and evaluation of allocations, against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import abilene, anycast, cables, network, paper, unicast

from pricing.network import Allocation, Link, Route, Server, SizeLaw
from pricing.problem import evaluate, make_allocation, problem_of
from pricing.shortest import shortest_path

FIXED = SizeLaw("fixed", mean=83.0)  # frames of 1000 bits


def answered() -> tuple[object, Allocation]:
    net = network(
        cables(("a", "b", 20_000.0)),
        [Server("s", "b", 40.0)],
        [anycast("k", "a", ["s"], 10_000.0, size=FIXED, response_bits=400.0, work=2.0)],
    )
    return net, make_allocation([Route("k", (("a", "b"),), "s")], [1.0])


def test_answers_load_the_way_back_and_work_the_server() -> None:
    net, allocation = answered()
    loads = evaluate(net, allocation).loads  # type: ignore[arg-type]
    assert dict(zip([str(link) for link in net.links], loads.links, strict=True)) == {  # type: ignore[attr-defined]
        "a->b": 10_000.0,
        "b->a": 4_000.0,
    }
    assert loads.servers == pytest.approx([20.0])


def test_objective_and_mean_delay_by_hand() -> None:
    net, allocation = answered()
    found = evaluate(net, allocation)  # type: ignore[arg-type]
    mean, residual = 700.0, (1000.0**2 + 400.0**2) / (2 * 1400.0)
    assert problem_of(net).laws.size[0] == mean  # type: ignore[arg-type]
    out = residual * 10_000 / (20_000 * 10_000)
    back = residual * 4_000 / (20_000 * 16_000)
    serve = 2.0 / (40.0 - 20.0)  # M/M/1 of jobs of 2 work
    assert found.link_delays == pytest.approx([out, back])
    assert found.server_delays == pytest.approx([serve])
    assert found.sessions["k"].network == pytest.approx(out)
    assert found.sessions["k"].server == pytest.approx(serve)
    assert found.mean_delay == pytest.approx(out + serve)
    assert found.objective == pytest.approx(out + 0.4 * back + serve)


def test_equal_sessions_without_answers_have_the_packet_mean_as_objective() -> None:
    net = abilene(0.5, response_bits=0.0)
    found = evaluate(net, shortest_path(net))
    assert found.feasible
    assert found.objective == pytest.approx(found.mean_delay, rel=1e-12)


def test_sizes_of_all_sessions_mix_by_their_packet_rates() -> None:
    small, large = SizeLaw("fixed", mean=83.0), SizeLaw("fixed", mean=333.0)  # 1000 and 3000 bits
    net = network(
        cables(("a", "b", 1e6)),
        sessions=[unicast("x", "a", "b", 3e4, size=small), unicast("y", "a", "b", 3e4, size=large)],
    )
    law = problem_of(net).laws  # 30 packets/s of 1000 bits, 10 of 3000
    assert law.size == pytest.approx([1500.0, 1500.0])
    assert (1 + law.scv) * law.size**2 == pytest.approx([(30 * 1e6 + 10 * 9e6) / 40] * 2)


def test_at_capacity_all_is_infinite_and_nothing_is_nan() -> None:
    net = network(cables(("a", "b", 10.0)), sessions=[unicast("x", "a", "b", 10.0), unicast("idle", "a", "b", 0.0)])
    found = evaluate(net, shortest_path(net))
    assert not found.feasible
    assert found.objective == found.mean_delay == found.sessions["x"].total == np.inf
    assert np.isfinite(problem_of(net).prices(found.loads.links).links).all()


def test_nothing_offered_is_no_delay() -> None:
    net = network(cables(("a", "b", 10.0)), sessions=[unicast("x", "a", "b", 0.0)])
    found = evaluate(net, shortest_path(net))
    assert (found.objective, found.mean_delay) == (0.0, 0.0)


def test_offered_rates_may_differ_from_the_nominal_ones() -> None:
    net = paper()
    twice = evaluate(net, shortest_path(net), offered=2 * problem_of(net).rates)
    assert twice.loads.links == pytest.approx(2 * evaluate(net, shortest_path(net)).loads.links)


def test_a_link_without_its_reverse_cannot_take_answers() -> None:
    net = network(
        [Link("a", "b", 10.0), *cables(("a", "c", 10.0), ("c", "b", 10.0))],
        sessions=[unicast("k", "a", "b", 1.0, response_bits=0.1)],
    )
    assert [route.nodes for route, _ in shortest_path(net)] == [("a", "c", "b")]
