"""The stability region: which rates some policy can carry, at what least cost, and what resources are worth there.

A vector of rates is inside the region when average flows exist that keep (4): at every vertex of the layered graph and
for every status, what arrives, and what duplications leave there, goes on; and no resource is used beyond its
capacity. This is a linear program, and HiGHS solves it.

A duplication choice (q, s) on a link is the same as a **split** of q into s and q - s at the node, of which s
then crosses the link whole: packets that wait cost nothing. So a flow needs one variable for each edge and status,
2^D - 1, and one for each vertex and pair of parts, in place of 3^D - 2^D an edge, and the region is the same.
What a policy cannot do is left out of its `Choices`, and what remains is that policy's own region:

| policy | enters as | may cross links | may split at a node |
|---|---|---|---|
| GDCNC, EGDCNC, UCNC | full status | every q whole | every q into every two parts |
| DCNC | one copy for each destination | single destinations | nothing |
| GDCNC-R as printed | full status | the choices of its trees' nodes | nothing |
| GDCNC-R with local splits | full status | the choices of its trees' nodes | as its trees do |

A policy with fixed routes, EDSPA, has the least of capacity over load (`largest_on_routes`).

The dual of a capacity is a **price**: what one more unit of it would save of the least cost, or add to the largest
scale.

Source: Cai, Llorca, Tulino, Molisch (arXiv 2204.09030), Theorem 1, equations (4) and (24), Proposition 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from pricing.errors import Infeasible, InstanceError, NotConverged
from pricing.multicast.instance import Instance
from pricing.multicast.status import Tree, choices, everything, parts
from pricing.values import FloatArray

MOST_DESTINATIONS = 8
"""Destinations of a cast up to which the program is built; it triples with each."""

IntArray = NDArray[np.int64]
Pair = tuple[int, int]
"""A status q and a part s of it, as bits."""


@dataclass(frozen=True)
class Choices:
    """What may happen to the packets of one cast.

    Parameters
    ----------
    entry : tuple of int
        Statuses as which each packet enters; together they cover the destinations.
    moves : tuple of (int, int)
        Duplication choices (q, s) at a link: s crosses it, q - s stays.
    splits : tuple of (int, int)
        Pairs (q, s) such that q may become s and q - s at a node.
    """

    entry: tuple[int, ...]
    moves: tuple[Pair, ...]
    splits: tuple[Pair, ...] = ()


def all_choices(destinations: int) -> Choices:
    """Everything: the multicast region.

    Examples
    --------
    >>> all_choices(2)
    Choices(entry=(3,), moves=((1, 1), (2, 2), (3, 3)), splits=((3, 2),))
    """
    full = everything(destinations)
    whole = tuple((q, q) for q in range(1, full + 1))
    # Each pair of parts once: s is the one that holds the highest bit of q.
    return Choices((full,), whole, tuple((q, s) for q, s in choices(destinations) if q ^ s < s != q))


def unicast_choices(destinations: int) -> Choices:
    """One copy for each destination, made at the source: the unicast region of (24).

    Examples
    --------
    >>> unicast_choices(2)
    Choices(entry=(1, 2), moves=((1, 1), (2, 2)), splits=())
    """
    copies = tuple(1 << k for k in range(destinations))
    return Choices(copies, tuple((q, q) for q in copies))


def tree_choices(trees: Sequence[Tree], relays: int, local: bool) -> Choices:
    """What duplication trees allow, on their own statuses and on what is left of those behind destinations.

    Parameters
    ----------
    relays : int
        Destinations that send on what is not for them, as bits.
    local : bool
        Whether a status may split with both parts staying at the node; as printed it may not.

    Examples
    --------
    >>> tree_choices([Tree(3, ((1, 2),))], relays=0, local=False).moves
    ((1, 1), (2, 2), (3, 1), (3, 2), (3, 3))
    """
    entry = trees[0].root
    seen, waiting = {0}, [entry]
    moves: set[Pair] = set()
    while waiting:
        q = waiting.pop()
        if q in seen:
            continue
        seen.add(q)
        offered = {(q, s) for tree in trees for s in tree.choices(q)}
        moves |= offered
        behind = [q & ~bits for bits in parts(relays)]
        waiting += [*behind, *(part for _, s in offered for part in (s, q ^ s))]
    splits = tuple((q, s) for q, s in sorted(moves) if q ^ s < s != q) if local else ()
    return Choices((entry,), tuple(sorted(moves)), splits)


def relays_of(instance: Instance, cast: int) -> int:
    """Destinations of a cast, as bits, that have a way on after they were served."""
    graph = instance.layered
    edges = graph.edges_of(cast)
    return int(np.bitwise_or.reduce(graph.here[graph.tail[edges]], initial=np.uint64(0)))


@dataclass(frozen=True)
class Plan:
    """An optimum of the program.

    Attributes
    ----------
    scale : float
        The multiple of the instance's rates that is carried.
    cost : float
        Cost a slot.
    loads : (R,)
        What is taken of each resource a slot, in its own unit.
    prices : (R,)
        Of each resource: of the least cost, cost a unit; of the largest scale, scale a unit.
    """

    scale: float
    cost: float
    loads: FloatArray
    prices: FloatArray


@dataclass(frozen=True)
class Bounds:
    """Both sides of Proposition 1, of one instance: `multicast` and `unicast` are largest scales."""

    multicast: float
    unicast: float
    destinations: int

    @property
    def gain(self) -> float:
        """How much farther the ray reaches when packets are duplicated on the way."""
        return self.multicast / self.unicast

    @property
    def holds(self) -> bool:
        """Whether 1 <= gain <= D, to the precision of the program."""
        return 1 - 1e-7 <= self.gain <= self.destinations * (1 + 1e-7)


def largest_scale(instance: Instance, allowed: Sequence[Choices] | None = None) -> Plan:
    """The largest multiple of the casts' rates inside the region.

    Parameters
    ----------
    allowed : sequence of Choices, optional
        What each cast's packets may do; by default everything.

    Raises
    ------
    InstanceError
        When all rates are 0, or a cast has more than `MOST_DESTINATIONS` destinations and no choices are given.
    NotConverged
        When the solver gives up.
    """
    rates = np.array([cast.rate for cast in instance.casts])
    if not rates.any():
        raise InstanceError(instance.name, ["casts: all rates are 0; a ray needs at least one rate above 0"])
    program = _program(instance, allowed)
    balance = sparse.csr_array(sparse.hstack([program.balance, sparse.csr_array(-program.arrivals[:, None])]))
    usage = sparse.csr_array(sparse.hstack([program.usage, sparse.csr_array((program.usage.shape[0], 1))]))
    goal = np.append(np.zeros(balance.shape[1] - 1), -1.0)
    found = _solve(goal, usage, instance.layered.capacity, balance, np.zeros(balance.shape[0]))
    return _plan(instance, usage, found, float(found.x[-1]))


def least_cost(instance: Instance, allowed: Sequence[Choices] | None = None, scale: float = 1.0) -> Plan:
    """h*: the least cost a slot at which the casts' rates times `scale` are carried.

    Raises
    ------
    Infeasible
        When the rates lie outside the region; names the resources that limit them.
    InstanceError, NotConverged
        As `largest_scale`.
    """
    program = _program(instance, allowed)
    goal = program.usage.T @ instance.layered.cost
    found = _solve(goal, program.usage, instance.layered.capacity, program.balance, scale * program.arrivals)
    if found.status == 2:
        most = largest_scale(instance, allowed)
        narrow = tuple(str(instance.resources[r]) for r in np.flatnonzero(most.prices > 1e-9))
        raise Infeasible(
            f"{instance.name}: rates times {scale:g} found, at most times {most.scale:.6g} is accepted; "
            f"the limit is {', '.join(narrow)}",
            narrow,
            scale - most.scale,
        )
    return _plan(instance, program.usage, found, scale)


def proposition_1(instance: Instance) -> Bounds:
    """Both regions along the ray of the instance's rates."""
    unicast = [unicast_choices(len(cast.destinations)) for cast in instance.casts]
    most = max(len(cast.destinations) for cast in instance.casts)
    return Bounds(largest_scale(instance).scale, largest_scale(instance, unicast).scale, most)


