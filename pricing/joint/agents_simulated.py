"""Agents on a simulated network: measured loads are Poisson counts, and messages are lost or late.

Time goes in seconds. Each second the splits in force load every resource, price agents count what came (packets at
random, works at random) and announce, sources answer, and what they ask is in force from the next second on. Each
message reaches each source with probability 1 - `lost`, up to `late` seconds later, so messages overtake each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing.joint.agents import PriceAgent, SourceAgent
from pricing.joint.messages import Message, decode, encode
from pricing.joint.optimum import optimum
from pricing.network import Network
from pricing.problem import Problem, make_allocation, problem_of
from pricing.shortest import shortest_path
from pricing.values import FloatArray


@dataclass(frozen=True)
class Outcome:
    """What happened.

    Parameters
    ----------
    gaps : array of shape (seconds,)
        (cost - least cost) / least cost of the splits in force, by the model; infinite where overloaded.
    octets : mapping of 'servers', 'links' and 'sources' to bytes/s
        Frames of messages sent by the agents of each kind, mean over the run.
    """

    gaps: FloatArray
    octets: dict[str, float]

    def reached(self, gap: float) -> float:
        """Seconds until the gap is reached for good; infinite if it is not."""
        above = np.flatnonzero(~(self.gaps <= gap))
        after = int(above[-1]) + 1 if len(above) else 0
        return float(after) if after < len(self.gaps) else np.inf


def price_agents(problem: Problem) -> list[PriceAgent]:
    """An agent at each server, then one at each node that links leave."""
    network, cut = problem.network, problem.link_count
    servers = [[cut + j] for j in range(len(network.servers))]
    nodes = [[i for i, link in enumerate(network.links) if link.src == node.name] for node in network.nodes]
    return [PriceAgent(problem, origin, mine) for origin, mine in enumerate([*servers, *filter(None, nodes)])]


def simulate(network: Network, lost: float, late: float, seconds: int, seed: int = 0) -> Outcome:
    """One run, from the shortest paths.

    Parameters
    ----------
    lost : float
        Probability that a message does not reach a source.
    late : float
        Longest delay of a message, s.

    Raises
    ------
    Infeasible
        When the sessions ask for more than links or servers can carry.
    """
    problem, rng = problem_of(network), np.random.default_rng(seed)
    least = problem.total_cost(problem.loads(optimum(network).allocation))
    prices = price_agents(problem)
    sources = [SourceAgent(problem, session) for session in network.sessions]
    force = shortest_path(network)
    for source in sources:
        source.carry(0.0, source.session.rate, dict(force.splits[source.session.name]))
    counted, under_way, gaps = np.zeros(len(problem.capacity)), list[tuple[float, int, bytes]](), []
    octets = {"servers": 0.0, "links": 0.0, "sources": 0.0}

    def send(kind: str, message: Message, now: float) -> None:
        octets[kind] += message.octets / seconds
        for k in np.flatnonzero(rng.random(len(sources)) >= lost).tolist():
            under_way.append((now + rng.uniform(0.0, late), k, encode(message)))

    for now in map(float, range(1, seconds + 1)):
        load = problem.loads(force)
        gaps.append(problem.total_cost(load) / least - 1)
        counted = counted + _counted(problem, load, rng)
        for agent in prices:
            if message := agent.announce(now, counted[agent.resources]):
                send("servers" if agent.origin < len(network.servers) else "links", message, now)
        arrived = [m for m in under_way if m[0] <= now]
        under_way = [m for m in under_way if m[0] > now]
        for _, k, data in arrived:
            sources[k].hear(decode(data, len(problem.capacity)))
        asked = [source.answer(now) for source in sources]
        force = make_allocation([r for split in asked for r in split], [s for split in asked for s in split.values()])
        for source in sources:
            source.carry(now, source.session.rate, dict(force.splits[source.session.name]))
            send("sources", source.tell(now), now)
    return Outcome(np.array(gaps), octets)


def _counted(problem: Problem, load: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What a second's jobs add up to: their number is Poisson, and their sizes vary as the laws say."""
    laws = problem.laws
    jobs = rng.poisson(load / laws.size)
    spread = rng.standard_normal(len(load)) * np.sqrt(jobs * laws.scv)
    return np.asarray(np.maximum(jobs + spread, 0.0) * laws.size)
