"""Where an economy comes to rest: the welfare optimum, and every price equilibrium that can be found.

Users who take prices and waits as given rest where V' <= c with equality for options in use, and so does the welfare
problem: each price equilibrium (Theorem 2) is a stationary point of W and the other way round. W is not concave,
because the waits are not convex in the rates, so there may be several; only the best of them is the optimum, and no
search proves that it has seen all. Two searches, each from many starts:

- `optimum` climbs W: Newton's step in the rates that are not held at 0, with the curvature turned upward where it is
  not concave, and halved until W rises and every machine has time left. It ends in local maxima.
- `equilibria` solves the complementarity min(x, c - V') = 0 itself, by Newton's method, and so finds those between the
  maxima too, from which any breath of wind leads away.

Services that are indifferent between options may split over them in many ways at the same totals and welfare: those
count as one solution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pricing.errors import Infeasible, NotConverged
from pricing.priority.economy import Economy
from pricing.priority.state import State
from pricing.values import FloatArray

TOLERANCE = 1e-9
"""Residual of a solution, ratio."""

STARTS = 24
"""Starts of a search."""

FULL = 0.999
"""Load of a machine from which on a search that did not come to rest was on its way to fill it."""

POLISHED = 1e-4
"""Residual from which on Newton's own step needs no safeguard."""

PATIENT, EAGER = 0.1, 1e3
"""First steps of Newton's method: near to how people adapt, and near to Newton's own."""


@dataclass(frozen=True)
class Solution:
    """A state at rest: a price equilibrium.

    Parameters
    ----------
    state : State
        Rates, waits, prices, costs, welfare, and its residual.
    maximum : bool
        Whether W falls in every direction that moves options in use: a local maximum, or, where access is free, False.
    starts : int
        Starts that led here.
    """

    state: State
    maximum: bool
    starts: int = 1


@dataclass(frozen=True)
class Solutions:
    """All solutions that a search found, best first; `failed` starts led nowhere."""

    all: Sequence[Solution]
    failed: int = 0

    @property
    def best(self) -> State:
        """The one of most welfare."""
        return self.all[0].state

    def __str__(self) -> str:
        if len(self.all) == 1:
            return f"one solution found, W = {self.best.welfare:.6g}"
        listed = ", ".join(f"{solution.state.welfare:.6g}" for solution in self.all)
        return f"{len(self.all)} solutions found, W = {listed}; the first is the best of them, none is proven to be"


def optimum(economy: Economy, starts: int = STARTS, seed: int = 1, also: Sequence[FloatArray] = ()) -> Solutions:
    """Local maxima of welfare, best first; `also` adds starts, scaled below capacity where needed.

    Raises
    ------
    NotConverged
        When no start came to rest.
    """
    below = [x * min(1.0, 0.99 / max(float(economy.load(x).max()), 1e-300)) for x in also]
    return _gather(
        economy, [ascend(economy, x) for x in [*below, *starting_points(economy, starts, seed)]], priced=True
    )


def equilibria(economy: Economy, starts: int = STARTS, seed: int = 1) -> Solutions:
    """Price equilibria, best first: the maxima, and what Newton's method finds beside and between them.

    Raises
    ------
    NotConverged
        When no start came to rest.
    """
    points = list(starting_points(economy, starts, seed))
    tops = optimum(economy, starts, seed)
    ends = [solution.state.x for solution in tops.all]
    between = [a + part * (b - a) for a, b in combinations(ends, 2) for part in (0.1, 0.3, 0.5, 0.7, 0.9)]
    found = [newton(economy, x, haste=EAGER, rounds=50) for x in points + between if (economy.load(x) < 1).all()]
    return _gather(economy, ends + found, priced=True, counts=[solution.starts for solution in tops.all])


def free_access(economy: Economy, starts: int = STARTS, seed: int = 1) -> Solutions:
    """Where users rest who pay nothing, best first: one queue, first come, first served, for all would claim class 1.

    Raises
    ------
    NotConverged
        When no start came to rest.
    """
    alone = replace(economy, classes=1)
    points = starting_points(alone, starts, seed)
    return _gather(alone, [newton(alone, x, priced=False, haste=PATIENT) for x in points], priced=False)


def starting_points(economy: Economy, count: int, seed: int) -> Iterator[FloatArray]:
    """Nearly nothing; each service alone; then random services at random shares and loads. Each below capacity."""
    random = np.random.default_rng(seed)
    services = len(economy.services)
    for number in range(count):
        if number == 0:
            weights, load = np.ones(services), 1e-3
        elif number <= services:
            weights, load = 1.0 * (np.arange(services) == number - 1), 0.5
        else:
            weights, load = (
                random.exponential(size=services) * (random.random(services) < 0.8),
                random.uniform(0.05, 0.9),
            )
        shares = random.exponential(size=len(economy.owner)) ** 2
        x = (weights[economy.owner] + 1e-3) * shares * economy.scale
        yield x * load / economy.load(x).max()


def ascend(economy: Economy, x: FloatArray, rounds: int = 300) -> FloatArray:
    """Climb W from rates `x`, below capacity, by Newton's steps safeguarded; returns the rates where it ended."""
    state = State(economy, x)
    for _ in range(rounds):
        if state.residual < TOLERANCE * 1e-2:
            direction = _way_up(state)
            if direction is None:
                break
        else:
            direction = _newton_step(state)
        after = _climb(state, direction)
        if after is None:
            break
        state = after
    return newton(economy, state.x, haste=1e6, rounds=20) if state.residual < POLISHED else state.x


