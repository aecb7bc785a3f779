"""Live multicast policies: trees from average flows carry what the region allows, and say what they lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pricing.duplication import faults
from pricing.errors import WardropError
from pricing.multicast.extract import extract
from pricing.multicast.relief import relieved
from pricing.multicast.virtual import HEADROOM
from pricing.network import FRAME_OVERHEAD_BITS, Link, Network, Node, Route, Server, Session, SizeLaw
from pricing.policy import get_policy
from pricing.problem import problem_of
from pricing.values import Decision, Loads

CABLES = ["SA", "SB", "AX", "BY", "AN", "BN", "NW", "WX", "WY"]
GROUP = Session("k", "S", "multicast", ("X", "Y"), 1e6, group="239.0.0.1")


def butterfly(*sessions: Session) -> Network:
    """The butterfly with cables of 1 Mbit/s each way."""
    links = tuple(Link(*ends, 1e6) for a, b in CABLES for ends in ((a, b), (b, a)))
    return Network("butterfly", tuple(Node(name) for name in "SABXYNW"), links, (), sessions)


def ticks(name: str, net: Network, count: int = 6) -> list[Decision]:
    """A policy's decisions at the nominal rates."""
    loads = Loads(np.zeros(len(net.links)), np.zeros(len(net.servers)), problem_of(net).rates)
    found: list[Decision] = []
    for _ in range(count):
        found.append(get_policy(name).decide(net, loads, found[-1].state if found else None))
    return found


@pytest.mark.parametrize(
    ("name", "rate", "lost"),
    [
        ("edspa", 0.93, 0.0),
        ("steiner", 0.93, 0.0),
        ("dcnc", 0.93, 0.02),
        ("ucnc", 1.86, 0.0),
        ("gdcnc", 1.86, 0.04),
        ("gdcnc-r", 1.86, 0.04),
        ("egdcnc", 1.86, 0.04),
        ("egdcnc-r", 1.86, 0.04),
    ],
)
def test_each_policy_carries_nearly_its_bound_beside_a_unicast_session(name: str, rate: float, lost: float) -> None:
    net = butterfly(replace(GROUP, rate=rate * 1e6), Session("u", "X", "unicast", ("A",), 2e5))
    decision = ticks(name, net)[-1]
    for session in net.sessions:
        split = decision.allocation.splits[session.name]
        assert sum(weight for _, weight in split) == pytest.approx(1)
        if session.kind == "multicast":
            assert not [said for route, _ in split for said in faults(session, route, session.destinations)]
    assert problem_of(net).loads(decision.allocation).max() <= 1.005e6
    assert all(0 <= share <= lost for share in decision.lost.values())


def test_the_same_past_gives_the_same_decision_and_is_left_as_it_was() -> None:
    net = butterfly(replace(GROUP, rate=1.5e6))
    first, second = ticks("egdcnc", net, 2)
    again = get_policy("egdcnc").decide(
        net, Loads(np.zeros(len(net.links)), np.zeros(0), problem_of(net).rates), first.state
    )
    assert again.allocation == second.allocation
    assert again.lost == second.lost


def test_copies_of_dcnc_are_made_at_the_source() -> None:
    (split,) = ticks("dcnc", butterfly(replace(GROUP, rate=5e5)))[-1].allocation.splits.values()
    assert all(len(status) == 1 for route, _ in split for status in route.statuses)


def test_a_network_without_a_link_is_begun_anew() -> None:
    whole = butterfly(replace(GROUP, rate=5e5))
    state = ticks("gdcnc", whole, 2)[-1].state
    rest = replace(whole, links=tuple(link for link in whole.links if set(link.key) != set("AX")), whole=False)
    loads = Loads(np.zeros(len(rest.links)), np.zeros(0), problem_of(rest).rates)
    decision = get_policy("gdcnc").decide(rest, loads, state)
    assert all(link in rest.link_index for route, _ in decision.allocation for link in route.links)


def asked(rate: float, answer: float = 0.0, near: float = 100.0) -> Network:
    """A service asked at S, where a server is; another one is behind two ways of 1 Mbit/s; a unicast session beside."""
    links = tuple(Link(*ends, 1e6) for a, b in ("SA", "AT", "SB", "BT") for ends in ((a, b), (b, a)))
    size = SizeLaw("fixed", 1000 / 8 - FRAME_OVERHEAD_BITS / 8)
    web = Session("web", "S", "anycast", ("here", "there"), rate, size=size, service="w", response_bits=answer)
    beside = Session("u", "A", "unicast", ("T",), 1e5, size=size)
    servers = (Server("here", "S", near), Server("there", "T", 1000.0))
    return Network("asked", tuple(Node(name) for name in "SABT"), links, servers, (web, beside))


@pytest.mark.parametrize("name", ["dcnc", "gdcnc", "gdcnc-r", "egdcnc", "egdcnc-r", "ucnc"])
def test_a_service_is_carried_by_the_queues_of_links_and_servers(name: str) -> None:
    net = asked(1e6)  # 1000 requests/s: a tenth is what the near server can do, and one way alone is too narrow
    decision = ticks(name, net)[-1]
    loads = problem_of(net).loads(decision.allocation)
    assert (loads <= 0.99 * problem_of(net).capacity).all()
    assert loads[-2] >= 0.8 * 100, "the near server costs nothing to reach, and is used"
    for route, _ in decision.allocation:
        assert not route.statuses, "a path, as every policy has it"
        assert bool(route.server) == (route.session == "web")
    assert {route.server for route, _ in decision.allocation.splits["web"]} == {"here", "there"}
    assert all(0 <= share <= 0.05 for share in decision.lost.values())


