"""The command line: `bin/wardrop COMMAND`, which is `python -m experiments COMMAND`.

Here are the commands that need neither root nor emulation: `list`, `check` and `solve`. Modules that add others to
`app` are named in `experiments.__main__`. What is heavy to import is imported inside the commands, so that `--help`
answers at once. A `WardropError` ends a command with its message on stderr and its exit code.

Fields of `--json FILE`, all in SI units:

| command | field | what |
|---|---|---|
| list | `scenarios` | [{`name`, `title`, `path`}] |
|  | `policies` | [{`name`, `summary`}] |
| check | `file`, `problems` | what was checked, and a list of sentences: empty when all is well |
|  | `name`, `nodes`, `links`, `servers`, `sessions` | its name and how many it has of each, when all is well |
|  | `packets_per_s`, `server_load` | requests offered; work offered over the servers' sum, null without servers |
| solve | | see `experiments.commands.solution` |
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.places import file_to_write, give_back
from pricing.errors import ScenarioError, WardropError

if TYPE_CHECKING:
    from rich.console import Console

    from pricing.network import Network

app = typer.Typer(
    name="wardrop",
    help="Congestion pricing you can watch on real packets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SCENARIOS, THEORY, PACKETS, FOUND, SECURITY = (
    "Scenarios",
    "By theory and simulation",
    "On packets, as root",
    "What runs, and what has run",
    "Security",
)
"""The groups of `--help`."""

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A scenario's name (see `list`), or the path of a scenario file.")
]
PolicyOption = Annotated[
    str, typer.Option("--policy", metavar="P", help="How routes are decided (see `list`), or FILE.py:FUNCTION.")
]
LoadOption = Annotated[
    float | None,
    typer.Option("--load", metavar="RHO", help="Scale the servers to RHO of their sum, or the demand to RHO of links."),
]
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the result to FILE as JSON.",
        callback=lambda path: file_to_write(path, "--json"),
    ),
]


def main() -> None:
    """Run the command line; ends the process."""
    try:
        app(prog_name="wardrop")
    except WardropError as error:
        print(f"wardrop: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


@app.command("list", rich_help_panel=SCENARIOS)
def list_everything(to: JsonOption = None) -> None:
    """Show the scenarios and policies there are, a line each."""
    from pricing.policy import POLICIES
    from topologies.families import choice
    from topologies.scenario import load, names

    scenarios = [(name, load(name)) for name in names()]
    found = {
        "scenarios": [{"name": n, "title": s.title + choice(n), "path": str(s.path)} for n, s in scenarios],
        "policies": [{"name": policy.name, "summary": policy.summary} for policy in POLICIES.values()],
    }
    width = 2 + max(len(row["name"]) for rows in found.values() for row in rows)
    screen = console()
    for heading, key in (("scenarios", "title"), ("policies", "summary")):
        screen.print(heading, style="bold")
        for row in found[heading]:
            screen.print(f"  {row['name']:<{width}}{row[key]}", soft_wrap=True, highlight=False, markup=False)
    write_json(to, found)


@app.command(rich_help_panel=SCENARIOS)
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A scenario file, or a scenario's name.")],
    to: JsonOption = None,
) -> None:
    """Check a scenario file; every problem is reported at once."""
    from topologies.scenario import load

    try:
        scenario = load(file)
    except ScenarioError as error:
        write_json(to, {"file": file, "problems": error.problems})
        raise
    network = scenario.network
    counts = {part: len(getattr(network, part)) for part in ("nodes", "links", "servers", "sessions")}
    packets, server_load = _offered(network)
    facts = [*(f"{count} {part.removesuffix('s') if count == 1 else part}" for part, count in counts.items())]
    facts.append(f"{packets:,.0f} packets/s")
    if server_load is not None:
        facts.append(f"servers loaded to {server_load:.3f} of their sum")
    console().print(f"{file}: all is well: {', '.join(facts)}", soft_wrap=True, highlight=False, markup=False)
    found = {"file": file, "problems": [], "name": scenario.name, **counts}
    write_json(to, {**found, "packets_per_s": packets, "server_load": server_load})


@app.command("solve", rich_help_panel=THEORY)
def solve_scenario(
    scenario: ScenarioArgument,
    policy: PolicyOption = "joint",
    load: LoadOption = None,
    propagation: Annotated[
        bool, typer.Option(help="Count the links' propagation, which not every kernel can emulate.")
    ] = True,
    to: JsonOption = None,
) -> None:
    """Show what the model says of a policy: splits, loads, delays and prices, with a certificate. Needs no root.

    Where users choose, each option is at the rate of the best equilibrium found.
    """
    from experiments.commands.solution import as_json, resting, show, show_rest, without_propagation
    from pricing.own import named
    from pricing.policy import solve
    from topologies import scenario as scenarios

    chosen = named(policy)
    found = scenarios.load(scenario, load)
    if not propagation:
        found = replace(found, network=without_propagation(found.network))
    with console(stderr=True).status(f"{found.name}: {chosen.name}"):
        rest = resting(found, chosen.name)
        network = rest.network if rest else found.network
        solution = solve(network, chosen)
    show(network, solution, console())
    users = show_rest(network, solution, rest, console()) if rest or chosen.name == "joint-priority" else None
    write_json(to, {**as_json(network, solution), "users": users, "load": load, "propagation": propagation})


def together(*checks: Callable[[], Any]) -> list[Any]:
    """What every check returns.

    Raises
    ------
    WardropError
        Of each check that raised one: all of them in one.
    """
    found, errors = [], []
    for check_one in checks:
        try:
            found.append(check_one())
        except WardropError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise WardropError("\n".join(map(str, errors)))
    return found


def policies_in(text: str, known: Callable[[str], object]) -> tuple[list[str], list[str]]:
    """The names in `--policy A,B`, and what is wrong with them: what `known` refuses, or that there is none."""
    names, problems = [name.strip() for name in text.split(",") if name.strip()], []
    for name in names:
        try:
            known(name)
        except WardropError as error:
            problems.append(f"--policy: {error}")
    return names, problems if names else ["--policy: none given; see `bin/wardrop list`"]


def console(stderr: bool = False) -> Console:
    """A console for people; wide enough for tables where the output is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 140, emoji=False)


def write_json(path: Path | None, data: Any) -> None:
    """Write `data` to `path` where one is given, for the user who called; its numbers are finite.

    Raises
    ------
    WardropError
        When the file cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise WardropError(f"--json {path}: {error.strerror}; a file that can be written is accepted") from error
    give_back(path)


def _offered(network: Network) -> tuple[float, float | None]:
    """Requests/s offered, and the least work that they are over the sum of the servers' capacities.

    A packet goes through each function of a chain at least once.
    """
    tasks = {
        session: session.work if session.kind == "anycast" else sum(function.work for function in session.chain)
        for session in network.sessions
    }
    work = sum(session.packet_rate * each for session, each in tasks.items())
    capacity = sum(server.capacity for server in network.servers)
    return sum(session.packet_rate for session in network.sessions), work / capacity if capacity else None
