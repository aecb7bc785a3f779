"""A tick of the controller on a large network: measure, price, compile and compare, against switches in memory.

Time is simulated, and a second passes from tick to tick. Sessions offer Poisson packets of the rate that they have;
these go where the rules in force send their flows, and the counters of ports and rules say so. What is timed is
`tick.learn` and `tick.plan`: from counters to the messages to be sent. Describing a tick for those who watch, judging
it against the optimum, searching its garbage, and writing and sending the messages are timed beside it.

Demands swing with a period of `PERIOD` ticks, each in a phase of its own, so after one of them a tick meets nothing
new. Memory is what the process has of the machine then and at every period after, and it is **flat** when the most of
these is no more than `FLAT` above the first.
"""

from __future__ import annotations

import gc
import math
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import networkx as nx
import numpy as np

from bench.row import Row
from controller import garbage, labels, slots, tick
from controller.compile import answer_rule, forward_rules, request_rule
from controller.fabric import Fabric
from controller.labels import REFUSED
from controller.measure import Count, Key, rule_key
from controller.openflow import phases
from controller.plant import HostPlant, Plant, SwitchPlant
from controller.rules import Delta, Entry
from pricing.network import Link, Network, Node, Server, Session
from pricing.policy import get_policy
from pricing.problem import problem_of
from pricing.shortest import shortest_path

NODES, CABLES, SERVERS, SERVICES = 100, 150, 30, 10
"""A cable is two links."""

SLOTS = 256
FULL = 0.6
"""Utilization of each link and server by shortest paths, of those that carry something (ours)."""

WANTED_S = 0.25

PERIOD, FLAT = 600, 0.02


def large_network(sessions: int = 500, seed: int = 1) -> Network:
    """Nodes in the plane on a shortest tree and the shortest cables beside it; half of the sessions ask for servers."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(size=(NODES, 2))
    names = [f"n{i:03d}" for i in range(NODES)]
    far = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    pairs = sorted((far[i, j], i, j) for i in range(NODES) for j in range(i))
    graph: nx.Graph[int] = nx.Graph()
    graph.add_weighted_edges_from((i, j, d) for d, i, j in pairs)
    cables = {(min(i, j), max(i, j)) for i, j in nx.minimum_spanning_edges(graph, data=False)}
    for _, i, j in pairs:
        if len(cables) < CABLES:
            cables.add((min(i, j), max(i, j)))
    links = [
        Link(names[a], names[b], 1.0, 0.005 * float(far[a, b])) for i, j in sorted(cables) for a, b in ((i, j), (j, i))
    ]
    servers = [Server(f"s{j:02d}", names[i], 1.0) for j, i in enumerate(rng.choice(NODES, SERVERS, replace=False))]
    found = []
    for k in range(sessions):
        source, end = rng.choice(NODES, 2, replace=False)
        rate = float(rng.uniform(0.5, 1.5) * 2e6)
        if k % 2:
            found.append(Session(f"k{k:03d}", names[source], "unicast", (names[end],), rate, response_bits=800.0))
        else:
            service = k // 2 % SERVICES
            ends = tuple(server.name for server in servers[service::SERVICES])
            found.append(
                Session(f"k{k:03d}", names[source], "anycast", ends, rate, response_bits=800.0, service=f"v{service}")
            )
    nodes = tuple(Node(name) for name in names)
    draft = Network("large", nodes, tuple(links), tuple(servers), tuple(found))
    load = problem_of(draft).loads(shortest_path(draft))
    room = np.maximum(load / FULL, load[: len(links)].mean())
    return replace(
        draft,
        links=tuple(replace(link, capacity=float(c)) for link, c in zip(links, room, strict=False)),
        servers=tuple(
            replace(server, capacity=max(float(c), 1.0) / FULL)
            for server, c in zip(servers, load[len(links) :], strict=True)
        ),
    )


def plant_of(network: Network) -> Plant:
    """A switch for each node; a host for each server and for each session's source and destination."""
    names = [node.name for node in network.nodes]
    ports = {name: {other: port for port, other in enumerate(sorted(network.graph[name]), 1)} for name in names}
    used = {name: len(ports[name]) for name in names}
    hosts: dict[str, HostPlant] = {}

    def host(name: str, node: str, role: str) -> str:
        used[node] += 1
        number = len(hosts) + 1
        high, low = divmod(number, 256)
        hosts[name] = HostPlant(node, used[node], f"10.0.{high}.{low}", f"02:00:0a:00:{high:02x}:{low:02x}", role, ())
        return name

    for server in network.servers:
        host(server.name, server.node, "server")
    pairs = {}
    for session in network.sessions:
        source = host(f"{session.name}-from", session.source, "source")
        end = host(f"{session.name}-to", session.destinations[0], "source") if session.kind == "unicast" else ""
        pairs[session.name] = source, end
    services = sorted({session.service for session in network.sessions if session.kind == "anycast"})
    switches = {name: SwitchPlant(number, ports[name]) for number, name in enumerate(names, 1)}
    return Plant("", switches, hosts, {name: f"10.9.0.{n}" for n, name in enumerate(services, 1)}, pairs)


