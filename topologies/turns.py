"""Runs that measure take turns: two testbeds stand side by side, but on the same processors each measures the other.

    with turn(wait=60.0):
        ...

Whoever has the turn is in `/run/wardrop/measuring`: process id, start time and since when. A holder that has died, or
whose number another process has by now, holds nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from pricing.errors import EmulationError
from topologies.testbed import RUN, one_at_a_time, start_time

LOOK_S = 0.2
"""Time between two looks whether the turn is free (ours)."""


@dataclass(frozen=True)
class Holder:
    """Who has the turn: a process, and since when (Unix time, s)."""

    pid: int
    since: float

    def __str__(self) -> str:
        command = ""
        with suppress(OSError):
            words = Path(f"/proc/{self.pid}/cmdline").read_text(errors="replace").replace("\0", " ").split()
            if "experiments" in words:
                words = ["wardrop", *words[words.index("experiments") + 1 :]]
            command = f" ({shorten(' '.join(words), 80, placeholder=' ...')})"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid}{command} measures since {since}"


def holder() -> Holder | None:
    """Who has the turn; None where it is free, or its holder has died."""
    try:
        pid, start, since = (RUN / "measuring").read_text().split()
        return Holder(int(pid), float(since)) if start_time(int(pid)) == start else None
    except (OSError, ValueError):
        return None


@contextmanager
def turn(wait: float = 0.0, waiting: Callable[[Holder], None] = lambda _: None) -> Iterator[None]:
    """Have the turn for the length of a block.

    Parameters
    ----------
    wait : float
        Seconds to wait for it.
    waiting : callable
        Told, once, whom we wait for.

    Raises
    ------
    EmulationError
        When somebody else has it still; the message names the process and since when.
    """
    deadline = time.monotonic() + wait
    told = False
    while (other := _take()) is not None:
        if time.monotonic() >= deadline:
            raise EmulationError(
                f"{other}; runs that measure take turns: wait for it with `--wait SECONDS`, or end it by its number"
            )
        if not told:
            waiting(other)
            told = True
        time.sleep(LOOK_S)
    try:
        yield
    finally:
        with one_at_a_time():
            (RUN / "measuring").unlink(missing_ok=True)
            with suppress(OSError):  # testbeds are in it
                RUN.rmdir()


def _take() -> Holder | None:
    """Take the turn where it is free; who has it where it is not."""
    with one_at_a_time():
        other = holder()
        if other is None:
            RUN.mkdir(parents=True, exist_ok=True)
            pid = os.getpid()
            (RUN / "measuring").write_text(f"{pid} {start_time(pid)} {time.time():.3f}\n")
        return other
