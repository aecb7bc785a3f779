"""How users fare who follow measured prices, on simulated time (`pricing.priority.loop`): one table.

Constants of the loop were chosen on `two-servers` with seeds 1 to 4; what is told here is of other seeds, from `FIRST`
on, and of another scenario too. The value of the first user doubles at tick `DOUBLED`.

| table | field | what |
|---|---|---|
| `loop` | `scenario`, `lost` | which, and the share of announcements that each user does not hear |
|  | `runs`, `first_seed` | how many, by seeds from that one on |
|  | `welfare`, `least` | over the best equilibrium's from tick 60 on, mean and least of all runs |
|  | `move`, `move_95` | largest relative move of a price in use in a tick from tick 60 on, mean and 95th percentile |
|  | `after`, `after_move` | welfare and move from 60 ticks after the doubling on, means |
|  | `moved` | rise of the user's rate by then over that of the equilibrium's, mean |
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.papers.iterations import Table, write_tables
from pricing.priority.elastic import economy_of
from pricing.priority.loop import follow, worthy
from pricing.priority.solve import optimum
from topologies.links import as_emulated
from topologies.scenario import elastic, load

SCENARIOS = ("two-servers", "abilene")
LOST = (0.0, 0.3)

FIRST = 101
"""First seed."""

SETTLED, DOUBLED, TICKS = 60, 120, 240
"""Ticks after which prices have to rest, of the change, and in all."""


def study(out: Path, seeds: int) -> dict[str, Table]:
    """Make the table and write it into a folder; the tables by name.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    tables = {"loop": Table(_row(name, lost, range(FIRST, FIRST + seeds)) for name in SCENARIOS for lost in LOST)}
    write_tables(out, {f"users-{title}": rows for title, rows in tables.items()})
    return tables


def _row(name: str, lost: float, seeds: range) -> dict[str, object]:
    scenario = elastic(load(name))
    network, groups = as_emulated(scenario.network, False), scenario.groups
    change = groups[-1].name, 2.0
    old, new = (optimum(economy_of(network, users)).best for users in (groups, worthy(groups, *change)))
    runs = [follow(network, groups, ticks=TICKS, seed=seed, lost=lost, worth={DOUBLED: change}) for seed in seeds]
    before, after = slice(SETTLED, DOUBLED), slice(DOUBLED + SETTLED, TICKS)
    welfare = np.array([run.welfare[before] / old.welfare for run in runs])
    moves = np.array([run.moves[before] for run in runs])
    rise = np.mean([run.rates[after, -1].mean() - run.rates[before, -1].mean() for run in runs])
    return {
        "scenario": name,
        "lost": lost,
        "runs": len(runs),
        "first_seed": seeds[0],
        "welfare": float(welfare.mean()),
        "least": float(welfare.min()),
        "move": float(moves.mean()),
        "move_95": float(np.quantile(moves, 0.95)),
        "after": float(np.mean([run.welfare[after] / new.welfare for run in runs])),
        "after_move": float(np.mean([run.moves[after] for run in runs])),
        "moved": float(rise / (new.totals[-1] - old.totals[-1])),
    }
