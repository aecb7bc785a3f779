"""Commands about security: `certificates` and `fuzz`.

Fields of `fuzz --json FILE`: `messages`, `connections`, `seconds`, `framework`, `seed`; `refused` by kind; `memory`
(bytes) and `threads` of the controller before and after; `survived`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.cli import SECURITY, JsonOption, app, console, write_json
from pricing.errors import WardropError


@app.command(rich_help_panel=SECURITY)
def certificates(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")]) -> None:
    """Make the certificates with which switches and controller speak OpenFlow over TLS."""
    from controller.certificates import make

    for path in make(folder):
        console().print(str(path), highlight=False, markup=False)


@app.command(rich_help_panel=SECURITY)
def fuzz(
    messages: Annotated[int, typer.Option("--messages", metavar="N", min=1, help="How many.")] = 100_000,
    framework: Annotated[str, typer.Option("--framework", metavar="F", help="os-ken or ryu.")] = "os-ken",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the messages.")] = 1,
    to: JsonOption = None,
) -> None:
    """Send malformed OpenFlow to the controller, and see whether it goes on. Needs no root."""
    from experiments.running import fuzz as fuzzing

    if framework not in ("os-ken", "ryu"):
        raise WardropError(f"--framework {framework}: os-ken and ryu are accepted")
    with tempfile.TemporaryDirectory() as scratch:
        found = fuzzing.fuzz(Path(scratch), framework, messages, seed)
    refused = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found["refused"].items())) or "nothing"
    memory = " -> ".join(f"{value / 2**20:.0f}" for value in found["memory"])
    threads = " -> ".join(map(str, found["threads"]))
    console().print(
        f"{found['messages']:,} messages over {found['connections']:,} connections in {found['seconds']:.0f} s; "
        f"refused: {refused}; memory {memory} MiB, threads {threads}; "
        f"{'the controller goes on' if found['survived'] else 'no tick went well afterwards'}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    write_json(to, found)
    fuzzing.check(found)
