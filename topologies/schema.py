"""The form of a scenario file, part by part: which keys there are, and what each accepts.

A field's `description` says what it accepts. It is what a message quotes when something else is found, and what an
editor shows (`topologies.scenario.json_schema`). What several parts must agree on (a name that exists, a route) is
checked in `topologies.scenario`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, core_schema

from pricing.errors import WardropError
from pricing.frames import MOST_CLASSES
from pricing.priority.values import value_of
from pricing.soundness import GROUPS
from topologies import units
from topologies.links import not_emulated

NAME = r"^[A-Za-z][A-Za-z0-9-]{0,14}$"
"""Names become those of bridges and hosts, for which Linux allows 15 characters."""

NAMES: JsonDict = {"propertyNames": {"pattern": NAME}}
"""For the JSON schema: what the keys of a mapping of names are like."""

NAME_ACCEPTED = "a name of at most 15 letters, digits and hyphens that begins with a letter"

CURRENCY, CURRENCY_ACCEPTED = r"^[A-Z]{3}$", "three capitals, such as USD"

CAPTURED = "as captured"
"""What may stand for the rate of a session that replays a capture."""


@dataclass(frozen=True)
class Quantity:
    """Marks a field that is written with its unit and read as a float; or as a word, which is read as 0."""

    kind: units.Kind
    word: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        pattern = units.pattern(self.kind)
        return {"type": "string", "pattern": f"{pattern}|^{self.word}$" if self.word else pattern}

    def _read(self, value: object) -> float:
        return 0.0 if self.word and value == self.word else units.parse(value, self.kind)


def _emulated(capacity: float) -> float:
    """Refuse at the door what the links could not carry out."""
    if reason := not_emulated(capacity):
        raise ValueError(reason)
    return capacity


@dataclass(frozen=True)
class Price:
    """Marks a field that is written as a price and read as (value, currency)."""

    kind: units.MoneyKind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(lambda value: units.parse_money(value, self.kind))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": units.money_pattern(self.kind)}


Money = tuple[float, str]
Fee = Annotated[Money, Price("fee")]
Upkeep = Annotated[Money, Price("upkeep")]
Value = Annotated[Money, Price("value")]
BitRate = Annotated[float, Quantity("capacity")]
LinkRate = Annotated[float, Quantity("capacity"), AfterValidator(_emulated)]
Seconds = Annotated[float, Quantity("delay")]
Kilometres = Annotated[float, Quantity("length")]
Bytes = Annotated[float, Quantity("bytes")]
WorkRate = Annotated[float, Quantity("work")]

AS_LIST = Field(strict=False)
"""A pair is a list in a file."""

BIT_RATE = f"a number above 0 with its unit: {units.EXAMPLES['capacity']}"
LINK_RATE = f"from 100 kbit/s to 1 Gbit/s, a number with its unit: {units.EXAMPLES['capacity']}"
SECONDS = f"a number above 0 with its unit: {units.EXAMPLES['delay']}"
COUNT = "a whole number from 1"
LIMIT = f"of propagation out and back, {SECONDS}"
TOKENS = "a number above 0: tokens of a request"


class Part(BaseModel):
    """A part of the file. `stand_in` fills in for required keys that were wrong, so that checking can go on."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=False)
    stand_in: ClassVar[Mapping[str, Any]] = {}


