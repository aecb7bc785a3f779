"""The priority paper's numbers as tables: known answers, the worked example, entry and exit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.pages.paper import Column, Table, Value
from experiments.papers.priority_instance import named, stream
from pricing.priority.capacity import Investment, value_of_capacity
from pricing.priority.regimes import Regimes, claims, gains, temptation
from pricing.priority.sizes import exponential
from pricing.priority.solve import Solutions
from pricing.priority.state import State, rental_prices
from pricing.priority.waits import cobham, single
from pricing.simulate.priority import simulated_sensitivity, simulated_waits

SOURCE = Column("source", "source")


def known() -> Table:
    """Waits and prices with answers in closed form."""
    waits = cobham([0.3, 0.5], 1.0)
    hours = cobham([2, 6], 1 / 10) * 60
    two = rental_prices(single([0.3, 0.5], 1.0), np.array([[0.6, 0.5]]), np.ones(1)).price(exponential(1.0))[0]
    three = rental_prices(single([0.2, 0.3, 0.25], 1.0), np.array([[0.6, 0.6, 0.25]]), np.ones(1))
    rows: list[tuple[str, float, float]] = [
        ("λ = (2, 6) an hour, μ = 10: wait of class 1, min", 6.0, float(hours[0])),
        ("the same, class 2", 30.0, float(hours[1])),
        ("the same, first come, first served", 24.0, float(cobham([8], 1 / 10)[0] * 60)),
        ("λ = (0.3, 0.5), μ = 1: wait of class 1", 8 / 7, float(waits[0])),
        ("the same, class 2", 40 / 7, float(waits[1])),
        ("the same with delay costs (2, 1): price of class 1", 23.7755102041, float(two[0])),
        ("the same, class 2", 18.7142857143, float(two[1])),
        *(
            (f"λ = (0.2, 0.3, 0.25), delay costs (3, 2, 1), μ = 1: price of class {k + 1}", price, float(found))
            for k, (price, found) in enumerate(
                zip((17.609375, 15.5, 10.25), three.price(exponential(1.0))[0], strict=True)
            )
        ),
        (
            "two exponential servers, λ = (0.5, 1): wait of class 2",
            12 / 7,
            float(cobham([0.5, 1], 1.0, servers=2)[1]),
        ),
    ]
    return Table(
        "known",
        "Waits and rental prices with known answers",
        (
            Column("quantity", "quantity"),
            Column("known", "known", ".7f"),
            Column("computed", "computed", ".7f"),
            SOURCE,
        ),
        [[name, answer, found, "known"] for name, answer, found in rows],
    )


def solutions(found: Solutions, name: str, title: str) -> Table:
    """Every equilibrium that was found."""
    services = [service.name for service in found.best.economy.services]
    columns = (
        Column("kind", "kind"),
        Column("welfare", "W, currency/s", ".6f"),
        *(Column(f"rate_{service}_per_s", f"X {service}", ".5g") for service in services),
        Column("residual", "residual", ".1e"),
        Column("starts", "starts that led there", "d"),
        SOURCE,
    )
    rows: list[list[Value]] = [
        [kind, one.state.welfare, *map(float, one.state.totals), one.state.residual, one.starts, "ours"]
        for kind, one in zip(named(found), found.all, strict=True)
    ]
    return Table(name, title, columns, rows)


def machines(state: State) -> Table:
    """Load, wait, price of each machine and class, and what a unit of speed is worth."""
    economy, revenue = state.economy, state.machine_revenue
    worth = value_of_capacity(state)
    rows: list[list[Value]] = []
    for m, machine in enumerate(economy.machines):
        mean = float((state.x @ economy.time)[m] / (state.x @ economy.visits)[m]) * machine.speed
        price = state.rental.price(exponential(mean))
        for k in range(economy.classes):
            rows.append(
                [
                    machine.name,
                    k + 1,
                    float(state.queues.load[m, k]),
                    float(state.waits[m, k]),
                    float(price[m, k]),
                    float(price[m, k] - price[m, -1]),
                    float(revenue[m, k]),
                    float(worth[m]),
                    "ours",
                ]
            )
    columns = (
        Column("machine", "machine"),
        Column("class", "class", "d"),
        Column("load", "load", ".4f"),
        Column("wait_s", "wait, ms", lambda seconds: f"{seconds * 1e3:.3f}"),
        Column("price", "price of a mean job, credits", ".5f"),
        Column("premium", "of it premium", ".5f"),
        Column("revenue_per_s", "revenue, credits/s", ".3f"),
        Column("worth_of_speed", "dW/dv", ".3e"),
        SOURCE,
    )
    return Table("machines", "Machines at the optimum", columns, rows)


def options(state: State) -> Table:
    """Every option: its rate, delay, rent and cost against the service's marginal value."""
    economy = state.economy
    rows: list[list[Value]] = []
    for n, (s, p, k) in enumerate(economy.options):
        service = economy.services[s]
        numbers = (state.x[n], state.throughput[n], state.rents[n], state.costs[n], state.marginals[s])
        rows.append([service.name, service.programs[p].name, k + 1, *map(float, numbers), "ours"])
    columns = (
        Column("service", "service"),
        Column("program", "program"),
        Column("class", "class", "d"),
        Column("rate_per_s", "rate, 1/s", ".3f"),
        Column("delay_s", "delay, ms", lambda seconds: f"{seconds * 1e3:.3f}"),
        Column("rent", "rent, credits", ".5f"),
        Column("cost", "cost c, credits", ".5f"),
        Column("marginal_value", "V′, credits", ".5f"),
        SOURCE,
    )
    return Table("options", "Options: in use exactly where the cost is the marginal value", columns, rows)