@dataclass
class Switches:
    """Switches in memory, which refuse what does not fit what they have, and count the packets of sessions."""

    fabric: Fabric
    rng: np.random.Generator
    entries: dict[tuple[str, int], Entry] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    place: dict[Key, int] = field(default_factory=dict)
    uses: dict[int, tuple[labels.Path, np.ndarray, np.ndarray]] = field(default_factory=dict)
    packets: np.ndarray = field(default_factory=lambda: np.zeros(0))
    octets: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def apply(self, delta: Delta) -> None:
        """Take the changes of a delta."""
        for change in delta:
            key = change.switch, change.entry.cookie
            assert (key in self.entries) == (change.kind != "add"), f"{change} of what is there already, or is not"
            if change.kind == "delete":
                del self.entries[key]
            else:
                self.entries[key] = change.entry

    def _met(self, state: tick.State, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Counters that packets of a route, and their answers, meet; and whether it is an answer that meets it."""
        path = state.labels.path(number)
        if number not in self.uses or self.uses[number][0] != path:
            fabric = self.fabric
            session, plant = fabric.sessions[path.session], fabric.plant
            back = fabric.back(path)
            rules = forward_rules(fabric, state.labels, path)
            hosts = plant.hosts
            client, end = hosts[plant.source(session)], hosts[path.host]
            asked: list[Key] = [("in", client.node, client.port), ("out", end.node, end.port), rule_key(rules[0])]
            asked += [rule_key(rules[-1]), rule_key(request_rule(fabric, session))]
            asked += [("out", a, plant.switches[a].ports[b]) for a, b in zip(path.nodes, path.nodes[1:], strict=False)]
            answered: list[Key] = [("in", end.node, end.port), ("out", client.node, client.port)]
            answered += [rule_key(answer_rule(fabric, session, path.host))]
            answered += [
                ("out", a, plant.switches[a].ports[b]) for a, b in zip(back.nodes, back.nodes[1:], strict=False)
            ]
            found = [*dict.fromkeys(asked), *dict.fromkeys(answered)]
            for key in found:
                if key not in self.place:
                    self.place[key] = len(self.keys)
                    self.keys.append(key)
            index = np.array([self.place[key] for key in found])
            self.uses[number] = path, index, np.arange(len(found)) >= len(dict.fromkeys(asked))
        return self.uses[number][1:]

    def second(self, state: tick.State, rates: np.ndarray, now: float) -> dict[Key, Count]:
        """A second of traffic at these bit/s (K,), and the counters of ports and of the rules that are there."""
        index, packets, octets = [], [], []
        for session, rate in zip(self.fabric.network.sessions, rates, strict=True):
            flows = slots.slot_rates(self.fabric, session.name)
            split = np.bincount(state.deals[session.name], flows / flows.sum())
            for number in np.flatnonzero(split):
                if number == REFUSED:
                    continue
                count = self.rng.poisson(rate / session.frame_bits * split[number])
                size = self.rng.normal(session.frame_bits, session.frame_bits / math.sqrt(max(count, 1))) / 8
                met, answers = self._met(state, int(number))
                index.append(met)
                packets.append(np.full(len(met), count))
                octets.append(count * np.where(answers, session.response_bits / 8, size))
        grown = len(self.keys) - len(self.packets)
        self.packets = np.append(self.packets, np.zeros(grown))
        self.octets = np.append(self.octets, np.zeros(grown))
        np.add.at(self.packets, np.concatenate(index), np.concatenate(packets))
        np.add.at(self.octets, np.concatenate(index), np.concatenate(octets))
        counted = zip(self.keys, self.packets.tolist(), self.octets.tolist(), strict=True)
        there = ((key, Count(int(n), int(o), now)) for key, n, o in counted)
        return {key: count for key, count in there if key[0] != "rule" or key[1:] in self.entries}


@dataclass
class Spans:
    """How long what took: s of wall and of CPU time, by name, one after the other."""

    took: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time the block."""
        begun = time.perf_counter(), time.process_time()
        yield
        self.took[name].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))

    def facts(self) -> dict[str, float]:
        """Medians and 99th percentiles in ms; `tick` is from counters to messages, the first plan is another matter."""
        first, *plans = self.took["plan"]
        ticks = [np.add(*pair) for pair in zip(self.took["learn"], plans, strict=False)]
        found = {"first plan, s": first[0]}
        for name, spans in {**self.took, "plan": plans, "tick": ticks}.items():
            for clock, times in zip(("", " CPU"), np.array(spans).T, strict=True):
                found |= {f"{name}{clock}, median, ms": 1e3 * float(np.median(times))}
                found |= {f"{name}{clock}, p99, ms": 1e3 * float(np.percentile(times, 99))}
        return found


