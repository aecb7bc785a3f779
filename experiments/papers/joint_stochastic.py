"""The joint paper's stochastic run: Poisson counts in windows steer prices and splits, and every job queues.

Each window of 5 s the sources send Poisson counts of jobs over their routes. A service node smooths its utilization
(EWMA), moves its price half of the way to the marginal cost there, and the sources, which know their own rates, move
their splits toward their best responses. The paper gives the numbers below and the means; what it does not give is
ours:

- inertia is the part of the old split that is kept;
- estimates and prices start at 0, splits in proportion to capacity, and the mean that is printed is the estimate's (the
  quantity of its Figure 6) after the warm-up;
- seeds; jobs with exponential services, drawn anew at access path and node, as M/M/1 asks.

The counts alone decide, so many runs are made at once to see how far one run's means are from another's. For one of
them the counted jobs are spread over their windows and sent through the queues.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing.joint.printed import Instance, best_response, proportional_start
from pricing.simulate.loop import SERVER, SOJOURN_LINK
from pricing.simulate.packets import Packets, Resources, Routes, simulate
from pricing.values import FloatArray

DURATION_S, WINDOW_S, WARM_UP = 300.0, 5.0, 4
SMOOTHING, GAMMA, INERTIA = 0.3, 0.5, 0.35
"""EWMA's part of the new, the price's part of the new, the split's part of the old."""

WINDOWS = round(DURATION_S / WINDOW_S)
RUNS = 200
"""Runs made at once (ours); the first is the one shown."""

QUEUED = 100
"""Runs whose jobs are sent through the queues (ours)."""

SEED = 2602
"""Seed of counts, times and services (ours)."""


@dataclass(frozen=True)
class Run:
    """Many runs of the loop at once.

    Parameters
    ----------
    counts : integer array of shape (runs, W, I, J)
        Jobs that each source sent on each route in each window.
    estimates : array of shape (runs, W, J)
        Smoothed utilization of each node at the end of each window.
    """

    counts: NDArray[np.int64]
    estimates: FloatArray

    @property
    def means(self) -> FloatArray:
        """Mean estimate after the warm-up, shape (runs, J)."""
        return np.asarray(self.estimates[:, WARM_UP:].mean(axis=1))

    def unsmoothed(self, case: Instance) -> FloatArray:
        """Mean utilization after the warm-up by the windows' own counts, shape (runs, J)."""
        jobs = self.counts[:, WARM_UP:].sum(axis=2).mean(axis=1)
        return np.asarray(jobs / WINDOW_S / case.servers)

    @property
    def shares(self) -> FloatArray:
        """Part of each source's jobs on each route after the warm-up, shape (runs, I, J)."""
        sent = self.counts[:, WARM_UP:].sum(axis=1)
        return np.asarray(sent / sent.sum(axis=2, keepdims=True))


def loop(case: Instance, from_largest: bool, runs: int = RUNS, seed: int = SEED) -> Run:
    """Run the loop `runs` times side by side; `from_largest` is the authors' best response."""
    random = np.random.default_rng(seed)
    sources, nodes = case.access.shape
    # Sources see nothing but prices, so all runs' sources can answer as those of one large instance.
    every = Instance(np.tile(case.rates, runs), np.tile(case.access, (runs, 1)), case.servers)
    rates = case.rates[:, None]
    splits = np.broadcast_to(proportional_start(case) / rates, (runs, sources, nodes))
    estimate = prices = np.zeros((runs, nodes))
    counts, estimates = [], []
    for _ in range(WINDOWS):
        counts.append(random.poisson(rates * splits * WINDOW_S))
        loads = counts[-1].sum(axis=1) / WINDOW_S
        estimate = (1 - SMOOTHING) * estimate + SMOOTHING * loads / case.servers
        estimates.append(estimate)
        prices = (1 - GAMMA) * prices + GAMMA * case.nodes.marginal(estimate * case.servers)
        answers = best_response(every, np.repeat(prices, sources, axis=0), from_largest)
        splits = INERTIA * splits + (1 - INERTIA) * answers.reshape(runs, sources, nodes) / rates
    return Run(np.stack(counts, axis=1), np.stack(estimates, axis=1))


@dataclass(frozen=True)
class Jobs:
    """Every job of one run, in order of time: its source (n,), its window (n,), and its delay in s (n,)."""

    source: NDArray[np.int64]
    window: NDArray[np.int64]
    delay: FloatArray


def queue_up(case: Instance, counts: NDArray[np.int64], seed: int = SEED) -> Jobs:
    """Send the counted jobs (W, I, J) through access paths and nodes: M/M/1 queues, first come, first served."""
    random = np.random.default_rng(seed)
    sources, nodes = case.access.shape
    paths = sources * nodes
    window, source, node = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    arrival = (window + random.random(len(window))) * WINDOW_S
    order = np.argsort(arrival)
    arrival, window, source, node = arrival[order], window[order], source[order], node[order]
    resources = Resources(
        kind=np.array([SOJOURN_LINK] * paths + [SERVER] * nodes, dtype=np.int64),
        capacity=np.concatenate([case.access.ravel(), case.servers]),
        queue=np.full(paths + nodes, len(arrival), dtype=np.int64),
        propagation=np.zeros(paths + nodes),
    )
    routes = Routes.of([[i * nodes + j, paths + j] for i in range(sources) for j in range(nodes)])
    sizes, works = random.exponential(size=(2, len(arrival)))
    sent = Packets.of(arrival, sizes, source * nodes + node, works / case.servers[node])
    return Jobs(source, window, simulate(sent, routes, resources).ended - arrival)
