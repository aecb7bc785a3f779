"""How much of a demand beyond capacity is served, and of whom.

No allocation serves more than the capacities; what is over must be refused at the door, or queues grow until they drop
it anyway, everybody's. The rule: classes in their order, 1 first; within a class the served part of each session's rate
is made as large as possible for the least served session, then for the next, and so on (max-min fairness of the parts,
Bertsekas and Gallager, Data Networks, 6.5.2). So sessions that share a bottleneck are cut by the same part, and those
that do not meet it are not cut at all.

Each step is a linear program over the loads of all links and servers:

    maximise t   s.t.   flow conservation of t rate_k (free) or part_k rate_k (fixed),   load_r <= LIMIT C_r

A session is fixed at t when its part cannot grow beyond it: when its own row has a price. There are at most as many
steps as bottlenecks.
"""

from __future__ import annotations

import numpy as np

from pricing.joint.feasible import Column, columns
from pricing.network import Network
from pricing.problem import problem_of
from pricing.values import FloatArray

LIMIT = 0.95
"""Part of every capacity that admitted demand may fill: above it waits grow out of bounds (ours)."""

_TIGHT = 1e-7


def admitted(network: Network, offered: FloatArray) -> FloatArray:
    """The part of each session's offered rate that is served, shape (K,), ratios from 0 to 1.

    Parameters
    ----------
    offered : array of shape (K,)
        bit/s of each session.

    Notes
    -----
    A linear program of sessions x links variables for each bottleneck; ask only when the demand is near capacity. Trees
    have no such program: beside multicast sessions everything is served.
    """
    if any(session.kind == "multicast" for session in network.sessions):
        return np.ones(len(network.sessions))
    classes = [session.klass for session in network.sessions]
    part = np.where(np.asarray(offered) > 0, 0.0, 1.0)
    for klass in sorted(set(classes)):
        free = {k for k, other in enumerate(classes) if other == klass and part[k] < 1}
        while free:
            reached, stuck = _raise(network, offered, part, frozenset(free))
            for k in free:
                part[k] = reached
            if reached >= 1 - _TIGHT:
                break
            free -= stuck or free
    part[part >= 1 - _TIGHT] = 1.0
    return part


def _raise(
    network: Network, offered: FloatArray, part: FloatArray, free: frozenset[int]
) -> tuple[float, frozenset[int]]:
    """The largest equal part of the free sessions beside what is fixed, at most 1, and which of them it limits."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    problem = problem_of(network)
    active = [k for k, rate in enumerate(offered) if rate > 0 and (k in free or part[k] > 0)]
    every = [column for k in active for column in columns(problem, network.sessions[k], k)]
    rows = {(k, node.name): i for i, (k, node) in enumerate((k, node) for k in active for node in network.nodes)}
    last, right = len(every), np.zeros(len(rows))
    entries = _balance(every, rows)
    for k in active:
        session = network.sessions[k]
        ends = [(session.source, 1.0)] + ([(session.destinations[0], -1.0)] if session.kind == "unicast" else [])
        for node, sign in ends:
            if k in free:
                entries.append((rows[k, node], last, -sign))
            else:
                right[rows[k, node]] = sign * part[k]
    uses = [(r, n, a * offered[c.session] / problem.capacity[r]) for n, c in enumerate(every) for r, a in c.uses]
    (ei, ej, ev), (ui, uj, uv) = zip(*entries, strict=True), zip(*uses, strict=True)
    answer = linprog(  # type: ignore[call-overload]  # its stubs know dense arrays only
        np.append(np.zeros(last), -1.0),
        A_ub=coo_array((uv, (ui, uj)), shape=(len(problem.capacity), last + 1)).tocsr(),
        b_ub=np.full(len(problem.capacity), LIMIT),
        A_eq=coo_array((ev, (ei, ej)), shape=(len(rows), last + 1)).tocsr(),
        b_eq=right,
        bounds=[(0, None)] * last + [(0, 1)],
        method="highs",
    )
    if answer.x is None:  # what is fixed fills a resource to the brim, by rounding
        return 0.0, free
    price = answer.eqlin.marginals
    limits = frozenset(k for k in free if k in active and abs(price[rows[k, network.sessions[k].source]]) > _TIGHT)
    return float(answer.x[-1]), limits


def _balance(every: list[Column], rows: dict[tuple[int, str], int]) -> list[tuple[int, int, float]]:
    """What leaves a node less what comes in, for each session."""
    out = [(rows[c.session, c.tail], n, 1.0) for n, c in enumerate(every)]
    return out + [(rows[c.session, c.head], n, -1.0) for n, c in enumerate(every) if c.head]
