"""The source agent of a session, in its source's host: `python -m topologies.hosts.source CONFIG.json`.

Each second it asks its own ingress what it carries, tells the other sources what that puts on which resource, and asks
the ingress for the split that its prices make best (`pricing.joint.agents`). In between it hears prices and tellings.

The configuration holds `network` (path of network.json), `session` (its name), `address` (of the host), `ingress` (path
of the ingress's socket), `lost` and `late` (what is done to every message that it hears, at random), `seed`, `told`
(path of the JSON file of counts and of how old its prices are, replaced every second) and `log` (path of the JSON file
of counts, written at the end, on SIGTERM).
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from pricing.joint.agents import Shares, SourceAgent
from pricing.network import FRAME_OVERHEAD_BITS, Route
from pricing.problem import problem_of
from pricing.written import network_from_json
from topologies.hosts.group import Ear, Mouth, listener, speaker
from topologies.hosts.logs import save_summary
from topologies.hosts.orders import told_to_end

PERIOD_S = 1.0
"""Between two questions to the ingress."""

ANSWER_S = 2.0
"""Longest wait for the ingress."""


class Asking:
    """The conversation with the ingress: a JSON object a line, one reply a line; its bytes are counted as if framed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.counts = Counter[str](questions=0, question_octets=0, unanswered=0)
        self._lines: Any = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The reply; None where there is none, or it is a refusal."""
        try:
            if self._lines is None:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(ANSWER_S)
                connection.connect(self.path)
                self._lines = connection.makefile("rw")
                connection.close()  # the file keeps it
            text = json.dumps(request)
            self._lines.write(text + "\n")
            self._lines.flush()
            said = self._lines.readline()
            reply = json.loads(said)
        except (OSError, ValueError):
            self._lines = None
            self.counts["unanswered"] += 1
            return None
        self.counts.update(questions=1, question_octets=len(text) + len(said) + 2 * FRAME_OVERHEAD_BITS // 8)
        return None if "error" in reply else reply


def shares_of(session: str, split: list[list[Any]]) -> Shares:
    """The split that an ingress tells."""
    return {Route(session, tuple(pairwise(nodes)), server): weight for nodes, server, weight in split}


def split_of(shares: Shares, source: str) -> list[list[Any]]:
    """The split as an ingress is asked for it."""
    return [[list(route.nodes) or [source], route.server, share] for route, share in shares.items()]


def main(config: Path) -> int:
    """Ask until SIGTERM; the exit status."""
    values = json.loads(config.read_text())
    problem = problem_of(network_from_json(Path(values["network"]).read_text()))
    session = problem.network.sessions[problem.network.session_index[values["session"]]]
    agent, asking = SourceAgent(problem, session), Asking(values["ingress"])
    seed = (values["seed"], agent.origin)
    ear = Ear(listener(values["address"]), len(problem.capacity), values["lost"], values["late"], seed)
    mouth = Mouth(speaker(values["address"]))
    agent.nearest  # noqa: B018  found before it is asked for

    def counts() -> dict[str, str | int]:
        return {"agent": session.name, "kind": "sources", **mouth.counts, **ear.counts, **asking.counts}

    ending = told_to_end()
    print("ready", flush=True)
    due, before = time.time() + PERIOD_S * (agent.origin % 8) / 8, 0.0
    while not ending.is_set():
        wait = min(due - time.time(), PERIOD_S / 5)
        if wait > 0:
            select.select([ear.socket], [], [], wait)
        for message in ear.listen(time.time()):
            agent.hear(message)
        if time.time() < due:
            continue
        due = max(due + PERIOD_S, time.time())
        now = time.time()
        save_summary(Path(values["told"]), {"time": now, "price_age_s": agent.age(now), **counts()})
        reply = asking.ask({"session": session.name})
        if reply is None:
            continue
        now = time.time()
        since = reply["since"] if reply["since"] > before else now
        agent.carry(since, reply["rate"], shares_of(session.name, reply["split"]))
        before = now
        if len(problem.network.sessions) > 1:
            mouth.say(agent.tell(since))
        asking.ask({"session": session.name, "split": split_of(agent.answer(now), session.source)})
    save_summary(Path(values["log"]), counts())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
