"""The network of a scenario file: what its parts must agree on, and the values they become.

A name that the file does not have is reported with the nearest one, which takes its place while the check goes on.
Where something had to be left out, whether everything can be reached is not known, and nothing is said about it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from pricing.chains import LONGEST_FRAME, SHORTEST_FRAME, sizes
from pricing.errors import ScenarioError, TopologyError
from pricing.network import (
    FRAME_OVERHEAD_BITS,
    ArrivalLaw,
    Function,
    Link,
    LinkKey,
    Network,
    Node,
    Server,
    Session,
    SizeLaw,
)
from pricing.priority.elastic import User
from topologies import schema
from topologies.background import Background
from topologies.checking import NAMED, Mended, did_you_mean, listed, money_problems, nearest
from topologies.hosts.pcap import read_capture

KILOMETRES_A_SECOND = 299_792.458 * 2 / 3
"""Speed of light in fibre."""


TAKEN = r"s\d+|c0"
"""Names that the emulation gives to its switches and to Mininet's controller."""


class Assembly:
    """Makes a network of a form, and collects what its parts do not agree on; captures are looked for in `folder`."""

    def __init__(self, mended: Mended[schema.ScenarioPart], folder: Path) -> None:
        self.folder = folder
        self.form, self.known, self.at, self.complete = mended.form, mended.known, mended.at, mended.complete
        self.problems: list[str] = []

    def network(self) -> Network | None:
        """The network, when the parts fit."""
        form = self.form
        for section in NAMED:
            for name in getattr(form, section):
                if not re.match(schema.NAME, name):
                    self.problems.append(f"{section}: found the name {name!r}; accepted: {schema.NAME_ACCEPTED}")
        for name in sorted(form.servers):
            if re.fullmatch(TAKEN, name):
                self.problems.append(
                    f"servers: found the name {name!r}, which a switch or the controller has in the emulation; "
                    "accepted: names other than c0, and s with a number"
                )
        nodes = [Node(name, node.latitude, node.longitude) for name, node in sorted(form.nodes.items())]
        servers = self._servers()
        sessions = self._sessions({server.name for server in servers})
        links = self._links()
        self.problems += money_problems(form.currency, self._prices())
        if not nodes and self.known.get("nodes") != []:
            return None
        if not self.complete:
            # whether all can be reached is not known: say nothing about it
            links += self._stand_in_links({link.key for link in links})
        try:
            return Network(
                form.name,
                tuple(nodes),
                tuple(sorted(links, key=lambda link: link.key)),
                tuple(servers),
                tuple(sessions),
                currency=form.currency or "",
            )
        except TopologyError as error:
            self.problems += str(error).splitlines()
            return None

    def _name(self, where: str, found: str, what: str) -> str:
        """The name found if the file has it or it cannot be told, else the nearest one, or none."""
        known = self.known.get(f"{what}s")
        if known is None or found in known or (what == "node" and not known):
            return found
        accepted = f"accepted: the {what}s of this file, {listed(known)}"
        self.problems.append(f"{where}: found {found!r}, which is no {what}{did_you_mean(found, known)}; {accepted}")
        return nearest(found, known)

    def _prices(self) -> Iterator[tuple[str, schema.Money | None]]:
        """Every price of the file, and where it is."""
        form = self.form
        for section in ("cables", "links"):
            for index, wire in zip(self.at[section], getattr(form, section), strict=True):
                yield f"{section}[{index}].fee", wire.fee
        for name, server in form.servers.items():
            yield f"servers.{name}.cost", server.cost
        for name, session in form.sessions.items():
            yield f"sessions.{name}.value", session.value

    def _links(self) -> list[Link]:
        links: dict[LinkKey, Link] = {}
        for index, cable in zip(self.at["cables"], self.form.cables, strict=True):
            where = f"cables[{index}]"
            a, b = (self._name(f"{where}.ends", end, "node") for end in cable.ends)
            back = cable.capacity_back or cable.capacity
            self._add(links, where, self._link(a, b, cable, cable.capacity), self._link(b, a, cable, back))
        for index, link in zip(self.at["links"], self.form.links, strict=True):
            where = f"links[{index}]"
            src = self._name(f"{where}.from", link.src, "node")
            dst = self._name(f"{where}.to", link.dst, "node")
            self._add(links, where, self._link(src, dst, link, link.capacity))
        return list(links.values())

    def _add(self, links: dict[LinkKey, Link], where: str, *new: Link) -> None:
        """Take over the links of a cable or link, unless an end is not known or they are there already."""
        src, dst = new[0].key
        if not {src, dst} <= self.form.nodes.keys():
            self.complete = False
        elif src == dst:
            self.complete = False
            self.problems.append(f"{where}: found {src!r} at both ends; accepted: two different nodes")
        elif any(link.key in links for link in new):
            self.problems.append(
                f"{where}: found a second link between {src} and {dst}; accepted: one in each direction"
            )
        else:
            links |= {link.key: link for link in new}

    def _link(self, src: str, dst: str, wire: schema.CablePart | schema.LinkPart, capacity: float) -> Link:
        propagation = wire.length / KILOMETRES_A_SECOND if wire.length else wire.delay or 0.0
        defaults = self.form.defaults
        delivers, queue = wire.delivers or defaults.delivers, wire.queue or defaults.queue
        fee = wire.fee[0] if wire.fee else 0.0
        return Link(src, dst, capacity, propagation, delivers, queue, wire.jitter or 0.0, wire.loss, fee)

    def _stand_in_links(self, present: Collection[LinkKey]) -> list[Link]:
        hub, *others = sorted(self.form.nodes) or [""]
        keys = [key for other in others for key in ((hub, other), (other, hub)) if key not in present]
        return [Link(src, dst, 1.0) for src, dst in keys]

    def _servers(self) -> list[Server]:
        servers = []
        for name, server in sorted(self.form.servers.items()):
            node = self._name(f"servers.{name}.node", server.node, "node")
            if node in self.form.nodes:
                cost = server.cost[0] if server.cost else 0.0
                servers.append(Server(name, node, server.capacity, server.scv, server.queue, cost))
            else:
                self.complete = False
        return servers

    def _services(self, present: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Servers of each service, as far as they are there."""
        services = {}
        for name, service in self.form.services.items():
            found = [self._name(f"services.{name}.servers", server, "server") for server in service.servers]
            for server in sorted({server for server in service.servers if service.servers.count(server) > 1}):
                self.problems.append(f"services.{name}.servers: found {server!r} twice; accepted: each server once")
            services[name] = tuple(sorted(set(found) & set(present)))
        return services

    def _functions(self, present: Collection[str]) -> dict[str, Function]:
        """Functions by name, each with its servers as far as they are there."""
        found = {}
        for name, part in self.form.functions.items():
            named = {self._name(f"functions.{name}.servers", server, "server") for server in part.servers}
            if servers := tuple(sorted(named & set(present))):
                found[name] = Function(name, servers, part.scaling, part.work)
        return found

    def _sessions(self, present: Collection[str]) -> list[Session]:
        services, functions = self._services(present), self._functions(present)
        if self.known.get("sessions") == []:
            self.problems.append("sessions: found none; accepted: one session or more")
        sessions: list[Session] = []
        first: dict[tuple[str, str], str] = {}
        for name, part in sorted(self.form.sessions.items()):
            where = f"sessions.{name}"
            source = self._name(f"{where}.source", part.source, "node")
            if part.service is not None:
                end = self._name(f"{where}.service", part.service, "service")
                destinations = services.get(end, ())
            elif part.group is not None:
                end = part.group
                listed = part.destinations or [name for name in self.form.nodes if name != source]
                named = [self._name(f"{where}.destinations", name, "node") for name in listed]
                destinations = tuple(sorted(name for name in named if name in self.form.nodes))
            else:
                end = self._name(f"{where}.destination", part.destination or "", "node")
                destinations = (end,) if end in self.form.nodes else ()
            if source not in self.form.nodes or not destinations:
                continue
            if first.setdefault((source, end), name) != name:
                self.problems.append(
                    f"{where}: found the source and end of session {first[source, end]}; "
                    f"accepted: one session from {source} to {end}, because a switch tells sessions by their addresses"
                )
            session = self._session(name, source, destinations, part)
            chain = [self._name(f"{where}.chain", each, "function") for each in part.chain or ()]
            sessions.append(replace(session, chain=tuple(functions[each] for each in chain if each in functions)))
            self.problems += _frame_problems(sessions[-1])
        return sessions

    def users(self, network: Network) -> dict[str, User]:
        """The users of the sessions."""
        found: dict[str, User] = {}
        for name, part in sorted(self.form.users.items()):
            where = f"users.{name}"
            known = self._name(where, name, "session")
            session = next((session for session in network.sessions if session.name == known), None)
            if session is None:
                continue
            if session.kind != "anycast":
                self.problems.append(f"{where}: its session asks for no service; accepted: users of a service")
            rate = (part.rate or session.rate) / session.frame_bits
            found[session.name] = User(part.value.said(), part.delay_cost, rate)
        return found

    def background(self) -> tuple[Background, ...]:
        """Traffic of no session, as far as its ends are there."""
        asking = {(session.source, session.service) for session in self.form.sessions.values()}
        found = []
        for name, part in sorted(self.form.background.items()):
            where = f"background.{name}"
            source = self._name(f"{where}.source", part.source, "node")
            what = "service" if part.service is not None else "node"
            key = "service" if part.service is not None else "destination"
            end = self._name(f"{where}.{key}", part.service or part.destination or "", what)
            if part.service is not None and (source, end) not in asking and end in self.form.services:
                self.problems.append(
                    f"{where}: found no session from {source} to {end}; accepted: http where a session asks for the "
                    "service from the same node, because pages take its routes"
                )
            if what == "node" and source == end and source in self.form.nodes:
                self.problems.append(f"{where}: found {source!r} at both ends; accepted: two different nodes")
            rate, payload = part.pages or part.rate or 0.0, int(part.payload or 1000)
            found.append(Background(name, part.kind, source, end, rate, payload, part.streams or 1))
        return tuple(found)

    def _session(self, name: str, source: str, destinations: tuple[str, ...], part: schema.SessionPart) -> Session:
        defaults = self.form.defaults
        response = part.response or (None if part.group else defaults.response)
        session = Session(
            name=name,
            source=source,
            kind="anycast" if part.service is not None else "multicast" if part.group else "unicast",
            destinations=destinations,
            rate=part.rate,
            size=_sizes(part.size or defaults.size),
            flows=part.flows or defaults.flows,
            response_bits=8 * (response or 0.0),
            work=part.work or defaults.work,
            service=part.service or "",
            klass=part.klass,
            arrivals=ArrivalLaw(**dict(part.arrivals)),
            tokens=part.tokens,
            value=part.value[0] if part.value else math.inf,
            limit=part.limit or math.inf,
            group=part.group or "",
            joined=part.members == "joined",
        )
        return self._replaying(session) if part.arrivals.law == "replay" else session

    def _replaying(self, session: Session) -> Session:
        """The session with the sizes of its capture, and the capture's rate where it has none."""
        path = (self.folder / session.arrivals.capture).absolute()
        try:
            captured = read_capture(path)
        except ScenarioError as error:
            self.problems.append(f"sessions.{session.name}.arrivals.capture: {path} {error.problems[0]}")
            return session
        size = SizeLaw.of_points(captured.points())
        rate = session.rate or captured.rate * size.frame_moments[0]
        return replace(session, rate=rate, size=size, arrivals=replace(session.arrivals, capture=str(path)))


def _sizes(part: schema.SizePart) -> SizeLaw:
    if part.law == "points":
        return SizeLaw.of_points((int(size), weight) for size, weight in part.points)
    return SizeLaw(part.law, part.mean, int(part.low), int(part.high))


def _frame_problems(session: Session) -> Iterator[str]:
    """What frames become that no packet can be, where functions scale them."""
    head = FRAME_OVERHEAD_BITS // 8
    least, most = min(sizes(session)), max(sizes(session))
    small, large = least * (session.size.low + head), most * (session.size.high + head)
    if session.chain and (small < SHORTEST_FRAME or large > LONGEST_FRAME):
        yield (
            f"sessions.{session.name}.chain: found frames of {small:.0f} to {large:.0f} bytes behind its functions; "
            f"accepted: {SHORTEST_FRAME} to {LONGEST_FRAME} bytes at every stage; bring low and high of 'size' nearer "
            "to each other"
        )
