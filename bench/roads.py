"""User equilibrium of road networks: against AequilibraE's bi-conjugate Frank-Wolfe, and against best known flows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.row import Row, Side, timed
from pricing.joint.equilibrium import selfish_costs
from pricing.joint.network_flow import Routing, least_cost
from topologies.tntp import RoadNetwork, read_road_network

GAP, DEEP = 1e-6, 1e-10
PATIENCE = 20_000
"""Iterations that the peer may take."""

HOW = (
    "install it with .venv/bin/pip install aequilibrae; no extra of ours brings it, for its licence adds to MIT's that "
    "the documentation of work done with it has to name it"
)
"""How to get the peer."""

MEASURE = "(paid - cheapest)/paid, the relative gap of traffic assignment"


def by_aequilibrae(road: RoadNetwork) -> Any:
    """The assignment by AequilibraE, `bfw`, one core.

    Raises
    ------
    ModuleNotFoundError
        Without the package aequilibrae.
    """
    paths: Any = import_module("aequilibrae.paths")
    matrix: Any = import_module("aequilibrae.matrix")
    tables: Any = import_module("pandas")
    space, law = road.space, road.law
    zones = np.arange(1, int(max(space.origins.max(), space.sinks.max())) + 2)
    links = {"link_id": np.arange(1, space.tails.size + 1), "a_node": space.tails + 1, "b_node": space.heads + 1}
    laws = {"capacity": law.practical, "free_flow_time": law.free, "b": law.alpha, "power": law.beta}
    graph = paths.Graph()
    graph.network = tables.DataFrame({**links, "direction": 1, **laws})
    graph.prepare_graph(zones)
    graph.set_graph("free_flow_time")
    graph.set_skimming([])
    graph.set_blocked_centroid_flows(not space.through[0])
    demand = matrix.AequilibraeMatrix()
    demand.create_empty(zones=zones.size, matrix_names=["car"], memory_only=True)
    demand.index[:] = zones
    demand.matrix["car"][:, :] = 0.0
    demand.matrix["car"][space.origins, space.sinks] = road.rates
    demand.computational_view(["car"])
    task = paths.TrafficAssignment()
    task.set_classes([paths.TrafficClass("car", graph, demand)])
    task.set_vdf("BPR")
    task.set_vdf_parameters({"alpha": "b", "beta": "power"})
    task.set_capacity_field("capacity")
    task.set_time_field("free_flow_time")
    task.max_iter, task.rgap_target = PATIENCE, GAP
    task.set_algorithm("bfw")
    task.set_cores(1)
    task.execute()
    return task


def against_aequilibrae(directory: Path | None, name: str, runs: int, peers: int) -> Row:
    """One road network to `GAP` beside the peer, and to `DEEP` against the best known flows."""
    title = f"user equilibrium, {name}"
    if directory is None:
        how = "give --tntp DIR with the files of bstabler/TransportationNetworks, which are for research and not ours"
        return Row(title, note=how)
    road = read_road_network(directory, name)
    costs = selfish_costs(road.law)

    def solve(gap: float) -> Routing:
        return least_cost(road.space, costs, road.rates, gap)

    def relative(found: Routing) -> float:
        return found.certificate.wardrop_residual

    ours, _ = timed("projected Newton", lambda: solve(GAP), relative, runs)
    deep, found = timed("projected Newton", lambda: solve(DEEP), relative, runs, False)
    facts = {"seconds to 1e-10": deep.cpu, "relative gap there": deep.gap}
    if road.best is not None:
        known = float(road.law.integral(road.best).sum())
        facts["objective over best known - 1"] = float(road.law.integral(found.loads).sum()) / known - 1
        facts["largest difference of a flow, of the largest"] = float(
            np.abs(found.loads - road.best).max() / road.best.max()
        )
    size = {"nodes": road.space.through.size, "links": road.space.tails.size, "sessions": road.rates.size}
    peer, note = _peer(road, peers)
    return Row(title, size, ours, peer, 5.0, MEASURE, note, facts)


def _peer(road: RoadNetwork, peers: int) -> tuple[Side | None, str]:
    if not peers:
        return None, "the peer takes too long for --quick"
    try:
        side, _ = timed(
            "AequilibraE bfw", lambda: by_aequilibrae(road), lambda task: float(task.assignment.rgap), peers, False
        )
    except ModuleNotFoundError as missing:
        return None, f"no peer here: {missing}; {HOW}"
    return side, ""
