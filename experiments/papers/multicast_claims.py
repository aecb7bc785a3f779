"""What Section VIII of the multicast paper lets one compare, each sentence held against our numbers.

A claim is *met* or *not met* when the intervals of independent runs say so, else *undecided*: 95 %, Student's t, the
runs of a cell differ in their seed alone and two policies see the same arrivals. Claims about regions are linear
programs' and have no interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.cells import Result
from experiments.papers.multicast_cells import COSTS_D, RATES_D, STABLE, Cell, Name
from experiments.papers.multicast_speed import Cost
from experiments.result.estimate import Estimate, Verdict, replications

Results = Mapping[Cell, Result]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, what we found, whether it is met, and where it is not, why."""

    says: str
    found: str
    verdict: Verdict
    why: str = ""
    source: str = "simulated"


def over_runs(results: Results, figure: str, **wanted: object) -> dict[Cell, Estimate]:
    """A figure of the cells with such fields, over their seeds; keys are the cells of seed 0."""
    groups: dict[Cell, list[float]] = {}
    first = {_without_seed(cell): cell for cell in results if cell.seed == 0}
    for cell, result in results.items():
        if all(getattr(cell, name) == value for name, value in wanted.items()):
            groups.setdefault(first[_without_seed(cell)], []).append(result[figure])
    return {cell: replications(values) for cell, values in groups.items()}


def difference(results: Results, figure: str, less: dict[str, object], more: dict[str, object]) -> Estimate:
    """`more` minus `less` of a figure, seed by seed: the same arrivals in both."""
    return replications(np.subtract(_figures(results, figure, more), _figures(results, figure, less)))


def is_above(value: Estimate, limit: float = 0.0) -> Verdict:
    """Whether a value lies above a limit with its whole interval."""
    if value.low > limit:
        return "met"
    return "not met" if value.high < limit else "undecided"


def shown(value: Estimate, digits: int = 3) -> str:
    """A value and its interval.

    >>> shown(Estimate(1.23456, 0.0123, 4))
    '1.23 ± 0.0123'
    """
    return f"{value.value:.{digits}g} ± {value.ci95:.{digits}g}"


def of_regions(edges: Mapping[str, float], destinations: int) -> list[Claim]:
    """Proposition 1, and the orders of the regions."""
    gain = edges["GDCNC"] / edges["DCNC"]
    loss = 1 - edges["GDCNC-R"] / edges["GDCNC"]
    share = edges["EDSPA"] / edges["GDCNC"]
    return [
        Claim(
            "Duplication in the network enlarges the region by a factor between 1 and D",
            f"{gain:.3f} with D = {destinations}",
            "met" if 1 - 1e-7 <= gain <= destinations * (1 + 1e-7) else "not met",
            source="program",
        ),
        Claim(
            "GDCNC-R reaches slightly less than GDCNC (less, and by under a tenth)",
            f"{loss:.2%} less" if loss > 1e-6 else "the same rate",
            "met" if 1e-6 < loss < 0.1 else "not met",
            "" if loss > 1e-6 else "it loses nothing on this instance: what one tree allows already reaches the edge",
            "program",
        ),
        Claim(
            "EDSPA is far from the boundary",
            f"{share:.1%} of GDCNC's rate",
            "met" if share < 0.9 else "not met",
            source="program",
        ),
    ]


def of_stability(results: Results) -> list[Claim]:
    """The boundary: stable at 0.98 of the program's rate, growing at 1.02."""
    claims = []
    for name in STABLE:
        slopes = over_runs(results, "slope", part="stability", policy=name)
        inside = next(value for cell, value in slopes.items() if cell.share < 1)
        outside = next(value for cell, value in slopes.items() if cell.share > 1)
        verdict: Verdict = "met" if inside.low <= 0 else "not met"  # a backlog that falls does not grow either
        still = (
            "queues were still filling when the warm-up ended: backpressure fills them before it moves packets right"
        )
        claims += [
            Claim(
                f"{name} is stable at 0.98 of the linear program's rate",
                f"backlog grows by {shown(inside)} copies a slot",
                "undecided" if inside.ci95 > outside.value > 0 else verdict,
                still if inside.low > 0 else "",
            ),
            Claim(
                f"{name} is not stable at 1.02 of it",
                f"backlog grows by {shown(outside)} copies a slot",
                is_above(outside),
            ),
        ]
    return claims


