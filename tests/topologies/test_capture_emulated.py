"""Captures of a run: every host and ingress link, the labels in them, the bound kept, and nothing left running."""

from __future__ import annotations

import struct
import subprocess
import time
from pathlib import Path

import pytest

from experiments.running.campaign import Options, campaign
from pricing.errors import EmulationError
from topologies import capture
from topologies.scenario import load

pytestmark = pytest.mark.emulated

WAIT = 300.0
"""Seconds for the turn of somebody else who measures on this machine."""


def frames(path: Path) -> list[bytes]:
    """The frames of a capture, as far as they were kept."""
    data, at, found = path.read_bytes(), 24, []
    while at < len(data):
        kept = struct.unpack_from("<I", data, at + 8)[0]
        found.append(data[at + 16 : at + 16 + kept])
        at += 16 + kept
    return found


def running(folder: Path) -> str:
    """Processes that write there."""
    return subprocess.run(["pgrep", "-f", f"tcpdump.*{folder}"], capture_output=True, text=True, check=False).stdout


def test_hosts_and_ingress_links_are_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MOST_PACKETS", 600)
    folder = tmp_path / "pcaps"
    options = Options(metrics="127.0.0.1:19467", openflow="127.0.0.1:6653", wait=WAIT, pcap=folder)
    with campaign(load("two-servers"), "shortest-path", options) as up, up.traffic(seed=1):
        assert running(folder)
        time.sleep(4.0)
    assert not running(folder)
    files = {each.what: each for each in up.captures}
    sources = {session.source for session in up.network.sessions}
    links = {f"link {link}" for link in up.network.links if link.src in sources}
    assert set(files) == {f"host {name}" for name in up.emulation.plant.hosts} | links
    assert {Path(each.file) for each in files.values()} == set(folder.iterdir())
    busy = files["link Left->North"]
    assert (busy.packets, busy.full) == (600, True), "its bound"
    labelled = [frame for frame in frames(Path(busy.file)) if frame[:2] == b"\x02\x57"]
    assert len(labelled) > 200
    for each in files.values():
        read = subprocess.run(["tcpdump", "-n", "-r", each.file, "-c", "9"], capture_output=True, text=True, check=True)
        assert len(read.stdout.splitlines()) == min(9, each.packets)
        assert len(frames(Path(each.file))) == each.packets
        assert all(len(frame) <= capture.SNAP for frame in frames(Path(each.file)))
    assert files["host h-Left"].packets > 0


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = Options(metrics="127.0.0.1:19467", wait=WAIT, pcap=tmp_path / "file" / "in")
    with (
        pytest.raises(EmulationError, match="a folder that can be made"),
        campaign(load("two-servers"), "ecmp", options),
    ):
        pass
