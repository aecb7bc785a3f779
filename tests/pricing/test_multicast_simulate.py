"""Backpressure, slot by slot: against plain Python, known answers, every copy accounted for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from multicast_reference import Plain, Split, Status, number

from pricing.errors import Imbalance, InstanceError
from pricing.multicast.backpressure import Backpressure, Queues, dcnc, egdcnc, gdcnc, gdcnc_r
from pricing.multicast.instance import Cast, Function, Instance, Processor, SlotLink, broadcast
from pricing.multicast.region import all_choices, largest_scale, relays_of, tree_choices, unicast_choices
from pricing.multicast.search import best_eta
from pricing.multicast.simulate import Balance, Run, Setting, estimate, orders, simulate
from pricing.multicast.status import Tree
from pricing.values import FloatArray


def links(*ends: str, capacity: float = 1.0, cost: float = 1.0) -> tuple[SlotLink, ...]:
    return tuple(SlotLink(src, dst, capacity, cost) for src, dst in ends)


def star(rate: float, leaves: str = "23") -> Instance:
    """0 -> 1 -> each leaf, unit links."""
    cast = Cast("k", "0", tuple(leaves), rate)
    return Instance("star", tuple("01" + leaves), links("01", *(f"1{leaf}" for leaf in leaves)), (cast,))


def line(rate: float) -> Instance:
    """0 -> 1 -> 2, both are destinations."""
    return Instance("line", tuple("012"), links("01", "12"), (Cast("k", "0", ("1", "2"), rate),))


def drawn(seed: int, sizes: tuple[int, ...] = (2, 3), chain: bool = True, nodes: int = 7) -> Instance:
    """A random instance: both directions of the links of a random connected graph, casts with and without a chain."""
    rng = np.random.default_rng(seed)
    names = tuple(f"n{i}" for i in range(nodes))
    pairs = {(int(rng.integers(i)), i) for i in range(1, nodes)} | {
        tuple(sorted(rng.choice(nodes, 2, replace=False).tolist())) for _ in range(nodes // 2)
    }
    some = [
        SlotLink(names[x], names[y], float(rng.integers(2, 9)) / 2, float(rng.integers(5)) / 4)
        for a, b in sorted(pairs)
        for x, y in ((a, b), (b, a))
    ]
    functions = (Function(0.5, 2.0), Function(3.0, 1.0))
    casts = []
    for k, size in enumerate(sizes):
        source, *ends = (names[i] for i in rng.permutation(nodes)[: size + 1].tolist())
        casts.append(Cast(f"k{k}", source, tuple(ends), 0.4, functions if chain and k == 0 else ()))
    places = {name: (float(x), float(y)) for name, (x, y) in zip(names, rng.uniform(size=(nodes, 2)), strict=True)}
    some_nodes = tuple(Processor(name, 2.5, 0.25) for name in names[::2])
    return Instance(f"drawn {seed}", names, tuple(some), tuple(casts), some_nodes if chain else (), places)


def by_tree(tree: Tree) -> Split:
    """A tree's split in sets."""

    def split(q: Status) -> tuple[Status, Status] | None:
        pair = tree.split(number(q))
        return tuple(frozenset(d for d in q if part >> d & 1) for part in pair) if pair else None  # type: ignore[return-value]

    return split


def held(engine: Queues, instance: Instance, plain: Plain) -> tuple[dict[Any, float], dict[Any, float]]:
    """All that queues hold, ours and plain, by cast, stage, node and status."""
    ours, theirs = {}, {}
    for k, m, node in plain.queue:
        at = m * len(instance.nodes) + instance.nodes.index(node)
        ours.update({(k, m, node, q): x for q, x in engine.queue(k, at).items()})
        theirs.update({(k, m, node, number(q)): x for q, x in plain.queue[k, m, node].items() if x})
    return ours, theirs


POLICIES = {
    "dcnc": lambda i: dcnc(0.5),
    "gdcnc": lambda i: gdcnc(0.5),
    "egdcnc": lambda i: egdcnc(0.5, 0.75),
    "gdcnc-r": lambda i: gdcnc_r(i, 0.5),
    "gdcnc-r, split": lambda i: gdcnc_r(i, 0.5, distance="capacity", local_splits=True),
    "egdcnc-r": lambda i: gdcnc_r(i, 0.5, 0.75, "cost"),
}


