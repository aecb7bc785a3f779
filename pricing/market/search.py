"""The cheapest route of every region to any asset that runs its workload, within the workload's latency limit.

One search for each workload and period finds the routes of all regions: from the assets backwards, labels of a cost
and a latency are settled in the order of their cost. A label that neither costs less nor is faster than one settled at
its node is dropped; the first that settles at a region is its cheapest route within the limit. Without a limit that is
Dijkstra's search. Answers go back along the way that the request took, so a step from one node to the next uses a link
and its reverse, and a link without a reverse is no step.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pricing.market.model import Market
from pricing.values import FloatArray

IntArray = NDArray[np.int64]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _settle(
    first: IntArray,
    tails: IntArray,
    step_of: IntArray,
    cost: FloatArray,
    latency: FloatArray,
    at: IntArray,
    start: FloatArray,
    limit: float,
    wanted: Any,
) -> Any:  # pragma: no cover  (compiled)
    """Labels as (node, step that was taken, label it led to, cost, latency), and the first settled label of each
    node."""
    nodes = len(first) - 1
    least = np.full(nodes, np.inf)
    best = np.full(nodes, -1)
    missing = 0
    for node in range(nodes):
        missing += wanted[node]
    room = 4 * (nodes + len(at))
    label_node, label_step, label_next = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    label_cost = np.empty(room)
    count = 0
    heap = [(np.inf, np.inf, np.int64(-1))]
    for a in range(len(at)):
        label_node[count], label_step[count], label_next[count], label_cost[count] = at[a], -1 - a, -1, start[a]
        heapq.heappush(heap, (start[a], 0.0, np.int64(count)))
        count += 1
    endless = np.isinf(limit)
    cheapest = np.full(nodes, np.inf)  # of the labels made so far; without a limit dearer ones lead nowhere
    while missing > 0:
        here, late, label = heapq.heappop(heap)
        if label < 0:
            break
        node = label_node[label]
        if late >= least[node]:
            continue
        least[node] = -1.0 if endless else late
        if best[node] < 0:
            best[node] = label
            missing -= wanted[node]
        for slot in range(first[node], first[node + 1]):
            step, tail = step_of[slot], tails[slot]
            later = late + latency[step]
            if later > limit or later >= least[tail] or (endless and here + cost[step] > cheapest[tail]):
                continue
            cheapest[tail] = min(cheapest[tail], here + cost[step])
            if count == room:
                room *= 2
                label_node, label_step = np.append(label_node, label_node), np.append(label_step, label_step)
                label_next, label_cost = np.append(label_next, label_next), np.append(label_cost, label_cost)
            label_node[count], label_step[count], label_next[count] = tail, step, label
            label_cost[count] = here + cost[step]
            heapq.heappush(heap, (label_cost[count], later, np.int64(count)))
            count += 1
    return label_step[:count], label_next[:count], label_cost[:count], best


@dataclass(frozen=True)
class Way:
    """A route: the links on the way out by their place in the market, and the asset at its end."""

    links: tuple[int, ...]
    asset: int


class Labels(NamedTuple):
    """What a search settled: of each label the step that was taken (-1 - the number of its end at an end), the label
    that it led to, and its cost; and the cheapest label of each node, -1 where none came."""

    step: IntArray
    onward: IntArray
    cost: FloatArray
    best: IntArray


class Searcher:
    """Finds cheapest routes in one market.

    Parameters
    ----------
    market : Market
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        index, nodes = market.link_index, market.node_index
        back = np.array([index.get((link.dst, link.src), -1) for link in market.links], dtype=np.int64)
        ends = np.array([(nodes[link.src], nodes[link.dst]) for link in market.links], dtype=np.int64).reshape(-1, 2)
        propagation = np.array([link.propagation for link in market.links])
        self.back = back
        self.latency = propagation + np.where(back >= 0, propagation[back], 0.0) if len(back) else propagation
        steps = np.flatnonzero(back >= 0)
        order = steps[np.argsort(ends[steps, 1], kind="stable")]
        self._first = np.searchsorted(ends[order, 1], np.arange(len(nodes) + 1)).astype(np.int64)
        self._tails, self._step_of = ends[order, 0].copy(), order.astype(np.int64)
        self.runs = [
            np.array([j for j, asset in enumerate(market.assets) if asset.runs(load.name)], dtype=np.int64)
            for load in market.workloads
        ]
        self._at = np.array([nodes[asset.node] for asset in market.assets], dtype=np.int64)

    def latency_of(self, way: Way) -> float:
        """Propagation out and back, s."""
        return float(sum(self.latency[link] for link in way.links))

    def step_costs(self, workload: int, tolls: FloatArray) -> FloatArray:
        """Cost of each step (L,), currency a token, when a bit on a link costs `tolls` (L,)."""
        load = self.market.workloads[workload]
        return load.bits_out * tolls + load.bits_back * np.where(self.back >= 0, tolls[self.back], 0.0)

    def cheapest(
        self, workload: int, compute: FloatArray, tolls: FloatArray, limit: float, regions: IntArray
    ) -> tuple[FloatArray, list[Way | None]]:
        """The cheapest route of each region.

        Parameters
        ----------
        workload : int
        compute : array of shape (J,)
            Currency a work at each asset.
        tolls : array of shape (L,)
            Currency a bit on each link.
        limit : float
            s.
        regions : array of shape (R,)
            Nodes.

        Returns
        -------
        costs : array of shape (R,)
            Currency a token; infinite where there is no route.
        ways : list
            None where there is none.
        """
        steps = self.step_costs(workload, tolls)
        return self._search(workload, self.market.workloads[workload].compute * compute, steps, limit, regions)

    def fastest(self, workload: int, regions: IntArray) -> tuple[FloatArray, list[Way | None]]:
        """The route of least latency of each region, s."""
        idle = np.zeros(len(self.market.assets))
        return self._search(workload, idle, self.latency, np.inf, regions)

    def way_to(self, node: int, workload: int, tolls: FloatArray, limit: float, regions: IntArray) -> FloatArray:
        """What the cheapest way of each region (R,) to a node costs, currency a token; infinite where there is none."""
        return self._labels(np.array([node]), np.zeros(1), self.step_costs(workload, tolls), limit, regions)[0]

    def settled(self, workload: int, compute: FloatArray, tolls: FloatArray, limit: float, regions: IntArray) -> Labels:
        """Labels of the search for `cheapest`, with its arguments; ends are counted as in `runs`."""
        runs, steps = self.runs[workload], self.step_costs(workload, tolls)
        start = self.market.workloads[workload].compute * compute[runs]
        return self._settled(self._at[runs], start, steps, limit, regions)

    def _settled(self, at: IntArray, start: FloatArray, steps: FloatArray, limit: float, regions: IntArray) -> Labels:
        wanted = np.zeros(len(self._first) - 1, dtype=np.bool_)
        wanted[regions] = True
        return Labels(*_settle(self._first, self._tails, self._step_of, steps, self.latency, at, start, limit, wanted))

    def _search(
        self, workload: int, compute: FloatArray, steps: FloatArray, limit: float, regions: IntArray
    ) -> tuple[FloatArray, list[Way | None]]:
        runs = self.runs[workload]
        costs, ways = self._labels(self._at[runs], compute[runs], steps, limit, regions)
        return costs, [None if way is None else Way(way.links, int(runs[way.asset])) for way in ways]

    def _labels(
        self, at: IntArray, start: FloatArray, steps: FloatArray, limit: float, regions: IntArray
    ) -> tuple[FloatArray, list[Way | None]]:
        """Cheapest ways to any of some ends at nodes `at`, each with what it costs itself; `Way.asset` counts these."""
        found = self._settled(at, start, steps, limit, regions)
        step, onward, cost, best = found.step.tolist(), found.onward.tolist(), found.cost, found.best
        costs = np.full(len(regions), np.inf)
        ways: list[Way | None] = []
        for r, label in enumerate(best[regions].tolist()):
            if label < 0:
                ways.append(None)
                continue
            costs[r] = cost[label]
            links = []
            while step[label] >= 0:
                links.append(step[label])
                label = onward[label]
            ways.append(Way(tuple(links), -1 - step[label]))
        return costs, ways
