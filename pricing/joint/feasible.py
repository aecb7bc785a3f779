"""Whether the demand can be carried at all, and if not, what stands in its way.

A linear program over the loads of all links and servers spreads the sessions so that the top utilization theta is
least:

    minimise theta   s.t.   flow conservation of each session,   load_r <= theta C_r

theta < 1 is a strictly feasible allocation to start from. Otherwise the resources with a positive dual are the cut:
every allocation loads them with theta times what they can do, so the demand is over by (theta - 1) times their
capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pricing.errors import Infeasible
from pricing.network import Allocation, Network, Route, Session
from pricing.problem import Problem, make_allocation, problem_of
from pricing.routes import cheapest_route
from pricing.shortest import shortest_path
from pricing.values import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import coo_array

STRICT = 1e-6
"""Part of every capacity that an allocation must leave free to count as strictly feasible."""

_USED = 1e-9


@dataclass(frozen=True)
class Column:
    """One variable of the program: a session's share on a step from node to node, or from a node into a server."""

    session: int
    tail: str
    head: str
    uses: tuple[tuple[int, float], ...]


def columns(problem: Problem, session: Session, number: int) -> list[Column]:
    """Every link and server that a session may use, with the load of a bit/s on the resources it touches."""
    network = problem.network
    answer = session.response_bits / session.frame_bits
    found = []
    for (src, dst), i in network.link_index.items():
        back = network.link_index.get((dst, src))
        if not answer:
            found.append(Column(number, src, dst, ((i, 1.0),)))
        elif back is not None:
            found.append(Column(number, src, dst, ((i, 1.0), (back, answer))))
    for j, server in enumerate(network.servers):
        if session.kind == "anycast" and server.name in session.destinations:
            use = (problem.link_count + j, session.work / session.frame_bits)
            found.append(Column(number, server.node, "", (use,)))
    return found


def conservation(network: Network, active: list[int], every: list[Column]) -> tuple[coo_array, FloatArray]:
    """Flow conservation of each active session at each node, as (matrix, right side); the sink needs no row."""
    from scipy.sparse import coo_array

    rows = {(k, node.name): i for i, (k, node) in enumerate((k, node) for k in active for node in network.nodes)}
    entries = [(rows[c.session, c.tail], n, 1.0) for n, c in enumerate(every)]
    entries += [(rows[c.session, c.head], n, -1.0) for n, c in enumerate(every) if c.head]
    right = np.zeros(len(rows))
    for k in active:
        session = network.sessions[k]
        right[rows[k, session.source]] = 1.0
        if session.kind == "unicast":
            right[rows[k, session.destinations[0]]] = -1.0
    i, j, value = zip(*entries, strict=True)
    return coo_array((value, (i, j)), shape=(len(rows), len(every))), right