def largest_on_routes(instance: Instance, routes: Sequence[IntArray]) -> Plan:
    """The largest scale where each cast's packets have one fixed route.

    Parameters
    ----------
    routes : sequence of arrays of int
        For each cast its route's edges in the layered graph, an edge as often as a packet's copies cross it.
    """
    graph = instance.layered
    loads = np.zeros(len(graph.capacity))
    for cast, edges in zip(instance.casts, routes, strict=True):
        np.add.at(loads, graph.resource[edges], cast.rate * graph.use[edges])
    if not loads.any():
        raise InstanceError(instance.name, ["casts: all rates are 0; a ray needs at least one rate above 0"])
    with np.errstate(divide="ignore"):
        scales = np.where(loads > 0, graph.capacity / loads, np.inf)
    narrow = int(scales.argmin())
    prices = np.zeros(len(scales))
    prices[narrow] = 1 / loads[narrow]
    scale = float(scales[narrow])
    return Plan(scale, scale * float(loads @ graph.cost), scale * loads, prices)


@dataclass(frozen=True)
class _Program:
    """Flows x are not negative; balance @ x = scale * arrivals and usage @ x <= capacity."""

    balance: sparse.csr_array
    usage: sparse.csr_array
    arrivals: FloatArray


def _program(instance: Instance, allowed: Sequence[Choices] | None) -> _Program:
    if allowed is None:
        limit = f"destinations, at most {MOST_DESTINATIONS} are accepted where all duplications are asked for"
        large = [cast for cast in instance.casts if len(cast.destinations) > MOST_DESTINATIONS]
        if large:
            raise InstanceError(instance.name, [f"cast {c.name}: {len(c.destinations)} {limit}" for c in large])
        allowed = [all_choices(len(cast.destinations)) for cast in instance.casts]
    parts = [_cast_program(instance, k, chosen) for k, chosen in enumerate(allowed)]
    return _Program(
        sparse.csr_array(sparse.block_diag([part.balance for part in parts])),
        sparse.csr_array(sparse.hstack([part.usage for part in parts])),
        np.concatenate([part.arrivals for part in parts]),
    )


