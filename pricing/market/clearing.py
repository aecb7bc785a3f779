"""Clearing a market: who computes what and over which links, at the least cost, and the prices that make it so.

    pi_i^k = a_k (c_n + mu_n) + sum over the links of the route of b_k (t_e + nu_e)   in use, <= on other routes

The locational price pi of a region and workload is the dual of its demand; scarcity mu and congestion nu are the duals
of capacities. All come from one basic solution, so that what is paid is what is earned: payments = compute + fees +
rents. The answer carries its certificate, which is computed from the answer alone, over all routes of the network.

A market whose demand changes is cleared again from the last answer: `clear(market, warm=last)` begins with its routes,
and with its basis where the market has the same parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pricing.errors import Infeasible
from pricing.market.certificate import Certificate, certify
from pricing.market.flows import Flow, loads
from pricing.market.model import Market
from pricing.market.program import BIG, Basis, Column, Duals, Extra, Frame, Program
from pricing.market.search import Way
from pricing.market.start import Start, startable
from pricing.network import LinkKey, Route
from pricing.values import FloatArray

IDLE = 1
"""Idle routes that are remembered for the next clearing, for each demand on average: the least dear (ours)."""

LEAST = 1e-9
"""Flows below this part of the mean demand are rounding."""


@dataclass(frozen=True)
class Memory:
    """What a clearing leaves to the next: routes and basis, and what they were found in."""

    columns: tuple[Column, ...]
    basis: Basis
    market: Market


@dataclass(frozen=True)
class Clearing:
    """A market, cleared.

    Parameters
    ----------
    market : Market
    flows : tuple of Flow
        Sorted by demand, period and route.
    shed : tuple of float
        tokens/s of each demand that are not served.
    duals : Duals
        Locational prices (D,), currency a token; scarcity (J, T), currency a work; congestion (L, T), currency a bit.
    cost : float
        Currency/s: compute, fees, and the value of what is shed; summed over the periods.
    certificate : Certificate
    rounds : int
        Times that the program was solved.
    memory : Memory
    """

    market: Market
    flows: tuple[Flow, ...]
    shed: tuple[float, ...]
    duals: Duals
    cost: float
    certificate: Certificate
    rounds: int
    memory: Memory

    @property
    def prices(self) -> FloatArray:
        """Locational price of each demand (D,), currency a token."""
        return self.duals.demands

    def price(self, region: str, workload: str, period: int = 0) -> float:
        """Locational price of a demand, currency a token."""
        return float(self.prices[self.market.demand_index[region, workload, period]])

    @cached_property
    def link_loads(self) -> FloatArray:
        """bit/s on each link in each period (L, T)."""
        return loads(self.market, self.flows)[1]

    @cached_property
    def asset_loads(self) -> FloatArray:
        """work/s at each asset in each period (J, T)."""
        return loads(self.market, self.flows)[0]

    def saturated(self, period: int = 0) -> tuple[LinkKey, ...]:
        """Links that are full."""
        links = self.market.links
        return tuple(
            link.key
            for link, load in zip(links, self.link_loads[:, period], strict=True)
            if load >= (1 - 1e-9) * link.capacity
        )


def clear(market: Market, warm: Clearing | None = None) -> Clearing:
    """Clear a market.

    Parameters
    ----------
    market : Market
    warm : Clearing, optional
        The answer of a similar market to start from.

    Raises
    ------
    Infeasible
        When what must be served cannot be. The message names regions, nodes, links and limits that cannot be met
        together, and by how much (`pricing.market.infeasible`).
    """
    frame = Frame(market)
    program, first = program_of(frame)
    basis = _remember(program, market, warm)
    if warm is None and startable(program):
        columns, basis = Start(program).run()
        program.add(columns)
    if not program.solve(basis):
        from pricing.market.infeasible import explain  # it clears parts of the market itself

        found = explain(market)
        raise Infeasible(str(found), found.resources, found.unserved)
    return _answer(program, first)


def program_of(frame: Frame) -> tuple[Program, list[int]]:
    """The program of a clearing, and the first shed column of each demand."""
    market = frame.market
    extras: list[Extra] = []
    firm: list[int] = []
    first: list[int] = []
    for d, demand in enumerate(market.demands):
        first.append(len(extras))
        for step in demand.steps:
            if math.isinf(step.value):
                firm.append(len(extras))
            value = BIG if math.isinf(step.value) else step.value / frame.money
            extras.append(Extra(d, value, 0.0, step.rate / frame.tokens))
    asked = np.array([demand.rate for demand in market.demands]) / frame.tokens
    upper = np.concatenate([asked, frame.upper(frame.capacities, frame.bandwidths)])
    lower = np.concatenate([asked, np.full(frame.rows - frame.demands, -np.inf)])
    return Program(frame, lower, upper, extras, firm, frame.limits), [*first, len(extras)]


def _remember(program: Program, market: Market, warm: Clearing | None) -> Basis | None:
    """Take over the routes of the last answer that are still there; its basis, if nothing but numbers changed."""
    if warm is None:
        return None
    old, then = warm.memory.market, warm.memory.columns
    if _parts(old) == _parts(market):
        program.add(then)
        return warm.memory.basis
    kept = []
    for column in then:
        demand = market.demand_index.get(old.demands[column.demand].key)
        asset = market.asset_index.get(old.assets[column.way.asset].name)
        keys = [old.links[link].key for link in column.way.links]
        links = [market.link_index[key] for key in keys if key in market.link_index]
        if demand is None or asset is None or len(links) < len(keys):
            continue
        moved, way = market.demands[demand], Way(tuple(links), asset)
        known = old.assets[column.way.asset].node == market.assets[asset].node
        limit = market.workloads[market.workload_index[moved.workload]].limit
        stays = known and market.assets[asset].runs(moved.workload) and column.period < market.periods
        if stays and program.frame.searcher.latency_of(way) <= limit:
            kept.append(Column(demand, column.period, way))
    program.add(kept)
    return None


def _parts(market: Market) -> tuple[object, ...]:
    """What a market has, without the numbers that a basis outlives."""
    return (
        market.periods,
        tuple((link.key, link.propagation) for link in market.links),
        tuple((asset.name, asset.node, asset.workloads) for asset in market.assets),
        tuple((load.name, load.limit, load.wait) for load in market.workloads),
        tuple((demand.key, tuple(math.isinf(step.value) for step in demand.steps)) for demand in market.demands),
    )


def _answer(program: Program, first: list[int]) -> Clearing:
    frame, market, values = program.frame, program.frame.market, program.values
    flows = []
    for column, value in zip(program.columns, values[first[-1] :].tolist(), strict=True):
        if value > LEAST:
            keys = tuple(market.links[link].key for link in column.way.links)
            route = Route(str(market.demands[column.demand]), keys, market.assets[column.way.asset].name)
            flows.append(Flow(column.demand, column.period, route, value * frame.tokens))
    flows.sort(key=lambda flow: (flow.demand, flow.period, flow.route.links, flow.route.server))
    steps = np.maximum(values[: first[-1]], 0.0) * frame.tokens
    shed = np.add.reduceat(steps, first[:-1])
    shed[shed <= LEAST * frame.tokens] = 0.0
    duals = program.duals
    certificate = certify(market, tuple(flows), shed, duals, frame)
    memory = Memory(*program.remembered(IDLE * len(market.demands)), market)
    return Clearing(
        market, tuple(flows), tuple(shed.tolist()), duals, certificate.primal, certificate, program.rounds, memory
    )
