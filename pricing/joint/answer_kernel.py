"""The answers of all sessions in one round of `pricing.joint.iteration`, compiled.

Each session minimises its summand of (J) there over its own routes, a few at a time: the primal-dual interior point of
`pricing.joint.descent` for one group, with the queues' costs written out,

    f(x) = w (a x^2/(C - x) + b x)      f' = w (a (C^2/(C - x)^2 - 1) + b)      f'' = 2 w a C^2/(C - x)^3

Plain functions of arrays that trust their input. Compiled once by Numba and kept beside the sources.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pricing.joint.tree_kernel import IntArray, compiled
from pricing.values import FloatArray

_STEPS, _PATIENCE, _INSIDE = 80, 12, 0.99


class Queues(NamedTuple):
    """Scale a, base b, capacity C and weight w of each resource, shape (R,)."""

    scale: FloatArray
    base: FloatArray
    capacity: FloatArray
    weight: FloatArray


class Ways(NamedTuple):
    """Routes in one row, session by session: session k has first[k] to first[k + 1], route n loads the resources
    used[start[n]:start[n + 1]] by `amount` a bit/s."""

    first: IntArray
    start: IntArray
    used: IntArray
    amount: FloatArray


@compiled
def _costs(queues: Queues, rows: IntArray, own: FloatArray, part: FloatArray, load: FloatArray, mine: FloatArray,
           slope: FloatArray, bend: FloatArray) -> float:  # fmt: skip
    """A session's summand at a load of its own, with slopes and curvatures; infinite from capacity on."""
    total = 0.0
    for i in range(rows.size):
        r = rows[i]
        x = load[r] + (mine[i] - own[i]) / part[i]
        room = queues.capacity[r] - x
        if not room > 0.0:
            return np.inf
        a, b, w, near = queues.scale[r], queues.base[r], queues.weight[r], queues.capacity[r] / room
        total += part[i] * w * (a * x * x / room + b * x)
        slope[i] = w * (a * (near * near - 1.0) + b)
        bend[i] = 2.0 * w * a * near * near / room / part[i]
    return total


@compiled
def _solve(matrix: FloatArray, right: FloatArray) -> None:
    """Solve a symmetric positive system for each row of `right`, in place (Cholesky)."""
    size = matrix.shape[0]
    for j in range(size):
        for i in range(j, size):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = np.sqrt(max(value, 1e-300)) if i == j else value / matrix[j, j]
    for c in range(right.shape[0]):
        for i in range(size):
            for k in range(i):
                right[c, i] -= matrix[i, k] * right[c, k]
            right[c, i] /= matrix[i, i]
        for i in range(size - 1, -1, -1):
            for k in range(i + 1, size):
                right[c, i] -= matrix[k, i] * right[c, k]
            right[c, i] /= matrix[i, i]


@compiled
def _reach(point: FloatArray, move: FloatArray) -> float:
    """How far along `move` all entries stay above 0, and a little less; at most 1."""
    far = 1.0
    for i in range(point.size):
        if move[i] < 0.0:
            far = min(far, _INSIDE * point[i] / -move[i])
    return far


@compiled
def _descend(queues: Queues, rows: IntArray, usage: FloatArray, part: FloatArray, load: FloatArray, start: FloatArray,
             tolerance: float) -> FloatArray:  # fmt: skip
    """The shares (n,) of least summand, from ones whose loads lie inside; usage has shape (resources, n)."""
    count = start.size
    own = usage @ start
    slope, bend = np.empty(rows.size), np.empty(rows.size)
    value = _costs(queues, rows, own, part, load, own, slope, bend)
    shares, room = start.copy(), 0.05
    while room > 1e-9:
        shares = (1.0 - room) * start + room / count
        mixed = _costs(queues, rows, own, part, load, usage @ shares, slope, bend)
        if mixed <= value + 0.1 * abs(value):
            break
        room /= 4.0
    value = _costs(queues, rows, own, part, load, usage @ shares, slope, bend)
    gradient = usage.T @ slope
    excess, paid = float(shares @ (gradient - gradient.min())), float(shares @ gradient)
    if not paid > 0.0:
        return start
    slack = max(excess, tolerance * paid) / (count * shares)
    best, best_gap, best_step, cut = shares, excess / paid, 0, 0.1
    for step in range(1, _STEPS + 1):
        barrier = cut * float(shares @ slack) / count
        scaled = usage * shares
        system = (scaled.T * bend) @ scaled
        pull = barrier / shares - (gradient - gradient.min())
        right = np.empty((2, count))
        for i in range(count):
            system[i, i] += slack[i] * shares[i]
            right[0, i], right[1, i] = pull[i] * shares[i], shares[i]
        _solve(system, right)
        meet = float(shares @ right[0]) / float(shares @ right[1])
        move = shares * (right[0] - meet * right[1])
        move[shares.argmax()] -= move.sum()
        follow = barrier / shares - slack - slack / shares * move
        far, fall = _reach(shares, move), float(pull @ move)
        merit = value - barrier * float(np.log(shares).sum())
        while True:
            trial = shares + far * move
            value = _costs(queues, rows, own, part, load, usage @ trial, slope, bend)
            if value - barrier * float(np.log(trial).sum()) <= merit - 1e-4 * far * fall + 1e-13 * abs(merit):
                break
            far /= 2.0
            if far < 1e-10:
                return best
        shares = trial
        slack = np.maximum(slack + _reach(slack, follow) * follow, 1e-300)
        gradient = usage.T @ slope
        excess, paid = float(shares @ (gradient - gradient.min())), float(shares @ gradient)
        if excess < best_gap * paid:
            best, best_gap, best_step = shares, excess / paid, step
        if best_gap <= tolerance or step - best_step > _PATIENCE:
            break
        cut = 0.05 if far > 0.9 else 0.5
    return best


@compiled
def answers(ways: Ways, queues: Queues, rates: FloatArray, shares: FloatArray, load: FloatArray,
            tolerance: float) -> FloatArray:  # fmt: skip
    """Shares (n,) that sessions of `rates` (K,) answer, from `shares`, at the expected loads (R,).

    A session's part of a resource is its rate over the sum of the rates of all sessions with a route over it.
    """
    stakes, mark = np.zeros(load.size), np.full(load.size, -1)
    for k in range(rates.size):
        for i in range(ways.start[ways.first[k]], ways.start[ways.first[k + 1]]):
            if mark[ways.used[i]] != k:
                mark[ways.used[i]] = k
                stakes[ways.used[i]] += rates[k]
    found, place = shares.copy(), np.empty(load.size, np.int64)
    mark[:] = -1
    for k in range(rates.size):
        low, high = ways.first[k], ways.first[k + 1]
        if high - low < 2:
            found[low:high] = 1.0
            continue
        begin, end = ways.start[low], ways.start[high]
        rows, count = np.empty(end - begin, np.int64), 0
        for i in range(begin, end):
            if mark[ways.used[i]] != k:
                mark[ways.used[i]], place[ways.used[i]], rows[count] = k, count, ways.used[i]
                count += 1
        rows = rows[:count]
        usage, part = np.zeros((count, high - low)), rates[k] / stakes[rows]
        for n in range(low, high):
            for i in range(ways.start[n], ways.start[n + 1]):
                usage[place[ways.used[i]], n - low] += rates[k] * ways.amount[i]
        start = shares[low:high] / shares[low:high].sum()
        found[low:high] = _descend(queues, rows, usage, part, load, start, tolerance)
    return found
