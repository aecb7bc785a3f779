"""Nodes that offer price steps instead of costs, and what the power to set a price is worth to one of them.

Offers replace costs; the clearing and the settlement are the same, only that a rent is then paid over what was asked.
A node with local market power asks for more than its cost until the next asset, farther away or dearer, takes its
work. The Lerner index (p - c)/p says how far above its cost c a node is paid; 0 is competition.

Several nodes that bid at once answer each other in turns: each takes the markup that brings it most at what the others
ask, until none would change its own. That is an equilibrium of the markups that are tried, in pure strategies; there
may be none, and then turns go in a circle, which is said. A node without which what must be served cannot be has no
best markup but the highest: that is a cap on offers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pricing.errors import MarketError
from pricing.market.clearing import Clearing, clear
from pricing.market.model import Asset, Market

MARKUPS = (1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
"""Offers that are tried, as multiples of the cost (ours)."""

MOST_TURNS = 20
"""Rounds of turns in which nodes that bid at once are to settle (ours)."""

ROUNDING = 1e-9
"""Part of a profit below which more is none."""


@dataclass(frozen=True)
class Offer:
    """A step of an asset's offer: a share of its capacity, and what a work of it shall cost in every period,
    currency."""

    share: float
    price: float


def offered(market: Market, offers: Mapping[str, Sequence[Offer]]) -> Market:
    """The market with offers in place of the costs of some assets: `asset/1`, `asset/2`, ... are its steps.

    Raises
    ------
    MarketError
        When an asset is not known, shares do not add up to 1, or a step is not positive.
    """
    problems = [f"offers: unknown asset {name!r}" for name in sorted(set(offers) - set(market.asset_index))]
    for name, steps in sorted(offers.items()):
        if abs(sum(step.share for step in steps) - 1) > 1e-9 or any(step.share <= 0 for step in steps):
            found = [step.share for step in steps]
            problems.append(f"offers of {name}: found shares {found}; accepted: ratios above 0 that add up to 1")
    if problems:
        raise MarketError(market.name, problems)
    assets: list[Asset] = []
    for asset in market.assets:
        if asset.name not in offers:
            assets.append(asset)
        for number, step in enumerate(offers.get(asset.name, ()), 1):
            costs = (step.price,) * market.periods
            part = replace(asset, name=f"{asset.name}/{number}", capacity=step.share * asset.capacity, costs=costs)
            assets.append(part)
    return replace(market, assets=tuple(assets))


@dataclass(frozen=True)
class Bid:
    """What one markup brings a node.

    Parameters
    ----------
    markup : float
        Its offer over its cost.
    profit : float
        What it is paid over its cost, currency/s.
    work : float
        work/s that it sells.
    price, lerner : float
        What a work is paid on average, currency, and (price - cost)/price; 0 where nothing is sold.
    clearing : Clearing
    """

    markup: float
    profit: float
    work: float
    price: float
    lerner: float
    clearing: Clearing


def bid(market: Market, node: str, markup: float, warm: Clearing | None = None) -> Bid:
    """The market cleared when every asset of a node asks for a multiple of its cost."""
    return _paid(market, node, markup, clear(_asking(market, {node: markup}), warm))


def best_bid(market: Market, node: str, markups: Sequence[float] = MARKUPS) -> tuple[Bid, tuple[Bid, ...]]:
    """The markup that brings a node most while all others ask for their costs, and all that were tried."""
    tried: list[Bid] = []
    for markup in markups:
        tried.append(bid(market, node, markup, tried[-1].clearing if tried else None))
    return max(tried, key=lambda each: each.profit), tuple(tried)


@dataclass(frozen=True)
class Bidding:
    """Several nodes that bid at once.

    Parameters
    ----------
    bids : mapping of node to Bid
        All of one clearing, the last.
    turns : tuple of mapping of node to markup
        After each round of turns; where they go in a circle, until it closes.
    settled : bool
        Whether no node would change its markup.
    """

    bids: Mapping[str, Bid]
    turns: tuple[Mapping[str, float], ...]
    settled: bool

    @property
    def clearing(self) -> Clearing:
        """The last clearing, with its certificate."""
        return next(iter(self.bids.values())).clearing


def best_responses(
    market: Market, nodes: Sequence[str], markups: Sequence[float] = MARKUPS, most: int = MOST_TURNS
) -> Bidding:
    """Nodes that answer each other's markups in turns, the others ask for their costs.

    Parameters
    ----------
    nodes : sequence of str
        In the order of their turns.
    markups : sequence of float
        Rising; they all begin with the first one.
    most : int
        Rounds of turns.

    Raises
    ------
    MarketError
        When a node is not known, or has nothing to offer.
    Infeasible
        As `pricing.market.clearing.clear`.
    """
    having = {asset.node for asset in market.assets}
    if missing := sorted(set(nodes) - having) or (not nodes and ["none"]):
        raise MarketError(market.name, [f"bidding: found {missing}; accepted: nodes with assets, {sorted(having)}"])
    asked, turns, warm = dict.fromkeys(nodes, markups[0]), [], None
    for _ in range(most):
        before = dict(asked)
        for node in nodes:
            others = _asking(market, {name: markup for name, markup in asked.items() if name != node})
            tried = []
            for markup in markups:
                warm = clear(_asking(others, {node: markup}), warm)
                tried.append(_paid(market, node, markup, warm))
            most_paid = max(each.profit for each in tried)
            kept = next(each for each in tried if each.markup == asked[node])
            if kept.profit < most_paid - ROUNDING * abs(most_paid):
                asked[node] = next(each.markup for each in tried if each.profit == most_paid)
        known = asked == before or asked in turns
        turns.append(dict(asked))
        if known:
            break
    last = clear(_asking(market, asked), warm)
    bids = {node: _paid(market, node, markup, last) for node, markup in asked.items()}
    return Bidding(bids, tuple(turns), asked == before)


def _asking(market: Market, markups: Mapping[str, float]) -> Market:
    """The market with costs of the assets of some nodes multiplied."""
    assets = (
        replace(asset, costs=tuple(markups.get(asset.node, 1.0) * cost for cost in asset.costs))
        for asset in market.assets
    )
    return replace(market, assets=tuple(assets))


def _paid(market: Market, node: str, markup: float, found: Clearing) -> Bid:
    """What a clearing at a node's markup pays it; `market` has its true costs."""
    paid = cost = work = 0.0
    for asset in market.assets:
        if asset.node != node:
            continue
        j = found.market.asset_index[asset.name]
        for period, (load, true) in enumerate(zip(found.asset_loads[j], asset.costs, strict=True)):
            paid += float(load * (markup * true + found.duals.assets[j, period]))
            cost, work = cost + float(load * true), work + float(load)
    price = paid / work if work else 0.0
    return Bid(markup, paid - cost, work, price, (paid - cost) / paid if paid else 0.0, found)