@pytest.mark.parametrize("follow", [False, True], ids=["any amounts", "whole packets"])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_slot_is_that_of_plain_python_bit_for_bit(policy: str, follow: bool) -> None:
    seed = 2 if follow else 1
    instance = drawn(seed)
    ours: Backpressure = POLICIES[policy](instance)
    setting = Setting(60, seed=seed, follow=follow)
    engine = ours.start(instance, setting)
    trees = [by_tree(some[0]) for some in ours.trees] or None
    plain = Plain(instance, ours.duplications, ours.V, ours.eta, trees, ours.local_splits, follow)
    rng = np.random.default_rng(seed)
    arrivals = rng.poisson(0.7, (setting.slots, 2)).astype(float)
    order = orders(instance, setting, setting.slots, rng)
    for t in range(setting.slots):
        tally = engine.advance(arrivals[t : t + 1], order[t : t + 1])
        costs = plain.slot(arrivals[t].tolist(), order[t].tolist())
        assert (tally.scheduled[0], tally.real[0]) == costs
        here, there = held(engine, instance, plain)
        assert here == there
    delivered = engine.balance().delivered
    assert {(k, d): float(delivered[k, d]) for k, d in plain.delivered} == plain.delivered
    assert delivered.sum() > 20


def ladder(nodes: int, rate: float) -> Instance:
    """A node is joined to the next two, both ways; all the others are destinations of the first."""
    names = tuple(f"n{i}" for i in range(nodes))
    ends = [(i, j) for i in range(nodes) for j in (i + 1, i + 2) if j < nodes]
    some = tuple(SlotLink(names[x], names[y], 2.0) for a, b in ends for x, y in ((a, b), (b, a)))
    places = {name: (i * 1.0, i % 2 * 1.0) for i, name in enumerate(names)}
    return Instance("ladder", names, some, (broadcast("k", "n0", names, rate),), places=places)


def test_statuses_come_and_go_and_queues_stay_those_of_plain_python() -> None:
    """Destinations that relay: packets leave their tree, books grow, and forget what no queue holds."""
    instance = ladder(10, 0.3)
    ours = gdcnc_r(instance, 0.0, 0.5)
    engine, plain = ours.start(instance, Setting(1)), Plain(instance, "trees", 0.0, 0.5, [by_tree(ours.trees[0][0])])
    known = [engine.choices]
    rng = np.random.default_rng(5)
    for _ in range(150):
        arrivals, order = rng.poisson(0.3, (1, 1)).astype(float), rng.permutation(len(instance.links))
        engine.advance(arrivals, order[None, :])
        plain.slot(arrivals[0].tolist(), order.tolist())
        here, there = held(engine, instance, plain)
        assert here == there
        known.append(engine.choices)
    assert max(known) > known[0]
    assert (np.diff(known) < 0).any()


@pytest.mark.parametrize(
    ("make", "policy", "limit"),
    [
        (star, gdcnc(), 1.0),
        (star, dcnc(), 0.5),
        (lambda rate: star(rate, "234"), egdcnc(0.0, 1.0), 1.0),
        (lambda rate: star(rate, "234"), dcnc(), 1 / 3),
        (line, gdcnc(), 1.0),
        (line, dcnc(), 0.5),
    ],
)
def test_known_limits(make: Any, policy: Backpressure, limit: float) -> None:
    setting = Setting(6000, 3000, arrivals="constant")
    assert abs(simulate(make(0.98 * limit), policy, setting).slope) < 1e-3
    assert simulate(make(1.04 * limit), policy, setting).slope > 0.02 * limit


def test_known_least_cost() -> None:
    """1.2 by duplication at the fork, 1.6 by unicast: within B/V from above, idle fill counted."""
    for policy, least in ((gdcnc(20.0), 1.2), (dcnc(20.0), 1.6)):
        runs = [simulate(star(0.4), policy, Setting(12000, 2000, 4000, seed)) for seed in range(4)]
        cost = estimate(lambda run: run.scheduled_cost / float(run.arrivals[2000:].mean()) * 0.4, runs)
        assert cost.mean == pytest.approx(least, rel=0.03)
        assert all(run.delivery_cost >= least * run.arrivals.mean() / 0.4 - 1e-9 for run in runs)
        assert not any(run.left.any() for run in runs)


def test_a_tree_as_printed_may_carry_nothing_and_local_splits_mend_it() -> None:
    fan = Instance("fan", tuple("01234"), links("01", "02", "03", "04"), (Cast("k", "0", tuple("1234"), 0.9),))
    pairs = ((Tree(0b1111, ((0b11, 0b1100), (0b1, 0b10), (0b100, 0b1000))),),)
    printed = Backpressure("printed", "trees", trees=pairs)
    setting = Setting(2000, 500, 200)
    stuck = simulate(fan, printed, setting)
    assert stuck.left[0, :4].tolist() == stuck.arrivals.sum(axis=0).tolist() * 4
    mended = simulate(fan, replace(printed, local_splits=True), setting)
    assert not mended.left.any()
    assert mended.slope < 0.02


