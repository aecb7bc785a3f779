"""The one solver: least separable convex cost over shares of routes.

    minimise  sum_r f_r((A w)_r)   s.t.  the shares w of each group (a session) add up to 1,  w >= 0

A is load of resource r for all of a session on a route. The costs f_r grow without bound at capacity, so they guard
their own domain; the shares are guarded by a primal-dual interior-point method. With g the gradient, s the slack of w
>= 0 and mu the barrier's weight a Newton step solves

    [ A' diag(f'') A + diag(s/w)   -E' ] [ dw    ]   [ mu/w - g ]
    [ E                             0  ] [ price ] = [ 0        ]

and is cut back until shares, slacks and loads stay inside and the barrier function falls. What stops it is the excess
of the used routes over each group's cheapest, the gap that the certificate shows: nothing else is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing.values import FloatArray

Costs = Callable[[FloatArray], tuple[FloatArray, FloatArray, FloatArray]]
"""Loads (R,) to costs, their slopes and their curvatures; infinite outside of the domain."""

MOST_STEPS = 80
_PATIENCE = 12
"""Steps without a smaller gap after which rounding is all that is left."""

_INSIDE = 0.99
"""Part of the way to the nearest bound that a step takes at most."""


@dataclass(frozen=True)
class Descent:
    """Shares (n,), and by how much used routes exceed the cheapest, relative to what all pay."""

    shares: FloatArray
    gap: float
    steps: int


def above_cheapest(gradient: FloatArray, groups: NDArray[np.intp]) -> FloatArray:
    """By how much each route costs more than the cheapest of its group."""
    cheapest = np.full(groups.max() + 1, np.inf)
    np.minimum.at(cheapest, groups, gradient)
    return np.asarray(gradient - cheapest[groups])


def interior(costs: Costs, usage: FloatArray, groups: NDArray[np.intp], shares: FloatArray) -> FloatArray:
    """Shares that are all above 0 and keep every cost finite, close to the ones given (which need only the latter)."""
    even = 1.0 / np.bincount(groups)[groups]
    mixed, room = shares, 0.05
    value = float(costs(usage @ shares)[0].sum())
    while room > 1e-9:
        mixed = (1 - room) * shares + room * even
        # Mixing is only to leave the bound: it must not take the loads to where the cost explodes.
        if costs(usage @ mixed)[0].sum() <= value + 0.1 * abs(value):
            return mixed
        room /= 4
    return mixed


def descend(costs: Costs, usage: FloatArray, groups: NDArray[np.intp], start: FloatArray, tolerance: float) -> Descent:
    """Minimise the cost from `start`, whose loads lie strictly inside the domain of `costs`.

    Parameters
    ----------
    usage : array of shape (R, n)
        Load on each resource for all of a group on a route.
    groups : integer array of shape (n,)
        Group of each route, 0 to the number of groups - 1, none empty.
    start : array of shape (n,)
        Shares; brought to a sum of 1 in each group.
    tolerance : float
        Relative gap to reach.

    Returns
    -------
    Descent
        The shares with the least gap seen, also when `MOST_STEPS` or rounding ended it early.
    """
    rows = np.asarray(usage.any(axis=1))
    matrix = usage[rows]

    def inner(shares: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        load = np.zeros(len(rows))
        load[rows] = matrix @ shares
        value, slope, curvature = costs(load)
        return float(value[rows].sum()), slope[rows], curvature[rows]

    count, many = len(start), int(groups.max()) + 1
    if count == many:
        return Descent(np.ones(count), 0.0, 0)
    members = np.zeros((many, count))
    members[groups, np.arange(count)] = 1.0
    shares = interior(costs, usage, groups, start / np.bincount(groups, start)[groups])
    value, slope, curvature = inner(shares)
    gradient = matrix.T @ slope
    excess, paid = float(shares @ above_cheapest(gradient, groups)), float(shares @ gradient)
    if paid <= 0:
        return Descent(start, 0.0, 0)
    slack = np.full(count, max(excess, tolerance * paid)) / (count * shares)
    best = Descent(shares, excess / paid, 0)
    system = np.zeros((count + many, count + many))
    right = np.zeros(count + many)
    diagonal = np.arange(count)
    cut = 0.1
    for steps in range(1, MOST_STEPS + 1):
        barrier = cut * float(shares @ slack) / count
        # In units of the shares, and against each group's cheapest route: so that small shares and small differences
        # of large prices keep their digits.
        scaled = matrix * shares
        system[:count, :count] = (scaled.T * curvature) @ scaled
        system[diagonal, diagonal] += slack * shares
        system[:count, count:], system[count:, :count] = -(members * shares).T, members * shares
        pull = barrier / shares - above_cheapest(gradient, groups)
        right[:count] = pull * shares
        move = shares * np.linalg.solve(system, right)[:count]
        # Rounding must not change the sums: near capacity a billionth of a load is felt.
        move[(members * shares).argmax(axis=1)] -= members @ move
        change = barrier / shares - slack - slack / shares * move
        reach = min(1.0, _INSIDE * _longest(shares, move))
        fall = float(pull @ move)
        merit = value - barrier * float(np.log(shares).sum())
        while True:
            trial = shares + reach * move
            value, slope, curvature = inner(trial)
            if value - barrier * np.log(trial).sum() <= merit - 1e-4 * reach * fall + 1e-13 * abs(merit):
                break
            reach /= 2
            if reach < 1e-10:
                return best
        shares = trial
        slack = np.maximum(slack + min(1.0, _INSIDE * _longest(slack, change)) * change, 1e-300)
        gradient = matrix.T @ slope
        excess, paid = float(shares @ above_cheapest(gradient, groups)), float(shares @ gradient)
        if excess < best.gap * paid:
            best = Descent(shares, excess / paid, steps)
        if best.gap <= tolerance or steps - best.steps > _PATIENCE:
            break
        cut = 0.05 if reach > 0.9 else 0.5
    return best


def _longest(point: FloatArray, move: FloatArray) -> float:
    """How far along `move` all entries stay at or above 0."""
    falling = move < 0
    return float((point[falling] / -move[falling]).min()) if falling.any() else np.inf
