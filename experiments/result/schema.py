"""The result file: some of its parts made, and the whole checked. `docs/reference/report.md` describes each field.

The schema ships beside this module, in `report.schema.json` (JSON Schema, draft 2020-12).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator
from numpy.typing import ArrayLike

from pricing.errors import WardropError
from pricing.network import Network
from pricing.problem import problem_of
from pricing.spread import Way, named, quantiles
from pricing.values import FloatArray

SCHEMA_FILE = Path(__file__).parent / "report.schema.json"
NAME = "wardrop-report-1"
"""What `schema` says in a result file of this form."""

SHOWN = 20
"""Problems that one message holds; it counts the others."""

PROBABILITIES = np.concatenate([np.linspace(0.0, 0.98, 99), 1.0 - np.geomspace(0.01, 1e-4, 21)])
"""Shares of the packets at which `distribution` gives the delay: even, and closer together in the tail."""


@dataclass(frozen=True)
class Law:
    """The law of a delay by the model of independent queues.

    Attributes
    ----------
    name : str
        Its queues, for people, or why there is none.
    delays : tuple of float
        s, that each of `PROBABILITIES` does not exceed; None where there is none.
    """

    name: str
    delays: tuple[float | None, ...] = (None,) * PROBABILITIES.size


def law(network: Network, shares: Mapping[Way, float], load: FloatArray) -> Law:
    """The law of the packets that take these ways.

    Parameters
    ----------
    load : array of shape (R,)
        Load of each resource, bit/s or work/s.
    """
    if network.classes > 1:
        return Law("none here: queues know classes")
    laws = problem_of(network).laws
    delays = quantiles(laws, load, shares, PROBABILITIES)
    if delays is None:
        return Law("none: nothing is sent, or a queue is at its capacity")
    return Law(named(laws, shares, len(network.links)), tuple(delays.tolist()))


def topology(network: Network) -> dict[str, Any]:
    """`topology` of a result file."""
    return {
        "nodes": [
            {"name": node.name, "latitude": node.latitude, "longitude": node.longitude} for node in network.nodes
        ],
        "servers": [{"name": server.name, "node": server.node} for server in network.servers],
        "sources": [{"session": session.name, "node": session.source} for session in network.sessions],
    }


def ticks(records: Sequence[Mapping[str, Any]], measured: tuple[float, float] | None = None) -> dict[str, Any]:
    """`ticks` of a run, from the controller's record lines (docs/design/architecture.md).

    Parameters
    ----------
    records : sequence of mappings
        Lines of `record.jsonl` that belong to the run, in order.
    measured : pair of float, optional
        Begin and end of the time measured, s, on the record's clock.
    """
    start = float(records[0]["time"]) if records else 0.0
    routes: dict[str, dict[str, list[float]]] = {}
    for index, record in enumerate(records):
        for session, split in record["decided"].items():
            for route, weight in split:
                series = routes.setdefault(session, {}).setdefault(str(route), [0.0] * len(records))
                series[index] = min(round(float(weight), 6), 1.0)
    made: dict[str, Any] = {
        "time_s": [round(float(record["time"]) - start, 3) for record in records],
        "gap": [record["gap"] for record in records],
        "link_prices": [[link["price"] for link in record["links"]] for record in records],
        "server_prices": [[server["price"] for server in record["servers"]] for record in records],
        "splits": routes,
    }
    if measured is not None:
        made["measured_s"] = [round(float(moment) - start, 3) for moment in measured]
    return made


def distribution(measured: ArrayLike, predicted: ArrayLike, law: Law) -> dict[str, Any]:
    """`delay_histogram` of a run or a destination: the delay, s, that each share of the packets does not exceed.

    Parameters
    ----------
    measured, predicted : arrays of shape (n,) and (m,)
        Delays of the packets, s; an empty one gives nulls.
    law : Law
        Of the model.
    """

    def points(delays: ArrayLike) -> list[float | None]:
        values = np.asarray(delays, dtype=float)
        if values.size == 0:
            return [None] * PROBABILITIES.size
        return [round(float(value), 7) for value in np.quantile(values, PROBABILITIES)]

    return {
        "probability": [round(float(share), 6) for share in PROBABILITIES],
        "measured_s": points(measured),
        "predicted_s": points(predicted),
        "law_s": [None if delay is None else round(delay, 7) for delay in law.delays],
        "law": law.name,
    }


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a result file."""
    loaded: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
    return loaded


def check(report: dict[str, Any]) -> None:
    """Check a result file's content.

    Parameters
    ----------
    report : dict
        What is to be written as `report.json`.

    Raises
    ------
    WardropError
        When a field is missing, unknown, of the wrong type, or a number is not finite. The message holds the problems,
        a line each, with the path of the field.
    """
    found = sorted(Draft202012Validator(schema()).iter_errors(report), key=lambda error: error.json_path)
    problems = [f"{error.json_path}: {error.message}" for error in found]
    problems += [f"{path}: {value} is not JSON; null says 'unknown'" for path, value in _not_finite(report, "$")]
    if problems:
        shown = [problem if len(problem) <= 300 else f"{problem[:300]}..." for problem in problems[:SHOWN]]
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        head = f"the result file does not fit its schema (docs/reference/report.md): {len(problems)} found"
        raise WardropError("\n  ".join([head, *shown, *more]))


def _not_finite(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _not_finite(inner, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, value
