"""Numbers of paths and trees, and the label that carries a number through the network.

Each path that a session's packets may take, there or back, gets a number, and keeps it for as long as any packet or
connection may name it: a packet that carries a label is delivered along its path whatever changes meanwhile. A number
that nothing names any more is retired (`controller.retire`); only when its rules are gone may it be given again.
The label is written into `eth_dst`:

    02:57 : route number (16 bits) : status (16 bits)

Where packets go through functions the label has their **stage** too, how many functions they have been through: it is
in the first six bits, 02 at stage 0, 06 at stage 1, 0a at stage 2.

The status is 0 on a path. On a tree it is 0 as the packet enters, and on every link the destinations that the copy
owes: bit d for destination d of the session. Of a session with more destinations each tree has several **parts**,
each with a number of its own: the status of part p holds destinations 16 p to 16 p + 15.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pricing.errors import RuleError

PREFIX = 0x0257
PREFIX_MATCH = ("02:57:00:00:00:00", "03:ff:00:00:00:00")
"""Labels of any stage: the two low bits of an address's first byte say that it is nobody's own, and no group's."""

REFUSED = 0xFFFE
"""In the place of a route: the packets of this slot are not let in. No packet carries it."""

LAST_NUMBER = 0xFFFD

STATUS_BITS = 16
"""Destinations that one label can tell apart."""

Copy = tuple[str, str, int]
"""A link's two ends, and the destinations that the copy on it owes, as bits; or a step's (`pricing.chains`)."""


@dataclass(frozen=True, order=True)
class Path:
    """A way through the network: the nodes that it visits, and the host at its end; or a part of a tree.

    Parameters
    ----------
    session : str
        Whose packets these are.
    back : bool
        Whether it is the way of answers.
    nodes : tuple of str
        At least one; of a tree its source alone.
    host : str
        Name of the host that receives the packets; none of a tree.
    copies : tuple of Copy
        All copies of a tree, each after the one that it comes from; statuses are over all destinations.
    part : int
        Which of the tree's parts it is.
    """

    session: str
    back: bool
    nodes: tuple[str, ...]
    host: str
    copies: tuple[Copy, ...] = ()
    part: int = 0

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Path:
        """The path of which JSON has the fields.

        Raises
        ------
        TypeError, ValueError, KeyError
            When it has not.
        """
        nodes, copies = (
            tuple(map(str, values["nodes"])),
            tuple((str(a), str(b), int(s)) for a, b, s in values["copies"]),
        )
        return cls(
            str(values["session"]), bool(values["back"]), nodes, str(values["host"]), copies, int(values["part"])
        )

    @cached_property
    def receivers(self) -> int:
        """How many hosts receive each of its packets; of a tree over all of its parts."""
        owed = 0
        for _, _, status in self.copies:
            owed |= status
        return owed.bit_count() or 1

    @cached_property
    def _hash(self) -> int:
        return hash((self.session, self.back, self.nodes, self.host, self.copies, self.part))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if self.copies:
            part = f" part {self.part}" if self.part else ""
            return f"{self.session} tree{part} {' '.join(f'{a}>{b}:{status:x}' for a, b, status in self.copies)}"
        return f"{self.session} {'back ' if self.back else ''}{'>'.join(self.nodes)}@{self.host}"


@dataclass(frozen=True, eq=False)
class Labels:
    """The numbers given: `paths[i]` has number i + 1, None is a retired one. The same object while nothing changes."""

    paths: tuple[Path | None, ...] = ()

    @cached_property
    def numbers(self) -> dict[Path, int]:
        """Number of each path."""
        return {path: number for number, path in enumerate(self.paths, 1) if path is not None}

    @cached_property
    def retired(self) -> frozenset[int]:
        """Numbers that were given, and name nothing now."""
        return frozenset(number for number, path in enumerate(self.paths, 1) if path is None)

    def given(self, paths: Iterable[Path], free: Set[int] = frozenset()) -> Labels:
        """These labels with numbers for `paths` too; those that have one keep it.

        Parameters
        ----------
        free : set of int
            Retired numbers that may be given again; the smallest first, before new ones.

        Raises
        ------
        RuleError
            When the numbers are used up.
        """
        new = sorted({path for path in paths if path not in self.numbers})
        if not new:
            return self
        result = list(self.paths)
        again = sorted(self.retired & free)[: len(new)]
        for number, path in zip(again, new, strict=False):
            result[number - 1] = path
        result += new[len(again) :]
        if len(result) > LAST_NUMBER:
            raise RuleError(f"{len(result)} paths: {LAST_NUMBER} can be numbered at a time; use fewer routes")
        return Labels(tuple(result))

    def without(self, numbers: Set[int]) -> Labels:
        """These labels with these numbers retired."""
        if not numbers:
            return self
        return Labels(tuple(None if number in numbers else path for number, path in enumerate(self.paths, 1)))

    def with_those_of(self, before: Labels) -> Labels:
        """These labels with the numbers that `before` had and these have retired."""
        old = before.paths + (None,) * (len(self.paths) - len(before.paths))
        if not self.retired - before.retired:
            return self
        return Labels(tuple(other if path is None else path for path, other in zip(self.paths, old, strict=True)))

    def path(self, number: int) -> Path:
        """The path that a number names.

        Raises
        ------
        RuleError
            When it names none.
        """
        path = self.paths[number - 1] if 0 < number <= len(self.paths) else None
        if path is None:
            raise RuleError(f"route number {number} names no path")
        return path


def first_byte(stage: int) -> int:
    """The first byte of a label at a stage, from 0 to 63."""
    return (PREFIX >> 8) + 4 * stage


def label(number: int, status: int = 0, stage: int = 0) -> str:
    """The label of a route number, a status and a stage, as a MAC address.

    >>> label(258), label(258, 5), label(258, 5, 2)
    ('02:57:01:02:00:00', '02:57:01:02:00:05', '0a:57:01:02:00:05')
    """
    value = (first_byte(stage) << 40) | ((PREFIX & 0xFF) << 32) | (number << 16) | status
    return ":".join(f"{(value >> shift) & 0xFF:02x}" for shift in range(40, -1, -8))
