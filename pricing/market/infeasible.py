"""Why a market cannot be cleared: a set of regions, nodes, links and limits that cannot be met together.

The least that must be left unserved has duals; where they are not 0 the demand and capacities take part in the
conflict. From these one after the other is left out - a region's demand, a node's or a link's capacity, a workload's
limit - and stays out when the rest still cannot be met. What remains is irreducible: without any one of it the rest can
be met.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pricing.market.clearing import program_of
from pricing.market.model import Market
from pricing.market.program import Extra, Frame, Program

Kind = Literal["region", "node", "link", "limit"]
Part = tuple[Kind, str]
_BISECTIONS = 30


@dataclass(frozen=True)
class Conflict:
    """What cannot be met together.

    Parameters
    ----------
    market : str
    parts : tuple of (kind, name)
        The irreducible set.
    unserved : float
        Least tokens/s that the regions of the set must go without.
    mend : tuple of (part, float)
        For each node, link and limit of the set, what it alone would have to have, all else as it is: work/s, bit/s, s;
        infinite where no amount would do.
    capacities : tuple of (part, float)
        What they have now.
    """

    market: str
    parts: tuple[Part, ...]
    unserved: float
    mend: tuple[tuple[Part, float], ...]
    capacities: tuple[tuple[Part, float], ...]

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of the nodes, links and limits in the set."""
        return tuple(name for kind, name in self.parts if kind != "region")

    def __str__(self) -> str:
        regions = [name for kind, name in self.parts if kind == "region"]
        have = dict(self.capacities)
        lines = [
            f"market {self.market}: {_names(regions)} cannot be served: {self.unserved:,.6g} tokens/s too many for "
            "all of the following together, of which each could be met without one of the others"
        ]
        for part, needed in self.mend:
            what, unit, scale = {
                "node": ("the compute of node", "work/s", 1.0),
                "link": ("the capacity of link", "Mbit/s", 1e-6),
                "limit": ("the latency limit of", "ms", 1e3),
            }[part[0]]
            enough = (
                f"{needed * scale:,.6g} {unit} alone would do" if math.isfinite(needed) else "more alone would not do"
            )
            lines.append(f"  {what} {part[1]}: {have[part] * scale:,.6g} {unit}; {enough}")
        lines.append(
            "serve less, add what one of the lines asks for, or give the demand a value so that it may be shed"
        )
        return "\n".join(lines)


def explain(market: Market) -> Conflict:
    """An irreducible set of what cannot be met together.

    Parameters
    ----------
    market : Market
        One that cannot be cleared.

    Notes
    -----
    A program for each region, node, link and limit that may take part.
    """
    frame = Frame(market)
    everything = _everything(market)
    _, parts = _unserved(frame, set(everything))
    kept = [part for part in everything if part in parts or part[0] == "limit"]
    for part in list(kept):
        rest = [each for each in kept if each != part]
        if _unserved(frame, set(rest))[0] > 0:
            kept = rest
    least, _ = _unserved(frame, set(kept))
    resources = [part for part in kept if part[0] != "region"]
    mend = tuple((part, _enough(frame, set(kept), part)) for part in resources)
    return Conflict(market.name, tuple(kept), least, mend, tuple((part, _has(market, part)) for part in resources))


def unserved(market: Market) -> float:
    """Least tokens/s of what must be served that cannot be; 0 where the market can be cleared."""
    return _unserved(Frame(market), set(_everything(market)))[0]


def _everything(market: Market) -> list[Part]:
    firm = {demand.region for demand in market.demands if demand.firm}
    parts: list[Part] = [("limit", load.name) for load in market.workloads if math.isfinite(load.limit)]
    parts += [("link", str(link)) for link in market.links]
    parts += [("node", node) for node in sorted({asset.node for asset in market.assets})]
    return parts + [("region", region) for region in sorted(firm)]


def _unserved(
    frame: Frame, kept: set[Part], changed: Part | None = None, value: float = 0.0
) -> tuple[float, set[Part]]:
    """Least tokens/s unserved when only some parts hold, one of them perhaps with another value; and what limits."""
    market = frame.market

    def holds(part: Part, own: float) -> float:
        if part == changed:
            return value
        return own if part in kept else math.inf

    factor = {
        node: holds(("node", node), _has(market, ("node", node))) / _has(market, ("node", node))
        for node in sorted({asset.node for asset in market.assets})
    }
    capacities = np.array([asset.capacity * factor[asset.node] for asset in market.assets])
    bandwidths = np.array([holds(("link", str(link)), link.capacity) for link in market.links])
    limits = np.array([holds(("limit", load.name), load.limit) for load in market.workloads])
    original, first = program_of(frame)
    extras: list[Extra] = []
    firm: list[int] = []
    for d, demand in enumerate(market.demands):
        for extra in original.extras[first[d] : first[d + 1]]:
            if len(extras) in original.firm and ("region", demand.region) in kept:
                firm.append(len(extras))
            extras.append(Extra(d, 0.0, extra.lower, extra.upper))
    upper = np.concatenate([original.upper[: frame.demands], frame.upper(capacities, bandwidths)])
    program = Program(frame, original.lower, upper, extras, firm, limits)
    least = program.least_unserved() * frame.tokens
    if least <= 1e-7 * frame.tokens:
        return 0.0, set()
    return least, set(_limiting(frame, program))


def _limiting(frame: Frame, program: Program) -> Iterable[Part]:
    market, duals = frame.market, program.duals
    for d in np.flatnonzero(duals.demands > 1e-9 * frame.money):
        yield ("region", market.demands[int(d)].region)
    for j in np.flatnonzero(duals.assets.max(axis=1) > 0):
        yield ("node", market.assets[int(j)].node)
    for e in np.flatnonzero(duals.links.max(axis=1) > 0):
        yield ("link", str(market.links[int(e)]))


def _has(market: Market, part: Part) -> float:
    kind, name = part
    if kind == "node":
        return sum(asset.capacity for asset in market.assets if asset.node == name)
    if kind == "link":
        return next(link.capacity for link in market.links if str(link) == name)
    return next(load.limit for load in market.workloads if load.name == name)


def _enough(frame: Frame, kept: set[Part], part: Part) -> float:
    """The least value of one part with which the set can be met, to a millionth; infinite where there is none."""
    low = _has(frame.market, part)
    high = 2 * low
    while _unserved(frame, kept, part, high)[0] > 0:
        low, high = high, 2 * high
        if high > 1e6 * _has(frame.market, part):
            return math.inf
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _unserved(frame, kept, part, middle)[0] > 0:
            low = middle
        else:
            high = middle
        if high - low <= 1e-6 * high:
            break
    return high


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} together"
