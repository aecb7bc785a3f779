"""A market that is cleared again: after a step of demand, and after a cable's failure and its return.

Both rows do what the market can still serve in full, where there is such a thing, so that no packet need be refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from experiments.faults.ground import Ground, Line, spare_cables
from experiments.faults.rows import LOST, NONE_LOST, NONE_TWICE, PACKETS, STEAL, Figure, Row, Seen
from pricing.errors import WardropError
from pricing.market.dispatch import LEAST, PERIOD, dispatch
from pricing.network import LinkKey, Network
from pricing.outage import Outage, remains
from pricing.problem import problem_of

STEP = 1.5
"""What the session's demand is multiplied by (ours)."""

MOVED = 0.05
"""Part by which the price of a session must rise with the step (ours)."""

WATCHED_TICKS = 5
"""Ticks for which what was cleared is then watched (ours)."""


def market_lacks(network: Network) -> str:
    """What a network lacks for these rows; empty when it has everything."""
    served = any(session.kind == "anycast" for session in network.sessions)
    return "" if network.currency and served and spare_cables(network) else "a service, costs and a cable to spare"


def step_demand(ground: Ground) -> Seen:
    """Let one session ask for more, and for as much as before."""
    network, stepped = ground.network, problem_of(ground.network).rates.copy()
    place = growing(network)
    name = network.sessions[place].name
    half = (1 + STEP) / 2 * float(stepped[place])
    stepped[place] *= STEP
    ground.ticks(PERIOD)
    before = ground.lines[-1]
    ground.traffic.set_demand(name, STEP)
    known, cleared = known_and_cleared(ground, lambda line: bool(line["offered"][name] > half))
    after = ground.ticks(WATCHED_TICKS)
    ground.traffic.set_demand(name, 1.0)
    _, back = known_and_cleared(ground, lambda line: bool(line["offered"][name] < half))
    return Seen(
        {
            "known_ticks": known,
            "cleared_ticks": cleared,
            "back_ticks": back,
            "price_before": 1e6 * before["market"]["prices"][name],
            "price_after": 1e6 * after[-1]["market"]["prices"][name],
            "price_of_step": 1e6 * dispatch(network, stepped).quotes.sessions[name],
            "refused": _refused(after),
            "top_utilization": _top(after),
        }
    )


def cut_cable(ground: Ground) -> Seen:
    """Cut a cable that the market can do without, and mend it."""
    a, b = dispensable(ground.network)
    index = ground.network.link_index[a, b]
    ground.ticks(1)
    before = ground.lines[-1]

    def cleared_with(there: bool) -> Callable[[Line], bool]:
        return lambda line: _is_cleared(line) and (line["market"]["links"][index] is not None) == there

    moment = time.time()
    ground.up.emulation.fail_link(a, b)
    cleared, _ = ground.until(cleared_with(False))
    after = ground.ticks(WATCHED_TICKS)
    ground.up.emulation.heal_link(a, b)
    back, _ = ground.until(cleared_with(True))
    return Seen(
        {
            "cleared_ticks": cleared,
            "back_ticks": back,
            "price_before": _price(before),
            "price_after": _price(after[-1]),
            "price_back": _price(ground.lines[-1]),
            "refused": _refused(after),
            "top_utilization": _top(after),
        },
        moment,
    )


def growing(network: Network) -> int:
    """The session that sends most packets, of those whose step the market can serve and prices.

    Raises
    ------
    WardropError
        When there is none.
    """
    rates = problem_of(network).rates
    before = dispatch(network, rates).quotes.sessions
    for place in np.argsort([-session.packet_rate for session in network.sessions], kind="stable").tolist():
        name, stepped = network.sessions[place].name, rates.copy()
        stepped[place] *= STEP
        found = dispatch(network, stepped)
        if found.served.min() > 1 - LEAST and found.quotes.sessions[name] > (1 + MOVED) * before[name]:
            return int(place)
    raise WardropError(f"{network.name}: found no session that can be served {STEP:g} of its rate at another price")


