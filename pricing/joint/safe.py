"""The iteration that cannot fail: rounds of forecast prices, every one strictly feasible, to a certified optimum.

Sessions share resources (`Task`). What one session alone uses, such as a private access path, is its own business;
of what is shared, resource r has load x_r, cost f_r(x_r), price p_r = f_r'(x_r) and slope c_r = f_r''(x_r). A round:

1. Every resource tells its price. Every session answers with the change of loads Delta_k that it would make at these
   prices, and with the matrix K_k by which a rise of prices would change that: Delta_k(p + e) = Delta_k - K_k e.
2. With S = sum_k K_k and Delta = sum_k Delta_k, prices after the move are forecast: e_r = c_r (Delta - S e)_r. Every
   resource tells p_r + e_r instead, and every session decides on its change at these forecast prices.
3. Every resource and every session proposes how much of the change it can stand; all go the least of the proposals t.

A session weighs its routes by an interior-point method: with w its shares, s > 0 a slack of w >= 0 and mu the weight
of the barrier, its answer is the Newton step d of its own cost - mu sum log w, at prices told, sum d = 0. Steps 1 and 2
together are the Newton step of the whole cost, so with q_i = d_i' H_i d_i the part of resource or session i in its
curvature, the slope of the whole merit along the step is -sum_i q_i. A party's proposal is the largest t <= 1 with

    f_i(x + t d) - f_i(x) - t f_i'(x) d  <=  0.9 t q_i                                                    (P)

which is convex in t, so it holds for the least proposal t at every party, and the sum says that the merit falls by at
least t/10 of sum_i q_i: no sum of costs, no trial and no second guess is needed. f_r is infinite at capacity, so (P)
also keeps every load strictly below it. The slack follows its own Newton step.

What ends it is the gap. At its own prices a session knows by how much its traffic costs more than on its cheapest
route; the sum is the distance from the cost to a lower bound of the optimum (`pricing.joint.certificate`).

Told in a round, N sessions and n shared resources: each resource a price, a slope, a forecast price and a proposal;
each session a proposal, its excess, s'w, n numbers Delta_k and K_k, which is n (n + 1)/2 numbers in general and n where
every route uses one shared resource. Only sums (and the least) are needed, so a tree that adds up passes
n (n + 1)/2 + n + 3 numbers a link. Two exchanges make a round. `pricing.joint.local` makes do with one price.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from scipy.optimize import linprog

from pricing.delay import DelayLaw
from pricing.errors import Infeasible, NotConverged
from pricing.joint.descent import Costs, above_cheapest
from pricing.problem import IntArray
from pricing.values import FloatArray

GAP = 1e-6
"""Relative gap to stop at."""

MOST_ROUNDS = 200

CLOSEST = 1e-9
"""Part of its capacity that the most utilized resource must leave free at a start that is found."""

_SLOPE = 0.9
"""Part of the merit's slope that a step may lose to curvature, in (P)."""

_INSIDE = 0.99
"""Part of the way to a bound that a step takes at most."""

_ROUNDING = 1e-15
"""Part of a cost, and of load times price, up to which a difference of costs is not known."""

_REFINEMENTS = 4
"""Times that the forecast is worked out, the first from no forecast: two are enough but for rounding near capacity."""


