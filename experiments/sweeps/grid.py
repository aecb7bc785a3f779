"""The grid of a sweep: which cells there are, and what each comes to by simulation or by the model.

A cell is one policy at one load under one seed. Before anything is simulated or sent, the model is asked whether the
cell has a steady state at all:

| state | what |
|---|---|
| `ok` | every load of the allocation is below its capacity: the cell has a delay |
| `overloaded` | the policy's own allocation fills a link or server: queues grow without end |
| `infeasible` | no allocation at all can carry the demand |

Only cells that are `ok` have numbers; the others say why in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from experiments.cells import Result
from pricing.errors import Infeasible, WardropError
from pricing.joint.feasible import least_top_utilization
from pricing.network import Network
from pricing.own import code, named
from pricing.policy import Solution, solve
from topologies.scenario import Control, Scenario

On = Literal["packets", "simulation", "model"]
"""Where a cell is computed."""

OPTIMUM = "joint"
"""The policy that everything is held against, swept whether it is asked for or not."""

MOST_LOADS = 1000
"""Loads of one sweep (ours): more are a step with a zero too many."""

VERSION = 1
"""Of what cells mean; cells of another version are computed again."""


@dataclass(frozen=True)
class Cell:
    """A policy at a load under a seed, with all that its result depends on.

    Parameters
    ----------
    on : 'packets', 'simulation' or 'model'
    network : Network
        Scaled to the load.
    control : Control
        How the controller runs, on packets.
    load : float
    policy : str
    seed : int
        0 by the model, which draws nothing.
    duration : float
        Seconds simulated, or measured on packets; 0 by the model.
    code : str
        Digest of the file of a policy of your own.
    """

    on: On
    network: Network
    control: Control
    load: float
    policy: str
    seed: int
    duration: float
    code: str = ""


def loads_of(text: str) -> tuple[float, ...]:
    """Loads as people write them: `0.3:0.95:0.05` (both ends belong to it), or a list such as `0.5,0.7,0.9`.

    Raises
    ------
    WardropError
        When it is neither, or a load is not above 0.

    Examples
    --------
    >>> loads_of("0.3:0.5:0.1"), loads_of("0.9")
    ((0.3, 0.4, 0.5), (0.9,))
    """
    accepted = "accepted: FROM:TO:STEP such as 0.3:0.95:0.05, or a list such as 0.5,0.7,0.9, all above 0"
    parts = text.split(":")
    try:
        numbers = [float(part) for part in (parts if len(parts) == 3 else text.split(","))]
    except ValueError:
        raise WardropError(f"--load {text}: not numbers; {accepted}") from None
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        raise WardropError(f"--load {text}: {accepted}")
    if len(parts) == 3:
        low, high, step = numbers
        count = math.floor((high - low) / step + 1e-9) + 1
        if not 1 <= count <= MOST_LOADS:
            raise WardropError(f"--load {text}: {max(count, 0)} loads, 1 to {MOST_LOADS} are accepted; {accepted}")
        numbers = [float(np.round(low + index * step, 10)) for index in range(count)]
    return tuple(sorted(set(numbers)))


def grid(
    scenarios: Sequence[tuple[float, Scenario]], policies: Sequence[str], on: On, seeds: int, duration: float
) -> list[Cell]:
    """The cells of a sweep, those of a load after each other; the optimum's among them.

    Parameters
    ----------
    scenarios : sequence of (load, Scenario)
        The scenario scaled to each load.
    seeds : int
        Seeds 1 to this.
    """
    drawn = range(1, seeds + 1) if on != "model" else range(1)
    seconds = duration if on != "model" else 0.0
    names = list(dict.fromkeys([*policies, OPTIMUM]))
    return [
        Cell(on, scenario.network, scenario.control, load, policy, seed, seconds, code(policy))
        for load, scenario in scenarios
        for seed in drawn
        for policy in names
    ]


def compute(cell: Cell) -> Result:
    """What a cell on the simulation or the model comes to.

    Returns
    -------
    dict
        `state`, and unless that is `ok`, `why`; else `delay_s` (an estimate), `requests`, `lost`, `model_delay_s`,
        and `quiet` and `unaccounted`, which only packets can spoil.
    """
    without = no_steady_state(cell)
    if without is not None:
        return without
    solution = settled(cell.network, cell.policy)
    model = solution.evaluation.mean_delay
    if cell.on == "model":
        delay = {"value": model, "ci95": 0.0, "n": 1}
        return figures(delay, 0, 0, model)
    from experiments.result.predict import synthetic

    found = synthetic(cell.network, solution.allocation, cell.duration, cell.seed)
    return figures(found.delay.mean.as_json(), found.balance.requests, found.balance.dropped, model)


def figures(
    delay: Mapping[str, float | int | None],
    requests: int,
    lost: int,
    model: float,
    quiet: bool = True,
    unaccounted: int = 0,
) -> Result:
    """The result of a cell that is `ok`."""
    return {
        "state": "ok",
        "delay_s": dict(delay),
        "requests": requests,
        "lost": lost,
        "model_delay_s": model,
        "quiet": quiet,
        "unaccounted": unaccounted,
    }


def no_steady_state(cell: Cell) -> Result | None:
    """Why a cell has no delay; None where it has one."""
    reason = _infeasible(cell.network)
    if reason is not None:
        return {"state": "infeasible", "why": reason}
    evaluation = settled(cell.network, cell.policy).evaluation
    if evaluation.feasible:
        return None
    network, loads = cell.network, evaluation.loads
    used = [(f"link {link}", x / link.capacity) for link, x in zip(network.links, loads.links, strict=True)]
    used += [(f"server {s.name}", x / s.capacity) for s, x in zip(network.servers, loads.servers, strict=True)]
    full = sorted((each for each in used if each[1] >= 1), key=lambda each: -each[1])
    shown = ", ".join(f"{name} at {share:.3f}" for name, share in full[:3])
    more = f" and {len(full) - 3} more" if len(full) > 3 else ""
    return {"state": "overloaded", "why": f"{cell.policy} loads {shown}{more} of capacity"}


@lru_cache(maxsize=64)
def settled(network: Network, policy: str) -> Solution:
    """Where a policy settles; kept, because every seed asks again."""
    return solve(network, named(policy))


@lru_cache(maxsize=64)
def _infeasible(network: Network) -> str | None:
    try:
        least_top_utilization(network)
    except Infeasible as error:
        return str(error)
    return None
