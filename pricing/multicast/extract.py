"""From average flows to weighted duplication trees.

Backpressure leaves behind how much of each status crossed each link, and what stayed. Of these **moves**

    (i, q) --(i, j), s-->  (j, s) and (i, q - s)

a tree takes one at every node and status that it meets, until each destination is reached: the largest that is left. It
carries as much as the smallest of them, which is taken off all; then the next tree is looked for. Moves that lead in
circles are cancelled first, moves that lead to where nothing goes on are dropped: averages of growing queues do not
balance. What enters and is in no tree is the **loss** of the extraction, a share of the session.

Where a session has one end to reach, the way to it is its route: a path, which ends at a server when it is anycast.
Where copies enter separately, one for each destination, each has ways of its own; the trees are then their quantiles:
the ways that are at the same place when each destination's are laid side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pricing.chains import goal, node_of
from pricing.duplication import Way, simple, tree_route
from pricing.multicast.virtual import SERVER
from pricing.network import LinkKey, Route, Session

LEAST = 0.005
"""Share of a session below which a tree is not installed (ours)."""

NOTHING = 1e-9
"""Share below which nothing is left of a move (ours)."""

Ways = dict[str, Way]
"""The way to each end that was reached."""


@dataclass
class Flow:
    """A move, and how much of it is left: a copy of `sent` crosses `link`."""

    link: LinkKey
    sent: int
    left: float


@dataclass(frozen=True)
class Extracted:
    """Trees with shares that add up to 1, and the share of what entered that none of them took."""

    trees: Mapping[Route, float]
    lost: float


@dataclass(frozen=True)
class _Copy:
    """A copy on its way: where it is, what it owes, the links and moves behind it.

    `states` are where it was with what status, and after how many moves.
    """

    node: str
    owes: int
    way: Way = ()
    moves: tuple[Flow, ...] = ()
    states: tuple[tuple[str, int, int], ...] = ()


def extract(
    session: Session, moves: Mapping[tuple[LinkKey, int, int], float], entries: Sequence[int], rate: float
) -> Extracted:
    """The routes of one session.

    Parameters
    ----------
    moves : mapping of (link, status, status sent) to amount
        Statuses are bits over the session's destinations.
    entries : sequence of int
        Statuses as which each packet enters.
    rate : float
        What enters, in the unit of the moves; above 0.

    Returns
    -------
    Extracted
        Without trees where none is whole.
    """
    found: list[list[tuple[Ways, float]]] = []
    for entry in entries:
        left: dict[tuple[str, int], list[Flow]] = {}
        for (link, status, sent), amount in sorted(moves.items()):
            if amount > NOTHING * rate and status & ~entry == 0:
                left.setdefault((link[0], status), []).append(Flow(link, sent, amount))
        found.append(list(_peeled(session, left, entry, NOTHING * rate)))
    taken = min((sum(amount for _, amount in trees) for trees in found), default=0.0)
    if not taken:
        return Extracted({}, 1.0)
    shares: dict[Route, float] = {}
    for ways, share in _side_by_side(found):
        route = _route(session, ways, shared=len(entries) == 1)
        shares[route] = shares.get(route, 0.0) + share
    kept = {route: share for route, share in shares.items() if share >= LEAST} or shares
    total = sum(kept.values())
    lost = 1.0 - min(taken / rate, 1.0) * total
    return Extracted({route: share / total for route, share in sorted(kept.items(), key=_by_links)}, max(lost, 0.0))


def _by_links(pair: tuple[Route, float]) -> tuple[object, ...]:
    return pair[0].links, pair[0].server, pair[0].statuses


def _route(session: Session, ways: Ways, shared: bool) -> Route:
    if session.kind == "multicast":
        return tree_route(session, {node_of(end): way for end, way in ways.items()}, shared)
    ((end, way),) = ways.items()
    if session.kind == "anycast":
        return Route(session.name, simple(way[:-1]), end.removeprefix(SERVER))
    return Route(session.name, simple(way))


def _ends(session: Session) -> dict[str, int]:
    """Where destinations are reached, and which of them, as bits."""
    if session.kind == "anycast":
        return {SERVER + name: 1 for name in session.destinations}
    return {goal(session, name): 1 << d for d, name in enumerate(session.destinations)}


def _peeled(
    session: Session, left: dict[tuple[str, int], list[Flow]], entry: int, least: float
) -> Iterator[tuple[Ways, float]]:
    """Trees and what they carry, the fullest move first, until no tree is whole."""
    ends = _ends(session)
    while left.get((session.source, entry)):
        ways: Ways = {}
        used: list[Flow] = []
        about = [_Copy(session.source, entry)]
        while about:
            copy = about.pop()
            copy = _served(ends.get(copy.node, 0) & copy.owes, copy, ways)
            if not copy.owes:
                continue
            behind = _circle(copy)
            flows = [] if behind else left.get((copy.node, copy.owes), [])
            if not flows:
                blamed = behind or copy.moves
                amount = min((flow.left for flow in blamed), default=0.0)
                for flow in behind or copy.moves[-1:]:
                    flow.left -= amount
                break
            flow = max(flows, key=lambda one: one.left)
            used.append(flow)
            states = (*copy.states, (copy.node, copy.owes, len(copy.moves)))
            about.append(_Copy(flow.link[1], flow.sent, (*copy.way, flow.link), (*copy.moves, flow), states))
            if copy.owes & ~flow.sent:
                about.append(_Copy(copy.node, copy.owes & ~flow.sent, copy.way, copy.moves, states))
        else:
            amount = min(flow.left for flow in used)
            for flow in used:
                flow.left -= amount
            yield ways, amount
        if not _without_nothing(left, least):
            return


def _served(here: int, copy: _Copy, ways: Ways) -> _Copy:
    """The copy after it was delivered to the destinations that it owes `here`, if any."""
    if not here:
        return copy
    ways[copy.node] = copy.way
    return replace(copy, owes=copy.owes & ~here)


def _circle(copy: _Copy) -> tuple[Flow, ...]:
    """The moves since a copy was here with the same status; none where it was not."""
    before = [count for node, owes, count in copy.states if (node, owes) == (copy.node, copy.owes)]
    return copy.moves[before[0] :] if before else ()


def _without_nothing(left: dict[tuple[str, int], list[Flow]], least: float) -> bool:
    """Forget moves of which nothing is left; whether any was."""
    gone = False
    for flows in left.values():
        some = [flow for flow in flows if flow.left > least]
        gone |= len(some) < len(flows)
        flows[:] = some
    return gone


def _side_by_side(found: list[list[tuple[Ways, float]]]) -> Iterator[tuple[Ways, float]]:
    """Trees of separate copies, joined quantile by quantile; their shares add up to 1."""
    rows = [[(ways, amount / sum(a for _, a in trees)) for ways, amount in trees] for trees in found]
    places, rest = [0] * len(rows), [trees[0][1] for trees in rows]
    while all(place < len(trees) for place, trees in zip(places, rows, strict=True)):
        step = min(rest)
        ways: Ways = {}
        for place, trees in zip(places, rows, strict=True):
            ways |= trees[place][0]
        yield ways, step
        for n, trees in enumerate(rows):
            rest[n] -= step
            if rest[n] <= NOTHING:
                places[n] += 1
                rest[n] = trees[places[n]][1] if places[n] < len(trees) else 0.0
