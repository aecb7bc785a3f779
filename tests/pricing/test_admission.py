"""Demand beyond capacity: what is served fits, nobody is cut who need not be, and classes go first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.admission import LIMIT, admitted
from pricing.joint.feasible import least_top_utilization
from pricing.network import Link, Network, Node, Server, Session
from pricing.problem import problem_of

UNIT = Session("", "a", "anycast", ("east",), 1.0).frame_bits


def star(rates: dict[str, float], capacity: float, **classes: int) -> Network:
    """Sources with wide links to one node with a server; rates and capacity in requests/s."""
    nodes = (Node("hub"), *(Node(name) for name in rates))
    links = tuple(link for name in rates for link in (Link(name, "hub", 1e9), Link("hub", name, 1e9)))
    sessions = tuple(
        Session(f"from-{name}", name, "anycast", ("east",), rate * UNIT, klass=classes.get(name, 1))
        for name, rate in rates.items()
    )
    return Network("star", nodes, links, (Server("east", "hub", capacity),), sessions)


def offered(network: Network) -> np.ndarray:
    return np.array([session.rate for session in network.sessions])


def test_a_bottleneck_cuts_everybody_by_the_same_part() -> None:
    network = star({"a": 30.0, "b": 10.0}, 20.0)
    assert admitted(network, offered(network)) == pytest.approx([LIMIT * 20 / 40] * 2)


def test_what_fits_is_not_cut() -> None:
    network = star({"a": 5.0, "b": 10.0}, 20.0)
    assert admitted(network, offered(network)).tolist() == [1.0, 1.0]
    assert admitted(network, np.zeros(2)).tolist() == [1.0, 1.0]


def test_who_does_not_meet_the_bottleneck_is_not_cut() -> None:
    network = star({"a": 30.0, "b": 10.0}, 100.0)
    narrow = tuple(replace(link, capacity=10 * UNIT) if link.src == "a" else link for link in network.links)
    network = replace(network, links=narrow)
    assert admitted(network, offered(network)) == pytest.approx([LIMIT / 3, 1.0])


def test_the_first_class_is_served_first() -> None:
    network = star({"a": 15.0, "b": 10.0, "c": 10.0}, 20.0, b=2, c=2)
    rest = LIMIT * 20 - 15
    assert admitted(network, offered(network)) == pytest.approx([1.0, rest / 20, rest / 20])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.0, 30.0), min_size=2, max_size=4), st.lists(st.floats(5.0, 40.0), min_size=2, max_size=2))
def test_what_is_served_fits_and_cannot_be_more(rates: list[float], capacities: list[float]) -> None:
    base = star(dict(zip("abcd", rates, strict=False)), capacities[0])
    servers = (*base.servers, Server("west", "a", capacities[1]))
    sessions = tuple(replace(s, destinations=("east", "west")) for s in base.sessions)
    network = replace(base, servers=servers, sessions=sessions)
    part = admitted(network, offered(network))
    served = part * offered(network)
    if served.any():
        top = problem_of(network).loads(least_top_utilization(network, served), served) / problem_of(network).capacity
        assert top.max() <= LIMIT + 1e-6
        if (part < 1 - 1e-6).any():
            assert top.max() == pytest.approx(LIMIT, abs=1e-6)
    assert ((part >= 0) & (part <= 1)).all()
