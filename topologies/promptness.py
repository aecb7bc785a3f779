"""Processes whose lateness would be measured as delay: they are woken on time and go first.

A run shares its processors with solvers, a live page and whatever else the user does. Niceness does not help there:
Linux weighs whole sessions against each other (autogroups), and each process of ours is a session of its own. The
packets' processes need few cycles and need them at once, which is what the round-robin class is for.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_PR_SET_TIMERSLACK = 29


PACKETS, CACHES, CONTROL = 3, 2, 1
"""Priorities in that class: what carries packets; what renews the decisions that switches have cached, for which every
packet of a failed link waits; and the controller, which is busiest just then and never keeps a packet waiting."""


def go_first(pid: int = 0, priority: int = PACKETS) -> None:
    """Let a process (0: the calling one) run before ordinary ones; where the machine forbids it, all stays as it is.

    Threads and processes that a packets' process starts later are ordinary; those of the controller are like itself.
    """
    reset = os.SCHED_RESET_ON_FORK if priority == PACKETS else 0
    with suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_RR | reset, os.sched_param(priority))


def renew_first(pid: int, patience: float = 5.0) -> None:
    """Let the threads of an Open vSwitch that renew cached decisions go before ordinary ones.

    Parameters
    ----------
    pid : int
        An ovs-vswitchd that has bridges: these threads come a moment after the first.
    patience : float
        Seconds to wait for them; what has not come then stays ordinary.
    """
    deadline = time.monotonic() + patience
    found: set[int] = set()
    while not (found and found == _renewing(pid)) and time.monotonic() < deadline:
        found = _renewing(pid)
        time.sleep(0.01)
    for thread in found:
        go_first(thread, CACHES)


def _renewing(pid: int) -> set[int]:
    found: set[int] = set()
    for one in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended since
            if (one / "comm").read_text().startswith("revalidator"):
                found.add(int(one.name))
    return found


def wake_on_time() -> None:
    """Ask the kernel to wake this thread at the moment asked for, instead of up to 50 us later to save power."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


_SPIN = """
import os, select, sys
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.sched_setaffinity(0, {int(sys.argv[1])})
while not select.select([0], [], [], 0)[0]:
    for _ in range(100_000):
        pass
"""


@contextmanager
def cores_awake() -> Iterator[None]:
    """Keep every processor from going to sleep, by a process on each that gives way to whatever else there is to do.

    A processor that sleeps is late when a packet wakes it; a virtual one has to be given back by its host first, which
    shows as stolen time. The processes end with their caller, however that ends.
    """
    with ExitStack() as stack:
        for core in os.sched_getaffinity(0):
            words = [sys.executable, "-I", "-S", "-c", _SPIN, str(core)]
            stack.enter_context(subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True))
        yield
