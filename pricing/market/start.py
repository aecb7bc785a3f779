"""Where the program of a large market starts: prices by ascent, then the demands that are undecided at them.

With thousands of demands a simplex method is slow, for its basis has a row for each; yet at the right prices nearly
every demand has one route that is cheapest, and only about as many are undecided as resources are full. So

1. the dual bound of the market, min over routes for each demand, is a function of the resources' prices alone,

       g(y) = sum_d rate_d min(value_d, cost_d(y)) - y u,    dg/dy = load(y) - u,

   and with thousands of demands nearly smooth: L-BFGS-B comes within parts of a hundred of its top, and each step
   costs one search for routes for each workload;
2. the demands that had several routes on the last steps are *open*: the program of these alone, with what all others
   load taken from the capacities, is small. An interior point method solves it, its crossover finds a basis, and the
   simplex method goes on when routes that cost less at its duals open further demands, until there are none. They are
   looked for at prices between the duals and those of the best bound, which calms them (Wentges 1997).

Nothing here has to be exact: the whole program (`pricing.market.program`) goes on from the basis found, and proves it.
Everything is scaled as there; a resource is an asset or a link, in the order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numba import njit
from scipy.optimize import minimize
from scipy.sparse import csc_matrix, hstack, vstack

from pricing.market.program import Basis, Column, Program, basis, solver
from pricing.market.search import IntArray, Way
from pricing.values import FloatArray

LARGE = 1_000
"""Demands from which a start is worth its time (ours)."""

STEPS, SPREAD, APART = 150, 15, 8
"""Searches of the ascent, and from how many of the last, so far apart, routes are taken (ours)."""

FIRST = 0.05
"""Price of every resource that the ascent starts from, scaled (ours)."""

CALMS = 0.5, 0.0
"""Weights of the prices of the best bound among those at which routes are looked for: the next where there are none
(ours)."""

TOLERANCE = 1e-9
"""Of reduced costs."""

MOST_ROUNDS = 100
"""Of the small program; the whole one goes on from wherever that leads (ours)."""

_LOWER, _BASIC = int(highspy.HighsBasisStatus.kLower), int(highspy.HighsBasisStatus.kBasic)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _gather(
    step: IntArray, onward: IntArray, ends: IntArray
) -> tuple[IntArray, IntArray, IntArray]:  # pragma: no cover
    """The links from each label, in CSR form, and the number of the end that each leads to."""
    first = np.zeros(len(ends) + 1, np.int64)
    at = np.empty(len(ends), np.int64)
    for r in range(len(ends)):
        label = ends[r]
        first[r + 1] = first[r]
        while step[label] >= 0:
            first[r + 1] += 1
            label = onward[label]
        at[r] = -1 - step[label]
    links = np.empty(first[-1], np.int64)
    for r in range(len(ends)):
        label = ends[r]
        for place in range(first[r], first[r + 1]):
            links[place] = step[label]
            label = onward[label]
    return first, links, at


def startable(program: Program) -> bool:
    """Whether a program is so large that a start is worth its time, and of the kind that `Start` takes."""
    frame = program.frame
    single = frame.market.periods == 1 and len(program.extras) == frame.demands
    return single and frame.demands >= LARGE


@dataclass(frozen=True)
class Routes:
    """Routes as arrays: demand and asset of each, links of route j from `first[j]` to `first[j + 1]`, scaled cost."""

    demand: IntArray
    asset: IntArray
    first: IntArray
    links: IntArray
    cost: FloatArray


class Start:
    """The search for a first basis of a program in which every demand is of one period and one value.

    Parameters
    ----------
    program : Program
        Without routes so far.
    """

    def __init__(self, program: Program) -> None:
        self.program, self.frame = program, program.frame
        frame, loads = self.frame, self.frame.market.workloads
        self.rate, self.room = program.upper[: frame.demands], program.upper[frame.demands :]
        self.value = np.array([extra.cost for extra in program.extras])
        kind = np.array(frame.workload)
        self.work = np.array([load.compute / frame.work for load in loads])[kind]
        self.out = np.array([load.bits_out / frame.bits for load in loads])[kind]
        self.back = np.array([load.bits_back / frame.bits for load in loads])[kind]
        self.unit = np.concatenate(
            [np.full(frame.assets, frame.money / frame.work), np.full(frame.links, frame.money / frame.bits)]
        )
        self.best, self.center = -np.inf, np.zeros(len(self.room))
        self.batches: list[Routes] = []
        self.matrix = csc_matrix((len(self.room), 0))
        self.demand, self.cost = np.empty(0, np.int64), np.empty(0)
        self.known: set[tuple[int, int, bytes]] = set()

    def run(self) -> tuple[list[Column], Basis]:
        """Routes, and a basis of the program in these; O(nodes x workloads) a search."""
        steps = self._ascend()
        self.take(self.search(self.center)[1])
        for prices in steps:
            self.take(self.search(prices)[1])
        core = _Core(self)
        for _ in range(MOST_ROUNDS):
            core.solve()
            if not self._improve(core):
                break
        return self._columns(core)

    def search(self, prices: FloatArray) -> tuple[float, Routes]:
        """The dual bound at prices (R,), and the cheapest route of each demand where it costs less than its value."""
        frame, market = self.frame, self.frame.market
        tolled = prices * self.unit
        compute, tolls = frame.costs[:, 0] + tolled[: frame.assets], frame.fees + tolled[frame.assets :]
        least, found = self.value.copy(), []
        for (k, _), which in frame.tasks.items():
            limit, regions = float(self.program.limits[k]), frame.region[which]
            step, onward, cost, best = frame.searcher.settled(k, compute, tolls, limit, regions)
            ends = best[regions]
            price = np.where(ends >= 0, cost[ends], np.inf) / frame.money
            cheap = price < least[which]
            least[which] = np.where(cheap, price, least[which])
            first, links, at = _gather(step, onward, ends[cheap])
            assets = frame.searcher.runs[k][at]
            fees = np.concatenate([[0.0], np.cumsum(frame.searcher.step_costs(k, frame.fees)[links])])
            own = market.workloads[k].compute * frame.costs[assets, 0] + fees[first[1:]] - fees[first[:-1]]
            found.append((which[cheap], assets, np.diff(first), links, own / frame.money))
        demand, assets, length, links, own = (np.concatenate(each) for each in zip(*found, strict=True))
        bound = float(self.rate @ least - prices @ self.room)
        if bound > self.best:
            self.best, self.center = bound, prices
        return bound, Routes(demand, assets, np.concatenate([[0], np.cumsum(length)]), links, own)

    def load(self, routes: Routes) -> FloatArray:
        """What all demands load each resource with, each on its route (R,)."""
        rate, frame = self.rate[routes.demand], self.frame
        moved = np.repeat(routes.demand, np.diff(routes.first))
        rows = np.concatenate(
            [routes.asset, frame.assets + routes.links, frame.assets + frame.searcher.back[routes.links]]
        )
        each = self.rate[moved]
        weights = np.concatenate([self.work[routes.demand] * rate, self.out[moved] * each, self.back[moved] * each])
        found: FloatArray = np.bincount(rows, weights, len(self.room)).astype(np.float64)
        return found

    def used(self, routes: Routes) -> csc_matrix:
        """What a token on each route takes of each resource, shape (R, routes)."""
        count, frame = len(routes.demand), self.frame
        of = np.repeat(np.arange(count), np.diff(routes.first))
        kind, links = routes.demand[of], frame.assets + routes.links
        back = frame.assets + frame.searcher.back[routes.links]
        values = np.concatenate([self.work[routes.demand], self.out[kind], self.back[kind]])
        rows = np.concatenate([routes.asset, links, back])
        return csc_matrix((values, (rows, np.concatenate([np.arange(count), of, of]))), (len(self.room), count))

    def take(self, routes: Routes) -> IntArray:
        """Take in those that are not known; their demands."""
        new = []
        for j, (d, a) in enumerate(zip(routes.demand.tolist(), routes.asset.tolist(), strict=True)):
            key = d, a, routes.links[routes.first[j] : routes.first[j + 1]].tobytes()
            if key not in self.known:
                self.known.add(key)
                new.append(j)
        fresh = _only(routes, np.array(new, dtype=np.int64))
        if not new:
            return fresh.demand
        self.batches.append(fresh)
        self.matrix = hstack([self.matrix, self.used(fresh)], format="csc")
        self.demand, self.cost = np.append(self.demand, fresh.demand), np.append(self.cost, fresh.cost)
        return fresh.demand

    def _ascend(self) -> list[FloatArray]:
        """Climb towards the best bound; prices of some of the last steps."""
        steps: list[FloatArray] = []

        def fall(prices: FloatArray) -> tuple[float, FloatArray]:
            steps.append(prices.copy())
            bound, routes = self.search(steps[-1])
            return -bound / total, (self.room - self.load(routes)) / total

        total = float(self.rate.sum())
        bounds = [(0.0, None)] * len(self.room)
        begun = np.full(len(self.room), FIRST)
        minimize(fall, begun, jac=True, method="L-BFGS-B", bounds=bounds,
                 options={"maxfun": STEPS, "maxcor": 20, "maxls": 30, "ftol": 0.0, "gtol": 0.0})  # fmt: skip
        return steps[-1 : -SPREAD * APART : -APART]

    def _improve(self, core: _Core) -> bool:
        """Look for routes that cost less than what they would replace, and for demands worth less; whether any are."""
        dear = ~core.open & (core.worth > self.value)
        core.open |= dear
        for calm in CALMS:
            prices = calm * self.center + (1 - calm) * core.prices
            routes = self.search(prices)[1]
            reduced = routes.cost + self.used(routes).T @ core.prices - core.worth[routes.demand]
            better = np.flatnonzero(reduced < -TOLERANCE * (1 + core.worth[routes.demand]))
            if len(better):
                opened = self.take(_only(routes, better))
                core.open[opened] = True
                if len(opened):
                    return True
        return bool(dear.any())

    def _columns(self, core: _Core) -> tuple[list[Column], Basis]:
        demand, asset = (np.concatenate([getattr(each, name) for each in self.batches]) for name in ("demand", "asset"))
        links = [part.tolist() for each in self.batches for part in np.split(each.links, each.first[1:-1])]
        status = np.full(len(demand), _LOWER)
        status[: len(core.routes)] = core.routes
        status[core.key[~core.open]] = _BASIC
        kept = np.flatnonzero(core.open[demand] | (status == _BASIC)).tolist()
        columns = [Column(int(demand[j]), 0, Way(tuple(links[j]), int(asset[j]))) for j in kept]
        rows = [*core.demands.tolist(), *core.resources.tolist()]
        return columns, Basis((*core.shed.tolist(), *status[kept].tolist()), tuple(rows))


def _only(routes: Routes, which: IntArray) -> Routes:
    length = np.diff(routes.first)[which]
    first = np.concatenate([[0], np.cumsum(length)])
    places = np.repeat(routes.first[which] - first[:-1], length) + np.arange(first[-1])
    return Routes(routes.demand[which], routes.asset[which], first, routes.links[places], routes.cost[which])


class _Core:
    """The program of the open demands; all others stay on their keys.

    Attributes
    ----------
    open : array of shape (D,)
    key : array of shape (D,)
        The route of each demand that is not open.
    shed, routes, demands, resources : arrays
        What is basic, in HiGHS's numbers.
    prices, worth : arrays of shape (R,), (D,)
        Duals of resources, and what each demand costs at them.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        count = len(start.rate)
        price = start.cost + start.matrix.T @ start.center
        self.key = np.full(count, -1)
        order = np.argsort(-price, kind="stable")
        self.key[start.demand[order]] = order  # the last to be written is the cheapest
        many = np.bincount(start.demand, minlength=count)
        self.open = (many != 1) | (price[self.key] > start.value)
        self.shed, self.routes = np.full(count, _LOWER), np.empty(0, np.int64)
        self.demands, self.resources = np.full(count, _LOWER), np.full(len(start.room), _BASIC)
        self.prices, self.worth = start.center, np.zeros(count)
        self.was = np.zeros(count, dtype=bool)

    def _left(self) -> FloatArray:
        """What of each resource is left to the open demands; whoever uses what is overfull becomes one."""
        start = self.start
        while True:
            shut = np.flatnonzero(~self.open)
            used = start.matrix[:, self.key[shut]]
            left: FloatArray = start.room - used @ start.rate[shut]
            if (left >= 0).all():
                return left
            self.open[shut[used[left < 0].getnnz(axis=0) > 0]] = True

    def solve(self) -> None:
        """Solve from the last basis; a demand opened since has its key in it."""
        start, left = self.start, self._left()
        which, columns = np.flatnonzero(self.open), np.flatnonzero(self.open[start.demand])
        status = np.full(len(start.demand), _LOWER)
        status[: len(self.routes)] = self.routes
        status[self.key[self.open & ~self.was]] = _BASIC
        row = np.zeros(len(self.open), dtype=np.int64)
        row[which] = np.arange(len(which))
        of = np.concatenate([np.arange(len(which)), row[start.demand[columns]]])
        one = csc_matrix((np.ones(len(of)), (of, np.arange(len(of)))), (len(which), len(of)))
        other = hstack([csc_matrix((len(left), len(which))), start.matrix[:, columns]])
        rates = start.rate[which]
        costs = np.concatenate([start.value[which], start.cost[columns]])
        upper = np.concatenate([rates, np.full(len(columns), np.inf)])
        lows, highs = np.concatenate([rates, np.full(len(left), -np.inf)]), np.concatenate([rates, left])
        lp = solver()
        lp.passModel(_model(vstack([one, other], format="csc"), costs, upper, lows, highs))
        if self.was.any():
            statuses = np.concatenate([self.shed[which], status[columns]])
            lp.setBasis(basis(statuses, np.concatenate([self.demands[which], self.resources])))
        else:
            lp.setOptionValue("presolve", "on")
            lp.setOptionValue("solver", "ipm")
        lp.run()
        found, duals = lp.getBasis(), np.array(lp.getSolution().row_dual)
        told, rows = np.array(list(map(int, found.col_status))), np.array(list(map(int, found.row_status)))
        self.shed[which], status[columns] = told[: len(which)], told[len(which) :]
        self.demands[which] = rows[: len(which)]
        self.routes, self.resources, self.was = status, rows[len(which) :], self.open.copy()
        self.prices = np.maximum(-duals[len(which) :], 0.0)
        self.worth = (start.cost + start.matrix.T @ self.prices)[self.key]
        self.worth[which] = duals[: len(which)]


def _model(
    matrix: csc_matrix, costs: FloatArray, upper: FloatArray, lows: FloatArray, highs: FloatArray
) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = costs, np.zeros(len(costs)), upper
    lp.row_lower_, lp.row_upper_ = lows, highs
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    return lp
