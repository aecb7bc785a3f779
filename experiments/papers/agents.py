"""How agents without a centre fare on `abilene`, and what they say for it: two tables, on simulated time.

| table | field | what |
|---|---|---|
| `channel` | `lost`, `late_s` | share of the messages that a source does not hear, longest delay of one |
|  | `gap_30`, `gap_60`, `gap_120` | mean gap to the optimum over the 30 s from that second on, mean of the runs |
|  | `worst` | largest gap of any second from 60 s on, of any run; null where a load reached its capacity |
| `signalling` | `servers` | how many there are, of which each carries a part of what the three of `abilene` do |
|  | `servers_Bps`, `links_Bps`, `sources_Bps` | bytes/s of frames that agents of each kind say |
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.papers.iterations import Table, write_tables
from pricing.joint.agents_simulated import simulate
from pricing.network import Network
from topologies.links import as_emulated
from topologies.scenario import load

CHANNELS = ((0.0, 0.0), (0.3, 0.0), (0.3, 4.0), (0.3, 10.0), (0.6, 4.0))
COUNTS = (3, 6, 12)
SECONDS, SPOKEN = 150, 20
"""Length of a run with messages lost, and of one in which they are counted; s."""


def study(out: Path, seeds: int) -> dict[str, Table]:
    """Make the tables and write them into a folder; the tables by name.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    tables = {"channel": channel_table(seeds), "signalling": signalling_table()}
    write_tables(out, {f"agents-{title}": rows for title, rows in tables.items()})
    return tables


def abilene() -> Network:
    """The scenario, without propagation."""
    return as_emulated(load("abilene").network, False)


def channel_table(seeds: int) -> Table:
    """Gaps when messages are lost and late."""
    network, rows = abilene(), Table()
    for lost, late in CHANNELS:
        gaps = np.array([simulate(network, lost, late, SECONDS, seed).gaps for seed in range(seeds)])
        worst = float(gaps[:, 60:].max())
        means = {f"gap_{at}": float(gaps[:, at : at + 30].mean()) for at in (30, 60, 120)}
        shown = {name: value if np.isfinite(value) else None for name, value in {**means, "worst": worst}.items()}
        rows.append({"lost": lost, "late_s": late, **shown})
    return rows


def signalling_table() -> Table:
    """What is said when there are more servers, each so much smaller."""
    rows = Table()
    for count in COUNTS:
        octets = simulate(with_servers(abilene(), count), 0.0, 0.0, SPOKEN).octets
        rows.append({"servers": count, **{f"{kind}_Bps": value for kind, value in octets.items()}})
    return rows


def with_servers(network: Network, count: int) -> Network:
    """The network with its servers divided, at their nodes in turn, into `count` that carry as much together."""
    each = count // len(network.servers)
    servers = tuple(
        replace(server, name=f"{server.name}{part}", capacity=server.capacity / each)
        for server in network.servers
        for part in range(each)
    )
    names = tuple(server.name for server in servers)
    sessions = tuple(replace(session, destinations=names) for session in network.sessions)
    return replace(network, servers=servers, sessions=sessions)
