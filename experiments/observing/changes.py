"""Changes to a run from outside: asked for by any thread, carried out by the thread that owns the run.

The emulation belongs to the thread that entered its namespace. Whoever wants a change leaves it in the `Inbox` and
waits; the run looks into the inbox a few times a second, carries out what is there, and tells each asker the outcome.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoReply
from typing import Protocol

from pricing.errors import Refused

REPLY_S = 10.0
"""Longest wait for a change to be carried out (ours)."""

DENSEST = 10.0
"""Largest factor of a session's demand, or of a user's value (ours): two cores send no more."""

CLOSED = "this run takes no changes; `bin/wardrop run SCENARIO` does, once its traffic flows"
"""Why a change is refused where nobody looks into the inbox."""


class Changeable(Protocol):
    """What can be changed of a run; each raises a WardropError when it cannot."""

    def set_policy(self, name: str) -> None:
        """Route by another policy from the next tick on."""

    def set_demand(self, session: str, factor: float) -> None:
        """Let a session send `factor` times its rate."""

    def set_value(self, user: str, factor: float) -> None:
        """Let a user's requests be worth `factor` times what they were worth at the start."""

    def set_link(self, src: str, dst: str, works: bool) -> None:
        """Let the cable between two nodes fail, or heal it."""

    def set_node(self, node: str, works: bool) -> None:
        """Let a node fail, or heal it."""

    def set_server(self, server: str, works: bool) -> None:
        """Let a server fail, or heal it."""


Change = Callable[[Changeable], None]


class Inbox:
    """Where changes wait to be carried out; closed until `open`."""

    def __init__(self) -> None:
        self.is_open = False
        self._waiting: queue.SimpleQueue[tuple[Change, Future[None]]] = queue.SimpleQueue()

    def open(self) -> None:
        """Take changes from now on."""
        self.is_open = True

    def ask(self, change: Change) -> None:
        """Leave a change and wait until it is carried out.

        Raises
        ------
        Refused
            When the run takes no changes, or does not answer in time.
        WardropError
            As the change itself raises.
        """
        if not self.is_open:
            raise Refused(CLOSED)
        outcome: Future[None] = Future()
        self._waiting.put((change, outcome))
        try:
            outcome.result(REPLY_S)
        except NoReply as error:
            outcome.cancel()
            raise Refused(f"the run has not answered within {REPLY_S:g} s; is it ending?") from error

    def carry_out(self, run: Changeable) -> None:
        """Carry out what waits; the thread of the run calls this often."""
        while True:
            try:
                change, outcome = self._waiting.get_nowait()
            except queue.Empty:
                return
            if not outcome.set_running_or_notify_cancel():
                continue
            try:
                change(run)
            except Exception as error:  # it is the asker's
                outcome.set_exception(error)
            else:
                outcome.set_result(None)
