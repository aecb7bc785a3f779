"""How quiet the machine is, second by second, and what it is made of.

Stolen or shared CPU turns a wait of 3 ms into 20. So each second of a run is logged with the CPU time that was stolen,
and a second past a stated limit is left out of the delay estimates and counted, together with the second after it, in
which the queues drain. Meanwhile no processor sleeps, since one that is woken is late.
"""

from __future__ import annotations

import platform
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from topologies.promptness import cores_awake

STEAL_LIMIT = 0.05
"""Stolen CPU a second, as a share of all cores' time, past which the second is left out (ours).

By 122 seconds of Abilene: packets took 0.4 to 0.5 ms longer than their simulation where under 1.5 % was stolen, 0.6 ms
at 2 to 4 %, 0.7 ms at 4 to 8 %, 1 ms and more at 10 %: under the limit a mean is off by less than 0.3 ms for it.
"""

LATE_LIMIT_S = 20e-3
"""Worst lateness of a sender in a second, past which the second is left out (ours).

Delays count from when a packet was sent, not from when it was due: in the same seconds a worst lateness of 5, 10 and
20 ms moved their difference from the simulation by less than 0.1 ms. That no CPU is idle is no reason by itself: what
carries packets goes before other programs, and with both cores taken by those the difference was 0.37 ms, as before.
"""

BAD_SHARE = 1 / 3
"""Share of seconds left out past which the whole run is repeated (ours); what fewer seconds cost, the intervals say."""


@dataclass(frozen=True)
class Second:
    """One second of the machine: its Unix time, and the share of CPU time stolen."""

    time: int
    steal: float


def _cpu_times() -> tuple[int, int]:
    """(total, stolen) jiffies of all cores together."""
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields), fields[7]


@dataclass
class Watch:
    """Samples /proc/stat once a second, aligned to Unix seconds, in a thread of its own, while it is entered.

    Meanwhile processors are kept awake.
    """

    seconds: list[Second] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _awake: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Watch:
        self._awake.enter_context(cores_awake())
        self._thread = threading.Thread(target=self._sample, name="machine-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._awake.close()

    def _sample(self) -> None:
        before, due = _cpu_times(), int(time.time()) + 1
        while not self._stop.wait(due - time.time()):
            now = _cpu_times()
            self.seconds.append(Second(due - 1, (now[1] - before[1]) / max(now[0] - before[0], 1)))
            before, due = now, due + 1


def reasons(seconds: Iterable[Second], lateness: Iterable[Mapping[int, float]]) -> dict[str, frozenset[int]]:
    """Unix seconds in which packets cannot be trusted, by reason.

    Parameters
    ----------
    seconds : iterable of Second
        What `Watch` saw.
    lateness : iterable of mappings
        For each sender: Unix second -> worst lateness in it, s.
    """
    return {
        "CPU stolen": frozenset(second.time for second in seconds if second.steal > STEAL_LIMIT),
        "senders late": frozenset(
            second for worst in lateness for second, late in worst.items() if late > LATE_LIMIT_S
        ),
    }


def bad_seconds(seconds: Iterable[Second], lateness: Iterable[Mapping[int, float]]) -> frozenset[int]:
    """Unix seconds to leave out: those with a reason, and the second after each; parameters as of `reasons`."""
    bad = frozenset().union(*reasons(seconds, lateness).values())
    return bad | {second + 1 for second in bad}


def versions(framework: str) -> dict[str, str]:
    """Versions of what a run rests on; a missing part is 'absent'."""
    found = {"kernel": platform.release(), "python": platform.python_version()}
    for package in ("mininet", "os-ken", "ryu", "numpy", "scipy", "cvxpy", "clarabel", "networkx", "prometheus-client"):
        if package == "ryu" and framework != "ryu":
            continue
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    try:
        shown = subprocess.run(["ovs-vswitchd", "--version"], capture_output=True, text=True, check=True).stdout
        found["openvswitch"] = shown.split("\n", 1)[0].rsplit(" ", 1)[-1]
    except (OSError, subprocess.CalledProcessError):
        found["openvswitch"] = "absent"
    return found
