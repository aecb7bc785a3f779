"""`python -m bench CASE [--quick] [--tntp DIR]`: one case, its row as JSON on the last line of stdout.

Without CASE it says which there are. `bin/wardrop bench` runs each in a process of its own, on one thread.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import bringup, control, market, multicast, networks, page, roads, sources
from bench.row import Row
from pricing.errors import WardropError


@dataclass(frozen=True)
class Case:
    """What runs it, given `--quick` and `--tntp`, and whether it is quick."""

    run: Callable[[bool, Path | None], Row]
    quick: bool


def _bipartite(many: int, servers: int, load: float) -> Case:
    return Case(lambda quick, _: sources.against_clarabel(many, servers, load, 15, 1 if quick else 3), many < 1000)


def _road(name: str) -> Case:
    return Case(lambda quick, tntp: roads.against_aequilibrae(tntp, name, 9, 0 if quick else 1), True)


def _grid(destinations: int, slots: int) -> Case:
    return Case(lambda *_: multicast.against_plain(multicast.grid(5, destinations), slots), destinations < 5)


CASES: dict[str, Case] = {
    "paper-5x3": Case(lambda *_: sources.the_papers(21), True),
    "bipartite-200x30-0.6": _bipartite(200, 30, 0.6),
    "bipartite-200x30-0.95": _bipartite(200, 30, 0.95),
    "bipartite-1000x100-0.6": _bipartite(1000, 100, 0.6),
    "bipartite-1000x100-0.95": _bipartite(1000, 100, 0.95),
    "bipartite-10000x1000": Case(lambda *_: sources.large(), False),
    "bring-up-100": Case(lambda *_: bringup.against_mininet(100, 300), False),
    "bring-up-200": Case(lambda *_: bringup.large(200, 600), False),
    "germany50": Case(lambda quick, _: networks.against_clarabel("sndlib/germany50", 20, 9, 1 if quick else 3), True),
    "gabriel100": Case(lambda *_: networks.against_clarabel("gabriel/100/0", 100, 9, 1), False),
    "warm-gabriel100": Case(lambda *_: networks.warm_start("gabriel/100/0", 9), True),
    "multicast-grid-2": _grid(2, 40),
    "multicast-grid-3": _grid(3, 25),
    "multicast-grid-4": _grid(4, 15),
    "multicast-grid-5": _grid(5, 8),
    "multicast-grid-6": _grid(6, 5),
    "multicast-abilene": Case(lambda *_: multicast.against_plain(multicast.scenario("abilene", 4), 20), True),
    "multicast-germany50": Case(lambda *_: multicast.against_plain(multicast.scenario("germany50", 4), 10), True),
    "multicast-growth": Case(lambda *_: multicast.growth(), False),
    "multicast-largest": Case(lambda *_: multicast.largest(), False),
    "market-us-20": Case(lambda *_: market.again(15), True),
    "market-20x10": Case(lambda *_: market.against_cvxpy(20, 10, 3), True),
    "market-100x20": Case(lambda *_: market.large(100), False),
    "controller-tick": Case(lambda quick, _: control.ticks("joint-distributed", 60 if quick else 3600), False),
    "page-200": Case(lambda quick, _: page.smoothness(200, 4.0 if quick else page.LOOK_S), False),
    "SiouxFalls": _road("SiouxFalls"),
    "Anaheim": _road("Anaheim"),
}


def main() -> None:
    """Run one case."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tntp", type=Path)
    asked = parser.parse_args()
    try:
        row = CASES[asked.case].run(asked.quick, asked.tntp)
    except ModuleNotFoundError as missing:
        row = Row(asked.case, note=f"not run: {missing}; {networks.HOW}")
    except WardropError as error:
        row = Row(asked.case, note=f"failed: {error}")
    print(json.dumps({"case": asked.case, **asdict(row), "ratio": row.ratio}))


if __name__ == "__main__":
    main()
