"""What is left of a network when links and servers fail and members leave, and how decisions carry over to it.

A policy knows nothing of failures: it is given the network that remains, in which what failed does not exist, and
groups have the destinations that are members now. Sessions that reach no destination any more are **stranded**, those
whose group has no member are **idle**: they are left out, by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import networkx as nx
import numpy as np

from pricing.chains import goal, graph_of
from pricing.duplication import regrown
from pricing.network import Allocation, LinkKey, Network, Route, Session
from pricing.problem import make_allocation
from pricing.shortest import shortest_path
from pricing.values import FloatArray, Loads


@dataclass(frozen=True)
class Outage:
    """Links and servers that do not work, and destinations that are no members now, (session, destination) each."""

    links: frozenset[LinkKey] = frozenset()
    servers: frozenset[str] = frozenset()
    absent: frozenset[tuple[str, str]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.links or self.servers or self.absent)

    def __str__(self) -> str:
        cables = sorted({" - ".join(sorted(key)) for key in self.links})
        return ", ".join([*cables, *sorted(self.servers)]) or "nothing"


NOTHING = Outage()
"""Everything works."""


@dataclass(frozen=True)
class Remains:
    """What works, and where its parts stand among those of the whole network.

    Parameters
    ----------
    network : Network
        Without what failed, and without the sessions that are stranded or idle.
    links, servers, sessions : arrays of int
        Places in the whole network of the links, servers and sessions that remain.
    stranded, idle : tuples of str
        Names of the sessions that reach no destination, and of those whose group has no member.
    """

    whole: Network
    network: Network
    links: np.ndarray[tuple[int], np.dtype[np.intp]]
    servers: np.ndarray[tuple[int], np.dtype[np.intp]]
    sessions: np.ndarray[tuple[int], np.dtype[np.intp]]
    stranded: tuple[str, ...]
    idle: tuple[str, ...]

    def loads(self, loads: Loads) -> Loads:
        """The loads of what remains."""
        return Loads(loads.links[self.links], loads.servers[self.servers], loads.offered[self.sessions])

    def widened(self, links: FloatArray, servers: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values of links and servers of the whole network; infinite for what failed."""
        wide = np.full(len(self.whole.links), np.inf), np.full(len(self.whole.servers), np.inf)
        wide[0][self.links], wide[1][self.servers] = links, servers
        return wide

    def completed(self, allocation: Allocation, before: Allocation | None) -> Allocation:
        """The allocation with the sessions that are left out, on the routes they had, or on their shortest ones."""
        if not (self.stranded or self.idle):
            return allocation
        last = before.splits if before else {}
        rest = shortest_path(self.whole).splits
        lost = {name: last.get(name, rest[name]) for name in (*self.stranded, *self.idle)}
        return Allocation(dict(sorted({**allocation.splits, **lost}.items())))

    def restricted(self, allocation: Allocation) -> Allocation:
        """The allocation without the sessions that are left out."""
        names = self.network.session_index
        return Allocation({name: split for name, split in allocation.splits.items() if name in names})

    def surviving(self, allocation: Allocation) -> Allocation:
        """The allocation on the routes that still work; sessions that lost all of theirs take the shortest one.

        Trees go on without what failed and without members that have left; new members are reached from their nodes.
        """
        links, servers = self.network.link_index, self.network.server_index
        names = self.network.session_index
        kept = [
            (self._regrown(route), weight)
            for route, weight in allocation
            if route.session in names
            and (route.statuses or all(key in links for key in route.links))
            and (not route.server or route.server in servers)
        ]
        carried = {route.session for route, _ in kept}
        kept += [(route, weight) for route, weight in shortest_path(self.network) if route.session not in carried]
        return make_allocation([route for route, _ in kept], [weight for _, weight in kept])

    def _regrown(self, route: Route) -> Route:
        """The route, when it is a tree, as it is left, with all members that there are now."""
        network = self.network
        session = network.sessions[network.session_index[route.session]]
        if not route.statuses:
            return route
        at = {server.name: server.node for server in network.servers}
        return regrown(session, route, graph_of(session, network.link_index, at))


@lru_cache(maxsize=64)
def remains(network: Network, outage: Outage) -> Remains:
    """What is left of a network; all of it when nothing failed."""
    links = np.array([i for i, link in enumerate(network.links) if link.key not in outage.links], dtype=np.intp)
    alive = [j for j, server in enumerate(network.servers) if server.name not in outage.servers]
    servers = np.array(alive, dtype=np.intp)
    if not outage:
        everything = np.arange(len(network.sessions), dtype=np.intp)
        return Remains(network, network, links, servers, everything, (), ())
    graph = network.graph.copy()
    graph.remove_edges_from(outage.links)
    left = {k: session for k, old in enumerate(network.sessions) if (session := _left(network, graph, old, outage))}
    rest = replace(
        network,
        links=tuple(network.links[i] for i in links),
        servers=tuple(network.servers[j] for j in servers),
        sessions=tuple(left.values()),
        whole=False,
    )
    out = [session for k, session in enumerate(network.sessions) if k not in left]
    idle = tuple(one.name for one in out if all((one.name, end) in outage.absent for end in one.destinations))
    stranded = tuple(one.name for one in out if one.name not in idle)
    return Remains(network, rest, links, servers, np.array(list(left), dtype=np.intp), stranded, idle)


def _left(network: Network, graph: nx.DiGraph[str], session: Session, outage: Outage) -> Session | None:
    """The session with the destinations that it still reaches, and the servers of its functions that work."""
    at = {server.name: server.node for server in network.servers if server.name not in outage.servers}
    if session.chain:
        chain = (replace(one, servers=tuple(s for s in one.servers if s in at)) for one in session.chain)
        session = replace(session, chain=tuple(chain))
        graph = graph_of(session, graph.edges, at)
    reached = {session.source, *nx.descendants(graph, session.source)}
    present = (name for name in session.destinations if (session.name, name) not in outage.absent)
    ends = tuple(
        name for name in present if name not in outage.servers and goal(session, at.get(name, name)) in reached
    )
    return replace(session, destinations=ends) if ends else None
