"""A made-up result of two policies on Abilene, real enough to be looked at."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import networkx as nx
import numpy as np

from experiments.result import schema
from pricing.network import Link, Network, Node, Route, Server, Session
from pricing.policy import get_policy
from pricing.problem import problem_of
from pricing.values import Loads
from topologies.scenario import load

PLACES = {
    "Seattle": (47.6, -122.3),
    "Sunnyvale": (37.4, -122.0),
    "LosAngeles": (34.1, -118.2),
    "Denver": (39.7, -105.0),
    "KansasCity": (39.1, -94.6),
    "Houston": (29.8, -95.4),
    "Chicago": (41.9, -87.6),
    "Indianapolis": (39.8, -86.2),
    "Atlanta": (33.7, -84.4),
    "Washington": (38.9, -77.0),
    "NewYork": (40.7, -74.0),
}
CABLES = (
    "Seattle-Sunnyvale Seattle-Denver Sunnyvale-LosAngeles Sunnyvale-Denver LosAngeles-Houston Denver-KansasCity "
    "KansasCity-Houston KansasCity-Indianapolis Houston-Atlanta Indianapolis-Chicago Indianapolis-Atlanta "
    "Chicago-NewYork NewYork-Washington Washington-Atlanta"
)
CAPACITY = 2.5e6
WORK_RATE = 700.0


def network(places: bool = True) -> Network:
    """Abilene with three servers and eight sources of one service."""
    nodes = tuple(Node(name, *(place if places else (None, None))) for name, place in PLACES.items())
    cables = [tuple(cable.split("-")) for cable in CABLES.split()]
    links = tuple(Link(src, dst, CAPACITY) for a, b in cables for src, dst in ((a, b), (b, a)))
    servers = tuple(
        Server(name, at, WORK_RATE)
        for name, at in (("west", "Sunnyvale"), ("middle", "KansasCity"), ("east", "NewYork"))
    )
    at_server = {server.node for server in servers}
    sessions = tuple(
        Session(f"web-{name}", name, "anycast", ("west", "middle", "east"), rate, service="web")
        for name, rate in zip(
            [name for name in PLACES if name not in at_server], np.linspace(6e5, 1.1e6, 8), strict=True
        )
    )
    return Network("abilene", nodes, links, servers, sessions)


def routes(net: Network, session: Session, policy: str) -> list[tuple[Route, float]]:
    """Weighted routes: the shortest, or the four shortest with weights that fall with their length."""
    at = {server.name: server.node for server in net.servers}
    found = []
    for server in session.destinations:
        for path in islice(nx.shortest_simple_paths(net.graph, session.source, at[server]), 2):
            found.append(Route(session.name, tuple(pairwise(path)), server))
    found.sort(key=lambda route: (len(route.links), route.links))
    if policy == "shortest-path":
        return [(found[0], 1.0)]
    weights = [0.55, 0.25, 0.15, 0.05]
    return list(zip(found[:4], weights, strict=True))


def record(net: Network, policy: str, tick: int, rng: np.random.Generator) -> dict[str, Any]:
    """A line of the controller's record."""
    loads = {link.key: 0.0 for link in net.links}
    works = {server.name: 0.0 for server in net.servers}
    decided: dict[str, list[list[Any]]] = {}
    mix = np.exp(-tick / 8) if policy != "shortest-path" else 0.0
    for session in net.sessions:
        split = routes(net, session, policy)
        weights = [(1 - mix) * weight + (mix if index == 0 else 0) for index, (_, weight) in enumerate(split)]
        decided[session.name] = [[str(route), weight] for (route, _), weight in zip(split, weights, strict=True)]
        for (route, _), weight in zip(split, weights, strict=True):
            works[route.server] += session.packet_rate * weight
            for key in route.links:
                loads[key] += session.rate * weight
                loads[key[1], key[0]] += 0.1 * session.rate * weight
    noise = rng.normal(1, 0.02, len(loads))

    def resource(load: float, capacity: float, unit: float) -> dict[str, float]:
        used = min(load / capacity, 0.93)
        return {
            "load": used * capacity,
            "utilization": used,
            "price": unit * used * (2 - used) / (1 - used) ** 2,
            "age": 0.1,
        }

    return {
        "tick": tick,
        "time": 1.7e9 + tick,
        "policy": policy,
        "offered": {session.name: session.rate for session in net.sessions},
        "links": [
            resource(loads[link.key] * factor, link.capacity, 4e3 / link.capacity)
            for link, factor in zip(net.links, noise, strict=True)
        ],
        "servers": [resource(works[server.name], server.capacity, 1 / server.capacity) for server in net.servers],
        "decided": decided,
        "realised": decided,
        "gap": 0.9 * float(mix) + 0.01 * abs(float(rng.normal())) if mix else 1.1,
        "kkt_residual": 2e-4,
        "objective": 0.009,
        "optimum": 0.0088,
        "tick_s": 0.04,
        "rules_changed": 12,
        "error": None,
    }


