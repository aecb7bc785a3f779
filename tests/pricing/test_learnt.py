"""Laws learnt from sums: what was sent comes back, whatever the scenario thought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pricing.delay import mg1
from pricing.joint.optimum import optimum
from pricing.learnt import Seen, differ, learnt, nothing_seen
from pricing.network import Link, Network, Node, Server, Session
from pricing.problem import problem_of

NETWORK = Network(
    "pair",
    (Node("a"), Node("b")),
    (Link("a", "b", 2e6), Link("b", "a", 2e6)),
    (Server("s", "b", 500.0),),
    (Session("k", "a", "anycast", ("s",), 1e6, service="web"),),
)
NONE = np.full(3, np.nan)


def test_before_anything_is_seen_the_scenario_holds() -> None:
    laws = problem_of(NETWORK).laws
    for name in ("measured", "fitted"):
        jobs = learnt(NETWORK, nothing_seen(NETWORK), name)
        assert not differ(NETWORK, (), jobs)
        assert problem_of(NETWORK.with_jobs(jobs)).laws.scale == pytest.approx(laws.scale)
    assert learnt(NETWORK, nothing_seen(NETWORK), "scenario") == ()
    assert [scv for _, scv in learnt(NETWORK, nothing_seen(NETWORK), "mm1")] == [1.0, 1.0, 1.0]


def counted(rng: np.random.Generator, seconds: int, size: float, scv: float) -> Seen:
    """Gamma sizes of Poisson packets, by counters at the links and one by one at the server."""
    seen = nothing_seen(NETWORK)
    for _ in range(seconds):
        jobs = rng.poisson(400, 3).astype(float)
        drawn = [rng.gamma(1 / scv, scv * size, int(n)) for n in jobs]
        amount, squares = np.array([d.sum() for d in drawn]), np.array([np.nan, np.nan, drawn[2] @ drawn[2]])
        seen = seen.sized(np.array([1.0, 0.0, 1.0]), jobs, amount, squares)
    return seen


def test_counters_alone_tell_the_variance_of_what_was_sent() -> None:
    jobs = learnt(NETWORK, counted(np.random.default_rng(1), 400, 900.0, 2.0), "measured")
    assert jobs[0][0] == pytest.approx(900, rel=0.1)
    assert jobs[0][1] == pytest.approx(2.0, rel=0.35)  # some 120 intervals
    assert jobs[2][1] == pytest.approx(2.0, rel=0.1)  # some 48,000 jobs
    assert jobs[1] == learnt(NETWORK, nothing_seen(NETWORK), "measured")[1]  # where nothing was seen
    assert differ(NETWORK, (), jobs)


def test_an_old_size_fades() -> None:
    rng = np.random.default_rng(2)
    seen = counted(rng, 200, 4000.0, 1.0)
    for _ in range(1000):
        jobs = rng.poisson(400, 3).astype(float)
        seen = seen.sized(np.ones(3), jobs, 500.0 * jobs, NONE)
    size, scv = learnt(NETWORK, seen, "measured")[0]
    assert size == pytest.approx(500, rel=0.15)
    assert scv < 0.3


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 3.0])
def test_waits_set_the_scale_of_the_law(factor: float) -> None:
    laws, load = problem_of(NETWORK).laws, 0.7 * problem_of(NETWORK).capacity
    jobs = load / laws.size
    seen = nothing_seen(NETWORK)
    for _ in range(300):
        seen = seen.waits(np.ones(3), jobs, load, factor * laws.wait(load) * jobs)
    fitted = problem_of(NETWORK.with_jobs(learnt(NETWORK, seen, "fitted"))).laws
    assert fitted.wait(load) == pytest.approx(factor * laws.wait(load), rel=0.08)
    assert fitted.base == pytest.approx(laws.base)  # a server's own work is no wait
    plain = learnt(NETWORK, seen, "measured")
    assert not differ(NETWORK, (), plain)


def test_a_price_never_vanishes_nor_takes_off() -> None:
    laws, load = problem_of(NETWORK).laws, 0.7 * problem_of(NETWORK).capacity
    for waiting, bound in ((0.0, 0.02), (1e6, 10.0)):
        seen = nothing_seen(NETWORK)
        for _ in range(2000):
            seen = seen.waits(np.ones(3), load / laws.size, load, np.full(3, waiting))
        fitted = problem_of(NETWORK.with_jobs(learnt(NETWORK, seen, "fitted"))).laws
        assert (fitted.scale >= 0.0199 * laws.scale).all()
        assert fitted.scale == pytest.approx(bound * laws.scale, rel=0.5)


def test_a_network_with_jobs_prices_by_them_and_is_the_same_otherwise() -> None:
    other = NETWORK.with_jobs(((1000.0, 0.0), (1000.0, 0.0), (2.0, 3.0)))
    assert other != NETWORK
    assert other.plain == NETWORK == replace(other, jobs=())
    laws = mg1(problem_of(NETWORK).capacity, [1000, 1000, 2], [0, 0, 3], [False, False, True])
    x = 0.5 * problem_of(NETWORK).capacity
    assert problem_of(other).laws.delay(x) == pytest.approx(laws.delay(x))
    assert optimum(other).allocation == optimum(NETWORK).allocation