def of_delays(results: Results) -> list[Claim]:
    """Delays at the lowest rate, and at the highest that GDCNC carries."""
    lowest = min(cell.share for cell in results if cell.part == "delay")

    def at_lowest(name: str) -> dict[str, object]:
        return {"part": "delay", "policy": name, "share": lowest}

    claims = []
    for less, more in (("EGDCNC", "GDCNC"), ("EGDCNC-R", "GDCNC-R"), ("EDSPA", "EGDCNC"), ("UCNC", "EGDCNC")):
        gap = difference(results, "delay", at_lowest(less), at_lowest(more))
        claims.append(
            Claim(
                f"At low load the delay of {less} is below that of {more}",
                f"{shown(gap)} slots less at {lowest:g} of the largest rate",
                is_above(gap),
            )
        )
    return claims


def of_tradeoff(results: Results, optimal: Mapping[str, float]) -> list[Claim]:
    """Backlog and cost over V."""
    claims = []
    prices = _prices(results)
    for name in ("GDCNC", "GDCNC-R", "DCNC"):
        backlog = over_runs(results, "backlog", **_at(name))
        x, y = np.array([c.V for c in backlog]), np.array([e.value for e in backlog.values()])
        fit = float(np.corrcoef(x, y)[0, 1] ** 2)
        rises = difference(results, "backlog", _priced(name, prices[0]), _priced(name, prices[-1]))
        linear = is_above(rises)
        claims.append(
            Claim(
                f"{name}: delay and backlog grow linearly in V",
                f"a line explains {fit:.1%} of {len(x)} means",
                linear if linear != "met" else "met" if fit > 0.95 else "not met",
                ""
                if fit > 0.95
                else "at small V the backlog does not depend on V yet; or runs end before queues are full",
            )
        )
        claims.append(_near_optimum(results, name, prices, optimal[name]))
    for less, more in (("GDCNC", "GDCNC-R"), ("GDCNC-R", "DCNC")):
        gap = difference(results, "cost", _priced(less, prices[-1]), _priced(more, prices[-1]))
        claims.append(
            Claim(
                f"At large V {more} costs more than {less} (D = {COSTS_D})",
                f"{shown(gap)} a slot more at V = {prices[-1]:g}; the programs say {optimal[more] - optimal[less]:.3g}",
                is_above(gap),
                "" if is_above(gap) == "met" else "at this V both are still above their programs' cost, see the table",
            )
        )
    gap = difference(results, "delay", _priced("DCNC", prices[-1]), _priced("GDCNC", prices[-1]))
    says = "Inside the unicast region the delay of DCNC is below that of GDCNC"
    found = f"{shown(gap)} slots less at V = {prices[-1]:g} (D = {COSTS_D})"
    return [*claims, Claim(says, found, is_above(gap))]


def of_sizes(results: Results, least: Mapping[int, float]) -> list[Claim]:
    """More destinations, at the same rate and the largest V; `least` are GDCNC's h* by number of destinations."""
    V, few, many = _prices(results)[-1], min(least), max(least)
    slower, dearer = (
        difference(results, figure, _priced("GDCNC", V, few), _priced("GDCNC", V, many)) for figure in ("delay", "cost")
    )
    ends = f"with D = {many} than with D = {few}, V = {V:g}"
    rise = least[many] - least[few]
    delays = {
        (name, count): np.array(_figures(results, "delay", _priced(name, V, count)))
        for name in ("GDCNC", "GDCNC-R")
        for count in (few, many)
    }
    narrow, wide = (delays["GDCNC", count] - delays["GDCNC-R", count] for count in (few, many))
    return [
        Claim("More destinations: the delay of GDCNC grows", f"{shown(slower)} slots more {ends}", is_above(slower)),
        Claim(
            "More destinations: the cost of GDCNC grows",
            f"{shown(dearer)} a slot more {ends}; the programs say {rise:.3g}",
            is_above(dearer),
            "" if is_above(dearer) == "met" else "at this V both are still far above their programs' cost",
        ),
        Claim(
            "More destinations: the gap between the delays of GDCNC and GDCNC-R widens",
            f"{shown(replications(narrow))} slots with D = {few}, {shown(replications(wide))} "
            f"with D = {many}, at V = {V:g}",
            is_above(replications(wide - narrow)),
        ),
    ]


