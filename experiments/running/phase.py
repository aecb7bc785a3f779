"""One phase of a run: a policy, real traffic for a settling and a measured time, and everything that was seen.

Servers and senders are started anew for each phase from the same seed, so the measured packets are the same packets
(times, sizes, flows, work) under every policy, however long each was given to settle.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.running.machine import Second, Watch
from experiments.running.queues import QueueLog, QueueWatch
from pricing.errors import EmulationError
from pricing.learnt import LawName
from pricing.network import Network
from pricing.own import named
from pricing.priority.elastic import Group
from topologies.background import Background, asking, listening, result
from topologies.emulation import Emulation
from topologies.hosts.configs import (
    Config,
    announcing,
    answering,
    processing,
    sending,
    serving,
    showing,
    switching,
    using,
)
from topologies.hosts.logs import Log, load
from topologies.hosts.start import Program, stop
from topologies.plant import Plant
from topologies.sockets import give_room

START_DELAY_S = 1.0
"""From telling the senders when to start to their first packet (ours)."""

DRAIN_S = 2.0
"""After the last packet, until senders are expected to have written their logs (ours)."""

END_TIMEOUT_S = 60.0
"""Longest wait for a host process to write its log and end (ours)."""

PAGE_PERIOD_S = 2.0
"""Time between two fetches of the page by curl (ours)."""

HostLog = tuple[Log, dict[str, Any]]
"""Rows and summary of one host process."""


@dataclass(frozen=True)
class Setting:
    """What is measured in a phase.

    Parameters
    ----------
    policy : str
    laws : LawName
        Where the controller's delay laws come from.
    without : pair of str
        Ends of a cable that is failed meanwhile; empty for none.
    demand : float
        Times the sessions' own rates that they offer.
    worth : pair of str and float, optional
        A user, and how many times as much its requests are worth from the middle of the time to settle on.
    """

    policy: str
    laws: LawName = "measured"
    without: tuple[str, ...] = ()
    demand: float = 1.0
    worth: tuple[str, float] | None = None

    def __str__(self) -> str:
        said = self.policy + ("" if self.laws == "measured" else f", {self.laws} laws")
        said += "" if self.demand == 1 else f", {self.demand:.3g} times the demand"
        said += f" without {'-'.join(self.without)}" if self.without else ""
        return said + (f", {self.worth[0]}'s value x{self.worth[1]:g}" if self.worth else "")


@dataclass(frozen=True)
class PhaseLog:
    """Everything that was seen in one phase.

    Parameters
    ----------
    setting : Setting
    seed : int
        Of the traffic.
    start : float
        Unix time of the first packet's segment, s.
    settle, measure : float
        Lengths of the two segments, s.
    records : tuple of dict
        The controller's record lines of the phase.
    history : tuple of dict
        All of its lines since it was started: slots are written only when they change.
    seconds : tuple of Second
        The machine, second by second.
    queues : QueueLog
        The links' queues, links in the network's order.
    requests, answers : mapping of session name to HostLog
    served : mapping of server name to HostLog
    pages : mapping of str to int
        Pages that curl fetched, by the server that sent them; 'failed' for those that did not come.
    switch_drops : int
        Packets that switches dropped in the phase, by the counters of their ports.
    chosen : mapping of user name to HostLog
        What became of every request that came up; empty where nobody chooses.
    background : mapping of name to dict
        What came of each stream of traffic of no session; see `topologies.background`.
    """

    setting: Setting
    seed: int
    start: float
    settle: float
    measure: float
    records: tuple[dict[str, Any], ...]
    history: tuple[dict[str, Any], ...]
    seconds: tuple[Second, ...]
    queues: QueueLog
    requests: Mapping[str, HostLog]
    answers: Mapping[str, HostLog]
    served: Mapping[str, HostLog]
    pages: Mapping[str, int]
    switch_drops: int
    chosen: Mapping[str, HostLog] = field(default_factory=dict)
    background: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def policy(self) -> str:
        """Name of the policy."""
        return self.setting.policy

    @property
    def window(self) -> tuple[float, float]:
        """Unix times between which the measured packets were sent."""
        return self.start + self.settle, self.start + self.settle + self.measure

    @property
    def changed(self) -> float:
        """Unix time from which on nothing was changed."""
        return self.start + (self.settle / 2 if self.setting.worth else 0.0)


@dataclass
class Traffic:
    """The host processes of one phase: a queueing server and a page in each server's host, or its functions; a sender a
    session.

    Parameters
    ----------
    emulation : Emulation
    folder : Path
        Where configurations and logs of the phase go, inside the testbed's directory.
    groups : sequence of Group
        Users who choose among the sessions; without any, each session has a sender.
    background : tuple of Background
        What runs beside the sessions.
    lost, late : float
        Share of the messages that source agents do not hear, and longest time by which they hear others late, s.
    """

    emulation: Emulation
    folder: Path
    groups: Sequence[Group] = ()
    background: tuple[Background, ...] = ()
    lost: float = 0.0
    late: float = 0.0
    _beside: list[Program] = field(default_factory=list)
    _servers: dict[str, Program] = field(default_factory=dict)
    _senders: dict[str, Program] = field(default_factory=dict)
    _pages: list[Program] = field(default_factory=list)
    _agents: list[Program] = field(default_factory=list)
    _curl: subprocess.Popen[bytes] | None = None
    _curl_due: float = 0.0
    _fetched: Counter[str] = field(default_factory=Counter)

    @property
    def network(self) -> Network:
        """The network that is emulated."""
        return self.emulation.network

    @property
    def plant(self) -> Plant:
        """Its names in OpenFlow and in the hosts."""
        return self.emulation.plant

    def start_servers(self, seed: int) -> None:
        """Start the servers and their pages, and wait until each exports its load."""
        network, plant = self.network, self.plant
        for host, config in self._serving(seed).items():
            self._servers[host] = self._start("server", host, config)
        told = exports_in(self.folder.parent)
        for host, config in processing(network, self.folder, seed, told).items():
            self._pages.append(self._start("function", host, config))
        for host, config in showing(network, plant).items():
            self._pages.append(self._start("web", host, config))
        for name, host, module, config in listening(self.background, plant):
            self._pages.append(self._start(module, host, config, f"{name}-server"))
        for program in (*self._servers.values(), *self._pages):
            program.wait_ready()

    def start_senders(self, seed: int, settle: float, measure: float, demand: float = 1.0) -> float:
        """Start a sender for each session, and when all are ready, their traffic: the Unix time of its beginning.

        `demand` is how many times their own rates sessions offer; users choose what they send themselves.
        """
        network, plant, folder = self.network.with_demand(demand), self.plant, self.folder
        module = "user" if self.groups else "sender"
        exports = exports_in(folder.parent)
        if self.groups:
            asked = using(network, plant, self.groups, folder, seed, settle, measure, exports)
        else:
            asked = sending(network, plant, folder, seed, settle, measure, exports)
        for name, (host, config) in asked.items():
            self._senders[name] = self._start(module, host, config, name)
        for name, host, beside, config in asking(self.background, plant, folder, seed, settle, measure):
            self._beside.append(self._start(beside, host, config, f"{name}-client"))
        told = (*self._senders.values(), *self._beside)
        for program in told:
            program.wait_ready()
        give_room(self.emulation.testbed.switch_pid)
        start = time.time() + START_DELAY_S
        for program in told:
            program.tell(repr(start))
        return start

    def kill_server(self, host: str) -> None:
        """End the process of a server as a crash does; its log is lost."""
        self._servers.pop(host).kill()

    def start_server(self, host: str, seed: int) -> None:
        """Start the process of a server again, with an empty queue."""
        self._servers[host] = self._start("server", host, self._serving(seed)[host])
        self._servers[host].wait_ready()

    def _serving(self, seed: int) -> dict[str, Config]:
        return serving(self.network, self.plant, self.folder, seed, exports_in(self.folder.parent))

    def start_agents(self, seed: int) -> None:
        """Start the price agents and the source agents, where they do not run yet, and wait until each is ready."""
        if self._agents:
            return
        network, plant, exports = self.network, self.plant, exports_in(self.folder.parent)
        for host, config in announcing(network, plant, self.folder, exports).items():
            self._agents.append(self._start("price", host, config))
        config = switching(network, plant, self.folder, self.emulation.interfaces, exports)
        self._agents.append(self._start("switches", "", config, "all"))
        asked = answering(network, plant, self.folder, seed, self.lost, self.late, exports)
        for name, (host, config) in asked.items():
            self._agents.append(self._start("source", host, config, name))
        for agent in self._agents:
            agent.wait_ready()

    def set_demand(self, session: str, factor: float) -> None:
        """Let a session send `factor` times its rate from now on; 0 silences it."""
        self._senders[session].tell(repr(factor))

    def set_value(self, user: str, factor: float) -> None:
        """Let a user's requests be worth `factor` times what they were worth at the start."""
        self._senders[user].tell(f"value {factor!r}")

    def _start(self, what: str, host: str, config: Mapping[str, Any], name: str = "") -> Program:
        return self.emulation.start(host, what, config, f"{self.folder.name}/{what}-{name or host}.config")

    def check(self) -> None:
        """Raise an EmulationError with its last words when a host process has failed."""
        programs = (*self._servers.values(), *self._senders.values(), *self._pages, *self._beside, *self._agents)
        for program in programs:
            program.check()

    @property
    def sending(self) -> bool:
        """Whether a sender still runs."""
        return any(program.process.poll() is None for program in self._senders.values())

    def fetch_page(self) -> None:
        """Fetch the service's page by curl from a source's host, one fetch at a time; call it often."""
        if self._curl is not None:
            if self._curl.poll() is None:
                return
            said = (self._curl.communicate()[0] or b"").decode().split()
            self._fetched[said[1] if said[:1] == ["200"] and len(said) > 1 else "failed"] += 1
            self._curl = None
        anycast = next((session for session in self.network.sessions if session.kind == "anycast"), None)
        if anycast is None or time.monotonic() < self._curl_due:
            return
        self._curl_due = time.monotonic() + PAGE_PERIOD_S
        command = ["curl", "-s", "-o", "/dev/null", "--max-time", "3", "-w", "%{http_code} %header{x-server}"]
        command.append(f"http://{self.plant.address(anycast)}/")
        host = self.plant.host_at(anycast.source)
        command = ["mnexec", "-a", str(self.emulation.net[host].pid), *command]
        self._curl = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """End every process of the phase and wait for its logs."""
        if self._curl is not None:
            self._curl.communicate()
        try:
            stop([*self._senders.values(), *self._beside], END_TIMEOUT_S)
        finally:
            stop([*self._agents, *self._servers.values(), *self._pages], END_TIMEOUT_S)

    def logs(self) -> tuple[dict[str, HostLog], dict[str, HostLog], dict[str, HostLog]]:
        """Requests and answers by session, and what was served by server."""
        try:
            names = [session.name for session in self.network.sessions]
            requests = {name: load(self.folder / f"sender-{name}.requests.npy") for name in names}
            answers = {name: load(self.folder / f"sender-{name}.answers.npy") for name in names}
            served = {name: load(self.folder / f"server-{name}.npy") for name in self._servers}
        except OSError as error:
            raise EmulationError(f"a host process was ended before it wrote its log: {error.filename}") from error
        return requests, answers, served

    def chosen(self) -> dict[str, HostLog]:
        """What became of every request that came up, by user."""
        return {group.name: load(self.folder / f"user-{group.name}.npy") for group in self.groups}

    def beside(self) -> dict[str, dict[str, Any]]:
        """What came of the background traffic, by its name."""
        return {each.name: json.loads(result(self.folder, each).read_text()) for each in self.background}

    @property
    def pages(self) -> dict[str, int]:
        """Pages fetched, by server."""
        return dict(sorted(self._fetched.items()))


