"""Road networks in the TNTP form of 'Transportation Networks for Research': links, demand, and best known flows.

Three text files a network, `NAME_net.tntp`, `NAME_trips.tntp` and `NAME_flow.tntp` (the last may be missing), each with
metadata in angle brackets and then lines of numbers; `~` begins a comment, `;` ends an entry. Delay is the Bureau of
Public Roads' D(x) = free (1 + b (x/capacity)^power), in the file's own unit of time. Zones are the nodes with the first
numbers; those below the first thru node are not passed through.

The data sets are for research, and none ships with Wardrop.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pricing.errors import ScenarioError
from pricing.joint.network_flow import RouteSpace, space_of_pairs
from pricing.laws import BPR
from pricing.values import FloatArray
from topologies.units import shown

NET_COLUMNS = 7
"""Columns of a link that are read: tail, head, capacity, length, free-flow time, b, power."""


@dataclass(frozen=True)
class RoadNetwork:
    """A road network and its demand.

    Parameters
    ----------
    name : str
    space : RouteSpace
        Its links, and a session for each pair of zones with demand, sorted by origin.
    law : BPR
        Delay of the links.
    rates : array of shape (K,)
        Vehicles an hour (or as the file counts) of each session.
    best : array of shape (L,), optional
        Best known user-equilibrium flows of the links.
    """

    name: str
    space: RouteSpace
    law: BPR
    rates: FloatArray
    best: FloatArray | None


def read_road_network(directory: Path, name: str) -> RoadNetwork:
    """Read `NAME_net.tntp`, `NAME_trips.tntp` and `NAME_flow.tntp` from a directory, or from `NAME/` in it.

    Raises
    ------
    ScenarioError
        When a file is missing, cannot be read, or says something else than it should.
    """
    home = directory / name if (directory / name).is_dir() else directory
    metadata, rows = _links(home / f"{name}_net.tntp")
    zones, count = metadata["NUMBER OF ZONES"], metadata["NUMBER OF NODES"]
    tails, heads = rows[:, 0].astype(np.int64) - 1, rows[:, 1].astype(np.int64) - 1
    demand = _demand(home / f"{name}_trips.tntp", zones)
    origins, sinks = np.nonzero(demand)
    capacity = np.full(len(rows), np.inf)
    through = np.arange(count) >= metadata["FIRST THRU NODE"] - 1
    space = space_of_pairs(tails, heads, origins, sinks, capacity, through)
    law = BPR(free=rows[:, 4], practical=rows[:, 2], alpha=rows[:, 5], beta=rows[:, 6])
    flows = home / f"{name}_flow.tntp"
    best = _flows(flows, tails, heads) if flows.exists() else None
    return RoadNetwork(name, space, law, demand[origins, sinks], best)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ScenarioError(str(path), [f"cannot be read: {reason}; accepted: a file in the TNTP form"]) from error


def _metadata(path: Path, text: str) -> tuple[dict[str, int], str]:
    """Whole numbers of the metadata, and the text that follows them."""
    head, ended, rest = text.partition("<END OF METADATA>")
    if not ended:
        raise ScenarioError(str(path), ["no <END OF METADATA>; accepted: a file in the TNTP form"])
    found = re.findall(r"<([A-Z ]+)>\s*(\d+)\s*$", head, flags=re.MULTILINE)
    return {key: int(value) for key, value in found}, re.sub(r"~.*", "", rest)


def _numbers(entry: str, where: str, problems: list[str]) -> list[float]:
    """The numbers of an entry, none where they are not all; what is wrong goes to `problems`."""
    try:
        return [float(word) for word in entry.split()]
    except ValueError:
        problems.append(f"{where}: found {shown(entry.strip())}; accepted: numbers")
        return []


def _links(path: Path) -> tuple[dict[str, int], FloatArray]:
    """Metadata and a row of numbers a link, checked."""
    metadata, rest = _metadata(path, _text(path))
    wanted = ("NUMBER OF ZONES", "NUMBER OF NODES", "FIRST THRU NODE", "NUMBER OF LINKS")
    problems = [f"no <{key}>; accepted: a whole number" for key in wanted if key not in metadata]
    if problems:
        raise ScenarioError(str(path), problems)
    zones, nodes, _, count = (metadata[key] for key in wanted)
    entries = [line.replace(";", " ") for line in rest.splitlines() if line.strip(" \t;\r")]
    if len(entries) != count:
        problems.append(f"found {len(entries)} links; accepted: {count}, as <NUMBER OF LINKS> says")
    if nodes > 2 * len(entries):
        problems.append(f"<NUMBER OF NODES>: found {nodes}; accepted: at most {2 * len(entries)}, two a link")
    if zones > nodes:
        problems.append(f"<NUMBER OF ZONES>: found {zones}; accepted: at most {nodes}, as zones are nodes")
    rows = [_link(entry, f"link {number}", nodes, problems) for number, entry in enumerate(entries, 1)]
    if problems:
        raise ScenarioError(str(path), problems)
    return metadata, np.array(rows)


def _link(entry: str, where: str, nodes: int, problems: list[str]) -> list[float]:
    """The numbers of a link; what is wrong with them goes to `problems`."""
    row = _numbers(entry, where, problems)
    if row and len(row) < NET_COLUMNS:
        problems.append(f"{where}: found {len(row)} numbers; accepted: {NET_COLUMNS} or more")
    elif row:
        if not all(end.is_integer() and 1 <= end <= nodes for end in row[:2]):
            problems.append(f"{where}: found the ends {row[0]:g} and {row[1]:g}; accepted: nodes, 1 to {nodes}")
        rest = row[2:NET_COLUMNS]
        if not (all(map(math.isfinite, rest)) and rest[0] > 0 and min(rest[2:]) >= 0):
            problems.append(
                f"{where}: found a capacity, time, b or power that is negative or not finite; accepted: a capacity "
                "above 0, the others from 0"
            )
    return row[:NET_COLUMNS]


def _demand(path: Path, zones: int) -> FloatArray:
    """Demand from zone to zone, (zones, zones); none from a zone to itself."""
    _, rest = _metadata(path, _text(path))
    demand = np.zeros((zones, zones))
    problems: list[str] = []
    for part in re.split(r"Origin\b", rest)[1:]:
        first, _, pairs = part.partition("\n")
        origin = first.strip()
        if not (origin.isdecimal() and 1 <= int(origin) <= zones):
            problems.append(f"Origin: found {shown(origin)}; accepted: a zone, 1 to {zones}")
            continue
        for entry in filter(str.strip, pairs.split(";")):
            destination, _, rate = (word.strip() for word in entry.partition(":"))
            where = f"Origin {origin}, destination {destination}"
            value = _numbers(rate, where, problems)
            if not (destination.isdecimal() and 1 <= int(destination) <= zones):
                problems.append(f"{where}: accepted: a zone, 1 to {zones}, then a colon and its rate")
            elif value and not (len(value) == 1 and math.isfinite(value[0]) and value[0] >= 0):
                problems.append(f"{where}: found {rate}; accepted: a number from 0")
            elif value:
                demand[int(origin) - 1, int(destination) - 1] = value[0]
    if problems:
        raise ScenarioError(str(path), problems)
    np.fill_diagonal(demand, 0.0)
    return demand


def _flows(path: Path, tails: np.ndarray, heads: np.ndarray) -> FloatArray:
    """Flows in the order of the links."""
    problems: list[str] = []
    lines = enumerate(_text(path).splitlines()[1:], 2)
    rows = [_numbers(line, f"line {number}", problems) for number, line in lines if line.strip()]
    known = {(row[0] - 1, row[1] - 1): row[2] for row in rows if len(row) > 2}
    keys = list(zip(tails.tolist(), heads.tolist(), strict=True))
    problems += [
        f"no flow from {a + 1} to {b + 1}; accepted: one for each link" for a, b in keys if (a, b) not in known
    ]
    if problems:
        raise ScenarioError(str(path), problems)
    return np.array([known[key] for key in keys])
