"""Duplication trees: the routes of multicast sessions, made of the ways to their destinations.

A packet of a group enters owing one copy to every destination, its **status**. On the way it is duplicated: what a copy
owes on one link is divided among the copies that go on from there, each destination in exactly one of them, and a
destination that a copy has reached is owed no more. A `Route` with `statuses` says this link by link:

    links     (S, A)  (A, x)  (A, y)
    statuses  {x, y}  {x}     {y}

Each destination has a simple way from the source. Ways **share** a copy as far as they begin alike; where they do not
share, as when all copies are made at the source, each destination has a copy of its own from there on. A node may
be passed by several copies, but by none of them twice; so the node and the status together say what is to be done
with a copy, which is all that a switch sees of it (`controller.duplicate`). Where packets go through functions, places
stand for nodes here, steps for links (`pricing.chains`).

Source of status and coverage: Cai, Llorca, Tulino, Molisch (arXiv 2204.09030), Section II-D.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import networkx as nx

from pricing.chains import end_of, goal, node_of
from pricing.network import Allocation, LinkKey, Network, Route, Session

Way = tuple[LinkKey, ...]
"""Links from the source to one destination."""


def tree_route(session: Session, ways: Mapping[str, Way], shared: bool = True) -> Route:
    """The route of a multicast session on which each destination is reached by its way.

    Parameters
    ----------
    ways : mapping of destination to Way
        Of all its destinations, or of those that are members now; a way that comes back to a node is cut short there.
    shared : bool
        Whether destinations share copies as far as their ways begin alike.

    Examples
    --------
    >>> session = Session("k", "S", "multicast", ("x", "y"), 1.0, group="239.0.0.1")
    >>> ways = {"x": (("S", "A"), ("A", "x")), "y": (("S", "A"), ("A", "y"))}
    >>> print(tree_route(session, ways))
    S>A{x,y} A>x{x} A>y{y}
    >>> print(tree_route(session, ways, shared=False))
    S>A{x} S>A{y} A>x{x} A>y{y}
    """
    copies: dict[tuple[Way, str], list[str]] = {}
    for name in session.destinations:
        way = simple(ways[name]) if name in ways else ()
        for place in range(1, len(way) + 1):
            copies.setdefault((way[:place], "" if shared else name), []).append(name)
    hops = sorted((len(way), way[-1], tuple(owed)) for (way, _), owed in copies.items())
    return Route(session.name, tuple(link for _, link, _ in hops), statuses=tuple(owed for _, _, owed in hops))


def route_of_links(session: Session, links: Sequence[LinkKey]) -> Route:
    """The route on a tree that is given by its links; every node of it is reached by one of them."""
    into = {dst: (src, dst) for src, dst in links}
    ways: dict[str, Way] = {}
    for name in session.destinations:
        way: list[LinkKey] = []
        node = goal(session, name)
        while node != session.source:
            way.append(into[node])
            node = into[node][0]
        ways[name] = tuple(reversed(way))
    return tree_route(session, ways)


def regrown(session: Session, route: Route, graph: nx.DiGraph[str]) -> Route:
    """A tree of a session, or what is left of one, with a way to each of the session's destinations and nobody else.

    Destinations that it does not reach, over links of the graph, get the shortest way from a node of it. A path, which
    owes nobody anything by name, is as it was. The graph is that of the session's places (`pricing.chains.graph_of`).
    """
    works = all(graph.has_edge(*link) for link in route.links)
    if not route.statuses or (works and members(route) == set(session.destinations)):
        return route
    ways: dict[str, Way] = {}
    reached: dict[str, Way] = {session.source: ()}
    for name in session.destinations:
        way = tuple(link for link, status in zip(route.links, route.statuses, strict=True) if name in status)
        if way and all(graph.has_edge(*link) for link in way):
            ways[name] = way
            reached |= {way[place][1]: way[: place + 1] for place in range(len(way))}
    nearest = nx.multi_source_dijkstra_path(graph, dict.fromkeys(reached), weight=None)
    for name in session.destinations:
        if name not in ways:
            near = nearest[goal(session, name)]
            ways[name] = simple((*reached[near[0]], *pairwise(near)))
    return tree_route(session, ways)


def simple(way: Way) -> Way:
    """The way without what comes back to a node that it has passed.

    >>> simple((("a", "b"), ("b", "a"), ("a", "c")))
    (('a', 'c'),)
    """
    kept: list[LinkKey] = []
    for link in way:
        places = [place for place, (src, _) in enumerate(kept) if src == link[1]]
        if places:
            del kept[places[0] :]
        else:
            kept.append(link)
    return tuple(kept)


def parents(route: Route) -> tuple[int, ...]:
    """For each link of a tree the place of the one that its copy came by; -1 where it is made at the source."""
    found = []
    for place, ((src, _), status) in enumerate(zip(route.links, route.statuses, strict=True)):
        before = [p for p in range(place) if route.links[p][1] == src and set(status) <= set(route.statuses[p])]
        found.append(min(before, key=lambda p: len(route.statuses[p]), default=-1))
    return tuple(found)


def made_at(session: Session, route: Route) -> dict[str, int]:
    """How many copies each node makes of a packet beyond those that come to it; its own host's is one.

    Examples
    --------
    >>> session = Session("k", "S", "multicast", ("x", "y"), 1.0, group="239.0.0.1")
    >>> ways = {"x": (("S", "x"),), "y": (("S", "x"), ("x", "y"))}
    >>> made_at(session, tree_route(session, ways)), made_at(session, tree_route(session, ways, shared=False))
    ({'x': 1}, {'S': 1})
    """
    by, found = parents(route), dict[str, int]()
    for place in range(-1, len(route.links)):
        here = session.source if place < 0 else route.links[place][1]
        leaving = by.count(place) + (place >= 0 and end_of(session, here) in route.statuses[place])
        if leaving > 1:
            node = node_of(here)
            found[node] = found.get(node, 0) + leaving - 1
    return found


def copies(network: Network, allocation: Allocation) -> dict[str, dict[str, Any]]:
    """For each group the copies of a packet, on average: how many `links` they cross, how many are `made` at a node."""
    found: dict[str, dict[str, Any]] = {}
    for session in network.sessions:
        if session.kind == "multicast":
            made: dict[str, float] = {}
            split = allocation.splits.get(session.name, ())
            for route, weight in split:
                for node, count in made_at(session, route).items():
                    made[node] = made.get(node, 0.0) + weight * count
            crossed = sum(weight * (node_of(a) != node_of(b)) for route, weight in split for a, b in route.links)
            found[session.name] = {"links": crossed, "made": made}
    return found


def members(route: Route) -> frozenset[str]:
    """The destinations that a tree serves."""
    return frozenset(name for status in route.statuses for name in status)


def shares_behind(route: Route) -> Iterator[float]:
    """For each link the share of the route's destinations that it is on the way to; 1 for the links of a path."""
    if not route.statuses:
        yield from (1.0 for _ in route.links)
    count = len(members(route))
    yield from (len(status) / count for status in route.statuses)


def faults(session: Session, route: Route, wanted: Sequence[str]) -> Iterator[str]:
    """What keeps a route from bringing exactly one copy to each destination that is wanted; nothing where it does."""
    by = parents(route)
    for place in range(-1, len(route.links)):
        here = session.source if place < 0 else route.links[place][1]
        owed = [*(wanted if place < 0 else route.statuses[place])]
        if end_of(session, here) in owed:
            owed.remove(end_of(session, here))
        given = [name for p, status in zip(by, route.statuses, strict=True) if p == place for name in status]
        if sorted(given) != sorted(owed):
            yield f"route {route}: at {here} a copy owes {sorted(owed)}, the copies that go on owe {sorted(given)}"
    for place, (src, _) in enumerate(route.links):
        if by[place] < 0 and src != session.source:
            yield f"route {route}: the copy on {'>'.join(route.links[place])} comes from nowhere"
