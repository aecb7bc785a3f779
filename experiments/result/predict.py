"""What the packet simulation says a run should have shown: the same packets, on the routes that were installed.

Two ways in, one kind of answer:

- `predict` takes the requests that were really sent (`experiments.result.measure.join`), each with the route that its
  flow had then (`experiments.result.choices`) and the work that it really brought, and sends them through the queues of
  the scenario. What it says can be held against what was measured, packet by packet.
- `synthetic` draws the packets of an allocation itself: Poisson arrivals, sizes of the session's law, works of the
  server's, and flows dealt to routes by weight. Independent runs give the intervals.

Answers go back along the reversed route and load it. Delays end when the server does; the way back is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from controller.slots import quotas
from experiments.result.choices import NOWHERE, Choices
from experiments.result.estimate import Delays, Estimate, delays, mean, rate, replications
from experiments.result.measure import Mask, Requests, Window
from pricing.errors import MeasurementError, TopologyError
from pricing.network import FRAME_OVERHEAD_BITS, Allocation, LinkKey, Network, Route, Session
from pricing.simulate.loop import SERVER, IntArray
from pricing.simulate.packets import Balance, Packets, Passage, Resources, Routes, simulate
from pricing.values import FloatArray
from topologies.calibration import NOMINAL, Calibration
from topologies.hosts.logs import SECOND
from topologies.hosts.sender import payload_sizes

WARM_UP = 0.2
"""Share of a synthetic run that passes before anything is counted."""


@dataclass(frozen=True)
class PredictedSession:
    """A session in the simulation: its delay and the delay's parts, and the time of the answers' way back, s."""

    name: str
    delay: Delays
    network: Estimate
    wait: Estimate
    work: Estimate
    way_back: Estimate


@dataclass(frozen=True)
class PredictedResource:
    """A link or server in the simulation: load (bit/s or work/s), utilization, and mean wait in its queue, s."""

    name: str
    load: Estimate
    utilization: float
    wait: Estimate


@dataclass(frozen=True)
class Prediction:
    """What the simulation says; sessions, links and servers in the network's order.

    Parameters
    ----------
    delays : array of shape (N,)
        Delay of each request, s, in the order of `Requests`; NaN where it was dropped or refused. Several runs follow
        each other.
    delay : Delays
        Of all requests that were counted.
    balance : Balance
        Packets of the simulation.
    elsewhere : int
        Requests that were really served by another server than predicted; 0 when hash and record are right.
    loads : array of shape (n, L)
        bit/s that each link sent between successive edges; without edges one row for the whole window.
    """

    sessions: tuple[PredictedSession, ...]
    links: tuple[PredictedResource, ...]
    servers: tuple[PredictedResource, ...]
    delays: FloatArray
    delay: Delays
    balance: Balance
    elsewhere: int
    loads: FloatArray


def predict(
    network: Network,
    requests: Requests,
    choices: Mapping[str, Choices],
    window: Window,
    propagation: bool = True,
    edges: FloatArray | None = None,
    calibration: Calibration = NOMINAL,
) -> Prediction:
    """Send the requests that were really sent along the routes that were really installed.

    Parameters
    ----------
    choices : mapping of session name to Choices
    propagation : bool
        Whether the emulation has the links' propagation delays.
    edges : array of shape (n + 1,), optional
        Ascending Unix times, s, between which loads are told.
    calibration : Calibration
        What a packet takes on this machine that meets no queue is in the delays too.

    Raises
    ------
    MeasurementError
        When a session that sent has no choices.
    TopologyError
        When answers have no link back.

    Notes
    -----
    A request that no server took in has its session's mean work. A request that another server took in than predicted
    brings the same work to the predicted one. What was refused at the ingress goes nowhere: its delay is NaN.
    """
    ways = _Ways(network)
    route = np.zeros(len(requests.sent), dtype=np.int64)
    mean_work, response, klass = np.zeros(len(route)), np.zeros(len(route)), np.ones(len(route), dtype=np.int64)
    for index, session in enumerate(network.sessions):
        mine = requests.session == index
        if not mine.any():
            continue
        if session.name not in choices:
            raise MeasurementError(
                f"session {session.name}: it sent packets, and no choices of routes are given for it"
            )
        chosen = choices[session.name]
        numbers = np.array([*(ways.number(each) for each in chosen.routes), NOWHERE])
        route[mine] = numbers[chosen.take(requests.sent[mine], requests.flow[mine])]
        mean_work[mine], response[mine], klass[mine] = session.work, session.response_bits, session.klass
    capacity = np.array([server.capacity for server in network.servers] + [1.0])  # index -1: no server
    done = requests.work * capacity[requests.server]
    let_in = route != NOWHERE
    server = np.array([*ways.servers, -1], dtype=np.int64)[route]
    work = np.where(server >= 0, np.where(np.isfinite(done), done, mean_work) / capacity[server], 0.0)
    origin = int(requests.sent[0]) if len(route) else 0
    columns = (requests.sent - origin) / SECOND, requests.bits, route, work, response, klass
    packets = Packets.of(*(column[let_in] for column in columns))
    watched = np.array([window.start, window.end]) if edges is None else edges
    since = np.rint(watched * SECOND).astype(np.int64) - origin
    resources = _with_sink(Resources.of(network, propagation))
    resources.propagation[: len(network.links)] += calibration.link_s
    scene = _Scene(network, ways, resources, since / SECOND, calibration.ends_s)
    elsewhere = int(((requests.copies > 0) & (requests.server != server)).sum())
    counted = window.quiet(requests.sent[let_in])
    found = scene.predict(packets, requests.session[let_in], counted, window.duration, elsewhere)
    took = np.full(len(route), np.nan)
    took[let_in] = found.delays
    return replace(found, delays=took)


def synthetic(
    network: Network, allocation: Allocation, duration: float, seed: int, runs: int = 1, propagation: bool = True
) -> Prediction:
    """Draw the packets of an allocation and simulate them.

    Parameters
    ----------
    duration : float
        Seconds of traffic a run; the first fifth is not counted.
    runs : int
        Independent runs. Intervals are those of their results; of a single run, those of its packets.

    Raises
    ------
    TopologyError
        When answers have no link back.
    """
    ways = _Ways(network)
    flows = [_flows(session, allocation, ways) for session in network.sessions]
    watched = np.array([WARM_UP * duration, duration])
    scene = _Scene(network, ways, _with_sink(Resources.of(network, propagation)), watched)
    results = []
    for run in range(runs):
        packets, owner = drawn(network, flows, np.array(ways.servers, dtype=np.int64), duration, [seed, run])
        counted = packets.arrival >= WARM_UP * duration
        results.append(scene.predict(packets, owner, counted, (1.0 - WARM_UP) * duration, elsewhere=0))
    result: Prediction = _together(results) if runs > 1 else results[0]
    return result


def drawn(
    network: Network, flows: Sequence[IntArray], servers: IntArray, duration: float, seed: list[int]
) -> tuple[Packets, IntArray]:
    """Packets that the sessions send for so long, s, in the order of time, and whose each is.

    Parameters
    ----------
    flows : sequence of arrays of int
        For each session the route of each of its flows.
    servers : array of int
        For each route the server at its end; -1 for none.
    """
    capacity = np.array([server.capacity for server in network.servers] + [1.0])
    scv = np.array([server.scv for server in network.servers] + [0.0])
    classes = np.array([session.klass for session in network.sessions])
    each = [_draw(k, session, flows[k], duration, [*seed, k]) for k, session in enumerate(network.sessions)]
    when, bits, route, work, response, owner = (np.concatenate(column) for column in zip(*each, strict=True))
    order, at = np.argsort(when, kind="stable"), servers[route]
    relative = _relative_works(np.random.default_rng([*seed, len(flows)]), scv[at])
    works = np.where(at >= 0, work * relative / capacity[at], 0.0)
    packets = Packets.of(when, bits, route, works, response, classes[owner])
    return Packets(*(getattr(packets, column.name)[order] for column in fields(packets))), owner[order]


class _Ways:
    """Numbers of routes, and the hops of each: links, server, and the links of the answers' way back.

    A unicast session ends at a host that answers at once: the sink, a server after all others that has no work to do.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.numbers: dict[Route, int] = {}
        self.hops: list[list[int]] = []
        self.servers: list[int] = []
        self.lengths: list[int] = []

    def number(self, route: Route) -> int:
        if route not in self.numbers:
            self.numbers[route] = len(self.hops)
            self.servers.append(self.network.server_index[route.server] if route.server else -1)
            self.lengths.append(len(route.links))
            self.hops.append(self._hops(route))
        return self.numbers[route]

    def _hops(self, route: Route) -> list[int]:
        session = self.network.sessions[self.network.session_index[route.session]]
        hops = [self._link(route, key) for key in route.links]
        sink = len(self.network.servers)
        hops.append(len(self.network.links) + self.network.server_index.get(route.server, sink))
        if session.response_bits > 0:
            hops += [self._link(route, (dst, src)) for src, dst in reversed(route.links)]
        return hops

    def _link(self, route: Route, key: LinkKey) -> int:
        if key not in self.network.link_index:
            raise TopologyError(f"route {route} of session {route.session}: there is no link {key[0]}->{key[1]}")
        return self.network.link_index[key]


