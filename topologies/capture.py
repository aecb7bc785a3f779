"""Captures of an emulation's packets by tcpdump: at every host, and at the links that sessions enter the network by.

    with Captures(emulation, Path("pcaps")) as captures:
        ...                                        # traffic
    captures.files                                 # what was written: packets seen, dropped, and whether it is full

A file has the first `SNAP` bytes of each packet, which is all but the padding of a request: label, addresses, ports,
and the session, flow and sequence number in its payload. It ends after `MOST_PACKETS`, so no run fills a disk: at most
22 MB a file. A packet that leaves by a link is stamped when it comes out of the link's queue. Nothing is captured
unless it is asked for: the processes take time from what is measured.
"""

from __future__ import annotations

import re
import select
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pricing.errors import EmulationError

if TYPE_CHECKING:
    from topologies.emulation import Emulation

SNAP = 96
"""Bytes kept of each packet (ours): headers with all options of TCP, or headers and the head of a request."""

MOST_PACKETS = 200_000
"""Packets after which a file ends (ours)."""

READY_S, END_S = 20.0, 10.0
"""Longest waits for a capture to begin, and to be written (ours)."""


@dataclass(frozen=True)
class Capture:
    """One file: of which host or link and interface, its packets, those that the kernel dropped, whether it is full."""

    file: str
    what: str
    interface: str
    packets: int
    dropped: int
    full: bool


@dataclass
class Captures:
    """Captures for the length of a `with` block, entered inside the testbed.

    Parameters
    ----------
    emulation : Emulation
    folder : Path
        Where files go; made where it is missing.

    Attributes
    ----------
    files : list of Capture
        After the block: what was written.

    Raises
    ------
    EmulationError
        When there is no tcpdump, the folder cannot be written, or a capture does not begin.
    """

    emulation: Emulation
    folder: Path
    files: list[Capture] = field(default_factory=list)
    _running: list[tuple[Path, str, str, subprocess.Popen[str]]] = field(default_factory=list)

    def __enter__(self) -> Self:
        if shutil.which("tcpdump") is None:
            raise EmulationError("no tcpdump here; `bin/wardrop setup` installs it, or: apt-get install tcpdump")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            wanted = "a folder that can be made and written is accepted"
            raise EmulationError(f"--pcap {self.folder}: {error.strerror}; {wanted}") from error
        try:
            self._start()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for *_, process in self._running:
                process.send_signal(signal.SIGINT)
            for path, what, interface, process in self._running:
                with suppress(subprocess.TimeoutExpired):
                    said = process.communicate(timeout=END_S)[1]
                    self.files.append(_told(path, what, interface, said))
        finally:
            self._kill()

    def _start(self) -> None:
        from topologies.emulation import host_interface

        emulation = self.emulation
        for name in emulation.plant.hosts:
            inside = ["mnexec", "-a", str(emulation.net[name].pid)]
            self._begin(inside, f"host-{name}", f"host {name}", host_interface(name))
        sources = {session.source for session in emulation.network.sessions}
        for link in emulation.network.links:
            if link.src in sources:
                self._begin([], f"link-{link.src}-{link.dst}", f"link {link}", emulation.interfaces[link.key])
        for path, _, interface, process in self._running:
            assert process.stderr is not None
            said = process.stderr.readline() if select.select([process.stderr], [], [], READY_S)[0] else "no answer"
            if "listening on" not in said:
                raise EmulationError(f"tcpdump at {interface} into {path}: {said.strip().removeprefix('tcpdump: ')}")

    def _begin(self, inside: list[str], name: str, what: str, interface: str) -> None:
        path = (self.folder / f"{name}.pcap").absolute()
        # As root, tcpdump would give the file to a user of its own.
        command = ["tcpdump", "-n", "-Z", "root", "-i", interface, "-s", str(SNAP), "-c", str(MOST_PACKETS)]
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "text": True}
        process = subprocess.Popen(
            [*inside, *command, "-w", str(path)], stderr=subprocess.PIPE, start_new_session=True, **options
        )
        self._running.append((path, what, interface, process))

    def _kill(self) -> None:
        for *_, process in self._running:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
        self._running.clear()


def _told(path: Path, what: str, interface: str, said: str) -> Capture:
    """What tcpdump says at its end."""
    found = re.findall(r"(\d+) packets? (captured|dropped by kernel)", said)
    counts = {words: int(number) for number, words in found}
    packets = counts.get("captured", 0)
    return Capture(
        str(path), what, interface, packets, counts.get("dropped by kernel", 0), full=packets >= MOST_PACKETS
    )