class SizePart(Part):
    """The law of packet payloads."""

    law: Literal["exponential", "fixed", "points"] = Field(
        default="exponential", description="exponential, fixed or points"
    )
    mean: Bytes = Field(
        default=500.0, description="the mean payload before the cut, from low to high, such as '500 bytes'"
    )
    low: Bytes = Field(default=40.0, description="the smallest payload, such as '40 bytes'")
    high: Bytes = Field(default=1450.0, description="the largest payload, such as '1450 bytes'")
    points: tuple[Annotated[tuple[Bytes, float], AS_LIST], ...] = Field(
        default=(),
        strict=False,
        description="a list of [payload, weight], such as [['64 bytes', 3], ['1400 bytes', 1]]: how often each comes",
    )

    @model_validator(mode="after")
    def _fitting(self) -> SizePart:
        if self.law == "points" or self.points:
            self._check_points()
            return self
        if not 16 <= self.low <= self.mean <= self.high <= 1472:
            raise ValueError(
                f"found low {self.low:g}, mean {self.mean:g}, high {self.high:g}; "
                "accepted: 16 <= low <= mean <= high <= 1472 bytes"
            )
        return self

    def _check_points(self) -> None:
        others = self.model_fields_set & {"mean", "low", "high"}
        if self.law != "points" or others:
            found = f"law {self.law}" if self.law != "points" else ", ".join(sorted(others))
            raise ValueError(f"found points and {found}; accepted: points with the law points, and nothing else")
        whole = all(size.is_integer() and 16 <= size <= 1472 and weight >= 0 for size, weight in self.points)
        if not (whole and any(weight > 0 for _, weight in self.points)):
            raise ValueError(
                f"found points {units.shown([list(point) for point in self.points])}; accepted: [payload, weight] with "
                "whole payloads from '16 bytes' to '1472 bytes' and weights from 0, one of them above 0"
            )


class ArrivalsPart(Part):
    """When packets come."""

    law: Literal["poisson", "deterministic", "on-off", "replay"] = Field(
        default="poisson", description="poisson, deterministic, on-off or replay"
    )
    on: Seconds = Field(default=1.0, description=f"mean time with packets of on-off, {SECONDS}")
    off: Seconds = Field(default=1.0, description=f"mean time without packets of on-off, {SECONDS}")
    profile: tuple[Annotated[tuple[float, float], AS_LIST], ...] = Field(
        default=(),
        strict=False,
        description="a list of [seconds, factor], such as [[30, 1], [10, 2.5]]: how the rate changes, again and again",
    )
    capture: str = Field(default="", description="the path of a pcap or pcapng file, from this file's folder")

    @model_validator(mode="after")
    def _lasting(self) -> ArrivalsPart:
        if (self.law == "replay") != bool(self.capture):
            found = "replay without a capture" if self.law == "replay" else f"a capture with the law {self.law}"
            raise ValueError(f"found {found}; accepted: the law replay with a capture, or neither")
        if self.law == "replay" and self.model_fields_set - {"law", "capture"}:
            others = ", ".join(sorted(self.model_fields_set - {"law", "capture"}))
            raise ValueError(f"found replay with {others}; accepted: law and capture, which has times of its own")
        usable = all(seconds > 0 and factor >= 0 for seconds, factor in self.profile)
        if self.profile and not (usable and any(factor > 0 for _, factor in self.profile)):
            raise ValueError(
                f"found profile {[list(step) for step in self.profile]}; "
                "accepted: [seconds, factor] with seconds above 0 and factors from 0, one of them above 0"
            )
        return self


class NodePart(Part):
    """A switch and its place on the map."""

    latitude: float | None = Field(default=None, ge=-90, le=90, description="degrees north, a number from -90 to 90")
    longitude: float | None = Field(
        default=None, ge=-180, le=180, description="degrees east, a number from -180 to 180"
    )


class _Wire(Part):
    """What a cable and a link have in common."""

    capacity: LinkRate = Field(description=LINK_RATE)
    length: Kilometres | None = Field(
        default=None, description="a length, such as '1146 km'; light takes 5 us for a km"
    )
    delay: Seconds | None = Field(default=None, description=SECONDS)
    queue: int | None = Field(default=None, ge=1, description=f"{COUNT}: packets that fit into the queue")
    delivers: Literal["wait", "sojourn"] | None = Field(default=None, description="wait or sojourn")
    jitter: Seconds | None = Field(default=None, description=f"how much the delay varies, {SECONDS}")
    loss: float = Field(default=0.0, ge=0, lt=1, description="share of packets lost, a number from 0 to below 1")
    fee: Fee | None = Field(default=None, description=units.money_accepted("fee"))
    stand_in: ClassVar[Mapping[str, Any]] = {"capacity": "1 Mbit/s"}

    @model_validator(mode="after")
    def _one_propagation(self) -> _Wire:
        if self.length is not None and self.delay is not None:
            raise ValueError("found both 'length' and 'delay'; accepted: one of them, or none")
        return self


