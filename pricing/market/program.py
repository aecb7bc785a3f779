"""The linear program of a market over the routes known so far, and the rounds that look for more of them.

    min  sum cost x + sum value z
    s.t. demand   sum_p x_p + z = d           one row for each demand (dual: its locational price)
         compute  sum a_k x <= C_n            one for each asset and period (dual: scarcity)
         links    sum b_k x <= B_e            one for each link and period (dual: congestion)

x are tokens/s on routes, z what is shed of each step of a demand. HiGHS solves it by the simplex method, so that the
duals are those of one basic solution; `Searcher` then looks for routes that cost less at these duals than what they
would replace; they become columns, and the simplex goes on from its basis. When there is none, the duals are dual
feasible over all routes of the network, known or not. Inside, everything is scaled to a mean demand and a mean cost,
since prices of a token are millionths and tolerances are absolute.

Three questions are this one program with other right sides and bounds: the clearing; the least that must be left
unserved (routes for nothing, `Program.least_unserved`); and what changes with one more unit
(`pricing.market.marginal`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np

from pricing.errors import NotConverged
from pricing.market.model import Market
from pricing.market.search import IntArray, Searcher, Way
from pricing.values import FloatArray

BIG = 1e4
"""Cost of leaving a unit unserved that must be served, in mean costs; where it is too small, that is found out and
mended."""

TOLERANCE = 1e-9
"""Of reduced costs and of rows, in mean costs and mean demands: HiGHS's own."""

MOST_ROUNDS = 500


@dataclass(frozen=True)
class Column:
    """A route that a demand may use in a period."""

    demand: int
    period: int
    way: Way


