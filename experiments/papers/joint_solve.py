"""The joint paper's computations: the central run, Algorithm 1, the true optimum, and the check of every route."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize

from experiments.papers.joint_instance import instance
from pricing.delay import mm1
from pricing.joint.descent import descend
from pricing.joint.printed import Instance, best_response, proportional_start, run
from pricing.values import FloatArray

ETA, GAMMA = 0.3, 0.5
"""Steps of sources and servers, as printed."""

MARGIN = 1e-6
"""The paper's epsilon, which it calls small: how far below capacity the central run stays, MB/s (ours)."""

USED = 1e-3
"""Share of a source's rate from which on a route counts as used (ours)."""

LOADS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Loads of all servers together in the sweep (ours)."""


@dataclass(frozen=True)
class Central:
    """What the general-purpose solver found: flows (I, J) in MB/s, F, and its iterations."""

    flows: FloatArray
    cost: float
    iterations: int


def central(case: Instance) -> Central:
    """SciPy's `trust-constr` with analytic gradients and otherwise its defaults, from the proportional start."""
    shape = case.access.shape
    sources, servers = shape

    def cost(x: FloatArray) -> float:
        return case.cost(x.reshape(shape))

    def gradient(x: FloatArray) -> FloatArray:
        flows = x.reshape(shape)
        return np.asarray(case.paths.marginal(flows) + case.nodes.marginal(flows.sum(axis=0))).ravel()

    rows = LinearConstraint(np.kron(np.eye(sources), np.ones((1, servers))), case.rates, case.rates)
    columns = LinearConstraint(np.kron(np.ones((1, sources)), np.eye(servers)), -np.inf, case.servers - MARGIN)
    found = minimize(
        cost,
        proportional_start(case).ravel(),
        jac=gradient,
        method="trust-constr",
        constraints=[rows, columns],
        bounds=[(0.0, float(capacity) - MARGIN) for capacity in case.access.ravel()],
    )
    return Central(np.asarray(found.x).reshape(shape), float(found.fun), int(found.nit))


@dataclass(frozen=True)
class Trace:
    """Algorithm 1, round by round: flows (rounds + 1, I, J) and prices (rounds + 1, J), the start first."""

    case: Instance
    flows: FloatArray
    prices: FloatArray

    @property
    def rounds(self) -> int:
        """Rounds until the flows came to rest."""
        return len(self.flows) - 1

    @cached_property
    def costs(self) -> FloatArray:
        """F after each round, the start first."""
        return np.array([self.case.cost(flows) for flows in self.flows])

    @property
    def utilizations(self) -> FloatArray:
        """Of each service node after each round, shape (rounds + 1, J)."""
        return np.asarray(self.flows.sum(axis=1) / self.case.servers)

    @property
    def delays(self) -> FloatArray:
        """Mean delay of each source after each round, s, shape (rounds + 1, I)."""
        return np.array([source_delays(self.case, flows) for flows in self.flows])


def trace(case: Instance, from_largest: bool) -> Trace:
    """The rounds of `pricing.joint.printed.run`, kept."""
    flows, prices = [proportional_start(case)], [np.zeros_like(case.servers)]
    for _ in run(case, ETA, GAMMA, from_largest=from_largest).costs:
        marginal = case.nodes.marginal(flows[-1].sum(axis=0))
        prices.append((1 - GAMMA) * prices[-1] + GAMMA * marginal)
        flows.append((1 - ETA) * flows[-1] + ETA * best_response(case, prices[-1], from_largest))
    return Trace(case, np.array(flows), np.array(prices))


def source_delays(case: Instance, flows: FloatArray) -> FloatArray:
    """Mean end-to-end delay of each source, weighted by its flows, s, shape (I,)."""
    delay = case.paths.delay(flows) + case.nodes.delay(flows.sum(axis=0))
    return np.asarray((flows * delay).sum(axis=1) / case.rates)


@dataclass(frozen=True)
class Optimum:
    """The optimal flows (I, J), F there, and a value that no flows can be below."""

    flows: FloatArray
    cost: float
    bound: float

    @property
    def gap(self) -> float:
        """How far above the optimum F can be at most, a ratio."""
        return max(self.cost - self.bound, 0.0) / self.bound


