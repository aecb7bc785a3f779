"""Demand beyond what the network can carry."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from experiments.faults.ground import Ground, Line
from experiments.faults.rows import NONE_TWICE, PACKETS, STEAL, Figure, Row, Seen
from pricing.admission import admitted
from pricing.joint.feasible import least_top_utilization
from pricing.problem import problem_of

BEYOND = 1.25
"""Demand over what could be carried (ours)."""

SETTLE_TICKS, WATCHED_TICKS = 10, 5
"""Ticks until the demand is known for sure, and ticks that are then judged (ours)."""


def overload(ground: Ground) -> Seen:
    """Let every session send more, together more than can be carried; then less again."""
    network, problem = ground.network, problem_of(ground.network)
    most = float((problem.loads(least_top_utilization(network)) / problem.capacity).max())
    factor = BEYOND / most
    for session in network.sessions:
        ground.traffic.set_demand(session.name, factor)
    begun, _ = ground.until(lambda line: min(line["served"].values()) < 1)
    watched = ground.ticks(SETTLE_TICKS + WATCHED_TICKS)[SETTLE_TICKS:]
    for session in network.sessions:
        ground.traffic.set_demand(session.name, 1.0)
    over, _ = ground.until(lambda line: min(line["served"].values()) == 1)
    ground.ticks(WATCHED_TICKS)
    rule = admitted(network, factor * problem.rates)
    offered = problem.rates / problem.rates.sum()
    told = np.array([[line["served"][session.name] for session in network.sessions] for line in watched])
    moves = [_move(one, other) for one, other in pairwise(watched)]
    return Seen(
        {
            "demand": BEYOND,
            "refused": float(1 - told.mean(axis=0) @ offered),
            "refused_by_rule": float(1 - rule @ offered),
            "rule_error": float(np.abs(told.mean(axis=0) - rule).max()),
            "top_utilization": max(float(np.mean(values)) for values in _utilizations(watched)),
            "not_numbers": sum(_not_numbers(line) for line in watched),
            "largest_move": max(moves),
            "refusing_ticks": begun,
            "over_ticks": over,
        }
    )


def _utilizations(lines: list[Line]) -> list[list[float]]:
    """Of every link and server, tick by tick."""
    rows = [[row["utilization"] for row in (*line["links"], *line["servers"])] for line in lines]
    return [list(values) for values in zip(*rows, strict=True)]


def _not_numbers(line: Line) -> int:
    """Parts and weights that are no numbers from 0 to 1, and splits that do not add up."""
    parts = [*line["served"].values(), *(weight for split in line["decided"].values() for _, weight in split)]
    sums = [math.fsum(weight for _, weight in split) for split in line["decided"].values()]
    return sum(not 0 <= part <= 1 + 1e-9 for part in parts) + sum(not abs(total - 1) < 1e-6 for total in sums)


def _move(before: Line, after: Line) -> float:
    """The largest change of a route's share from one tick to the next."""
    one, other = (
        {(name, route): weight for name, split in line["decided"].items() for route, weight in split}
        for line in (before, after)
    )
    return max(float(abs(one.get(key, 0.0) - other.get(key, 0.0))) for key in one | other)


OVERLOAD = Row(
    "overload",
    f"every session sends more, together {BEYOND:g} of what the network can carry; then as before",
    "max-min fair parts are let in, it is said how much is refused and where, no number is none, no split jumps",
    (
        PACKETS,
        NONE_TWICE,
        Figure("demand", "ratio", "offered, over what the network can carry"),
        Figure("refused", "ratio", "of the demand, as told", least=0.01, most=0.99),
        Figure("refused_by_rule", "ratio", "of the demand, by the rule on the nominal rates"),
        Figure("rule_error", "ratio", "largest difference of a session's part from the rule's", most=0.1),
        Figure("top_utilization", "ratio", "of links and servers, mean of the ticks watched", most=1.05),
        Figure("not_numbers", "", "parts and weights outside 0 to 1, splits that do not add up", most=0),
        Figure("largest_move", "ratio", "largest change of a route's share in a tick", most=0.5),
        Figure("refusing_ticks", "ticks", "until the first refusal"),
        Figure("over_ticks", "ticks", "from the old demand's return until nothing is refused", least=1),
        STEAL,
    ),
    overload,
)
