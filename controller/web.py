"""The HTTP answer to a scrape: GET /metrics on a socket that is open already, with a token where one is set."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any


def serve(
    server: socket.socket,
    scrape: Callable[[str], tuple[str, bytes]],
    spawn: Callable[..., None],
    token: str | None = None,
) -> None:
    """Answer scrapes at a listening socket, those that carry the token where there is one; returns at once."""

    class Scrape(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "").encode()
            known = not token or secrets.compare_digest(given, f"Bearer {token}".encode())
            found = self.path.split("?")[0] == "/metrics"
            said = b"the metrics are at /metrics\n" if known else b"Authorization: Bearer TOKEN is needed\n"
            accept = self.headers.get("Accept", "")
            kind, body = scrape(accept) if known and found else ("text/plain", said)
            self.send_response((200 if found else 404) if known else 401)
            self.send_header("Content-Type", kind)
            if not known:
                self.send_header("WWW-Authenticate", "Bearer")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Scrapes are not news."""

    def answer(connection: socket.socket, address: Any) -> None:
        with connection, suppress(ConnectionError):  # a scraper that goes in the middle of its answer
            # The handler serves in its constructor, and asks its server for nothing.
            Scrape(connection, address, None)  # type: ignore[arg-type]

    def accept() -> None:
        while True:
            try:
                spawn(answer, *server.accept())
            except OSError:  # no descriptor left, or the reader has gone already
                time.sleep(0.1)

    spawn(accept)
