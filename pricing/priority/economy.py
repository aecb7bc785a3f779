"""The economy of Kim and Juhn: machines with priority classes, programs that visit them, and services.

A **machine** is anything with a queue: a server, or a link. A **program** visits machines; with a class k it is an
**option**. A **service** of a user can be had by several programs, all equally good, and is worth V(X) at the rate X of
all its options together. Letters as in the paper:

    P_m(p), mu_m(p), Q_m(p)    visits of program p to machine m, their number, and their size summed
    x_o                        programs a second of option o = (service, program p, class k)
    psi_mkq, gamma_mk          arrivals at m by class and size (5); delay cost that a second of wait in class k has (9)
    tau_o = sum_m [Q_m(p)/v_m + mu_m(p) Omega_mk]                                                              (1)
    W(x)  = sum_s V_s(X_s) - sum_o delta_o x_o tau_o                                                           (7)

Values of a user's services add up (the paper lets them interact). Work and speeds have the unit of the machine: bits
and bit/s of a link, work and work/s of a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pricing.errors import Infeasible, ScenarioError
from pricing.network import Network, Route
from pricing.priority.sizes import Size, from_moments
from pricing.priority.values import Value
from pricing.priority.waits import IntArray
from pricing.values import FloatArray

CODE_POINTS = 64
"""Classes that the six bits of DSCP can tell apart."""


@dataclass(frozen=True)
class Machine:
    """A server or a link: `servers` equal ones of `speed` each, and `propagation` seconds behind every visit.

    With `sojourn` False a job is gone when its service starts, as at a link that delivers the wait alone.
    """

    name: str
    speed: float
    servers: int = 1
    sojourn: bool = True
    propagation: float = 0.0


@dataclass(frozen=True)
class Visit:
    """`count` jobs of one size at a machine; `count` may be a mean, as of a retry."""

    machine: str
    size: Size
    count: float = 1.0


@dataclass(frozen=True)
class Program:
    """A way of delivering a service: the jobs that it brings to machines."""

    name: str
    visits: Sequence[Visit]


@dataclass(frozen=True)
class Service:
    """One user's wish: what it is worth, what a second of delay costs, and the programs that deliver it.

    Parameters
    ----------
    name : str
        Its own among all services; a user of two services has two of these.
    value : Value
        currency/s of programs/s.
    delay_cost : float
        delta, currency a second of one program's delay; 0 for who does not mind.
    programs : sequence of Program
        One or more, all equally good.
    user : str, optional
        Whose it is.
    classes : sequence of int, optional
        Those that it may use, 1 first; all of them by default.
    """

    name: str
    value: Value
    delay_cost: float
    programs: Sequence[Program]
    user: str = ""
    classes: Sequence[int] = ()


@dataclass(frozen=True)
class Economy:
    """Machines, services and classes; checked once.

    Raises
    ------
    ScenarioError
        With every problem found: names, speeds, sizes, classes beyond DSCP, several servers with mixed jobs.
    Infeasible
        When those whose delay costs nothing want more than a machine has, and no price can tell them so.
    """

    machines: Sequence[Machine]
    services: Sequence[Service]
    classes: int = 1

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise ScenarioError("economy", problems)
        self._refuse_free_floods()

    @cached_property
    def options(self) -> list[tuple[int, int, int]]:
        """(service, program, class) of each option, all counted from 0; N of them."""
        return [
            (s, p, k)
            for s, service in enumerate(self.services)
            for p in range(len(service.programs))
            for k in ([k - 1 for k in service.classes] or range(self.classes))
        ]

    @cached_property
    def owner(self) -> IntArray:
        """Service of each option, shape (N,)."""
        return np.array([s for s, _, _ in self.options])

    @cached_property
    def chosen(self) -> IntArray:
        """Class of each option, from 0, shape (N,)."""
        return np.array([k for _, _, k in self.options])

    @cached_property
    def speed(self) -> FloatArray:
        """v, shape (M,)."""
        return np.array([machine.speed for machine in self.machines])

    @cached_property
    def servers(self) -> IntArray:
        """c, shape (M,)."""
        return np.array([machine.servers for machine in self.machines])

    @cached_property
    def delay_cost(self) -> FloatArray:
        """delta of each option, shape (N,)."""
        return np.array([self.services[s].delay_cost for s in self.owner])

    def _uses(self, of: int) -> FloatArray:
        """Per option and machine: 0 visits, 1 time t summed, 2 h t^2 summed. Shape (N, M)."""
        place = {machine.name: m for m, machine in enumerate(self.machines)}
        rows = np.zeros((len(self.options), len(self.machines)))
        for row, (s, p, _) in zip(rows, self.options, strict=True):
            for visit in self.services[s].programs[p].visits:
                m = place[visit.machine]
                time = visit.size.mean / self.machines[m].speed
                row[m] += visit.count * (1.0, time, visit.size.h * time**2)[of]
        return rows

    @cached_property
    def visits(self) -> FloatArray:
        """mu_m(p) of each option, shape (N, M)."""
        return self._uses(0)

    @cached_property
    def time(self) -> FloatArray:
        """Q_m(p)/v_m of each option, s, shape (N, M)."""
        return self._uses(1)

    @cached_property
    def residual(self) -> FloatArray:
        """Sum of h (q/v)^2 over an option's visits, s^2, shape (N, M)."""
        return self._uses(2)

    @cached_property
    def unhindered(self) -> FloatArray:
        """Time that an option takes without any wait, s, shape (N,)."""
        sojourn = np.array([float(machine.sojourn) for machine in self.machines])
        return np.asarray(self.time @ sojourn + self.visits @ np.array([m.propagation for m in self.machines]))

    @cached_property
    def forms(self) -> FloatArray:
        """The linear map from x to (u, sigma_1..K, gamma_1..K) of each machine, shape (M, 2 K + 1, N)."""
        before = np.arange(self.classes)[:, None] >= self.chosen
        same = np.arange(self.classes)[:, None] == self.chosen
        load = self.time / self.servers
        weighed = self.visits * self.delay_cost[:, None]
        return np.concatenate(
            [self.residual.T[:, None, :], load.T[:, None, :] * before, weighed.T[:, None, :] * same], axis=1
        )

    @cached_property
    def scale(self) -> FloatArray:
        """Rate at which an option alone would fill the first of its machines, shape (N,)."""
        return np.asarray(1 / (self.time / self.servers).max(axis=1))

    @cached_property
    def service_scale(self) -> FloatArray:
        """The largest of its options' scales, shape (S,)."""
        most = np.zeros(len(self.services))
        np.maximum.at(most, self.owner, self.scale)
        return most

    def load(self, x: FloatArray) -> FloatArray:
        """Part of its servers' time that each machine is asked for, shape (M,)."""
        return np.asarray(x @ (self.time / self.servers))

    def totals(self, x: FloatArray) -> FloatArray:
        """X of each service, programs/s, shape (S,)."""
        return np.asarray(np.bincount(self.owner, x, minlength=len(self.services)), dtype=np.float64)

    def _refuse_free_floods(self) -> None:
        """A machine that only those visit whose delay costs nothing has price 0: their demand at 0 must fit."""
        idle = [s for s, service in enumerate(self.services) if service.delay_cost == 0]
        flooded: dict[str, float] = {}
        for m, machine in enumerate(self.machines):
            uses = self.time[:, m] > 0
            if not uses.any() or self.delay_cost[uses].any():
                continue
            only = [s for s in idle if (self.time[self.owner == s, m] > 0).all()]
            load = sum(
                self.services[s].value.demand(0.0) * float(self.time[self.owner == s, m].min()) / machine.servers
                for s in only
            )
            if load >= 1:
                flooded[machine.name] = load
        if flooded:
            said = "; ".join(f"machine {name}: {load:.4g} of its capacity" for name, load in flooded.items())
            raise Infeasible(
                f"{said} is wanted by services whose delay costs nothing, so no price would keep the load below "
                "capacity; give one of them a delay cost above 0, a value that ends, or a larger machine",
                tuple(flooded),
                max(flooded.values()) - 1,
            )


