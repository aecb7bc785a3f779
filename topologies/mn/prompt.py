"""Mininet's prompt with our commands, for `mn`."""

from __future__ import annotations

import time
from typing import Any

from mininet.cli import CLI
from mininet.log import info

from topologies.board import Board, Commands
from topologies.faults import Faults
from topologies.mn.control import Priced
from topologies.mn.survey import survey
from topologies.namespaces import run

READY_S = 30.0
"""Longest wait for the first rules (ours)."""


def board(net: Any) -> Board:
    """What the prompt of a network of Mininet's sees and does; once it is started the same each time: faults last."""
    if not hasattr(net, "board"):
        found = survey()
        controller = next((each for each in net.controllers if isinstance(each, Priced)), None)
        pids = {name: host.pid for name, host in found.hosts.items()}
        directory = controller.directory if controller else None
        seen = Board(Faults(found.wiring, run), found.addresses, pids, directory)
        if controller and directory is None:  # what `--pre` runs comes before the start
            return seen
        net.board = seen
    known: Board = net.board
    return known


def wait_ready(net: Any) -> None:
    """Wait until the controller `priced`, where there is one, has installed its first rules."""
    deadline = time.monotonic() + READY_S
    for controller in net.controllers:
        if isinstance(controller, Priced) and controller.directory and not controller.ready:
            info("*** Waiting for the first rules\n")
            while not controller.ready and time.monotonic() < deadline:
                time.sleep(0.2)


class PricedCLI(Commands, CLI):  # type: ignore[misc]
    """Mininet's prompt with `prices`, `splits`, `routes`, `gap`, `trace`, `fail` and `heal`; names may have hyphens."""

    identchars = CLI.identchars + "-"

    def __init__(self, mininet: Any, *arguments: Any, **options: Any) -> None:
        self.board = lambda: board(mininet)
        wait_ready(mininet)
        super().__init__(mininet, *arguments, **options)
