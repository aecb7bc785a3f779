"""Market files: one YAML file says what computes where, what moves over which links, and who asks for what.

The form is in `topologies.market_schema`; the files that come with Wardrop are in `topologies/markets/`. Nodes, cables
and links are written as in a scenario file, so that a market's network can be emulated with its capacities scaled
down. As with scenarios, every problem is reported at once: of the YAML, of each part, and of what the parts must agree
on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pricing.errors import MarketError, ScenarioError
from pricing.market.model import Asset, Demand, Market, Step, Workload
from pricing.network import Link, LinkKey, Node
from topologies.assembly import KILOMETRES_A_SECOND
from topologies.checking import Mended, content, did_you_mean, listed, money_problems, nearest, read
from topologies.market_schema import MARKET, AssetPart, DemandPart, MarketPart, PaidCablePart, PaidLinkPart
from topologies.schema import NAME, NAME_ACCEPTED, Money

MARKETS = Path(__file__).parent / "markets"
"""Where the markets live that come with Wardrop."""


@dataclass(frozen=True)
class MarketFile:
    """A market, checked, with its title, where its data comes from, and the file it was read from."""

    title: str
    provenance: str
    market: Market
    path: Path


def names() -> tuple[str, ...]:
    """Names of the markets that come with Wardrop, sorted."""
    return tuple(sorted(path.stem for path in MARKETS.glob("*.yaml")))


def load(name_or_path: str | Path) -> MarketFile:
    """The market of that name, or in that file: what contains a slash or ends in `.yaml` or `.yml`.

    Raises
    ------
    ScenarioError
        When there is no such market, or with every problem of the file.
    """
    text = str(name_or_path)
    path = Path(text)
    if not (isinstance(name_or_path, Path) or "/" in text or path.suffix in (".yaml", ".yml")):
        if text not in names():
            accepted = f"accepted: {', '.join(names())}, or the path of a file"
            raise ScenarioError(text, [f"unknown market{did_you_mean(text, names())}; {accepted}"])
        path = MARKETS / f"{text}.yaml"
    return parse(content(path, "market"), path)


def parse(text: str, path: Path) -> MarketFile:
    """The market that a YAML text describes; `path` names it in messages.

    Raises
    ------
    ScenarioError
        With every problem of the text.
    """
    mended, problems = read(text, path, "market", MARKET)
    market = None
    if mended is not None:
        assembly = _Assembly(mended)
        market = assembly.market()
        problems += assembly.problems
    if problems or mended is None or market is None:
        raise ScenarioError(str(path), problems)
    return MarketFile(mended.form.title, mended.form.provenance, market, path)


class _Assembly:
    """Makes a market of a form, and collects what its parts do not agree on."""

    def __init__(self, mended: Mended[MarketPart]) -> None:
        self.form, self.known, self.at, self.complete = mended.form, mended.known, mended.at, mended.complete
        self.problems: list[str] = []

    def market(self) -> Market | None:
        """The market, when the parts fit."""
        form = self.form
        self._check_names()
        self._check_money()
        links, fees = self._links()
        assets = [asset for asset in self._assets() if asset.node in form.nodes]
        demands = list(self._demands())
        if not self.complete or not (form.nodes and assets and form.workloads and demands):
            missing = [key for key in ("nodes", "assets", "workloads", "demand") if not getattr(form, key)]
            self.problems += [f"{key}: found none; accepted: one or more" for key in missing if self._is_empty(key)]
            return None
        order = sorted(range(len(links)), key=lambda e: links[e].key)
        try:
            return Market(
                form.name,
                form.currency,
                tuple(Node(name, node.latitude, node.longitude) for name, node in sorted(form.nodes.items())),
                tuple(links[e] for e in order),
                tuple(fees[e] for e in order),
                tuple(assets),
                tuple(self._workloads()),
                tuple(sorted(demands, key=lambda demand: demand.key)),
                8 * form.token,
                form.periods.count,
                form.periods.length,
            )
        except MarketError as error:
            self.problems += error.problems
            return None

    def _is_empty(self, key: str) -> bool:
        return not self.known.get(key, self.at.get(key, [0]))

    def _check_names(self) -> None:
        seen: dict[str, str] = {}
        for section in MARKET.named:
            for name in getattr(self.form, section):
                if not re.match(NAME, name):
                    self.problems.append(f"{section}: found the name {name!r}; accepted: {NAME_ACCEPTED}")
                if seen.setdefault(name, section) != section:
                    self.problems.append(
                        f"{section}: found the name {name!r}, which is in {seen[name]} too; accepted: different names"
                    )

    def _check_money(self) -> None:
        """Every price is in the currency of the file."""
        self.problems += money_problems(self.form.currency, self._prices())

    def _prices(self) -> Iterator[tuple[str, Money | None]]:
        form = self.form
        for name, node in form.nodes.items():
            yield f"nodes.{name}.energy", node.energy
            yield f"nodes.{name}.site", node.site
        for section in ("cables", "links"):
            for index, wire in zip(self.at[section], getattr(form, section), strict=True):
                yield f"{section}[{index}].fee", wire.fee
        for name, asset in form.assets.items():
            yield f"assets.{name}.upkeep", asset.upkeep
        for name, load in form.workloads.items():
            yield f"workloads.{name}.value", load.value
        for index, demand in zip(self.at["demand"], form.demand, strict=True):
            for number, step in enumerate(demand.steps):
                yield f"demand[{index}].steps[{number}].value", step.value

    def _name(self, where: str, found: str, section: str) -> str:
        """The name found if the file has it or it cannot be told, else the nearest one, or none."""
        known: Collection[str] | None = self.known.get(section)
        if known is None or found in known:
            return found
        accepted = f"accepted: the {section} of this file, {listed(known)}"
        message = f"{where}: found {found!r}, which is not in {section}{did_you_mean(found, known)}; {accepted}"
        self.problems.append(message)
        self.complete = False
        return nearest(found, known)

    def _links(self) -> tuple[list[Link], list[float]]:
        found: dict[LinkKey, tuple[Link, float]] = {}
        for index, cable in zip(self.at["cables"], self.form.cables, strict=True):
            where = f"cables[{index}]"
            a, b = (self._name(f"{where}.ends", end, "nodes") for end in cable.ends)
            self._add(found, where, a, b, cable, cable.capacity)
            self._add(found, where, b, a, cable, cable.capacity_back or cable.capacity)
        for index, link in zip(self.at["links"], self.form.links, strict=True):
            where = f"links[{index}]"
            src, dst = self._name(f"{where}.from", link.src, "nodes"), self._name(f"{where}.to", link.dst, "nodes")
            self._add(found, where, src, dst, link, link.capacity)
        return [link for link, _ in found.values()], [fee for _, fee in found.values()]

    def _add(
        self, found: dict[LinkKey, tuple[Link, float]], where: str, src: str, dst: str,
        wire: PaidCablePart | PaidLinkPart, capacity: float,
    ) -> None:  # fmt: skip
        if not {src, dst} <= self.form.nodes.keys():
            self.complete = False
        elif src == dst:
            self.problems.append(f"{where}: found {src!r} at both ends; accepted: two different nodes")
        elif (src, dst) in found:
            self.problems.append(f"{where}: found a second link from {src} to {dst}; accepted: one in each direction")
        else:
            propagation = wire.length / KILOMETRES_A_SECOND if wire.length else wire.delay or 0.0
            found[src, dst] = Link(src, dst, capacity, propagation), wire.fee[0] if wire.fee else 0.0

    def _assets(self) -> Iterator[Asset]:
        for name, asset in sorted(self.form.assets.items()):
            node = self._name(f"assets.{name}.node", asset.node, "nodes")
            runs = [self._name(f"assets.{name}.workloads", load, "workloads") for load in asset.workloads or []]
            only = None if asset.workloads is None else frozenset(runs)
            yield Asset(name, node, asset.capacity, self._costs(node, asset), only)

    def _costs(self, node: str, asset: AssetPart) -> tuple[float, ...]:
        """Currency a work in each period: energy, upkeep of the machines, and the site's own."""
        site, count = self.form.nodes.get(node), self.form.periods.count
        if site is None:
            return (0.0,) * count
        factors = self._factors(f"nodes.{node}.energy_factors", site.energy_factors)
        energy = asset.energy * (site.energy[0] if site.energy else 0.0)
        fixed = sum(price[0] for price in (asset.upkeep, site.site) if price is not None)
        return tuple(energy * factor + fixed for factor in factors)

    def _factors(self, where: str, given: list[float] | None) -> list[float]:
        count = self.form.periods.count
        if given is None or len(given) == count:
            return given or [1.0] * count
        problem = f"{where}: found {len(given)} numbers; accepted: {count}, one for each period"
        if problem not in self.problems:
            self.problems.append(problem)
        return [1.0] * count

    def _workloads(self) -> Iterator[Workload]:
        for name, load in sorted(self.form.workloads.items()):
            limit = load.limit or math.inf
            yield Workload(name, load.compute, 8 * load.request, 8 * load.response, limit, load.wait, load.tokens)

    def _demands(self) -> Iterator[Demand]:
        first: dict[tuple[str, str], int] = {}
        for index, part in zip(self.at["demand"], self.form.demand, strict=True):
            where = f"demand[{index}]"
            region = self._name(f"{where}.region", part.region, "nodes")
            workload = self._name(f"{where}.workload", part.workload, "workloads")
            if (part.rate is None) == (not part.steps):
                found = "neither" if part.rate is None else "both"
                self.problems.append(f"{where}: found {found} of 'rate' and 'steps'; accepted: exactly one")
                continue
            if first.setdefault((region, workload), index) != index:
                self.problems.append(
                    f"{where}: found a second demand of {region} for {workload}, the first is "
                    f"demand[{first[region, workload]}]; accepted: one, in steps if it has several values"
                )
                continue
            load = self.form.workloads.get(workload)
            if load is not None:
                factors = self._factors(f"workloads.{workload}.factors", load.factors)
                for period, factor in enumerate(factors):
                    yield Demand(region, workload, _steps(part, load.value, factor), period)


def _steps(part: DemandPart, value: Money | None, factor: float) -> tuple[Step, ...]:
    if part.rate is not None:
        return (Step(part.rate * factor, value[0] if value else math.inf),)
    steps = sorted(part.steps, key=lambda step: -step.value[0])
    return tuple(Step(step.rate * factor, step.value[0]) for step in steps)
