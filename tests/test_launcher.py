"""The launcher on machines that lack this or that, played by stub commands on a PATH of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
REAL = (
    "bash cat cp cut dirname env find flock getent grep id mkdir mv readlink rm setpriv sha256sum sort stat tee test "
    "touch true"
)
TOOLS = ("mnexec", "ovs-vswitchd", "ip", "tc", "ethtool", "curl", "ping", "tcpdump", "iperf3")

PYTHON = """#!/usr/bin/env bash
echo "python $*" >>"$LOG"
case "$*" in
    "-c import sys"*) exit "${OLD:-0}" ;;
    "-c import ensurepip"*) exit "${NO_VENV:-0}" ;;
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip install"*) [ -z "${GATE:-}" ] || cat "$GATE"; echo "pip says hello"; exit "${PIP_FAILS:-0}" ;;
    "-m experiments"*) echo "ran in $PWD with $PYTHONPATH:"; shift 2; printf '<%s>' "$@" ;;
    "--version") echo "Python 3.9.2" ;;
esac
"""
APT = """#!/usr/bin/env bash
echo "apt-get $*" >>"$LOG"
case "$*" in
    *update*) touch "$LOG.updated" ;;
    *install*) [ -z "${STALE:-}" ] || [ -e "$LOG.updated" ] || exit 100 ;;
esac
"""
SUDO = '#!/usr/bin/env bash\necho "sudo $*" >>"$LOG"\n'


@dataclass
class Machine:
    """A checkout with stub commands: what `run` starts sees nothing else of this machine but some coreutils."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.checkout, self.path, self.log = self.root / "checkout", self.root / "path", self.root / "log"
        self.path.mkdir()
        shutil.copytree(HOME / "bin", self.checkout / "bin")
        (self.checkout / "requirements.lock").write_text("# two\none==1\ntwo==2\n")
        (self.checkout / "requirements-test.lock").write_text("three==3\n")
        for name in REAL.split():
            (self.path / name).symlink_to(str(shutil.which(name)))
        self.stub("python3.11", PYTHON)

    def stub(self, name: str, script: str = "#!/usr/bin/env bash\n") -> None:
        """Put a command on the PATH."""
        (self.path / name).unlink(missing_ok=True)
        (self.path / name).write_text(script)
        (self.path / name).chmod(0o755)

    def become(self, uid: int) -> None:
        """Let the launcher believe that it runs as this user, in its own checkout."""
        for name in ("id", "stat"):
            self.stub(name, f"#!/usr/bin/env bash\necho {uid}\n")

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start the launcher, in a process group of its own."""
        return subprocess.Popen(
            [self.checkout / "bin" / "wardrop", *arguments],
            cwd=self.root,
            env={"PATH": str(self.path), "LOG": str(self.log), **self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Exit code, output and messages of the launcher."""
        with self.start(*arguments, **environ) as process:
            output, messages = process.communicate(timeout=20)
        return process.returncode, output, messages

    def calls(self, beginning: str) -> list[str]:
        """Calls of stub commands so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith(beginning)]

    @property
    def complete(self) -> bool:
        """Whether the environment is taken for complete."""
        return (self.checkout / ".venv" / "complete").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.become(1000)
    return machine


def test_sets_up_once_and_passes_everything_on(machine: Machine) -> None:
    code, output, messages = machine.run("solve", "two words", "--json", "f")
    assert (code, output) == (0, f"ran in {machine.root} with {machine.checkout}:\n<solve><two words><--json><f>")
    assert "Python packages to install" in messages
    assert machine.calls("python -m pip install")
    machine.log.unlink()
    code, output, messages = machine.run("list")
    assert (code, messages) == (0, "")
    assert machine.calls("") == ["python -m experiments list"]


def test_what_needs_no_emulation_never_asks_for_root(machine: Machine) -> None:
    machine.stub("sudo", SUDO)
    machine.stub("apt-get", APT)
    for arguments in (("--help",), ("list",), ("check", "f"), ("solve", "abilene"), ("demo", "--help"), ()):
        assert machine.run(*arguments)[0] == 0
    assert not machine.calls("sudo")
    assert not machine.calls("apt-get")


def test_failure_is_shown_and_leaves_nothing_that_looks_complete(machine: Machine) -> None:
    code, output, messages = machine.run("list", PIP_FAILS="3")
    assert (code, output, machine.complete) == (1, "", False)
    assert "pip says hello" in messages
    assert "build tools: failed" in messages
    assert machine.run("list")[0] == 0
    assert len(machine.calls("python -m venv")) == 2


def test_changed_lock_makes_the_environment_anew(machine: Machine) -> None:
    machine.run("list")
    (machine.checkout / "requirements.lock").write_text("one==2\n")
    assert machine.run("list", PIP_FAILS="1")[0] == 1
    assert machine.run("list")[0] == 0
    assert len(machine.calls("python -m venv")) == 3


def test_killed_set_up_starts_anew(machine: Machine) -> None:
    gate = machine.root / "gate"
    os.mkfifo(gate)
    with machine.start("list", GATE=str(gate)) as process:
        with gate.open("w"):  # opens when pip stands at the gate
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
    assert not machine.complete
    assert machine.run("list")[0] == 0
    assert len(machine.calls("python -m venv")) == 2


def test_two_at_once_take_turns(machine: Machine) -> None:
    gate = machine.root / "gate"
    os.mkfifo(gate)
    with machine.start("list", GATE=str(gate)) as first:
        with gate.open("w"):
            second = machine.start("list")
            assert second.stderr is not None
            assert "waiting for it" in second.stderr.readline()
            gate.unlink()  # the next pip of the first has no gate to stand at
            gate.touch()
        first.communicate(timeout=20)
        second.communicate(timeout=20)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(machine.calls("python -m venv")) == 1


@pytest.mark.parametrize("missing", ["NO_VENV", "OLD"])
def test_unfit_python_is_named(machine: Machine, missing: str) -> None:
    if missing == "OLD":
        machine.stub("python3", PYTHON)
    code, _, messages = machine.run("list", **{missing: "1"})
    assert code == 1
    wanted = {
        "NO_VENV": "sudo apt-get install python3.11-venv",
        "OLD": "Python 3.11 to 3.13 is needed; found: Python 3.9.2",
    }
    assert wanted[missing] in messages
    assert len(messages.splitlines()) == 1


def test_emulation_without_root_and_sudo_ends_in_one_message(machine: Machine) -> None:
    code, output, messages = machine.run("demo")
    assert (code, output) == (1, "")
    assert "'demo' needs root" in messages
    assert "no sudo" in messages
    assert len(messages.splitlines()) == 1
    assert not machine.calls("")


def test_emulation_goes_through_sudo_with_the_environment_made_before(machine: Machine) -> None:
    machine.stub("sudo", SUDO)
    assert machine.run("run", "abilene", "--policy", "joint")[0] == 0
    assert machine.complete
    assert machine.calls("sudo") == [f"sudo -- {machine.checkout}/bin/wardrop run abilene --policy joint"]


@pytest.mark.parametrize("command", ["sweep", "largest"])
def test_some_ask_for_root_on_packets_only(machine: Machine, command: str) -> None:
    machine.stub("sudo", SUDO)
    assert machine.run(command, "abilene", "--on", "simulation")[0] == 0
    assert not machine.calls("sudo")
    for words in (("--on", "packets"), ("--on=packets",)):
        assert f"'{command} --on packets' needs root" in machine.run(command, "abilene", *words)[2]
    assert len(machine.calls("sudo")) == 2


@pytest.mark.parametrize("command", ["run", "validate", "calibrate", "faults", "clean"])
def test_what_emulates_asks_for_root(machine: Machine, command: str) -> None:
    assert f"'{command}' needs root" in machine.run(command, "abilene")[2]


@pytest.fixture
def rooted(machine: Machine) -> Machine:
    """Root's machine, with every tool but two."""
    machine.become(0)
    for name in TOOLS:
        machine.stub(name)
    for name in ("mnexec", "curl"):
        (machine.path / name).unlink()
    return machine