def same(a: Run, b: Run) -> bool:
    return all((x == y).all() for x, y in ((a.owed, b.owed), (a.scheduled, b.scheduled), (a.real, b.real)))


def test_one_destination_is_dcnc_and_two_need_no_tree() -> None:
    setting = Setting(800, 100, 300, seed=3)
    one, two = drawn(4, (1, 1)), drawn(5, (2, 2))
    assert same(simulate(one, gdcnc(0.5), setting), simulate(one, dcnc(0.5), setting))
    assert same(simulate(two, gdcnc(0.5), setting), simulate(two, gdcnc_r(two, 0.5), setting))
    assert not same(simulate(two, gdcnc(0.5), setting), simulate(two, dcnc(0.5), setting))


@pytest.mark.parametrize("seed", range(6))
def test_every_destination_gets_exactly_one_copy_of_every_packet(seed: int) -> None:
    instance = drawn(seed, (3, 4, 1), nodes=10)
    for policy in (dcnc(0.3), gdcnc(0.3), egdcnc(0.3, 1.0), gdcnc_r(instance, many=3, local_splits=True)):
        run = simulate(instance, policy, Setting(1500, 0, 4000, seed, follow=True))
        assert not run.left.any()
        sizes = np.array([len(cast.destinations) for cast in instance.casts])
        assert (run.delay >= 0).sum() == run.arrivals.sum(axis=0) @ sizes
        assert len(run.born) == run.arrivals.sum()
        waited = run.owed.sum() + run.drained.owed.sum()  # Little's law is exact over a run that begins and ends empty
        assert run.delay[run.delay >= 0].sum() == waited


def test_backlog_grows_linearly_in_v() -> None:
    steps = [10.0, 20.0, 30.0, 40.0]
    backlog = [simulate(star(0.4), gdcnc(V), Setting(9000, 5000)).backlog[5000:].mean() for V in steps]
    rise = np.diff(backlog)
    assert (rise > 5).all()
    assert rise == pytest.approx(rise.mean(), rel=0.15)


def test_64_destinations_that_relay() -> None:
    """A ladder of 65 nodes: packets pass destinations all the way, and few of the 2^64 statuses ever occur."""
    instance = ladder(65, 0.5)
    policy = gdcnc_r(instance, 0.0, 2.0)
    run = simulate(instance, policy, Setting(60, 0, 1000, follow=True))
    assert not run.left.any()
    assert (run.delay >= 1).all()
    engine = policy.start(instance, Setting(40))
    assert engine.choices == 4 * 64 - 3
    engine.advance(np.ones((40, 1)), np.tile(np.arange(len(instance.links)), (40, 1)))
    assert engine.choices > 4 * 64 - 3


def test_capacities_that_change() -> None:
    instance, setting = drawn(8), Setting(50, 10, 50, follow=True)
    seen: list[int] = []

    def steady(slot: int, weights: FloatArray) -> tuple[FloatArray, float]:
        seen.append(slot)
        assert (weights >= 0).all()
        return instance.layered.capacity, 0.0

    for policy in (gdcnc(0.3), gdcnc_r(instance, 0.3, 0.5)):
        assert same(simulate(instance, policy, setting), simulate(instance, policy, setting, steady))
    assert seen[:50] == list(range(50))
    none = simulate(instance, gdcnc(), replace(setting, drain=0), lambda *_: (0 * instance.layered.capacity, 2.0))
    assert none.owed[-1] @ [1, 1] == none.arrivals.sum(axis=0) @ [2, 3]
    assert none.scheduled_cost == 2.0


def test_any_of_a_group_and_a_chain() -> None:
    """0 -> 1 -> {2 or 3}: both links carry; packets must be halved at 1, so the first link is what limits."""
    cast = Cast("k", "0", (("2", "3"),), 1.9, (Function(0.5, 1.0),))
    both = Instance("any", tuple("0123"), (*links("01", capacity=2.0), *links("12", "13", capacity=0.5)), (cast,),
                    (Processor("1", 2.0),))  # fmt: skip
    run = simulate(both, gdcnc(), Setting(3000, 1500, 500, arrivals="constant"))
    assert abs(run.slope) < 0.01
    assert not run.left.any()
    over = simulate(replace(both, processors=(Processor("1", 1.5),)), gdcnc(), Setting(3000, 1500, arrivals="constant"))
    assert over.slope == pytest.approx(0.4, rel=0.05)


