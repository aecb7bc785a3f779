"""Numbers of paths, and the label that carries a number through the network.

Each path that a session's packets may take, there or back, gets a number once and keeps it for the life of the run: a
label never changes its meaning, so a packet that carries one is delivered along that path whatever changes meanwhile.
The label is written into `eth_dst`:

    02:57 : route number (16 bits) : status (16 bits, 0 for one destination)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pricing.errors import RuleError

PREFIX = 0x0257
PREFIX_MATCH = ("02:57:00:00:00:00", "ff:ff:00:00:00:00")
REFUSED = 0xFFFE
"""In the place of a route: the packets of this slot are not let in. No packet carries it."""

LAST_NUMBER = 0xFFFD


@dataclass(frozen=True, order=True)
class Path:
    """A way through the network: the nodes that it visits, and the host at its end.

    Parameters
    ----------
    session : str
        Whose packets these are.
    back : bool
        Whether it is the way of answers.
    nodes : tuple of str
        At least one.
    host : str
        Name of the host that receives the packets.
    """

    session: str
    back: bool
    nodes: tuple[str, ...]
    host: str

    @cached_property
    def _hash(self) -> int:
        return hash((self.session, self.back, self.nodes, self.host))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return f"{self.session} {'back ' if self.back else ''}{'>'.join(self.nodes)}@{self.host}"


@dataclass(frozen=True, eq=False)
class Labels:
    """The numbers given so far: `paths[i]` has number i + 1. The same object while no path is added."""

    paths: tuple[Path, ...] = ()

    @cached_property
    def numbers(self) -> dict[Path, int]:
        """Number of each path."""
        return {path: number for number, path in enumerate(self.paths, 1)}

    def given(self, paths: Iterable[Path]) -> Labels:
        """These labels with numbers for `paths` too; numbers once given stay.

        Raises
        ------
        RuleError
            When the numbers are used up.
        """
        new = sorted({path for path in paths if path not in self.numbers})
        if not new:
            return self
        if len(self.paths) + len(new) > LAST_NUMBER:
            raise RuleError(f"{len(self.paths) + len(new)} paths: a run can number {LAST_NUMBER}; start it anew")
        return Labels(self.paths + tuple(new))

    def path(self, number: int) -> Path:
        """The path that a number names."""
        return self.paths[number - 1]


def label(number: int) -> str:
    """The label of a route number, as a MAC address.

    >>> label(258)
    '02:57:01:02:00:00'
    """
    value = (PREFIX << 32) | (number << 16)
    return ":".join(f"{(value >> shift) & 0xFF:02x}" for shift in range(40, -1, -8))
