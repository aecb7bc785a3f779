"""The README says what is: its map, commands, equations, symbols and metrics are held against the code."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from controller.metrics import METRICS, table
from experiments.commands import reference as commands
from experiments.commands.cli import app

HOME = Path(__file__).resolve().parent.parent
README = (HOME / "README.md").read_text()
ROOMS = ("pricing", "controller", "topologies", "experiments")
LAUNCHER = {"setup", "test"}
"""Commands that the launcher has beside the command line's."""


def section(title: str) -> str:
    """The text under a heading of the README."""
    parts = re.split(r"^## (.+)\n", README, flags=re.MULTILINE)
    return parts[parts.index(title) + 1]


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def find(dotted: str) -> Any:
    """What a dotted name means: the longest module, then attributes or fields."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            names = [field.name for field in dataclasses.fields(found)] if dataclasses.is_dataclass(found) else []
            found = getattr(found, part, part) if part in names else getattr(found, part)
        return found
    raise AssertionError(f"{dotted}: no such module")


def test_map_is_the_tree() -> None:
    room, mapped = "", set()
    for line in section("The map of the code").split("```")[1].splitlines():
        name = line.split()[0] if line.strip() else ""
        if name and not line.startswith(" "):
            room = name
            assert (HOME / room).is_dir(), f"{room} is on the map only"
        elif name:
            assert (HOME / room / name).exists(), f"{room}{name} is on the map only"
            mapped.add(f"{room}{name}")
    rooms = [HOME / room for room in ROOMS]
    things = {file for room in rooms for file in room.glob("*.py") if file.name != "__init__.py"}
    things |= {init.parent for room in rooms for init in room.glob("*/__init__.py")}
    names = {f"{thing.relative_to(HOME)}{'/' if thing.is_dir() else ''}" for thing in things}
    assert names <= mapped, "a folder or module that the map lacks"


def test_commands_exist() -> None:
    importlib.import_module("experiments.__main__")  # adds every command to the app
    group: Any = typer.main.get_command(app)
    shown = re.findall(r"bin/wardrop ([a-z]+)((?: [\w.-]+)*)", README)
    assert {name for name, _ in shown} == set(group.commands) | LAUNCHER
    for name, rest in shown:
        known = {option for parameter in group.commands[name].params for option in parameter.opts} if rest else set()
        assert set(re.findall(r"--[\w-]+", rest)) <= known


@pytest.mark.parametrize("dotted", [re.findall(r"`(.+?)`", row[-1])[0] for row in rows("From equation to function")])
def test_equations_have_functions(dotted: str) -> None:
    assert callable(find(dotted))


@pytest.mark.parametrize("row", rows("From symbol to metric"), ids=lambda row: row[1])
def test_symbols_have_attributes_and_metrics(row: list[str]) -> None:
    find(row[1].strip("`"))
    if row[3]:
        assert row[3].strip("`") in {metric.name for metric in METRICS}


def test_reference_of_the_commands_is_theirs() -> None:
    made = (HOME / "docs/reference/commands.md").read_text()
    assert made == commands.page(), "python -m experiments.commands.reference > docs/reference/commands.md"


def test_metrics_are_those_declared() -> None:
    assert table().strip() in section("Metrics")


@pytest.mark.parametrize("page", ["README.md", "docs/README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (HOME / page).read_text()
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    targets += [f"/{path}" for path in re.findall(r"`((?:docs|tests|bin)/[\w./-]+)`", text)]
    missing = [t for t in targets if not (HOME / t[1:] if t[0] == "/" else (HOME / page).parent / t).exists()]
    assert not missing
