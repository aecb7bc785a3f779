"""From the cells of a sweep to the points of its curves: means over seeds, with 95 % intervals.

**Price of anarchy**: a policy's mean delay over the optimum's at the same load. Both are taken under the same seed,
which draws the same arrivals, sizes and flows for both, so their ratios scatter less than the two means do.

Intervals are Student's over seeds; of a single seed, those of its packets. A point without a steady state has no value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.cells import Result
from experiments.result.estimate import NOTHING, Estimate, proportion, ratio, replications
from experiments.sweeps.grid import OPTIMUM, Cell


@dataclass(frozen=True)
class Point:
    """A policy at a load.

    Parameters
    ----------
    state, why : str
        As cells have it (`experiments.sweeps.grid`); `why` is empty where it is `ok`.
    delay : Estimate
        Mean delay of a request, s.
    loss : Estimate
        Requests lost over requests sent.
    anarchy : Estimate
        Price of anarchy.
    model_delay : float
        Mean delay by the model of independent queues, s; NaN where there is none.
    runs, bad : int
        Seeds that were run, and those of them that are bad: the machine was not quiet, or packets are not accounted
        for. Bad ones count only where there are no others.
    """

    policy: str
    load: float
    state: str
    why: str
    delay: Estimate
    loss: Estimate
    anarchy: Estimate
    model_delay: float
    runs: int
    bad: int

    @property
    def good(self) -> bool:
        """Whether its numbers rest on good runs."""
        return self.bad < self.runs

    def as_json(self) -> dict[str, Any]:
        """As the JSON file has it (`experiments.commands.sweep`)."""
        known = math.isfinite(self.model_delay)
        return {
            "policy": self.policy,
            "load": self.load,
            "state": self.state,
            "why": self.why,
            "delay_s": self.delay.as_json(),
            "loss": self.loss.as_json(),
            "price_of_anarchy": self.anarchy.as_json(),
            "model_delay_s": self.model_delay if known else None,
            "runs": self.runs,
            "bad": self.bad,
        }


def points(results: Mapping[Cell, Result]) -> list[Point]:
    """The points of all curves, by policy in the order of the cells, then by load."""
    by_place: dict[tuple[str, float], dict[int, Result]] = {}
    for cell, result in results.items():
        by_place.setdefault((cell.policy, cell.load), {})[cell.seed] = result
    policies = list(dict.fromkeys(policy for policy, _ in by_place))
    loads = sorted({load for _, load in by_place})
    return [
        _point(policy, load, by_place[policy, load], by_place[OPTIMUM, load]) for policy in policies for load in loads
    ]


def _point(policy: str, load: float, mine: Mapping[int, Result], best: Mapping[int, Result]) -> Point:
    first = next(iter(mine.values()))
    if first["state"] != "ok":
        return Point(
            policy, load, first["state"], first["why"], NOTHING, NOTHING, NOTHING, math.nan, runs=len(mine), bad=0
        )
    used = _good(mine)
    pairs = [
        ratio(_delay(result), _delay(best[seed])) for seed, result in used.items() if seed in _good(best)
    ]  # the optimum is feasible wherever a policy is
    if policy == OPTIMUM:
        pairs = [Estimate(1.0, 0.0, pair.n) for pair in pairs]
    return Point(
        policy=policy,
        load=load,
        state="ok",
        why="",
        delay=_over_seeds([_delay(result) for result in used.values()]),
        loss=_loss(list(used.values())),
        anarchy=_over_seeds(pairs),
        model_delay=float(first["model_delay_s"]),
        runs=len(mine),
        bad=sum(_bad(result) for result in mine.values()),
    )


def _bad(result: Result) -> bool:
    return not result["quiet"] or result["unaccounted"] > 0


def _good(runs: Mapping[int, Result]) -> Mapping[int, Result]:
    """The good runs; all of them where there is none."""
    return {seed: result for seed, result in runs.items() if not _bad(result)} or runs


def _delay(result: Result) -> Estimate:
    said = result["delay_s"]
    value, half = said["value"], said["ci95"]
    return Estimate(math.nan if value is None else value, math.inf if half is None else half, said["n"])


def _over_seeds(runs: Sequence[Estimate]) -> Estimate:
    known = [run for run in runs if math.isfinite(run.value)]
    if len(known) == 1:
        return known[0]
    return replications([run.value for run in known])


def _loss(runs: Sequence[Result]) -> Estimate:
    """Share of the requests that were lost; losses come in bursts, so the wider of two intervals holds."""
    lost, requests = sum(run["lost"] for run in runs), sum(run["requests"] for run in runs)
    if not requests:
        return NOTHING
    pooled = proportion(lost, requests)
    between = replications([run["lost"] / run["requests"] for run in runs if run["requests"]])
    half = max(pooled.ci95, between.ci95) if math.isfinite(between.ci95) else pooled.ci95
    return Estimate(pooled.value, half, requests)
