"""The market paper's findings on instances of our own: what its abstract says beside what comes out here.

The paper's data are not to be had. `us-5` is calibrated to the abstract, and the page says how much of each finding is
that: every kind of input is moved by 20 % and everything cleared again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.pages.paper import Column, Page, Picture, Section, Table, Value
from experiments.papers import market_figures as figures
from pricing.errors import Infeasible, MarketError
from pricing.market.bidding import MARKUPS, Bid, Bidding, best_bid, best_responses
from pricing.market.clearing import Clearing, clear
from pricing.market.infeasible import unserved
from pricing.market.model import Asset, Market, scaled, token_equivalent
from pricing.market.prices import price_components, settle
from topologies.market import load

CITATION = (
    "Liu: Locational Pricing for Generative-AI Services via Token-Flow Market Clearing (arXiv 2605.09047), "
    "of which the abstract was available."
)
ORIGINS = {
    "printed": "in the abstract",
    "ours": "from the instances us-5 and us-20, which are Wardrop's own; us-5 is calibrated to the abstract",
}
LOOSE, TIGHT = 0.1, 0.015
LIMITS_MS = (10, 12, 15, 16, 17, 18, 20, 22, 25, 30, 40, 50, 60, 80, 100)
"""The chatbot's limits that are tried; 15 and 100 are the abstract's."""
MOVE = 0.2
MONEY = ".3f"


@dataclass(frozen=True)
class Findings:
    """What the abstract speaks of, of one market: full links, cost above the baseline, dearest price of a tight limit.

    `saturated` is a count; `cost` and `premium` are ratios; infinite or NaN where it cannot be cleared.
    """

    saturated: int
    cost: float
    premium: float
    where: str


def limited(market: Market, limit: float, workload: str = "chatbot") -> Market:
    """The market with another limit for one workload, s."""
    loads = tuple(replace(load, limit=limit) if load.name == workload else load for load in market.workloads)
    return replace(market, workloads=loads)


def _cleared(market: Market) -> Clearing:
    """The market cleared; what cannot be is not explained, which takes longer than to find out."""
    if unserved(market) > 0:
        raise Infeasible(f"market {market.name}: more is asked for than can be served")
    return clear(market)


def findings(market: Market) -> Findings:
    """The findings of a market.

    Raises
    ------
    Infeasible, MarketError
        When it cannot be cleared with the limit of 100 ms.
    """
    base, aware = _cleared(token_equivalent(market)), _cleared(limited(market, LOOSE))
    saturated, cost = len(aware.saturated()), aware.cost / base.cost - 1
    try:
        tight = _cleared(limited(market, TIGHT))
    except (Infeasible, MarketError):
        return Findings(saturated, cost, math.inf, "cannot be served")
    rises = tight.prices / aware.prices - 1
    most = int(rises.argmax())
    return Findings(saturated, cost, float(rises[most]), str(market.demands[most]))


def moves() -> dict[str, Callable[[Market, float], Market]]:
    """Every kind of input, and how a market is made in which it is a multiple of what it was."""
    return {
        "demand": scaled,
        "compute capacity": lambda m, x: replace(
            m, assets=tuple(replace(a, capacity=x * a.capacity) for a in m.assets)
        ),
        "link capacity": lambda m, x: replace(m, links=tuple(replace(e, capacity=x * e.capacity) for e in m.links)),
        "lengths": lambda m, x: replace(m, links=tuple(replace(e, propagation=x * e.propagation) for e in m.links)),
        "fees": lambda m, x: replace(m, fees=tuple(x * fee for fee in m.fees)),
        "costs in New York": lambda m, x: replace(
            m, assets=tuple(_dearer(a, x) if a.node == "NewYork" else a for a in m.assets)
        ),
        "costs of old machines": lambda m, x: replace(
            m, assets=tuple(_dearer(a, x) if a.name.endswith("-old") else a for a in m.assets)
        ),
        "bytes of a token of image": lambda m, x: replace(
            m,
            workloads=tuple(
                replace(w, bits_back=x * w.bits_back) if w.name == "image" else w for w in m.workloads
            ),
        ),
    }  # fmt: skip


def _dearer(asset: Asset, factor: float) -> Asset:
    return replace(asset, costs=tuple(factor * cost for cost in asset.costs))


def reproduce() -> Page:
    """Clear everything that the page shows; some seconds."""
    five, twenty = load("us-5").market, load("us-20").market
    base, aware, tight = clear(token_equivalent(five)), clear(five), clear(limited(five, TIGHT))
    found = findings(five)
    order = merit_order(twenty)
    return Page(
        paper="market",
        title="The token-flow market: the abstract's findings on instances of our own",
        citation=CITATION,
        text=[
            "The paper's data and formulas are not to be had. The instances us-5 and us-20 are Wardrop's own, made "
            "of stated public facts and of choices; us-5 is calibrated so that the abstract's findings come out. "
            "That they do shows that the model can say such things, not that they are true.",
            f"On us-5 the transfer-aware model fills {found.saturated} links and costs {found.cost:+.1%} against the "
            f"token-equivalent baseline; a chatbot limit of 15 ms in place of 100 ms raises the price of "
            f"{found.where} by {found.premium:.0%}.",
        ],
        sources=ORIGINS,
        sections=[
            Section("The findings", (), [_findings(found, twenty)]),
            _prices(five, base, aware, tight),
            _latency(five),
            _merit(twenty, order),
            _sensitivity(five, found),
            _power(five),
        ],
    )


def _findings(found: Findings, twenty: Market) -> Table:
    whole = twenty.capacity / twenty.work
    clear(scaled(twenty, (1 - 1e-6) * whole))
    past = "infeasible" if unserved(scaled(twenty, (1 + 1e-6) * whole)) > 0 else "cleared"
    rows = [
        ["saturated backbone links, us-5", "4", str(found.saturated), "ours"],
        ["cost of the transfer-aware model", "+2.7 %", f"{found.cost:+.2%}", "ours"],
        ["price, chatbot from 100 to 15 ms", "+117 %", f"{found.premium:+.1%} ({found.where})", "ours"],
        ["20 nodes, demand past all capacity", "infeasible", f"{past} past {whole:.3f} times the demand", "ours"],
    ]
    columns = [Column("finding", "finding"), Column("printed", "printed"), Column("computed", "computed"),
               Column("source", "source")]  # fmt: skip
    return Table("findings", "What the abstract says, and what comes out", columns, rows)


def _prices(market: Market, base: Clearing, aware: Clearing, tight: Clearing) -> Section:
    rows = []
    for d, (demand, parts) in enumerate(zip(market.demands, price_components(aware), strict=True)):
        million = [1e6 * part for part in (parts.compute, parts.scarcity, parts.fees)]
        congestion = {f"{a}>{b}": 1e6 * price for (a, b), price in parts.congestion.items()}
        prices = [1e6 * float(each.prices[d]) for each in (base, aware, tight)]
        links = ", ".join(f"{name} {price:.3f}" for name, price in congestion.items())
        rows.append([demand.region, demand.workload, *prices, *million, sum(congestion.values()), links, "ours"])
    keys = ("baseline", "price", "price_15ms", "compute", "scarcity", "fees", "congestion")
    heads = ("baseline", "price", "price at 15 ms", "compute", "scarcity", "fees", "congestion")
    numbers = [Column(f"{key}_usd_mtoken", head, MONEY) for key, head in zip(keys, heads, strict=True)]
    columns = [Column("region", "region"), Column("workload", "workload"), *numbers, Column("links", "by link"),
               Column("source", "source")]  # fmt: skip
    table = Table("prices", "Locational prices of us-5, USD a million tokens, and their parts", columns, rows)
    money = settle(aware)
    stated = [
        ("payments of the regions", money.payments),
        ("compute", money.compute),
        ("fees", money.fees),
        ("rents of assets", float(money.asset_rents.sum())),
        ("rents of links", float(money.link_rents.sum())),
        ("payments - costs - rents, relative", money.imbalance),
    ]
    settled = Table(
        "settlement",
        "Settlement of us-5, USD/s",
        [Column("what", "what"), Column("usd_s", "USD/s", ".6g"), Column("source", "source")],
        [[what, value, "ours"] for what, value in stated],
    )
    proof = aware.certificate
    text = [
        "price = compute + scarcity + fees + congestion on every route in use, from one dual vector of a basic "
        f"solution. Certificate: gap {proof.gap:.1e}, primal residual {proof.primal_residual:.1e}, dual residual "
        f"{proof.dual_residual:.1e}, complementarity {proof.complementarity:.1e}."
    ]
    stacked = Picture("Price of the chatbot and of images by region, in parts", "Congestion is what full links add.",
                      replace(table, name="components"), lambda: figures.stacked(aware))  # fmt: skip
    map_rows = [[str(e), load / 1e9, load / e.capacity, 1e9 * float(nu), "ours"] for e, load, nu in zip(
        market.links, aware.link_loads[:, 0].tolist(), aware.duals.links[:, 0], strict=True)]  # fmt: skip
    map_columns = [Column("link", "link"), Column("load_gbit_s", "load, Gbit/s", ".3f"),
                   Column("utilization", "utilization", ".3f"), Column("congestion_usd_gbit", "congestion, USD/Gbit",
                   ".4f"), Column("source", "source")]  # fmt: skip
    mapped = Picture("Prices of images on the map", "Colour of a node: price; width of a link: load; red: full.",
                     Table("map", "Links of us-5", map_columns, map_rows),
                     lambda: figures.price_map(aware, "image"))  # fmt: skip
    return Section("Prices and where they come from", text, [mapped, mapped.data, stacked, table, settled])


def _latency(market: Market) -> Section:
    rows: list[list[Value]] = []
    regions = sorted({demand.region for demand in market.demands})
    for limit in LIMITS_MS:
        try:
            found = _cleared(limited(market, limit / 1e3))
            prices: list[float | None] = [1e6 * found.price(region, "chatbot") for region in regions]
        except (Infeasible, MarketError):
            prices = [None] * len(regions)
        rows.append([limit, *prices, "ours"])
    columns = [Column("limit_ms", "limit, ms", "g"), *(Column(f"{r}_usd_mtoken", r, MONEY) for r in regions),
               Column("source", "source")]  # fmt: skip
    table = Table("latency", "Price of the chatbot against its limit, USD a million tokens", columns, rows)
    caption = (
        "A limit is of propagation out and back; it removes routes, so a premium is a difference of two clearings."
    )
    drawn = Picture("Price against latency limit", caption, table, lambda: figures.against_limit(regions, rows))
    return Section("What a latency limit costs", (), [drawn, table])


def merit_order(market: Market) -> list[tuple[str, float, float, float]]:
    """Assets by cost: (name, cost a work, capacity, share used) with fees, links and limits out of the way."""
    wide = tuple(replace(link, capacity=1e15) for link in market.links)
    free = replace(market, links=wide, fees=(0.0,) * len(wide))
    free = replace(free, workloads=tuple(replace(load, limit=math.inf) for load in free.workloads))
    found = clear(free)
    rows = [
        (asset.name, asset.costs[0], asset.capacity, float(load) / asset.capacity)
        for asset, load in zip(market.assets, found.asset_loads[:, 0], strict=True)
    ]
    return sorted(rows, key=lambda row: row[1])


def _merit(market: Market, order: list[tuple[str, float, float, float]]) -> Section:
    as_filed = clear(market)
    used = {a.name: float(x) / a.capacity for a, x in zip(market.assets, as_filed.asset_loads[:, 0], strict=True)}
    rows: list[list[Value]] = [
        [name, 1e6 * cost, 1e-6 * room, share, used[name], "ours"] for name, cost, room, share in order
    ]
    columns = [Column("asset", "asset"), Column("cost_usd_mwork", "cost, USD/Mwork", ".4f"),
               Column("capacity_mwork_s", "capacity, Mwork/s", ".2f"), Column("used", "used, without fees", ".3f"),
               Column("used_as_filed", "used, as filed", ".3f"), Column("source", "source")]  # fmt: skip
    table = Table("merit-order", "us-20: assets in the order of their cost", columns, rows)
    demand = market.work / 1e6
    caption = "Assets fill from the left up to the demand; the last one in use sets the price of a work."
    drawn = Picture("Merit order of us-20", caption, table, lambda: figures.merit_order(order, demand))
    return Section("Merit order on twenty nodes", (), [drawn, table])


def _sensitivity(market: Market, found: Findings) -> Section:
    rows: list[list[Value]] = [["as it is", found.saturated, found.cost, found.premium, found.where]]
    for name, move in moves().items():
        for factor in (1 - MOVE, 1 + MOVE):
            try:
                each = findings(move(market, factor))
                premium = each.premium if math.isfinite(each.premium) else None
                rows.append([f"{name} x {factor:g}", each.saturated, each.cost, premium, each.where])
            except (Infeasible, MarketError):
                rows.append([f"{name} x {factor:g}", None, None, None, "cannot be served"])
    columns = [Column("input", "input"), Column("saturated", "full links", "d"),
               Column("cost_above_baseline", "cost above baseline", "+.2%"), Column("premium", "price, 15 ms", "+.1%"),
               Column("where", "where"), Column("source", "source")]  # fmt: skip
    table = Table(
        "sensitivity",
        "The findings of us-5 when inputs move by 20 %",
        columns,
        [[*row, "ours"] for row in rows],
    )
    text = ["How much of each finding is calibration: where a row leaves a finding, it was chosen, not found."]
    return Section("How much of it is calibration", text, [table])


def _power(market: Market) -> Section:
    tries = {node: best_bid(market, node) for node in sorted({asset.node for asset in market.assets})}
    together = best_responses(market, sorted(tries))
    rows: list[list[Value]] = []
    for node, (best, tried) in tries.items():
        paid = [1e6 * each.price for each in (tried[0], best)]
        local = [1e6 * each.clearing.price(node, "chatbot") for each in (tried[0], best)]
        rows.append([node, best.markup, best.work / 1e6, *paid, *local, best.lerner, best.profit, "ours"])
    columns = [Column("node", "node"), Column("markup", "markup", ".2f"), Column("mwork_s", "sold, Mwork/s", ".2f"),
               Column("paid_at_cost_usd_mwork", "paid at cost, USD/Mwork", MONEY),
               Column("paid_usd_mwork", "paid, USD/Mwork", MONEY),
               Column("chatbot_at_cost_usd_mtoken", "chatbot there at cost, USD/Mtoken", MONEY),
               Column("chatbot_usd_mtoken", "chatbot there, USD/Mtoken", MONEY),
               Column("lerner", "Lerner index", MONEY), Column("profit_usd_s", "profit, USD/s", MONEY),
               Column("source", "source")]  # fmt: skip
    alone = Table("bids", "The best markup of each node of us-5 when all others ask for their costs", columns, rows)
    text = ["Beyond the paper: nodes offer prices instead of costs; clearing and settlement are the same. All demand "
            "of us-5 must be served, so a node that cannot be done without would ask for any price; markups up to "
            f"{MARKUPS[-1]:g} are tried. The Lerner index is (price - cost)/price of the work that a node sells.",
            f"When all five nodes bid at once and answer each other in turns, they {_ending(together)}."]  # fmt: skip
    tables = [alone, _markups(market, *_local(tries)), _together(together)]
    return Section("Who has the power to set a price", text, tables)


def _local(tries: Mapping[str, tuple[Bid, tuple[Bid, ...]]]) -> tuple[str, tuple[Bid, ...]]:
    """The node that gains most by a markup below the highest one, else by any, and its bids."""
    gains = {node: (best.markup < MARKUPS[-1], best.profit - tried[0].profit) for node, (best, tried) in tries.items()}
    node = max(gains, key=lambda name: gains[name])
    return node, tries[node][1]


def _markups(market: Market, node: str, tried: Sequence[Bid]) -> Table:
    """What each markup of one node does to prices, its sales and its profit."""
    dearest = max(tried, key=lambda each: each.profit)
    others = [demand.region for demand in market.demands if demand.workload == "chatbot" and demand.region != node]
    rows: list[list[Value]] = []
    for each in tried:
        prices = [1e6 * each.clearing.price(region, "chatbot") for region in (node, *others)]
        elsewhere = sum(prices[1:]) / len(others)
        sold = [each.work / 1e6, 1e6 * each.price, each.lerner, each.profit]
        rows.append([each.markup, prices[0], elsewhere, *sold, "best" if each is dearest else "", "ours"])
    columns = [Column("markup", "markup", ".2f"), Column("chatbot_usd_mtoken", f"chatbot in {node}, USD/Mtoken", MONEY),
               Column("elsewhere_usd_mtoken", "elsewhere, mean", MONEY), Column("mwork_s", "sold, Mwork/s", ".2f"),
               Column("paid_usd_mwork", "paid, USD/Mwork", MONEY), Column("lerner", "Lerner index", MONEY),
               Column("profit_usd_s", "profit, USD/s", MONEY), Column("best", "best"),
               Column("source", "source")]  # fmt: skip
    return Table("markups", f"How {node} moves the price: each of its markups, all others ask for their costs", columns,
                 rows)  # fmt: skip


def _together(found: Bidding) -> Table:
    rows: list[list[Value]] = [
        [node, each.markup, each.work / 1e6, 1e6 * each.price, each.lerner, each.profit, "ours"]
        for node, each in found.bids.items()
    ]
    columns = [Column("node", "node"), Column("markup", "markup", ".2f"), Column("mwork_s", "sold, Mwork/s", ".2f"),
               Column("paid_usd_mwork", "paid, USD/Mwork", MONEY), Column("lerner", "Lerner index", MONEY),
               Column("profit_usd_s", "profit, USD/s", MONEY), Column("source", "source")]  # fmt: skip
    return Table("bidding", "All nodes of us-5 bid at once", columns, rows)


def _ending(found: Bidding) -> str:
    if found.settled:
        return f"come to rest after {len(found.turns)} rounds: none would change its markup"
    return f"come to no rest: after {len(found.turns)} rounds they ask what they have asked before; that round is shown"
