"""`bin/wardrop market FILE`: a market file checked and cleared. It needs neither root nor emulation.

`--scenario FILE` writes the scenario in which it runs on packets (`topologies.live`).

Fields of `--json FILE`; USD stands for the currency of the file, costs are summed over the periods:

| field | what |
|---|---|
| `schema` | `wardrop-market-1` |
| `market`, `currency`, `model` | its name, its currency, and transfer-aware or token-equivalent |
| `cost` | USD/s: compute, fees, and the value of what is shed |
| `certificate` | `primal`, `dual`, `gap`, `primal_residual`, `dual_residual`, `complementarity`: of `pricing.market` |
| `settlement` | {`payments`, `compute`, `fees`, `asset_rents`, `link_rents`, `lost`, `imbalance`}: USD/s, and a ratio |
| `demands` | [{`region`, `workload`, `period`, `rate`, `shed`, `price`, `parts`}], tokens/s and USD a token |
| `demands[].parts` | {`compute`, `scarcity`, `fees`, `congestion` {link: USD a token}} on the main route |
| `flows` | [{`region`, `workload`, `period`, `served`, `asset`, `nodes`, `rate`}], `nodes` on the way out |
| `assets` | [{`name`, `node`, `period`, `load`, `capacity`, `cost`, `scarcity`}], work/s and USD a work |
| `links` | [{`src`, `dst`, `period`, `load_bps`, `capacity_bps`, `congestion`}], bit/s and USD a bit |
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.cli import THEORY, JsonOption, app, console, write_json

if TYPE_CHECKING:
    from pricing.market.clearing import Clearing

MODELS = ("transfer-aware", "token-equivalent")


@app.command("market", rich_help_panel=THEORY)
def market(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A market file, or us-5 or us-20.")],
    model: Annotated[str, typer.Option("--model", metavar="M", help=" or ".join(MODELS))] = MODELS[0],
    demand: Annotated[float, typer.Option("--demand", metavar="X", help="Multiply all demand.")] = 1.0,
    scenario: Annotated[
        Path | None, typer.Option("--scenario", metavar="FILE", help="Write a scenario there, to run it on packets.")
    ] = None,
    scale: Annotated[
        float, typer.Option("--scale", metavar="X", help="Emulated capacities and demand over real ones.")
    ] = 1e-3,
    to: JsonOption = None,
) -> None:
    """Clear a market for tokens: who computes what, what it costs where, and why. Needs no root."""
    from pricing.errors import WardropError
    from pricing.market.clearing import clear
    from pricing.market.model import scaled, token_equivalent
    from topologies.market import load

    if model not in MODELS:
        raise WardropError(f"--model {model}: unknown; accepted: {' or '.join(MODELS)}")
    source = load(file)
    given = scaled(source.market, demand)
    with console(stderr=True).status(f"{given.name}: clearing"):
        found = clear(given if model == MODELS[0] else token_equivalent(given))
    written = as_json(found, model)
    _show(written)
    write_json(to, written)
    if scenario is not None:
        from topologies.live import scenario_of
        from topologies.scenario import dump

        scenario.write_text(dump(scenario_of(replace(source, market=given), scale)))


def as_json(found: Clearing, model: str) -> dict[str, Any]:
    """A clearing as the module's head describes it."""
    from pricing.market.prices import price_components, settle

    market, money = found.market, settle(found)
    rows = zip(market.demands, found.shed, found.prices.tolist(), price_components(found), strict=True)
    return {
        "schema": "wardrop-market-1",
        "market": market.name,
        "currency": market.currency,
        "model": model,
        "cost": found.cost,
        "certificate": asdict(found.certificate),
        "settlement": {
            "payments": money.payments,
            "compute": money.compute,
            "fees": money.fees,
            "asset_rents": float(money.asset_rents.sum()),
            "link_rents": float(money.link_rents.sum()),
            "lost": money.lost,
            "imbalance": money.imbalance,
        },
        "demands": [
            {
                "region": demand.region, "workload": demand.workload, "period": demand.period, "rate": demand.rate,
                "shed": shed, "price": price,
                "parts": {"compute": parts.compute, "scarcity": parts.scarcity, "fees": parts.fees,
                          "congestion": {f"{a}->{b}": value for (a, b), value in parts.congestion.items()}},
            }
            for demand, shed, price, parts in rows
        ],
        "flows": [
            {
                "region": market.demands[flow.demand].region, "workload": market.demands[flow.demand].workload,
                "period": market.demands[flow.demand].period, "served": flow.period, "asset": flow.route.server,
                "nodes": list(flow.route.nodes) or [market.demands[flow.demand].region], "rate": flow.rate,
            }
            for flow in found.flows
        ],
        "assets": [
            {
                "name": asset.name, "node": asset.node, "period": t, "load": float(found.asset_loads[j, t]),
                "capacity": asset.capacity, "cost": asset.costs[t], "scarcity": float(found.duals.assets[j, t]),
            }
            for j, asset in enumerate(market.assets) for t in range(market.periods)
        ],
        "links": [
            {
                "src": link.src, "dst": link.dst, "period": t, "load_bps": float(found.link_loads[e, t]),
                "capacity_bps": link.capacity, "congestion": float(found.duals.links[e, t]),
            }
            for e, link in enumerate(market.links) for t in range(market.periods)
        ],
    }  # fmt: skip


def _show(data: dict[str, Any]) -> None:
    from rich.table import Table

    screen, currency = console(), data["currency"]
    title = f"{data['market']}, {data['model']}: {currency} a million tokens"
    prices = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("region", "workload"):
        prices.add_column(name)
    for name in ("ktoken/s", "shed", "price", "compute", "scarcity", "fees", "congestion"):
        prices.add_column(name, justify="right")
    for row in data["demands"]:
        parts = row["parts"]
        values = [row["price"], parts["compute"], parts["scarcity"], parts["fees"], sum(parts["congestion"].values())]
        where = row["region"] + (f" ({row['period']})" if row["period"] else "")
        rates = (f"{row['rate'] / 1e3:,.1f}", f"{row['shed'] / 1e3:,.1f}")
        prices.add_row(where, row["workload"], *rates, *(f"{1e6 * value:.3f}" for value in values))
    screen.print(prices)
    full = [row for row in data["links"] if row["congestion"] > 0]
    money, proof = data["settlement"], data["certificate"]
    lines = [
        f"{row['src']} > {row['dst']} is full, congestion {1e9 * row['congestion']:.3g} {currency}/Gbit" for row in full
    ]
    lines += [
        f"cost {data['cost']:.6g} {currency}/s; payments {money['payments']:.6g} = compute {money['compute']:.6g} + "
        f"fees {money['fees']:.6g} + rents {money['asset_rents']:.6g} of assets, {money['link_rents']:.6g} of links",
        f"gap {proof['gap']:.1e}, primal residual {proof['primal_residual']:.1e}, dual residual "
        f"{proof['dual_residual']:.1e}, complementarity {proof['complementarity']:.1e}",
    ]  # fmt: skip
    for line in lines:
        screen.print(line, soft_wrap=True, highlight=False, markup=False)
