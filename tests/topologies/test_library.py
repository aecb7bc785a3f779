"""The scenarios that ship are what their headers say."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pricing.joint.certificate import certify
from pricing.network import Network
from pricing.policy import POLICIES, Solution, solve
from pricing.shortest import shortest_path
from topologies.importers.sources import read
from topologies.importers.survey import Survey
from topologies.market import load as load_market
from topologies.plant import plan
from topologies.scenario import LIBRARY, load, names


def without_propagation(network: Network) -> Network:
    return replace(network, links=tuple(replace(link, propagation=0.0) for link in network.links))


def utilization(network: Network, solution: Solution) -> dict[str, float]:
    loads = solution.evaluation.loads
    shares = {str(link): float(x) / link.capacity for link, x in zip(network.links, loads.links, strict=True)}
    return shares | {s.name: float(x) / s.capacity for s, x in zip(network.servers, loads.servers, strict=True)}


@pytest.mark.parametrize("name", names())
def test_every_scenario_is_named_as_its_file_and_says_where_it_is_from(name: str) -> None:
    scenario = load(name)
    family = name.partition("(")[0] if "(" in name else ""
    assert scenario.name == scenario.network.name == re.sub(r"\((\d+)\)", r"-\1", name)
    assert len(scenario.provenance) > 100
    assert scenario.path == LIBRARY / (f"{family}.yaml.j2" if family else f"{name}.yaml")
    assert load(scenario.name) == scenario


@pytest.mark.parametrize("name", names())
def test_every_scenario_can_be_solved_and_two_cores_carry_it(name: str) -> None:
    network = load(name).network
    best = solve(network, POLICIES["joint"])
    assert best.evaluation.feasible
    assert best.certificate.gap < 1e-5
    assert 100 <= sum(session.packet_rate for session in network.sessions) <= 1300
    hosts = plan(network).hosts
    assert {host.node for host in hosts.values()} >= {session.source for session in network.sessions}
    assert {server.name for server in network.servers} <= hosts.keys()


@pytest.fixture(scope="module")
def abilene() -> Network:
    return without_propagation(load("abilene").network)


def test_abilene_is_abilene(abilene: Network) -> None:
    real = load("abilene").network
    assert (len(real.nodes), len(real.links), len(real.servers), len(real.sessions)) == (11, 28, 3, 8)
    assert {s.source for s in real.sessions} | {s.node for s in real.servers} == {node.name for node in real.nodes}
    assert sum(link.propagation for link in real.links) / 2 * 199_861.6 == pytest.approx(14 * 1006.17, rel=1e-4)
    assert sum(session.packet_rate for session in real.sessions) == pytest.approx(1200, rel=0.01)
    work = sum(session.packet_rate * session.work for session in real.sessions)
    assert work / sum(server.capacity for server in real.servers) == pytest.approx(0.75, abs=0.002)


def test_shortest_paths_of_abilene_are_the_same_with_and_without_propagation(abilene: Network) -> None:
    assert shortest_path(abilene) == shortest_path(load("abilene").network)


def test_shortest_paths_load_abilene_but_leave_it_stable(abilene: Network) -> None:
    solution = solve(abilene, POLICIES["shortest-path"])
    shares = utilization(abilene, solution)
    assert 0.88 <= max(shares.values()) <= 0.93
    assert sum(share > 0.88 for share in shares.values()) >= 2
    assert (round(shares["east"], 3), round(shares["central"], 3), round(shares["west"], 3)) == (0.925, 0.920, 0.371)
    assert solution.evaluation.mean_delay * 1e3 == pytest.approx(22.9, abs=0.05)


def test_the_optimum_of_abilene_is_worth_the_trouble(abilene: Network) -> None:
    nearest, best = (solve(abilene, POLICIES[name]) for name in ("shortest-path", "joint"))
    assert certify(abilene, best.allocation).gap < 1e-6
    assert best.evaluation.mean_delay / nearest.evaluation.mean_delay == pytest.approx(0.41, abs=0.01)
    assert best.evaluation.mean_delay * 1e3 == pytest.approx(9.33, abs=0.05)
    shares = utilization(abilene, best)
    links = [share for name, share in shares.items() if "->" in name]
    assert sum(share > 0.5 for share in links) >= 3
    assert sum(share > 0.1 for share in links) == 13
    used = [{route.server for route, weight in split if weight > 0.005} for split in best.allocation.splits.values()]
    assert sum(len(servers) > 1 for servers in used) == 6


def test_waits_at_links_are_seen_beside_those_at_servers(abilene: Network) -> None:
    best = solve(abilene, POLICIES["joint"]).evaluation
    on_the_way = sum(s.packet_rate * best.sessions[s.name].network for s in abilene.sessions)
    at_servers = sum(s.packet_rate * best.sessions[s.name].server for s in abilene.sessions)
    assert 0.1 < on_the_way / at_servers < 0.5


def test_joint_5x3_keeps_the_papers_proportions() -> None:
    network = load("joint-5x3").network
    rates = np.array([session.rate for session in network.sessions])
    np.testing.assert_allclose(rates / rates[0], np.array([0.15625, 0.09765625, 30.05859375, 30.009765625, 0.107421875])
                               / 0.15625, rtol=1e-4)  # fmt: skip
    packets = [session.packet_rate for session in network.sessions]
    assert min(packets) == pytest.approx(2.0, rel=1e-4)
    assert sum(packets) == pytest.approx(1237.6, rel=1e-4)
    megabyte = rates.sum() / 60.4296875
    capacity = network.links[network.link_index["P2", "N3"]].capacity
    assert capacity / megabyte == pytest.approx(46.08484485919075, rel=1e-4)
    servers = np.array([server.capacity for server in network.servers]) / 20.48
    np.testing.assert_allclose(servers, [160.75448519, 106.50515930, 196.56320331], rtol=1e-5)


def test_joint_5x3_has_the_papers_optimum_but_for_the_law() -> None:
    network = load("joint-5x3").network
    best = solve(network, POLICIES["joint"])
    shares = utilization(network, best)
    assert [shares[name] for name in ("S1", "S2", "S3")] == pytest.approx([0.161, 0.131, 0.105], abs=5e-4)
    assert [shares[name] for name in ("S1", "S2", "S3")] == pytest.approx([0.158136, 0.138642, 0.102983], abs=0.01)
    used = {name: {route.server for route, _ in split} for name, split in best.allocation.splits.items()}
    everywhere = {"S1", "S2", "S3"}
    assert used == {"p0": {"S3"}, "p1": {"S3"}, "p2": everywhere, "p3": everywhere, "p4": {"S3"}}
    assert all(len(route.links) == 1 for route, _ in best.allocation)


@pytest.mark.parametrize(
    ("name", "nearest_ms", "best_ms"),
    [("diamond", 13.69, 3.56), ("two-servers", 20.48, 6.41), ("butterfly", 17.75, 7.78), ("geant", 18.83, 11.08),
     ("germany50", 14.09, 6.13)],
)  # fmt: skip
def test_the_headers_say_what_solve_says(name: str, nearest_ms: float, best_ms: float) -> None:
    network = load(name).network
    delays = [solve(network, POLICIES[policy]).evaluation.mean_delay * 1e3 for policy in ("shortest-path", "joint")]
    assert delays == pytest.approx([nearest_ms, best_ms], abs=0.005)
    text = (LIBRARY / f"{name}.yaml").read_text()
    assert f"{nearest_ms} ms" in text
    assert f"{best_ms} ms" in text


@pytest.mark.parametrize("name", ["geant", "germany50", "mec-grid(3)", "fat-tree(4)", "star(5)"])
def test_shortest_paths_are_stable_without_propagation_too(name: str) -> None:
    network = without_propagation(load(name).network)
    assert 0.75 < max(utilization(network, solve(network, POLICIES["shortest-path"])).values()) < 0.92


@pytest.mark.parametrize("k", [4, 6])
def test_a_fat_tree_is_one(k: int) -> None:
    network = load(f"fat-tree({k})").network
    ports = {node.name: sum(link.src == node.name for link in network.links) for node in network.nodes}
    kinds = Counter(name.split("-")[0] for name in ports)
    assert kinds == {"core": k * k // 4, "agg": k * k // 2, "edge": k * k // 2}
    assert {(name.split("-")[0], count) for name, count in ports.items()} == {("core", k), ("agg", k), ("edge", k // 2)}
    pods = {name: {b.split("-")[1] for a, b in (link.key for link in network.links) if a == name} for name in ports}
    assert all(len(pods[name]) == k for name in ports if name.startswith("core"))


def test_families_grow_and_offer_the_same() -> None:
    small, large = load("star(3)").network, load("star(24)").network
    assert (len(small.nodes), len(large.nodes)) == (4, 25)
    offered = [sum(session.rate for session in network.sessions) for network in (small, large)]
    assert offered[1] == pytest.approx(offered[0], rel=1e-3)
    assert (len(load("mec-grid(2)").network.nodes), len(load("mec-grid(5)").network.nodes)) == (8, 50)


def test_the_facts_of_geant_and_germany50_are_those_of_their_origin() -> None:
    for name in ("geant", "germany50"):
        origin = read(f"topohub:sndlib/{name}")
        assert isinstance(origin, Survey)
        network = load(name).network
        spots = {(node.latitude, node.longitude) for node in network.nodes}
        assert spots == {(place.latitude, place.longitude) for place in origin.places}
        lengths = sorted(round(link.propagation * 199_861.6, 1) for link in network.links if link.src < link.dst)
        assert lengths == pytest.approx(sorted(cable.length or 0 for cable in origin.cables), abs=0.1)


def test_us_20_keeps_the_proportions_of_its_market() -> None:
    network, market = load("us-20").network, load_market("us-20").market
    assert {link.key for link in network.links} == {link.key for link in market.links}
    wires = {link.key: link for link in market.links}
    ratios = [link.capacity / wires[link.key].capacity for link in network.links]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)
    assert all(link.propagation == pytest.approx(wires[link.key].propagation) for link in network.links)
    machines, asked = Counter[str](), Counter[str]()
    for asset in market.assets:
        machines[asset.node] += asset.capacity  # type: ignore[assignment]
    for demand in market.demands:
        work = market.workloads[market.workload_index[demand.workload]].compute
        asked[demand.region] += demand.rate * work  # type: ignore[assignment]
    scale = sum(server.capacity for server in network.servers) / market.capacity
    assert {server.node: server.capacity for server in network.servers} == pytest.approx(
        {node: scale * capacity for node, capacity in machines.items()}, rel=1e-3
    )
    assert {session.source: session.packet_rate for session in network.sessions} == pytest.approx(
        {region: scale * work for region, work in asked.items()}, rel=1e-3
    )
    costs = Counter[str]()
    for asset in market.assets:
        costs[asset.node] += asset.capacity / machines[asset.node] * asset.costs[0] / scale  # type: ignore[assignment]
    assert {server.node: server.cost for server in network.servers} == pytest.approx(costs, rel=1e-3)
    fees = {link.key: fee for link, fee in zip(market.links, market.fees, strict=True)}
    assert [ratios[0] * link.fee for link in network.links] == pytest.approx(
        [fees[link.key] for link in network.links], rel=5e-3
    )
