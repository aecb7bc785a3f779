"""Groups in results: routes read back, bounds of policies, and what a destination received."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.result.choices import parse_route
from experiments.result.groups import bound, received
from experiments.result.measure import Window
from pricing.policy import get_policy
from pricing.problem import problem_of
from pricing.values import Loads
from topologies.hosts.logs import SENT, SERVED
from topologies.plant import plan
from topologies.scenario import load

NETWORK = load("butterfly-group").network
UNIT = replace(NETWORK, sessions=tuple(replace(session, rate=1e6) for session in NETWORK.sessions))


@pytest.mark.parametrize(("policy", "most"), [("edspa", 1.0), ("dcnc", 1.0), ("gdcnc", 2.0), ("gdcnc-r", 2.0)])
def test_bounds_are_those_of_the_programs(policy: str, most: float) -> None:
    assert bound(UNIT, policy) == pytest.approx(most)


def test_every_route_reads_back() -> None:
    loads = Loads(np.zeros(len(NETWORK.links)), np.zeros(0), problem_of(NETWORK).rates)
    for policy in ("joint", "dcnc"):
        for route, _ in get_policy(policy).decide(NETWORK, loads, None).allocation:
            assert parse_route(NETWORK, "to-both", str(route)) == route


def test_lost_and_duplicated_packets_are_told_by_destination() -> None:
    numbers = plan(NETWORK)
    sent, served = np.zeros(4, SENT), {}
    sent["seq"], sent["sent"] = [1, 2, 3, 4], [100, 10**9, 2 * 10**9, 9 * 10**9]
    for node, seqs in (("LeftSink", [1, 2, 3, 4]), ("RightSink", [2, 2, 4, 1])):
        served[numbers.host_at(node)] = (np.zeros(len(seqs), SERVED), {})
        served[numbers.host_at(node)][0]["seq"] = seqs
        served[numbers.host_at(node)][0]["left"] = 3 * 10**9 + np.arange(len(seqs)) * 10**8
    account = SimpleNamespace(
        network=NETWORK,
        plant=numbers,
        window=Window(1.0, 5.0),
        log=SimpleNamespace(requests={"to-both": (sent, {})}, served=served),
    )
    ends = received(account)  # type: ignore[arg-type]
    told = [(end.destination, end.sent, end.received, end.lost, end.duplicated) for end in ends]
    assert told == [("LeftSink", 2, 2, 0, 0), ("RightSink", 2, 1, 1, 1)]
    assert ends[0].delay.value == pytest.approx(1.65)
