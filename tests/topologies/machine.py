"""What the tests on real packets share: whether this machine can run them, and what there is of ours on it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pricing.errors import EmulationError
from topologies.testbed import MARK, MARK_VARIABLE, require_machine


def _problem() -> str:
    try:
        require_machine()
    except EmulationError as error:
        return str(error)
    return ""


emulated = [pytest.mark.emulated, pytest.mark.skipif(bool(_problem()), reason=_problem())]


def state() -> dict[str, set[str]]:
    """Namespaces, mounts, interfaces, qdiscs and run directories of the machine."""

    def lines(*command: str) -> set[str]:
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    places = (Path("/run/netns"), Path("/run/wardrop"))
    return {
        "namespaces": {str(path) for place in places if place.exists() for path in [place, *place.iterdir()]},
        "mounts": {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if "netns" in line},
        "interfaces": {line.split()[0] for line in lines("ip", "-br", "link")},
        "qdiscs": lines("tc", "qdisc", "show"),
    }


def difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> set[str]:
    """What came or went between two states, without what carries the mark of a testbed that lived beside the test."""
    beside = {owner.parent.name for owner in Path("/run/wardrop").glob("*/owner")}
    beside |= {name for item in before["namespaces"] for name in MARK.findall(item)}
    changed = {item for kind in before for item in before[kind] ^ after[kind]}
    if beside:
        changed -= {"/run/netns", "/run/wardrop", "/run/wardrop/made-netns"}
    return {item for item in changed if not any(name in item for name in beside)}


def marked_processes(name: str) -> list[int]:
    """Processes that were started in the testbed `name`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK_VARIABLE}={name}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def is_name(text: str) -> bool:
    """Whether this is the name of a testbed."""
    return MARK.fullmatch(text) is not None
