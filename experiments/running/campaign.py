"""A network that is up: the testbed, the emulation and the controller of one run, and phases run on it.

    with campaign(load("abilene"), "joint") as up:
        up.net.pingAll()                                 # Mininet's own object
        first = up.run("shortest-path", seed=1, settle=15, measure=60)
        second = up.run("joint-distributed", seed=1, settle=60, measure=60)

Whatever happens inside, everything is taken down at the end of the block. A phase during which the machine was not
quiet is run again, twice at most; the last one is kept and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.running.controller_process import ControllerProcess
from experiments.running.machine import BAD_SHARE, bad_seconds, reasons
from experiments.running.phase import PhaseLog, Setting, Traffic, exports_in, watched
from pricing.learnt import LawName
from pricing.network import Network
from pricing.own import is_own, loaded, named
from pricing.priority.elastic import Group
from pricing.priority.publish import REGIMES
from pricing.written import network_to_json
from topologies.background import Background
from topologies.capture import Capture, Captures
from topologies.emulation import Emulation
from topologies.links import as_emulated
from topologies.plant import plan
from topologies.scenario import Scenario
from topologies.testbed import Testbed
from topologies.turns import turn

OPEN_END_S = 3600.0
"""Length of the traffic of a network that is kept up (ours)."""

ITERATES = frozenset({"joint-distributed", "agents", *REGIMES})
"""Policies that go a round a tick, and so take a while to settle."""

LIVES_ON_DEMAND = frozenset({"market"})
"""Policies that see estimated demand alone, which is a mean of up to half a minute."""

SETTLE_ITERATING_S, SETTLE_ESTIMATING_S, SETTLE_S = 60.0, 30.0, 15.0
"""Time to settle before anything is measured: for policies that iterate, for those that live on estimates, and for the
queues of the others (ours)."""

REPEATS = 2
"""How often a phase is run again because the machine was not quiet."""

JSON_NAMES = (".json", ".jsonl")
"""Ends of the names of logs that are JSON."""

Progress = Callable[[str, float, float, list[dict[str, Any]]], None]
"""progress(phase, elapsed s, total s, new records): called a few times a second."""


@dataclass(frozen=True)
class Options:
    """How a network is brought up.

    Parameters
    ----------
    framework : str
        'os-ken' or 'ryu'.
    metrics, openflow : str
        HOST:PORT of the metrics page, and of OpenFlow inside the testbed.
    tick : float, optional
        Seconds between two decisions; the scenario's by default.
    wait : float
        Seconds to wait while another run measures.
    token : str, optional
        What a scrape must carry, beyond the loopback.
    recording : Path, optional
        Where the controller keeps what each tick was told.
    log : Path, optional
        Where the controller's log is kept: lines of JSON if its name ends so, else lines for people.
    laws : LawName
        Where delay laws come from.
    pcap : Path, optional
        Folder for captures of the packets (`topologies.capture`); without it nothing is captured.
    price_loss, price_late : float
        Under the policy `agents`, share of the messages that each source agent does not hear, and longest time by which
        it hears others late, s.
    """

    framework: str = "os-ken"
    metrics: str = "127.0.0.1:9464"
    openflow: str = "127.0.0.1:6653"
    tick: float | None = None
    wait: float = 0.0
    token: str | None = None
    recording: Path | None = None
    log: Path | None = None
    laws: LawName = "measured"
    pcap: Path | None = None
    price_loss: float = 0.0
    price_late: float = 0.0


OPTIONS = Options()
"""What they are where nothing is said."""


@dataclass
class Campaign:
    """A network that is up; `run` runs a phase on it.

    `network` is the scenario's as its links carry it out, which is what the controller prices. `captures` are there
    when it has been taken down. `channel` is what happens to prices, as in `Options`.
    """

    network: Network
    testbed: Testbed
    emulation: Emulation
    controller: ControllerProcess
    progress: Progress
    history: list[dict[str, Any]] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    groups: tuple[Group, ...] = ()
    background: tuple[Background, ...] = ()
    channel: tuple[float, float] = (0.0, 0.0)
    _phases: int = 0

    @property
    def net(self) -> Any:
        """Mininet's network: `net.get("h-Seattle").cmd("ping ...")`, `net.pingAll()`."""
        return self.emulation.net

    def check(self) -> None:
        """Raise an EmulationError when the switches or the controller have died."""
        self.testbed.check()
        self.controller.check()

    def run(self, policy: str | Setting, seed: int, settle: float, measure: float) -> PhaseLog:
        """Run one phase under a policy; again, twice at most, while too many seconds were not quiet."""
        log = self.run_once(policy, str(policy), seed, settle, measure)
        for _ in range(REPEATS):
            if excluded_share(log) <= BAD_SHARE:
                break
            log = self.run_once(
                policy, f"{policy}, again: the machine was not quiet ({_why(log)})", seed, settle, measure
            )
        return log

    def _traffic(self) -> Traffic:
        """The host processes of a new phase, with a folder of their own."""
        self._phases += 1
        folder = self.testbed.directory / f"phase-{self._phases}"
        folder.mkdir()
        return Traffic(self.emulation, folder, self.groups, self.background, *self.channel)

    def run_once(self, policy: str | Setting, title: str, seed: int, settle: float, measure: float) -> PhaseLog:
        """Run one phase, shown as `title`, however quiet the machine is."""
        setting = Setting(policy) if isinstance(policy, str) else policy
        self.controller.ask({"laws": setting.laws})
        self.controller.ask({"policy": setting.policy})

        traffic, worth = self._traffic(), setting.worth

        def poll(elapsed: float, total: float) -> list[dict[str, Any]]:
            nonlocal worth
            self.check()
            if worth and elapsed >= settle / 2:
                traffic.set_value(*worth)
                worth = None
            new = [record for record in self.controller.new_records() if "tick" in record]
            self.history += new
            self.progress(title, elapsed, total, new)
            return new

        if setting.without:
            self.emulation.fail_link(*setting.without)
        try:
            return watched(traffic, setting, seed, settle, measure, poll, tuple(self.history))
        finally:
            if setting.without:
                self.emulation.heal_link(*setting.without)

    @contextmanager
    def traffic(self, seed: int, length: float = OPEN_END_S, policy: str = "") -> Iterator[Traffic]:
        """The scenario's own traffic for the length of the block, or so long, with the agents of a policy."""
        traffic = self._traffic()
        try:
            traffic.start_servers(seed)
            if policy and named(policy).asked:
                traffic.start_agents(seed)
            traffic.start_senders(seed, 0.0, length)
            yield traffic
        finally:
            traffic.stop()

    def follow(self, policy: str, traffic: Traffic, attend: Callable[[], None]) -> None:
        """Show every tick until the traffic ends or something dies; `attend` is called a few times a second."""
        began = time.monotonic()
        while traffic.sending:
            self.check()
            traffic.check()
            traffic.fetch_page()
            new = [record for record in self.controller.new_records() if "tick" in record]
            attend()
            policy = new[-1]["policy"] if new else policy
            self.progress(policy, time.monotonic() - began, 0.0, new)
            time.sleep(0.1)