def watched(
    traffic: Traffic,
    setting: Setting,
    seed: int,
    settle: float,
    measure: float,
    poll: Callable[[float, float], list[dict[str, Any]]],
    history: Sequence[dict[str, Any]],
) -> PhaseLog:
    """Run a phase to its end.

    Parameters
    ----------
    poll : callable
        Called a few times a second with the phase's elapsed and total time, s; returns the controller's new records,
        and raises when something has died.
    history : sequence of dict
        Record lines of before the phase.
    """
    run = traffic.emulation.testbed.run
    records: list[dict[str, Any]] = []
    try:
        traffic.start_servers(seed)
        if named(setting.policy).asked:
            traffic.start_agents(seed)
        start = traffic.start_senders(seed, settle, measure, setting.demand)
        total = settle + measure
        interfaces = [traffic.emulation.interfaces[link.key] for link in traffic.network.links]
        told = exports_in(traffic.folder.parent) / "links.json"
        with Watch() as machine, QueueWatch(interfaces, traffic.network.links, told) as queues:
            time.sleep(max(start - time.time(), 0.0))
            dropped = -switch_drops(run)  # hosts that have joined a group, or leave it, say so, and nobody listens
            while time.time() < start + total + DRAIN_S or traffic.sending:
                traffic.check()
                records += poll(time.time() - start, total)
                if time.time() < start + total:
                    traffic.fetch_page()
                time.sleep(0.1)
            dropped += switch_drops(run)
    finally:
        traffic.stop()
    requests, answers, served = traffic.logs()
    return PhaseLog(
        setting=setting,
        seed=seed,
        start=start,
        settle=settle,
        measure=measure,
        records=tuple(records),
        history=(*history, *records),
        seconds=tuple(machine.seconds),
        queues=queues.log(),
        requests=requests,
        answers=answers,
        served=served,
        pages=traffic.pages,
        switch_drops=dropped,
        chosen=traffic.chosen(),
        background=traffic.beside(),
    )


