"""Programs in hosts: started by a configuration file, stopped with time to write their logs."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pricing.errors import EmulationError

ROOT = Path(__file__).resolve().parents[2]
"""Where `python -m topologies` finds its packages."""

READY_TIMEOUT_S = 60.0
"""Longest wait for a program to be ready (ours): where a processor is emulated, Python alone takes many seconds."""


class Program:
    """A running `python -m MODULE CONFIG`.

    Parameters
    ----------
    name : str
        Of its files, `NAME.json` (configuration) and `NAME.err` (what it said).
    module : str
        `topologies.hosts.sender`, `.server` or `.web`.
    config : mapping
        The fields of the module's configuration.
    directory : Path
        Where its files go.
    host : int
        Process id of the host's shell: its namespaces are the program's.
    """

    def __init__(self, name: str, module: str, config: Mapping[str, Any], directory: Path, host: int) -> None:
        self.name, self.ready = name, False
        self.complaints = directory / f"{name}.err"
        path = directory / f"{name}.json"
        path.write_text(json.dumps(config))
        command = ["mnexec", "-a", str(host), sys.executable, "-m", module, str(path)]
        with self.complaints.open("w") as complaints:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,  # Ctrl-C is for the run, which stops its programs in order
            )

    def wait_ready(self, timeout: float = READY_TIMEOUT_S) -> None:
        """Wait until its sockets are open and all that can be done beforehand is done.

        Raises
        ------
        EmulationError
            When it ends instead, or is not ready after `timeout` seconds.
        """
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise EmulationError(f"{self.name}: not ready after {timeout:g} s")
        if not self.process.stdout.readline():
            self.wait(timeout)
            raise EmulationError(f"{self.name}: ended before it was ready")
        self.ready = True

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # `check` says why it has ended
            self.process.stdin.write(f"{line}\n".encode())
            self.process.stdin.flush()

    def check(self) -> None:
        """Look whether it runs, or has ended well.

        Raises
        ------
        EmulationError
            When it has ended badly; the message holds its last line.
        """
        if self.process.poll():
            said = self.complaints.read_text().strip().splitlines() if self.complaints.exists() else []
            reason = said[-1] if said else f"ended with status {self.process.returncode}"
            raise EmulationError(f"{self.name}: {reason}")

    def wait(self, timeout: float) -> None:
        """Wait for it to end by itself.

        Raises
        ------
        EmulationError
            When it ends badly, or is still there after `timeout` seconds.
        """
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise EmulationError(f"{self.name}: still running after {timeout:g} s") from error
        self.check()

    def kill(self) -> None:
        """End it at once, whatever it is doing; harmless when it has ended."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def stop(programs: Sequence[Program], timeout: float = 10.0) -> None:
    """Ask all of them to end, at once, and wait until their logs are written.

    Raises
    ------
    EmulationError
        When some that had been ready ended badly or do not end; those are killed. Others had nothing to write.
    """
    for program in programs:
        if program.process.poll() is None:
            program.process.send_signal(signal.SIGTERM)
    problems = []
    for program in programs:
        try:
            program.wait(timeout)
        except EmulationError as error:
            problems += [str(error)] if program.ready else []
        program.kill()
    if problems:
        raise EmulationError("\n".join(problems))
