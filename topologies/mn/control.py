"""The controller `priced`: Wardrop's own, as a process on the virtual environment's Python, for Mininet's networks.

Its run directory is one of `/run/wardrop/wardrop-XXXXXX`, as a testbed's: the next start, or `bin/wardrop clean`,
clears what a killed `mn` leaves. The network and its plant are written there when Mininet starts its controllers, which
is after links and hosts are made and before switches start.
"""

from __future__ import annotations

import atexit
import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

from mininet.log import info, warn
from mininet.node import Controller

from pricing.errors import EmulationError
from topologies.mn.environment import HOME, command, environment
from topologies.mn.survey import adopted, survey
from topologies.testbed import MARK_VARIABLE, RUN, claim, release, sweep

SLOTS, MOST_SLOTS, FEWEST_SLOTS = 4096, 512, 8
"""Hash slots of all sessions of an adopted network together, and the most and fewest of one session (ours)."""


class Priced(Controller):  # type: ignore[misc]
    """Wardrop's controller: `--controller priced,policy=joint`.

    Parameters
    ----------
    policy : str
        How routes are decided; `bin/wardrop list` has the names.
    tick : float
        Seconds between two decisions.
    metrics : str
        HOST:PORT where Prometheus scrapes.
    framework : str
        'os-ken' or 'ryu'.
    """

    def __init__(
        self,
        name: str,
        policy: str = "joint-distributed",
        tick: float = 1.0,
        metrics: str = "127.0.0.1:9464",
        framework: str = "os-ken",
        **params: Any,
    ) -> None:
        self.options = {"policy": policy, "tick": tick, "metrics": metrics, "framework": framework}
        self.directory: Path | None = None
        self.process: subprocess.Popen[bytes] | None = None
        super().__init__(name, **params)

    def checkListening(self) -> None:  # noqa: N802
        """Nothing to do: the controller says whose its port is when that is taken."""

    def start(self) -> None:
        """Write what it has to know, and start it.

        Raises
        ------
        EmulationError
            When the virtual environment is not set up.
        """
        sweep()
        found = survey()
        if found.scenario:
            network, plant, said = found.scenario["network"], {**found.scenario["plant"], "netns": ""}, found.problems
            slots = MOST_SLOTS
        else:
            network, plant, said = adopted(found)
            slots = max(FEWEST_SLOTS, min(MOST_SLOTS, SLOTS // max(1, len(network["sessions"]))))
        for sentence in said:
            warn(f"*** {self.name}: {sentence}\n")
        self.directory = RUN / f"wardrop-{secrets.token_hex(3)}"
        claim(self.directory)
        atexit.register(self._end)
        for name, value in (("network", network), ("plant", plant)):
            (self.directory / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")
        files = {name: self.directory / f"{name}.json" for name in ("network", "plant")}
        files |= {"record": self.directory / "record.jsonl", "control": self.directory / "control.sock"}
        values = {**self.options, **files, "slots": slots, "openflow": f"{self.ip}:{self.port}", "netns": ""}
        words = command("controller", *(f"--{name}={value}" for name, value in values.items()))
        with (self.directory / "controller.log").open("wb") as log:
            marked = environment(**{MARK_VARIABLE: self.directory.name})
            self.process = subprocess.Popen(
                words, cwd=HOME, env=marked, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def ready(self) -> bool:
        """Whether every switch has its first rules.

        Raises
        ------
        EmulationError
            When the controller has ended; with its last words.
        """
        if self.process is None or self.directory is None:
            return False
        if self.process.poll() is not None:
            said = (self.directory / "controller.log").read_text(errors="replace").strip().splitlines()
            raise EmulationError(f"controller {self.name}: {said[-1] if said else 'it ended silently'}")
        record = self.directory / "record.jsonl"
        return record.exists() and '"slots"' in record.read_text()

    def stop(self, *_: Any, **__: Any) -> None:
        """End it, and remove its files."""
        self._end()
        self.terminate()

    def _end(self) -> None:
        if self.process is not None:
            info("(priced) ")
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        if self.directory is not None:
            release(self.directory)
            self.directory = None
