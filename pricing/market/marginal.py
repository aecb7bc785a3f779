"""What one more unit changes: both ends of a price, who is marginal, and what capacity is worth.

Where a basic solution is degenerate its duals are one of many. The cost of the market as a function of a demand or a
capacity has a kink there: one more unit costs more than one less saves. Both slopes come from the program of
directions y at the optimum,

    min c y   s.t.  rows that bind stay, one of them moves by one unit, y >= 0 where a flow is 0

over all routes of the network. The slope to the right is the upper end of a demand's price, and infinite where one
more unit cannot be served; y says who serves it: who is marginal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pricing.market.clearing import Clearing, program_of
from pricing.market.program import BIG, Extra, Frame, Program
from pricing.network import LinkKey

FULL = 1e-9
"""A resource is full from this part of its capacity below it on."""


@dataclass(frozen=True)
class Interval:
    """What the last unit is worth and what the next one costs; equal where the price is the only one."""

    low: float
    high: float

    @property
    def single(self) -> bool:
        """Whether both ends are the same, up to rounding."""
        return math.isfinite(self.high) and self.high - self.low <= 1e-7 * max(abs(self.high), abs(self.low))


@dataclass(frozen=True)
class Response:
    """What one unit more changes.

    Parameters
    ----------
    cost : float
        Currency a unit; infinite where it cannot be.
    assets : mapping
        Change of work/s by (asset, period): those named are marginal.
    shed : mapping
        Change of tokens/s shed by demand (its place).
    """

    cost: float
    assets: Mapping[tuple[str, int], float]
    shed: Mapping[int, float]


def one_more_token(clearing: Clearing, region: str, workload: str, period: int = 0) -> Response:
    """What one more token/s that must be served changes, and who serves it."""
    frame = Frame(clearing.market)
    row = clearing.market.demand_index[region, workload, period]
    return _response(clearing, frame, row, 1.0, frame.money)


def price_interval(clearing: Clearing, region: str, workload: str, period: int = 0) -> Interval:
    """Both ends of a locational price, currency a token; the upper one infinite where no more can be served."""
    frame = Frame(clearing.market)
    row = clearing.market.demand_index[region, workload, period]
    less, more = (_response(clearing, frame, row, sign, frame.money).cost for sign in (-1.0, 1.0))
    return Interval(-less, more)


def worth_of_asset(clearing: Clearing, asset: str, period: int = 0) -> Interval:
    """What one more work/s of an asset saves (low), and what one less would cost (high), currency a work."""
    frame = Frame(clearing.market)
    row = frame.asset_row(clearing.market.asset_index[asset], period)
    return _worth(clearing, frame, row, frame.money / frame.work)


def worth_of_link(clearing: Clearing, link: LinkKey, period: int = 0) -> Interval:
    """What one more bit/s of a link saves (low), and what one less would cost (high), currency a bit."""
    frame = Frame(clearing.market)
    row = frame.link_row(clearing.market.link_index[link], period)
    return _worth(clearing, frame, row, frame.money / frame.bits)


def _worth(clearing: Clearing, frame: Frame, row: int, unit: float) -> Interval:
    more, less = (_response(clearing, frame, row, sign, unit).cost for sign in (1.0, -1.0))
    return Interval(max(0.0, -more), max(0.0, less))


def _response(clearing: Clearing, frame: Frame, row: int, sign: float, unit: float) -> Response:
    """The cheapest direction in which the right side of a row moves by `sign`."""
    market = clearing.market
    original, first = program_of(frame)
    loads = np.concatenate([clearing.asset_loads, clearing.link_loads])
    limits = np.concatenate([frame.capacities, frame.bandwidths])[:, None]
    full = (loads >= (1 - FULL) * limits).ravel()
    upper = np.concatenate([np.zeros(frame.demands), np.where(full, 0.0, np.inf)])
    lower = np.concatenate([np.zeros(frame.demands), np.full(len(full), -np.inf)])
    upper[row] += sign
    if row < frame.demands:
        lower[row] += sign
    extras = []
    for d, demand in enumerate(market.demands):
        rest = clearing.shed[d]
        # the least valued steps are shed first
        order = sorted(range(len(demand.steps)), key=lambda s: demand.steps[s].value)
        bounds = {}
        for s in order:
            part, size = min(rest, demand.steps[s].rate), demand.steps[s].rate
            firm = math.isinf(demand.steps[s].value)
            bounds[s] = (
                -np.inf if part > FULL * size else 0.0,
                np.inf if part < (1 - FULL) * size and not firm else 0.0,
            )
            rest -= part
        given = original.extras[first[d] : first[d + 1]]
        extras += [Extra(d, extra.cost, *bounds[s]) for s, extra in enumerate(given)]
    shed_columns = len(extras)
    # takes up the unit where nothing else can, and must be 0 in the end
    extras.append(Extra(row, BIG, 0.0, np.inf, sign if row < frame.demands else -1.0))
    keys = {(flow.demand, flow.period, flow.route.links, flow.route.server) for flow in clearing.flows}
    columns = clearing.memory.columns

    named = {
        column: (
            column.demand,
            column.period,
            tuple(market.links[link].key for link in column.way.links),
            market.assets[column.way.asset].name,
        )
        for column in columns
    }
    free = frozenset(column for column in columns if named[column] in keys)
    program = Program(frame, lower, upper, extras, [shed_columns], frame.limits, free)
    program.add(columns)
    if not program.solve():
        return Response(math.inf, {}, {})
    values = program.values
    costs = np.array([e.cost for e in extras] + [frame.cost(c) / frame.money for c in program.columns])
    return Response(float(costs @ values) * unit, _changes(program, values, len(extras)), _shed(first, values))


def _changes(program: Program, values: np.ndarray, count: int) -> dict[tuple[str, int], float]:
    frame, market = program.frame, program.frame.market
    found: dict[tuple[str, int], float] = {}
    for column, value in zip(program.columns, values[count:].tolist(), strict=True):
        key = market.assets[column.way.asset].name, column.period
        found[key] = found.get(key, 0.0) + value * market.workloads[frame.workload[column.demand]].compute
    return {key: value for key, value in sorted(found.items()) if abs(value) > 1e-9 * frame.work}


def _shed(first: list[int], values: np.ndarray) -> dict[int, float]:
    changes = np.add.reduceat(values[: first[-1]], first[:-1])
    return {int(d): float(changes[d]) for d in np.flatnonzero(np.abs(changes) > 1e-9)}
