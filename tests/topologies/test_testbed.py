"""A testbed leaves nothing behind, whichever way it ends, and touches nothing that is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import machine
import pytest

from pricing.errors import EmulationError
from topologies import testbed as module
from topologies.namespaces import inside, run
from topologies.testbed import Testbed, require_machine, sweep

NAMESPACE = Path("/proc/thread-self/ns/net")
ROOT = Path(__file__).resolve().parents[2]

OWNER = """
import sys
from topologies.testbed import Testbed
import subprocess
with Testbed() as testbed:
    stray = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    print(testbed.name, stray.pid, flush=True)
    sys.stdin.read()
"""


class TestMachine:
    """What is missing is said before anything is made."""

    def test_missing_programs_are_named_with_their_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.os, "geteuid", lambda: 0)
        monkeypatch.setattr(module.shutil, "which", lambda program: None if program in ("tc", "mnexec") else program)
        with pytest.raises(EmulationError, match=r"tc \(Debian package iproute2\), mnexec \(Debian package mininet\)"):
            require_machine()

    def test_needs_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
        with pytest.raises(EmulationError, match="sudo"):
            require_machine()


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A process with a testbed of its own and a stray in another namespace: (process, testbed, stray)."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    name, stray = process.stdout.readline().split()
    yield process, name, int(stray)
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    sweep()


def gone(pid: int) -> bool:
    """Whether a process has ended, within five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if module.start_time(pid) is None:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.usefixtures("owner")
class TestOwners:
    pytestmark = machine.emulated

    def test_killed_owner_is_swept(self, owner: tuple[subprocess.Popen[str], str, int]) -> None:
        process, name, stray = owner
        process.kill()
        process.wait()
        assert (module.RUN / name).exists()
        assert (module.NAMESPACES / name).exists()
        assert name in sweep()
        assert not (module.RUN / name).exists()
        assert not (module.NAMESPACES / name).exists()
        assert gone(stray)
        assert machine.marked_processes(name) == []

    def test_living_owner_is_left_alone(self, owner: tuple[subprocess.Popen[str], str, int]) -> None:
        process, name, _ = owner
        assert name not in sweep()
        assert process.poll() is None
        assert (module.NAMESPACES / name).exists()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_signals_take_it_down(self, owner: tuple[subprocess.Popen[str], str, int], number: signal.Signals) -> None:
        process, name, stray = owner
        process.send_signal(number)
        assert process.wait(10) != 0
        assert not (module.RUN / name).exists()
        assert not (module.NAMESPACES / name).exists()
        assert gone(stray)


@pytest.fixture
def user() -> Iterator[Path]:
    """A namespace of the user's with a bridge that is called as ours are."""
    fresh = not module.NAMESPACES.exists()
    run("ip", "netns", "add", "of-the-user")
    namespace = module.NAMESPACES / "of-the-user"
    with inside(namespace):
        run("ip", "link", "add", "s1", "type", "bridge")
    yield namespace
    run("ip", "netns", "delete", "of-the-user")
    if fresh and not any(module.NAMESPACES.iterdir()):
        run("umount", str(module.NAMESPACES))
        module.NAMESPACES.rmdir()


class TestLife:
    pytestmark = machine.emulated

    def test_leaves_nothing(self) -> None:
        before = machine.state()
        with Testbed() as testbed:
            assert machine.is_name(testbed.name)
            testbed.check()
            testbed.run("ovs-vsctl", "add-br", "s1", "--", "set", "bridge", "s1", "datapath_type=netdev")
            assert os.environ["OVS_RUNDIR"] == str(testbed.directory)
        assert "OVS_RUNDIR" not in os.environ
        assert machine.difference(before, machine.state()) == set()
        assert machine.marked_processes(testbed.name) == []

    def test_exception_takes_it_down(self) -> None:
        before = machine.state()
        with pytest.raises(ZeroDivisionError), Testbed():
            raise ZeroDivisionError
        assert machine.difference(before, machine.state()) == set()

    def test_failed_start_takes_it_down(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        before = machine.state()
        monkeypatch.setattr(module, "SCHEMA", tmp_path / "none")
        with pytest.raises(EmulationError, match="Open vSwitch does not start"), Testbed():
            pytest.fail("entered")
        assert machine.difference(before, machine.state()) == set()

    def test_user_namespace_and_bridge_stay(self, user: Path) -> None:
        before = machine.state()
        with Testbed() as testbed:
            testbed.run("ovs-vsctl", "add-br", "s1", "--", "set", "bridge", "s1", "datapath_type=netdev")
        sweep()
        assert machine.difference(before, machine.state()) == set()
        with inside(user):
            assert "s1" in run("ip", "-br", "link")

    def test_two_stand_side_by_side(self) -> None:
        def bridges(testbed: Testbed) -> list[str]:
            return testbed.run("ovs-vsctl", "list-br").split()

        with Testbed() as first, Testbed() as second:
            for testbed in (first, second):
                testbed.run("ovs-vsctl", "add-br", "s1", "--", "set", "bridge", "s1", "datapath_type=netdev")
            second.run("ovs-vsctl", "del-br", "s1")
            assert bridges(first) == ["s1"]
            assert bridges(second) == []

    def test_outside_is_where_it_came_from(self) -> None:
        before = NAMESPACE.stat().st_ino
        with Testbed() as testbed:
            within = NAMESPACE.stat().st_ino
            with testbed.outside():
                assert NAMESPACE.stat().st_ino == before
            assert NAMESPACE.stat().st_ino == within != before
        assert NAMESPACE.stat().st_ino == before

    def test_dead_switch_is_noticed(self) -> None:
        with Testbed() as testbed:
            pid = int((testbed.directory / "ovs-vswitchd.pid").read_text())
            os.kill(pid, signal.SIGKILL)
            assert gone(pid)
            with pytest.raises(EmulationError, match=r"ovs-vswitchd .* has died"):
                testbed.check()
