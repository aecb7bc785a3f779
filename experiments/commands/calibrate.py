"""`bin/wardrop calibrate`: what the links of this machine need, and what can be trusted.

Writes `calibration.json` and `curves.png`, and keeps bucket and base delay where later runs find them
(`topologies.calibration`). `docs/how-to/calibrate.md` has the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.cli import PACKETS, JsonOption, app, console, write_json
from experiments.commands.options import WaitOption
from experiments.commands.places import for_results, give_back

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.calibrating.measure import Found
    from experiments.calibrating.theory import Point


@app.command(rich_help_panel=PACKETS)
def calibrate(
    quick: Annotated[bool, typer.Option("--quick", help="A minute instead of five, with wider intervals.")] = False,
    wait: WaitOption = 0.0,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where curves and figures go.",
            callback=for_results,
        ),
    ] = Path("out/calibrate"),
    to: JsonOption = None,
) -> None:
    """Measure waits against theory on this machine, and keep what its links need for later runs."""
    from experiments.calibrating.bed import bed
    from experiments.calibrating.measure import FULL, QUICK, Calibrator
    from experiments.calibrating.pictures import draw
    from topologies.calibration import PLACE, keep
    from topologies.turns import turn

    screen = console()
    with (
        turn(wait, lambda other: screen.print(f"waiting: {other}")),
        console(stderr=True).status("network") as status,
        bed() as line,
    ):
        found = Calibrator(line, QUICK if quick else FULL, status.update).run()
    show(found)
    draw(found, out / "curves.png")
    write_json(out / "calibration.json", found.as_json())
    give_back(out / "curves.png")
    screen.print(f"curves: {out / 'curves.png'}; figures: {out / 'calibration.json'}", highlight=False)
    if found.quiet:
        keep(found.calibration)
        screen.print(f"kept for later runs: {PLACE}", highlight=False)
    else:
        screen.print(f"machine not quiet: nothing is kept in {PLACE}", highlight=False)
    write_json(to, found.as_json())


def show(found: Found) -> None:
    """Print every point, and what this machine can be trusted with."""
    screen = console()
    screen.print(_table("waits against theory, ms", found.points))
    if found.tclink:
        screen.print(_table("the same through Mininet's TCLink, ms", found.tclink))
    for line in summary(found):
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def summary(found: Found) -> list[str]:
    """Sentences: bucket, base delay, pace, and how many points are as theory says."""
    chosen = found.calibration
    verdicts = [point.verdict for point in found.points]
    formulas = [point.formula_inside for point in found.points if point.formula_inside is not None]
    near, far = found.base["near"], found.base["far"]
    lines = [
        f"bucket: {1e6 * chosen.burst_seconds:.0f} us of the link, which then carries "
        f"{chosen.capacity_ratio:.2%} of its capacity",
        f"base delay: {1e3 * near.value:.3f} ± {1e3 * near.ci95:.3f} ms over one link, "
        f"{1e3 * far.value:.3f} ± {1e3 * far.ci95:.3f} ms over three: no delay below can be told from it",
        f"pace: {found.held:,.0f} packets/s are sent on time and delivered",
    ]
    lines += [
        f"pace not held: {pace['asked']:,.0f} packets/s asked, {pace['sent']:,.0f} sent in time, "
        f"99 % of them at most {1e3 * pace['late_p99_s']:.2f} ms late, {pace['delivered']:.2%} of those sent delivered"
        for pace in found.paces
        if not pace["held"]
    ]
    return [
        *lines,
        f"as Lindley's recursion says: {verdicts.count('met')} of {len(verdicts)} points, "
        f"{verdicts.count('not met')} not, {verdicts.count('undecided')} undecided",
        f"formula inside the measured interval: {sum(formulas)} of {len(formulas)} points; by chance alone, "
        f"{0.05 * len(formulas):.1f} of these 95 % intervals miss",
        f"not quiet, left out: {found.excluded_s} of {found.seconds:.0f} s of traffic",
    ]


def _table(title: str, points: Sequence[Point]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    heads = ("law", "class", "utilization", "packets", "measured", "Lindley", "difference", "formula", "inside", "")
    for head in heads:
        table.add_column(head, justify="left" if head in ("law", "") else "right")
    for point in points:
        inside = {True: "yes", False: "no", None: "-"}[point.formula_inside]
        cells = [
            f"{1e3 * point.measured.value:.3f} ± {1e3 * point.measured.ci95:.3f}",
            f"{1e3 * point.predicted.value:.3f}",
            f"{1e3 * point.difference.value:+.3f} ± {1e3 * point.difference.ci95:.3f}",
            f"{1e3 * point.formula:.3f}",
        ]
        first = [point.law, str(point.klass), f"{point.utilization:.3f}", f"{point.packets:,}"]
        table.add_row(*first, *cells, inside, point.verdict)
    return table
