"""The mobile edge computing case of Section VIII: users who walk, edge servers on a grid, two services.

The paper's Table I, numbers of nodes, functions and rates are lost. Everything in `Case` and in
`pricing.multicast.wireless.Radio` is therefore **ours**, kept to what its text says: a square with edge servers
on a grid, neighbours of them joined by wire, users with little power of their own to process, links between users and
edge servers by radio, Gaussian random walks reflected at the border, two services of two functions each, sources and
destinations drawn among the users, Poisson arrivals. One packet is 1 kbit and one slot 1 ms, so a rate in packets a
slot is one in Mbit/s.

`frozen` stops the users and gives them the power of the uniform rule for good: then every capacity is constant, the
stability region is a linear program's, and simulations can be held against it. `mobile` lets them walk: its
`Walk` is the `Medium` that tells a simulation each slot's capacities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pricing.multicast.instance import Cast, Function, Instance, IntArray, Processor, SlotLink
from pricing.multicast.wireless import Air, Radio, by_weight, capacities, path_gain, uniform
from pricing.values import FloatArray

Power = Literal["uniform", "by weight"]


@dataclass(frozen=True)
class Case:
    """The instance's parameters, all ours.

    Attributes
    ----------
    side : float
        Of the square, m; its middle is (0, 0).
    grid, users : int
        Edge servers in a row of the grid, and users.
    step : float
        Standard deviation of a user's displacement in a slot and direction, m.
    wire : float
        Capacity of a wire between neighbouring edge servers, packets a slot.
    wire_cost : float
        Cost a packet on a wire.
    user_work, server_work : float
        Processing capacity, work a slot.
    user_cost, server_cost : float
        Cost a unit of work.
    chains : tuple
        The functions of each service.
    destinations : int
        Of each service.
    rate : float
        Packets a slot of each service.
    seed : int
        Of positions, shadows, sources and destinations.
    """

    side: float = 200.0
    grid: int = 2
    users: int = 8
    step: float = 0.05
    wire: float = 12.0
    wire_cost: float = 0.5
    user_work: float = 1.0
    server_work: float = 16.0
    user_cost: float = 2.0
    server_cost: float = 1.0
    chains: tuple[tuple[Function, ...], ...] = (
        (Function(0.8, 1.0), Function(1.25, 1.5)),
        (Function(1.2, 1.5), Function(0.75, 1.0)),
    )
    destinations: int = 3
    rate: float = 1.0
    seed: int = 6
    radio: Radio = field(default_factory=Radio)


@dataclass(frozen=True)
class Scene:
    """Where everything is: positions (U, 2) and (S, 2) in m, shadows (U, S) in dB."""

    users: FloatArray
    servers: FloatArray
    shadow: FloatArray

    def gains(self, radio: Radio) -> FloatArray:
        """Gain over noise of every pair, (U, S), 1/W."""
        apart = np.hypot(*np.moveaxis(self.users[:, None] - self.servers[None], 2, 0))
        return path_gain(apart, self.shadow, radio)


def scene(case: Case) -> Scene:
    """Users anywhere in the square, edge servers in the middles of a grid's fields."""
    random = np.random.default_rng([case.seed, 0])
    line = (np.arange(case.grid) + 0.5) * case.side / case.grid - case.side / 2
    servers = np.array([(x, y) for y in line for x in line])
    users = random.uniform(-case.side / 2, case.side / 2, (case.users, 2))
    return Scene(users, servers, random.normal(0, case.radio.shadow, (case.users, len(servers))))


def frozen(case: Case) -> Instance:
    """Users stand, each with one edge server for good; a packet costs its share of the power of its radio link."""
    where = scene(case)
    gain = where.gains(case.radio)
    air = _air(case, np.argwhere(gain == gain.max(axis=1, keepdims=True)))
    power = uniform(air, gain[air.user, air.server])
    capacity = capacities(gain[air.user, air.server], power, case.radio)
    energy = np.where(air.upward, case.radio.user_energy, case.radio.server_energy)
    cost = energy * power * case.radio.slot / capacity
    return _instance(case, where, air, capacity, cost, "MEC, frozen")


