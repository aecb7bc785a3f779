"""An elastic user: `python -m topologies.hosts.user CONFIG.json`.

A sender (`topologies.hosts.sender`) whose requests need not be sent. All that may come up is drawn beforehand, X_0
requests a second and a number from [0, 1) each. Announcements of prices (`pricing.priority.announcement`) come by UDP;
at each, the user moves its rate and the shares of its options (`pricing.priority.elastic.Choice`), and each request
is sent by the option that its number picks then, to that server and in that class, or not at all.

The configuration holds the fields of `Elastic`. A line `value F` on standard input makes its requests worth F times as
much from then on. Every option has the two logs that a sender has, so whatever reads those reads a user's; beside
them `LOG.npy` (`CHOSEN`) has what became of each request that came up, and its .json each announcement that was
followed. The file `told` says every second what a sender says, of each option, and what the user makes of prices.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import socket
import struct
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pricing.errors import MeasurementError
from pricing.priority import announcement
from pricing.priority.elastic import Choice, User
from pricing.priority.values import value_of
from topologies.hosts.arrivals import Pattern
from topologies.hosts.logs import save
from topologies.hosts.sender import Payloads, Sender, Traffic, serve
from topologies.hosts.sockets import ECHO, FLOW_PORT, HEADER, SERVICE_PORT, socket_drops, stamp, stamped_socket

CHOSEN = np.dtype([("seq", "u4"), ("due", "i8"), ("chance", "f8"), ("option", "i2")])
"""A request that came up: its number, when it was due (ns), what it drew, and its option; -1 where it was not sent."""


@dataclass(frozen=True)
class Option:
    """A session that the user may choose: index, name, address of its service, and the mark of its class."""

    session: int
    name: str
    address: str
    tos: int


@dataclass(frozen=True)
class Elastic(Traffic):
    """What a user does; `rate` is X_0.

    Parameters
    ----------
    options : sequence of Option
    value : mapping
        As `pricing.priority.values.value_of` reads it.
    delay_cost : float
        Currency a second of one request's delay.
    begin : sequence of float
        Requests/s of each option before the first announcement.
    folder : str
        Where the options' logs go: `sender-NAME.requests.npy` and `.answers.npy`.
    """

    options: Sequence[Option] = ()
    value: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    delay_cost: float = 1.0
    begin: Sequence[float] = ()
    folder: str = ""

    @classmethod
    def read(cls, path: Path) -> Elastic:
        """The configuration at `path`."""
        values: dict[str, Any] = json.loads(path.read_text())
        laws = {"size": Payloads(**values["size"]), "arrivals": Pattern(**values.get("arrivals", {}))}
        return cls(**{**values, **laws, "options": tuple(Option(**option) for option in values["options"])})


class Customer(Sender):
    """A sender that chooses."""

    def __init__(self, traffic: Elastic) -> None:
        self.elastic = traffic
        super().__init__(traffic)
        self.user = User(traffic.value, traffic.delay_cost, traffic.rate)
        self.value, self.factor = value_of(traffic.value), 1.0
        total = sum(traffic.begin)
        self.choice = Choice(total, np.array(traffic.begin) / total)
        self.chances = np.random.default_rng([traffic.seed, traffic.session, 2]).random(len(self.requests)).tolist()
        self.chosen = np.full(len(self.requests), -1, np.int16)
        self.returned: list[tuple[int, int, int]] = []
        self.told_of = {option.session: Counter[str]() for option in traffic.options}
        self.tick = -1
        self.followed: list[dict[str, Any]] = []
        self.counts = {"announcements": 0, "malformed": 0}
        self.marks = [
            [(socket.IPPROTO_IP, socket.IP_TOS, struct.pack("@i", option.tos))] if option.tos else []
            for option in traffic.options
        ]
        self.prices = stamped_socket("", announcement.PORT, shared=True)
        self.listen_to(self.prices, self._hear)

    def make_sockets(self) -> list[socket.socket]:
        """One for each flow and server, connected; options of one server share it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.servers = sorted({option.address for option in self.elastic.options})
        needed = len(self.servers) * self.traffic.flows + 64
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, needed), hard), hard))
        found = []
        for address in self.servers:
            for flow in range(self.traffic.flows):
                sock = stamped_socket("", FLOW_PORT + flow, shared=True)
                sock.connect((address, SERVICE_PORT))
                found.append(sock)
        return found

    def emit(self, index: int, seq: int, flow: int, payload: memoryview, now: int) -> bool:
        """Send a request by the option that it picks, if any."""
        picked = self.choice.pick(self.user, self.chances[index])
        if picked is None:
            return False
        option = self.elastic.options[picked]
        self.chosen[index] = picked
        HEADER.pack_into(payload, 0, option.session, flow, seq, now)
        sock = self.sockets[self.servers.index(option.address) * self.traffic.flows + flow]
        sent = self.send(lambda: sock.sendmsg([payload], self.marks[picked]))
        self.told_of[option.session]["sent" if sent else "errors"] += 1
        return sent

    def answered(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        """Note an answer of one of the options."""
        session, _, seq = ECHO.unpack(data)
        self.returned.append((session, seq, stamp(ancillary)))
        if session in self.told_of:
            self.told_of[session]["answers"] += 1

    def says(self, news: slice, late: float | None) -> dict[str, Any]:  # noqa: ARG002 counts are kept as they grow
        """What the file `told` says of a user, and of each option what it says of a sender."""
        kinds = ("sent", "answers", "errors")
        return {
            "asked": self.done,
            "accepted": self.choice.rate / self.user.rate,
            "value": self.factor,
            **self.counts,
            "options": {
                option.name: {**{kind: self.told_of[option.session][kind] for kind in kinds}, "late_p99_s": late}
                for option in self.elastic.options
            },
        }

    def told(self, line: str) -> None:
        """`value F`, or a sender's factor."""
        word, _, factor = line.partition(" ")
        if word == "value":
            self.factor = float(factor)
        else:
            super().told(line)

    def _hear(self, data: bytes) -> None:
        """Follow an announcement, unless a newer one was followed already."""
        try:
            tick, rows = announcement.read(data)
        except MeasurementError:
            self.counts["malformed"] += 1
            return
        self.counts["announcements"] += 1
        told = {row.session: row for row in rows}
        mine = [told.get(option.session) for option in self.elastic.options]
        if tick <= self.tick or not all(mine):
            return
        self.tick = tick
        costs = np.array([self.elastic.delay_cost * row.time + row.price for row in mine if row])
        if not np.isfinite(costs).any():
            return
        # A request worth F times as much is chosen as if all it costs were a part of 1/F.
        self.choice = self.choice.answer(self.user, self.value, costs / self.factor)
        rates = (self.choice.rate * self.choice.shares).tolist()
        self.followed.append({"tick": tick, "value": self.factor, "rates": rates})

    def save(self) -> None:
        """Write the logs of the options, and what was chosen."""
        requests = self.requests
        requests["sent"] = np.frombuffer(self.sent, np.int64)
        answers = np.array(self.returned, np.int64).reshape(-1, 3)
        for number, option in enumerate(self.elastic.options):
            back = answers[answers[:, 0] == option.session, 1:]
            drops = 0 if number else socket_drops()
            path = Path(self.elastic.folder) / f"sender-{option.name}"
            self.save_logs(path, requests[self.chosen == number], back, drops)
        log = np.zeros(len(requests), CHOSEN)
        log["seq"], log["due"], log["chance"], log["option"] = (
            requests["seq"],
            requests["due"],
            self.chances,
            self.chosen,
        )
        summary = {"options": [option.name for option in self.elastic.options], **self.counts}
        save(Path(self.traffic.log + ".npy"), log, {**summary, "followed": self.followed})


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), Elastic.read, Customer))
