"""What a program in a host is told by whoever started it (`topologies.hosts.start`): when to begin, and to end."""

from __future__ import annotations

import os
import signal
import sys
from threading import Event


def told_start() -> float | None:
    """When to start, s of CLOCK_REALTIME, from standard input; None where whoever should say so has ended."""
    told = os.read(sys.stdin.fileno(), 64)
    return float(told) if told else None


def told_to_end() -> Event:
    """Set at SIGTERM."""
    ending = Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    return ending
