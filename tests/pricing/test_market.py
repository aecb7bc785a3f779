"""The market: cases solved by hand, theorems that any clearing obeys, and a reference that shares no code with it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from small_markets import drawn, firm, two_nodes

from pricing.errors import Infeasible, MarketError
from pricing.market import start
from pricing.market.bidding import Offer, best_bid, best_responses, bid, offered
from pricing.market.certificate import certify
from pricing.market.clearing import Clearing, clear
from pricing.market.infeasible import explain
from pricing.market.marginal import one_more_token, price_interval, worth_of_asset, worth_of_link
from pricing.market.model import Asset, Demand, Market, Step, Workload, scaled, token_equivalent
from pricing.market.prices import price_components, prices_everywhere, settle, worth_of_compute
from pricing.market.program import Duals
from pricing.market.reference import reference
from pricing.market.start import Start
from pricing.network import Link, Node


def test_two_nodes_by_hand() -> None:
    """The cable's answers carry 6 of 10 tokens; the rest is computed at B, whose cost is the price."""
    found = clear(two_nodes())
    assert {flow.route.server: flow.rate for flow in found.flows} == pytest.approx({"a": 6.0, "b": 4.0})
    assert found.cost == pytest.approx(6 * 1.5 + 4 * 3)
    assert found.price("B", "chat") == pytest.approx(3.0)
    assert found.saturated() == (("A", "B"),)
    (parts,) = price_components(found)
    assert (parts.compute, parts.scarcity, parts.fees) == pytest.approx((1.0, 0.0, 0.5))
    assert parts.congestion == pytest.approx({("A", "B"): 1.5})
    money = settle(found)
    assert (money.payments, money.compute, money.fees) == pytest.approx((30.0, 18.0, 3.0))
    assert money.link_rents.ravel() == pytest.approx([9.0, 0.0])
    assert worth_of_link(found, ("A", "B")).low == pytest.approx(1.5)


def test_the_token_equivalent_baseline_counts_half_a_bit_on_the_way_out() -> None:
    found = clear(token_equivalent(two_nodes()))
    assert found.cost == pytest.approx(10 * 1.125)
    assert found.link_loads.ravel() == pytest.approx([0.0, 5.0])


def test_a_limit_removes_routes_and_a_premium_is_the_difference_of_two_clearings() -> None:
    near = clear(two_nodes(demand=4, limit=0.009))
    assert near.price("B", "chat") == pytest.approx(3.0)
    assert clear(two_nodes(demand=4)).price("B", "chat") == pytest.approx(1.5)
    assert prices_everywhere(near, "chat") == pytest.approx([1.0, 3.0])


def test_demand_past_capacity_is_shed_at_its_value_or_explained() -> None:
    shed = clear(two_nodes(demand=15, value=7.0))
    assert shed.shed == pytest.approx((4.0,))
    assert shed.price("B", "chat") == pytest.approx(7.0)
    with pytest.raises(Infeasible, match=r"B cannot be served: 4 tokens/s too many") as caught:
        clear(two_nodes(demand=15))
    assert "node B: 5 work/s; 9 work/s alone would do" in str(caught.value)
    assert "link A->B: 6e-06 Mbit/s; 1e-05 Mbit/s alone would do" in str(caught.value)
    assert caught.value.resources == ("A->B", "B")


def test_elastic_demand_is_served_up_to_the_price_that_it_bears() -> None:
    steps = (Step(5.0, 9.0), Step(2.0, 2.0), Step(4.0, 1.6), Step(9.0, 1.0))
    found = clear(replace(two_nodes(capacity=20), demands=(Demand("B", "chat", steps),)))
    assert found.shed == pytest.approx((9.0,))
    assert found.price("B", "chat") == pytest.approx(1.5)


def test_batch_work_waits_for_the_cheap_period() -> None:
    load = Workload("batch", 1.0, 1.0, 1.0, wait=1)
    market = replace(two_nodes(capacity=50), workloads=(load,), periods=3, demands=tuple(
        Demand("B", "batch", (Step(4.0),), t) for t in range(3)
    ), assets=(Asset("a", "A", 6.0, (5.0, 1.0, 4.0)), Asset("b", "B", 9.0, (9.0, 9.0, 9.0))))  # fmt: skip
    found = clear(market)
    # what of period 1 goes over waits for period 2 at 4 rather than being early at 5
    assert found.cost == pytest.approx(6 * 1 + 6 * 4 + 12 * 0.5)
    assert found.certificate.gap < 1e-12
    assert abs(settle(found).imbalance) < 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_any_clearing_obeys_its_theorems(seed: int) -> None:
    market = drawn(seed)
    found = clear(market)
    proof = found.certificate
    assert max(abs(proof.gap), proof.primal_residual, proof.dual_residual, proof.complementarity) < 1e-9
    assert abs(settle(found).imbalance) < 1e-9
    for parts, price, shed in zip(price_components(found), found.prices, found.shed, strict=True):
        assert parts.total == pytest.approx(price, rel=1e-9) or (shed and parts.total > price)
        full = set(found.saturated())
        assert set(parts.congestion) <= full
    assert all(route.rate > 0 for route in found.flows)
    cost, _ = reference(market)
    assert found.cost == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("firmly", [False, True])
