"""Two result files side by side: what differs, with its interval, and under which circumstances each was measured.

Runs are paired by policy; two files of one run each, with different policies, are paired too. The two are independent
measurements, so the half-width of a difference is the root of the sum of both squares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Part = Mapping[str, Any]

WORDS = {
    "quiet": "the machine was quiet",
    "netem": "propagation by netem",
    "steal": "stolen CPU time, ratio",
    "late_p99_s": "senders late, p99, s",
    "excluded_s": "seconds left out",
}
"""What fields of `machine` are called that are no words."""


@dataclass(frozen=True)
class Difference:
    """One quantity of two files: `a` and `b` are estimates as in the file, `unit` is what both are in."""

    run: str
    what: str
    unit: str
    a: Part
    b: Part

    @property
    def value(self) -> float | None:
        """How much more it is in the second file; None where one of them does not know."""
        a, b = self.a["value"], self.b["value"]
        return None if a is None or b is None else b - a

    @property
    def ci95(self) -> float | None:
        """Half-width of the difference's 95 % confidence interval; None where it cannot be told."""
        a, b = self.a["ci95"], self.b["ci95"]
        return None if a is None or b is None else math.hypot(a, b)

    @property
    def told(self) -> bool:
        """Whether there is anything to tell: one of the files knows it, and says more than 0."""
        return bool(self.a["value"] or self.b["value"])

    @property
    def sure(self) -> bool:
        """Whether the difference is more than its interval."""
        return self.value is not None and self.ci95 is not None and abs(self.value) > self.ci95


def differences(a: Part, b: Part) -> list[Difference]:
    """Every quantity that both files have, in the order of the first."""
    return [row for name, one, other in _pairs(a, b) for row in _rows(name, one, other)]


def alone(a: Part, b: Part) -> list[str]:
    """Policies that only one of the files has, where nothing is beside them."""
    paired = {run["policy"] for _, *pair in _pairs(a, b) for run in pair}
    return sorted({run["policy"] for report in (a, b) for run in report["runs"]} - paired)


def circumstances(a: Part, b: Part) -> list[tuple[str, str, str]]:
    """What differs beside the measurements: scenario, seed, machine, versions; 'field, in the first, in the second'."""
    one, other = dict(_told(a)), dict(_told(b))
    names = [*one, *(name for name in other if name not in one)]
    rows = [(name, one.get(name, "not there"), other.get(name, "not there")) for name in names]
    return [row for row in rows if row[1] != row[2]]


def _told(report: Part) -> Iterator[tuple[str, str]]:
    for key in ("scenario", "seed", "command"):
        yield key, str(report[key])
    yield "measured, s", ", ".join(f"{run['duration_s']:.0f}" for run in report["runs"])
    for key, value in report["machine"].items():
        if isinstance(value, Mapping):
            yield from ((f"version of {name}", str(found)) for name, found in sorted(value.items()))
        else:
            yield WORDS.get(key, key), _written(value)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _pairs(a: Part, b: Part) -> list[tuple[str, Part, Part]]:
    theirs = {run["policy"]: run for run in b["runs"]}
    found = [(run["policy"], run, theirs[run["policy"]]) for run in a["runs"] if run["policy"] in theirs]
    if not found and len(a["runs"]) == len(b["runs"]) == 1:
        one, other = a["runs"][0], b["runs"][0]
        found = [(f"{one['policy']}, then {other['policy']}", one, other)]
    return found


def _rows(run: str, a: Part, b: Part) -> Iterator[Difference]:
    one, other = dict(_quantities(a)), dict(_quantities(b))
    for (what, unit), value in one.items():
        if (what, unit) in other:
            yield Difference(run, what, unit, value, other[what, unit])


def _quantities(run: Part) -> Iterator[tuple[tuple[str, str], Part]]:
    yield ("mean delay", "s"), run["objective"]["mean_delay_s"]
    yield from (((f"delay: {part}", "s"), value) for part, value in run["delay_parts_s"].items())
    for session in run["sessions"]:
        yield (f"delay of {session['name']}", "s"), session["delay_s"]["mean"]
    for server in run["servers"]:
        yield (f"load of {server['name']}", "work/s"), server["load"]
        yield (f"wait at {server['name']}", "s"), server["wait_s"]
    for link in run["links"]:
        yield (f"load of {link['src']} → {link['dst']}", "bit/s"), link["load_bps"]
        yield (f"wait at {link['src']} → {link['dst']}", "s"), link["wait_s"]
