"""`bin/wardrop bench`: every solver beside a named peer, in one run, one process a case, one thread.

Fields of `--json FILE`; seconds, and gaps as ratios:

| field | what |
|---|---|
| `schema` | `wardrop-bench-1` |
| `quick` | whether the long cases were left out |
| `versions` | of Python, the kernel and the packages that take part |
| `rows` | a list, one for each case that ran |
| `rows[].case`, `instance`, `size` | its key, what it is, how many of each thing |
| `rows[].ours`, `peer` | {`name`, `wall`, `cpu`, `runs`, `gap`, `first`}: medians over the runs; or null |
| `rows[].ours.first` | wall time of the first run, which loads or compiles what the others use; or null |
| `rows[].ratio` | the peer's CPU time over ours; null without both |
| `rows[].wanted` | the ratio that is wanted; null where none is |
| `rows[].measure` | what the gap is |
| `rows[].note`, `facts` | what is to say, and more numbers by name |
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.commands.cli import THEORY, JsonOption, app, console, write_json
from pricing.errors import WardropError

SCHEMA = "wardrop-bench-1"

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
"""With two threads a small system of equations takes many times longer than with one."""

PACKAGES = ("numpy", "scipy", "numba", "cvxpy", "clarabel", "topohub", "aequilibrae")


@app.command("bench", rich_help_panel=THEORY)
def benchmark(
    quick: Annotated[bool, typer.Option("--quick", help="Only what takes a few seconds.")] = False,
    tntp: Annotated[
        Path | None,
        typer.Option("--tntp", metavar="DIR", help="Where SiouxFalls and Anaheim lie in the TNTP form."),
    ] = None,
    to: JsonOption = None,
) -> None:
    """Time every solver beside a named peer on the same instances."""
    from bench.__main__ import CASES

    rows = []
    for case, what in CASES.items():
        if what.quick or not quick:
            with console(stderr=True).status(case):
                rows.append(run_case(case, quick, tntp))
            show(rows[-1])
    write_json(to, {"schema": SCHEMA, "quick": quick, "versions": versions(), "rows": rows})


def run_case(case: str, quick: bool, tntp: Path | None) -> dict[str, Any]:
    """One case in a process of its own; its row."""
    command = [sys.executable, "-m", "bench", case]
    command += ["--quick"] if quick else []
    command += ["--tntp", str(tntp)] if tntp else []
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WardropError(f"benchmark {case}: ended with {done.returncode}: {last}")
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def versions() -> dict[str, str]:
    """Versions of what takes part; a missing package is 'absent'."""
    found = {"python": sys.version.split()[0], "kernel": os.uname().release}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def show(row: dict[str, Any]) -> None:
    """Print a row: both sides with their times and gaps, and the ratio beside what is wanted."""
    screen = console()
    size = ", ".join(f"{count:,} {thing}" for thing, count in row["size"].items())
    screen.print(f"{row['instance']}" + (f"  ({size})" if size else ""), style="bold", highlight=False, soft_wrap=True)
    for side in (row["ours"], row["peer"]):
        if side:
            line = f"  {side['name']:<22}{_time(side['cpu']):>10} CPU{_time(side['wall']):>10} wall"
            line += f"   gap {side['gap']:.1e}   median of {side['runs']}"
            screen.print(line, highlight=False, soft_wrap=True)
    if row["ratio"] is not None:
        enough = row["wanted"] is None or row["ratio"] >= row["wanted"]
        wanted = f", {row['wanted']:g} wanted" if row["wanted"] else ""
        screen.print(f"  {row['ratio']:,.1f} times faster{wanted}", style="green" if enough else "red", highlight=False)
    facts = ", ".join(f"{name} {value:.10g}" for name, value in row["facts"].items())
    for line in (facts, row["note"]):
        if line:
            screen.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"
