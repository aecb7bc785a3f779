"""The application: events in, one tick, messages out.

Everything that decides is in `controller.tick`; everything that sends is in `controller.openflow`. Here they meet a
clock, a record file and a control socket. A tick that fails keeps the last acknowledged rules, is counted by its kind
of error, and says why once: the same message is not repeated until a tick has gone well.
"""

from __future__ import annotations

import json
import math
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog

from controller import adopt, garbage, health, membership, tick
from controller.announce import announcements
from controller.exports import exports
from controller.fabric import Fabric
from controller.ingress import ingresses
from controller.laws import law_name
from controller.ledger import Ledger
from controller.metrics import Exporter
from controller.openflow import Switchboard
from controller.recording import Recorder
from controller.rules import Delta
from controller.tick import Inputs, Plan
from pricing.errors import InstallError, MeasurementError, WardropError
from pricing.learnt import LawName
from pricing.outage import Outage
from pricing.policy import Policy, get_policy
from pricing.priority.published import Published

CONNECT_TIMEOUT_S = 60.0
INSTALL_TIMEOUT_S = 10.0
"""Longest wait for one barrier; the first rules of a large network take a second or two."""


ANSWERED_S = membership.RESPONSE_S + 0.2
"""From a query to its last answer."""

LONG_VERDICT_S = 0.05
"""A verdict that takes longer than this is not reached every tick, but for a tenth of the time at most (ours)."""