def settling(setting: Setting) -> float:
    """Seconds that a policy, laws that are fitted to waits, and a change, are given before anything is measured."""
    policy, times = setting.policy, 2 if setting.worth else 1
    if policy in ITERATES or is_own(policy) or setting.laws == "fitted":
        return times * SETTLE_ITERATING_S
    return times * (SETTLE_ESTIMATING_S if policy in LIVES_ON_DEMAND else SETTLE_S)


def late_by_second(log: PhaseLog) -> list[dict[int, float]]:
    """For each sender: Unix second -> worst lateness, s."""
    return [
        {int(row["second"]): float(row["max_s"]) for row in summary["late"]} for _, summary in log.requests.values()
    ]


def _why(log: PhaseLog) -> str:
    """Reasons for which seconds of the measured window are left out, in words."""
    start, end = log.window
    found = reasons(log.seconds, late_by_second(log))
    counted = {why: sum(start - 1 < second < end for second in seconds) for why, seconds in found.items()}
    return ", ".join(f"{why} in {count} of {log.measure:.0f} s" for why, count in counted.items() if count)


def excluded_seconds(log: PhaseLog) -> frozenset[int]:
    """Unix seconds of the measured window that are left out of delays."""
    start, end = log.window
    bad = bad_seconds(log.seconds, late_by_second(log))
    return frozenset(second for second in bad if start - 1 < second < end)


def excluded_share(log: PhaseLog) -> float:
    """Share of the measured window that is left out."""
    return len(excluded_seconds(log)) / max(log.measure, 1.0)


def silent(*_: object) -> None:
    """A progress that shows nothing."""


@contextmanager
def campaign(
    scenario: Scenario, policy: str = "joint-distributed", options: Options = OPTIONS, progress: Progress = silent
) -> Iterator[Campaign]:
    """Bring a scenario up under a policy, and take it down at the end of the block.

    Raises
    ------
    EmulationError
        When the machine cannot emulate, another run measures, or something does not come up.
    """
    began = time.monotonic()

    def say(what: str) -> None:
        progress(what, time.monotonic() - began, 0.0, [])

    say("testbed")
    with turn(options.wait, lambda other: say(f"waiting: {other}")), Testbed() as testbed:
        say("network")
        places = {place for each in scenario.background for place in each.places}
        emulation = Emulation(scenario.network, plan(scenario.network, places), testbed, openflow_port(options))
        network = as_emulated(scenario.network, emulation.plant.netem)
        (testbed.directory / "network.json").write_text(network_to_json(network))
        controller = ControllerProcess(_arguments(scenario, testbed, policy, options), testbed.directory, options.log)
        with ExitStack() as exits:
            exits.callback(controller.stop)
            with testbed.outside():
                controller.start()  # it gets ready while the network is built
            exits.enter_context(emulation)
            exits.callback(controller.stop)  # before its switches go
            say("controller")
            history = controller.wait_ready()
            captures = exits.enter_context(Captures(emulation, options.pcap)) if options.pcap else None
            files = captures.files if captures else []
            parts = scenario.groups, scenario.background, (options.price_loss, options.price_late)
            yield Campaign(network, testbed, emulation, controller, progress, history, files, *parts)


def openflow_port(options: Options) -> int:
    """Port of OpenFlow inside the testbed."""
    return int(options.openflow.rpartition(":")[2])


def _arguments(scenario: Scenario, testbed: Testbed, policy: str, options: Options) -> list[str]:
    values = {
        "network": testbed.directory / "network.json",
        "plant": testbed.directory / "plant.json",
        "policy": policy,
        "tick": options.tick or scenario.control.tick,
        "slots": scenario.control.slots,
        "openflow": options.openflow,
        "metrics": options.metrics,
        "netns": testbed.name,
        "laws": options.laws,
        "exports": exports_in(testbed.directory),
        "framework": options.framework,
    }
    values |= {"recording": options.recording.absolute()} if options.recording else {}
    values |= {"log": "json"} if options.log and options.log.suffix in JSON_NAMES else {}
    values |= {"token": options.token} if options.token else {}
    return [f"--{name}={value}" for name, value in values.items()] + [f"--own={name}" for name in loaded()]