@dataclass(frozen=True)
class _Scene:
    """The routes, the queues, and the moments (s of the simulation) between which they are watched.

    `ends` is what a way takes at its ends, s; as all ways have it, it moves no packet against another.
    """

    network: Network
    ways: _Ways
    resources: Resources
    edges: FloatArray
    ends: float = 0.0

    def predict(
        self, packets: Packets, session: IntArray, counted: Mask, duration: float, elsewhere: int
    ) -> Prediction:
        """Simulate packets in the order of their arrival, and take the figures of the window."""
        passage = simulate(packets, Routes.of(self.ways.hops), self.resources)
        took = passage.ended - packets.arrival + self.ends
        sessions = tuple(
            self._session(each.name, packets, passage, counted & (session == k))
            for k, each in enumerate(self.network.sessions)
        )
        resources = self._resources(packets, passage, duration)
        links = len(self.network.links)
        return Prediction(
            sessions=sessions,
            links=resources[:links],
            servers=resources[links:],
            delays=took,
            delay=delays(_known(took[counted])),
            balance=passage.balance(),
            elsewhere=elsewhere,
            loads=self._loads(packets, passage),
        )

    def _loads(self, packets: Packets, passage: Passage) -> FloatArray:
        """bit/s that each link sent between successive edges: an answer of many packets takes its time."""
        links, pieces, edges = len(self.network.links), len(self.edges) - 1, self.edges
        hops = np.flatnonzero((passage.resource >= 0) & (passage.resource < links) & np.isfinite(passage.wait))
        bits, where = self._amounts(packets, passage, hops), passage.resource[hops]
        begun, capacity = (passage.at + passage.wait)[hops], self.resources.capacity[where]
        first = np.searchsorted(edges, begun, side="right") - 1
        last = np.searchsorted(edges, begun + bits / capacity) - 1
        within = (first == last) & (first >= 0) & (first < pieces)
        place = first[within] * links + where[within]
        sent = np.bincount(place, bits[within], minlength=pieces * links).reshape(pieces, links)
        across = first < last  # few: they are being sent at an edge
        begun, capacity, bits, where = begun[across], capacity[across], bits[across], where[across]
        by = [np.bincount(where, np.clip((edge - begun) * capacity, 0.0, bits), minlength=links) for edge in edges]
        return np.asarray((sent + np.diff(by, axis=0)) / np.diff(edges)[:, None])

    def _session(self, name: str, packets: Packets, passage: Passage, mine: Mask) -> PredictedSession:
        ended = mine & np.isfinite(passage.ended)
        return PredictedSession(
            name=name,
            delay=delays((passage.ended - packets.arrival)[ended] + self.ends),
            network=mean((passage.reached - packets.arrival)[ended] + self.ends),
            wait=mean(passage.server_wait[ended]),
            work=mean((passage.ended - passage.reached - passage.server_wait)[ended]),
            way_back=mean(_known((passage.returned - passage.ended)[ended]) + self.ends),
        )

    def _resources(self, packets: Packets, passage: Passage, duration: float) -> tuple[PredictedResource, ...]:
        """Loads and waits of what came to each resource in the window."""
        start = self.edges[0]
        inside = np.flatnonzero((passage.at >= start) & (passage.at < start + duration))
        where = passage.resource[inside].astype(np.int16)
        order = np.argsort(where, kind="stable")  # within a resource nearly in the order of time
        chosen = inside[order]
        amounts, waits = self._amounts(packets, passage, chosen), passage.wait[chosen]
        ends = np.searchsorted(where[order], np.arange(len(self.resources.kind) + 1))
        names = [*map(str, self.network.links), *(server.name for server in self.network.servers)]
        found = []
        for index, name in enumerate(names):
            here = slice(ends[index], ends[index + 1])
            load = rate(amounts[here], duration)
            used = load.value / float(self.resources.capacity[index])
            found.append(PredictedResource(name, load, used, mean(_known(waits[here]))))
        return tuple(found)

    def _amounts(self, packets: Packets, passage: Passage, hops: IntArray) -> FloatArray:
        """Load that each of `hops` (indices of the passage) brings: bits of request or answer, or work."""
        packet = np.repeat(np.arange(len(packets.arrival)), np.diff(passage.first))[hops]
        there = np.array(self.ways.lengths, dtype=np.int64)[packets.route[packet]]
        bits = np.where(hops - passage.first[packet] < there, packets.size[packet], packets.response[packet])
        where = passage.resource[hops]
        work = packets.work[packet] * self.resources.capacity[where]
        return np.where(where < len(self.network.links), bits, work)


