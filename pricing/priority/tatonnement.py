"""How prices find an equilibrium: machines publish, users answer, and both move a part of the way.

A round: machines measure their queues and publish prices and waits, smoothed; each service takes its cheapest option's
cost c* at what was published, moves its rate toward the demand V'(X) = c*, and shifts shares toward cheaper options,

    shares -> the nearest point of the simplex to  shares - SHIFT (c_o - c*)/c*

Rates and shares move by a part of their way only, for all move at once. Where a round after round does not bring the
residual down, the parts shrink. What comes to rest is a price equilibrium; which one depends on the start. A machine
that is asked for more than it has prices as if at `NEAR_CAPACITY`, by less of everybody: finite, and steep enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pricing.priority.economy import Economy
from pricing.priority.state import Rental, State, option_rents, option_times
from pricing.values import FloatArray

NEAR_CAPACITY = 0.995
"""Load at which an overloaded machine's prices are taken."""

SHIFT = 30.0
"""Share that would leave an option for each part of the least cost that it costs more, if nobody were damped."""

PATIENCE = 200
"""Rounds in which the residual has to fall by a tenth, or the steps shrink."""


LEAST_STEP = 0.01
"""Where steps stop shrinking."""


@dataclass(frozen=True)
class Round:
    """What one round left behind.

    Parameters
    ----------
    state : State
        Rates as they are now, cut below capacity.
    published : Rental
        Prices that users answered to.
    waits : array of shape (M, K)
        Waits that they answered to, s.
    step : float
        Part of the way that all moved.
    """

    state: State
    published: Rental
    waits: FloatArray
    step: float


def tatonnement(economy: Economy, x: FloatArray, step: float = 0.1, rounds: int = 2000) -> Iterator[Round]:
    """Rounds from rates `x` on, until they rest or `rounds` are over.

    Parameters
    ----------
    x : array of shape (N,)
        Programs a second of each option.
    step : float, optional
        Part of the way that prices, rates and shares move at first, 0 to 1.
    """
    state = State(economy, _below(economy, x))
    rental, waits = state.rental, state.waits
    totals, shares = state.totals, _shares(economy, state.x)
    best, since = np.inf, 0
    for _ in range(rounds):
        rental = Rental(
            rental.linear + step * (state.rental.linear - rental.linear),
            rental.quadratic + step * (state.rental.quadratic - rental.quadratic),
            economy.speed,
        )
        waits = waits + step * (state.waits - waits)
        costs = economy.delay_cost * option_times(economy, waits) + option_rents(economy, rental)
        cheapest = np.full(len(economy.services), np.inf)
        np.minimum.at(cheapest, economy.owner, costs)
        wanted = np.array([s.value.demand(float(c)) for s, c in zip(economy.services, cheapest, strict=True)])
        totals = totals + step * (np.minimum(wanted, economy.service_scale) - totals)
        dearer = (costs - cheapest[economy.owner]) / np.maximum(cheapest[economy.owner], 1e-300)
        shares = shares + step * (_simplices(economy, shares - SHIFT * np.minimum(dearer, 1.0)) - shares)
        state = State(economy, _below(economy, totals[economy.owner] * shares))
        yield Round(state, rental, waits, step)
        if state.residual < 1e-8:
            return
        if state.residual < 0.9 * best:
            best, since = state.residual, 0
        else:
            since += 1
        if since == PATIENCE:
            step, since = max(step / 2, LEAST_STEP), 0


def _below(economy: Economy, x: FloatArray) -> FloatArray:
    """The rates, all less by one factor where a machine would be filled."""
    return np.asarray(x * min(1.0, NEAR_CAPACITY / max(float(economy.load(x).max()), 1e-300)))


def _shares(economy: Economy, x: FloatArray) -> FloatArray:
    """Part of its service's rate that each option has; equal ones where nothing is asked for."""
    totals = economy.totals(x)[economy.owner]
    equal = 1 / np.bincount(economy.owner)[economy.owner]
    return np.where(totals > 0, x / np.where(totals > 0, totals, 1.0), equal)


def _simplices(economy: Economy, points: FloatArray) -> FloatArray:
    """The nearest shares in each service."""
    nearest = np.empty_like(points)
    for s in range(len(economy.services)):
        mine = economy.owner == s
        nearest[mine] = nearest_shares(points[mine])
    return nearest


def nearest_shares(points: FloatArray) -> FloatArray:
    """The shares nearest to `points`, from 0 and adding up to 1, by sorting; O(n log n).

    >>> nearest_shares(np.array([0.9, 0.3, -1.0])).round(12).tolist()
    [0.8, 0.2, 0.0]
    """
    ordered = np.sort(points)[::-1]
    over = (np.cumsum(ordered) - 1) / np.arange(1, len(ordered) + 1)
    return np.asarray(np.maximum(points - over[np.flatnonzero(ordered > over)[-1]], 0.0))
