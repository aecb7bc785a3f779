"""A testbed of one's own: a network namespace with an Open vSwitch of its own in it.

Nothing of the machine's is touched: bridges, interfaces and queues live in the namespace `wardrop-XXXXXX`, the
databases, logs and sockets in `/run/wardrop/wardrop-XXXXXX/`. Two testbeds can stand side by side, and a user's own
Open vSwitch does not see either.

    with Testbed() as testbed:      # made, started, entered
        testbed.run("ovs-vsctl", "show")
                                    # left, stopped, removed: on exceptions and signals too

The calling thread enters the namespace, and so do the threads and processes that it starts. A socket stays in the
namespace in which it was opened: what listens to the machine is opened before, or started `outside`.

Whoever is killed cannot tidy up. A file `owner` holds process id and start time of the maker; `sweep` clears what
carries our mark and has no living owner. The mark is the name, the namespace, and the variable `WARDROP_TESTBED` in the
environment of every process that was started inside, in whichever host's namespace it runs.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ctypes.util import find_library
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal, Self

from pricing.errors import EmulationError
from topologies.namespaces import disable_ipv6, inside, run
from topologies.promptness import go_first

MARK = re.compile(r"wardrop-[0-9a-f]{6}")
"""Names of testbeds."""

MARK_VARIABLE = "WARDROP_TESTBED"
"""Environment variable of every process of a testbed."""

RUN = Path("/run/wardrop")
"""Run directories of all testbeds."""

NAMESPACES = Path("/run/netns")
"""Where `ip netns` keeps named namespaces."""

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")

PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "ethtool": "ethtool",
    "ifconfig": "net-tools",
    "mnexec": "mininet",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
}
"""Programs that an emulation runs, and the Debian package of each."""

ALLOCATOR = "tcmalloc_minimal"
"""Library whose malloc the switches use where it is installed: the userspace datapath asks each port for packets with
32 fresh buffers each time that it wakes, and with this malloc takes a fifth less CPU than with glibc's."""

GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL."""

_DAEMONS = ("ovsdb-server", "ovs-vswitchd")
_NETNS_MADE = RUN / "made-netns"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Testbed:
    """A namespace with Open vSwitch in it, for the length of a `with` block.

    Parameters
    ----------
    timeout : float
        Seconds that Open vSwitch may take to answer.

    Attributes
    ----------
    name : str
        Of the namespace.
    directory : Path
        The run directory: everything in it goes with the testbed.
    environment : dict of str
        Environment of the processes inside.

    Raises
    ------
    EmulationError
        On entering: not root, a program is missing, the kernel refuses a namespace, Open vSwitch does not answer.
    """

    __test__ = False  # pytest, seeing the name in a test module, would collect it

    def __init__(self, timeout: float = 60.0) -> None:
        self.timeout = timeout
        self.name = f"wardrop-{secrets.token_hex(3)}"
        self.directory = RUN / self.name
        places = dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"), str(self.directory))
        self.environment = {**os.environ, **places, MARK_VARIABLE: self.name}
        self._exits = ExitStack()

    @property
    def namespace(self) -> Path:
        """File of the network namespace."""
        return NAMESPACES / self.name

    def __enter__(self) -> Self:
        require_machine()
        sweep()
        with ExitStack() as exits:
            exits.enter_context(_signals_end_it())
            exits.callback(_clear, self.name)
            self._make()
            self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            exits.callback(os.close, self._home)
            exits.enter_context(inside(self.namespace))
            exits.enter_context(_environment(self.environment))
            self._start_switches()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _signals_ignored():
            self._exits.__exit__(kind, error, trace)

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command inside, with `text` as its standard input, and return what it printed.

        Raises
        ------
        EmulationError
            When it fails or does not end within `timeout`; the message holds what it said.
        """
        with inside(self.namespace):
            return run(*command, text=text, environment=self.environment, timeout=self.timeout)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Put the calling thread back to where it came from for the length of a block."""
        with inside(Path(f"/proc/self/fd/{self._home}")):
            yield

    def check(self) -> None:
        """Look whether Open vSwitch still runs.

        Raises
        ------
        EmulationError
            When one of its processes has died; the message ends with the last line of its log.
        """
        for daemon in _DAEMONS:
            if start_time(self._pid(daemon)) is None:
                raise EmulationError(f"{daemon} of {self.name} has died in mid-run; start again.{self._last_words()}")

    def restart_switches(self, away: float = 0.0) -> None:
        """Kill ovs-vswitchd and start it again: bridges come back from its database, rules and queues do not.

        Parameters
        ----------
        away : float
            Seconds from the one to the other.

        Raises
        ------
        EmulationError
            When it does not start.
        """
        _end([self.switch_pid], 0.0)
        time.sleep(away)
        with inside(self.namespace):
            self._start_vswitchd()

    @property
    def switch_pid(self) -> int:
        """Process id of ovs-vswitchd; 0 when it has died and taken its pid file away."""
        return self._pid("ovs-vswitchd")

    def _pid(self, daemon: str) -> int:
        """Process id of a daemon; one that takes its pid file away in dying has none, and 0 is nobody's."""
        pidfile = self.directory / f"{daemon}.pid"
        return int(pidfile.read_text()) if pidfile.exists() else 0

    def _make(self) -> None:
        claim(self.directory)
        with one_at_a_time():
            if not NAMESPACES.exists():
                _NETNS_MADE.touch()
            run("ip", "netns", "add", self.name)

    def _start_switches(self) -> None:
        self.run("ip", "link", "set", "lo", "up")
        disable_ipv6()
        database = str(self.directory / "conf.db")
        remote = f"--remote=punix:{self.directory / 'db.sock'}"
        try:
            self.run("ovsdb-tool", "create", database, str(SCHEMA))
            self.run("ovsdb-server", database, remote, *self._daemon("ovsdb-server"))
            # Counters of rules are pushed by the revalidators: their longest round is how old a counter may be.
            settings = ("set", "Open_vSwitch", ".", "other_config:max-revalidator=200")
            self.run("ovs-vsctl", "--no-wait", "--", "init", "--", *settings)
            self._start_vswitchd()
        except EmulationError as error:
            raise EmulationError(f"Open vSwitch does not start: {error}{self._last_words()}") from error

    def _start_vswitchd(self) -> None:
        allocator = find_library(ALLOCATOR)
        environment = self.environment | ({"LD_PRELOAD": allocator} if allocator else {})
        run("ovs-vswitchd", *self._daemon("ovs-vswitchd"), environment=environment, timeout=self.timeout)
        go_first(self.switch_pid)
        self.run("ovs-appctl", "-t", "ovs-vswitchd", "version")

    def _daemon(self, name: str) -> tuple[str, ...]:
        log = self.directory / f"{name}.log"
        return ("--pidfile", "--detach", f"--log-file={log}", "-vconsole:off", "-vsyslog:off")

    def _last_words(self) -> str:
        logs = [self.directory / f"{daemon}.log" for daemon in reversed(_DAEMONS)]
        lines = [line for log in logs if log.exists() for line in log.read_text().splitlines()[-1:]]
        return f"\n  last line of the log: {lines[0]}" if lines else ""


def claim(directory: Path) -> None:
    """Make a run directory that is ours: whatever is left of it when we have died is cleared by the next start."""
    with one_at_a_time():
        directory.mkdir(parents=True)
        (directory / "owner").write_text(f"{os.getpid()} {start_time(os.getpid())}\n")


def release(directory: Path) -> None:
    """Remove a run directory, and every process that carries its mark."""
    _clear(directory.name)


