"""The server of a run's page and API: a thread of the run's process, on a socket that is open before the run begins.

Its threads are started before the run enters its network namespace, so they and the socket stay in the machine's own.
"""

from __future__ import annotations

import threading
from types import TracebackType

import uvicorn

from controller.addresses import guarded, listen
from experiments.observing.api import make_app
from experiments.observing.feed import Feed

END_S = 2
"""Longest wait for readers when the run ends (ours)."""


class PageServer:
    """Page and API of a run, for the length of a `with` block.

    Parameters
    ----------
    feed : Feed
    address : str
        HOST:PORT; port 0 is any free one.
    token : str, optional
        What changes need. Without it, only the loopback is served.

    Attributes
    ----------
    url : str
        Where people find the page.

    Raises
    ------
    WardropError
        When the address is taken or none of ours, or others could reach it and there is no token.
    """

    def __init__(self, feed: Feed, address: str, token: str | None = None) -> None:
        host, port = guarded(address, "--page", token)
        self.feed = feed
        self._socket = listen((host, port), "--page")
        self.url = f"http://{host}:{self._socket.getsockname()[1]}/"
        config = uvicorn.Config(
            make_app(feed, token),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=END_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="page", daemon=True)

    def __enter__(self) -> PageServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.feed.close()
        self._server.should_exit = True
        self._thread.join(END_S + 1)
        self._socket.close()