def test_a_start_changes_no_answer(seed: int, firmly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where demand is shed at a price, where it must be served, and where it cannot be."""
    market = firm(drawn(seed)) if firmly else drawn(seed)
    if firmly and seed % 2:
        market = scaled(market, 0.4 * market.capacity / market.work)
    try:
        cost = clear(market).cost
    except Infeasible:
        cost = math.inf
    begun = []
    monkeypatch.setattr(start, "LARGE", 1)
    monkeypatch.setattr(Start, "run", lambda self, run=Start.run: begun.append(self) or run(self))
    if math.isinf(cost):
        with pytest.raises(Infeasible):
            clear(market)
    else:
        found = clear(market)
        proof = found.certificate
        assert found.cost == pytest.approx(cost, rel=1e-12)
        assert max(abs(proof.gap), proof.primal_residual, proof.dual_residual, proof.complementarity) < 1e-9
    assert begun


def test_a_start_ends_at_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole program finds nothing left to do: it is solved once, and its search is the proof."""
    market = drawn(1, nodes=30, loads=4)
    before = clear(market)
    monkeypatch.setattr(start, "LARGE", 1)
    found = clear(market)
    assert found.rounds == 1 < before.rounds
    assert found.cost == pytest.approx(before.cost, rel=1e-12)
    assert clear(scaled(market, 1.01), found).cost == pytest.approx(clear(scaled(market, 1.01)).cost, rel=1e-12)


def test_a_wrong_answer_does_not_pass_its_certificate() -> None:
    found = clear(drawn(1))
    market, duals = found.market, found.duals
    dear = certify(market, found.flows, found.shed, replace(duals, demands=1.01 * duals.demands))
    assert dear.dual_residual > 0.009
    less = certify(market, found.flows[1:], found.shed, duals)
    assert less.primal_residual > 1e-3
    free = certify(market, found.flows, found.shed, Duals(duals.demands, 0 * duals.assets, 0 * duals.links))
    assert free.gap > 1e-3
    assert free.complementarity > 1e-3


def test_warm_is_cold_also_when_a_link_fails_or_demand_steps() -> None:
    market = drawn(2)
    before = clear(market)
    gone = market.links[0].key
    left = [(link, fee) for link, fee in zip(market.links, market.fees, strict=True) if link.key != gone]
    broken = replace(market, links=tuple(link for link, _ in left), fees=tuple(fee for _, fee in left))
    for other in (scaled(market, 1.3), scaled(market, 0.5), broken):
        warm, cold = clear(other, before), clear(other)
        assert warm.cost == pytest.approx(cold.cost, rel=1e-12)
        assert warm.certificate.gap < 1e-9
        assert not any(gone in flow.route.links for flow in warm.flows) or other is not broken


def test_a_tie_has_two_prices_and_the_ends_are_said() -> None:
    """Demand that exactly fills the cable: the last token saved 1.5, the next one costs 3."""
    found = clear(two_nodes(demand=6.0))
    ends = price_interval(found, "B", "chat")
    assert (ends.low, ends.high) == pytest.approx((1.5, 3.0))
    assert not ends.single
    assert ends.low - 1e-9 <= found.price("B", "chat") <= ends.high + 1e-9
    assert worth_of_link(found, ("A", "B")).low == pytest.approx(0.0)
    assert worth_of_link(found, ("A", "B")).high == pytest.approx(1.5)
    assert price_interval(clear(two_nodes()), "B", "chat").single


def test_the_upper_end_is_endless_where_no_more_can_be_served() -> None:
    ends = price_interval(clear(two_nodes(demand=11.0)), "B", "chat")
    assert ends.low == pytest.approx(3.0)
    assert math.isinf(ends.high)


@pytest.mark.parametrize("seed", [0, 3])
def test_ends_of_prices_are_slopes_of_the_cost(seed: int) -> None:
    market = drawn(seed)
    found = clear(market)

    def cost(d: int, change: float) -> float:
        demand = market.demands[d]
        added = Step(demand.rate + change) if change < 0 else Step(change)
        steps = (replace(demand.steps[0], rate=demand.rate), added) if change > 0 else ()
        steps = steps or (replace(demand.steps[0], rate=demand.rate + change),)
        moved = (*market.demands[:d], replace(demand, steps=steps), *market.demands[d + 1 :])
        return clear(replace(market, demands=moved)).cost

    for d in (0, 7):
        demand, step = market.demands[d], 1e-5
        ends = price_interval(found, demand.region, demand.workload)
        assert (cost(d, step) - found.cost) / step == pytest.approx(ends.high, rel=1e-4)
        assert (found.cost - cost(d, -step)) / step == pytest.approx(ends.low, rel=1e-4)


def test_who_is_marginal() -> None:
    assert one_more_token(clear(two_nodes()), "B", "chat").assets == pytest.approx({("b", 0): 1.0})
    more = one_more_token(clear(two_nodes(demand=3)), "B", "chat")
    assert (more.cost, more.assets) == (pytest.approx(1.5), pytest.approx({("a", 0): 1.0}))
    assert one_more_token(clear(two_nodes(demand=15, value=7.0)), "B", "chat").shed == pytest.approx({0: 1.0})


def test_capacity_is_worth_what_it_saves() -> None:
    found = clear(two_nodes(demand=15, value=7.0))
    assert worth_of_asset(found, "b").low == pytest.approx(4.0)
    assert worth_of_asset(found, "a").low == 0.0
    assert worth_of_compute(found, "B", 2.0) == pytest.approx(5.0)
    assert worth_of_compute(found, "A", 0.5) == pytest.approx(0.5)
    more = replace(found.market, assets=(*found.market.assets, Asset("new", "B", 1e-3, (2.0,))))
    assert (found.cost - clear(more).cost) / 1e-3 == pytest.approx(5.0)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_can_be_left_out_of_a_conflict(seed: int) -> None:
    market = scaled(firm(drawn(seed)), 1.7)
    conflict = explain(market)
    assert conflict.unserved > 0
    for part, needed in conflict.mend:
        if part[0] == "node" and math.isfinite(needed):
            factor = needed / sum(asset.capacity for asset in market.assets if asset.node == part[1])
            bigger = tuple(
                replace(a, capacity=1.0001 * factor * a.capacity) if a.node == part[1] else a for a in market.assets
            )
            regions = {name for kind, name in conflict.parts if kind == "region"}
            others = tuple(d if d.region in regions else replace(d, steps=(Step(d.rate, 1.0),)) for d in market.demands)
            links = tuple(
                link if ("link", str(link)) in conflict.parts else replace(link, capacity=1e9) for link in market.links
            )
            roomy = tuple(a if ("node", a.node) in conflict.parts else replace(a, capacity=1e9) for a in bigger)
            limits = tuple(
                w if ("limit", w.name) in conflict.parts else replace(w, limit=math.inf) for w in market.workloads
            )
            clear(replace(market, assets=roomy, demands=others, links=links, workloads=limits))  # it can be met


def test_a_limit_takes_part_in_a_conflict_and_how_much_would_do() -> None:
    with pytest.raises(Infeasible, match="latency limit of chat: 9 ms; 10 ms alone would do"):
        clear(two_nodes(demand=6, limit=0.009))


def test_merit_order_without_fees_links_or_limits() -> None:
    market = replace(drawn(5), fees=(0.0,) * len(drawn(5).fees))
    wide = tuple(replace(link, capacity=1e6) for link in market.links)
    market = firm(replace(market, links=wide, workloads=tuple(replace(w, limit=math.inf) for w in market.workloads)))
    market = scaled(market, 0.8 * market.capacity / market.work)
    found = clear(market)
    filled = [
        load / asset.capacity
        for asset, load in sorted(
            zip(market.assets, found.asset_loads[:, 0], strict=True), key=lambda pair: pair[0].costs
        )
    ]
    last = next(n for n, part in enumerate(filled) if part < 1 - 1e-9)
    assert all(part == pytest.approx(0.0, abs=1e-9) for part in filled[last + 1 :])
    top = sorted(asset.costs[0] for asset in market.assets)[last]
    for demand, price in zip(market.demands, found.prices, strict=True):
        compute = market.workloads[market.workload_index[demand.workload]].compute
        assert price == pytest.approx(compute * top)
    whole = market.capacity / market.work
    clear(scaled(market, 0.999999 * whole))
    with pytest.raises(Infeasible):
        clear(scaled(market, 1.000001 * whole))


def test_offers_take_the_place_of_costs() -> None:
    market = two_nodes()
    asked = offered(market, {"b": (Offer(0.4, 3.0), Offer(0.6, 8.0))})
    assert clear(asked).price("B", "chat") == pytest.approx(8.0)
    with pytest.raises(MarketError, match=r"shares \[0\.4\]"):
        offered(market, {"b": (Offer(0.4, 3.0),)})


def test_local_market_power_has_a_lerner_index() -> None:
    """B asks for more until the value of its tokens; A, whose tokens come over the full cable, has no power."""
    market = two_nodes(demand=10, value=7.0)
    best, tried = best_bid(market, "B")
    assert best.markup == 2.0
    assert best.lerner == pytest.approx(0.5)
    assert best.clearing.price("B", "chat") == pytest.approx(6.0)
    assert bid(market, "B", 1.0).lerner == pytest.approx(0.0)
    assert max(each.profit for each in tried) == best.profit


def test_bidders_answer_each_other_until_none_would_change() -> None:
    """Two nodes of 8 and a demand of 10: who asks less sells 8, who asks more sells 2 and sets the price."""
    market = Market(
        "duel", "USD", (Node("A"), Node("B")), (Link("A", "B", 100.0), Link("B", "A", 100.0)), (0.0, 0.0),
        (Asset("a", "A", 8.0, (1.0,)), Asset("b", "B", 8.0, (1.0,))), (Workload("chat", 1.0, 1.0, 1.0),),
        (Demand("A", "chat", (Step(10.0, 4.0),)),),
    )  # fmt: skip
    found = best_responses(market, ["A", "B"], (1.0, 2.0, 4.0))
    assert found.settled
    assert sorted(bid.markup for bid in found.bids.values()) == [1.0, 4.0]
    assert found.clearing.price("A", "chat") == pytest.approx(4.0)
    assert [each.lerner for each in found.bids.values()] == pytest.approx([0.75, 0.75])
    assert sorted(each.profit for each in found.bids.values()) == pytest.approx([6.0, 24.0])
    assert found.clearing.certificate.gap < 1e-9
    for node, own in found.bids.items():
        others = {name: each.markup for name, each in found.bids.items() if name != node}
        assets = tuple(replace(asset, costs=(others.get(asset.node, 1.0) * asset.costs[0],)) for asset in market.assets)
        assert best_bid(replace(market, assets=assets), node, (1.0, 2.0, 4.0))[0].profit == pytest.approx(own.profit)
    alone = best_responses(market, ["A"], (1.0, 2.0, 4.0))
    assert alone.bids["A"].profit == pytest.approx(best_bid(market, "A", (1.0, 2.0, 4.0))[0].profit)
    short = best_responses(market, ["A", "B"], (1.0, 2.0, 4.0), most=1)
    assert not short.settled
    with pytest.raises(MarketError, match=r"found \['C'\]; accepted: nodes with assets, \['A', 'B'\]"):
        best_responses(market, ["A", "C"])


def test_every_problem_of_a_market_is_reported_at_once() -> None:
    market = two_nodes()
    with pytest.raises(MarketError) as caught:
        replace(market, demands=(Demand("C", "chat", (Step(-1.0),)), Demand("B", "paint", (Step(1.0, 2.0),))))
    assert len(caught.value.problems) == 3
    with pytest.raises(MarketError, match=r"nearest asset that runs chat, b, is 10 ms away"):
        replace(two_nodes(limit=0.009), demands=(Demand("A", "chat", (Step(1.0),)),), assets=market.assets[1:])
    with pytest.raises(MarketError, match="no route there and back"):
        replace(market, links=(Link("A", "B", 1.0),), fees=(0.0,), assets=market.assets[:1])
    with pytest.raises(MarketError, match="no asset runs it"):
        replace(market, assets=tuple(replace(asset, workloads=frozenset()) for asset in market.assets))


def test_prices_come_from_one_basic_solution() -> None:
    """As many flows and shed steps as demands and full resources allow, at most."""
    found: Clearing = clear(drawn(4))
    full = int((found.link_loads >= (1 - 1e-9) * np.array([[x.capacity] for x in found.market.links])).sum())
    full += int((found.asset_loads >= (1 - 1e-9) * np.array([[x.capacity] for x in found.market.assets])).sum())
    partly = sum(0 < shed < demand.rate for shed, demand in zip(found.shed, found.market.demands, strict=True))
    assert len(found.flows) + partly <= len(found.market.demands) + full


def test_scaling_demand_scales_every_step() -> None:
    market: Market = scaled(drawn(0), 2.0)
    assert market.work == pytest.approx(2 * drawn(0).work)
