"""What the processes in the hosts write down: one NumPy array a log, and a JSON file of counts beside it.

| log | written by | one row for each |
|---|---|---|
| `SENT` | `topologies.hosts.sender` | request that was sent, or refused by its socket (`sent` is 0 then) |
| `ANSWERED` | `topologies.hosts.sender` | answer that came back |
| `ANSWERED` | `topologies.hosts.member` | packet of a group that came over the host's wire |
| `SERVED` | `topologies.hosts.server` | request that a server took in |

All times are nanoseconds of CLOCK_REALTIME: the one clock that kernel stamps and processes of a machine share. A log is
written when its process ends and never during traffic, for a write to a disk is a late packet.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SENT = np.dtype([("seq", "u4"), ("flow", "u2"), ("size", "u2"), ("due", "i8"), ("sent", "i8")])
"""A request: its number in the session, its flow, its payload in bytes, when it was due and when it was sent in ns."""

ANSWERED = np.dtype([("seq", "u4"), ("received", "i8")])
"""An answer, or a packet of a group: the request's number and the kernel's stamp of its arrival, ns."""

SERVED = np.dtype(
    [
        ("session", "u2"),
        ("seq", "u4"),
        ("flow", "u2"),
        ("size", "u2"),
        ("sent", "i8"),
        ("received", "i8"),
        ("klass", "u1"),
        ("start", "i8"),
        ("departure", "i8"),
        ("left", "i8"),
        ("work", "f8"),
    ]
)
"""A request at a server.

Whose it is and its payload in bytes; when it was sent and when it arrived (kernel's stamp), ns; its priority class;
when its service began, its deadline, and when it really left, ns; and its work in seconds of this server. `start`,
`departure` and `left` are 0 where the queue was full; `left` alone is 0 where the server was stopped before it was
through.
"""

Log = NDArray[np.void]

SECOND = 1_000_000_000
"""Nanoseconds in a second."""


def save(path: Path, log: Log, summary: dict[str, Any]) -> None:
    """Write `log` to `path` (.npy) and `summary` to the .json beside it; whoever sees the .json finds a whole log."""
    np.save(path, log, allow_pickle=False)
    save_summary(path.with_suffix(".json"), summary)


def save_summary(path: Path, summary: dict[str, Any]) -> None:
    """Replace the JSON file at `path`."""
    replace(path, json.dumps(summary))


def replace(path: Path, text: str) -> None:
    """Replace the file at `path` in one step, so that a reader never meets half of it."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(text)
    draft.replace(path)


def lateness(due: NDArray[np.int64], done: NDArray[np.int64]) -> list[dict[str, float]]:
    """How late things were done, second by second.

    Parameters
    ----------
    due, done : array of shape (n,)
        ns of CLOCK_REALTIME.

    Returns
    -------
    list of dict
        `second` (of CLOCK_REALTIME in which they were due), `count`, and `mean_s`, `p99_s`, `max_s` of `done - due`;
        seconds in which nothing was due are left out.
    """
    order = np.argsort(due, kind="stable")
    seconds, starts = np.unique(due[order] // SECOND, return_index=True)
    groups = np.split((done - due)[order] / SECOND, starts[1:]) if len(seconds) else []
    return [
        {
            "second": int(second),
            "count": len(late),
            "mean_s": float(late.mean()),
            "p99_s": float(np.quantile(late, 0.99)),
            "max_s": float(late.max()),
        }
        for second, late in zip(seconds, groups, strict=True)
    ]


def load(path: Path) -> tuple[Log, dict[str, Any]]:
    """Read a log and its summary.

    Raises
    ------
    OSError
        When one of the two files is missing: the process that writes them has not ended, or was killed.
    """
    return np.load(path, allow_pickle=False), json.loads(path.with_suffix(".json").read_text())