def dispensable(network: Network) -> LinkKey:
    """The cable that carries most, of those without which the market refuses least."""
    loads = dispatch(network, problem_of(network).rates).quotes.links
    found = []
    for key in spare_cables(network):
        left = remains(network, Outage(frozenset({key, key[::-1]}))).network
        carried = loads[key].load + loads[key[::-1]].load
        least = float(dispatch(left, problem_of(left).rates).served.min())
        found.append((min(least, 1 - LEAST), carried, key))
    return max(found)[2]


def known_and_cleared(ground: Ground, known: Callable[[Line], bool]) -> tuple[int | None, int | None]:
    """Ticks until something is known, and from then until the market was cleared, 0 if in that tick; None for never."""
    ticks, lines = ground.until(known)
    if ticks is None:
        return None, None
    return ticks, 0 if _is_cleared(lines[-1]) else ground.until(_is_cleared)[0]


def _is_cleared(line: Line) -> bool:
    return bool(line["market"]["age"] == 0)


def _price(line: Line) -> float:
    """Mean price of a million tokens, by what sessions offer."""
    prices = {name: price for name, price in line["market"]["prices"].items() if price is not None}
    offered = [line["offered"][name] for name in prices]
    return 1e6 * float(np.average(list(prices.values()), weights=offered))


def _refused(lines: list[Line]) -> float:
    """Largest part of a session that was refused."""
    return max((1 - min(line["served"].values()) for line in lines), default=math.nan)


def _top(lines: list[Line]) -> float:
    """Utilization of the fullest link or server, as a mean of the ticks."""
    values = [[row["utilization"] for row in (*line["links"], *line["servers"])] for line in lines]
    return float(np.mean(values, axis=0).max())


NO_MORE = Figure("top_utilization", "ratio", "of the fullest link or server then", most=1.02)
REFUSED = Figure("refused", "ratio", "largest part of a session that was refused then", most=0)

MARKET_STEP = Row(
    "market-step",
    "of the sessions whose step can be served at a higher price, the one that sends most packets asks for "
    f"{STEP:g} times as much; then as before",
    "within a period of its being known the market is cleared for it, the price follows, no packet is lost",
    (
        PACKETS,
        NONE_LOST,
        NONE_TWICE,
        Figure("known_ticks", "ticks", "until its demand as estimated is more than half way there"),
        Figure("cleared_ticks", "ticks", "from then until the market was cleared", most=PERIOD, timing=True),
        Figure("price_before", "a million tokens", "locational price of the session, in the market's currency"),
        Figure("price_after", "a million tokens", "the same when it was cleared"),
        Figure("price_of_step", "a million tokens", "the same by a clearing of exactly that demand"),
        REFUSED,
        NO_MORE,
        Figure("back_ticks", "ticks", "from knowing of the old demand until it was cleared", most=PERIOD, timing=True),
        STEAL,
    ),
    step_demand,
)

MARKET_LINK = Row(
    "market-link",
    "of the cables without which least is refused, the one that carries most fails, and returns some ticks later",
    "within a period the market is cleared without it, and with it again",
    (
        PACKETS,
        LOST,
        NONE_TWICE,
        Figure("last_lost_s", "s", "from the cable's failure to the last lost packet that was sent"),
        Figure("cleared_ticks", "ticks", "until the market was cleared without it", most=PERIOD, timing=True),
        Figure("price_before", "a million tokens", "mean price, by what sessions offer, in the market's currency"),
        Figure("price_after", "a million tokens", "the same without the cable"),
        Figure("price_back", "a million tokens", "the same with it again"),
        REFUSED,
        NO_MORE,
        Figure("back_ticks", "ticks", "from its return until the market was cleared with it", most=PERIOD, timing=True),
        STEAL,
    ),
    cut_cable,
)