def report(ticks: int = 90) -> dict[str, Any]:
    """A result file's content."""
    net, rng = network(), np.random.default_rng(7)
    runs = [_run(net, policy, ticks, rng) for policy in ("shortest-path", "joint-distributed")]
    return {
        "schema": schema.NAME,
        "scenario": "abilene",
        "seed": 7,
        "command": "bin/wardrop demo --seed 7",
        "machine": {
            "datapath": "user",
            "netem": False,
            "framework": "os_ken 4.2.2",
            "versions": {"python": "3.11.2", "openvswitch": "3.1.0", "mininet": "2.3.0", "kernel": "6.18.5"},
            "steal": 0.0021,
            "late_p99_s": 0.00041,
            "excluded_s": 3.0,
        },
        "topology": schema.topology(net),
        "runs": runs,
    }


def groups_report() -> dict[str, Any]:
    """A result file's content of two policies on a network with a group and functions, whose packets did as decided."""
    made, net = report(20), load("butterfly-chain").network
    runs = []
    for policy in ("edspa", "joint"):
        nothing = Loads(np.zeros(len(net.links)), np.zeros(len(net.servers)), problem_of(net).rates)
        allocation = get_policy(policy).decide(net, nothing, None).allocation
        loads, works = np.split(problem_of(net).loads(allocation), [len(net.links)])
        spread = schema.distribution([0.011, 0.0124, 0.014], [], _law(0.0123))
        ends = [
            {"session": each.name, "destination": node, "delay_histogram": spread}
            for each in net.sessions
            for node in each.destinations
        ]
        split = {name: [[str(route), weight] for route, weight in each] for name, each in allocation.splits.items()}
        rows = {
            "links": [{"price": 0.004}] * len(net.links),
            "servers": [{"price": 0.006}] * len(net.servers),
            "gap": 0.0,
            "decided": split,
        }
        counts = {"sent": 9065, "received": 9065 - (policy == "edspa"), "lost": int(policy == "edspa"), "duplicated": 0}
        copies = float(loads.sum() / problem_of(net).rates.sum())
        runs.append(
            {
                "policy": policy,
                "duration_s": 20.0,
                "offered_bps": {each.name: each.rate for each in net.sessions},
                "bound": 1.0 if policy == "edspa" else 1.08,
                "cost_bps": {"measured": float(loads.sum()), "decided": float(loads.sum())},
                "copies": {"measured": _estimate(copies, 0.002, 30), "decided": copies},
                "destinations": [end | counts | {"delay_s": _estimate(0.0123, 0.03, 9065)} for end in ends],
                "trees": [
                    {"session": route.session, "route": str(route), "decided": weight} for route, weight in allocation
                ],
                "links": [
                    {"src": link.src, "dst": link.dst, "capacity_bps": link.capacity, "decided_bps": load}
                    | {"load_bps": _estimate(load, 0.01, 30), "utilization": load / link.capacity, "price": 0.004}
                    for link, load in zip(net.links, loads.tolist(), strict=True)
                ],
                "servers": [
                    {"name": server.name, "capacity": server.capacity, "decided": work, "price": 0.006}
                    | {"load": _estimate(work, 0.01, 30), "utilization": work / server.capacity}
                    for server, work in zip(net.servers, works.tolist(), strict=True)
                ],
                "ticks": schema.ticks([rows | {"time": 1.7e9 + tick} for tick in range(20)], (1.7e9 + 5, 1.7e9 + 19)),
                "lost_in_extraction": 0.003,
                "excluded_s": 1.0,
                "failed_ticks": 0,
                "steal": 0.01,
                "verdicts": _verdicts(0.0123, 9065)[3:4],
            }
        )
    return {key: value for key, value in made.items() if key != "runs"} | {
        "scenario": net.name,
        "command": f"bin/wardrop validate {net.name} --policy edspa,joint --out out",
        "topology": schema.topology(net),
        "groups": runs,
    }


def users() -> list[dict[str, Any]]:
    """`users` of a run: one that chooses between two options."""
    options = [
        {"session": f"many.left.{klass}", "requests_per_s": 40.0 / klass, "price": 1.5 / klass, "time_s": 0.004 * klass}
        for klass in (1, 2)
    ]
    told = {"name": "many", "value_per_s": 410.0, "welfare_per_s": 377.0, "requests_per_s": 60.0}
    return [told | {"delay_s": _estimate(0.0051, 0.03, 1200), "options": options}]


def _estimate(value: float, share: float, n: int) -> dict[str, Any]:
    return {"value": value, "ci95": abs(value) * share, "n": n}


