"""Packets with priority classes through a network of queues: the recursion at one, and the other loop for one class."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from pricing.errors import TopologyError
from pricing.simulate import classes
from pricing.simulate.loop import SERVER, SOJOURN_LINK, WAIT_LINK
from pricing.simulate.packets import Packets, Passage, Resources, Routes, simulate
from pricing.simulate.priority import priority_waits


def scene(seed: int, queue: int, count: int = 3000) -> tuple[Packets, Routes, Resources]:
    """Two ways over two links each to a server and back, loaded to some 0.8."""
    random = np.random.default_rng(seed)
    arrival = np.sort(random.uniform(0, count / 100, count))
    routes = Routes.of([[0, 2, 4, 3], [1, 2, 4, 3]])
    kinds = np.array([WAIT_LINK, SOJOURN_LINK, WAIT_LINK, WAIT_LINK, SERVER])
    capacity = np.array([1000.0, 1000.0, 1250.0, 1000.0, 1.0])
    resources = Resources(kinds, capacity, np.full(5, queue), np.array([0.0, 0.003, 0.0, 0.0, 0.0]))
    sizes, works = random.exponential(10.0, count), random.exponential(0.008, count)
    return Packets.of(arrival, sizes, random.integers(0, 2, count), works, 5.0), routes, resources


@pytest.mark.parametrize("queue", [10_000, 3])
def test_with_one_class_it_is_the_other_loop(queue: int) -> None:
    packets, routes, resources = scene(1, queue)
    plain = simulate(packets, routes, resources)
    bits = (packets.arrival, packets.size, packets.response, packets.work)
    ways = (packets.route, plain.first, routes.first, routes.hops)
    laws = (resources.kind, resources.capacity, resources.queue, resources.propagation)
    order = np.argsort(packets.arrival, kind="stable")
    found = Passage(plain.first, *classes.follow(order, *bits, packets.klass - 1, *ways, *laws, np.empty(0)))
    assert found.balance() == plain.balance()
    assert plain.balance().dropped > 0 or queue > 3
    for column in fields(Passage):
        assert np.asarray(getattr(found, column.name)) == pytest.approx(
            np.asarray(getattr(plain, column.name)), nan_ok=True, abs=1e-9
        )


@pytest.mark.parametrize("kind", [WAIT_LINK, SERVER])
def test_waits_at_one_queue_are_those_of_the_recursion(kind: int) -> None:
    random = np.random.default_rng(3)
    arrivals, services = np.cumsum(random.exponential(1.2, 5000)), random.exponential(1.0, 5000)
    order = random.integers(1, 4, 5000)
    one = Resources(np.array([kind]), np.array([1.0]), np.array([10_000]), np.array([0.0]))
    passage = simulate(Packets.of(arrivals, services, work=services, klass=order), Routes.of([[0]]), one)
    assert passage.wait == pytest.approx(priority_waits(arrivals, services, order))
    assert passage.balance().unaccounted == 0


def test_the_first_class_overtakes_everywhere_and_nothing_is_lost() -> None:
    packets, routes, resources = scene(2, 10_000)
    order = np.random.default_rng(4).integers(1, 3, len(packets.arrival))
    mixed = Packets(*(getattr(packets, column.name) for column in fields(packets)[:-1]), order)
    passage = simulate(mixed, routes, resources)
    assert passage.balance().unaccounted == 0
    took = passage.returned - packets.arrival
    assert took[order == 1].mean() < 0.8 * took[order == 2].mean()
    assert (np.diff(passage.at.reshape(-1, 4), axis=1) >= 0).all()


def test_a_class_below_one_is_refused() -> None:
    packets, routes, resources = scene(1, 5, 10)
    with pytest.raises(TopologyError, match="class below 1"):
        simulate(Packets.of(packets.arrival, 1.0, klass=0), routes, resources)
