"""Road networks in the TNTP form of 'Transportation Networks for Research': links, demand, and best known flows.

Three text files a network, `NAME_net.tntp`, `NAME_trips.tntp` and `NAME_flow.tntp` (the last may be missing), each with
metadata in angle brackets and then lines of numbers; `~` begins a comment, `;` ends an entry. Delay is the Bureau of
Public Roads' D(x) = free (1 + b (x/capacity)^power), in the file's own unit of time. Zones are the nodes with the first
numbers; those below the first thru node are not passed through.

The data sets are for research, and none ships with Wardrop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pricing.errors import ScenarioError
from pricing.joint.network_flow import RouteSpace, space_of_pairs
from pricing.laws import BPR
from pricing.values import FloatArray

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


def _numbers(path: Path, entry: str) -> list[float]:
    try:
        return [float(word) for word in entry.split()]
    except ValueError as error:
        raise ScenarioError(str(path), [f"found {entry.strip()!r}; accepted: numbers"]) from error


def _links(path: Path) -> tuple[dict[str, int], FloatArray]:
    """Metadata and a row of numbers a link, checked."""
    metadata, rest = _metadata(path, _text(path))
    wanted = ("NUMBER OF ZONES", "NUMBER OF NODES", "FIRST THRU NODE", "NUMBER OF LINKS")
    problems = [f"no <{key}>; accepted: a whole number" for key in wanted if key not in metadata]
    if problems:
        raise ScenarioError(str(path), problems)
    entries = [_numbers(path, line.replace(";", " ")) for line in rest.splitlines() if line.strip(" \t;\r")]
    short = [row for row in entries if len(row) < NET_COLUMNS]
    if short or len(entries) != metadata["NUMBER OF LINKS"]:
        found = f"a link of {len(short[0])} numbers" if short else f"{len(entries)} links"
        raise ScenarioError(
            str(path),
            [f"found {found}; accepted: {metadata['NUMBER OF LINKS']} links of {NET_COLUMNS} numbers or more"],
        )
    rows = np.array([row[:NET_COLUMNS] for row in entries])
    ends, count = rows[:, :2], metadata["NUMBER OF NODES"]
    if ((ends < 1) | (ends > count)).any():
        raise ScenarioError(str(path), [f"found a link to a node outside of 1 to {count}; accepted: these"])
    if not (np.isfinite(rows).all() and (rows[:, 2] > 0).all() and (rows[:, 4:] >= 0).all()):
        raise ScenarioError(str(path), ["found a capacity, time, b or power that is negative or not finite"])
    return metadata, rows


def _demand(path: Path, zones: int) -> FloatArray:
    """Demand from zone to zone, (zones, zones); none from a zone to itself."""
    _, rest = _metadata(path, _text(path))
    demand = np.zeros((zones, zones))
    for part in re.split(r"Origin\s+", rest)[1:]:
        first, _, pairs = part.partition("\n")
        origin = _numbers(path, first)
        for destination, rate in re.findall(r"(\d+)\s*:\s*([^;\s]+)\s*;", pairs):
            pair = (int(origin[0]), int(destination))
            value = _numbers(path, rate)[0]
            if not (all(1 <= zone <= zones for zone in pair) and np.isfinite(value) and value >= 0):
                raise ScenarioError(
                    str(path), [f"found {rate} from {pair[0]} to {pair[1]}; accepted: from 0, zones 1 to {zones}"]
                )
            demand[pair[0] - 1, pair[1] - 1] = value
    np.fill_diagonal(demand, 0.0)
    return demand


def _flows(path: Path, tails: np.ndarray, heads: np.ndarray) -> FloatArray:
    """Flows in the order of the links."""
    rows = [_numbers(path, line) for line in _text(path).splitlines()[1:] if line.strip()]
    known = {(int(row[0]) - 1, int(row[1]) - 1): row[2] for row in rows}
    missing = [f"{a + 1} to {b + 1}" for a, b in zip(tails, heads, strict=True) if (a, b) not in known]
    if missing:
        raise ScenarioError(str(path), [f"no flow from {missing[0]}; accepted: one for each link"])
    return np.array([known[a, b] for a, b in zip(tails.tolist(), heads.tolist(), strict=True)])
