"""What waits in the links' queues: backlogs sampled over time, and drops counted.

A link's wait is not written on any packet. It is told from its backlog: by Little's law the mean wait is the mean
number of packets in the queue divided by the rate at which packets pass. One `tc` process answers every sample, so
sampling costs next to nothing.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pricing.errors import EmulationError
from pricing.network import Link
from pricing.values import FloatArray
from topologies.hosts.logs import replace

PERIOD_S = 0.2
"""Time between two samples (ours)."""

PER_SECOND = round(1 / PERIOD_S)


@dataclass(frozen=True)
class QueueLog:
    """Samples of every link's queue.

    Parameters
    ----------
    times : array of shape (T,)
        Unix times, s.
    backlog, passed, bits, drops : arrays of shape (T, L)
        Packets that wait; and packets that passed, their bits, and packets dropped since the link came up, at each
        sample.
    """

    times: FloatArray
    backlog: FloatArray
    passed: FloatArray
    bits: FloatArray
    drops: FloatArray

    def window(self, start: float, end: float) -> QueueLog:
        """The samples from `start` to `end`, Unix times."""
        inside = (self.times >= start) & (self.times <= end)
        return QueueLog(*(values[inside] for values in (self.times, *self._columns())))

    def loads(self, edges: FloatArray) -> FloatArray:
        """Mean load of each link, bit/s, between successive Unix times `edges` (n + 1,); shape (n, L)."""
        counted = [np.interp(edges, self.times, column) for column in self.bits.T]
        return np.diff(np.array(counted).T, axis=0) / np.diff(edges)[:, None]

    def _columns(self) -> tuple[FloatArray, ...]:
        return self.backlog, self.passed, self.bits, self.drops


@dataclass
class QueueWatch:
    """Samples the root queues of the named interfaces while it is entered; call it inside the testbed's namespace.

    Parameters
    ----------
    interfaces : sequence of str
    links : sequence of Link
        What the interfaces belong to, where it is to be told.
    told : Path, optional
        File for the controller, replaced every second (`controller.exports`): packets, bits, and their waits.
    """

    interfaces: Sequence[str]
    links: Sequence[Link] = ()
    told: Path | None = None
    _samples: list[tuple[float, list[tuple[int, int, int, int]]]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> QueueWatch:
        command = ["tc", "-s", "-j", "-b", "-"]
        self._tc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._thread = threading.Thread(target=self._sample, name="queue-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._tc.stdin.close()  # type: ignore[union-attr]
        self._tc.wait()
        self._tc.stdout.close()  # type: ignore[union-attr]

    def _sample(self) -> None:
        due = time.time()
        while not self._stop.wait(max(due - time.time(), 0.0)):
            self._samples.append((time.time(), self._ask()))
            due += PERIOD_S
            if self.told and len(self._samples) % PER_SECOND == 1:
                self._tell(self.told)

    def _tell(self, path: Path) -> None:
        """What passed in the last second, and what it waited: packets that wait, times the second."""
        last = self._samples[-PER_SECOND - 1 :]
        if len(last) <= PER_SECOND:
            return
        (begin, first), (end, now) = last[0], last[-1]
        waits = np.array([[row[0] for row in rows] for _, rows in last[1:]]).mean(axis=0)
        rows = [
            {
                "link": str(link),
                "time": end,
                "packets": (after[1] - before[1]) / (end - begin),
                "load": (after[2] - before[2]) / (end - begin),
                "waiting": wait,
            }
            for link, before, after, wait in zip(self.links, first, now, waits.tolist(), strict=True)
        ]
        replace(path, json.dumps(rows))

    def _ask(self) -> list[tuple[int, int, int, int]]:
        assert self._tc.stdin is not None
        assert self._tc.stdout is not None
        self._tc.stdin.write("qdisc show\n")
        self._tc.stdin.flush()
        line = self._tc.stdout.readline()
        if not line:
            raise EmulationError("tc ended while the queues were being watched: the testbed's namespace is gone")
        roots: Mapping[str, Any] = {entry["dev"]: entry for entry in json.loads(line) if entry.get("root")}
        zero = {"qlen": 0, "packets": 0, "bytes": 0, "drops": 0}
        rows = (roots.get(interface, zero) for interface in self.interfaces)
        return [(row["qlen"], row["packets"], 8 * row["bytes"], row["drops"]) for row in rows]

    def log(self) -> QueueLog:
        """All samples so far."""
        samples = list(self._samples)
        values = np.array([rows for _, rows in samples], dtype=np.float64).reshape(len(samples), -1, 4)
        times = np.array([moment for moment, _ in samples], dtype=np.float64)
        return QueueLog(times, *np.moveaxis(values, 2, 0))