def exports_in(folder: Path) -> Path:
    """Where links and servers tell the controller of themselves, in a run directory."""
    found = folder / "exports"
    found.mkdir(exist_ok=True)
    return found


def switch_drops(run: Callable[..., str]) -> int:
    """Packets that the switches have dropped so far; `run` is `Testbed.run`.

    Three places are added up: the ports, the buffers of the sockets through which the userspace datapath receives, and
    the datapath itself (a packet that no rule wanted, or that it could not look up; of the kernel's the second alone).
    """
    said = run("ovs-vsctl", "--format=json", "--columns=statistics", "list", "Interface")
    counters = [dict(row[0][1]) for row in json.loads(said)["data"]]
    ports = sum(counter.get("rx_dropped", 0) + counter.get("tx_dropped", 0) for counter in counters)
    buffers = sum(int(count) for count in re.findall(r",d(\d+)\)", run("ss", "--packet", "--memory")))
    inside = re.findall(r"^(?:datapath_drop|drop_action)\w+ .*total: (\d+)", run("ovs-appctl", "coverage/show"), re.M)
    kernel = re.findall(r"^system@.*\n +lookups: .*lost:(\d+)", run("ovs-appctl", "dpctl/show"), re.M)
    return int(ports) + buffers + sum(int(count) for count in (*inside, *kernel))
