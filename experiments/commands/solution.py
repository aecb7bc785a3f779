"""What `wardrop solve` shows and writes: where a policy ends up by the model of independent queues.

Fields of the JSON file. Seconds, bit/s and work/s; null where a load reaches its capacity and nothing finite can be
said.

| field | what |
|---|---|
| `schema` | `wardrop-solve-1` |
| `scenario`, `policy` | names |
| `load`, `propagation` | the options: RHO or null, and whether propagation counts |
| `rounds`, `settled` | rounds until the allocation stood still, and whether it did |
| `feasible` | whether every load is below its capacity |
| `mean_delay_s` | of a request, over all requests |
| `certificate` | {`primal_s`, `dual_s`, `gap`, `kkt_residual_s`, `wardrop_residual`}, of `pricing.values` |
| `sessions` | [{`name`, `source`, `kind`, `rate_bps`, `packets_per_s`, `delay_s`, `split`}] |
| `sessions[].delay_s` | {`network`, `server`, `total`}, means of a request |
| `sessions[].split` | [{`route` (names of nodes), `server` ("" for unicast), `weight`, `delay_s`}] |
| `links` | [{`src`, `dst`, `capacity_bps`, `load_bps`, `utilization`, `delay_s`, `price`}], price in s·bit a bit |
| `users` | null but where users choose, or routes have classes: {`welfare`, `equilibria`, `residual`, `classes`} |
| `users.welfare` | currency/s at the best of the `equilibria` found, with its residual; null without users |
| `users.classes` | {`delay_cost`, `excess`, `worst`}: `pricing.priority.routed.ClassCertificate` of the allocation |
| `servers` | [{`name`, `node`, `capacity`, `load`, `utilization`, `delay_s`, `price`}], capacity and load in work/s |
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pricing.network import Network
from pricing.policy import Solution
from pricing.priority.routed import certify_classes

if TYPE_CHECKING:
    from pricing.priority.rest import AtRest
    from topologies.scenario import Scenario

SCHEMA = "wardrop-solve-1"

SHOWN_LINKS = 12
"""Links in the table, most loaded first; the file has them all."""


def without_propagation(network: Network) -> Network:
    """The network as a kernel without netem emulates it."""
    return replace(network, links=tuple(replace(link, propagation=0.0) for link in network.links))


def as_json(network: Network, solution: Solution) -> dict[str, Any]:
    """The solution as the module's head describes it, but for the options."""
    evaluation, certificate = solution.evaluation, solution.certificate
    return {
        "schema": SCHEMA,
        "scenario": network.name,
        "policy": solution.policy,
        "rounds": solution.rounds,
        "settled": solution.settled,
        "feasible": evaluation.feasible,
        "mean_delay_s": _finite(evaluation.mean_delay),
        "certificate": {
            "primal_s": _finite(certificate.primal),
            "dual_s": _finite(certificate.dual),
            "gap": _finite(certificate.gap),
            "kkt_residual_s": _finite(certificate.kkt_residual),
            "wardrop_residual": _finite(certificate.wardrop_residual),
        },
        "sessions": _sessions(network, solution),
        "links": [
            {
                "src": link.src,
                "dst": link.dst,
                "capacity_bps": link.capacity,
                "load_bps": float(load),
                "utilization": float(load) / link.capacity,
                "delay_s": _finite(delay),
                "price": _finite(price),
            }
            for link, load, delay, price in zip(
                network.links, evaluation.loads.links, evaluation.link_delays, solution.prices.links, strict=True
            )
        ],
        "servers": [
            {
                "name": server.name,
                "node": server.node,
                "capacity": server.capacity,
                "load": float(load),
                "utilization": float(load) / server.capacity,
                "delay_s": _finite(delay),
                "price": _finite(price),
            }
            for server, load, delay, price in zip(
                network.servers,
                evaluation.loads.servers,
                evaluation.server_delays,
                solution.prices.servers,
                strict=True,
            )
        ],
    }


