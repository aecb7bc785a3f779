"""Scenarios with a parameter: `star(5)`, `fat-tree(4)`, `mec-grid(3)`, each a template in the library.

A scenario of a family is written NAME(NUMBER), in quotes where a shell reads parentheses, or NAME-NUMBER, which is the
scenario's own name; NAME alone takes the usual number. A template is a scenario file in Jinja
(`topologies/library/NAME.yaml.j2`), filled in with the number and checked like any other file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pricing.errors import ScenarioError

LIBRARY = Path(__file__).parent / "library"
"""Where the scenarios live that come with Wardrop."""


@dataclass(frozen=True)
class Family:
    """What a parameter is called and means, its usual value, and the values accepted."""

    parameter: str
    means: str
    usual: int
    accepted: range

    @property
    def bounds(self) -> str:
        """The values accepted, in words."""
        kind = "an even number" if self.accepted.step == 2 else "a whole number"
        return f"{kind} from {self.accepted[0]} to {self.accepted[-1]}"


FAMILIES: Mapping[str, Family] = {
    "fat-tree": Family("k", "ports of a switch", 4, range(4, 9, 2)),
    "mec-grid": Family("m", "edge servers along a side", 3, range(2, 6)),
    "star": Family("n", "leaves", 5, range(3, 25)),
}
"""Every family, sorted by name."""


def split(text: str) -> tuple[str, int] | None:
    """Family and number that a name means, or None where it means no family.

    Raises
    ------
    ScenarioError
        When the family does not have that number.

    Examples
    --------
    >>> split("star(7)"), split("star-7"), split("star"), split("abilene")
    (('star', 7), ('star', 7), ('star', 5), None)
    """
    match = re.fullmatch(r"([A-Za-z-]+?)(?:\(\s*(.*?)\s*\)|-(\d+))?", text)
    if match is None or match[1] not in FAMILIES:
        return None
    family = FAMILIES[match[1]]
    found = match[2] if match[2] is not None else match[3]
    if found is None:
        return match[1], family.usual
    number = int(found) if re.fullmatch(r"\d{1,6}", found) else None
    if number is None or number not in family.accepted:
        accepted = f"accepted: {family.bounds}, such as {match[1]}({family.usual})"
        raise ScenarioError(text, [f"{family.parameter} ({family.means}): found {found!r}; {accepted}"])
    return match[1], number


def usual_names() -> list[str]:
    """Each family with its usual number, as it is written."""
    return [f"{name}({family.usual})" for name, family in FAMILIES.items()]


def choice(name: str) -> str:
    """What a family's number may be, to put behind its title; nothing for another scenario."""
    family = FAMILIES.get(name.partition("(")[0])
    return f" ({family.parameter}: {family.means}, {family.bounds})" if family else ""


def template(name: str) -> Path:
    """The file of a family."""
    return LIBRARY / f"{name}.yaml.j2"


def filled(name: str, number: int) -> str:
    """The text of a family's scenario."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    text = template(name).read_text(encoding="utf-8")
    return environment.from_string(text).render({FAMILIES[name].parameter: number})