def _cast_program(instance: Instance, cast: int, allowed: Choices) -> _Program:
    """One cast: a row for each vertex and status that may wait there, a column for each operation at its place."""
    graph, (low, high) = instance.layered, instance.layered.vertices[cast : cast + 2]
    edges, here = graph.edges_of(cast), graph.here[low:high].astype(np.int64)
    statuses = _statuses(allowed, here)
    waits = (here[:, None] & statuses) == 0
    number = np.where(waits, np.cumsum(waits).reshape(waits.shape) - 1, -1)

    def rows(vertex: IntArray, status: IntArray) -> IntArray:
        return np.asarray(number[vertex, statuses.searchsorted(status)])

    def columns(tail: IntArray, head: IntArray, pairs: Sequence[Pair]) -> tuple[IntArray, sparse.csr_array]:
        """Operations on `pairs` from vertices `tail` to `head`: whose they are, and their columns of the balance."""
        each, pair = np.divmod(np.arange(len(tail) * len(pairs)), max(len(pairs), 1))
        q, s = np.array(pairs, dtype=np.int64).reshape(-1, 2)[pair].T
        kept = rows(tail[each], q) >= 0
        each, q, s = each[kept], q[kept], s[kept]
        sent = s & ~here[head[each]]
        row = np.concatenate([rows(tail[each], q), rows(head[each], sent), rows(tail[each], q ^ s)])
        there = np.concatenate([q, sent, q ^ s]) > 0
        value = np.repeat([1.0, -1.0, -1.0], len(q))[there]
        ends = (row[there], np.tile(np.arange(len(q)), 3)[there])
        return each, sparse.csr_array((value, ends), shape=(int(waits.sum()), len(q)))

    each, moves = columns(graph.tail[edges] - low, graph.head[edges] - low, allowed.moves)
    anywhere = np.arange(high - low)
    _, splits = columns(anywhere, anywhere, allowed.splits)
    used = edges[each]
    usage = sparse.csr_array(
        (graph.use[used], (graph.resource[used], np.arange(len(used)))),
        shape=(len(graph.capacity), len(used) + splits.shape[1]),
    )
    arrivals = np.zeros(moves.shape[0])
    arrivals[rows(graph.source[cast] - low, np.array(allowed.entry))] = instance.casts[cast].rate
    return _Program(sparse.csr_array(sparse.hstack([moves, splits])), usage, arrivals)


def _statuses(allowed: Choices, here: IntArray) -> IntArray:
    """All statuses that operations name or deliver, with the empty one, sorted."""
    pairs = [*allowed.moves, *allowed.splits]
    found = {0, *allowed.entry, *(part for q, s in pairs for part in (q, s, q ^ s))}
    return np.array(sorted(found | {q & ~int(bits) for q in found for bits in np.unique(here)}), dtype=np.int64)


def _solve(
    goal: FloatArray, usage: sparse.csr_array, capacity: FloatArray, balance: sparse.csr_array, arrivals: FloatArray
) -> Any:
    """HiGHS's answer as SciPy gives it; status 2 says infeasible."""
    # SciPy's stubs know no sparse matrices here; SciPy does.
    found: Any = linprog(goal, usage, capacity, balance, arrivals, method="highs")  # type: ignore[call-overload]
    if found.status not in (0, 2):
        raise NotConverged(f"the stability region's linear program: {found.message}", int(found.nit), float("inf"))
    return found


def _plan(instance: Instance, usage: sparse.csr_array, found: Any, scale: float) -> Plan:
    loads = np.asarray(usage @ found.x)
    return Plan(scale, float(loads @ instance.layered.cost), loads, np.maximum(0.0, -found.ineqlin.marginals))
