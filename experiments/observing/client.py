"""A reader of a run's API: its network, and its ticks as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.request import ProxyHandler, build_opener

from pricing.errors import WardropError
from pricing.network import FRAME_OVERHEAD_BITS, Link, Network, Node, Server, Session, SizeLaw

SILENCE_S = 30.0
"""Longest silence of a run (ours): without a tick it sends a comment every 15 s."""


class Client:
    """The API at an address.

    Parameters
    ----------
    address : str
        'HOST:PORT', or the address of the page.
    """

    def __init__(self, address: str) -> None:
        self.url = (address if "://" in address else f"http://{address}").rstrip("/")

    def network(self) -> tuple[Network, str]:
        """The network that runs, and what is run in words. Packets have the fixed size of their mean."""
        facts = self._json("/api/network")
        sessions = tuple(
            Session(
                name=each["name"],
                source=each["source"],
                kind=each["kind"],
                destinations=tuple(each["destinations"]),
                rate=each["rate"],
                size=SizeLaw("fixed", (each["frame_bits"] - FRAME_OVERHEAD_BITS) / 8),
                group=each["group"],
                joined=each["joined"],
            )
            for each in facts["sessions"]
        )
        nodes = tuple(Node(each["name"], each["latitude"], each["longitude"]) for each in facts["nodes"])
        links = tuple(Link(each["src"], each["dst"], each["capacity"], each["propagation"]) for each in facts["links"])
        servers = tuple(Server(each["name"], each["node"], each["capacity"]) for each in facts["servers"])
        return Network(facts["name"], nodes, links, servers, sessions), facts["title"]

    def ticks(self) -> Iterator[dict[str, Any]]:
        """Each tick as it comes, from the newest on, until the run ends."""
        with self._open("/api/ticks") as stream:
            try:
                for line in stream:
                    field, _, value = line.decode().partition(":")
                    if field == "data":
                        yield json.loads(value)
            except (OSError, HTTPException):  # the run was ended rather than ending
                return

    def _json(self, path: str) -> Any:
        with self._open(path) as answer:
            try:
                return json.load(answer)
            except ValueError as error:
                raise WardropError(f"{self.url}: no run of Wardrop answers there ({error})") from error

    def _open(self, path: str) -> HTTPResponse:
        try:
            # A run is on this machine, or at the end of a tunnel: no proxy knows the way.
            answer: HTTPResponse = build_opener(ProxyHandler({})).open(self.url + path, timeout=SILENCE_S)
        except (OSError, ValueError, HTTPException) as error:
            raise WardropError(
                f"{self.url}: no run of Wardrop answers there ({getattr(error, 'reason', error)}); "
                "`bin/wardrop run` and `demo` print their page's address in their first lines, give that"
            ) from error
        return answer