def mobile(case: Case, slots: int, power: Power, V: float = 0.0) -> tuple[Instance, Walk]:
    """Users walk for so many slots: the instance, whose radio links are those ever within reach, and its medium.

    Parameters
    ----------
    V : float
        Weight of cost in (15); the policy's.
    """
    where = scene(case)
    paths = walk(case, where.users, slots)
    reached = np.zeros(where.shadow.shape, dtype=bool)
    for users in paths[:: max(1, slots // 200)]:
        reached |= Scene(users, where.servers, where.shadow).gains(case.radio) > 0
    air = _air(case, np.argwhere(reached))
    # Whatever a link may have in a slot: what bounds a decision must not bound it at the first position.
    most = capacities(np.full(len(air.user), 1.0), np.full(len(air.user), 1e9), case.radio)
    instance = _instance(case, where, air, most, np.zeros(len(most)), f"MEC, mobile, power {power}")
    return instance, Walk(instance, air, paths, where, power, V)


def walk(case: Case, start: FloatArray, slots: int) -> FloatArray:
    """Positions (T, U, 2) of users in every slot: a Gaussian random walk, reflected at the border."""
    random = np.random.default_rng([case.seed, 1])
    steps = random.normal(0, case.step, (slots, *start.shape)).astype(np.float32)
    steps[0] = start
    free = np.cumsum(steps, axis=0) + case.side / 2
    folded = np.mod(free, 2 * case.side)
    return np.asarray(np.minimum(folded, 2 * case.side - folded) - case.side / 2)


class Walk:
    """The medium of walking users: `pricing.multicast.simulate.Medium`. After the last position users stand."""

    def __init__(self, instance: Instance, air: Air, paths: FloatArray, where: Scene, power: Power, V: float) -> None:
        self.capacity, self.air, self.paths, self.where = instance.layered.capacity.copy(), air, paths, where
        self.power, self.V = power, V

    def __call__(self, slot: int, weights: FloatArray) -> tuple[FloatArray, float]:
        """Capacities (R,) in a slot, and what the power costs."""
        air, radio = self.air, self.air.radio
        users = self.paths[min(slot, len(self.paths) - 1)]
        apart = users[air.user] - self.where.servers[air.server]
        gain = path_gain(np.hypot(apart[:, 0], apart[:, 1]), self.where.shadow[air.user, air.server], radio)
        even = self.power == "uniform"
        power = uniform(air, gain) if even else by_weight(air, gain, weights[air.resource], self.V)
        self.capacity[air.resource] = capacities(gain, power, radio)
        energy = np.where(air.upward, radio.user_energy, radio.server_energy)
        return self.capacity, float(energy @ power) * radio.slot


def _air(case: Case, pairs: IntArray) -> Air:
    """Links up and down for each pair (user, edge server)."""
    user, server = np.repeat(pairs, 2, axis=0).T
    upward = np.arange(len(user)) % 2 == 0
    return Air(case.radio, np.arange(len(user)), user, server, upward)


def _instance(case: Case, where: Scene, air: Air, capacity: FloatArray, cost: FloatArray, name: str) -> Instance:
    """Radio links come first, so that their numbers are those of `air`; then wires between neighbours."""
    users = [f"u{i + 1}" for i in range(case.users)]
    servers = [f"s{j + 1}" for j in range(len(where.servers))]
    links = [
        SlotLink(*((users[u], servers[s]) if up else (servers[s], users[u])), float(c), float(e))
        for u, s, up, c, e in zip(air.user, air.server, air.upward, capacity, cost, strict=True)
    ]
    spacing = case.side / case.grid
    for a, here in enumerate(where.servers):
        for b, there in enumerate(where.servers):
            if a != b and np.hypot(*(here - there)) < 1.01 * spacing:
                links.append(SlotLink(servers[a], servers[b], case.wire, case.wire_cost))
    random = np.random.default_rng([case.seed, 2])
    casts = []
    for k, chain in enumerate(case.chains):
        source, *ends = random.choice(case.users, case.destinations + 1, replace=False)
        casts.append(Cast(f"service {k + 1}", users[source], tuple(users[d] for d in ends), case.rate, chain))
    processors = [Processor(name, case.user_work, case.user_cost) for name in users]
    processors += [Processor(name, case.server_work, case.server_cost) for name in servers]
    places = dict(zip(users + servers, map(tuple, np.vstack([where.users, where.servers]).tolist()), strict=True))
    return Instance(name, (*users, *servers), tuple(links), tuple(casts), tuple(processors), places)
