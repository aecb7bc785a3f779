"""Load: what a scenario is scaled by: its servers, or where nobody asks for work, its demand.

- Where requests ask for work, the load is that work over the sum of the servers' capacities; the servers are scaled, so
  that packets stay the same.
- Between nodes alone, it is the utilization of the fullest link under the routing that keeps it lowest (the minimum of
  the maximum utilization); the demand is scaled, and capacities stay. At 1 no routing can carry it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from pricing.errors import ScenarioError
from pricing.network import Network


def scaled(network: Network, load: float) -> Network:
    """The network at a load above 0.

    Raises
    ------
    ScenarioError
        When the load is none, or means nothing here: groups alone, or no demand.
    """
    if not (math.isfinite(load) and load > 0):
        raise ScenarioError(network.name, [f"load: found {load}; accepted: a number above 0, such as 0.75"])
    work = _work(network)
    if work:
        scale = work / (load * sum(server.capacity for server in network.servers))
        servers = tuple(replace(server, capacity=scale * server.capacity) for server in network.servers)
        return replace(network, servers=servers)
    if any(session.kind == "multicast" for session in network.sessions):
        accepted = "accepted: none where there are groups; `bin/wardrop largest` finds their largest rate"
        raise ScenarioError(network.name, [f"load: found {load}; {accepted}"])
    if not any(session.rate for session in network.sessions):
        raise ScenarioError(network.name, [f"load: found {load}; accepted: none, no session has a rate"])
    return _with_rates(network, load / fullest(network))


def means(network: Network) -> str:
    """What a load is here, in words."""
    if _work(network):
        return "the work asked for over the servers' sum"
    return "the fullest link's utilization where routing keeps it lowest"


@lru_cache(maxsize=16)
def fullest(network: Network) -> float:
    """Utilization of the fullest link under the routing that keeps it lowest; above 1 where none can carry the demand.

    It grows in proportion to the demand, so that a small part of it tells.
    """
    from pricing.joint.feasible import least_top_utilization
    from pricing.problem import problem_of

    carried = 2 * sum(session.rate for session in network.sessions)
    part = min(link.capacity for link in network.links) / carried
    small = _with_rates(network, part)
    problem = problem_of(small)
    return float(np.max(problem.loads(least_top_utilization(small)) / problem.capacity)) / part


def _work(network: Network) -> float:
    return sum(session.packet_rate * session.work for session in network.sessions if session.kind == "anycast")


def _with_rates(network: Network, scale: float) -> Network:
    return replace(network, sessions=tuple(replace(s, rate=scale * s.rate) for s in network.sessions))