def _with_sink(resources: Resources) -> Resources:
    return Resources(
        np.append(resources.kind, SERVER),
        np.append(resources.capacity, 1.0),
        np.append(resources.queue, 1),
        np.append(resources.propagation, 0.0),
    )


def _flows(session: Session, allocation: Allocation, ways: _Ways) -> IntArray:
    """The route of each of a session's flows, dealt by weight."""
    split = allocation.splits.get(session.name, ())
    if not split:
        return np.empty(0, dtype=np.int64)
    numbers = {ways.number(route): weight for route, weight in split}
    whole = quotas(numbers, session.flows)
    return np.repeat(list(whole), list(whole.values()))


def _draw(
    index: int, session: Session, flows: IntArray, duration: float, seed: list[int]
) -> tuple[FloatArray, FloatArray, IntArray, FloatArray, FloatArray, IntArray]:
    """Times, frames, routes, mean works, answers and owner of the packets that a session sends."""
    rng = np.random.default_rng(seed)
    count = int(rng.poisson(session.packet_rate * duration)) if len(flows) else 0
    when = np.sort(rng.uniform(0.0, duration, count))
    bits: FloatArray = payload_sizes(session.size, rng, count).astype(np.float64) * 8.0 + FRAME_OVERHEAD_BITS
    route = flows[rng.integers(0, len(flows), count)] if count else np.empty(0, dtype=np.int64)
    work, response = np.full(count, session.work), np.full(count, session.response_bits)
    return when, bits, route, work, response, np.full(count, index)


def _relative_works(rng: np.random.Generator, scv: FloatArray) -> FloatArray:
    """Works with mean 1 and the squared coefficients of variation `scv`: gamma, exponential for 1, fixed for 0."""
    varied = scv > 0
    works = np.ones(len(scv))
    works[varied] = rng.gamma(1.0 / scv[varied], scv[varied])
    return works


def _known(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]


def _together(values: Sequence[Any]) -> Any:
    """One value of many of a shape: estimates become those of independent runs, counts are added up."""
    first = values[0]
    if isinstance(first, Estimate):
        return replications([each.value for each in values if np.isfinite(each.value)])
    if isinstance(first, Balance):
        return Balance(*map(sum, zip(*values, strict=True)))
    if isinstance(first, tuple):
        return tuple(_together(column) for column in zip(*values, strict=True))
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    if isinstance(first, float):
        return float(np.mean(values))
    if isinstance(first, int):
        return sum(values)
    if isinstance(first, str):
        return first
    return type(first)(**{name: _together([getattr(each, name) for each in values]) for name in vars(first)})