def test_installs_what_is_missing_and_says_so(rooted: Machine) -> None:
    rooted.stub("apt-get", APT)
    code, output, messages = rooted.run("demo")
    assert code == 0
    assert output.endswith("<demo>")
    (call,) = rooted.calls("apt-get")
    assert call.endswith("install --no-install-recommends curl mininet")
    assert messages.startswith("wardrop: Debian packages to install: curl mininet\n")


def test_a_service_that_only_tests_need_stays_off(rooted: Machine) -> None:
    rooted.stub("apt-get", APT)
    rooted.stub("systemctl", '#!/usr/bin/env bash\necho "systemctl $*" >>"$LOG"\n')
    rooted.run("demo")
    assert not rooted.calls("systemctl")
    rooted.log.unlink()
    rooted.run("test")
    calls = [call for call in rooted.calls("") if call.startswith(("systemctl", "apt-get"))]
    assert calls[0] == "systemctl mask prometheus.service"
    assert "prometheus" in calls[1]


def test_updates_package_lists_only_when_needed(rooted: Machine) -> None:
    rooted.stub("apt-get", APT)
    assert rooted.run("setup", STALE="1")[0] == 0
    assert [call.split()[5] for call in rooted.calls("apt-get")] == ["install", "update", "install"]


def test_apt_mends_a_missing_venv_module(rooted: Machine) -> None:
    rooted.stub("apt-get", APT)
    assert rooted.run("setup", NO_VENV="1")[0] == 1
    assert rooted.calls("apt-get")[0].endswith("curl mininet python3.11-venv")


def test_without_apt_lists_what_is_needed(rooted: Machine) -> None:
    code, _, messages = rooted.run("demo")
    assert code == 1
    assert "missing here: curl mininet" in messages
    assert "mnexec" in messages.split("then run this again")[1]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="wardrop-launcher-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.emulated
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root may")
def test_environment_belongs_to_the_user_who_called_sudo(open_folder: Path) -> None:
    machine = Machine(open_folder)
    for name in TOOLS:
        machine.stub(name)
    machine.log.touch()
    machine.log.chmod(0o666)
    os.chown(machine.checkout, 65534, 65534)
    assert machine.run("clean", SUDO_UID="65534", SUDO_GID="65534")[0] == 0
    environment = machine.checkout / ".venv"
    assert {file.stat().st_uid for file in [environment, *environment.rglob("*")]} == {65534}
