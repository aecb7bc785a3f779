"""What a metric is: a declaration, and how its samples are read from what the controller knows at a scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pricing.network import Network

TICK_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Upper ends of the tick durations' histogram, s."""

SUFFIXES = ("bytes_per_second", "work_per_second", "seconds", "ratio")
"""Units as names end with them, which OpenMetrics asks for; what has none of them is a plain number."""

Told = tuple[str, str, Mapping[str, Any]]
"""What a program in a host says: `sender`, `user`, `server` or `agent`, the name of its session, user, host or agent,
and the fields of its file."""

Sample = tuple[tuple[str, ...], float | None]
Line = Mapping[str, Any]


@dataclass
class Totals:
    """What only grows: ticks by outcome, rules changed, errors by kind, tick durations."""

    ticks: int = 0
    failed: int = 0
    rules: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    tick_s: list[int] = field(default_factory=lambda: [0] * (len(TICK_BUCKETS) + 1))
    tick_sum: float = 0.0

    def add(self, seconds: float, rules: int, error: str | None) -> None:
        """Count one tick, and the kind of error in it; who knows that it kept the rules before counts it as failed."""
        self.ticks += 1
        self.rules += rules
        self.tick_sum += seconds
        self.tick_s[sum(seconds > bound for bound in TICK_BUCKETS)] += 1
        if error:
            self.errors[error] = self.errors.get(error, 0) + 1


@dataclass(frozen=True)
class Snapshot:
    """What metrics are read from."""

    network: Network
    line: Line
    totals: Totals
    refused: Mapping[str, int]
    told: Sequence[Told] = ()


Read = Callable[[Snapshot], Iterable[Sample]]


@dataclass(frozen=True)
class Declared:
    """One metric: its name, kind, help, unit and labels, and how it is read; the histogram is read from the totals."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    unit: str
    labels: tuple[str, ...]
    read: Read | None = None

    @property
    def suffix(self) -> str:
        """The unit that the name ends with; empty for plain numbers."""
        return next((suffix for suffix in SUFFIXES if self.name.endswith(f"_{suffix}")), "")