def test_answers_take_from_the_links_that_they_come_back_by() -> None:
    net = asked(8e5, answer=1500.0, near=1.0)  # 1.2 Mbit/s of answers: more than half of them must come back by B
    net = replace(net, sessions=(net.sessions[0], replace(net.sessions[1], source="T", destinations=("A",), rate=5e5)))
    loads = problem_of(net).loads(ticks("egdcnc", net, 12)[-1].allocation)
    assert (loads[: len(net.links)] <= 0.99e6).all()


def test_what_cost_weighs_is_part_of_a_policys_name() -> None:
    net = butterfly(replace(GROUP, rate=9e5))
    copies = {}
    for weight in ("0", "30"):
        loads = problem_of(net).loads(ticks(f"gdcnc({weight})", net)[-1].allocation)
        copies[weight] = loads.sum() / 9e5
    assert copies["30"] < copies["0"], "what weighs more is less"
    assert ticks("gdcnc(1)", net)[-1].allocation == ticks("gdcnc", net)[-1].allocation
    for name in ("gdcnc(-1)", "gdcnc(x)", "gdcnc("):
        with pytest.raises(WardropError, match="a finite number from 0"):
            get_policy(name)
    with pytest.raises(WardropError, match="unknown policy"):
        get_policy("joint(1)")


def test_trees_are_peeled_off_flows_without_circles_and_what_leads_nowhere_is_lost() -> None:
    moves = {
        (("S", "A"), 3, 3): 0.9,
        (("A", "B"), 3, 3): 0.5,  # there and back: a circle, which carries nothing
        (("B", "A"), 3, 3): 0.5,
        (("A", "X"), 3, 1): 0.8,
        (("A", "Y"), 2, 2): 0.7,
        (("A", "N"), 2, 2): 0.1,  # leads nowhere
    }
    found = extract(GROUP, moves, (3,), 1.0)
    ((route, weight),) = found.trees.items()
    assert str(route) == "S>A{X,Y} A>X{X} A>Y{Y}"
    assert weight == 1
    assert found.lost == pytest.approx(0.3)
    assert extract(GROUP, {}, (3,), 1.0).trees == {}


def test_ways_of_separate_copies_are_joined_by_their_quantiles() -> None:
    moves = {
        (("S", "A"), 1, 1): 0.25,
        (("A", "X"), 1, 1): 0.25,
        (("S", "X"), 1, 1): 0.75,
        (("S", "Y"), 2, 2): 0.5,
        (("S", "B"), 2, 2): 0.5,
        (("B", "Y"), 2, 2): 0.5,
    }
    found = extract(GROUP, moves, (1, 2), 1.0)
    carried: dict[tuple[str, str], float] = {}
    for route, weight in found.trees.items():
        assert not list(faults(GROUP, route, GROUP.destinations))
        for link in route.links:
            carried[link] = carried.get(link, 0.0) + weight
    assert carried == pytest.approx({link: amount for (link, _, _), amount in moves.items()})
    assert found.lost == pytest.approx(0)


def test_a_priced_tree_leaves_a_loaded_link_and_then_stays() -> None:
    net = butterfly(replace(GROUP, rate=3e5), Session("u", "A", "unicast", ("X",), 7e5))
    decisions = ticks("steiner", net, 4)
    trees: list[Route] = [decision.allocation.splits["k"][0][0] for decision in decisions]
    assert len(set(trees)) == 1
    load = problem_of(net).loads(decisions[-1].allocation)
    assert load[net.link_index["A", "X"]] in (pytest.approx(3e5), pytest.approx(7e5)), "they do not share it"


def test_what_overloads_no_link_is_left_as_it_is_and_what_does_is_moved_no_more_than_needed() -> None:
    net = butterfly(replace(GROUP, rate=1.86e6))
    last = ticks("gdcnc", net)[-1].allocation.splits["k"]
    shares, rates = dict(last), problem_of(net).rates
    assert relieved(net, shares, rates / 2) == shares
    first, *rest = sorted(shares, key=lambda route: -shares[route])
    skewed = {first: shares[first] + 0.1} | {route: shares[route] * (1 - 0.1 / (1 - shares[first])) for route in rest}
    assert problem_of(net).loads_of(skewed).max() > HEADROOM * 1e6
    moved = relieved(net, skewed, rates)
    assert sum(moved.values()) == pytest.approx(1)
    assert problem_of(net).loads_of(moved).max() <= HEADROOM * 1e6 * (1 + 1e-5)
    assert sum(max(share - skewed[route], 0) for route, share in moved.items()) <= 0.15
    short = replace(net, links=tuple(replace(link, queue=100) for link in net.links))
    assert problem_of(net).loads_of(relieved(short, skewed, rates)).max() == pytest.approx(0.001**0.01 * 1e6, rel=1e-4)


def test_beyond_what_the_trees_carry_the_fullest_link_is_as_little_over_as_can_be() -> None:
    net = butterfly(replace(GROUP, rate=3e6))
    shares = dict(ticks("gdcnc", butterfly(replace(GROUP, rate=1.86e6)))[-1].allocation.splits["k"])
    full = problem_of(net).loads_of(relieved(net, shares, problem_of(net).rates)).max()
    assert 1.5e6 <= full * (1 + 1e-9) <= problem_of(net).loads_of(shares).max() * (1 + 1e-9)