def _problems(economy: Economy) -> list[str]:
    """Everything that is wrong with an economy, as sentences."""
    found: list[str] = []
    if not 1 <= economy.classes <= CODE_POINTS:
        found.append(f"classes: {economy.classes}; 1 to {CODE_POINTS} are accepted, as many as DSCP can carry")
    if not economy.machines or not economy.services:
        found.append("machines, services: one or more of each is accepted")
    for what, names in (("machine", economy.machines), ("service", economy.services)):
        seen = [item.name for item in names]
        twice = sorted({name for name in seen if seen.count(name) > 1})
        found += [f"{what} {name}: twice; each once is accepted" for name in twice]
    for machine in economy.machines:
        if not (np.isfinite(machine.speed) and machine.speed > 0):
            found.append(f"machine {machine.name}: speed {machine.speed:g}; a finite number above 0 is accepted")
        if machine.servers < 1:
            found.append(f"machine {machine.name}: {machine.servers} servers; 1 and more are accepted")
        if not (np.isfinite(machine.propagation) and machine.propagation >= 0):
            found.append(f"machine {machine.name}: propagation {machine.propagation:g} s; a number from 0 is accepted")
    known = {machine.name: machine for machine in economy.machines}
    for service in economy.services:
        if not (np.isfinite(service.delay_cost) and service.delay_cost >= 0):
            found.append(f"service {service.name}: delay cost {service.delay_cost:g}; a number from 0 is accepted")
        if wrong := [k for k in service.classes if not 1 <= k <= economy.classes]:
            found.append(f"service {service.name}: classes {wrong}; 1 to {economy.classes} are accepted")
        if not service.programs:
            found.append(f"service {service.name}: no program; one or more is accepted")
        for program in service.programs:
            where = f"service {service.name}, program {program.name}"
            if not program.visits:
                found.append(f"{where}: no visit; one or more is accepted")
            for visit in program.visits:
                if visit.machine not in known:
                    found.append(f"{where}: unknown machine {visit.machine}; {', '.join(known)} are accepted")
                if not (np.isfinite(visit.count) and visit.count > 0):
                    found.append(f"{where}: {visit.count:g} visits to {visit.machine}; a number above 0 is accepted")
    return found + _mixed(economy)


