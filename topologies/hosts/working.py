"""Programs that work packets off: one loop over a socket and a queue, and one way from their start to their logs."""

from __future__ import annotations

import gc
import select
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from topologies.hosts.logs import SECOND
from topologies.promptness import go_first, wake_on_time

NAP = SECOND // 5
"""Longest sleep in ns, after which a request to stop is seen."""


class Working(ABC):
    """A program that works packets off until it is told to stop.

    Parameters
    ----------
    receives : socket
        Non-blocking: what is worked off comes there.
    """

    def __init__(self, receives: socket.socket) -> None:
        self.socket = receives
        self.stopping = False

    def run(self) -> None:
        """Work until told to stop."""
        second = time.time_ns() // SECOND
        while not self.stopping:
            now = time.time_ns()
            wait = min(NAP, (second + 1) * SECOND - now)
            due = self.due()
            if due is not None:
                wait = min(wait, due - now)
            if wait > 0:
                select.select([self.socket], [], [], wait / SECOND)
            self.take_in()
            self.let_go()
            if time.time_ns() // SECOND > second:
                second += 1
                self.export(second)

    def stop(self, *_: object) -> None:
        """End: a signal handler."""
        self.stopping = True

    @abstractmethod
    def greet(self) -> None:
        """Say something: the controller, which may have taken the server for dead, counts what it says."""

    @abstractmethod
    def due(self) -> int | None:
        """When what is in work will be done, Unix time in ns; None where nothing is."""

    @abstractmethod
    def take_in(self) -> None:
        """Queue what has come."""

    @abstractmethod
    def let_go(self) -> None:
        """Send on what is done by now."""

    @abstractmethod
    def export(self, second: int) -> None:
        """Tell of the second before `second`, Unix time (`controller.exports`)."""

    @abstractmethod
    def save(self) -> None:
        """Write the logs."""


def carried_out(made: Callable[[], Working]) -> int:
    """Run a program from its start to its logs; the exit status."""
    try:
        program = made()
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, program.stop)
    wake_on_time()
    go_first()
    gc.freeze()
    gc.disable()
    program.greet()
    print("ready", flush=True)
    program.run()
    program.save()
    return 0
