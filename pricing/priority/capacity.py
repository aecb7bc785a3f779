"""What one more unit of speed is worth at each machine, and the free entry and exit that follows from it.

At an optimum the rates have no first-order effect on W, so only the machine's own change counts (envelope theorem).
With c servers of speed v, u ~ 1/v^2 and sigma ~ 1/v:

    dW/dv = sum_o delta_o x_o Q_m(p)/v^2 + sum_k gamma_k (2 u dOmega_k/du + sum_i sigma_i dOmega_k/dsigma_i)/v

For one server that is sum delta x Q/v^2 + sum_k gamma_k Omega_k [1/(v - Y_{k-1}) + 1/(v - Y_k)] with Y_k = v sigma_k.
The first term is there only where the service itself is part of the delay.

Free entry and exit (Kim and Juhn, section 5, in words): capacity enters where it is worth more than it costs, and
leaves where less. `entry_and_exit` enlarges the machine with the highest worth for its cost and shrinks the one with
the lowest, by a part of their speed that is halved when a round would not raise W less the cost of capacity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pricing.errors import WardropError
from pricing.priority.economy import Economy
from pricing.priority.solve import optimum
from pricing.priority.state import State
from pricing.values import FloatArray

RETRIES = 6
"""Halvings of the step before a round leaves everything as it is."""


def value_of_capacity(state: State) -> FloatArray:
    """dW/dv of each machine, currency a unit of work, shape (M,); all its servers become faster."""
    economy, queues = state.economy, state.queues
    sojourn = np.array([machine.sojourn for machine in economy.machines])
    served = (economy.delay_cost * state.x) @ economy.time * sojourn
    slopes = np.einsum("mki,mi->mk", queues.factor_slopes, queues.sigma)
    waited = np.einsum("mk,mk->m", state.gamma, 2 * queues.factor + slopes) * queues.residual
    return np.asarray((served + waited) / economy.speed)


@dataclass(frozen=True)
class Investment:
    """A round of entry and exit.

    Parameters
    ----------
    state : State
        The optimum before the round's decision.
    worth : array of shape (M,)
        dW/dv, currency a unit of work.
    costs : array of shape (M,)
        What a unit of speed costs, currency/s.
    entered, left : str
        The machines enlarged and shrunk; empty for none.
    step : float
        Part of the speed by which they changed.
    """

    state: State
    worth: FloatArray
    costs: FloatArray
    entered: str
    left: str
    step: float

    @property
    def surplus(self) -> float:
        """W less the cost of all capacity, currency/s."""
        return self.state.welfare - float(self.costs @ (self.state.economy.speed * self.state.economy.servers))


def entry_and_exit(
    economy: Economy, costs: Sequence[float], rounds: int = 10, step: float = 0.1, starts: int = 8
) -> Iterator[Investment]:
    """Rounds of investment; each is decided by worth against cost, and its effect is the next round's state.

    Parameters
    ----------
    costs : sequence of M floats
        What a unit of speed of one server costs, currency/s, above 0.
    rounds : int, optional
        Rounds; fewer when nothing pays any more.
    step : float, optional
        Part of its speed by which a machine changes in the first round.
    starts : int, optional
        Starts of each search for the optimum, beside the last one.

    Raises
    ------
    WardropError
        When there is not one cost above 0 for each machine.
    NotConverged
        When an optimum was not found.
    """
    price = np.asarray(costs, dtype=float)
    if price.shape != economy.speed.shape or not (np.isfinite(price) & (price > 0)).all():
        raise WardropError(f"costs of capacity {list(costs)}: one above 0 for each machine is accepted")
    state = optimum(economy, starts).best
    for _ in range(rounds):
        worth = value_of_capacity(state)
        ratio = worth / (price * state.economy.servers)
        enter, leave = int(np.argmax(ratio)), int(np.argmin(ratio))
        now = Investment(state, worth, price, "", "", step)
        after = state
        for _ in range(RETRIES):
            factors = np.ones(len(price))
            factors[enter] += step * (ratio[enter] > 1)
            factors[leave] -= step * (ratio[leave] < 1)
            after = _resized(state, factors, starts)
            then = replace(now, state=after)
            if then.surplus > now.surplus:
                break
            step /= 2
        else:
            yield replace(now, step=step)
            return
        names = [machine.name for machine in economy.machines]
        yield replace(
            now,
            entered=names[enter] if ratio[enter] > 1 else "",
            left=names[leave] if ratio[leave] < 1 else "",
            step=step,
        )
        state = after


def _resized(state: State, factors: FloatArray, starts: int) -> State:
    """The optimum with other speeds, looked for from the last one too."""
    economy = state.economy
    machines = [replace(m, speed=m.speed * float(f)) for m, f in zip(economy.machines, factors, strict=True)]
    return optimum(replace(economy, machines=machines), starts, also=[state.x]).best
