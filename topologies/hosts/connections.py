"""Connections that are kept open: `python -m topologies.hosts.connections CONFIG.json`.

Over each of them a page of `topologies.hosts.web` is asked for again and again; its header says which server sent it.
The configuration holds `address`, `connections` (how many), `period` (s between two rounds) and `log`. On SIGTERM
`log` is written: `pages` that came, `moved` that another server sent than the connection's first, and `broken`, the
connections that ended.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from topologies.hosts.logs import save_summary

TIMEOUT_S = 5.0
"""Longest wait for a page; then its connection counts as broken (ours)."""


class Connections:
    """The open connections, and what came over them."""

    def __init__(self, address: str, connections: int) -> None:
        self.pages = self.moved = self.broken = 0
        self.open: dict[HTTPConnection, str] = {}
        self.stopping = False
        for _ in range(connections):
            connection = HTTPConnection(address, timeout=TIMEOUT_S)
            connection.connect()
            connection.auto_open = 0  # one that has ended must not come back as another
            self.open[connection] = ""

    def round(self) -> None:
        """Ask once over every connection."""
        for connection, first in list(self.open.items()):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException):
                self.broken += 1
                del self.open[connection]
                continue
            server = answer.headers.get("X-Server", "")
            self.open[connection] = first or server
            self.pages += 1
            self.moved += server != (first or server)

    def stop(self, *_: object) -> None:
        """End: a signal handler."""
        self.stopping = True


def main(config: Path) -> int:
    """Ask until SIGTERM; the exit status."""
    values = json.loads(config.read_text())
    try:
        connections = Connections(values["address"], values["connections"])
    except OSError as error:
        print(f"connections: {values['address']}: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, connections.stop)
    print("ready", flush=True)
    while not connections.stopping:
        connections.round()
        time.sleep(values["period"])
    found = {"pages": connections.pages, "moved": connections.moved, "broken": connections.broken}
    save_summary(Path(values["log"]), found)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
