"""Small economies with known answers, and random ones."""

from __future__ import annotations

import numpy as np

from pricing.priority.economy import Economy, Machine, Program, Service, Visit
from pricing.priority.sizes import Size, exponential
from pricing.priority.values import Isoelastic, Log, Quadratic, Value, table


def two_equilibria() -> Economy:
    """One class, jobs of 1 and of 30: whoever is there keeps the other out."""
    small = Service("small", Quadratic(20, 6), 1.0, [Program("p", [Visit("m", Size(1.0))])])
    large = Service("large", Quadratic(150, 1350), 0.05, [Program("p", [Visit("m", Size(30.0))])])
    return Economy([Machine("m", 1.0)], [small, large])


def at(machine: str, mean: float, scv: float = 1.0) -> Program:
    """A job over the link and one at a machine."""
    return Program(machine, [Visit("link", Size(0.5)), Visit(machine, Size(mean, scv))])


def four_services(classes: int = 3) -> Economy:
    """Two servers behind a link, one service of each kind of value."""
    return Economy(
        [Machine("a", 4.0), Machine("b", 3.0), Machine("link", 10.0, sojourn=False)],
        [
            Service("quick", Quadratic(20, 6), 3, [at("a", 1), at("b", 1)]),
            Service("log", Log(5, 0.2), 1, [at("a", 0.5), at("b", 0.7)]),
            Service("iso", Isoelastic(3, 1.5), 0.5, [at("b", 2, 0)]),
            Service("table", table([0.5, 1, 2], [5, 8, 11]), 0.2, [at("a", 1), at("b", 1)]),
        ],
        classes,
    )


def alone(value: Value, delay_cost: float = 1.0, classes: int = 1, speed: float = 1.0) -> Economy:
    """One service of exponential jobs of 1 at one machine."""
    program = Program("p", [Visit("m", exponential(1.0))])
    return Economy([Machine("m", speed)], [Service("s", value, delay_cost, [program])], classes)


def drawn(seed: int) -> Economy:
    """Two to three machines, two to four services, one to three classes."""
    random = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(random.integers(2, 4))]
    services = []
    for s in range(random.integers(2, 5)):
        programs = [
            Program(name, [Visit(name, Size(random.uniform(0.3, 2), random.choice([0.0, 1.0, 2.0])))])
            for name in random.choice(names, random.integers(1, len(names) + 1), replace=False)
        ]
        a = random.uniform(3, 20)
        value = (Quadratic(a, random.uniform(2, 8)), Log(a, 0.3), Isoelastic(a / 3, 1.5))[random.integers(3)]
        services.append(Service(f"s{s}", value, random.uniform(0.1, 3), programs))
    return Economy([Machine(name, random.uniform(1, 4)) for name in names], services, int(random.integers(1, 4)))
