"""The safe iteration with one price a resource: every session keeps to what it knows itself.

A session knows the laws of the resources on its routes, its own shares, and its part theta_kr of resource r: its rate
over the sum of the rates of all that may use r, so that sum_k theta_kr = 1. Both are told once. f_r is convex, so
whatever changes Delta_kr the sessions decide on, by Jensen's inequality

    f_r(x_r + sum_k Delta_kr)  <=  sum_k theta_kr f_r(x_r + Delta_kr / theta_kr)                      (J)

with equality where nothing changes. Each round every resource tells its price, which tells the load x_r, and every
session takes one Newton step on its own summand, cut back by itself until the summand falls. So the sum cannot rise,
every load stays strictly below capacity whatever the others do, and a point at rest is the optimum: (J) has the slope
of f_r at Delta = 0.

Sessions that should trade places fear that all others move with them; what (J) gives away there costs rounds. Momentum
wins some back: sessions go on by a part of their last change (Nesterov), unless a resource objects, of whose headroom
that would take over `_RECKLESS`, which is one bit, or the sum of all costs has risen, which is one number for all: then
everybody goes back to the last point and starts without momentum. So costs of accepted points fall.

Told in a round: each resource one price and one bit; and one sum of costs for all, with which the gap comes too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pricing.errors import NotConverged
from pricing.joint.safe import GAP, Run, Task, begin, reach, relative_gap
from pricing.values import FloatArray

MOST_ROUNDS = 5000

_SLOPE, _INSIDE = 0.9, 0.99
_RECKLESS = 0.5
_LEAST_PART = 0.01
"""Part of an answer's share that momentum leaves of it at least."""


def parts(task: Task) -> FloatArray:
    """theta_kr, shape (N, R); 1 where a session has no use for a resource."""
    stakes = np.array([task.usage[:, mine].max(axis=1) for mine in task.members])
    return np.asarray(np.where(stakes > 0, stakes / np.maximum(stakes.sum(axis=0), 1e-300), 1.0))


@dataclass(frozen=True)
class Own:
    """A session's own shares, slacks and next part of the barrier."""

    shares: FloatArray
    slack: FloatArray
    cut: float = 0.1


def own_step(task: Task, k: int, own: Own, load: FloatArray, part: FloatArray) -> Own:
    """One Newton step of session k on its summand of (J).

    Parameters
    ----------
    load : array of shape (R,)
        Believed load of each resource, strictly below capacity.
    part : array of shape (R,)
        theta_k.
    """
    usage, count = task.usage[:, task.members[k]], len(own.shares)
    value, price, slope = task.costs(load)
    used = usage.any(axis=1)
    usage, theta = usage[used], part[used]
    bend, price = slope[used] / theta, price[used]
    barrier = own.cut * float(own.shares @ own.slack) / count
    cost, scaled = usage.T @ price, usage * own.shares
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = (scaled.T * bend) @ scaled + np.diag(own.slack * own.shares)
    system[:count, count], system[count, :count] = -own.shares, own.shares
    relative = np.linalg.solve(system, np.append(barrier - own.shares * (cost - cost.min()), 0.0))[:count]
    move = own.shares * relative
    move[own.shares.argmax()] -= move.sum()
    relative = move / own.shares
    change = usage @ move
    model = float(bend @ change**2 + (own.slack * own.shares) @ relative**2)
    before, trial = value[used], load.copy()

    def stands(far: float) -> bool:
        trial[used] = load[used] + far * change / theta
        lost = float(theta @ (task.costs(trial)[0][used] - before) - far * price @ change)
        lost -= barrier * float((np.log1p(far * relative) - far * relative).sum())
        return lost <= _SLOPE * far * model + 1e-15 * float((before + price * load[used]).sum())

    far = min(1.0, _INSIDE * reach(own.shares, move))
    while far > 1e-9 and not stands(far):
        far *= 0.8
    follow = barrier / own.shares - own.slack - own.slack * relative
    slack = np.maximum(own.slack + min(1.0, _INSIDE * reach(own.slack, follow)) * follow, 1e-300)
    return Own(own.shares + far * move, slack, 0.05 if far > 0.9 else 0.5)


def run(task: Task, start: FloatArray | None = None, gap: float = GAP, most_rounds: int = MOST_ROUNDS) -> Run:
    """Rounds until the certified gap is reached; parameters and errors are those of `pricing.joint.safe.run`."""
    gaps = list[float]()
    for rounds, (shares, now) in enumerate(islice(points(task, start), most_rounds + 1)):
        gaps.append(now)
        if now <= gap:
            return Run(shares, now, tuple(gaps), rounds, rounds * numbers_told(task))
    raise NotConverged(f"no gap of {gap:.1e} in {most_rounds} rounds, it is {gaps[-1]:.2e}", most_rounds, gaps[-1])


def numbers_told(task: Task) -> int:
    """Numbers that one round passes: a price and a bit of each shared resource, and one sum for all."""
    return 2 * len(task.shared) + 1


def points(task: Task, start: FloatArray | None = None) -> Iterator[tuple[FloatArray, float]]:
    """Shares and their certified gap before the first round and after each, without end."""
    theta, first = parts(task), begin(task, start)
    owns = [Own(first.shares[mine], first.slack[mine]) for mine in task.members]
    here = last = first.shares
    lowest, pace, best = task.cost(here), 1.0, -np.inf
    while True:
        best = max(best, task.bound(here))
        yield here, relative_gap(task.cost(here), best)
        load = task.load(here)
        owns = [
            own_step(task, k, Own(here[mine], own.slack, own.cut), load, theta[k])
            for k, (mine, own) in enumerate(zip(task.members, owns, strict=True))
        ]
        found = _together(task, owns)
        cost = task.cost(found)
        if pace > 1 and cost > lowest:
            here, pace = last, 1.0
            continue
        faster = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        here = _go_on(task, found, (pace - 1) / faster * (found - last))
        last, lowest, pace = found, cost, 1.0 if here is found else faster


def _together(task: Task, owns: list[Own]) -> FloatArray:
    shares = np.empty(len(task.groups))
    for mine, own in zip(task.members, owns, strict=True):
        shares[mine] = own.shares
    return shares


def _go_on(task: Task, found: FloatArray, momentum: FloatArray) -> FloatArray:
    """The answers carried on, or themselves where a resource objects."""
    further = np.maximum(found + momentum, _LEAST_PART * found)
    further = further / np.bincount(task.groups, further)[task.groups]
    load = task.load(found)
    return found if (task.load(further) - load > _RECKLESS * (task.capacity - load)).any() else further
