"""`bin/wardrop replay RECORDING`: what a run's ticks decided, decided again without a network. It needs no root.

Fields of `--json FILE`:

| field | what |
|---|---|
| `schema` | `wardrop-replay-1` |
| `network`, `ticks`, `same` | its name, how many ticks, and how many of them decided the same, byte for byte |
| `versions` | {program: [when it was recorded, now]}, of those that differ |
| `decisions` | [{`tick`, `policy`, `same`, `error`, `failed`, `decided` {session: [[route, weight]]}}] |
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.cli import FOUND, JsonOption, app, console, write_json


@app.command(rich_help_panel=FOUND)
def replay(
    file: Annotated[Path, typer.Argument(metavar="RECORDING", help="What `run --recording` wrote.")],
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="FILE.py:FUNCTION", help="A policy of yours that it may name."),
    ] = None,
    to: JsonOption = None,
) -> None:
    """Decide again what the ticks of a run decided, and say whether it is the same, byte for byte."""
    from controller.recording import recording_from_lines, replayed, versions
    from pricing.errors import MeasurementError, WardropError
    from pricing.outage import NOTHING
    from pricing.own import named

    for own in policy or ():
        named(own)  # a recording is data, and runs no file

    try:
        with file.open(encoding="utf-8") as lines:
            recording = recording_from_lines(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise WardropError(f"{file}: {error}; a recording is accepted") from error
    except WardropError as error:
        raise type(error)(f"{file}: {error}") from error
    name, now, ticks = recording.fabric.network.name, versions(), []
    with console(stderr=True).status(f"{name}: {len(recording.ticks)} ticks"):
        ticks = list(replayed(recording))
    same = sum(one.same for one in ticks)
    differ = {
        program: [then, now.get(program)] for program, then in recording.versions.items() if then != now.get(program)
    }
    fields = ("tick", "policy", "same", "error", "decided")
    decisions = [{field: getattr(one, field) for field in fields} | {"failed": str(one.outage)} for one in ticks]
    found = {"schema": "wardrop-replay-1", "network": name, "ticks": len(ticks), "same": same, "versions": differ}
    write_json(to, {**found, "decisions": decisions})
    failed = sum(bool(one.error) for one in ticks)
    screen = console()
    screen.print(f"{name}: {len(ticks)} ticks, {failed} of them failed; {same} decided the same", highlight=False)
    for before, one in pairwise([None, *ticks]):
        if one and one.outage != (before.outage if before else NOTHING):
            screen.print(f"tick {one.tick}: what does not work: {one.outage}", highlight=False, markup=False)
    for program, (then, today) in differ.items():
        screen.print(f"{program}: {then} when it was recorded, {today} here", highlight=False)
    if same < len(ticks):
        first = next(one for one in ticks if not one.same)
        raise MeasurementError(
            f"{file}: tick {first.tick} ({first.policy}) is the first that decides otherwise: digest {first.found}, "
            f"recorded {first.recorded}, not working: {first.outage}; "
            "other versions, another processor or other code decide otherwise"
        )