class CablePart(_Wire):
    """Two links, one in each direction."""

    ends: list[str] = Field(
        min_length=2, max_length=2, description="the names of two nodes, such as [NewYork, Chicago]"
    )
    capacity_back: LinkRate | None = Field(default=None, description=f"from the second end to the first, {LINK_RATE}")


class LinkPart(_Wire):
    """A link in one direction."""

    src: str = Field(alias="from", description="the name of the node where it begins")
    dst: str = Field(alias="to", description="the name of the node where it ends")


class ServerPart(Part):
    """A server at a node."""

    node: str = Field(description="the name of the node where it is")
    capacity: WorkRate = Field(description="work a second, such as '600 work/s'")
    scv: float = Field(
        default=1.0, ge=0, description="squared coefficient of variation of a request's work, a number from 0"
    )
    queue: int = Field(default=10_000, ge=1, description=f"{COUNT}: requests that fit into the queue")
    cost: Upkeep | None = Field(default=None, description=units.money_accepted("upkeep"))
    stand_in: ClassVar[Mapping[str, Any]] = {"capacity": "1 work/s"}


class ServicePart(Part):
    """An anycast service: any one of its servers answers."""

    servers: list[str] = Field(min_length=1, description="a list of one server's name or more")


class FunctionPart(Part):
    """A function that packets go through: any one of its servers does it."""

    servers: list[str] = Field(min_length=1, description="a list of one server's name or more")
    scaling: float = Field(
        default=1.0, gt=0, description="a number above 0: frame that comes out over the frame that goes in"
    )
    work: float = Field(default=1.0, gt=0, description="a number above 0: mean work of a packet")


class SessionPart(Part):
    """Traffic from one node, to a service, to another node, or to a group of nodes."""

    source: str = Field(description="the name of the node where it starts")
    service: str | None = Field(default=None, description="the name of a service")
    destination: str | None = Field(default=None, description="the name of a node")
    destinations: list[str] | None = Field(
        default=None, min_length=1, description="a list of the names of nodes, each of which gets every packet"
    )
    group: str | None = Field(
        default=None, description=f"the address of the group that 'destinations' are, of {GROUPS}, such as '239.1.1.1'"
    )
    members: Literal["listed", "joined"] = Field(
        default="listed",
        description="listed, all of 'destinations', or joined, those of them, or of all nodes, whose hosts have joined",
    )
    chain: list[str] | None = Field(
        default=None, min_length=1, description="a list of functions' names, which each packet goes through in order"
    )
    rate: Annotated[float, Quantity("capacity", CAPTURED)] = Field(description=BIT_RATE)
    size: SizePart | None = Field(default=None, description="law, mean, low and high, or points, of the payloads")
    flows: int | None = Field(
        default=None, ge=1, le=20_000, description="a whole number from 1 to 20000: equal UDP flows"
    )
    response: Bytes | None = Field(
        default=None, description="the frame of the answer to each request, such as '100 bytes'"
    )
    work: float | None = Field(default=None, gt=0, description="a number above 0: mean work of a request")
    klass: int = Field(
        default=1,
        alias="class",
        ge=1,
        le=MOST_CLASSES,
        description=f"priority class, a whole number from 1 (first) to {MOST_CLASSES}",
    )
    arrivals: ArrivalsPart = Field(
        default=ArrivalsPart(), description="law, on, off, profile and capture of the arrivals"
    )
    tokens: float = Field(default=1.0, gt=0, description=TOKENS)
    value: Value | None = Field(default=None, description=f"of a token served: {units.money_accepted('value')}")
    limit: Seconds | None = Field(default=None, description=LIMIT)
    stand_in: ClassVar[Mapping[str, Any]] = {"rate": "1 bit/s"}

    @model_validator(mode="after")
    def _one_end(self) -> SessionPart:
        ends = ("service", "destination", "destinations")
        joined = self.members == "joined"
        if joined and self.group is None:
            raise ValueError("found members joined without 'group'; accepted: a group's members")
        if joined and self.destinations is None and self.service is None and self.destination is None:
            return self
        found = [repr(name) for name in ends if getattr(self, name) is not None]
        if len(found) != 1:
            accepted = "accepted: exactly one of 'service', 'destination' and 'destinations'"
            raise ValueError(f"found {' and '.join(found) or 'none'}; {accepted}")
        if (self.destinations is None) != (self.group is None):
            raise ValueError("found one of 'destinations' and 'group'; accepted: both, or none")
        return self

    @model_validator(mode="after")
    def _captured(self) -> SessionPart:
        if self.arrivals.law != "replay" and not self.rate:
            raise ValueError(f"found rate {CAPTURED!r} and arrivals {self.arrivals.law}; accepted: {BIT_RATE}")
        if self.arrivals.law == "replay" and self.size is not None:
            raise ValueError("found 'size' where a capture is replayed; accepted: none, its packets have their own")
        return self


