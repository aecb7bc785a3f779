"""What must outlive a controller that is killed: which path each number names, in a file beside the record.

The rules on the switches say nearly everything; what they cannot say is the session of a label that no slot names any
more. So the meaning of every number is written down before the first rule that carries it is sent, by one atomic
replacement of the file. Whoever starts next with the same network, plant and slots reads it and goes on.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

from controller.fabric import Fabric
from controller.labels import LAST_NUMBER, Labels
from controller.labels import Path as Way
from pricing.errors import InstallError


class Ledger:
    """The file of one fabric's numbers.

    Parameters
    ----------
    path : Path
    fabric : Fabric
        Numbers of another network, plant or number of slots mean nothing here.
    """

    def __init__(self, path: Path, fabric: Fabric) -> None:
        self.path = path
        same = repr((fabric.network, fabric.plant, fabric.slots)).encode()
        self._of = blake2b(same, digest_size=8).hexdigest()

    def read(self) -> Labels | None:
        """The numbers that were written last; None where there are none of this fabric, or the file is damaged."""
        try:
            found = json.loads(self.path.read_text())
            if found["of"] != self._of:
                return None
            paths: list[Way | None] = [None] * max(map(int, found["numbers"]), default=0)
            if len(paths) > LAST_NUMBER:
                return None
            for number, values in found["numbers"].items():
                paths[int(number) - 1] = Way.read(values)
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            return None
        return Labels(tuple(paths))

    def write(self, labels: Labels) -> None:
        """Write the numbers down, whole or not at all.

        Raises
        ------
        InstallError
            When the file cannot be written: rules whose meaning would be lost are not sent.
        """
        numbers = {number: asdict(way) for way, number in labels.numbers.items()}
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            beside.write_text(json.dumps({"of": self._of, "numbers": numbers}))
            beside.replace(self.path)
        except OSError as error:
            raise InstallError(f"{self.path}: {error.strerror}; the record's folder must take files") from error