def test_seeds_orders_and_intervals() -> None:
    instance = drawn(9)
    base = Setting(400, 50, seed=1)
    runs = [simulate(instance, gdcnc(), replace(base, seed=seed)) for seed in (1, 1, 2)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])
    fixed = simulate(instance, gdcnc(), replace(base, order="fixed"))
    assert (fixed.arrivals == runs[0].arrivals).all()
    assert not same(fixed, runs[0])
    found = estimate(lambda run: run.mean_delay, runs[1:])
    assert found.half > 0
    assert estimate(lambda run: run.mean_delay, runs[:1]).half == float("inf")


def test_what_cannot_be_run_is_refused() -> None:
    many = tuple(f"n{i}" for i in range(14))
    fan = Instance(
        "fan", many, tuple(SlotLink("n0", name, 1.0) for name in many[1:]), (broadcast("k", "n0", many, 1.0),)
    )
    for policy, said in (
        (gdcnc(-1.0), "V -1.0"),
        (egdcnc(0.0, float("nan")), "eta nan"),
        (gdcnc(), "13 destinations, up to 12"),
        (Backpressure("x", "trees"), "no duplication tree of its 13"),
    ):
        with pytest.raises(InstanceError, match=said):
            simulate(fan, policy, Setting(10))
    with pytest.raises(InstanceError, match="warmup 10"):
        Setting(10, 10)


def test_a_packet_that_gets_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Queues.balance

    def lossy(self: Queues) -> Balance:
        found = honest(self)
        return found._replace(owed=np.maximum(found.owed - 1, 0))

    monkeypatch.setattr(Queues, "balance", lossy)
    with pytest.raises(Imbalance, match="cast k, destination 2"):
        simulate(star(0.9), gdcnc(), Setting(100))


def test_a_bias_cuts_the_delay_at_low_load_and_the_best_is_found() -> None:
    instance = drawn(11, (3, 2), chain=False, nodes=12)
    settings = [Setting(1500, 300, seed=seed) for seed in range(3)]
    found = best_eta([instance], lambda eta: egdcnc(0.0, eta), settings, (0.0, 1.0, 4.0))
    best = found.delays[found.eta]
    assert found.eta > 0
    assert best.mean + best.half < found.delays[0.0].mean - found.delays[0.0].half
    assert best.mean == min(delay.mean for delay in found.delays.values())


def test_choices_weighed_are_counted_and_most_are_skipped() -> None:
    """Every choice of a filled queue at most, and none of an empty one."""
    instance = drawn(3, (3, 2))
    engine = gdcnc().start(instance, Setting(10))
    nothing, order = np.zeros((1, 2)), np.arange(len(instance.resources))[None]
    engine.advance(nothing, order)
    assert engine.weighed == 0
    engine.fill(np.random.default_rng(1), 50)
    assert all(not q & int(instance.layered.here[v]) for v in range(21) for q in engine.queue(0, v))
    owed = engine.balance().owed
    tally = engine.advance(nothing, order)
    assert tally.owed[0] == pytest.approx((owed - engine.balance().delivered).sum(axis=1))
    stages = np.diff(instance.layered.first)
    most = sum(19 if cast == 0 else 5 for cast in instance.layered.cast.tolist())
    assert len(stages) < engine.weighed < most


@pytest.mark.parametrize(
    ("seed", "policy", "chain"),
    [(1, "gdcnc", True), (2, "gdcnc-r, split", True), (3, "dcnc", True), *((n, "gdcnc", False) for n in range(4, 9))],
)
def test_queues_settle_inside_the_policys_own_region_and_grow_outside(seed: int, policy: str, chain: bool) -> None:
    """4 % on either side of the linear program's rate; with chains backpressure takes longer to settle."""
    instance = drawn(seed, (3, 2), chain)
    ours: Backpressure = POLICIES[policy](instance)
    allowed = {
        "gdcnc": lambda k, cast: all_choices(len(cast.destinations)),
        "dcnc": lambda k, cast: unicast_choices(len(cast.destinations)),
        "gdcnc-r, split": lambda k, cast: tree_choices(ours.trees[k], relays_of(instance, k), True),
    }[policy]
    top = largest_scale(instance, [allowed(k, cast) for k, cast in enumerate(instance.casts)]).scale
    slopes = []
    for share in (0.96, 1.04):
        casts = tuple(replace(cast, rate=cast.rate * top * share) for cast in instance.casts)
        slots = 40_000 if chain else 10_000
        setting = Setting(slots, slots * 5 // 8, arrivals="constant")
        slopes.append(simulate(replace(instance, casts=casts), replace(ours, V=0.0), setting).slope)
    assert slopes[0] < 0.15 * slopes[1]
    assert slopes[1] > 0.05
