"""A web page that says which server sent it: `python -m topologies.hosts.web CONFIG.json`.

The configuration holds `server` (its name) and `address` (of the service); the page is on TCP port 80. Under
`/bytes/N` there is a file of N bytes, for downloads that take a while.
"""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

PORT = 80

CHUNK = bytes(1 << 14)
"""What a file is made of."""


def handler(server: str) -> type[BaseHTTPRequestHandler]:
    """A handler whose every page names `server`, in its text and in the header `X-Server`."""
    page = f"<!doctype html>\n<title>Wardrop</title>\n<p>You were served by <strong>{server}</strong>.</p>\n".encode()

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            folder, _, size = self.path.rpartition("/")
            if folder == "/bytes" and size.isdecimal():
                self._head("application/octet-stream", left := int(size))
                while left:
                    left -= self.wfile.write(CHUNK[:left])
            else:
                self._head("text/html; charset=utf-8", len(page))
                self.wfile.write(page)

        def _head(self, kind: str, length: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length))
            self.send_header("X-Server", server)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the run directory is no place for access logs."""

    return Page


class Server(ThreadingHTTPServer):
    """A server that does not ask a name server, which no host has, for its own name."""

    def server_bind(self) -> None:
        """Bind, and be called by the address."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), PORT


def main(config: Path) -> int:
    """Serve the page until SIGTERM; the exit status."""
    values = json.loads(config.read_text())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Server((values["address"], PORT), handler(values["server"])) as server:
            print("ready", flush=True)
            server.serve_forever()
    except OSError as error:
        print(f"web page of {values['server']}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
