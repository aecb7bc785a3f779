"""Where users of a network come to rest by the model: the best equilibrium found, as a network of options.

| regime | the equilibrium |
|---|---|
| `priority` | the best of the price equilibria found, each option on its shortest route |
| `joint-priority` | the same, where each option may take several routes |
| `one-price` | the same with one class, on shortest routes |
| `free-access` | where nobody pays, first come, first served |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pricing.network import Network
from pricing.priority.elastic import Group, economy_of
from pricing.priority.publish import WITH_CLASSES, Regime
from pricing.priority.routed import NEAREST
from pricing.priority.solve import STARTS, Solutions, free_access, optimum


@dataclass(frozen=True)
class AtRest:
    """Users at rest.

    Parameters
    ----------
    network : Network
        Of their options, each at the rate that it has there.
    solutions : Solutions
        All that were found, best first; the rates are those of the first.
    """

    network: Network
    solutions: Solutions


def at_rest(network: Network, groups: Sequence[Group], regime: Regime, starts: int = STARTS) -> AtRest:
    """The best equilibrium found of users who choose among options.

    Parameters
    ----------
    network : Network
        Of the options, as `pricing.priority.elastic.expanded` makes it.
    starts : int, optional
        Of the search.

    Raises
    ------
    NotConverged
        When no start came to rest.
    """
    economy = economy_of(network, groups, NEAREST if regime == "joint-priority" else 1)
    if regime == "free-access":
        solutions = free_access(economy, starts)
    else:
        solutions = optimum(economy if regime in WITH_CLASSES else replace(economy, classes=1), starts)
    last = network.classes - solutions.best.economy.classes  # where there is one class, it is the last
    rates = dict.fromkeys(network.session_index, 0.0)
    for rate, (s, p, k) in zip(solutions.best.x.tolist(), solutions.best.economy.options, strict=True):
        server = economy.services[s].programs[p].name.rpartition("@")[2]
        rates[f"{groups[s].name}.{server}.{k + last + 1}"] += rate
    sessions = tuple(replace(one, rate=rates[one.name] * one.frame_bits) for one in network.sessions)
    return AtRest(replace(network, sessions=sessions), solutions)
