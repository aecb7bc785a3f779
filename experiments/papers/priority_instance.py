"""A worked example for the priority paper, which has none: three machines, four services, two classes.

Requests of all services share a link and are served by one of two servers. Currency is called credits. All numbers are
ours, chosen so that each kind of value has its part and both classes are in use everywhere.
"""

from __future__ import annotations

import numpy as np

from pricing.priority.economy import Economy, Machine, Program, Service, Visit
from pricing.priority.sizes import Size, exponential
from pricing.priority.solve import Solutions
from pricing.priority.state import State
from pricing.priority.values import Isoelastic, Log, Quadratic, table
from pricing.simulate.priority import Draw, Stream

ORIGINS: dict[str, str] = {
    "known": "an answer known in closed form, computed here by the project's code",
    "ours": "computed here from an instance of ours: the paper prints no number",
    "simulated": "drawn by the queue simulator, with a 95 % interval of independent runs",
}

FRAME = Size(4000.0, 0.5)
"""Requests on the link, bits."""

CAPACITY_COSTS = (0.04, 0.035, 4e-6)
"""Credits/s for a unit of speed: of the servers a work/s, of the link a bit/s."""


def example() -> Economy:
    """Three machines, four services, two classes."""

    def served(east: Size, west: Size) -> list[Program]:
        return [
            Program(name, [Visit("link", FRAME), Visit(name, size)]) for name, size in (("east", east), ("west", west))
        ]

    one = exponential(1.0)
    return Economy(
        [Machine("east", 400.0), Machine("west", 250.0), Machine("link", 2.4e6, sojourn=False)],
        [
            Service("search", Quadratic(0.30, 0.0011), 4.0, served(one, one)),
            Service("mail", Log(8.0, 40.0), 0.6, served(one, one)),
            Service("backup", Isoelastic(0.7, 1.6), 0.15, served(Size(4.0), Size(4.0))[1:]),
            Service(
                "video", table([40.0, 80.0, 160.0], [8.0, 13.0, 18.0]), 1.5, served(Size(0.8, 0.2), Size(1.2, 0.2))
            ),
        ],
        classes=2,
    )


def two_equilibria() -> Economy:
    """One queue, one class, jobs of 1 and of 30: two stable equilibria, and one between them."""
    return Economy(
        [Machine("machine", 1.0)],
        [
            Service("small", Quadratic(20.0, 6.0), 1.0, [Program("small", [Visit("machine", Size(1.0))])]),
            Service("large", Quadratic(150.0, 1350.0), 0.05, [Program("large", [Visit("machine", Size(30.0))])]),
        ],
    )


def stream(state: State, m: int) -> tuple[Stream, list[int]]:
    """What arrives at a machine, to be simulated, and the classes (from 0) that do."""
    economy = state.economy
    machine = economy.machines[m]
    rates: list[float] = []
    draws: list[Draw] = []
    classes: list[int] = []
    for k in range(economy.classes):
        jobs = [
            (x * visit.count, visit.size.mean / machine.speed, visit.size.scv)
            for (s, p, klass), x in zip(economy.options, state.x, strict=True)
            for visit in economy.services[s].programs[p].visits
            if klass == k and x > 1e-9 * economy.service_scale[s] and visit.machine == machine.name
        ]
        if jobs:
            psi, time, scv = (np.array(column) for column in zip(*jobs, strict=True))
            rates.append(float(psi.sum()))
            draws.append(_mixture(psi / psi.sum(), time, scv))
            classes.append(k)
    return Stream(np.array(rates), draws, machine.servers), classes


def _mixture(shares: np.ndarray, time: np.ndarray, scv: np.ndarray) -> Draw:
    """Gamma services of these means and variations, in these shares."""

    def draw(random: np.random.Generator, count: int) -> np.ndarray:
        kind = random.choice(len(shares), count, p=shares)
        mean, varied = time[kind], scv[kind]
        shape = 1 / np.maximum(varied, 1e-12)
        return np.where(varied > 0, random.gamma(np.minimum(shape, 1e6), mean / np.minimum(shape, 1e6)), mean)

    return draw


def named(solutions: Solutions) -> list[str]:
    """What each solution is: the best, another maximum, or a point between."""
    return [
        "best" if not i else "maximum" if solution.maximum else "between" for i, solution in enumerate(solutions.all)
    ]
