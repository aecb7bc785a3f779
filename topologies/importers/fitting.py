"""From a survey to a scenario: who talks to whom, and how much, so that two cores carry it and queues matter.

Sessions come from the survey's demands, the largest first; where it has none, each pair of nodes wants the product of
its degrees, which is ours. With servers, nodes ask one anycast service instead, each for as much as it sends in all.
Then one scale is free, and it is chosen so that the most utilized resource is utilized as the target says, either with
the least top utilization that any routing has (`pricing.joint.feasible`) or on shortest paths:

- capacities keep their proportions (equal where the origin has none) and are scaled to a total of `rate`; or
- capacities are given, or kept in bit/s, and the demands are scaled to them.

Servers are alike and together loaded to the target. Capacities and rates are rounded to four digits, delays to 1 us.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import networkx as nx
import numpy as np

from pricing.errors import Infeasible, ScenarioError
from pricing.joint.feasible import least_top_utilization
from pricing.network import Link, Network, Node, Server, Session
from pricing.problem import problem_of
from pricing.shortest import shortest_path
from topologies import units
from topologies.assembly import KILOMETRES_A_SECOND
from topologies.importers.survey import Demand, Survey, tidied, tidy
from topologies.links import HIGHEST, LOWEST, not_emulated
from topologies.scenario import Control, Scenario

RATE = 4e6
"""bit/s offered in all unless said otherwise: some 970 packets/s, which two cores carry over several hops (ours)."""

ANSWER_BITS = 800.0
"""Frame of an answer where a service is asked and every link has one back (ours)."""

CLOSE = 1.005
"""How closely the search for the narrowest links ends."""


@dataclass(frozen=True)
class Fit:
    """How a survey becomes a scenario.

    Parameters
    ----------
    sessions : int
        Most sessions that are kept, largest first.
    servers : int
        Servers of one anycast service; 0 for sessions from node to node.
    rate : float, optional
        bit/s offered in all, to which capacities are scaled; `RATE` when no capacity is given either.
    capacity : float or 'keep', optional
        bit/s of every link, or the survey's own capacities; demands are scaled to them.
    utilization : float
        Of the most utilized resource.
    of : 'optimum' or 'shortest-path'
        Under which routing: the least top utilization that there is, or shortest paths.
    """

    sessions: int = 40
    servers: int = 0
    rate: float | None = None
    capacity: float | Literal["keep"] | None = None
    utilization: float = 0.7
    of: Literal["optimum", "shortest-path"] = "optimum"

    def problems(self) -> list[str]:
        """What is wrong with it, whatever the survey."""
        problems = []
        if not 0 < self.utilization < 1:
            found = f"{self.utilization:g}"
            problems.append(f"utilization: found {found}; accepted: a number between 0 and 1, such as 0.7")
        if self.sessions < 1:
            problems.append(f"sessions: found {self.sessions}; accepted: a whole number from 1")
        if self.servers < 0:
            problems.append(f"servers: found {self.servers}; accepted: a whole number from 0")
        if self.rate is not None and self.capacity is not None:
            problems.append("found both rate and capacity; accepted: one, since the other follows from the utilization")
        if self.capacity is not None and self.capacity != "keep" and (reason := not_emulated(self.capacity)):
            problems.append(f"capacity: {reason}")
        return problems


def fitted(survey: Survey, fit: Fit = Fit(), name: str = "") -> tuple[Scenario, tuple[str, ...]]:
    """The scenario of a survey, and what was left out or changed on the way, a sentence each.

    Parameters
    ----------
    survey : Survey
    fit : Fit
    name : str
        What the scenario is called; else as the survey.

    Raises
    ------
    ScenarioError
        With every problem of the choice, or when the capacities that come out cannot be emulated.
    """
    survey = tidied(survey)
    problems = list(_problems(survey, fit))
    if problems:
        raise ScenarioError(survey.name, problems)
    notes = list(survey.notes)
    links = _links(survey, fit, notes)
    if fit.servers:
        sessions, places = _anycast(survey, fit, links, notes)
    else:
        sessions, places = _unicast(survey, fit, links, notes), []
    network = Network(
        tidy([name or survey.name])[0],
        tuple(sorted((Node(p.name, p.latitude, p.longitude) for p in survey.places), key=lambda node: node.name)),
        tuple(sorted(links, key=lambda link: link.key)),
        tuple(Server(f"server-{number}", place, 1.0) for number, place in enumerate(places, 1)),
        tuple(sorted(sessions, key=lambda session: session.name)),
    )
    network = _scaled(network, fit)
    outside = [link for link in network.links if not_emulated(link.capacity)]
    if outside:
        raise ScenarioError(survey.name, _outside(outside, network, fit))
    provenance = (
        f"{survey.provenance} Brought in by Wardrop, whose own choice is what was not there: {_ours(survey, fit)}"
    )
    scenario = Scenario(network.name, survey.title, provenance, network, Control(), Path(f"{network.name}.yaml"))
    return scenario, tuple(notes)


def _problems(survey: Survey, fit: Fit) -> list[str]:
    """What is wrong with the choice, all at once."""
    problems = fit.problems()
    if len(survey.places) < 2 or not survey.cables:
        problems.append(f"found {len(survey.places)} nodes and {len(survey.cables)} links; accepted: 2 and 1, or more")
    elif fit.servers >= len(survey.places):
        most = len(survey.places) - 1
        problems.append(f"servers: found {fit.servers}; accepted: at most {most}, so that a node is left to ask")
    if fit.capacity == "keep":
        without = [cable for cable in survey.cables if cable.capacity is None]
        if without:
            first = f"{without[0].src} - {without[0].dst}"
            problems.append(f"capacity: keep, but {len(without)} links have none, {first} first; accepted: a capacity")
    return problems


def _links(survey: Survey, fit: Fit, notes: list[str]) -> list[Link]:
    """Links in the proportions of the survey, or with the capacity that was chosen."""
    known = [cable.capacity for cable in survey.cables if cable.capacity is not None]
    usual = median(known) if known else 1e6
    if known and len(known) < len(survey.cables) and not isinstance(fit.capacity, float | int):
        notes.append(f"{len(survey.cables) - len(known)} links have no capacity: they take the median of the others")
    links = []
    for cable in survey.cables:
        capacity = fit.capacity if isinstance(fit.capacity, float | int) else cable.capacity or usual
        seconds = cable.delay if cable.delay is not None else (cable.length or 0.0) / KILOMETRES_A_SECOND
        link = Link(cable.src, cable.dst, float(capacity), round(seconds, 6))
        links += [link, replace(link, src=cable.dst, dst=cable.src)] if cable.both else [link]
    return links


def _demands(survey: Survey) -> Sequence[Demand]:
    """The survey's demands, or the product of two nodes' degrees."""
    if survey.demands:
        return survey.demands
    degree = Counter(end for cable in survey.cables for end in (cable.src, cable.dst))
    names = sorted(degree)
    return [Demand(a, b, float(degree[a] * degree[b])) for a in names for b in names if a != b]


def _graph(links: Sequence[Link]) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_weighted_edges_from((link.src, link.dst, link.propagation or 1e-4) for link in links)
    return graph


def _unicast(survey: Survey, fit: Fit, links: Sequence[Link], notes: list[str]) -> list[Session]:
    """A session for each of the largest demands that have a way."""
    wanted: Counter[tuple[str, str]] = Counter()
    for demand in _demands(survey):
        wanted[demand.source, demand.destination] += demand.amount  # type: ignore[assignment]
    graph = _graph(links)
    reached = {source: nx.descendants(graph, source) for source in {source for source, _ in wanted}}
    possible = {pair: amount for pair, amount in wanted.items() if pair[1] in reached[pair[0]]}
    kept = sorted(possible, key=lambda pair: (-possible[pair], pair))[: fit.sessions]
    if not kept:
        raise ScenarioError(survey.name, ["no demand has a way through the network; accepted: one or more"])
    if len(kept) < len(wanted):
        share = sum(wanted[pair] for pair in kept) / sum(wanted.values())
        notes.append(f"{len(kept)} of {len(wanted)} demands were kept, {share:.0%} of what is asked in all")
    names = tidy(f"{source[:7]}-{destination[:7]}" for source, destination in kept)
    return [
        Session(name, source, "unicast", (destination,), float(wanted[source, destination]))
        for name, (source, destination) in zip(names, kept, strict=True)
    ]


def _anycast(survey: Survey, fit: Fit, links: Sequence[Link], notes: list[str]) -> tuple[list[Session], list[str]]:
    """Sessions that ask one service for what each node sends in all, and the nodes of its servers."""
    sends: Counter[str] = Counter()
    for demand in _demands(survey):
        sends[demand.source] += demand.amount  # type: ignore[assignment]
    graph = _graph(links)
    far = dict(nx.all_pairs_dijkstra_path_length(graph))
    places = _medians(sorted(graph), sends, far, fit.servers)
    askers = [name for name in sends if name not in places and any(place in far[name] for place in places)]
    kept = sorted(askers, key=lambda name: (-sends[name], name))[: fit.sessions]
    if not kept:
        raise ScenarioError(survey.name, ["no node that asks reaches a server; accepted: fewer servers"])
    if len(kept) < len(sends) - fit.servers:
        notes.append(f"{len(kept)} nodes ask, those that send most")
    keys = {link.key for link in links}
    answer = ANSWER_BITS if all((dst, src) in keys for src, dst in keys) else 0.0
    servers = tuple(f"server-{number}" for number in range(1, fit.servers + 1))
    sessions = [
        Session(name, source, "anycast", servers, float(sends[source]), response_bits=answer, service="web")
        for name, source in zip(tidy(source.lower() for source in kept), kept, strict=True)
    ]
    return sessions, places


def _medians(nodes: list[str], sends: Counter[str], far: dict[str, dict[str, float]], count: int) -> list[str]:
    """Nodes for servers, one after the other where they shorten the ways most; those that none reaches come last."""
    endless = 1e3 * (1 + max((way for row in far.values() for way in row.values()), default=1.0))
    chosen: list[str] = []
    for _ in range(count):
        rest = [node for node in nodes if node not in chosen]

        def ways(node: str) -> float:
            ends = [*chosen, node]
            return sum(amount * min(far[source].get(end, endless) for end in ends) for source, amount in sends.items())

        chosen.append(min(rest, key=lambda node: (ways(node), node)))
    return sorted(chosen)


def _scaled(network: Network, fit: Fit) -> Network:
    """Rates, capacities and servers such that the target is met."""
    total = sum(session.rate for session in network.sessions)
    offered = fit.rate or RATE
    sessions = tuple(replace(s, rate=offered * s.rate / total) for s in network.sessions)
    network = _with_servers(replace(network, sessions=sessions), fit)
    scale = _narrowest(network, fit)
    if fit.capacity is None:
        links = tuple(replace(link, capacity=_digits(scale * link.capacity)) for link in network.links)
        network = replace(network, links=links)
    else:
        sessions = tuple(replace(session, rate=session.rate / scale) for session in network.sessions)
        network = replace(network, sessions=sessions)
    rounded = tuple(replace(session, rate=_digits(session.rate)) for session in network.sessions)
    return _with_servers(replace(network, sessions=rounded), fit)


def _with_servers(network: Network, fit: Fit) -> Network:
    """Servers alike: loaded to the target together, or on shortest paths the fullest of them is."""
    if not network.servers:
        return network
    if fit.of == "optimum":
        most = sum(session.packet_rate * session.work for session in network.sessions) / len(network.servers)
    else:
        problem = problem_of(network)
        most = float(np.max(problem.loads(shortest_path(network))[problem.link_count :]))
    capacity = _digits(most / fit.utilization)
    return replace(network, servers=tuple(replace(server, capacity=capacity) for server in network.servers))


def _narrowest(network: Network, fit: Fit) -> float:
    """What the links' capacities must be multiplied with so that the target is just met."""

    def with_links(scale: float) -> Network:
        return replace(network, links=tuple(replace(link, capacity=scale * link.capacity) for link in network.links))

    if fit.of == "shortest-path":
        problem = problem_of(network)
        links = slice(problem.link_count)
        load = problem.loads(shortest_path(network))
        return float(np.max(load[links] / problem.capacity[links])) / fit.utilization
    # So wide that nothing limits: every link could carry all requests and their answers.
    wide = 2 * sum(s.rate * (1 + s.response_bits / s.frame_bits) for s in network.sessions)
    wide /= min(link.capacity for link in network.links) * fit.utilization
    if not network.servers:
        return wide * _top(with_links(wide)) / fit.utilization
    return _search(lambda scale: _top(with_links(scale)) <= fit.utilization * 1.001, wide)


