"""The packet simulation against one queue packet by packet, against theory, and against a second, naive simulation."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pricing.errors import TopologyError
from pricing.network import Link, Network, Node, Server
from pricing.simulate.packets import (
    SERVER,
    SOJOURN_LINK,
    WAIT_LINK,
    Packets,
    Passage,
    Resources,
    Routes,
    lindley,
    simulate,
)


def resources(kinds, capacity=1.0, queue=10**9, propagation=0.0):
    def each(value, dtype):
        return np.array(np.broadcast_to(value, len(kinds)), dtype=dtype)

    return Resources(np.array(kinds), each(capacity, float), each(queue, int), each(propagation, float))


def hop_waits(passage: Passage, resource: int):
    return passage.wait[passage.resource == resource]


def holds(samples, theory, level=0.99):
    """Whether the Student interval of independent runs covers the theory, and is narrow enough to say something."""
    half = stats.t.ppf(0.5 + level / 2, len(samples) - 1) * np.std(samples, ddof=1) / np.sqrt(len(samples))
    assert half < 0.06 * theory
    return abs(np.mean(samples) - theory) <= half


# One queue


@pytest.mark.parametrize("kind", [WAIT_LINK, SOJOURN_LINK, SERVER])
def test_one_queue_agrees_with_lindley_packet_by_packet(kind):
    rng = np.random.default_rng(1)
    arrivals, services = np.cumsum(rng.exponential(1.0, 50_000)), rng.exponential(0.9, 50_000)
    passage = simulate(Packets.of(arrivals, services * 8, work=services), Routes.of([[0]]), resources([kind], 8.0))
    expected = lindley(arrivals, services)
    assert np.array_equal(passage.wait, expected)
    stays = expected if kind == WAIT_LINK else expected + services
    assert np.allclose(passage.ended - arrivals, stays, rtol=0, atol=1e-9)
    if kind == SERVER:
        assert np.array_equal(passage.server_wait, expected)
        assert np.array_equal(passage.reached, arrivals)


@pytest.mark.parametrize(("scv", "rho"), [(1.0, 0.8), (0.0, 0.8), (0.5, 0.6)])
def test_one_queue_obeys_pollaczek_khinchine(scv, rho):
    means = []
    for seed in np.random.SeedSequence(7).spawn(20):
        rng = np.random.default_rng(seed)
        n = 60_000
        sizes = rng.gamma(1 / scv, scv, n) if scv else np.ones(n)
        passage = simulate(
            Packets.of(np.cumsum(rng.exponential(1 / rho, n)), sizes), Routes.of([[0]]), resources([WAIT_LINK])
        )
        means.append(passage.wait[5000:].mean())
    assert holds(means, rho * (1 + scv) / (2 * (1 - rho)))


# Networks of queues: what holds, and what does not, when packets keep their sizes


def second_waits(inputs, rho, ratio, kind, redraw):
    """Mean wait, in service times of an input, behind `inputs` links of load `rho` at a link `ratio` times as fast."""
    means = []
    for seed in np.random.SeedSequence(11).spawn(12):
        rng = np.random.default_rng(seed)
        n = 100_000
        arrivals, sizes = np.cumsum(rng.exponential(1 / (rho * inputs), n)), rng.exponential(1.0, n)
        again = np.column_stack([sizes, rng.exponential(1.0, n)]).ravel() if redraw else None
        passage = simulate(
            Packets.of(arrivals, sizes, rng.integers(0, inputs, n)),
            Routes.of([[k, inputs] for k in range(inputs)]),
            resources([kind] * (inputs + 1), [1.0] * inputs + [ratio]),
            again,
        )
        means.append(hop_waits(passage, inputs)[5000:].mean())
    return means


def test_tandem_of_equal_htb_links_waits_once():
    assert second_waits(1, 0.8, 1.0, WAIT_LINK, redraw=False) == [0.0] * 12


def test_jackson_network_of_redrawn_store_and_forward_links():
    assert holds(second_waits(1, 0.7, 1.0, SOJOURN_LINK, redraw=True), 0.7 / 0.3)
    assert holds(second_waits(2, 0.6, 2.0, SOJOURN_LINK, redraw=True), 0.6 / 0.4 / 2)


@pytest.mark.parametrize(
    ("inputs", "rho", "ratio", "kind", "redraw", "expected"),
    [
        (1, 0.80, 1.0, SOJOURN_LINK, False, 2.54),
        (2, 0.80, 2.0, WAIT_LINK, False, 0.32),
        (2, 0.80, 2.0, SOJOURN_LINK, False, 1.24),
        (2, 0.80, 2.0, WAIT_LINK, True, 1.94),
        (5, 0.16, 1.0, WAIT_LINK, False, 3.81),
    ],
)
def test_waits_behind_a_first_link(inputs, rho, ratio, kind, redraw, expected):
    assert np.mean(second_waits(inputs, rho, ratio, kind, redraw)) == pytest.approx(expected, rel=0.06)


def test_chain_of_htb_links_waits_as_its_slowest():
    rng = np.random.default_rng(3)
    arrivals, sizes = np.cumsum(rng.exponential(1.0, 20_000)), rng.exponential(0.8, 20_000)
    passage = simulate(Packets.of(arrivals, sizes), Routes.of([[0, 1, 2]]), resources([WAIT_LINK] * 3, [1.5, 1.0, 1.2]))
    total = np.add.reduceat(passage.wait, passage.first[:-1])
    assert np.allclose(total, lindley(arrivals, sizes), rtol=0, atol=1e-8)


# Servers and answers


def test_request_and_answer_by_hand():
    # Link 0 there (10 bit/s), server 1, link 2 back (5 bit/s, store and forward); links are 0.5 s long.
    places = resources([WAIT_LINK, SERVER, SOJOURN_LINK], [10.0, 1.0, 5.0], propagation=[0.5, 0.0, 0.5])
    packets = Packets.of([0.0, 1.0], [20.0, 10.0], work=[3.0, 1.0], response=5.0)
    passage = simulate(packets, Routes.of([[0, 1, 2]]), places)
    assert passage.wait.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    assert passage.at.tolist() == [0.0, 0.5, 3.5, 1.0, 2.5, 4.5]
    assert passage.reached.tolist() == [0.5, 2.5]
    assert passage.server_wait.tolist() == [0.0, 1.0]
    assert passage.ended.tolist() == [3.5, 4.5]
    assert passage.returned.tolist() == [5.0, 6.0]
    assert passage.balance() == (2, 2, 0, 2, 2, 0)


def test_answers_load_the_way_back_and_meet_others_there():
    places = resources([SERVER, SOJOURN_LINK])
    packets = Packets.of([0.0, 0.5], [4.0, 4.0], route=[0, 1], work=1.0, response=2.0)
    passage = simulate(packets, Routes.of([[0, 1], [1]]), places)
    # The answer leaves the server at 1 and finds the link busy with the other packet until 4.5.
    assert passage.wait.tolist() == [0.0, 3.5, 0.0]
    assert passage.returned[0] == 6.5
    assert np.isnan(passage.returned[1])


# Limits


def test_full_queue_drops_and_the_balance_holds():
    packets = Packets.of([0.0, 0.0, 0.0, 0.0, 2.5], 1.0)
    passage = simulate(packets, Routes.of([[0]]), resources([WAIT_LINK], queue=2))
    # One in service, two wait, the fourth is dropped; at 2.5 nobody waits any more.
    assert passage.dropped_at.tolist() == [-1, -1, -1, 0, -1]
    assert np.isnan(passage.wait[3])
    assert np.isnan(passage.ended[3])
    assert passage.balance() == (5, 4, 1, 0, 0, 0)


@pytest.mark.parametrize("rho", [0.9, 1.5])
def test_drops_of_a_short_queue_as_the_finite_queue_formula_says(rho):
    losses = []
    for seed in np.random.SeedSequence(5).spawn(10):
        rng = np.random.default_rng(seed)
        n = 50_000
        packets = Packets.of(np.cumsum(rng.exponential(1 / rho, n)), rng.exponential(1.0, n))
        passage = simulate(packets, Routes.of([[0]]), resources([SOJOURN_LINK], queue=4))
        assert passage.balance().unaccounted == 0
        losses.append(passage.balance().dropped / n)
    places = 5  # four waiting and one in service: M/M/1/5
    assert holds(losses, (1 - rho) * rho**places / (1 - rho ** (places + 1)))


def test_ties_go_by_packet_index_and_repeat():
    rng = np.random.default_rng(9)
    arrivals = rng.integers(0, 300, 1000).astype(float)
    packets = Packets.of(arrivals, rng.integers(1, 3, 1000), rng.integers(0, 3, 1000), work=1.0, response=1.0)
    args = (Routes.of([[0, 1], [1, 2, 0], [2, 1]]), resources([WAIT_LINK, SOJOURN_LINK, SERVER]))
    once, again = simulate(packets, *args), simulate(packets, *args)
    assert all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(vars(once).values(), vars(again).values(), strict=True)
    )
    first = simulate(Packets.of([1.0, 1.0, 1.0], [3.0, 2.0, 1.0]), Routes.of([[0]]), resources([SOJOURN_LINK]))
    assert first.wait.tolist() == [0.0, 3.0, 5.0]


# A second simulation, slow and plain


def naive(packets: Packets, routes, places: Resources):
    """Waits of each packet at its hops, and where it was dropped; a list of starts a resource, nothing clever."""
    starts = [[] for _ in places.kind]
    free = [-np.inf] * len(places.kind)
    served = set()
    waits = [[] for _ in packets.arrival]
    dropped = [-1] * len(packets.arrival)
    events = [(time, p, 0) for p, time in enumerate(packets.arrival.tolist())]
    heapq.heapify(events)
    while events:
        time, p, hop = heapq.heappop(events)
        route = routes[packets.route[p]]
        if hop == len(route):
            continue
        r = route[hop]
        if sum(start > time for start in starts[r]) >= places.queue[r]:
            dropped[p] = r
            continue
        start = max(free[r], time)
        starts[r].append(start)
        waits[p].append(start - time)
        if places.kind[r] == SERVER:
            served.add(p)
            free[r] = start + packets.work[p]
        else:
            free[r] = start + (packets.response[p] if p in served else packets.size[p]) / places.capacity[r]
        leaves = start if places.kind[r] == WAIT_LINK else free[r]
        heapq.heappush(events, (leaves + places.propagation[r], p, hop + 1))
    return waits, dropped


@st.composite
def worlds(draw):
    """Small networks with small whole numbers, so that ties are common."""
    links = draw(st.integers(1, 4))
    servers = draw(st.integers(0, 2))
    kinds = draw(st.lists(st.sampled_from([WAIT_LINK, SOJOURN_LINK]), min_size=links, max_size=links))
    count = links + servers
    places = Resources(
        np.array(kinds + [SERVER] * servers),
        np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=count, max_size=count))),
        np.array(draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))),
        np.array(draw(st.lists(st.sampled_from([0.0, 0.0, 1.0]), min_size=count, max_size=count))),
    )
    some = st.lists(st.integers(0, links - 1), max_size=3)
    end = st.integers(links, count - 1).map(lambda j: [j]) if servers else st.just([])
    routes = draw(
        st.lists(
            st.tuples(some, end | st.just([]), some).map(lambda way: [*way[0], *way[1], *way[2]]),
            min_size=1,
            max_size=4,
        )
    )
    n = draw(st.integers(0, 40))
    whole = st.lists(st.integers(0, 12), min_size=n, max_size=n)
    packets = Packets.of(
        np.array(draw(whole), dtype=float),
        draw(whole),
        draw(st.lists(st.integers(0, len(routes) - 1), min_size=n, max_size=n)),
        draw(whole),
        draw(whole),
    )
    return packets, routes, places


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_same_as_the_naive_simulation(world):
    packets, routes, places = world
    passage = simulate(packets, Routes.of(routes), places)
    waits, dropped = naive(packets, routes, places)
    assert passage.dropped_at.tolist() == dropped
    for p, expected in enumerate(waits):
        hops = passage.wait[passage.first[p] : passage.first[p + 1]]
        assert hops[: len(expected)].tolist() == expected
        assert np.isnan(hops[len(expected) :]).all()
    assert passage.balance().unaccounted == 0


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_first_in_first_out_at_every_resource(world):
    packets, routes, places = world
    passage = simulate(packets, Routes.of(routes), places)
    who = np.repeat(np.arange(len(packets.arrival)), np.diff(passage.first))
    for r in range(len(places.kind)):
        here = (passage.resource == r) & np.isfinite(passage.wait)
        order = np.lexsort((who[here], passage.at[here]))
        starts = (passage.at + passage.wait)[here][order]
        assert (np.diff(starts) >= 0).all()


# The door


def test_resources_of_a_network():
    network = Network(
        "two",
        (Node("a"), Node("b")),
        (Link("a", "b", 1e6, 0.25, "sojourn", 7), Link("b", "a", 2e6)),
        (Server("s", "b", 5.0, queue=9),),
        (),
    )
    places = Resources.of(network)
    assert places.kind.tolist() == [SOJOURN_LINK, WAIT_LINK, SERVER]
    assert places.capacity.tolist() == [1e6, 2e6, 5.0]
    assert places.queue.tolist() == [7, 1000, 8]
    assert places.propagation.tolist() == [0.25, 0.0, 0.0]
    assert Resources.of(network, propagation=False).propagation.tolist() == [0.0, 0.0, 0.0]


def test_bad_values_are_refused_with_reasons():
    one = Packets.of([0.0], 1.0)
    with pytest.raises(TopologyError, match="outside the 1 resources"):
        simulate(one, Routes.of([[1]]), resources([WAIT_LINK]))
    with pytest.raises(TopologyError, match="route 0: two servers"):
        simulate(one, Routes.of([[0, 1]]), resources([SERVER, SERVER]))
    with pytest.raises(TopologyError, match="outside the 1 routes"):
        simulate(Packets.of([0.0], 1.0, 1), Routes.of([[0]]), resources([WAIT_LINK]))
    with pytest.raises(TopologyError, match="1 and more are accepted"):
        simulate(one, Routes.of([[0]]), resources([WAIT_LINK], queue=0))
    with pytest.raises(TopologyError, match="capacity that is not positive"):
        simulate(one, Routes.of([[0]]), resources([WAIT_LINK], capacity=np.nan))
    with pytest.raises(TopologyError, match="work is not a finite number"):
        simulate(Packets.of([0.0], 1.0, work=np.nan), Routes.of([[0]]), resources([WAIT_LINK]))
    with pytest.raises(TopologyError, match="one size for each of the 1 hops"):
        simulate(one, Routes.of([[0]]), resources([WAIT_LINK]), np.ones(2))
