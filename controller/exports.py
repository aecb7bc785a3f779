"""What links and servers tell of themselves: jobs, their amount, and how long these waited, a file each.

Counters of switches know neither a queue's length nor a server's work. Whoever does leaves a JSON file in a folder and
replaces it every second; the controller reads what is new at each tick. A server's file, `load-HOST.json`, is an
object, the links' file, `links.json`, a list of them:

    {"server": "east", "time": 12.0, "taken": 431, "load": 402.7, "squares": 771.2, "waiting": 3.1}
    [{"link": "a->b", "time": 12.0, "packets": 1200, "load": 4.9e6, "waiting": 0.4}, ...]

`time` (s) ends the second; `load` is the amount of its jobs (bits, or work), `squares` the sum of the squares of each,
`waiting` the sum of what they waited, s. Other fields are for others. Without such files laws are learnt from
counters alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECOND = 1.0
"""What a file tells of, s."""


@dataclass(frozen=True)
class Export:
    """A second of one resource, ended at `time`: jobs, their amount, its squares where known, and their waits, s."""

    name: str
    time: float
    jobs: float
    amount: float
    squares: float | None
    waiting: float


def exports(folder: Path | None) -> tuple[Export, ...]:
    """What is told now, by name; what cannot be read, or is no export, tells nothing."""
    if folder is None:
        return ()
    found: dict[str, Export] = {}
    for path in (*sorted(folder.glob("load-*.json")), folder / "links.json"):  # what senders tell has no part in it
        try:
            told = json.loads(path.read_text())
            for export in _exports(told if isinstance(told, list) else [told]):
                found[export.name] = export
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(found[name] for name in sorted(found))


def _exports(rows: list[Mapping[str, Any]]) -> Iterator[Export]:
    for row in rows:
        name, jobs = (row["server"], row["taken"]) if "server" in row else (row["link"], row["packets"])
        squares = float(row["squares"]) if "squares" in row else None
        yield Export(name, float(row["time"]), float(jobs), float(row["load"]), squares, float(row["waiting"]))