def _search(fits: Callable[[float], bool], high: float) -> float:
    """The least scale that fits, to `CLOSE`; `high` fits, or nearly."""
    low = high
    while fits(low / 4):
        low /= 4
    high, low = low, low / 4
    while high / low > CLOSE:
        middle = math.sqrt(high * low)
        if fits(middle):
            high = middle
        else:
            low = middle
    return high


def _top(network: Network) -> float:
    """Least top utilization of links and servers; endless where the demand does not fit."""
    try:
        problem = problem_of(network)
        return float(np.max(problem.loads(least_top_utilization(network)) / problem.capacity))
    except Infeasible:
        return math.inf


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _outside(links: Sequence[Link], network: Network, fit: Fit) -> list[str]:
    """Why capacities that came out cannot be emulated, and what helps."""
    narrow = min(network.links, key=lambda link: link.capacity)
    wide = max(network.links, key=lambda link: link.capacity)
    ends = [f"{units.show(link.capacity, 'capacity')} ({link})" for link in (narrow, wide)]
    needed = (fit.rate or RATE) * LOWEST / narrow.capacity
    if fit.capacity is None and wide.capacity * LOWEST / narrow.capacity <= HIGHEST:
        mend = f"a rate of {math.ceil(needed / 1e5) / 10:g} Mbit/s or more, or one capacity for all"
    else:
        mend = "one capacity for all, such as '2 Mbit/s'"
    found = f"{len(links)} links cannot be emulated: capacities would be from {ends[0]} to {ends[1]}"
    return [f"{found}; accepted: 100 kbit/s to 1 Gbit/s: choose {mend}"]


def _ours(survey: Survey, fit: Fit) -> str:
    """What of a scenario was chosen, in a sentence."""
    sizes = {"keep": "the origin's capacities", None: "capacities scaled to what two cores carry packet by packet"}
    links = sizes.get(fit.capacity if fit.capacity == "keep" else None) or ""
    if isinstance(fit.capacity, float | int):
        links = "one capacity for all links"
    who = "demands by degree" if not survey.demands else "demands in the origin's proportions"
    ends = f", {fit.servers} servers at the nodes nearest to all" if fit.servers else ""
    return f"{links}, {who}{ends}; the most utilized resource at {fit.utilization:g} under {fit.of}."