def _run(net: Network, policy: str, ticks: int, rng: np.random.Generator) -> dict[str, Any]:
    records = [record(net, policy, tick, rng) for tick in range(ticks)]
    last = records[-1]
    mean = 0.0286 if policy == "shortest-path" else 0.0128
    delays = rng.exponential(mean - 2e-3, 20_000) + 2e-3 * rng.uniform(0.2, 2, 20_000)
    sessions = [
        _session(session, mean * factor, last["decided"][session.name])
        for session, factor in zip(net.sessions, np.linspace(0.7, 1.3, 8), strict=True)
    ]
    sent = sum(session["sent"] for session in sessions)
    links = [
        _resource(state, link.capacity, "_bps", rng) | {"src": link.src, "dst": link.dst}
        for link, state in zip(net.links, last["links"], strict=True)
    ]
    servers = [
        _resource(state, server.capacity, "", rng) | {"name": server.name}
        for server, state in zip(net.servers, last["servers"], strict=True)
    ]
    priced = policy != "shortest-path"
    return {
        "policy": policy,
        "duration_s": 75.0,
        "sessions": sessions,
        "links": links,
        "servers": servers,
        "objective": {
            "mean_delay_s": _estimate(mean, 0.06, sent),
            "predicted_mean_delay_s": mean * 0.97,
            "model_mean_delay_s": mean * 1.11,
            "optimum_mean_delay_s": 0.0138,
            "gap": last["gap"],
            "kkt_residual": 2e-4,
        },
        "control": {"ticks": ticks, "failed_ticks": 0, "tick_s": {"p50": 0.041, "p99": 0.112}, "rules_changed": 611},
        "delay_parts_s": {
            "network": _estimate(mean * 0.35, 0.05, sent),
            "wait": _estimate(mean * 0.5, 0.09, sent),
            "work": _estimate(mean * 0.15, 0.01, sent),
        },
        "queue_slope": {"value": 1.2e-5, "ci95": 3.1e-5, "n": 75},
        "losses": {
            "sender": 0,
            "link queue": 0 if priced else 41,
            "switch": 0,
            "socket": 0,
            "server queue": 0,
            "unaccounted": 0,
        },
        "verdicts": _verdicts(mean, sent) if priced else [],
        "steal": 0.002,
        "excluded_s": 3.0 if priced else 0.0,
        "ticks": schema.ticks(records, (records[14]["time"], records[-1]["time"])),
        "delay_histogram": schema.distribution(delays, delays * rng.normal(0.98, 0.03, delays.size), _law(mean)),
    }


def _law(mean: float) -> schema.Law:
    return schema.Law("servers M/M/1", tuple((-mean * np.log1p(-schema.PROBABILITIES)).tolist()))


def _session(session: Session, mean: float, decided: list[list[Any]]) -> dict[str, Any]:
    sent = int(session.packet_rate * 75)
    quantile = {"mean": 1.0, "p50": 0.7, "p95": 3.0, "p99": 4.6}
    return {
        "name": session.name,
        "kind": session.kind,
        "class": 1,
        "offered_bps": session.rate,
        "delivered_bps": session.rate,
        "sent": sent,
        "received": sent,
        "lost": 0,
        "duplicated": 0,
        "reordered": 12,
        "delay_s": {name: _estimate(mean * factor, 0.05, sent) for name, factor in quantile.items()},
        "predicted_delay_s": mean * 0.98,
        "model_delay_s": mean * 1.09,
        "split": [
            {
                "route": route,
                "decided": weight,
                "realised": {"value": min(weight * 1.004, 1.0), "ci95": 0.008, "n": session.flows},
            }
            for route, weight in decided
        ],
    }


def _resource(state: dict[str, float], capacity: float, suffix: str, rng: np.random.Generator) -> dict[str, Any]:
    used = state["utilization"]
    wait = used / (1 - used) * (4e3 if suffix else 1.0) / capacity
    return {
        f"capacity{suffix}": capacity,
        f"load{suffix}": _estimate(state["load"], 0.012, 75),
        f"predicted_load{suffix}": state["load"] * float(rng.normal(1, 0.008)),
        "utilization": used,
        "wait_s": {"value": wait * 0.95, "ci95": wait * 0.07, "n": 14_000}
        if used > 0.02
        else {"value": None, "ci95": None, "n": 0},
        "predicted_wait_s": wait * 0.94,
        "model_wait_s": wait,
        "price": state["price"],
    }


def _verdicts(mean: float, sent: int) -> list[dict[str, Any]]:
    names = ("name", "measured", "ci95", "expected", "tolerance", "verdict", "note", "unit")

    def verdict(*values: Any) -> dict[str, Any]:
        return dict(zip(names, values, strict=True)) | {"n": sent}

    return [
        verdict(
            "mean delay, priced by shortest path",
            0.447,
            0.038,
            0.6,
            None,
            "met",
            "the same packets in both runs",
            "ratio",
        ),
        verdict(
            "mean delay against the packet simulation", mean, mean * 0.06, mean * 0.97, mean * 0.15, "met", "", "s"
        ),
        verdict("load of the link farthest off", 1.31e6, 2e4, 1.29e6, 6.4e4, "met", "Denver->KansasCity", "bit/s"),
        verdict("packets lost", 0, None, 0, 0, "met", "", "packets"),
        verdict(
            "growth of the delay",
            1.2e-5,
            3.1e-5,
            0,
            1e-5,
            "undecided",
            "the interval is wider than the tolerance",
            "ratio",
        ),
        verdict("99th percentile of a tick", 0.212, None, 0.2, None, "not met", "", "s"),
    ]