def _mixed(economy: Economy) -> list[str]:
    """Machines of several servers whose jobs are not exponential with one mean."""
    found = []
    for machine in economy.machines:
        sizes = {
            visit.size
            for service in economy.services
            for program in service.programs
            for visit in program.visits
            if visit.machine == machine.name
        }
        if machine.servers > 1 and (len({size.mean for size in sizes}) > 1 or {size.scv for size in sizes} - {1.0}):
            found.append(
                f"machine {machine.name}: {machine.servers} servers and {len(sizes)} kinds of jobs; with several "
                "servers waits are known for exponential jobs of one mean"
            )
    return found


def machines_of(network: Network) -> list[Machine]:
    """A network's links, named `src->dst`, and its servers, as machines."""
    links = [
        Machine(str(link), link.capacity, 1, link.delivers == "sojourn", link.propagation) for link in network.links
    ]
    return links + [Machine(server.name, server.capacity) for server in network.servers]


def program_of(network: Network, route: Route) -> Program:
    """A route as a program: a frame on each link of the way out, the work, an answer on each link of the way back.

    What a program of class k pays (`State.rents`) is then the route's price: the sum over its machines for that class.
    """
    session = network.sessions[network.session_index[route.session]]
    frame = from_moments(*session.size.frame_moments)
    visits = [Visit(str(network.links[network.link_index[key]]), frame) for key in route.links]
    if route.server:
        server = network.servers[network.server_index[route.server]]
        visits.append(Visit(server.name, Size(session.work, server.scv)))
    if session.response_bits > 0:
        back = [network.links[network.link_index[dst, src]] for src, dst in reversed(route.links)]
        visits += [Visit(str(link), Size(session.response_bits)) for link in back]
    return Program(str(route), visits)
