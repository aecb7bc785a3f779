"""The HTTP answer to a scrape: GET /metrics on a socket that is open already."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST


def serve(server: socket.socket, text: Callable[[], bytes], spawn: Callable[..., None]) -> None:
    """Answer scrapes at a listening socket; returns at once."""

    class Scrape(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            found = self.path.split("?")[0] == "/metrics"
            body = text() if found else b"the metrics are at /metrics\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST if found else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Scrapes are not news."""

    def answer(connection: socket.socket, address: Any) -> None:
        with connection:
            # The handler serves in its constructor, and asks its server for nothing.
            Scrape(connection, address, None)  # type: ignore[arg-type]

    def accept() -> None:
        while True:
            spawn(answer, *server.accept())

    spawn(accept)
