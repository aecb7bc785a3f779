"""What a market for tokens is made of: workloads, assets that compute, links with fees, and demand by region.

A **workload** is a kind of work (a chatbot, batch embedding): what a token of it takes in compute, in bits on the way
out to the asset and in bits on the way back, and the longest round trip that it bears. An **asset** is a class of
machines at a node. A **demand** is what one region (a node) asks of one workload in one period: steps of tokens/s,
each with the value of a token served; a step of infinite value must be served, one of finite value may be shed at that
price (the value of lost load, or elastic demand). A **market** is all of these; it is checked once, when it is made.

Units inside: tokens/s, work/s, bit/s, s, and a currency. The formulation is completed from the abstract that the paper
survives as; what is ours is in docs/design/market.md.

| symbol | attribute | unit |
|---|---|---|
| a_k | `Workload.compute` | work a token |
| b_k | `Workload.bits_out`, `Workload.bits_back` | bit a token |
| L_k | `Workload.limit` | s |
| d_i^k | `Demand.rate` | tokens/s |
| c_n | `Asset.costs` | currency a work |
| C_n | `Asset.capacity` | work/s |
| t_e | `Market.fees` | currency a bit |
| B_e | `pricing.network.Link.capacity` | bit/s |
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from pricing.errors import MarketError
from pricing.network import Link, LinkKey, Node


@dataclass(frozen=True)
class Workload:
    """A kind of work.

    Parameters
    ----------
    name : str
    compute : float
        Work a token takes.
    bits_out, bits_back : float
        Bits a token moves from the region to the asset, and from the asset back.
    limit : float
        Longest propagation out and back that it bears, s; infinite when any will do.
    wait : int
        Periods that it may wait: batch work.
    tokens : float
        Tokens of one request. No price depends on it: it is how many requests carry a rate of tokens.
    """

    name: str
    compute: float
    bits_out: float
    bits_back: float
    limit: float = math.inf
    wait: int = 0
    tokens: float = 1.0


@dataclass(frozen=True)
class Asset:
    """A class of machines at a node.

    Parameters
    ----------
    capacity : float
        work/s.
    costs : tuple of float
        Currency a work in each period, energy and site together.
    workloads : frozenset of str, optional
        Those that it runs; all by default.
    """

    name: str
    node: str
    capacity: float
    costs: tuple[float, ...]
    workloads: frozenset[str] | None = None

    def runs(self, workload: str) -> bool:
        """Whether it can run that workload."""
        return self.workloads is None or workload in self.workloads


@dataclass(frozen=True)
class Step:
    """A part of a demand: tokens/s, and the value of a token, currency; infinite where it must be served."""

    rate: float
    value: float = math.inf


@dataclass(frozen=True)
class Demand:
    """What a region asks of a workload in a period, in steps of falling value."""

    region: str
    workload: str
    steps: tuple[Step, ...]
    period: int = 0

    @property
    def key(self) -> tuple[str, str, int]:
        """(region, workload, period)."""
        return (self.region, self.workload, self.period)

    @property
    def rate(self) -> float:
        """tokens/s, all steps together."""
        return sum(step.rate for step in self.steps)

    @property
    def firm(self) -> float:
        """tokens/s that must be served."""
        return sum(step.rate for step in self.steps if math.isinf(step.value))

    def __str__(self) -> str:
        return f"{self.workload}@{self.region}" + (f"@{self.period}" if self.period else "")


@dataclass(frozen=True)
class Market:
    """Nodes, links, assets, workloads and demand that fit together.

    Parameters
    ----------
    fees : tuple of float
        Currency a bit, in the order of `links`.
    token_bits : float
        What the token-equivalent baseline takes every token to be, bit.
    periods : int
        Periods of equal length that are cleared together.
    length : float
        Length of a period, s.

    Raises
    ------
    MarketError
        With every problem found: a name used twice or unknown, a number out of its range, a workload that no asset
        runs, a region with no asset in reach, a latency limit below that of every route.
    """

    name: str
    currency: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    fees: tuple[float, ...]
    assets: tuple[Asset, ...]
    workloads: tuple[Workload, ...]
    demands: tuple[Demand, ...]
    token_bits: float = 32.0
    periods: int = 1
    length: float = 3600.0

    def __post_init__(self) -> None:
        problems = [*self._name_problems(), *self._number_problems()]
        if not problems:
            from pricing.market.reach import reach_problems  # it needs a market to search in

            problems = reach_problems(self)
        if problems:
            raise MarketError(self.name, problems)

    def _name_problems(self) -> Iterator[str]:
        nodes, workloads = set(self.node_index), {workload.name for workload in self.workloads}
        named = [
            ("node", [node.name for node in self.nodes]),
            ("link", [str(link) for link in self.links]),
            ("asset", [asset.name for asset in self.assets]),
            ("workload", [workload.name for workload in self.workloads]),
            ("demand", [str(demand) for demand in self.demands]),
        ]
        for what, names in named:
            if not names and what != "link":
                yield f"{what}s: found none; accepted: one or more"
            seen: set[str] = set()
            for name in names:
                if name in seen:
                    yield f"{what} {name!r}: the name is used twice"
                seen.add(name)
        for link in self.links:
            for end in link.key:
                if end not in nodes:
                    yield f"link {link}: unknown node {end!r}"
        for asset in self.assets:
            if asset.node not in nodes:
                yield f"asset {asset.name}: unknown node {asset.node!r}"
            for name in sorted((asset.workloads or frozenset()) - workloads):
                yield f"asset {asset.name}: unknown workload {name!r}"
        for demand in self.demands:
            if demand.region not in nodes:
                yield f"demand {demand}: unknown region {demand.region!r}"
            if demand.workload not in workloads:
                yield f"demand {demand}: unknown workload {demand.workload!r}"
            if not 0 <= demand.period < self.periods:
                yield f"demand {demand}: found period {demand.period}; accepted: from 0 to {self.periods - 1}"

    def _number_problems(self) -> Iterator[str]:
        def number(what: str, value: float, unit: str, zero: bool = False, endless: bool = False) -> Iterator[str]:
            finite = math.isfinite(value) or (endless and value == math.inf)
            if not (finite and (value > 0 or (zero and value == 0))):
                yield f"{what}: found {value}; accepted: {'from 0' if zero else 'above 0'}, in {unit}"

        if len(self.fees) != len(self.links):
            yield f"fees: found {len(self.fees)}; accepted: one for each of {len(self.links)} links"
        yield from number("token_bits", self.token_bits, "bit")
        yield from number("length", self.length, "s")
        for link, fee in zip(self.links, self.fees, strict=False):
            yield from number(f"link {link}: capacity", link.capacity, "bit/s")
            yield from number(f"link {link}: propagation", link.propagation, "s", zero=True)
            yield from number(f"link {link}: fee", fee, f"{self.currency} a bit", zero=True)
        for asset in self.assets:
            yield from number(f"asset {asset.name}: capacity", asset.capacity, "work/s")
            if len(asset.costs) != self.periods:
                yield f"asset {asset.name}: found {len(asset.costs)} costs; accepted: {self.periods}, one a period"
            for cost in asset.costs:
                yield from number(f"asset {asset.name}: cost", cost, f"{self.currency} a work", zero=True)
        for load in self.workloads:
            yield from number(f"workload {load.name}: compute", load.compute, "work a token")
            yield from number(f"workload {load.name}: bits_out", load.bits_out, "bit a token", zero=True)
            yield from number(f"workload {load.name}: bits_back", load.bits_back, "bit a token", zero=True)
            yield from number(f"workload {load.name}: limit", load.limit, "s", endless=True)
            yield from number(f"workload {load.name}: wait", load.wait, "periods", zero=True)
            yield from number(f"workload {load.name}: tokens", load.tokens, "tokens a request")
        for demand in self.demands:
            for step in demand.steps or (Step(0.0),):
                yield from number(f"demand {demand}: rate", step.rate, "tokens/s")
                yield from number(f"demand {demand}: value", step.value, f"{self.currency} a token", endless=True)

    @cached_property
    def node_index(self) -> dict[str, int]:
        """Place of each node in `nodes`."""
        return {node.name: i for i, node in enumerate(self.nodes)}

    @cached_property
    def link_index(self) -> dict[LinkKey, int]:
        """Place of each link in `links`."""
        return {link.key: i for i, link in enumerate(self.links)}

    @cached_property
    def asset_index(self) -> dict[str, int]:
        """Place of each asset in `assets`."""
        return {asset.name: i for i, asset in enumerate(self.assets)}

    @cached_property
    def workload_index(self) -> dict[str, int]:
        """Place of each workload in `workloads`."""
        return {workload.name: i for i, workload in enumerate(self.workloads)}

    @cached_property
    def demand_index(self) -> dict[tuple[str, str, int], int]:
        """Place of each demand in `demands`, by (region, workload, period)."""
        return {demand.key: i for i, demand in enumerate(self.demands)}

    @property
    def work(self) -> float:
        """Work/s that all demand asks for, the mean over the periods."""
        index, loads = self.workload_index, self.workloads
        return sum(loads[index[demand.workload]].compute * demand.rate for demand in self.demands) / self.periods

    @property
    def capacity(self) -> float:
        """work/s of all assets."""
        return sum(asset.capacity for asset in self.assets)


def token_equivalent(market: Market) -> Market:
    """The baseline: links count tokens, each of `token_bits` on the way out and nothing back.

    Capacities and fees stay as they are, so that a link of B_e bit/s carries B_e/token_bits tokens/s whatever they
    move.
    """
    flat = (replace(load, bits_out=market.token_bits, bits_back=0.0) for load in market.workloads)
    return replace(market, workloads=tuple(flat))


def scaled(market: Market, demand: float) -> Market:
    """The market with all demand times a ratio."""

    def steps(each: Demand) -> tuple[Step, ...]:
        return tuple(replace(step, rate=demand * step.rate) for step in each.steps)

    return replace(market, demands=tuple(replace(each, steps=steps(each)) for each in market.demands))