def require_machine() -> None:
    """Check that this process may emulate and that the programs are here.

    Raises
    ------
    EmulationError
        When it is not root, or programs are missing: all of them are named with their packages.
    """
    if os.geteuid() != 0:
        raise EmulationError("emulation makes network namespaces, which only root may: run it with `sudo`")
    missing = [program for program in PACKAGES if shutil.which(program) is None]
    if missing:
        what = ", ".join(f"{program} (Debian package {PACKAGES[program]})" for program in missing)
        raise EmulationError(f"this machine lacks {what}; `bin/wardrop setup` installs what is missing")


def datapath() -> Literal["user", "kernel"]:
    """Open vSwitch's datapath on this machine: the kernel's where it has one."""
    if Path("/sys/module/openvswitch").exists():
        return "kernel"
    modprobe = shutil.which("modprobe")
    loaded = (
        modprobe and subprocess.run([modprobe, "-q", "openvswitch"], check=False, capture_output=True).returncode == 0
    )
    return "kernel" if loaded else "user"


def sweep(all: bool = False) -> list[str]:
    """Clear testbeds that a killed run has left behind.

    Parameters
    ----------
    all : bool
        Clear those with a living owner too: the owner is asked to end first.

    Returns
    -------
    list of str
        Names of the testbeds cleared, sorted.
    """
    with one_at_a_time():
        found = {path.name for place in (RUN, NAMESPACES) if place.exists() for path in place.iterdir()}
        owners = {name: _living_owner(name) for name in sorted(found) if MARK.fullmatch(name)}
    cleared = []
    for name, owner in owners.items():
        if owner is not None:
            if not all or owner == os.getpid():
                continue
            _end([owner], 5 * GRACE)
        _clear(name)
        cleared.append(name)
    return cleared


def _clear(name: str) -> None:
    """Remove every trace of a testbed; harmless where there is none."""
    _end(_processes(name), GRACE)
    with one_at_a_time():
        if (NAMESPACES / name).exists():
            run("ip", "netns", "delete", name)
        shutil.rmtree(RUN / name, ignore_errors=True)
        if not RUN.exists() or any(MARK.fullmatch(path.name) for path in RUN.iterdir()):
            return
        if _NETNS_MADE.exists():
            _NETNS_MADE.unlink()
            if NAMESPACES.exists() and not any(NAMESPACES.iterdir()):
                run("umount", str(NAMESPACES))
                NAMESPACES.rmdir()
        with suppress(OSError):  # something of somebody else's is in it
            RUN.rmdir()


def _living_owner(name: str) -> int | None:
    """Process id of the run that made a testbed, while it lives."""
    try:
        pid, start = (RUN / name / "owner").read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if start_time(int(pid)) == start else None


def start_time(pid: int) -> str | None:
    """Start time of a process in ticks since boot, which tells it from a later one of that number; None when dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _processes(name: str) -> list[int]:
    """Processes that carry the mark of a testbed, except the calling one."""
    mark = f"{MARK_VARIABLE}={name}".encode()
    namespace = NAMESPACES / name
    identity = _identity(namespace)
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            same = identity is not None and _identity(process / "ns/net") == identity
            if same or mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _end(pids: list[int], grace: float) -> None:
    """SIGTERM, and after `grace` seconds SIGKILL, and wait until all are gone; without grace SIGKILL at once."""
    poller = select.poll()
    alive: dict[int, int] = {}
    for pid in pids:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            poller.register(descriptor, select.POLLIN)
            alive[descriptor] = pid
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, GRACE))[not grace :]:
        for descriptor in alive:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
        deadline = time.monotonic() + seconds
        while alive and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(1000 * left):
                poller.unregister(descriptor)
                os.close(descriptor)
                del alive[descriptor]
    for descriptor in alive:
        os.close(descriptor)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """One process at a time makes and removes testbeds, and takes turns; the lock leaves no file behind."""
    descriptor = os.open("/run", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """SIGTERM and SIGHUP leave the block as Ctrl-C does, by an exception; only the main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """A second Ctrl-C must not leave half a testbed behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