class ValuePart(Part):
    """What requests are worth to a user."""

    law: Literal["quadratic", "log", "isoelastic", "table"] = Field(
        description="quadratic (a, b), log (a, s), isoelastic (a, e) or table (rates, values)"
    )
    a: float | None = Field(default=None, description="a number above 0")
    b: float | None = Field(default=None, description="a number above 0")
    s: float | None = Field(default=None, description="a number above 0")
    e: float | None = Field(default=None, description="a number above 1")
    rates: list[float] | None = Field(default=None, description="a list of requests/s, two or more")
    values: list[float] | None = Field(default=None, description="a list of currency/s, as many as rates")

    @model_validator(mode="after")
    def _concave(self) -> ValuePart:
        try:
            value_of(self.said())
        except WardropError as error:
            raise ValueError(str(error)) from None
        return self

    def said(self) -> dict[str, Any]:
        """The law and its numbers."""
        return self.model_dump(exclude_none=True)


class UserPart(Part):
    """A user who decides, request by request, whether to send it, to which server, and in which class."""

    value: ValuePart = Field(description="a mapping: law and its numbers; currency/s of requests/s")
    delay_cost: float = Field(gt=0, description="a number above 0: currency a second of one request's delay")
    rate: BitRate | None = Field(default=None, description=f"what comes up, {BIT_RATE}; the session's by default")
    stand_in: ClassVar[Mapping[str, Any]] = {"delay_cost": 1.0, "value": {"law": "quadratic", "a": 1.0, "b": 1.0}}


class BackgroundPart(Part):
    """Traffic of no session."""

    kind: Literal["tcp", "udp", "http"] = Field(description="tcp, udp or http")
    source: str = Field(description="the name of the node where it starts")
    destination: str | None = Field(default=None, description="the name of the node where tcp and udp go")
    service: str | None = Field(default=None, description="the name of the service whose pages http fetches")
    rate: BitRate | None = Field(default=None, description=f"payload of tcp and udp, {BIT_RATE}")
    pages: float | None = Field(default=None, gt=0, le=1000, description="pages a second of http, above 0, to 1000")
    payload: Bytes | None = Field(default=None, description="payload of each packet of udp, such as '1000 bytes'")
    streams: int | None = Field(
        default=None, ge=1, le=64, description="a whole number from 1 to 64: connections of tcp and udp side by side"
    )
    stand_in: ClassVar[Mapping[str, Any]] = {"kind": "tcp"}

    @model_validator(mode="after")
    def _of_its_kind(self) -> BackgroundPart:
        given = {key for key in self.model_fields_set if getattr(self, key) is not None} - {"kind", "source"}
        needed, accepted = BACKGROUND_KEYS[self.kind]
        if needed - given or given - needed - accepted:
            found = ", ".join(sorted(given)) or "nothing else"
            optional = f" and if you like {', '.join(sorted(accepted))}" if accepted else ""
            raise ValueError(f"found {self.kind} with {found}; accepted: {', '.join(sorted(needed))}{optional}")
        if self.payload is not None and not 16 <= self.payload <= 1472:
            raise ValueError(f"found payload {self.payload:g}; accepted: from '16 bytes' to '1472 bytes'")
        return self


BACKGROUND_KEYS: Mapping[str, tuple[set[str], set[str]]] = {
    "tcp": ({"destination"}, {"rate", "streams"}),
    "udp": ({"destination", "rate"}, {"payload", "streams"}),
    "http": ({"service", "pages"}, set()),
}
"""What each kind of background traffic needs beside its source, and what it may have."""


