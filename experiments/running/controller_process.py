"""The controller as a process of its own: started, asked over its control socket, stopped.

It opens its HTTP socket in the namespace it is started in and then enters the testbed's, so it is started before the
caller enters the testbed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pricing.errors import EmulationError
from topologies.board import ask
from topologies.promptness import CONTROL, go_first

START_TIMEOUT_S = 300.0
"""Longest wait for the first allocation to be acknowledged by every switch (ours): for machines on which the program
itself takes a minute to load. A controller that cannot go on says so, and ends, before."""


@dataclass
class ControllerProcess:
    """The running controller.

    Parameters
    ----------
    arguments : list of str
        Options of `python -m controller`, without --record and --control.
    folder : Path
        Run directory; record, socket and log are in it.
    kept : Path, optional
        Where the log goes instead, if it is to be kept.
    """

    arguments: list[str]
    folder: Path
    kept: Path | None = None
    _offset: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def record(self) -> Path:
        """`record.jsonl`, a line a tick."""
        return self.folder / "record.jsonl"

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.kept or self.folder / "controller.log"

    @property
    def socket(self) -> Path:
        """Its control socket."""
        return self.folder / "control.sock"

    @property
    def pid(self) -> int:
        """Its process id; 0 before it is started."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start it, and return at once."""
        command = [sys.executable, "-m", "controller", *self.arguments]
        command += ["--record", str(self.record), "--control", str(self.socket)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        go_first(self._process.pid, CONTROL)

    def check(self) -> None:
        """Raise an EmulationError with the controller's own last words when it has ended."""
        if self._process is not None and self._process.poll() is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            said = (
                lines[-1].removeprefix("wardrop: ") if lines else f"it ended with {self._process.returncode}, silently"
            )
            raise EmulationError(f"controller: {said}")

    def ask(self, request: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:
        """Send one request to the control socket and return the reply.

        Raises
        ------
        WardropError
            With the controller's own words when it refuses.
        EmulationError
            When it has ended or does not answer in time.
        """
        self.check()
        try:
            return ask(self.socket, request, timeout)
        except EmulationError:
            self.check()
            raise

    def wait_ready(self) -> list[dict[str, Any]]:
        """Wait until every switch has acknowledged the first rules; the record lines up to then."""
        seen: list[dict[str, Any]] = []
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            self.check()
            seen += self.new_records()
            if any(record.get("slots") for record in seen):
                return seen
            time.sleep(0.1)
        raise EmulationError(
            f"the switches did not take the first rules within {START_TIMEOUT_S:.0f} s; "
            f"the controller said: {self.log.read_text(errors='replace')[-1000:]}"
        )

    def new_records(self) -> list[dict[str, Any]]:
        """Whole lines that were added to the record since the last call."""
        if not self.record.exists():
            return []
        with self.record.open("rb") as record:
            record.seek(self._offset)
            text = record.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def kill(self) -> None:
        """End it as a crash does; `start` starts another one in its place."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End it: asked first, then made to."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None