def _sessions(network: Network, solution: Solution) -> list[dict[str, Any]]:
    evaluation = solution.evaluation
    rows = []
    for session in network.sessions:
        delay = evaluation.sessions[session.name]
        parts = {"network": delay.network, "server": delay.server, "total": delay.total}
        split = [
            {
                "route": list(route.nodes) or [session.source],
                "server": route.server,
                "weight": weight,
                "delay_s": _finite(evaluation.routes[route].total),
            }
            for route, weight in solution.allocation.splits[session.name]
        ]
        rows.append(
            {
                "name": session.name,
                "source": session.source,
                "kind": session.kind,
                "rate_bps": session.rate,
                "packets_per_s": session.packet_rate,
                "delay_s": {part: _finite(value) for part, value in parts.items()},
                "split": split,
            }
        )
    return rows


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def show(network: Network, solution: Solution, console: Console) -> None:
    """Print the solution as tables: sessions, servers, the most loaded links, and how far from optimal it is."""
    data = as_json(network, solution)
    sessions = _table(f"{network.name}, {solution.policy}", "session", "packets/s", "delay", "share", "route", "delay")
    for row in data["sessions"]:
        split = row["split"]
        sessions.add_row(
            row["name"],
            f"{row['packets_per_s']:,.1f}",
            _ms(row["delay_s"]["total"]),
            "\n".join(f"{part['weight']:.1%}" for part in split),
            "\n".join(" > ".join(part["route"]) + (f" @ {part['server']}" if part["server"] else "") for part in split),
            "\n".join(_ms(part["delay_s"]) for part in split),
        )
    console.print(sessions)
    if data["servers"]:
        servers = _table("servers", "server", "load, work/s", "capacity", "utilization", "delay", "price")
        for row in data["servers"]:
            servers.add_row(row["name"], f"{row['load']:,.1f}", f"{row['capacity']:,.1f}", *_state(row))
        console.print(servers)
    used = [row for row in data["links"] if row["load_bps"] > 0]
    fullest = f", the {SHOWN_LINKS} fullest" if len(used) > SHOWN_LINKS else ""
    links = _table(f"links with load: {len(used)} of {len(network.links)}{fullest}", "link", "load, Mbit/s", "capacity",
                   "utilization", "delay", "price")  # fmt: skip
    for row in sorted(used, key=lambda row: (-row["utilization"], row["src"], row["dst"]))[:SHOWN_LINKS]:
        name = f"{row['src']} > {row['dst']}"
        links.add_row(name, f"{row['load_bps'] / 1e6:.3f}", f"{row['capacity_bps'] / 1e6:g}", *_state(row))
    console.print(links)
    _summary(data, console)


def resting(scenario: Scenario, policy: str) -> AtRest | None:
    """Users at rest under a policy that lets them choose; None where nobody does.

    Raises
    ------
    ScenarioError
        When somebody beside the users is none.
    """
    from pricing.priority.publish import REGIMES
    from pricing.priority.rest import at_rest
    from topologies.scenario import elastic

    regime = next((each for each in REGIMES if each == policy), None)
    if regime is None or not scenario.users:
        return None
    chosen = elastic(scenario)
    return at_rest(chosen.network, chosen.groups, regime)


def show_rest(network: Network, solution: Solution, rest: AtRest | None, console: Console) -> dict[str, Any]:
    """Print, and return, what is said of users and of classes."""
    rates = np.array([session.packet_rate for session in network.sessions])
    told = certify_classes(network, solution.allocation, rates)
    best = rest.solutions.best if rest else None
    found = {
        "welfare": best.welfare if best else None,
        "equilibria": len(rest.solutions.all) if rest else None,
        "residual": best.residual if best else None,
        "classes": {"delay_cost": _finite(told.cost), "excess": _finite(told.excess), "worst": _finite(told.worst)},
    }
    if best:
        console.print(
            f"users at rest: welfare {best.welfare:.6g} currency/s, the best of {found['equilibria']} found, residual "
            f"{best.residual:.2g}",
            soft_wrap=True,
            highlight=False,
        )
    console.print(
        f"with classes, delay costs {told.cost:.5g} currency/s; on the cheapest routes for their class, requests would "
        f"save {told.excess:.2g} of what they pay, one at most {told.worst:.2g}",
        soft_wrap=True,
        highlight=False,
    )
    return found


def _summary(data: dict[str, Any], console: Console) -> None:
    certificate = data["certificate"]
    if data["feasible"]:
        primal, dual, residual = (_ms(certificate[key]) for key in ("primal_s", "dual_s", "kkt_residual_s"))
        line = (
            f"mean delay of a request {_ms(data['mean_delay_s'])}; the objective is {primal} a bit, "
            f"the optimum not below {dual}: gap {_ratio(certificate['gap'])}, KKT residual {residual}"
        )
    else:
        over = [f"{r['src']} > {r['dst']}" for r in data["links"] if r["delay_s"] is None]
        over += [row["name"] for row in data["servers"] if row["delay_s"] is None]
        line = f"over capacity: {', '.join(over)}; queues grow without end"
    console.print(line, soft_wrap=True, highlight=False, style="" if data["feasible"] else "bold red")
    if not data["settled"]:
        console.print(f"the weights still move after {data['rounds']} rounds", soft_wrap=True, highlight=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column in ("session", "server", "link", "route") else "right")
    return table


def _state(row: dict[str, Any]) -> tuple[str, str, str]:
    share = row["utilization"]
    colour = "red" if share >= 0.9 else "yellow" if share >= 0.7 else "green"
    return f"[{colour}]{share:.3f}[/]", _ms(row["delay_s"]), _ms(row["price"])


def _ms(seconds: float | None) -> str:
    return "endless" if seconds is None else f"{seconds * 1e3:.3g} ms"


def _ratio(value: float | None) -> str:
    return "endless" if value is None else f"{value:.2g}"
