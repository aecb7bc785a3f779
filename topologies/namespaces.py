"""Network namespaces: into them and out again, and commands that say why they failed.

A namespace belongs to a thread; processes and threads that it starts inherit it. Python 3.11 has no `os.setns`, so
libc is asked.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pricing.errors import EmulationError

_CLONE_NEWNET = 0x40000000


@contextmanager
def inside(namespace: Path) -> Iterator[None]:
    """Put the calling thread into the network namespace of this file for the length of a block."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(namespace)
        try:
            yield
        finally:
            _setns(before, "the namespace that it came from")
    finally:
        os.close(before)


def enter(namespace: Path) -> None:
    """Put the calling thread, and what it starts from now on, into the network namespace of this file.

    Raises
    ------
    EmulationError
        When the namespace is gone or the kernel refuses.
    """
    try:
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise EmulationError(f"network namespace {namespace}: {error.strerror}") from error
    try:
        _setns(descriptor, str(namespace))
    finally:
        os.close(descriptor)


def disable_ipv6() -> None:
    """No IPv6 in the namespace of the calling thread: its router solicitations would be packets that nobody sent."""
    for which in ("all", "default"):
        setting = Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6")
        if setting.exists():
            setting.write_text("1")


def run(
    *command: str, text: str | None = None, environment: Mapping[str, str] | None = None, timeout: float = 60.0
) -> str:
    """Run a command, with `text` as its standard input, and return what it printed.

    Raises
    ------
    EmulationError
        When it is missing, fails, or does not end within `timeout` seconds; the message holds what it said.
    """
    try:
        done = subprocess.run(
            command, env=environment, input=text, timeout=timeout, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise EmulationError(f"{command[0]} is missing; `bin/wardrop setup` installs what is missing") from error
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"`{' '.join(command[:4])}` did not answer within {timeout:g} s") from error
    if done.returncode != 0:
        raise EmulationError(f"`{' '.join(command[:8])}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _setns(descriptor: int, what: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise EmulationError(f"cannot enter {what}: {reason}; emulation needs root with CAP_SYS_ADMIN")