class DefaultsPart(Part):
    """What links and sessions have unless they say otherwise."""

    queue: int = Field(default=1000, ge=1, description=f"{COUNT}: packets that fit into a link's queue")
    delivers: Literal["wait", "sojourn"] = Field(default="wait", description="wait or sojourn")
    size: SizePart = Field(default=SizePart(), description="law, mean, low and high, or points, of the payloads")
    flows: int = Field(
        default=200, ge=1, le=20_000, description="a whole number from 1 to 20000: equal UDP flows of a session"
    )
    response: Bytes | None = Field(
        default=None, description="the frame of the answer to each request, such as '100 bytes'"
    )
    work: float = Field(default=1.0, gt=0, description="a number above 0: mean work of a request")


class ControlPart(Part):
    """How the controller runs."""

    tick: Seconds = Field(default=1.0, description="time between two decisions, from '200 ms' to '60 s'")
    slots: int = Field(
        default=512, ge=16, le=4096, description="a whole number from 16 to 4096: hash slots of a session"
    )

    @model_validator(mode="after")
    def _tick_in_range(self) -> ControlPart:
        if not 0.2 <= self.tick <= 60:
            raise ValueError(f"found tick {self.tick:g} s; accepted: from '200 ms' to '60 s'")
        return self


class ScenarioPart(Part):
    """A scenario file."""

    name: str = Field(pattern=NAME, description=NAME_ACCEPTED)
    title: str = Field(min_length=1, description="a line that says what it is")
    provenance: str = Field(min_length=1, description="text: where the data comes from, and what was changed")
    currency: str | None = Field(default=None, pattern=CURRENCY, description=CURRENCY_ACCEPTED)
    nodes: dict[str, NodePart] = Field(description="a mapping of names to nodes, one or more", json_schema_extra=NAMES)
    cables: list[CablePart] = Field(default=[], description="a list of cables (ends, capacity, length or delay)")
    links: list[LinkPart] = Field(
        default=[], description="a list of one-way links (from, to, capacity, length or delay)"
    )
    servers: dict[str, ServerPart] = Field(
        default={}, description="a mapping of names to servers (node, capacity)", json_schema_extra=NAMES
    )
    services: dict[str, ServicePart] = Field(
        default={}, description="a mapping of names to services (servers)", json_schema_extra=NAMES
    )
    functions: dict[str, FunctionPart] = Field(
        default={}, description="a mapping of names to functions (servers, scaling, work)", json_schema_extra=NAMES
    )
    sessions: dict[str, SessionPart] = Field(
        description="a mapping of names to sessions (source, service, destination or destinations, rate), one or more",
        json_schema_extra=NAMES,
    )
    users: dict[str, UserPart] = Field(
        default={}, description="a mapping of sessions' names to their users (value, delay_cost)"
    )
    classes: int = Field(
        default=2,
        ge=1,
        le=MOST_CLASSES,
        description=f"priority classes that users choose from, from 1 to {MOST_CLASSES}, what DSCP tells",
    )
    background: dict[str, BackgroundPart] = Field(
        default={},
        description="a mapping of names to traffic of no session (kind, source, destination or service)",
        json_schema_extra=NAMES,
    )
    defaults: DefaultsPart = Field(
        default=DefaultsPart(), description="a mapping: queue, delivers, size, flows, response, work"
    )
    control: ControlPart = Field(default=ControlPart(), description="a mapping: tick, slots")
    stand_in: ClassVar[Mapping[str, Any]] = {"name": "x", "title": "x", "provenance": "x", "nodes": {}, "sessions": {}}


PARTS: Mapping[str, type[Part]] = {
    "nodes": NodePart,
    "cables": CablePart,
    "links": LinkPart,
    "servers": ServerPart,
    "services": ServicePart,
    "functions": FunctionPart,
    "sessions": SessionPart,
    "users": UserPart,
    "value": ValuePart,
    "background": BackgroundPart,
    "size": SizePart,
    "arrivals": ArrivalsPart,
    "defaults": DefaultsPart,
    "control": ControlPart,
}
"""The form that is found under each key that holds parts."""


def keys(part: type[Part]) -> dict[str, str]:
    """The keys of a part as they are written, each with what it accepts."""
    return {field.alias or name: field.description or "" for name, field in part.model_fields.items()}