def _newton_step(state: State) -> FloatArray:
    """Newton's direction in the rates that are free, in units of the options' scales."""
    scale = state.economy.scale
    held = (state.x <= min(1e-6, state.residual) * scale) & (state.slack > 0)
    free = np.flatnonzero(~held)
    direction = np.zeros(len(state.x))
    if free.size:
        s = scale[free]
        curve, turn = np.linalg.eigh(state.slack_slopes[np.ix_(free, free)] * s[:, None] * s)
        size = np.maximum(np.abs(curve), 1e-11 * np.abs(curve).max() + 1e-300)
        direction[free] = -s * (turn @ ((turn.T @ (state.slack[free] * s)) / size))
    return direction


def _way_up(state: State) -> FloatArray | None:
    """From a point at rest that is no maximum, the direction in which W bends upward most; None from a maximum."""
    used, scale = np.flatnonzero(state.x > 1e-9 * state.economy.scale), state.economy.scale
    if not used.size:
        return None
    curve, turn = np.linalg.eigh(state.slack_slopes[np.ix_(used, used)] * scale[used][:, None] * scale[used])
    if curve[0] > -1e-8 * np.abs(curve).max():
        return None
    direction = np.zeros(len(state.x))
    direction[used] = turn[:, 0] * scale[used] * 1e-2
    return direction


def is_top(state: State) -> bool:
    """Whether W falls, from a state at rest, in every direction that moves options in use."""
    return _way_up(state) is None


def _climb(state: State, direction: FloatArray) -> State | None:
    """The first of ever shorter steps along `direction`, cut at 0, that lifts W with all machines below capacity."""
    size, dust = 1.0, 1e-14 * float(np.abs(state.values).sum() + np.abs(state.x * state.costs).sum())
    welfare = state.welfare
    while size > 1e-12:
        after = State(state.economy, np.maximum(state.x + size * direction, 0.0))
        if after.queues.stable:
            rise = after.welfare - welfare
            if rise > max(1e-4 * float(-state.slack @ (after.x - state.x)), dust):
                return after
            # W no longer tells so near to the top; the residual does.
            if abs(rise) <= dust and after.residual < 0.9 * state.residual:
                return after
        size /= 2
    return None


def newton(economy: Economy, x: FloatArray, priced: bool = True, haste: float = EAGER, rounds: int = 150) -> FloatArray:
    """Follow x' = V' - c from rates `x`, below capacity, by implicit steps of growing length, to where it ends.

    A step of relative length `haste` moves a rate by about that part of its scale for a slack of the size of its
    cost; an endless one is Newton's. It grows as the residual falls (switched evolution relaxation: W. Mulder and B.
    van Leer, 1985). From `EAGER` this is Newton's method and ends at any solution; from `PATIENT` it follows those
    who adapt.
    """
    state = State(economy, x, priced)
    for _ in range(rounds):
        if state.residual < TOLERANCE * 1e-3:
            break
        after = _step(state, haste)
        if after is None:
            break
        haste = float(
            np.clip(haste * np.clip(state.residual / max(after.residual, 1e-300), 0.5, 4.0), PATIENT / 10, 1e9)
        )
        state = after
    return state.x


def _step(state: State, haste: float) -> State | None:
    """One implicit step; rates that it would carry to 0 go there, and none fills a machine."""
    economy, scale = state.economy, state.economy.scale
    unit = np.maximum(state.costs, np.abs(state.marginals[economy.owner])) + 1e-300
    held = state.x / scale < min(haste, 1.0) * state.slack / unit
    free = np.flatnonzero(~held)
    direction = np.where(held, -state.x, 0.0)
    if free.size:
        slopes = state.slack_slopes[free]
        matrix = slopes[:, free] + np.diag(unit[free] / (scale[free] * haste))
        try:
            direction[free] = np.linalg.solve(matrix, -state.slack[free] - slopes @ direction)
        except np.linalg.LinAlgError:
            return None
    size, room = 1.0, 1 - economy.load(state.x)
    while size > 1e-9:
        after = replace(state, x=np.maximum(state.x + size * direction, 0.0))
        if (1 - economy.load(after.x) > 0.2 * room).all():
            return after
        size /= 2
    return None


def _gather(economy: Economy, ended: Sequence[FloatArray], priced: bool, counts: Sequence[int] = ()) -> Solutions:
    """Those at rest, each once, best first; `counts` says how many starts stand behind the first of them."""
    kept: list[Solution] = []
    failed, nearest, filled = 0, np.inf, -np.inf
    for x, count in zip(ended, [*counts, *[1] * (len(ended) - len(counts))], strict=True):
        state = State(economy, np.where(x > 1e-10 * economy.scale, x, 0.0), priced)
        nearest = min(nearest, state.residual)
        if state.residual > TOLERANCE * 1e2:
            failed += 1
            if economy.load(state.x).max() > FULL:
                filled = max(filled, state.welfare)
            continue
        for place, solution in enumerate(kept):
            apart = (solution.state.totals - state.totals) / economy.service_scale
            if np.abs(apart).max() < 1e-6:
                best = state if state.residual < solution.state.residual else solution.state
                kept[place] = replace(solution, state=best, starts=solution.starts + count)
                break
        else:
            kept.append(Solution(state, priced and is_top(state), count))
    calm = [service.name for service in economy.services if service.delay_cost == 0]
    if calm and filled > max((solution.state.welfare for solution in kept), default=-np.inf):
        raise Infeasible(
            f"welfare grows up to full load: delay costs {', '.join(calm)} nothing, and an endless queue in the last "
            "class is theirs alone, so no price below their value holds them back; give them a delay cost above 0"
        )
    if not kept:
        raise NotConverged(
            f"no start of {len(ended)} came to rest; the nearest residual is {nearest:.2g}, {TOLERANCE * 1e2:g} is "
            "accepted: try more starts",
            len(ended),
            float(nearest),
        )
    return Solutions(sorted(kept, key=lambda solution: -solution.state.welfare), failed)
