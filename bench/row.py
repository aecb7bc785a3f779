"""What a benchmark says: times of several runs on one thread, and the gap that was reached, ours beside a peer's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Side:
    """One solver on one instance.

    Parameters
    ----------
    name : str
    wall, cpu : float
        Medians over the runs, s; CPU time is that of all threads of the process.
    runs : int
    gap : float
        Relative: ours from the certificate of our answer; the peer's cost over our dual bound, or as `measure` says.
    first : float, optional
        Wall time of the first run, s, when it has to load or compile what the others use.
    """

    name: str
    wall: float
    cpu: float
    runs: int
    gap: float
    first: float | None = None


@dataclass(frozen=True)
class Row:
    """A solver and a peer on one instance.

    Parameters
    ----------
    instance : str
    size : dict
        How many of each thing.
    ours, peer : Side, optional
        Missing where it did not run; `note` says why.
    wanted : float, optional
        Times that ours is to be faster.
    measure : str
        What the gap is.
    note : str
    facts : dict
        More numbers, named.
    """

    instance: str
    size: dict[str, int] = field(default_factory=dict)
    ours: Side | None = None
    peer: Side | None = None
    wanted: float | None = None
    measure: str = "(cost - dual bound)/dual bound, with our dual bound on both sides"
    note: str = ""
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Peer's CPU time over ours: on one thread it is the time that either takes, however busy the machine is."""
        return self.peer.cpu / self.ours.cpu if self.ours and self.peer else None


def timed(
    name: str, run: Callable[[], _Answer], gap: Callable[[_Answer], float], runs: int, warm: bool = True
) -> tuple[Side, _Answer]:
    """Times of several runs, and the last answer.

    Parameters
    ----------
    warm : bool
        Whether the first run only loads what the others use, and is told by itself.
    """
    first = None
    if warm:
        begun = time.perf_counter()
        run()
        first = time.perf_counter() - begun
    wall, cpu = [], []
    for _ in range(runs):
        begun, used = time.perf_counter(), time.process_time()
        answer = run()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    return Side(name, median(wall), median(cpu), runs, gap(answer), first), answer