@dataclass(frozen=True)
class Basis:
    """What is basic, in HiGHS's numbers: columns, shed columns first, and rows."""

    columns: tuple[int, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Extra:
    """A column that is no route: its row and coefficient, cost, and bounds."""

    row: int
    cost: float
    lower: float
    upper: float
    coefficient: float = 1.0


@dataclass(frozen=True)
class Duals:
    """Prices of demands (D,), scarcity (J, T) in currency a work, congestion (L, T) in currency a bit."""

    demands: FloatArray
    assets: FloatArray
    links: FloatArray


class Frame:
    """What all programs of a market share: the order of rows, scales, and the search for routes."""

    def __init__(self, market: Market) -> None:
        self.market, self.searcher = market, Searcher(market)
        periods, loads = market.periods, market.workloads
        self.demands, self.assets, self.links = len(market.demands), len(market.assets), len(market.links)
        self.rows = self.demands + (self.assets + self.links) * periods
        self.fees = np.array(market.fees)
        self._back: list[int] = self.searcher.back.tolist()
        self.costs = np.array([asset.costs for asset in market.assets])
        self.workload = [market.workload_index[demand.workload] for demand in market.demands]
        self.region = np.array([market.node_index[demand.region] for demand in market.demands])
        self.limits = np.array([load.limit for load in loads])
        self.capacities = np.array([asset.capacity for asset in market.assets])
        self.bandwidths = np.array([link.capacity for link in market.links])
        self.tokens = float(np.mean([demand.rate for demand in market.demands]))
        self.work = float(np.mean([load.compute for load in loads]))
        self.bits = float(np.mean([load.bits_out + load.bits_back for load in loads])) or 1.0
        self.money = self.work * float(self.costs.mean()) or 1.0
        tasks: dict[tuple[int, int], list[int]] = {}
        for d, demand in enumerate(market.demands):
            k = self.workload[d]
            for period in range(demand.period, min(demand.period + loads[k].wait, periods - 1) + 1):
                tasks.setdefault((k, period), []).append(d)
        self.tasks = {task: np.array(which) for task, which in tasks.items()}

    def asset_row(self, asset: int, period: int) -> int:
        """Row of an asset in a period."""
        return self.demands + asset * self.market.periods + period

    def link_row(self, link: int, period: int) -> int:
        """Row of a link in a period."""
        return self.demands + (self.assets + link) * self.market.periods + period

    def upper(self, capacities: FloatArray, bandwidths: FloatArray) -> FloatArray:
        """Scaled right sides of the rows of assets and links, the same in every period."""
        periods = self.market.periods
        scaled = [capacities / (self.tokens * self.work), bandwidths / (self.tokens * self.bits)]
        return np.repeat(np.concatenate(scaled), periods)

    def entries(self, column: Column) -> dict[int, float]:
        """Scaled entries of a column."""
        load = self.market.workloads[self.workload[column.demand]]
        entries = {column.demand: 1.0, self.asset_row(column.way.asset, column.period): load.compute / self.work}
        out, back = load.bits_out / self.bits, load.bits_back / self.bits
        for link in column.way.links:
            if out:
                row = self.link_row(link, column.period)
                entries[row] = entries.get(row, 0.0) + out
            if back:
                row = self.link_row(self._back[link], column.period)
                entries[row] = entries.get(row, 0.0) + back
        return entries

    def cost(self, column: Column) -> float:
        """Compute and fees of a token on a route, currency."""
        k, way = self.workload[column.demand], column.way
        load, back, fees = self.market.workloads[k], self._back, self.market.fees
        moved = sum(load.bits_out * fees[link] + load.bits_back * fees[back[link]] for link in way.links)
        return float(load.compute * self.costs[way.asset, column.period] + moved)


@dataclass
class Program:
    """One program, and the routes in it.

    Parameters
    ----------
    frame : Frame
    lower, upper : arrays of shape (rows,)
        Scaled bounds of the rows.
    extras : sequence of Extra
        Columns that are no routes, scaled.
    firm : sequence of int
        Places in `extras` of those that must be 0 in the end, such as what must be served and is shed.
    limits : array of shape (K,)
        Latency limit of each workload, s.
    free : set of Column
        Routes whose flow may also fall below 0.
    """

    frame: Frame
    lower: FloatArray
    upper: FloatArray
    extras: Sequence[Extra]
    firm: Sequence[int]
    limits: FloatArray
    free: frozenset[Column] = frozenset()
    columns: list[Column] = field(default_factory=list)
    rounds: int = 0

    def __post_init__(self) -> None:
        self._known: set[Column] = set()
        self._real = True
        self._lp = solver()
        none = np.empty(0)
        self._lp.addRows(len(self.lower), self.lower, self.upper, 0, np.empty(0, np.int32), np.empty(0, np.int32), none)
        self._add([(e.cost, e.lower, e.upper, {e.row: e.coefficient}) for e in self.extras])

    def _add(self, many: Sequence[tuple[float, float, float, dict[int, float]]]) -> None:
        if many:
            costs, lower, upper, entries = zip(*many, strict=True)
            starts = np.cumsum([0, *map(len, entries)])[:-1].astype(np.int32)
            rows = np.array([row for each in entries for row in each], dtype=np.int32)
            values = np.array([value for each in entries for value in each.values()])
            bounds = np.array(costs, dtype=float), np.array(lower, dtype=float), np.array(upper, dtype=float)
            self._lp.addCols(len(many), *bounds, len(rows), starts, rows, values)

    def add(self, columns: Sequence[Column]) -> bool:
        """Take routes in; whether one of them is new."""
        new = [column for column in dict.fromkeys(columns) if column not in self._known]
        self._known.update(new)
        self.columns += new
        frame, scale = self.frame, float(self._real) / self.frame.money
        self._add(
            [
                (scale * frame.cost(c), -np.inf if c in self.free else 0.0, np.inf, frame.entries(c))
                for c in new
            ]
        )  # fmt: skip
        return bool(new)

    def solve(self, start: Basis | None = None) -> bool:
        """Solve over all routes of the network; whether everything firm is 0 in the end.

        Raises
        ------
        NotConverged
            When rounds of new routes do not come to an end.
        """
        if start is not None:
            self._lp.setBasis(basis(start.columns, start.rows))
        self._generate()
        if self.unserved > TOLERANCE * 100:
            self._set_costs(real=False)
            self._generate()
            if self.unserved > TOLERANCE * 100:
                return False
            self._set_costs(real=True)
        if self.firm:
            which = np.array(self.firm, dtype=np.int32)
            self._lp.changeColsBounds(len(which), which, np.zeros(len(which)), np.zeros(len(which)))
            self._generate()
        return True

    def least_unserved(self) -> float:
        """The least sum of everything firm over all routes, whatever it costs, scaled."""
        self._set_costs(real=False)
        self._generate()
        return self.unserved

    @property
    def unserved(self) -> float:
        """Sum of everything firm, scaled."""
        values = self.values[: len(self.extras)]
        return float(sum(values[i] for i in self.firm))

    @property
    def values(self) -> FloatArray:
        """Scaled values of the extras and the routes."""
        return np.array(self._lp.getSolution().col_value)

    def remembered(self, idle: int) -> tuple[tuple[Column, ...], Basis]:
        """Routes that are basic and the `idle` least dear of the others, and the basis in these."""
        found, solution = self._lp.getBasis(), self._lp.getSolution()
        count = len(self.extras)
        status, dear = found.col_status[count:], solution.col_dual[count:]
        basic = [i for i, each in enumerate(status) if each == highspy.HighsBasisStatus.kBasic]
        others = sorted(set(range(len(status))) - set(basic), key=lambda i: (dear[i], i))
        kept = sorted([*basic, *others[:idle]])
        statuses = [*found.col_status[:count], *(status[i] for i in kept)]
        return tuple(self.columns[i] for i in kept), Basis(tuple(map(int, statuses)), tuple(map(int, found.row_status)))

    @property
    def duals(self) -> Duals:
        """Duals of the basic solution; resources' are not negative."""
        frame, raw = self.frame, np.array(self._lp.getSolution().row_dual)
        periods, first = frame.market.periods, frame.demands
        resources = np.maximum(-raw[first:], 0.0).reshape(-1, periods) * frame.money
        assets, links = resources[: frame.assets], resources[frame.assets :]
        return Duals(raw[:first] * frame.money, assets / frame.work, links / frame.bits)

    def _set_costs(self, real: bool) -> None:
        """Costs as they are, or 1 for everything firm and nothing for all else."""
        self._real = real
        count = len(self.extras)
        firm = set(self.firm)
        costs = [e.cost if real else float(i in firm) for i, e in enumerate(self.extras)]
        costs += [self.frame.cost(column) / self.frame.money if real else 0.0 for column in self.columns]
        self._lp.changeColsCost(len(costs), np.arange(count + len(self.columns), dtype=np.int32), np.array(costs))

    def _generate(self) -> None:
        """Solve, look for cheaper routes, and so on until there are none."""
        for _ in range(MOST_ROUNDS):
            self.rounds += 1
            self._lp.run()
            status = self._lp.getModelStatus()
            if status != highspy.HighsModelStatus.kOptimal:
                words = self._lp.modelStatusToString(status)
                raise NotConverged(f"market {self.frame.market.name}: HiGHS ended with {words}", self.rounds, np.inf)
            if not self.add(self._cheaper(self.duals)):
                return
        message = f"market {self.frame.market.name}: still new routes after {MOST_ROUNDS} rounds"
        raise NotConverged(message, self.rounds, np.inf)

    def _cheaper(self, duals: Duals) -> list[Column]:
        """For each demand and period the cheapest route, where it costs less than the demand's price."""
        frame, real = self.frame, float(self._real)
        found = []
        for (k, period), which in frame.tasks.items():
            costs, ways = cheapest(frame, duals, k, period, which, float(self.limits[k]), real)
            low = (costs - duals.demands[which]) / frame.money
            wanted = low < -TOLERANCE * (1 + np.abs(duals.demands[which]) / frame.money)
            for i in np.flatnonzero(wanted).tolist():
                way = ways[i]
                if way is not None:
                    found.append(Column(int(which[i]), period, way))
        return found


def solver() -> highspy.Highs:
    """HiGHS, as programs of markets ask it."""
    lp = highspy.Highs()  # type: ignore[no-untyped-call]
    options: dict[str, bool | int | float | str] = {
        "output_flag": False,
        "threads": 1,
        "presolve": "off",
        "solver": "simplex",
        "simplex_strategy": 0,  # primal from a basis that new routes leave feasible, dual from any other
    }
    options |= {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    for name, value in options.items():
        lp.setOptionValue(name, value)
    return lp


def basis(columns: Iterable[int], rows: Iterable[int]) -> highspy.HighsBasis:
    """A basis, as HiGHS takes it."""
    given = highspy.HighsBasis()
    given.col_status = [highspy.HighsBasisStatus(status) for status in columns]
    given.row_status = [highspy.HighsBasisStatus(status) for status in rows]
    given.valid = True
    return given


def cheapest(
    frame: Frame, duals: Duals, workload: int, period: int, which: IntArray, limit: float, real: float = 1.0
) -> tuple[FloatArray, list[Way | None]]:
    """Cheapest routes of some demands of a workload, served in a period, at the duals; costs count `real` times."""
    compute = real * frame.costs[:, period] + duals.assets[:, period]
    tolls = real * frame.fees + duals.links[:, period]
    return frame.searcher.cheapest(workload, compute, tolls, limit, frame.region[which])
