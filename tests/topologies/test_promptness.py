"""Processors are kept awake while packets are measured, and by nothing that outlives the measurement."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from topologies.promptness import CACHES, cores_awake, renew_first

HELD = """
import time
from topologies.promptness import CACHES, cores_awake, renew_first
with cores_awake():
    print(1, flush=True)
    time.sleep(60)
"""

LATE = """
import ctypes, threading, time
def renew():
    ctypes.CDLL(None).prctl(15, b"revalidator5", 0, 0, 0)
    time.sleep(60)
print(1, flush=True)
time.sleep(0.3)
threading.Thread(target=renew).start()
"""


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def gone(pids: set[int], patience: float = 10.0) -> bool:
    deadline = time.monotonic() + patience
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_one_process_a_core_gives_way_to_all_others_and_ends_with_the_measurement() -> None:
    before = children(os.getpid())
    with cores_awake():
        awake = children(os.getpid()) - before
        assert len(awake) == len(os.sched_getaffinity(0))
        deadline = time.monotonic() + 10
        while {os.sched_getscheduler(pid) for pid in awake} != {os.SCHED_IDLE} and time.monotonic() < deadline:
            time.sleep(0.02)
        assert {os.sched_getscheduler(pid) for pid in awake} == {os.SCHED_IDLE}
    assert gone(awake)


def test_they_end_with_a_measurement_that_is_killed() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder:
        holder.stdout.readline()
        awake = children(holder.pid)
        assert awake
        holder.send_signal(signal.SIGKILL)
    assert gone(awake)


def test_threads_that_come_late_are_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", LATE], stdout=subprocess.PIPE) as late:
        assert late.stdout is not None
        late.stdout.readline()
        renew_first(late.pid)
        tasks = Path(f"/proc/{late.pid}/task")
        (thread,) = (int(one.name) for one in tasks.iterdir() if (one / "comm").read_text() == "revalidator5\n")
        assert os.sched_getparam(thread).sched_priority == CACHES
        late.kill()
