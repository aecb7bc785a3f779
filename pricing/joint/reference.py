"""A second opinion on the optimum: CVXPY and Clarabel, in loads of links instead of routes.

    minimise  sum_r weight_r (a_r C_r u_r^2/(1 - u_r) + b_r C_r u_r)   s.t.  flow conservation of each session

with u_r = x_r/C_r. It shares neither routes nor method with `pricing.joint.optimum`, and is slow: for checks.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from scipy.sparse import coo_array

from pricing.errors import Infeasible
from pricing.joint.feasible import columns, conservation
from pricing.network import Network
from pricing.problem import problem_of
from pricing.values import FloatArray


def reference_objective(network: Network, offered: FloatArray | None = None) -> float:
    """The least objective over all routes, s, to about 1e-7 relative; 0 when nothing is offered.

    Raises
    ------
    Infeasible
        When the solver says so.
    """
    problem = problem_of(network)
    rates = problem.rates if offered is None else np.asarray(offered, dtype=float)
    total = float(rates.sum())
    active = [k for k, rate in enumerate(rates) if rate > 0]
    if not active:
        return 0.0
    every = [column for k in active for column in columns(problem, network.sessions[k], k)]
    balance, right = conservation(network, active, every)
    uses = [(r, n, a * rates[c.session] / problem.capacity[r]) for n, c in enumerate(every) for r, a in c.uses]
    i, j, value = zip(*uses, strict=True)
    matrix = coo_array((value, (i, j)), shape=(len(problem.capacity), len(every))).tocsr()
    share = cp.Variable(len(every), nonneg=True)
    utilization = cp.Variable(len(problem.capacity))
    scale = problem.weight * problem.capacity / total
    waits = cp.sum(
        [w * cp.quad_over_lin(u, 1 - u) for w, u in zip(scale * problem.laws.scale, utilization, strict=False)]
    )
    task = cp.Problem(
        cp.Minimize(waits + (scale * problem.laws.base) @ utilization),
        [balance.tocsr() @ share == right, utilization == matrix @ share, utilization <= 1],
    )
    task.solve(solver=cp.CLARABEL)
    if task.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise Infeasible(f"network {network.name}: no allocation carries the demand ({task.status})")
    return float(task.value)