@dataclass(frozen=True)
class Task:
    """Sessions with routes over resources, and what loads cost.

    Parameters
    ----------
    usage : array of shape (R, n)
        Load on each resource for all of a session on a route, bit/s or work/s.
    groups : integer array of shape (n,)
        Session of each route, 0 to N - 1, each with at least one.
    costs : Costs
        Loads (R,) to costs f_r, slopes and curvatures; infinite from capacity on.
    capacity : array of shape (R,)
        Load that each resource never reaches; may be infinite.
    """

    usage: FloatArray
    groups: IntArray
    costs: Costs
    capacity: FloatArray

    @cached_property
    def members(self) -> list[IntArray]:
        """The routes of each session."""
        return [np.flatnonzero(self.groups == k) for k in range(int(self.groups.max()) + 1)]

    @cached_property
    def users(self) -> FloatArray:
        """Whether a session has a route over a resource, shape (N, R), as 0 or 1."""
        return np.array([self.usage[:, mine].any(axis=1) for mine in self.members], dtype=float)

    @cached_property
    def shared(self) -> IntArray:
        """Resources that more than one session may use: those that must tell a price."""
        return np.flatnonzero(self.users.sum(axis=0) > 1)

    @cached_property
    def own(self) -> list[IntArray]:
        """Resources that each session alone uses."""
        alone = self.users.sum(axis=0) == 1
        return [np.flatnonzero(alone & (uses > 0)) for uses in self.users]

    def load(self, shares: FloatArray) -> FloatArray:
        """Load of each resource (R,)."""
        return np.asarray(self.usage @ shares)

    def cost(self, shares: FloatArray) -> float:
        """The sum of all costs; infinite where a load reaches capacity."""
        return float(self.costs(self.load(shares))[0].sum())

    def bound(self, shares: FloatArray) -> float:
        """A lower bound on the least cost, from the prices at these shares."""
        value, slope, _ = self.costs(self.load(shares))
        return float(value.sum() - shares @ above_cheapest(self.usage.T @ slope, self.groups))


@dataclass(frozen=True)
class State:
    """Shares (n,) of all routes, all above 0, the slacks (n,) that belong to them, and the next part of the barrier."""

    shares: FloatArray
    slack: FloatArray
    cut: float = 0.1


@dataclass(frozen=True)
class Run:
    """Where an iteration ended.

    Parameters
    ----------
    shares : array of shape (n,)
        Of the task's routes.
    gap : float
        Certified: (cost - best lower bound seen) / bound.
    gaps : tuple of float
        The same before the first round and after each.
    rounds : int
    numbers : int
        Numbers told in all rounds together, by resources and sessions, as the module's head counts them.
    """

    shares: FloatArray
    gap: float
    gaps: tuple[float, ...]
    rounds: int
    numbers: int