def regimes(found: Regimes) -> Table:
    """Priority prices, one price, free access."""
    services = found.priority.best.economy.services
    rows: list[list[Value]] = [
        [name, state.welfare, state.revenue, *map(float, state.net_benefits), temptation(state), "ours"]
        for name, state in found
    ]
    for name, state in list(found)[1:]:
        kept, back = (gains(found.priority.best, state, give) for give in (False, True))
        for label, part in ((f"priority − {name}", kept), (f"priority − {name}, revenue given back equally", back)):
            rows.append(
                [label, float(found.priority.best.welfare - state.welfare), None, *map(float, part), None, "ours"]
            )
    columns = (
        Column("regime", "regime"),
        Column("welfare", "W, credits/s", ".4f"),
        Column("revenue", "revenue", ".4f"),
        *(Column(f"keeps_{service.name}", f"{service.name} keeps", ".3f") for service in services),
        Column("temptation", "most that lying saves", ".1e"),
        SOURCE,
    )
    return Table("regimes", "Who gains and who loses", columns, rows)


def lying(state: State) -> Table:
    """Cost of a request that claims each class, and what claiming the other would lose."""
    cost = claims(state)
    names = [service.name for service in state.economy.services]
    columns = (
        Column("service", "service"),
        *(Column(f"cost_class_{k + 1}", f"class {k + 1}, credits", ".5f") for k in range(cost.shape[1])),
        Column("loss", "lost by the wrong one", ".5f"),
        SOURCE,
    )
    return Table(
        "claims",
        "Claiming a class: delay and rent of a request, by its best program",
        columns,
        [[name, *map(float, row), float(row.max() - row.min()), "ours"] for name, row in zip(names, cost, strict=True)],
    )


def simulation(state: State, jobs: int, runs: int) -> Table:
    """Waits and their derivatives by the queue simulator, on Poisson arrivals of the optimum's rates."""
    random = np.random.default_rng(1)
    rows: list[list[Value]] = []
    for m, machine in enumerate(state.economy.machines):
        arrivals, present = stream(state, m)
        seen = simulated_waits(arrivals, random, jobs, runs)
        for i, k in enumerate(present):
            rows.append(
                _held(f"{machine.name}: wait of class {k + 1}, s", state.waits[m, k], seen.mean[i], seen.half_width[i])
            )
        slopes = simulated_sensitivity(arrivals, random, 0.02, jobs, runs)
        for i, k in enumerate(present):
            draws = arrivals.draws[i](np.random.default_rng(2), 400_000)
            mean, h = draws.mean(), (draws**2).mean() / draws.mean() ** 2 / 2
            wanted = state.queues.wait_slopes(mean, h)[m, :, k]
            for j, other in enumerate(present):
                name = f"{machine.name}: dW{other + 1}/dψ{k + 1}, s²"
                rows.append(_held(name, wanted[other], slopes.mean[j, i], slopes.half_width[j, i]))
    columns = (
        Column("quantity", "quantity"),
        Column("formula", "formula", ".4e"),
        Column("simulated", "simulated", ".4e"),
        Column("half_width", "±", ".1e"),
        Column("inside", "inside"),
        SOURCE,
    )
    return Table("simulation", "Waits and their sensitivity: formula and simulation", columns, rows)


def _held(name: str, formula: float, mean: float, half_width: float) -> list[Value]:
    inside = "yes" if abs(formula - mean) <= half_width else "no"
    return [name, float(formula), float(mean), float(half_width), inside, "simulated"]


def investments(rounds: Sequence[Investment]) -> Table:
    """Ten rounds of entry and exit."""
    machines = rounds[0].state.economy.machines
    columns = (
        Column("round", "round", "d"),
        *(Column(f"speed_{m.name}", f"{m.name}, speed", ",.0f") for m in machines),
        *(Column(f"worth_by_cost_{m.name}", f"{m.name}, worth/cost", ".3f") for m in machines),
        Column("welfare", "W", ".3f"),
        Column("surplus", "W − cost", ".3f"),
        Column("enters", "enlarged"),
        Column("leaves", "shrunk"),
        Column("step", "step", ".3f"),
        SOURCE,
    )
    rows: list[list[Value]] = []
    for number, one in enumerate(rounds, 1):
        speed, ratio = one.state.economy.speed, one.worth / one.costs
        rows.append(
            [
                number,
                *map(float, speed),
                *map(float, ratio),
                one.state.welfare,
                one.surplus,
                one.entered or None,
                one.left or None,
                one.step,
                "ours",
            ]
        )
    return Table("investment", "Ten rounds of entry and exit", columns, rows)
