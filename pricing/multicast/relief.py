"""Shares of trees that overload nothing which virtual queues do not.

Extraction gives what it loses to the trees that it finds, and their shares then put more on some links than the virtual
packets did. So shares are moved between the trees of a session, as little as possible, until every link and server is
below what it may carry again:

    minimise  sum_s a_s sum_t max(w_t - share_t, 0) + M z
    subject to  sum_s rate_s sum_t A_rt w_t <= capacity_r (h_r + z) for each resource,  sum_t w_t = 1 for each session

with w and z from 0, a_s the part of all bit/s that session s offers, and h_r the headroom, less where a short queue
would lose more than `LOSS` of Poisson arrivals: an M/M/1 queue is longer than n with probability h^n. Where no shares
keep within it, the fullest resource is as little above it as these trees allow. Ours; no paper gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import linprog

from pricing.errors import NotConverged
from pricing.multicast.virtual import HEADROOM
from pricing.network import Network, Route
from pricing.problem import problem_of
from pricing.values import FloatArray

FULLEST = 100.0
"""M: what a part of capacity above the headroom costs beside a part of the traffic that is moved (ours)."""

LOSS = 1e-3
"""Part of its packets that a queue may lose (ours)."""

NOTHING = 1e-6
"""Share below which a tree is given up; also how much above the headroom is none (ours)."""


def relieved(network: Network, shares: Mapping[Route, float], rates: FloatArray) -> dict[Route, float]:
    """The shares that are nearest to `shares` without an overload.

    Parameters
    ----------
    shares : mapping of Route to float
        Of each session that has any they add up to 1.
    rates : array of shape (K,)
        bit/s that sessions offer.

    Raises
    ------
    NotConverged
        When the linear program is not solved.
    """
    problem, routes = problem_of(network), list(shares)
    before = np.array(list(shares.values()))
    session = np.array([network.session_index[route.session] for route in routes], dtype=np.intp)
    use = problem.usage_matrix(routes) * rates[session] / problem.capacity[:, None]
    limit = limits(network)
    if not routes or (use @ before <= limit + NOTHING).all():
        return dict(shares)
    some, count = use.any(axis=1), len(routes)
    use, limit = use[some], limit[some]
    one = np.unique(session)[:, None] == session  # (sessions, routes)
    zero, same, full = np.zeros((len(use), count)), np.eye(count), np.full((len(use), 1), -1.0)
    answer: Any = linprog(
        np.concatenate([np.zeros(count), rates[session] / rates.sum(), [FULLEST]]),
        np.block([[use, zero, full], [same, -same, np.zeros((count, 1))]]),
        np.concatenate([limit, before]),
        np.hstack([one, np.zeros((len(one), count + 1))]),
        np.ones(len(one)),
        method="highs",
    )
    if answer.status != 0:
        raise NotConverged(f"shares of {count} trees: {answer.message}", int(answer.nit), float("inf"))
    kept = {route: float(weight) for route, weight in zip(routes, answer.x, strict=False) if weight > NOTHING}
    total = {name: sum(w for route, w in kept.items() if route.session == name) for name in {r.session for r in kept}}
    return {route: weight / total[route.session] for route, weight in kept.items()}


def limits(network: Network) -> FloatArray:
    """The part of its capacity that each resource may carry, shape (R,)."""
    queues = [link.queue for link in network.links] + [server.queue for server in network.servers]
    return np.minimum(HEADROOM, LOSS ** (1 / np.array(queues, dtype=float)))