def of_speed(costs: Sequence[Cost], times: Mapping[str, float]) -> list[Claim]:
    """Times of a slot; a factor below 1.25 decides nothing (ours)."""
    growth = {}
    for name in ("GDCNC", "GDCNC-R"):
        mine = [cost for cost in costs if cost.policy == name]
        growth[name] = [
            mine[-1].choices / mine[0].choices,
            mine[-1].running.seconds / mine[0].running.seconds,
            mine[-1].filled.seconds / mine[0].filled.seconds,
        ]
    few, many = costs[0].destinations, costs[-1].destinations
    last = [(cost.policy, cost.running.seconds) for cost in reversed(costs) if cost.destinations == many]
    as_choices = all(0.5 < grown[2] / grown[0] < 2 for grown in growth.values())
    each = "; ".join(
        f"{name}: choices x {x[0]:.3g}, time x {x[1]:.3g} running, x {x[2]:.3g} filled" for name, x in growth.items()
    )
    claims = [
        Claim(
            "Running time grows as the choices do: 3^D - 2^D of GDCNC, 4D - 3 of GDCNC-R",
            f"from D = {few} to {many}: {each}",
            "met" if as_choices else "not met",
            ""
            if as_choices
            else "choices of empty queues, and of queues too short to win, are not weighed, and with "
            "few destinations a slot's time is mostly its moves",
            "measured",
        ),
        _slower(f"More destinations: a slot of GDCNC takes longer than one of GDCNC-R, D = {many}", *last),
    ]
    for less, more in (("EDSPA", "GDCNC"), ("GDCNC", "UCNC"), ("EGDCNC", "UCNC")):
        says = f"A slot of {less} takes less time than one of {more}"
        claims.append(_slower(says, (less, times[less]), (more, times[more])))
    return claims


def _slower(says: str, less: tuple[str, float], more: tuple[str, float]) -> Claim:
    """Whether `more`'s time is longer than that of `less`."""
    verdict: Verdict = "met" if more[1] > 1.25 * less[1] else "not met" if less[1] > 1.25 * more[1] else "undecided"
    found = f"{less[0]} {less[1] * 1e6:.3g}, {more[0]} {more[1] * 1e6:.3g} µs of CPU a slot"
    why = "" if verdict == "met" else f"both are compiled here; {more[0]} skips what cannot win or does not wait"
    return Claim(says, found, verdict, why, "measured")


def _near_optimum(results: Results, name: Name, prices: Sequence[float], optimum: float) -> Claim:
    """(12): cost <= h* + B/V. B is what the Vs before the largest show, with a quarter more (ours) for chance."""
    above = [replications(_figures(results, "cost", _priced(name, V))).value - optimum for V in prices]
    bound = 1.25 * max(0.0, *(V * extra for V, extra in zip(prices[:-1], above, strict=False)))
    last = replications(_figures(results, "cost", _priced(name, prices[-1])))
    limit = optimum + bound / prices[-1]
    # No finite V refutes a bound whose B is not known: a distance that does not fall like 1/V yet decides nothing.
    verdict: Verdict = "met" if last.high <= limit else "undecided"
    return Claim(
        f"{name}: cost of what is scheduled keeps within B/V of its own h*",
        f"{shown(last, 4)} a slot at V = {prices[-1]:g}, h* = {optimum:.4g}; B/V allows {limit:.4g} "
        "with the B of smaller V",
        verdict,
        ""
        if verdict == "met"
        else "the cost does not fall like 1/V yet: V is too small here, or runs too short for its queues",
    )


def of_walking(results: Results) -> list[Claim]:
    """With users who walk there is no program: what is delivered of half as much again as the frozen region takes."""

    def of(name: Name, users: str = "uniform") -> dict[str, object]:
        return {"part": "walking", "policy": name, "users": users}

    words = (
        ("(15) carries more than uniform power", of("GDCNC"), of("GDCNC", "by weight")),
        ("GDCNC carries more than DCNC, users walking", of("DCNC"), of("GDCNC")),
        ("GDCNC carries more than EDSPA, users walking", of("EDSPA"), of("GDCNC")),
        ("GDCNC-R carries more than EDSPA, users walking", of("EDSPA"), of("GDCNC-R")),
    )
    claims = []
    for says, less, more in words:
        gap = difference(results, "delivered", less, more)
        filling = (
            "runs are short beside the time in which backpressure fills its queues, and what fills is not delivered"
        )
        claims.append(
            Claim(
                says,
                f"{shown(gap)} of what arrives at 1.5 of the frozen rate (D = {RATES_D})",
                is_above(gap),
                "" if is_above(gap) == "met" else filling,
            )
        )
    return claims


def _prices(results: Results) -> list[float]:
    return sorted({cell.V for cell in results if cell.part == "tradeoff"})


def _at(name: str, destinations: int = COSTS_D) -> dict[str, object]:
    return {"part": "tradeoff", "policy": name, "destinations": destinations}


def _priced(name: str, V: float, destinations: int = COSTS_D) -> dict[str, object]:
    return {**_at(name, destinations), "V": V}


def _figures(results: Results, figure: str, wanted: dict[str, object]) -> list[float]:
    """One of each run, by rising seed."""
    cells = [c for c in results if all(getattr(c, name) == value for name, value in wanted.items())]
    return [results[cell][figure] for cell in sorted(cells, key=lambda cell: cell.seed)]


def _without_seed(cell: Cell) -> tuple[object, ...]:
    return tuple(value for name, value in vars(cell).items() if name != "seed")