def optimum(case: Instance) -> Optimum:
    """The optimum to rounding, with its certificate."""
    sources, servers = case.access.shape
    laws = mm1(np.concatenate([case.access.ravel(), case.servers]))
    onto = np.vstack([np.eye(sources * servers), np.kron(np.ones((1, sources)), np.eye(servers))])
    groups = np.repeat(np.arange(sources), servers)

    def costs(load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return laws.cost(load), laws.marginal(load), laws.marginal_slope(load)

    start = proportional_start(case) / case.rates[:, None]
    found = descend(costs, onto * case.rates[groups], groups, start.ravel(), 1e-13)
    flows = found.shares.reshape(case.access.shape) * case.rates[:, None]
    return Optimum(flows, case.cost(flows), dual_bound(case, case.nodes.marginal(flows.sum(axis=0))))


def dual_bound(case: Instance, prices: FloatArray) -> float:
    """No flows cost less: sum_i min_y [g_i(y) + p y] + sum_j min_x [g_j(x) - p_j x], at any prices p (J,)."""
    answer, load = best_response(case, prices), case.nodes.load_at(prices)
    sources = case.paths.cost(answer).sum() + (answer @ prices).sum()
    return float(sources + case.nodes.cost(load).sum() - prices @ load)


@dataclass(frozen=True)
class RouteCheck:
    """Eq. (14) route by route; arrays of shape (I, J).

    Parameters
    ----------
    marginal : array
        M_ij = C_ij + C_j, s.
    used : boolean array
        Whether the route carries at least `USED` of its source's rate.
    excess : array
        M_ij above the source's cheapest route, s.
    weighted : array
        Excess times flow; the sum bounds from above how far F is from the optimum.
    """

    marginal: FloatArray
    used: NDArray[np.bool_]
    excess: FloatArray
    weighted: FloatArray

    @property
    def worst(self) -> FloatArray:
        """Largest excess of a used route of each source, s, shape (I,)."""
        return np.asarray(np.where(self.used, self.excess, 0.0).max(axis=1))


def check_routes(case: Instance, flows: FloatArray) -> RouteCheck:
    """The total marginal cost of every route, and by how much it misses eq. (14)."""
    marginal = case.paths.marginal(flows) + case.nodes.marginal(flows.sum(axis=0))
    excess = marginal - marginal.min(axis=1, keepdims=True)
    return RouteCheck(marginal, flows >= USED * case.rates[:, None], excess, flows * excess)


@dataclass(frozen=True)
class SweepPoint:
    """One load of the servers: the optimum there, and how Algorithm 1 ended (right bracket).

    `stiffness` is nu = lambda_max(diag(C_j') sum_i K_i), the strength of the servers' answer to the sources' answer.
    """

    load: float
    best: Optimum
    utilizations: FloatArray
    rounds: int
    ended: str
    stiffness: float


STIFFEST = (2 - ETA) * (2 - GAMMA) / (ETA * GAMMA)
"""nu up to which Algorithm 1 with the printed steps is stable near the optimum: 17."""


def sweep(loads: tuple[float, ...] = LOADS) -> list[SweepPoint]:
    """The instance with its servers scaled to each of these loads."""
    points = []
    for load in loads:
        case = instance(load)
        best, done = optimum(case), run(case, ETA, GAMMA)
        ended = "rest" if done.converged else "infeasible" if not np.isfinite(done.costs[-1]) else "no rest"
        points.append(
            SweepPoint(
                load, best, best.flows.sum(axis=0) / case.servers, len(done.costs), ended, stiffness(case, best.flows)
            )
        )
    return points


def stiffness(case: Instance, flows: FloatArray) -> float:
    """nu at these flows: K_i = D_i - d_i d_i'/(1'd_i), with d_ij = 1/C_ij' on the routes in use."""
    slopes = np.where(flows >= USED * case.rates[:, None], 1 / case.paths.marginal_slope(flows), 0.0)
    answer = sum(np.diag(d) - np.outer(d, d) / d.sum() for d in slopes)
    return float(np.linalg.eigvals(case.nodes.marginal_slope(flows.sum(axis=0))[:, None] * answer).real.max())
