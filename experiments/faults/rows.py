"""What a row of the table is: what is done, the figures that are measured, and the bounds that they must keep.

A row is passed when every figure keeps its bounds. A figure that was never seen is None, and keeps none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.faults.ground import Ground
    from experiments.running.phase import Traffic

Figures = Mapping[str, float | None]
"""Measured figures by name; None for what was never seen."""


@dataclass(frozen=True)
class Figure:
    """One figure of a row.

    Parameters
    ----------
    name : str
    unit : str
    meaning : str
        In words, for the table and the documentation.
    least, most : float, optional
        Its bounds; without them it is told and not judged.
    timing : bool
        Whether it depends on how quiet the machine is.
    """

    name: str
    unit: str
    meaning: str
    least: float | None = None
    most: float | None = None
    timing: bool = False

    def holds(self, value: float | None) -> bool:
        """Whether a value keeps the bounds."""
        if self.least is None and self.most is None:
            return True
        if value is None:
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def bound(self) -> str:
        """The bounds in signs; empty without any."""
        if self.least is not None and self.least == self.most:
            return f"= {self.least:g}"
        parts = [("≥", self.least), ("≤", self.most)]
        return ", ".join(f"{sign} {value:g}" for sign, value in parts if value is not None)


@dataclass(frozen=True)
class Seen:
    """What was seen while a row was run.

    Parameters
    ----------
    figures : mapping of str to float or None
    moment : float, optional
        Unix time, s, of the fault, from which the last packet lost is counted.
    later : callable, optional
        More figures, which only the logs of traffic that has ended tell.
    """

    figures: Figures
    moment: float | None = None
    later: Callable[[Traffic], Figures] = lambda _: {}


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Parameters
    ----------
    name : str
    done, wanted : str
        What is done, and what must be seen, in words.
    figures : tuple of Figure
    run : callable
        Does it, to a network under load.
    """

    name: str
    done: str
    wanted: str
    figures: tuple[Figure, ...]
    run: Callable[[Ground], Seen]


@dataclass(frozen=True)
class Outcome:
    """A row that was run, with all of its figures; and why it could not be run to its end, where it could not."""

    row: Row
    figures: Figures = field(default_factory=dict)
    error: str = ""

    @property
    def broken(self) -> tuple[Figure, ...]:
        """The figures that do not keep their bounds."""
        return tuple(figure for figure in self.row.figures if not figure.holds(self.figures.get(figure.name)))

    @property
    def passed(self) -> bool:
        """Whether all do, and it came to its end."""
        return not self.broken and not self.error

    def as_json(self) -> dict[str, Any]:
        """An entry of `faults`."""
        figures = {figure.name: self.figures.get(figure.name) for figure in self.row.figures}
        entry = {"name": self.row.name, "passed": self.passed, "figures": figures}
        return entry | ({"error": self.error} if self.error else {})


PACKETS = Figure("packets", "packets", "requests sent while the row was run")
LOST = Figure("lost", "packets", "of these, requests that were never answered")
NONE_LOST = Figure("lost", "packets", "of these, requests that were never answered", most=0)
NONE_TWICE = Figure("duplicated", "packets", "of these, requests that were answered more than once", most=0)
STEAL = Figure("steal", "ratio", "CPU time that the hypervisor took meanwhile: figures of time suffer from it")
