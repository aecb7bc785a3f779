"""Sources and servers with private paths: the interior point against CVXPY with Clarabel and `trust-constr`."""

from __future__ import annotations

import resource

import cvxpy as cp
import numpy as np

from bench.row import Row, timed
from experiments.papers.joint_instance import instance
from experiments.papers.joint_solve import central
from pricing.delay import mm1
from pricing.joint.bipartite import bipartite_optimum, certify_flows
from pricing.values import FloatArray

GAP = 1e-9
SEED = 0
"""Instances are drawn, and so are ours: rates and capacities uniform from 0.5 to 1.5 before they are scaled."""


def drawn(sources: int, servers: int, load: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rates (m,), path capacities (m, n) and server capacities (n,) of an instance whose servers are loaded to `load`.

    A source's paths together carry thirty times its rate, or three times each where servers are fewer than ten.
    """
    rng = np.random.default_rng(SEED)
    rates = rng.uniform(0.5, 1.5, sources)
    room = rng.uniform(0.5, 1.5, servers)
    room *= rates.sum() / load / room.sum()
    paths = rng.uniform(0.5, 1.5, (sources, servers)) * rates[:, None] * 3 / max(1, servers / 10)
    return rates, paths, room


def by_clarabel(rates: FloatArray, paths: FloatArray, servers: FloatArray) -> FloatArray:
    """Flows of least delay by CVXPY and Clarabel: x/(C - x) = 1/(1 - x/C) - 1."""
    share = cp.Variable(paths.shape, nonneg=True)
    flows = cp.multiply(rates[:, None], share)
    cost = cp.sum(cp.inv_pos(1 - flows / paths)) + cp.sum(cp.inv_pos(1 - cp.sum(flows, axis=0) / servers))
    task = cp.Problem(cp.Minimize(cost), [cp.sum(share, axis=1) == 1])
    task.solve(solver=cp.CLARABEL, tol_gap_rel=1e-10, tol_gap_abs=1e-10, tol_feas=1e-10)
    found = np.maximum(np.asarray(share.value), 0.0)
    return np.asarray(rates[:, None] * found / found.sum(axis=1, keepdims=True))


def against_clarabel(sources: int, servers: int, load: float, runs: int, peers: int) -> Row:
    """One drawn instance, `runs` times ours and `peers` times the peer."""
    rates, paths, room = drawn(sources, servers, load)
    laws = mm1(paths), mm1(room)
    ours, found = timed(
        "interior point", lambda: bipartite_optimum(rates, *laws, GAP), lambda f: f.certificate.gap, runs
    )
    peer, _ = timed(
        "CVXPY + Clarabel",
        lambda: by_clarabel(rates, paths, room),
        lambda flows: certify_flows(flows, *laws).primal / found.certificate.dual - 1,
        peers,
        False,
    )
    size = {"sources": sources, "servers": servers}
    return Row(
        f"bipartite {sources} x {servers}, servers at {load}", size, ours, peer, 50.0, facts={"steps": found.steps}
    )


def the_papers(runs: int) -> Row:
    """The paper's 5 x 3 instance as it stands, against the paper's central solver."""
    case = instance()
    ours, found = timed(
        "interior point",
        lambda: bipartite_optimum(case.rates, case.paths, case.nodes, GAP),
        lambda f: f.certificate.gap,
        runs,
    )
    peer, other = timed(
        "trust-constr", lambda: central(case), lambda c: c.cost / found.certificate.dual / case.rates.sum() - 1, 5
    )
    facts = {"F": case.cost(found.flows), "peer's F": other.cost, "steps": found.steps}
    return Row("the joint paper's 5 x 3", {"sources": 5, "servers": 3}, ours, peer, 50.0, facts=facts)


def large(sources: int = 10_000, servers: int = 1000) -> Row:
    """Ten million variables, once."""
    rates, paths, room = drawn(sources, servers, 0.8)
    ours, found = timed(
        "interior point", lambda: bipartite_optimum(rates, mm1(paths), mm1(room), 1e-6), lambda f: f.certificate.gap, 1,
        False,
    )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Row(
        f"bipartite {sources} x {servers}, servers at 0.8",
        {"sources": sources, "servers": servers},
        ours,
        note="no peer: too large for a general solver; under 60 s and 4 GiB is wanted",
        facts={"peak memory, GiB": peak, "steps": found.steps},
    )
