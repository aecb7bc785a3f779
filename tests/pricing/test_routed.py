"""UCNC and EDSPA: stable inside their regions, growing outside, every packet once, delays as Little says."""

from __future__ import annotations

import numpy as np
import pytest

from pricing.multicast.instance import Cast, Function, Instance, Processor, SlotLink
from pricing.multicast.region import largest_scale
from pricing.multicast.routed import empty_yard, larger
from pricing.multicast.shortest import EDSPA, fixed_scale, shortest_routes
from pricing.multicast.simulate import Setting, simulate
from pricing.multicast.universal import UCNC, distances


def instance(seed: int, rate: float = 1.0) -> Instance:
    """Two casts with a function each on a cycle with random chords; rates are multiples of `rate`."""
    random = np.random.default_rng(seed)
    n = 6
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    kept = [(i, j) for i, j in pairs if j == (i + 1) % n or random.random() < 0.35]
    links = tuple(SlotLink(str(i), str(j), float(random.integers(3, 9)), 1.0) for i, j in kept)
    chain = (Function(0.5, 1.0),)
    casts = (Cast("a", "0", ("2", "3", "5"), rate, chain), Cast("b", "1", ("4", "0"), 2 * rate))
    return Instance("test", tuple(map(str, range(n))), links, casts, tuple(Processor(x, 6.0, 1.0) for x in "024"))


def at(seed: int, share: float, policy: UCNC | EDSPA) -> Instance:
    """The instance at a share of the largest rate of the policy's own region."""
    case = instance(seed)
    most = (largest_scale(case) if isinstance(policy, UCNC) else fixed_scale(case)).scale
    return instance(seed, share * most)


@pytest.mark.parametrize(
    ("seed", "policy"),
    [(0, UCNC()), (1, UCNC()), (2, UCNC()), (0, UCNC(delayed=False)), (1, EDSPA()), (2, EDSPA())],
)
def test_stable_inside_and_growing_outside(seed: int, policy: UCNC | EDSPA) -> None:
    inside, outside = (
        simulate(at(seed, share, policy), policy, Setting(12000, 4000, seed=seed)) for share in (0.95, 1.05)
    )
    assert abs(inside.slope) < 0.004
    assert outside.slope > 10 * abs(inside.slope)
    assert outside.slope > 0.02


@pytest.mark.parametrize("policy", [UCNC(), EDSPA()], ids=["UCNC", "EDSPA"])
def test_every_packet_reaches_every_destination_once(policy: UCNC | EDSPA) -> None:
    run = simulate(at(1, 0.8, policy), policy, Setting(2000, 500, drain=2000, seed=3, follow=True))
    assert not run.left.any()
    delays = run.delay[:, :3]
    casts = np.array([3, 2])
    assert (delays >= 1).sum() == run.arrivals.sum(axis=0) @ casts
    assert (run.delay[:, 3:] < 0).all()


@pytest.mark.parametrize("policy", [UCNC(), EDSPA()], ids=["UCNC", "EDSPA"])
def test_little(policy: UCNC | EDSPA) -> None:
    """Over a run from empty to empty the sum of copies owed is the sum of delays, packet by packet."""
    run = simulate(at(2, 0.7, policy), policy, Setting(500, 0, drain=3000, follow=True))
    assert run.backlog.sum() + run.drained.owed.sum() == pytest.approx(run.delay[run.delay >= 0].sum())


def test_cost_is_what_the_routes_cost() -> None:
    links = (SlotLink("0", "1", 5, 2.0), SlotLink("1", "2", 5, 3.0), SlotLink("1", "3", 5, 4.0))
    case = Instance("star", tuple("0123"), links, (Cast("c", "0", ("2", "3"), 2.0),))
    for policy in (UCNC(), EDSPA()):
        run = simulate(case, policy, Setting(300, drain=100))
        assert run.delivery_cost == pytest.approx(9.0 * run.arrivals.mean())
        assert run.scheduled.sum() + run.drained.scheduled.sum() == pytest.approx(9.0 * run.arrivals.sum())


def test_idle_network_delivers_at_distance() -> None:
    """With room for all, each copy takes as many slots as edges of its route; EDSPA's routes are the shortest."""
    links = tuple(SlotLink(a, b, 100.0) for a, b in ("01", "12", "23", "02", "34"))
    case = Instance("idle", tuple("01234"), links, (Cast("c", "0", ("1", "3", "4"), 1.0),))
    for policy in (UCNC(), EDSPA()):
        run = simulate(case, policy, Setting(200, drain=50, follow=True))
        assert (run.delay[:, :3] == [1, 2, 3]).all()


def test_nearest_to_origin_goes_first() -> None:
    """Where a new packet and one that came far want one link, the new one has it."""
    links = (SlotLink("0", "1", 9.0), SlotLink("1", "2", 1.0))
    casts = (Cast("far", "0", ("2",), 1.0), Cast("near", "1", ("2",), 1.0))
    run = simulate(Instance("line", tuple("012"), links, casts), EDSPA(), Setting(400, arrivals="constant"))
    assert run.owed[-1].tolist() == [400.0, 1.0]


def test_anycast_goes_to_one_and_multicast_over_it_to_all() -> None:
    links = tuple(SlotLink(a, b, 4.0) for a, b in ("01", "12", "03"))
    case = Instance("any", tuple("0123"), links, (Cast("c", "0", (("2", "3"), "1"), 1.0),))
    assert [sorted(route.tolist()) for route in shortest_routes(case)] == [[0, 2]]
    for policy in (UCNC(), EDSPA()):
        run = simulate(case, policy, Setting(100, drain=20, follow=True))
        assert (run.delay[:, :2] == [1, 1]).all()


def test_states_come_a_link_a_slot() -> None:
    case = instance(0)
    away = distances(case)
    for k, cast in enumerate(case.casts):
        near = [
            r for r, resource in enumerate(case.resources) if cast.source in str(resource).split("->")[0].split()[-1]
        ]
        assert (away[k, near] == 0).all()
        assert away[k].max() >= 1


def test_room_grows() -> None:
    case = instance(0)
    small = empty_yard(case, 2)
    small.amount[1, 0] = 3.0
    assert larger(small).amount[:, 0].tolist() == [0.0, 3.0, 0.0, 0.0]
    run = simulate(instance(0, 20.0), EDSPA(), Setting(3000, arrivals="constant"))  # 6,000 batches at once
    assert run.backlog[-1] > 1e5
