"""Which route each packet of a run took: the rules in force when it was sent, and the slot of its flow.

The ingress switch sends a packet to a slot by the hash of its addresses and ports, and the slot's rule names the route.
The hash is known (`controller.hashing`), and the controller's record says which slots had which route from when on; so
the route of every packet that a sender logged is known without looking at a single switch. A slot may have no route:
what it carries is refused at the ingress, as a market sheds demand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from controller.labels import REFUSED
from pricing.errors import MeasurementError
from pricing.network import Network, Route
from pricing.simulate.loop import IntArray
from pricing.values import FloatArray
from topologies.hosts.logs import SECOND

NOWHERE = -1
"""In place of a route: refused at the ingress."""


@dataclass(frozen=True)
class Choices:
    """Which route each flow of one session took, and since when.

    Parameters
    ----------
    routes : tuple of Route
    installed : array of shape (C,)
        When each table came into force, s of CLOCK_REALTIME, ascending. The first holds for what was sent before, too.
    tables : array of shape (C, S)
        Index into `routes` for each slot; `NOWHERE` for what is refused.
    slot : array of shape (F,)
        The slot of each flow.
    """

    routes: tuple[Route, ...]
    installed: FloatArray
    tables: IntArray
    slot: IntArray

    @classmethod
    def fixed(cls, routes: Sequence[Route]) -> Choices:
        """One route for each flow, all the time."""
        known = tuple(dict.fromkeys(routes))
        table = np.array([[known.index(route) for route in routes]], dtype=np.int64)
        return cls(known, np.zeros(1), table, np.arange(len(routes)))

    @classmethod
    def recorded(
        cls, network: Network, session: str, records: Iterable[Mapping[str, Any]], slot: Sequence[int] | IntArray
    ) -> Choices:
        """From the lines of the controller's record, in order; those without `slots` of the session are passed over.

        Parameters
        ----------
        slot : sequence of int
            The slot to which the switch's hash sends each flow (`controller.hashing.slots_of`).

        Raises
        ------
        MeasurementError
            When the record holds no slots of the session.
        """
        names = {str(REFUSED): ""}
        tables: list[list[str]] = []
        installed: list[float] = []
        for record in records:
            names |= {str(number): str(path["route"]) for number, path in record.get("routes", {}).items()}
            if session in record.get("slots", {}):
                tables.append([names[str(number)] for number in record["slots"][session]])
                installed.append(float(record["installed"]))
        if not tables:
            raise MeasurementError(
                f"session {session}: the controller's record has no slots of it; start it with --record"
            )
        texts = [text for text in dict.fromkeys(text for table in tables for text in table) if text]
        known = {"": NOWHERE} | {text: index for index, text in enumerate(texts)}
        return cls(
            tuple(parse_route(network, session, text) for text in texts),
            np.array(installed),
            np.array([[known[text] for text in table] for table in tables], dtype=np.int64),
            np.asarray(slot, dtype=np.int64),
        )

    def take(self, sent: IntArray, flow: IntArray) -> IntArray:
        """Index of the route of each packet, or `NOWHERE`: sent (n,) in ns, flow (n,)."""
        since = np.rint(self.installed * SECOND).astype(np.int64)
        table = np.maximum(np.searchsorted(since, sent, side="right") - 1, 0)
        return self.tables[table, self.slot[flow]]


def parse_route(network: Network, session: str, text: str) -> Route:
    """The route that `str(route)` wrote: nodes joined by `>`, and `@server`; or a tree's links with their statuses.

    What follows `@` and is no server of the network (the host of a unicast session) is passed over.

    >>> from pricing.network import Link, Node, Server
    >>> small = Network("small", (Node("a"), Node("b")), (Link("a", "b", 1e6),), (Server("s", "b", 1.0),), ())
    >>> parse_route(small, "k", "a>b@s")
    Route(session='k', links=(('a', 'b'),), server='s')
    """
    if "{" in text:
        copies = [copy.removesuffix("}").partition("{") for copy in text.split(" ")]
        ends = (link.partition(">") for link, _, _ in copies)
        links = tuple((src, dst) for src, _, dst in ends)
        return Route(session, links, statuses=tuple(tuple(status.split(",")) for _, _, status in copies))
    way, _, end = text.removeprefix(f"{session} ").partition("@")
    return Route(session, tuple(pairwise(way.split(">"))), end if end in network.server_index else "")
