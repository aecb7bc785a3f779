"""What this machine's links were found to need, kept where every later run finds it.

`bin/wardrop calibrate` measures it and keeps it in `/var/lib/wardrop/calibration.json`: it belongs to the machine, not
to a user or a checkout. Links take their bucket from it, and predictions the **base delay**, what a packet takes that
meets no queue: ends_s + link_s times the links on its way. Of another processor count, kernel or datapath nothing is
taken: there the bucket is `topologies.links.BURST_SECONDS` and the base delay is not known, which is 0 in predictions.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from pricing.errors import EmulationError
from topologies.links import BURST_SECONDS

PLACE = Path("/var/lib/wardrop/calibration.json")
"""Where it is kept."""


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    Parameters
    ----------
    burst_seconds : float
        What a link's bucket holds, in seconds of the link.
    ends_s, link_s : float
        Delay of a packet that meets no queue: at both ends of its way, and a link.
    capacity_ratio : float
        What a link really carries, over its capacity.
    machine : str
        What it was measured on: `this_machine`; empty where nothing was.
    measured : str
        When, ISO 8601; empty where nothing was.
    """

    burst_seconds: float = BURST_SECONDS
    ends_s: float = 0.0
    link_s: float = 0.0
    capacity_ratio: float = 1.0
    machine: str = ""
    measured: str = ""


NOMINAL = Calibration()
"""Where nothing was measured."""


def this_machine(datapath: str) -> str:
    """What a calibration holds for: kernel, processors, and the datapath that carries the packets."""
    return f"{platform.node()}, Linux {platform.release()}, {os.cpu_count()} processors, {datapath} datapath"


def recall(datapath: str, place: Path = PLACE) -> Calibration:
    """The calibration of this machine with that datapath; `NOMINAL` where there is none that can be read."""
    try:
        found = Calibration(**json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return NOMINAL
    return found if found.machine == this_machine(datapath) else NOMINAL


def keep(calibration: Calibration, place: Path = PLACE) -> None:
    """Keep it for later runs.

    Raises
    ------
    EmulationError
        When the file cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(place.name + ".part")
        draft.write_text(json.dumps(asdict(calibration), indent=1) + "\n", encoding="utf-8")
        draft.replace(place)
    except OSError as error:
        raise EmulationError(f"{place}: {error.strerror}; the calibration is not kept, run as root") from error
