"""Users and prices in a loop without a network: what the constants of both are judged by before packets are.

A tick: each option's requests of a second are drawn (Poisson, frames of their own sizes) and counted as switches count
them, in bits; machines publish what follows from the counts (`pricing.priority.publish`), and users answer
(`pricing.priority.elastic`). A share of the announcements is lost. Waits are taken to be those of the formula, so what
the loop does not show is how queues fill; that is for packets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pricing.network import Network
from pricing.priority.elastic import Group, begun, economy_of
from pricing.priority.publish import PACE, Regime, published
from pricing.priority.published import Published
from pricing.priority.state import State
from pricing.priority.values import multiplied, value_of
from pricing.shortest import shortest_path
from pricing.values import FloatArray

IDLE_TICKS = 5
"""Ticks before the first request (ours): a controller is up before those who send."""

USED = 0.01
"""Part of all requests from which on a session's price counts as used."""


@dataclass(frozen=True)
class Loop:
    """What a loop showed in T ticks.

    Parameters
    ----------
    rates : array of shape (T, S)
        Requests/s that each user sends, as it has chosen.
    welfare : array of shape (T,)
        Of these rates and shares, at the values of that tick, currency/s; -inf where a machine is over capacity.
    moves : array of shape (T,)
        The largest relative move of a price in use since the tick before.
    """

    rates: FloatArray
    welfare: FloatArray
    moves: FloatArray


def follow(
    network: Network,
    groups: Sequence[Group],
    regime: Regime = "priority",
    ticks: int = 120,
    seed: int = 1,
    pace: float = PACE,
    lost: float = 0.0,
    worth: Mapping[int, tuple[str, float]] | None = None,
) -> Loop:
    """Let users follow what is published.

    Parameters
    ----------
    network : Network
        Of the users' options, as `pricing.priority.elastic.expanded` makes it.
    lost : float
        Share of its announcements that each user does not hear.
    worth : mapping of tick to (user, factor), optional
        What happens: from that tick on the user's value is so many times what it was at first.
    """
    random, allocation = np.random.default_rng(seed), shortest_path(network)
    first, second = np.array([session.size.frame_moments for session in network.sessions]).T
    delay_cost = np.array([session.delay_cost for session in network.sessions])
    places = np.cumsum([len(group.options) for group in groups])[:-1]
    choices, values = [begun(group, network) for group in groups], [value_of(group.user.value) for group in groups]
    factors, economy = np.ones(len(groups)), economy_of(network, groups)
    found: Published | None = None
    for _ in range(IDLE_TICKS):
        found = published(network, allocation, np.zeros(len(network.sessions)), found, regime, pace)
    rates, welfare, moves = [], [], []
    for tick in range(ticks):
        if worth and tick in worth:
            name, factor = worth[tick]
            factors[[group.name for group in groups].index(name)] = factor
            economy = economy_of(network, worthy(groups, *worth[tick]))
        x = np.concatenate([choice.rate * choice.shares for choice in choices])
        rates.append([choice.rate for choice in choices])
        welfare.append(State(economy, x).welfare if (economy.load(x) < 1).all() else -np.inf)
        packets = random.poisson(x)
        bits = packets * first + np.sqrt(packets * (second - first**2)) * random.standard_normal(len(x))
        before, found = found, published(network, allocation, np.maximum(bits, 0.0) / first, found, regime, pace)
        moves.append(_move(before, found, x))
        costs = np.split(delay_cost * found.times + found.prices, places)
        choices = [
            choice if random.random() < lost else choice.answer(group.user, value, cost / factor)
            for choice, group, value, cost, factor in zip(choices, groups, values, costs, factors, strict=True)
        ]
    return Loop(np.array(rates), np.array(welfare), np.array(moves))


def worthy(groups: Sequence[Group], name: str, factor: float) -> tuple[Group, ...]:
    """The users when the requests of one of them are worth `factor` times as much."""
    return tuple(
        replace(group, user=replace(group.user, value=multiplied(group.user.value, factor)))
        if group.name == name
        else group
        for group in groups
    )


def _move(before: Published | None, after: Published, x: FloatArray) -> float:
    if before is None:
        return 0.0
    used = (x > USED * x.sum()) & np.isfinite(after.prices) & (before.prices > 0)
    return float(np.abs(after.prices[used] / before.prices[used] - 1).max(initial=0.0))
