"""Laws of whole ways: against closed forms, the means of the model, and packets that are simulated."""

from __future__ import annotations

from math import exp, factorial

import numpy as np
import pytest

from experiments.result.predict import synthetic
from pricing.delay import md1, mg1, mm1
from pricing.network import Link, Network, Node, Server, Session
from pricing.policy import get_policy
from pricing.problem import evaluate, problem_of
from pricing.shortest import shortest_path
from pricing.spread import quantiles, spread, ways, ways_to
from pricing.values import Loads
from topologies.scenario import load

TIMES = np.linspace(0.01, 3.0, 40)


def test_one_queue_is_exponential_and_a_line_of_them_hypoexponential() -> None:
    capacity, used = np.array([10.0, 8.0, 20.0]), np.full(3, 6.0)
    assert spread(mm1(capacity), used, {(0,): 1.0}, TIMES) == pytest.approx(1 - np.exp(-4 * TIMES), abs=1e-6)
    a = capacity - used
    parts = [np.prod([a[j] / (a[j] - a[i]) for j in range(3) if j != i]) * np.exp(-a[i] * TIMES) for i in range(3)]
    assert spread(mm1(capacity), used, {(0, 1, 2): 1.0}, TIMES) == pytest.approx(1 - np.sum(parts, axis=0), abs=1e-6)
    mixed = spread(mm1(capacity), used, {(0,): 0.25, (1,): 0.75}, TIMES)
    assert mixed == pytest.approx(1 - 0.25 * np.exp(-4 * TIMES) - 0.75 * np.exp(-2 * TIMES), abs=1e-6)


def test_waits_behind_equal_jobs_are_as_erlang_said() -> None:
    """Erlang 1909, by Crommelin's sum."""
    job, rate = 0.1, 7.0

    def erlang(t: float) -> float:
        behind = [
            (-rate * (t - j * job)) ** j / factorial(j) * exp(rate * (t - j * job)) for j in range(int(t / job) + 1)
        ]
        return (1 - rate * job) * sum(behind)

    times = np.linspace(0.013, 0.9, 30)
    expected = [erlang(t) for t in times]
    assert spread(md1([10.0], sojourn=False), np.array([7.0]), {(0,): 1.0}, times) == pytest.approx(expected, abs=3e-4)
    later = md1([10.0, 5.0], propagation=[0.0, 0.2])
    assert spread(later, np.array([7.0, 0.0]), {(0, 1): 1.0}, times + 0.1 + 0.2 + 0.2) == pytest.approx(
        expected, abs=3e-4
    )
    assert spread(later, np.array([7.0, 0.0]), {(0, 1): 1.0}, [0.49])[0] == 0.0


def test_the_mean_is_that_of_the_model() -> None:
    net = load("abilene").network
    idle = Loads(np.zeros(len(net.links)), np.zeros(len(net.servers)), problem_of(net).rates)
    allocation = get_policy("joint").decide(net, idle, None).allocation
    shares = ways(net, allocation, problem_of(net).rates)
    even = (np.arange(2000) + 0.5) / 2000
    found = quantiles(problem_of(net).laws, problem_of(net).loads(allocation), shares, even)
    assert found is not None
    assert (np.diff(found) >= 0).all()
    assert found.mean() == pytest.approx(evaluate(net, allocation).mean_delay, rel=5e-3)


def test_ways_of_copies_end_at_their_destination() -> None:
    net = load("butterfly-group").network
    idle = Loads(np.zeros(len(net.links)), np.zeros(0), problem_of(net).rates)
    allocation = get_policy("edspa").decide(net, idle, None).allocation
    for name in net.sessions[0].destinations:
        shares = ways_to(net, allocation, "to-both", name)
        assert sum(shares.values()) == pytest.approx(1.0)
        assert {net.links[way[-1]].dst for way in shares} == {name}


def test_simulated_packets_of_one_queue_spread_by_the_law() -> None:
    session = Session("web", "A", "anycast", ("s",), 1.4e6, service="web")
    server = Server("s", "B", 700.0, scv=2.0)
    net = Network("one", (Node("A"), Node("B")), (Link("A", "B", 1e9),), (server,), (session,))
    allocation, shares = shortest_path(net), [0.3, 0.5, 0.7, 0.9]
    delays = synthetic(net, allocation, duration=40.0, seed=3).delays
    load, passed = problem_of(net).loads(allocation), ways(net, allocation, problem_of(net).rates)
    law = quantiles(problem_of(net).laws, load, passed, shares)
    assert np.quantile(delays[np.isfinite(delays)], shares) == pytest.approx(law, rel=0.08)
    exponential = quantiles(mg1(problem_of(net).capacity, problem_of(net).laws.size, 1.0), load, passed, shares)
    assert np.quantile(delays[np.isfinite(delays)], shares) != pytest.approx(exponential, rel=0.08)


def test_a_full_queue_has_no_law() -> None:
    assert quantiles(mg1([10.0, 10.0], scv=0.5), np.array([10.0, 3.0]), {(0, 1): 1.0}, [0.5]) is None
    assert quantiles(mg1([10.0, 10.0], scv=0.5), np.array([10.0, 3.0]), {}, [0.5]) is None
