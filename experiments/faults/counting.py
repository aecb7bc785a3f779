"""Counters of a switch that wrap, jump back, stand still, or are not there."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from experiments.faults.between import Between, Counting, Manner, raised, still, unsupported, wrapping
from experiments.faults.ground import Ground, Line, oldest
from experiments.faults.rows import NONE_LOST, NONE_TWICE, PACKETS, STEAL, Figure, Row, Seen
from experiments.running.queues import QueueWatch

TICKS = 4
"""Ticks for which counters misbehave in each way (ours)."""

BUSY = 0.1
"""Utilization from which on a link's load is compared: less is too few packets (ours)."""

KINDS: dict[str, Callable[[], Counting]] = {
    "wrap": wrapping,
    "back": raised,
    "still": still,
    "none": unsupported,
}
"""Ways to misbehave, in an order in which each ends well: what has wrapped is raised before it is true again."""


def misuse_counters(ground: Ground) -> Seen:
    """Let the counters of a switch wrap, jump back, stand still and read 2^64 - 1."""
    node = ground.entrance()
    mine = [index for index, link in enumerate(ground.network.links) if link.src == node]
    interfaces = [ground.up.emulation.interfaces[link.key] for link in ground.network.links]
    worst, figures, unknown = 1.0, {}, 0
    with QueueWatch(interfaces) as queues, Between(ground.up.emulation, node) as between:
        ground.ticks(1)
        ground.until(lambda line: line["error"] is None and _age(line, mine) < ground.tick)
        began = time.time()
        for name, counters in KINDS.items():
            between.manner = counters()
            lines = ground.ticks(TICKS)
            figures[f"age_{name}_ticks"] = max(_age(line, mine) for line in lines[1:]) / ground.tick
            between.manner = Manner()
            # What is raised jumps back in this tick; what was true all the time needs it to be measured again.
            lines += ground.ticks(2) if name != "wrap" else []
            unknown += sum(row["price"] is None for line in lines for row in line["links"])
            worst = max(worst, *(_worst(line, mine, ground, queues, began) for line in lines))
        ground.ticks(1)
    return Seen({"worst_factor": worst, "prices_unknown": unknown, **figures})


def _age(line: Line, links: list[int]) -> float:
    """Age of the oldest measurement of these links, s."""
    return oldest([line["links"][index] for index in links])


def _worst(line: Line, links: list[int], ground: Ground, queues: QueueWatch, began: float) -> float:
    """The greatest factor between a link's load by the controller and by its queue, over the last ten ticks."""
    found, log = 1.0, queues.log()
    edges = np.array([max(line["time"] - 10 * ground.tick, began - 2 * ground.tick), line["time"]])
    true = log.loads(edges)[0]
    for index in links:
        if true[index] > BUSY * ground.network.links[index].capacity:
            told = max(line["links"][index]["load"], 1e-9)
            found = max(found, told / true[index], true[index] / told)
    return float(found)


COUNTERS = Row(
    "counters",
    "the counters of a switch wrap, jump back, stand still, and read 2^64 - 1",
    "no false load, so no false price; what is not measured keeps its value and shows its age",
    (
        PACKETS,
        NONE_LOST,
        NONE_TWICE,
        Figure("worst_factor", "ratio", "between a busy link's load as told and as it was", most=3.0),
        Figure("prices_unknown", "prices", "that were no number", most=0),
        Figure(
            "age_wrap_ticks",
            "ticks",
            "greatest age shown while they wrapped: the wrap is seen through",
            most=2.5,
            timing=True,
        ),
        Figure("age_back_ticks", "ticks", "the same while they were far ahead, before they jumped back"),
        Figure("age_still_ticks", "ticks", "the same while they stood still", least=2.0, timing=True),
        Figure("age_none_ticks", "ticks", "the same while they read 2^64 - 1", least=2.0, timing=True),
        STEAL,
    ),
    misuse_counters,
)
