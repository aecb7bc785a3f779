"""Groups in results: routes read back, bounds of policies, and what a destination received."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.result import schema
from experiments.result.assemble import Account
from experiments.result.choices import parse_route
from experiments.result.groups import bound, received, report
from experiments.result.measure import Window
from pricing.policy import get_policy
from pricing.problem import evaluate, problem_of
from pricing.values import Loads
from topologies.hosts.logs import SENT, SERVED
from topologies.plant import plan
from topologies.scenario import load

NETWORK = load("butterfly-group").network


def mean_of(spread: dict[str, list[float]]) -> float:
    """Mean of the law of a `delay_histogram`, by trapezes over its shares."""
    return float(np.trapezoid(spread["law_s"], spread["probability"]))


UNIT = replace(NETWORK, sessions=tuple(replace(session, rate=1e6) for session in NETWORK.sessions))


@pytest.mark.parametrize(("policy", "most"), [("edspa", 1.0), ("dcnc", 1.0), ("gdcnc", 2.0), ("gdcnc-r", 2.0)])
def test_bounds_are_those_of_the_programs(policy: str, most: float) -> None:
    assert bound(UNIT, policy) == pytest.approx(most)


def test_the_header_of_the_edge_networks_group_says_its_bounds() -> None:
    network = load("mec-group").network
    for policy, most in (("edspa", 0.4e6), ("dcnc", 0.6e6), ("gdcnc", 1.2e6)):
        assert bound(network, policy) * network.sessions[0].rate == pytest.approx(most)


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


def test_what_was_measured_fits_the_schema_and_stands_beside_what_was_decided() -> None:
    numbers, seconds = plan(NETWORK), 4.0
    rng, count = np.random.default_rng(1), 400
    sent, served = np.zeros(count, SENT), {}
    sent["seq"], sent["size"] = np.arange(count), 500
    sent["sent"] = np.sort(rng.integers(0, int(seconds * 1e9), count))
    for node in NETWORK.sessions[0].destinations:
        rows = np.zeros(count, SERVED)
        rows["seq"], rows["sent"], rows["left"] = sent["seq"], sent["sent"], sent["sent"] + 4_000_000
        served[numbers.host_at(node)] = (rows, {})
    offered = count * (500 + 42) * 8 / seconds
    allocation = (
        get_policy("edspa")
        .decide(NETWORK, Loads(np.zeros(len(NETWORK.links)), np.zeros(0), np.ones(1)), None)
        .allocation
    )
    loads = problem_of(NETWORK).loads(allocation, np.array([offered]))
    links = [{"price": 0.004} for _ in NETWORK.links]
    split = {"to-both": [[str(route), weight] for route, weight in allocation]}
    record = {"time": 1.0, "decided": split, "links": links, "servers": [], "lost_in_extraction": {}, "error": None}
    record["gap"] = None
    log = SimpleNamespace(
        policy="edspa",
        setting="edspa",
        measure=seconds,
        window=(0.0, seconds),
        records=[record],
        history=[record | {"tick": 1}],
        seconds=[],
        agents=[],
        requests={"to-both": (sent, {"late": []})},
        served=served,
        answers={},
        background=[],
        queues=SimpleNamespace(loads=lambda edges: np.tile(loads, (len(edges) - 1, 1))),
    )
    account = Account(NETWORK, numbers, log)  # type: ignore[arg-type]
    machine = {"framework": "os-ken", "versions": {}}
    made = report([account], "butterfly-group", 1, "bin/wardrop validate butterfly-group", machine)
    made["machine"] |= {"steal": 0.0, "late_p99_s": 0.0}
    schema.check(made)
    (found,) = made["groups"]
    assert [end["lost"] for end in found["destinations"]] == [0, 0]
    assert found["destinations"][0]["delay_s"]["value"] == pytest.approx(0.004)
    spread = found["destinations"][0]["delay_histogram"]
    assert set(spread["measured_s"]) == {0.004}
    model = evaluate(NETWORK, allocation, np.array([offered])).sessions["to-both"].total
    assert spread["law"] == "links M/G/1"
    assert found["ticks"]["splits"] == {"to-both": {route: [weight] for route, weight in split["to-both"]}}
    assert np.mean([mean_of(end["delay_histogram"]) for end in found["destinations"]]) == pytest.approx(model, rel=0.02)
    assert found["copies"]["measured"]["value"] == pytest.approx(found["copies"]["decided"])
    assert {verdict["verdict"] for verdict in found["verdicts"]} == {"met"}
    assert [tree["route"] for tree in found["trees"]] == [str(route) for route, _ in allocation]
