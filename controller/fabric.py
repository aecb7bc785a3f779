"""The fabric: what does not change while the same links work, the network, its plant, and all that follows from them.

When links fail, another fabric takes the place of the first: the same network with fewer links that work. It is made
once for each set of failed links, so what was computed from it is kept.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import networkx as nx

from controller.labels import STATUS_BITS, Path
from controller.pipeline import BACK
from controller.plant import Plant
from pricing.errors import RuleError
from pricing.network import Allocation, Network, Route, Session
from pricing.outage import NOTHING, Outage, Remains, remains


@dataclass(frozen=True, eq=False)
class Fabric:
    """A network, its plant, and all that follows from them alone.

    Parameters
    ----------
    slots : int
        Hash slots of each session.
    outage : Outage
        Links and servers that do not work.
    """

    network: Network
    plant: Plant
    slots: int
    outage: Outage = NOTHING

    def under(self, outage: Outage) -> Fabric:
        """The fabric when exactly this does not work; who is a member changes nothing of it."""
        failed = replace(outage, absent=frozenset())
        return self if failed == self.outage else self._under(failed)

    @lru_cache(maxsize=64)  # noqa: B019  a run has one network
    def _under(self, outage: Outage) -> Fabric:
        return replace(self, outage=outage)

    def left(self, outage: Outage) -> Remains:
        """What is left of the network."""
        return remains(self.network, outage)

    @cached_property
    def joined(self) -> bool:
        """Whether members of a group come and go."""
        return any(session.joined for session in self.network.sessions)

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """The links that work."""
        graph: nx.DiGraph[str] = self.network.graph.copy()
        graph.remove_edges_from(self.outage.links)
        return graph

    @cached_property
    def apart(self) -> frozenset[str]:
        """Nodes of which no link works."""
        return frozenset(nx.isolates(self.graph))

    @cached_property
    def back_numbers(self) -> dict[tuple[str, str], int]:
        """`metadata` of the answers of each (session, host that answers)."""
        pairs = sorted((session.name, end) for session in self.network.sessions for end in self.plant.ends(session))
        return {pair: BACK | number for number, pair in enumerate(pairs, 1)}

    @cached_property
    def session_numbers(self) -> dict[str, int]:
        """`metadata` of each session's packets."""
        return {session.name: number for number, session in enumerate(self.network.sessions, 1)}

    @cached_property
    def addresses(self) -> dict[str, tuple[str, ...]]:
        """IP addresses that each host may send from: its own, and those of the services that it serves."""
        found = {name: {host.ip} for name, host in self.plant.hosts.items()}
        for session in self.network.sessions:
            for end in self.plant.ends(session):
                found[end].add(self.plant.address(session))
        return {name: tuple(sorted(addresses)) for name, addresses in found.items()}

    @cached_property
    def sources(self) -> frozenset[str]:
        """Names of the hosts where sessions start."""
        return frozenset(self.plant.source(session) for session in self.network.sessions)

    @cached_property
    def sessions(self) -> dict[str, Session]:
        """Sessions by name."""
        return {session.name: session for session in self.network.sessions}

    def next_hops(self, targets: Iterable[str]) -> dict[str, str]:
        """Next node from each node on a shortest path (in links) to the nearest target; ties by name."""
        distance = dict.fromkeys(targets, 0)
        hops: dict[str, str] = {}
        queue = deque(sorted(distance))
        while queue:
            node = queue.popleft()
            for before in sorted(self.graph.predecessors(node)):
                if before not in distance:
                    distance[before] = distance[node] + 1
                    queue.append(before)
                if distance[before] == distance[node] + 1 and node < hops.get(before, node + "\0"):
                    hops[before] = node
        return hops

    def shortest(self, source: str, target: str) -> tuple[str, ...]:
        """Nodes of the shortest path between two nodes; where an outage cuts them off, of the one that it cut.

        Raises
        ------
        RuleError
            When there is none.
        """
        hops = self.next_hops([target])
        nodes = [source]
        while nodes[-1] != target:
            if nodes[-1] not in hops and self.outage:
                return replace(self, outage=NOTHING).shortest(source, target)
            if nodes[-1] not in hops:
                raise RuleError(
                    f"no way from {source} to {target} for answers; add the links of the opposite direction"
                )
            nodes.append(hops[nodes[-1]])
        return tuple(nodes)

    @lru_cache(maxsize=1 << 14)  # noqa: B019  a run has one network
    def there(self, route: Route) -> Path:
        """The path that packets of a route take; of a tree the part that they enter as."""
        session = self.sessions[route.session]
        if session.kind == "multicast":
            bits = {name: 1 << d for d, name in enumerate(session.destinations)}
            pairs = zip(route.links, route.statuses, strict=True)
            copies = tuple((*link, sum(bits[name] for name in status)) for link, status in pairs)
            return Path(route.session, False, (session.source,), "", copies)
        end = route.server or self.plant.ends(session)[0]
        return Path(route.session, False, route.nodes or (session.source,), end)

    def route(self, path: Path) -> Route:
        """The route that packets on a path take."""
        if path.copies:
            names = self.sessions[path.session].destinations
            statuses = (tuple(n for d, n in enumerate(names) if status >> d & 1) for _, _, status in path.copies)
            return Route(path.session, tuple((a, b) for a, b, _ in path.copies), statuses=tuple(statuses))
        anycast = self.sessions[path.session].kind == "anycast"
        return Route(path.session, tuple(itertools.pairwise(path.nodes)), path.host if anycast else "")

    @lru_cache(maxsize=1 << 14)  # noqa: B019
    def back(self, path: Path) -> Path:
        """The way of the answers to packets that came along a path."""
        session = self.sessions[path.session]
        nodes = path.nodes[::-1]
        if not all(self.graph.has_edge(a, b) for a, b in itertools.pairwise(nodes)):
            return self.fallback(session, path.host)
        return Path(session.name, True, nodes, self.plant.source(session))

    @lru_cache(maxsize=1 << 14)  # noqa: B019
    def companions(self, path: Path) -> tuple[Path, ...]:
        """The paths that must have numbers where a path there has one: its way back, or the other parts of its tree."""
        if not path.copies:
            return (self.back(path),)
        count = -(-len(self.sessions[path.session].destinations) // STATUS_BITS)
        return tuple(replace(path, part=part) for part in range(count) if part != path.part)

    @cached_property
    def fallbacks(self) -> dict[tuple[str, str], Path]:
        """The shortest way back of each session from each of its ends."""
        return {
            (session.name, end): Path(
                session.name,
                True,
                self.shortest(self.plant.hosts[end].node, session.source),
                self.plant.source(session),
            )
            for session in self.network.sessions
            for end in self.plant.ends(session)
        }

    def fallback(self, session: Session, end: str) -> Path:
        """The way back of what has no better."""
        return self.fallbacks[session.name, end]

    def route_name(self, path: Path) -> str:
        """The route that a path carries out, as `str(route)` has it."""
        if path.copies:
            return str(self.route(path))
        way = ">".join(path.nodes) if len(path.nodes) > 1 else "here"
        return f"{way}@{path.host}" if self.sessions[path.session].kind == "anycast" else way

    def paths(self, allocation: Allocation) -> list[Path]:
        """Every path that an allocation may use, there and back."""
        there = [self.there(route) for route, _ in allocation]
        return list(dict.fromkeys((*there, *self.beside(there))))

    def beside(self, there: Iterable[Path]) -> list[Path]:
        """What must have numbers where these paths there have: their companions, and the ways back of last resort."""
        return [*itertools.chain.from_iterable(map(self.companions, there)), *self.fallbacks.values()]
