"""Priority prices beside what else one could do, who gains and who loses, and whether lying about the class pays.

| regime | queues | users pay |
|---|---|---|
| `priority` | K classes | the rental price of their class |
| `fifo` | first come, first served | the rental price of the one class there is |
| `free` | first come, first served | nothing |

Each is at its best solution found. Rents are transfers: welfare is what users keep plus what they pay. So users as a
group may lose by a price and yet the whole gain, and who gives back the revenue decides who gains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pricing.priority.economy import Economy
from pricing.priority.solve import STARTS, Solutions, free_access, optimum
from pricing.priority.state import State
from pricing.values import FloatArray


@dataclass(frozen=True)
class Regimes:
    """The solutions of one economy under three regimes."""

    priority: Solutions
    fifo: Solutions
    free: Solutions

    def __iter__(self) -> Iterator[tuple[str, State]]:
        return iter((("priority", self.priority.best), ("fifo", self.fifo.best), ("free", self.free.best)))


def compare(economy: Economy, starts: int = STARTS, seed: int = 1) -> Regimes:
    """Solve the economy with its classes, with one, and with access free.

    Raises
    ------
    NotConverged
        When a search found nothing.
    """
    return Regimes(
        optimum(economy, starts, seed),
        optimum(replace(economy, classes=1), starts, seed),
        free_access(economy, starts, seed),
    )


def gains(after: State, before: State, back: bool = False) -> FloatArray:
    """What each service's user keeps more in `after` than in `before`, currency/s, shape (S,).

    With `back`, each regime's revenue is given back in equal parts: the gains then add up to that of welfare.
    """
    part = (after.revenue - before.revenue) / len(after.values) if back else 0.0
    return np.asarray(after.net_benefits - before.net_benefits + part)


def claims(state: State) -> FloatArray:
    """Cost of a program of each service that claims each class, by its best program for it; currency, shape (S, K)."""
    costs = np.full((len(state.values), state.economy.classes), np.inf)
    np.minimum.at(costs, (state.economy.owner, state.economy.chosen), state.costs)
    return costs


def temptation(state: State) -> float:
    """Most that a program could save by claiming another class or program than those in use, currency.

    Not above 0 (rounding aside) at every equilibrium: prices are incentive compatible. Above 0 where classes are free.
    """
    used = state.x > 1e-9 * state.economy.scale
    least = claims(state).min(axis=1)
    return float(np.max(np.where(used, state.costs - least[state.economy.owner], -np.inf), initial=0.0))
