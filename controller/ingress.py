"""The part of the controller that stands at one ingress: source agents ask it, and it knows nothing of any other.

A source agent asks for a split of a session that enters here, or only for what is carried:

    {"session": "seattle"}
    {"session": "seattle", "split": [[["Seattle", "Sunnyvale"], "west", 0.7], ...]}

and is told the offered rate that this ingress estimates, and the split in force since when:

    {"rate": 235000.0, "since": 1760000000.0, "split": [[nodes, server, weight], ...]}

What is asked is checked, kept, and handed to the next tick, which installs it. On a network of real switches this
would be the ingress's own agent; here it listens at a Unix socket of its own, `ingress-DPID.sock`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from controller.fabric import Fabric
from pricing.asked import Split
from pricing.errors import WardropError
from pricing.network import Allocation, Route, Session
from pricing.problem import make_allocation, problem_of

MOST_ROUTES = 64
"""Routes that one split may have (ours)."""


class Ingress:
    """What one node knows of the sessions that enter there.

    Parameters
    ----------
    fabric : Fabric
    node : str
    """

    def __init__(self, fabric: Fabric, node: str) -> None:
        self.fabric, self.node = fabric, node
        self.sessions = {session.name: session for session in fabric.network.sessions if session.source == node}
        self._asked: dict[str, Split] = {}
        self._carried: dict[str, tuple[float, Split]] = {}
        self._rates: dict[str, float] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of an agent; `{"error": ...}` where it is not accepted."""
        session = self.sessions.get(str(request.get("session")))
        if session is None or request.keys() - {"session", "split"}:
            accepted = ", ".join(self.sessions)
            return {"error": f"{request}: a session that enters at {self.node} ({accepted}) is accepted, and a split"}
        try:
            if "split" in request:
                self._asked[session.name] = self._checked(session, request["split"])
        except WardropError as error:
            return {"error": str(error)}
        if session.name not in self._carried:
            return {"error": f"session {session.name}: nothing is installed yet; ask again"}
        since, split = self._carried[session.name]
        told = [[route.nodes or [self.node], route.server, weight] for route, weight in split]
        return {"rate": self._rates[session.name], "since": since, "split": told}

    def taken(self) -> dict[str, Split]:
        """What was asked for since the last call."""
        asked, self._asked = self._asked, {}
        return asked

    def carries(self, allocation: Allocation, rates: Mapping[str, float], now: float) -> None:
        """Learn what is in force at `now` (Unix time, s), and the estimated bit/s of each session."""
        self._rates = {name: float(rates[name]) for name in self.sessions}
        for name in self.sessions:
            split = allocation.splits[name]
            if name not in self._carried or self._carried[name][1] != split:
                self._carried[name] = now, split

    def _checked(self, session: Session, split: Any) -> Split:
        """The split that was asked for, brought to a sum of 1.

        Raises
        ------
        WardropError
            When it is no list of routes of this session, each with a weight.
        """
        said = "[[nodes from its source to a destination, server, weight above 0], ...] is accepted"
        try:
            rows = [(tuple(map(str, nodes)), str(server), float(weight)) for nodes, server, weight in split]
        except (TypeError, ValueError) as error:
            raise WardropError(f"session {session.name}: not a split ({error}); {said}") from error
        if not 1 <= len(rows) <= MOST_ROUTES:
            raise WardropError(f"session {session.name}: {len(rows)} routes; 1 to {MOST_ROUTES} are accepted")
        problem = problem_of(self.fabric.network)
        routes = []
        for nodes, server, weight in rows:
            route = Route(session.name, tuple(pairwise(nodes)), server)
            try:
                problem.usage(route)
                whole = nodes[0] == session.source and len(set(nodes)) == len(nodes) and self._ends(session, route)
            except (KeyError, IndexError):
                whole = False
            if not whole or not math.isfinite(weight) or not weight > 0:
                raise WardropError(f"session {session.name}: {'>'.join(nodes)}@{server} {weight}; {said}")
            routes.append(route)
        return make_allocation(routes, [weight for _, _, weight in rows]).splits[session.name]

    def _ends(self, session: Session, route: Route) -> bool:
        """Whether a route ends where the session may end."""
        last = route.nodes[-1] if route.links else session.source
        if session.kind == "unicast":
            return not route.server and last == session.destinations[0]
        return route.server in session.destinations and self.fabric.plant.hosts[route.server].node == last


def ingresses(fabric: Fabric) -> tuple[Ingress, ...]:
    """One for each node where sessions enter, by name."""
    return tuple(Ingress(fabric, node) for node in sorted({session.source for session in fabric.network.sessions}))