def least_top_utilization(network: Network, offered: FloatArray | None = None) -> Allocation:
    """The allocation whose most utilized resource is utilized least; strictly feasible wherever one is.

    Raises
    ------
    Infeasible
        When that resource would reach its capacity. The message names the servers or links that limit, what they can do
        together, and what is asked of them.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    problem = problem_of(network)
    rates = problem.rates if offered is None else np.asarray(offered, dtype=float)
    active = [k for k, rate in enumerate(rates) if rate > 0]
    every = [column for k in active for column in columns(problem, network.sessions[k], k)]
    if not active:
        return _finish(problem, [])
    if any(session.kind == "multicast" for session in network.sessions):
        return _packed(problem, rates, active)
    balance, right = conservation(network, active, every)
    uses = [(r, n, a * rates[c.session] / problem.capacity[r]) for n, c in enumerate(every) for r, a in c.uses]
    uses += [(r, len(every), -1.0) for r in range(len(problem.capacity))]
    i, j, value = zip(*uses, strict=True)
    answer = linprog(  # type: ignore[call-overload]  # its stubs know dense arrays only
        np.append(np.zeros(len(every)), 1.0),
        A_ub=coo_array((value, (i, j)), shape=(len(problem.capacity), len(every) + 1)).tocsr(),
        b_ub=np.zeros(len(problem.capacity)),
        A_eq=coo_array((balance.data, balance.coords), shape=(balance.shape[0], len(every) + 1)).tocsr(),
        b_eq=right,
        method="highs",
    )
    if answer.x is None:
        raise Infeasible(f"network {network.name}: no session's route has a way back for its answers")
    if answer.x[-1] >= 1 - STRICT:
        raise _cut(problem, float(answer.x[-1]), -answer.ineqlin.marginals)
    routes: list[tuple[Route, float]] = []
    for k in active:
        shares = {c: float(x) for c, x in zip(every, answer.x, strict=False) if c.session == k and x > _USED}
        routes += _peel(network.sessions[k], shares, problem)
    return _finish(problem, routes)


def _packed(problem: Problem, rates: FloatArray, active: list[int]) -> Allocation:
    """The same with trees, which are too many to write down: those are added that are cheapest at the duals.

    A tree is no flow with a conservation law of its own, so the program's variables are routes. Up to as many
    destinations as lightest trees are found for, the answer is the optimum over all of them.
    """
    from scipy.optimize import linprog

    sessions, size = problem.network.sessions, len(problem.capacity)
    routes = [
        route for route, _ in shortest_path(problem.network) if problem.network.session_index[route.session] in active
    ]
    while True:
        owner = np.array([active.index(problem.network.session_index[route.session]) for route in routes])
        usage = problem.usage_matrix(routes) * rates[active][owner] / problem.capacity[:, None]
        chosen = np.vstack([owner == place for place in range(len(active))]).astype(float)
        answer: Any = linprog(
            np.append(np.zeros(len(routes)), 1.0),
            A_ub=np.hstack([usage, -np.ones((size, 1))]),
            b_ub=np.zeros(size),
            A_eq=np.hstack([chosen, np.zeros((len(active), 1))]),
            b_eq=np.ones(len(active)),
            method="highs",
        )
        prices = np.maximum(-answer.ineqlin.marginals, 0.0) / problem.capacity
        found = [cheapest_route(problem, sessions[k], prices) for k in active]
        gain = answer.x[-1] - sum(rates[k] * cost for k, (_, cost) in zip(active, found, strict=True))
        new = [route for route, _ in found if route not in routes]
        if gain <= _USED or not new:
            break
        routes += new
    if answer.x[-1] >= 1 - STRICT:
        raise _cut(problem, float(answer.x[-1]), -answer.ineqlin.marginals)
    kept = [(route, float(weight)) for route, weight in zip(routes, answer.x, strict=False) if weight > _USED]
    return _finish(problem, kept)


def _finish(problem: Problem, routes: list[tuple[Route, float]]) -> Allocation:
    """The allocation of these routes, sessions without one on their cheapest at no load."""
    idle = problem.unit_prices(np.zeros(len(problem.capacity)))
    served = {route.session for route, _ in routes}
    rest = [cheapest_route(problem, s, idle)[0] for s in problem.network.sessions if s.name not in served]
    return make_allocation([*(r for r, _ in routes), *rest], [*(w for _, w in routes), *([1.0] * len(rest))])


def _peel(session: Session, shares: dict[Column, float], problem: Problem) -> list[tuple[Route, float]]:
    """Routes that add up to the shares on steps; what runs in circles is left behind."""
    servers = {problem.link_count + j: server.name for j, server in enumerate(problem.network.servers)}
    found: list[tuple[Route, float]] = []
    while path := _walk(session, shares):
        weight = min(shares[column] for column in path)
        for column in path:
            shares[column] -= weight
        links = tuple((column.tail, column.head) for column in path if column.head)
        server = "" if path[-1].head else servers[path[-1].uses[0][0]]
        found.append((Route(session.name, links, server), weight))
        shares = {column: share for column, share in shares.items() if share > _USED}
    return found


def _walk(session: Session, shares: dict[Column, float]) -> list[Column]:
    """A simple path of steps that carry something, from the source to an end; the fullest first."""
    goal = session.destinations[0] if session.kind == "unicast" else ""
    before: dict[str, Column] = {}
    reached, seen = [session.source], {session.source}
    for node in reached:
        for column in sorted((c for c in shares if c.tail == node), key=lambda c: (-shares[c], c.head, c.uses)):
            if column.head == goal:
                path = [column]
                while path[0].tail != session.source:
                    path.insert(0, before[path[0].tail])
                return path
            if column.head and column.head not in seen:
                before[column.head] = column
                seen.add(column.head)
                reached.append(column.head)
    return []


def _cut(problem: Problem, theta: float, duals: FloatArray) -> Infeasible:
    """The error that names the resources whose capacity limits."""
    tight = np.flatnonzero(duals > 1e-6 * duals.max())
    parts, excesses = [], []
    links, servers = problem.network.links, problem.network.servers
    for kind, names, unit in (
        ("server", {r: servers[r - problem.link_count].name for r in tight if r >= problem.link_count}, "work/s"),
        ("link", {r: str(links[r]) for r in tight if r < problem.link_count}, "bit/s"),
    ):
        if not names:
            continue
        able = float(problem.capacity[list(names)].sum())
        asked = theta * able
        several = len(names) > 1
        subject = f"{kind}{'s' if several else ''} {', '.join(sorted(names.values()))}{' together' if several else ''}"
        verb = ("do" if several else "does") if kind == "server" else ("carry" if several else "carries")
        asking = "are" if round(asked) != 1 else "is"
        parts.append(f"{subject} {verb} {able:,.6g} {unit}, {asked:,.6g} {asking} asked: {asked - able:,.6g} too much")
        excesses.append(asked - able)
    head = f"network {problem.network.name}: the demand is {theta:.4g} times what fits. "
    mend = f". Offer at most {1 / theta:.4g} of the rates, or add capacity there"
    named = sorted(servers[r - problem.link_count].name if r >= problem.link_count else str(links[r]) for r in tight)
    return Infeasible(head + "; ".join(parts) + mend, tuple(named), excesses[0])