class Controller:
    """One run of the controller.

    Parameters
    ----------
    fabric : Fabric
    policy : Policy
        At the start; the control socket may change it.
    switchboard : Switchboard
    exporter : Exporter
    period : float
        Seconds from tick to tick.
    record : text file, optional
        Where each tick leaves its line.
    recorder : Recorder, optional
        Keeps what each tick was told, so that it can be decided again.
    ledger : Ledger, optional
        Where the meaning of numbers outlives us; without it nothing can be adopted.
    law : LawName
        Where delay laws come from at the start; the control socket may change it.
    told : Path, optional
        Folder where links and servers tell of themselves.
    """

    def __init__(
        self,
        fabric: Fabric,
        policy: Policy,
        switchboard: Switchboard,
        exporter: Exporter,
        period: float,
        record: TextIO | None = None,
        recorder: Recorder | None = None,
        ledger: Ledger | None = None,
        law: LawName = "scenario",
        told: Path | None = None,
    ) -> None:
        self.fabric = fabric
        self.switchboard = switchboard
        self.exporter = exporter
        self.period = period
        self.record = record
        self.recorder = recorder
        self.ledger = ledger
        self.wanted, self.law = policy, law
        self.told = told
        self.stopping = False
        self.line: dict[str, Any] = {}
        self.parts: dict[str, float] = {}
        self.state = tick.first_state(fabric, policy, law)
        self._ahead: tuple[tick.State, Plan] | None = None
        self._verdict = tick.NO_VERDICT
        self._next_verdict = -math.inf
        self.ingresses = ingresses(fabric)
        self._unread: set[str] = set()
        self._said: str | None = None
        self.members = membership.NOBODY
        self._next_query = -math.inf
        self._named: set[str] = set()
        self._log = structlog.get_logger()

    def run(self) -> None:
        """Start, then tick until stopped; raises as `start` does. The first tick comes at once: rates take two.

        A port that goes up or down begins the next one. Members that come or go have one of their own, once a period at
        most, from which nothing is learnt: rates are told from whole periods.
        """
        self.start()
        due = time.monotonic()
        self.tick()
        garbage.keep()
        while not self.stopping:
            due = max(due + self.period, time.monotonic())
            seen, hurried = self.switchboard.dead, False
            while not self.stopping and (left := due - time.monotonic()) > 0 and self.switchboard.dead is seen:
                self._query()
                hurried = hurried or self._hurry()
                time.sleep(min(left, 0.1))
            if not self.stopping:
                self.tick()
                garbage.collect(self.state.tick)

    def start(self) -> None:
        """Wait for every switch, and go on with the rules that it has, or clear it and begin with a first allocation.

        Raises
        ------
        WardropError
            When the first allocation cannot be decided or installed.
        """
        # Switches are still on their way: the plan is that of the first tick where they have no rules of ours, and what
        # it loads and remembers at first use is needed in any case.
        self._ahead = self.state, tick.plan(self.fabric, self.state)
        self.switchboard.wait_for_all(CONNECT_TIMEOUT_S)
        arrived = self.switchboard.arrived()
        self.switchboard.look(arrived, INSTALL_TIMEOUT_S)
        if self.fabric.joined and self.ledger:  # rules that may be there still hand up what hosts answer
            self._query()
            time.sleep(ANSWERED_S)
        began = time.monotonic()
        members = self._members(began)
        adopted = self._adopt(arrived, members)
        known = (self.state.labels, self.state.deals) if adopted else None
        dead = frozenset(self.switchboard.dead)
        rules, _ = self._carry_out(
            Inputs(self.wanted, dead, arrived=tuple(arrived), adopted=known, laws=self.law, members=members)
        )
        self._next_query = -math.inf  # now what hosts answer reaches us surely
        self._record(began, rules, True, None, judged=False)
        self._log.info("ready", switches=len(self.switchboard.names), rules=rules, adopted=adopted)

    def _query(self) -> None:
        """Ask the hosts that may be members for their groups, when it is time."""
        now = time.monotonic()
        if self.fabric.joined and now >= self._next_query:
            self._next_query = now + membership.QUERY_S
            self.switchboard.send(membership.queries(self.fabric))

    def _members(self, now: float) -> frozenset[tuple[str, str]]:
        """Who is a member of a group that comes and goes, after what was heard by now."""
        if not self.fabric.joined:
            return frozenset()
        silent = self.switchboard.missing
        self.members = membership.listen(self.fabric, self.members, self.switchboard.heard(), now, silent)
        return membership.present(self.fabric, self.members, now)

    def _adopt(self, switches: list[str], members: frozenset[tuple[str, str]]) -> bool:
        """Take over what another controller left on the switches; clear them where nobody knows what it means."""
        labels = self.ledger.read() if self.ledger else None
        held = self.switchboard.held(switches, INSTALL_TIMEOUT_S) if labels else {}
        if labels is None or held.keys() != set(switches):
            self.switchboard.wipe(switches, INSTALL_TIMEOUT_S)
            return False
        failed = health.outage(self.fabric, self.switchboard.dead, {}, members)
        self.state = adopt.adopted(self.fabric, self.state.policy, labels, held, failed, self.switchboard.written)
        return self.state.decision is not None

    def stop(self) -> None:
        """End `run` soon."""
        self.stopping = True

    def tick(self) -> None:
        """One tick, whatever happens in it."""
        began = time.monotonic()
        counts, silent = self.switchboard.counts(self.period)
        now = time.monotonic()
        self.parts = {"measure": now - began}
        problem: Exception | None = MeasurementError("; ".join(silent)) if silent else None
        if self.switchboard.failures:
            problem = self.switchboard.failures.pop()
        self._unread |= set(self.switchboard.arrived())
        self.switchboard.look(self._unread, self.period)
        dead, back = frozenset(self.switchboard.dead), tuple(sorted(self._unread))
        asked = {name: split for ingress in self.ingresses for name, split in ingress.taken().items()}
        heard = exports(self.told)
        members = self._members(now)
        inputs = Inputs(
            self.wanted, dead, counts, now, back, laws=self.law, exports=heard, asked=asked, members=members
        )
        self._act(began, inputs, problem)

    def _hurry(self) -> bool:
        """A tick out of turn where members came or went, which measures nothing; whether there was one."""
        if not self.fabric.joined:
            return False
        began = time.monotonic()
        members = self._members(began)
        if membership.absent(self.fabric, members) == self.state.outage.absent:
            return False
        self.parts = {"measure": 0.0}
        self._act(began, Inputs(self.wanted, frozenset(self.switchboard.dead), laws=self.law, members=members))
        return True

    def _act(self, began: float, inputs: Inputs, problem: Exception | None = None) -> None:
        """Carry out what a tick was told, and leave its line."""
        self.state = tick.informed(self.fabric, self.state, inputs)
        try:
            rules, changed = self._carry_out(inputs)
        except Exception as error:  # the last acknowledged rules stand
            self.exporter.totals.failed += 1
            self._record(began, 0, False, error)
        else:
            self._record(began, rules, changed, problem)

    def _compare(self) -> None:
        """Learn from switches that are back which of their rules they still have.

        Raises
        ------
        InstallError
            When one does not tell; it is asked again at the next tick.
        """
        if not self._unread:
            return
        held = self.switchboard.held(self._unread, INSTALL_TIMEOUT_S)
        self.state = adopt.found(self.fabric, self.state, held, self.switchboard.written)
        self._unread -= held.keys()
        if self._unread:
            names = ", ".join(sorted(self._unread))
            raise InstallError(
                f"switch {names}: does not tell which rules it holds; it is asked again at the next tick"
            )

    def _planned(self) -> Plan:
        """What is wanted now: where rules were adopted, what is right stays until the first loads are measured."""
        if self._ahead and self._ahead[0] is self.state:
            return self._ahead[1]
        self._ahead = None
        if self.state.tick or self.state.decision is None:
            return tick.plan(self.fabric, self.state)
        return tick.restore(self.fabric, self.state, self.state.decision)

    def _carry_out(self, inputs: Inputs) -> tuple[int, bool]:
        """Decide and install; the number of rules sent, and whether the meaning of the rules changed."""
        began, plan, problem = time.monotonic(), None, None
        try:
            self._compare()
            self._notice(health.outage(self.fabric, inputs.dead, self.state.silences, inputs.members))
            plan = self._planned()
            self.parts["decide"] = time.monotonic() - began
            if self.ledger and plan.labels is not self.state.labels:
                self.ledger.write(plan.labels)
            delta = self._sendable(plan)
            self.switchboard.install(delta, INSTALL_TIMEOUT_S)
        except Exception as error:
            problem = error
            if plan:
                self.state = tick.refused(self.state, plan)
            raise
        finally:
            if self.recorder:
                self.recorder.tick(self.state.tick, inputs, plan, problem, self.state.outage)
        self.parts["install"] = time.monotonic() - began - self.parts["decide"]
        changed = plan.labels is not self.state.labels or plan.deals != self.state.deals
        for name in sorted(plan.unsplit.keys() - self._named):
            self._log.warning("heavy", session=name, slots=plan.unsplit[name][:8])
        self._named |= plan.unsplit.keys()
        self.state = tick.acknowledged(self.state, plan)
        if isinstance(found := plan.decision.state, Published):
            self.switchboard.send(announcements(self.fabric, found, self.state.tick, time.time_ns()))
        rates = {s.name: rate for s, rate in zip(self.fabric.network.sessions, self.state.offered, strict=True)}
        for ingress in self.ingresses:
            ingress.carries(plan.decision.allocation, rates, time.time())
        return len(delta), changed

    def _sendable(self, plan: Plan) -> Delta:
        """What can be sent of a plan: a node that failed with all its links misses what it is told when it is back."""
        away = self.fabric.under(self.state.outage).apart.intersection(self.switchboard.missing)
        return Delta(tuple(change for change in plan.delta if change.switch not in away)) if away else plan.delta

    def _notice(self, outage: Outage) -> None:
        """Go on with what works, and say so when that has changed."""
        before, left = self.state.outage, self.fabric.left(outage)
        if (outage.links, outage.servers) != (before.links, before.servers):
            self._log.warning("outage", failed=str(outage), stranded=", ".join(left.stranded) or "no session")
        for name in sorted({name for name, _ in outage.absent ^ before.absent}):
            nodes = membership.listed(self.fabric, outage.absent)[name]
            self._log.info("members", session=name, at=", ".join(nodes) or "no node")
        self.state = tick.with_outage(self.fabric, self.state, outage)

    def _record(self, began: float, rules: int, changed: bool, error: Exception | None, judged: bool = True) -> None:
        """Write a tick's line, count it, and say what went wrong if that is news.

        The first line is not `judged`: the first optimum of a large network takes long, and somebody waits for us.
        """
        installed = time.time()
        line: dict[str, Any] = {"time": installed, **tick.describe(self.fabric, self.state)}
        failure = self._judge() if judged else None
        error = error or failure
        took = time.monotonic() - began
        self.parts["judge"] = took - sum(self.parts.values())
        kind = type(error).__name__ if error else None
        message = f"{kind}: {error}" if error else None
        line |= {**self._verdict, "tick_s": took, "tick_parts_s": self.parts, "rules_changed": rules, "error": message}
        line |= {"refused": dict(self.exporter.refused)}
        line |= {"reports": dict(self.members.reports), "reports_refused": dict(self.members.refused)}
        if changed:
            line |= {"installed": installed, **tick.installed_values(self.fabric, self.state)}
        self.line = line
        self.exporter.line = line
        self.exporter.totals.add(took, rules, kind)
        if self.record:
            self.record.write(json.dumps(line, allow_nan=False) + "\n")
            self.record.flush()
        if message and message != self._said:
            self._log.error("tick", error=message)
        self._said = message

    def _judge(self) -> Exception | None:
        """Reach a verdict, unless the last one took so long that it has to do; what kept it from being reached."""
        at = time.monotonic()
        if at < self._next_verdict:
            return None
        problem: Exception | None = None
        try:
            self.state, self._verdict = tick.judge(self.fabric, self.state)
        except Exception as failure:  # an allocation that cannot be judged still carries packets
            self._verdict, problem = tick.NO_VERDICT, failure
        now = time.monotonic()
        self._next_verdict = now + 10 * (now - at) if now - at > LONG_VERDICT_S else now
        return problem

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of the control socket."""
        match request:
            case {"policy": str(name)}:
                try:
                    self.wanted = get_policy(name)
                except WardropError as error:
                    return {"error": str(error)}
                return {"policy": name}
            case {"laws": str(name)}:
                try:
                    self.law = law_name(name)
                except WardropError as error:
                    return {"error": str(error)}
                return {"laws": name}
            case {"state": True}:
                return self.line or {"error": "no tick yet; ask again when the switches are connected"}
            case {"stop": True}:
                self.stop()
                return {"stop": True}
        return {"error": f"{request} is unknown; policy, laws, state and stop are accepted"}


def serve_control(path: Path, answer: Callable[[dict[str, Any]], dict[str, Any]], spawn: Callable[..., None]) -> None:
    """Answer requests at a Unix socket, one JSON object a line, one reply a line; returns at once."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()

    def converse(connection: socket.socket) -> None:
        with connection, connection.makefile("rw") as lines:
            for text in lines:
                try:
                    request = json.loads(text)
                    reply = answer(request) if isinstance(request, dict) else {"error": "an object is accepted"}
                except ValueError as error:
                    reply = {"error": f"not JSON: {error}"}
                lines.write(json.dumps(reply) + "\n")
                lines.flush()

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            spawn(converse, connection)

    spawn(accept)


def open_record(path: Path) -> TextIO:
    """The record, to go on with; half a line, which a killed controller may have left at its end, is cut off."""
    if path.exists():
        with path.open("rb+") as old:
            old.truncate(old.read().rfind(b"\n") + 1)
    return path.open("a")


def set_up_log(form: Literal["human", "json"] = "human", stream: TextIO = sys.stderr) -> None:
    """Log to a stream, a line an event: for people, or as JSON."""
    human = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0, sort_keys=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            human if form == "human" else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