def costs_of(law: DelayLaw, weight: FloatArray | float = 1.0) -> Costs:
    """f_r(x) = weight_r x D_r(x) with slope and curvature."""

    def costs(load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return weight * law.cost(load), weight * law.marginal(load), weight * law.marginal_slope(load)

    return costs


def bipartite(rates: FloatArray, paths: DelayLaw, servers: DelayLaw) -> Task:
    """The joint paper's kind: source i on private access paths (i, j) to servers j.

    Parameters
    ----------
    rates : array of shape (I,)
        bit/s, all above 0.
    paths : DelayLaw of shape (I, J)
    servers : DelayLaw of shape (J,)

    Notes
    -----
    Routes are ordered (0, 0), (0, 1), ...; resources are the I J paths in that order, then the servers.
    """
    many, ends = np.shape(paths.capacity)
    every = np.repeat(rates, ends)
    usage = np.vstack([np.diag(every), np.tile(np.eye(ends), many) * every])
    private, common = costs_of(paths), costs_of(servers)

    def costs(load: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        first, last = private(load[:-ends].reshape(many, ends)), common(load[-ends:])
        value, slope, curvature = (np.append(a, b) for a, b in zip(first, last, strict=True))
        return value, slope, curvature

    groups = np.repeat(np.arange(many), ends)
    return Task(usage, groups, costs, np.append(paths.capacity, servers.capacity))


def find_start(task: Task) -> FloatArray:
    """Shares whose most utilized resource is utilized least, by a linear program.

    Raises
    ------
    Infeasible
        When that resource would come closer than `CLOSEST` to its capacity.
    """
    count = len(task.groups)
    bounded = np.isfinite(task.capacity)
    relative = task.usage[bounded] / task.capacity[bounded, None]
    sums = np.array([task.groups == k for k in range(len(task.members))], dtype=float)
    answer = linprog(
        np.append(np.zeros(count), 1.0),
        A_ub=np.hstack([relative, -np.ones((len(relative), 1))]),
        b_ub=np.zeros(len(relative)),
        A_eq=np.hstack([sums, np.zeros((len(sums), 1))]),
        b_eq=np.ones(len(sums)),
        method="highs",
    )
    found = np.ones(count + 1) if answer.x is None else np.asarray(answer.x)
    top = float(found[-1])
    if top >= 1 - CLOSEST:
        raise Infeasible(
            f"the demand is {top:.6g} times what fits on these routes; offer less, or add capacity or routes",
            excess=top - 1,
        )
    return np.maximum(found[:-1], 0.0)


def inside(task: Task, shares: FloatArray) -> FloatArray:
    """The shares mixed with a little of every route, so that all are above 0 and no headroom shrinks by over a tenth.

    Raises
    ------
    Infeasible
        When the shares given are not strictly feasible themselves.
    """
    shares = np.maximum(shares, 0.0)
    shares = shares / np.bincount(task.groups, shares)[task.groups]
    load = task.load(shares)
    if not (load < task.capacity).all():
        worst = int(np.argmax(load / task.capacity))
        raise Infeasible(
            f"the start loads resource {worst} with {load[worst]:.6g}, below {task.capacity[worst]:.6g} is accepted; "
            "give a strictly feasible start, or none"
        )
    even = task.load(1.0 / np.bincount(task.groups)[task.groups]) - load
    with np.errstate(divide="ignore"):
        room = np.where(even > 0, 0.1 * (task.capacity - load) / np.maximum(even, 1e-300), 1.0)
    part = min(0.05, float(room.min()))
    return np.asarray((1 - part) * shares + part / np.bincount(task.groups)[task.groups])


def begin(task: Task, start: FloatArray | None = None) -> State:
    """The state before the first round, from a strictly feasible start or from one that is found."""
    shares = inside(task, find_start(task) if start is None else start)
    excess = task.cost(shares) - task.bound(shares)
    floor = 1e-12 * task.cost(shares)
    return State(shares, max(excess, floor) / (len(shares) * shares))


def step(task: Task, state: State) -> State:
    """One round."""
    load = task.load(state.shares)
    _, price, slope = task.costs(load)
    count = len(state.shares)
    barrier = state.cut * float(state.shares @ state.slack) / count
    answers = [_Answer.of(task, k, state, price, slope, barrier) for k in range(len(task.members))]
    relative = _forecast(task, answers, slope)
    move = relative * state.shares
    for mine in task.members:
        move[mine[state.shares[mine].argmax()]] -= move[mine].sum()
    part = _least_proposal(task, state, move, load, barrier)
    follow = barrier / state.shares - state.slack - state.slack * relative
    slack = state.slack + min(1.0, _INSIDE * reach(state.slack, follow)) * follow
    cut = 0.05 if part > 0.9 else 0.2 if part > 0.5 else 0.5
    return State(state.shares + part * move, np.maximum(slack, 1e-300), cut)


@dataclass(frozen=True)
class _Answer:
    """How a session answers prices: changes relative to its shares are `gain` times its pull on its routes."""

    excess: FloatArray
    shares: FloatArray
    barrier: float
    gain: FloatArray
    common: FloatArray

    @classmethod
    def of(cls, task: Task, k: int, state: State, price: FloatArray, slope: FloatArray, barrier: float) -> _Answer:
        mine, own = task.members[k], task.own[k]
        shares, size = state.shares[mine], len(mine)
        # In units of the shares, so that small ones keep their digits.
        owned = task.usage[np.ix_(own, mine)] * shares
        system = np.zeros((size + 1, size + 1))
        system[:size, :size] = (owned.T * slope[own]) @ owned + np.diag(state.slack[mine] * shares)
        system[:size, size], system[size, :size] = -shares, shares
        gain: FloatArray = np.linalg.solve(system, np.eye(size + 1, size))[:size].astype(float)
        cost = task.usage[:, mine].T @ price
        common = task.usage[np.ix_(task.shared, mine)] * shares
        return cls(shares * (cost - cost.min()), shares, barrier, gain, common)

    def at(self, rise: FloatArray) -> FloatArray:
        """Changes of the shares, relative to them, when shared prices rise by this."""
        # Apart from what all routes cost, which is large near capacity, so that differences keep their digits.
        return np.asarray(self.gain @ (self.barrier - self.excess - rise @ self.common))


def _forecast(task: Task, answers: list[_Answer], slope: FloatArray) -> FloatArray:
    """All answers (n,), relative to the shares, at prices as they will be after them."""
    bend = np.sqrt(slope[task.shared])
    reply = sum((a.common @ a.gain @ a.common.T for a in answers), np.zeros((len(bend), len(bend))))
    # Symmetric, with eigenvalues of at least 1: near capacity slopes are so large that rounding exceeds the 1. What it
    # belongs to, a rise of all prices together, moves nobody, and must only not be blown up.
    values, vectors = np.linalg.eigh(bend[:, None] * (reply + reply.T) * bend / 2)
    rise, relative = np.zeros(len(bend)), np.zeros(len(task.groups))
    for _ in range(_REFINEMENTS):
        wanted = np.zeros(len(bend))
        for mine, answer in zip(task.members, answers, strict=True):
            relative[mine] = answer.at(bend * rise)
            wanted += answer.common @ relative[mine]
        rise += vectors @ ((vectors.T @ (bend * wanted - rise)) / (1 + np.maximum(values, 0.0)))
    return relative


def reach(point: FloatArray, move: FloatArray) -> float:
    """How far along `move` all entries stay at or above 0."""
    falling = move < -1e-300
    with np.errstate(over="ignore"):
        return float((point[falling] / -move[falling]).min()) if falling.any() else np.inf


def _least_proposal(task: Task, state: State, move: FloatArray, load: FloatArray, barrier: float) -> float:
    """The least of all t that resources and sessions propose by (P), each from what it knows itself."""
    value, price, slope = task.costs(load)
    change = task.load(move)
    relative = move / state.shares
    stiff = state.slack * state.shares * relative**2

    def stands(part: float) -> bool:
        lost = task.costs(load + part * change)[0] - value - part * price * change
        rest = _SLOPE * part * slope * change**2 - lost + _ROUNDING * (np.abs(value) + price * load)
        bent = _SLOPE * part * stiff + barrier * (np.log1p(part * relative) - part * relative)
        if (rest[task.shared] < 0).any():
            return False
        return all(
            rest[own].sum() + bent[mine].sum() + _ROUNDING * barrier >= 0
            for own, mine in zip(task.own, task.members, strict=True)
        )

    part = min(1.0, _INSIDE * reach(state.shares, move))
    while part > 1e-9 and not stands(part):
        part *= 0.9
    return part if stands(part) else 0.0


def numbers_told(task: Task) -> int:
    """Numbers that one round passes, as the module's head counts them: by resources four each, by sessions the rest."""
    shared, sessions = len(task.shared), len(task.members)
    single = all((task.usage[np.ix_(task.shared, mine)] > 0).sum(axis=0).max(initial=0) <= 1 for mine in task.members)
    matrix = shared if single else shared * (shared + 1) // 2
    return 4 * shared + sessions * (3 + shared + matrix)


def run(task: Task, start: FloatArray | None = None, gap: float = GAP, most_rounds: int = MOST_ROUNDS) -> Run:
    """Rounds until the certified gap is reached.

    Parameters
    ----------
    start : array of shape (n,), optional
        Shares whose loads lie strictly below capacity; found when none is given.

    Raises
    ------
    Infeasible
        When the start is not strictly feasible, or none exists.
    NotConverged
        When `most_rounds` did not reach the gap.
    """
    gaps = list[float]()
    for rounds, (shares, now) in enumerate(islice(points(task, start), most_rounds + 1)):
        gaps.append(now)
        if now <= gap:
            return Run(shares, now, tuple(gaps), rounds, rounds * numbers_told(task))
    raise NotConverged(f"no gap of {gap:.1e} in {most_rounds} rounds, it is {gaps[-1]:.2e}", most_rounds, gaps[-1])


def points(task: Task, start: FloatArray | None = None) -> Iterator[tuple[FloatArray, float]]:
    """Shares and their certified gap before the first round and after each, without end."""
    state, best = begin(task, start), -np.inf
    while True:
        best = max(best, task.bound(state.shares))
        yield state.shares, relative_gap(task.cost(state.shares), best)
        state = step(task, state)


def relative_gap(cost: float, bound: float) -> float:
    """(cost - bound) / bound; infinite while the bound is not above 0, 0 where nothing costs."""
    if cost <= bound:
        return 0.0
    return (cost - bound) / bound if bound > 0 else np.inf
