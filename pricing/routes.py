"""Routes a session can take: the cheapest under prices, the shortest, and the next shortest.

A route is a candidate when it is a simple path of links from the session's source to its destination (unicast) or to a
node with one of its servers (anycast), and, where the session's requests are answered, every link has its reverse for
the answer. A multicast session's are trees to all of its destinations (`pricing.duplication`): the cheapest is a
lightest directed Steiner tree, the shortest the union of the shortest paths. Ties are broken by names, or by the order
of links, so the same network and prices give the same routes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, pairwise

import networkx as nx
import numpy as np

from pricing.chains import goal, places_of, steps_of
from pricing.duplication import route_of_links
from pricing.errors import TopologyError
from pricing.multicast.steiner import MOST_EXACT, steiner_tree
from pricing.network import LinkKey, Network, Route, Session
from pricing.problem import Problem, problem_of
from pricing.values import FloatArray

MOST_EQUAL_ROUTES = 64
"""How many routes of equal length a session is spread over at most."""

_HOP = 1e-9
"""Length that every link has beside its propagation, s."""

_SAME = 1e-10
"""Difference, relative to the whole way, up to which two lengths are equal."""

Steps = dict[str, tuple[tuple[str, int, int], ...]]
"""For each node its next hops by name: (node, link's index, index of the reverse link or -1)."""

Ends = dict[str, tuple[tuple[str, int], ...]]
"""For each node at which a session may end: (server's name, its resource's index), ("", -1) for unicast."""


def _steps(network: Network, answered: bool) -> Steps:
    return _steps_of(network.plain, answered)


@lru_cache(maxsize=64)
def _steps_of(network: Network, answered: bool) -> Steps:
    index = network.link_index
    found: dict[str, list[tuple[str, int, int]]] = {node.name: [] for node in network.nodes}
    for (src, dst), i in sorted(index.items()):
        back = index.get((dst, src), -1)
        if back >= 0 or not answered:
            found[src].append((dst, i, back if answered else -1))
    return {name: tuple(steps) for name, steps in found.items()}


def _ends(problem: Problem, session: Session) -> Ends:
    if session.kind == "unicast":
        return {session.destinations[0]: (("", -1),)}
    ends: dict[str, list[tuple[str, int]]] = {}
    for j, server in sorted(enumerate(problem.network.servers), key=lambda pair: pair[1].name):
        if server.name in session.destinations:
            ends.setdefault(server.node, []).append((server.name, problem.link_count + j))
    return {node: tuple(names) for node, names in ends.items()}


def _route(session: Session, path: tuple[str, ...], server: str) -> Route:
    return Route(session.name, tuple(pairwise(path)), server)


def no_route(session: Session) -> TopologyError:
    """The error of a session whose answers find no way back along any route."""
    return TopologyError(
        f"session {session.name}: no route from {session.source} to {', '.join(session.destinations)} whose every link "
        "has its reverse, and its requests are answered; add the reverse links or set response_bits to 0"
    )


def cheapest_route(problem: Problem, session: Session, prices: FloatArray) -> tuple[Route, float]:
    """The cheapest of all routes of a session, and its cost a bit/s.

    Parameters
    ----------
    prices : array of shape (R,)
        Price of a unit of load at each resource, none negative. The answer's part is priced on the reverse links.

    Raises
    ------
    TopologyError
        When no route has a way back for the session's answers.

    Notes
    -----
    Dijkstra; equal costs are settled by the names along the path. O(links log links). The tree of a multicast session
    is the lightest up to `MOST_EXACT` destinations, and above at most as many times as heavy as it has destinations.
    """
    if session.kind == "multicast":
        return _lightest_tree(problem.network, session, prices)
    cost_of = prices.tolist()
    answer, work = session.response_bits / session.frame_bits, session.work / session.frame_bits
    steps, ends = _steps(problem.network, session.response_bits > 0), _ends(problem, session)
    heap: list[tuple[float, tuple[str, ...]]] = [(0.0, (session.source,))]
    settled: set[str] = set()
    best: tuple[float, tuple[str, ...], str] | None = None
    while heap:
        cost, path = heapq.heappop(heap)
        if best is not None and cost > best[0]:
            break
        node = path[-1]
        if node in settled:
            continue
        settled.add(node)
        for name, index in ends.get(node, ()):
            found = (cost + (work * cost_of[index] if name else 0.0), path, name)
            best = found if best is None else min(best, found)
        for neighbour, link, back in steps[node]:
            if neighbour not in settled:
                toll = cost_of[link] + (answer * cost_of[back] if back >= 0 else 0.0)
                heapq.heappush(heap, (cost + toll, (*path, neighbour)))
    if best is None:
        raise no_route(session)
    return _route(session, best[1], best[2]), best[0]


def _lightest_tree(network: Network, session: Session, prices: FloatArray) -> tuple[Route, float]:
    steps = steps_of(network, session)
    keys = list(steps)
    places = {place: i for i, place in enumerate(places_of(network, session))}
    tails, heads = ([places[key[end]] for key in keys] for end in (0, 1))
    weights = prices[[step.resource for step in steps.values()]] * [step.use for step in steps.values()]
    ends = [places[goal(session, name)] for name in session.destinations]
    tree = steiner_tree(tails, heads, weights, places[session.source], ends)
    return route_of_links(session, [keys[i] for i in tree.links]), tree.weight


def least_tree_cost(problem: Problem, session: Session, prices: FloatArray) -> float:
    """A lower bound on what any tree of a multicast session costs a bit/s; up to `MOST_EXACT` destinations the least.

    Above, no tree costs less than the farthest destination's cheapest way alone.
    """
    if len(session.destinations) <= MOST_EXACT:
        return cheapest_route(problem, session, prices)[1]
    graph: nx.DiGraph[str] = nx.DiGraph()
    steps = steps_of(problem.network, session)
    graph.add_weighted_edges_from((*key, step.use * float(prices[step.resource])) for key, step in steps.items())
    far = nx.single_source_dijkstra_path_length(graph, session.source)
    return float(max(far[goal(session, name)] for name in session.destinations))


def shortest_tree(network: Network, session: Session) -> Route:
    """The union of the shortest paths to a multicast session's destinations: what EDSPA sends all of its packets on."""
    length = lengths(problem_of(network)).tolist()
    ahead: dict[str, list[tuple[float, str]]] = {}
    for (src, dst), step in steps_of(network, session).items():
        ahead.setdefault(src, []).append((length[step.resource], dst))
    far: dict[str, float] = {}
    into: dict[str, LinkKey] = {}
    heap: list[tuple[float, str, LinkKey]] = [(0.0, session.source, ("", session.source))]
    while heap:
        way, node, link = heapq.heappop(heap)
        if node not in far:
            far[node], into[node] = way, link
            for hop, name in ahead.get(node, ()):
                heapq.heappush(heap, (way + hop, name, (node, name)))
    return route_of_links(session, [link for node, link in into.items() if node != session.source])


def lengths(problem: Problem) -> FloatArray:
    """Length of each resource (R,): propagation and a nanosecond a hop, s; servers 0.

    The hop settles ties of propagation, and is all there is where the network has none.
    """
    links = [link.propagation + _HOP for link in problem.network.links]
    return np.array(links + [0.0] * len(problem.network.servers))


def shortest_routes(network: Network) -> tuple[Route, ...]:
    """The shortest route of each session, to its nearest server; ties by names."""
    return tuple(equal_routes(network, session)[0][0] for session in network.sessions)


def _distances(network: Network, session: Session) -> dict[str, float]:
    """Length from each node to the nearest end of the session, following links forward."""
    problem = problem_of(network)
    length = lengths(problem).tolist()
    into: dict[str, list[tuple[str, float]]] = {node.name: [] for node in network.nodes}
    for node, steps in _steps(network, session.response_bits > 0).items():
        for neighbour, link, _ in steps:
            into[neighbour].append((node, length[link]))
    heap = [(0.0, node) for node in sorted(_ends(problem, session))]
    found: dict[str, float] = {}
    while heap:
        far, node = heapq.heappop(heap)
        if node not in found:
            found[node] = far
            for before, step in into[node]:
                heapq.heappush(heap, (far + step, before))
    if session.source not in found:
        raise no_route(session)
    return found


def equal_routes(network: Network, session: Session) -> tuple[tuple[Route, float], ...]:
    """All shortest routes of a session with the weights of equal-cost multipath, sorted by names.

    Every node on the way divides what it gets equally among its next hops (and servers) that lie on a shortest route.
    Of more than `MOST_EQUAL_ROUTES` the first by name are taken, and weighted anew. A multicast session has one tree.
    """
    if session.kind == "multicast":
        return ((shortest_tree(network, session), 1.0),)
    problem = problem_of(network)
    far, length, ends = _distances(network, session), lengths(problem), _ends(problem, session)
    steps = _steps(network, session.response_bits > 0)

    def walk(path: tuple[str, ...], weight: float) -> Iterator[tuple[Route, float]]:
        node = path[-1]
        if far[node] == 0:
            servers = ends[node]
            for server, _ in servers:
                yield _route(session, path, server), weight / len(servers)
            return
        slack = far[node] + _SAME * far[session.source]
        ahead = [hop for hop, link, _ in steps[node] if hop in far and length[link] + far[hop] <= slack]
        for hop in ahead:
            yield from walk((*path, hop), weight / len(ahead))

    found = list(islice(walk((session.source,), 1.0), MOST_EQUAL_ROUTES))
    total = sum(weight for _, weight in found)
    return tuple((route, weight / total) for route, weight in found)


def nearest_routes(network: Network, session: Session, count: int) -> tuple[Route, ...]:
    """The `count` shortest simple routes of a session to each of its destinations, shortest first (Yen).

    Of a multicast session it is one tree.
    """
    if session.kind == "multicast":
        return (shortest_tree(network, session),)
    return _nearest_routes(network.plain, session, count)


@lru_cache(maxsize=1 << 14)
def _nearest_routes(network: Network, session: Session, count: int) -> tuple[Route, ...]:
    problem = problem_of(network)
    length = lengths(problem)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sorted(node.name for node in network.nodes))
    for node, steps in sorted(_steps(network, session.response_bits > 0).items()):
        graph.add_weighted_edges_from((node, neighbour, float(length[link])) for neighbour, link, _ in steps)
    found: list[Route] = []
    for node, servers in sorted(_ends(problem, session).items()):
        if node == session.source:
            paths: list[tuple[str, ...]] = [(node,)]
        elif nx.has_path(graph, session.source, node):
            every = nx.shortest_simple_paths(graph, session.source, node, weight="weight")
            paths = [tuple(path) for path in islice(every, count)]
        else:
            continue
        found += [_route(session, path, server) for path in paths for server, _ in servers]
    if not found:
        raise no_route(session)
    return tuple(found)