def resident() -> float:
    """Memory that this process has of the machine now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def ticks(policy: str, many: int, sessions: int = 500, swing: float = 0.2) -> Row:
    """Ticks of one policy; each demand swings slowly by up to `swing` in a phase of its own, packets are Poisson's."""
    network = large_network(sessions)
    fabric = Fabric(network, plant_of(network), SLOTS)
    rng = np.random.default_rng(2)
    switches, state = Switches(fabric, rng), tick.first_state(fabric, get_policy(policy))
    phase, base = rng.uniform(0, 2 * np.pi, sessions), problem_of(network).rates
    spans, rules, messages, memory, held = Spans(), [], [], [], []
    gc.disable()
    try:
        for second in range(many + 1):
            with spans.of("plan"):
                plan = tick.plan(fabric, state)
            switches.apply(plan.delta)
            rules.append(len(plan.delta))
            barriers = sum(len({change.switch for change in phase}) for phase in phases(plan.delta))
            messages.append(len(plan.delta) + barriers)
            state = tick.acknowledged(state, plan)
            with spans.of("describe"):
                tick.describe(fabric, state)
            if second % 10 == 1:
                with spans.of("judge"):
                    state, _ = tick.judge(fabric, state)
            with spans.of("garbage"):
                garbage.collect(second) if second > 1 else garbage.keep()
            wave = 1 + swing * np.sin(phase + 2 * np.pi * second / PERIOD)
            counts = switches.second(state, base * wave, float(second))
            with spans.of("learn"):
                state = tick.learn(fabric, state, counts, float(second))
            if second % PERIOD == 0:
                memory.append(resident())
                held.append(len(switches.entries))
    finally:
        gc.enable()
    facts = spans.facts() | {
        "rules changed a tick, median": float(np.median(rules[1:])),
        "messages a tick, median": float(np.median(messages[1:])),
        "rules": len(switches.entries),
        "rules compared a second": 1e3 * len(switches.entries) / spans.facts()["tick, median, ms"],
        "memory at the end, MiB": resident(),
    }
    for place, (mib, there) in enumerate(zip(memory, held, strict=True)):
        facts |= {f"memory after {place * PERIOD} ticks, MiB": mib, f"rules after {place * PERIOD} ticks": there}
    size = {"nodes": NODES, "links": len(network.links), "sessions": sessions, "slots": SLOTS, "ticks": many}
    note = f"a tick of under {1e3 * WANTED_S:.0f} ms at p99 is wanted; {flatness(memory[1:])}"
    return Row(f"ticks of {policy}, large network", size, wanted=None, note=note, facts=facts)


def flatness(memory: list[float]) -> str:
    """Whether memory, period by period, MiB, is flat: a sentence.

    >>> flatness([200.0, 203.0, 201.0])
    'memory is flat: at most 1.5 % above that after the first period'
    """
    if len(memory) < 2:
        return f"memory is judged from {2 * PERIOD} ticks on"
    grown = max(memory[1:]) / memory[0] - 1
    said = "flat" if grown <= FLAT else "not flat"
    return f"memory is {said}: at most {100 * grown:.1f} % above that after the first period"
