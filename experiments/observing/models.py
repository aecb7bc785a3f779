"""What the HTTP API says and accepts, as OpenAPI describes it."""

from __future__ import annotations

import math
from typing import Annotated

import networkx as nx
from pydantic import BaseModel, ConfigDict, Field

from experiments.observing.changes import DENSEST
from experiments.observing.feed import KEPT_S, Feed
from pricing.network import Network
from pricing.policy import POLICIES
from pricing.problem import problem_of


class Facts(BaseModel):
    """A model that is read from the attributes of our own values."""

    model_config = ConfigDict(from_attributes=True)


class NodeFacts(BaseModel):
    """A switch, with its place in degrees where it has one."""

    name: str
    latitude: float | None
    longitude: float | None
    x: float = Field(description="to the right on the map")
    y: float = Field(description="downwards on the map")


class LinkFacts(Facts):
    """A directed link."""

    src: str
    dst: str
    capacity: float = Field(description="bit/s")
    propagation: float = Field(description="s")
    fee: float = Field(description="currency a bit")


class ServerFacts(Facts):
    """A server at a node."""

    name: str
    node: str
    capacity: float = Field(description="work/s")
    cost: float = Field(description="currency a work")


class SessionFacts(BaseModel):
    """A session, and what its routes are priced with.

    Of a route, the price in s is the sum of its links' prices, `answers` times the sum of those of the same links the
    other way, and `work[server]` times the server's price.
    """

    name: str
    source: str
    kind: str
    destinations: list[str]
    rate: float = Field(description="bit/s, before any change of its demand")
    frame_bits: float = Field(description="mean bits of a packet")
    answers: float = Field(description="bits of answers a bit of requests")
    work: dict[str, float] = Field(description="by server: how often its price is paid")
    request_work: float = Field(description="mean work of a request")
    tokens: float = Field(description="that a request asks for")
    klass: int = Field(description="priority class, 1 first")
    group: str = Field(description="address of a multicast session; empty of others")
    joined: bool = Field(description="whether members of the group come and go")
    user: str = Field(description="whose option the session is, and who decides what it sends; empty of others")


class PolicyFacts(Facts):
    """A way of deciding on routes."""

    name: str
    summary: str
    weight: float | None = Field(description="V, what cost weighs in it unless said, as in gdcnc(10); null without V")


class NetworkFacts(BaseModel):
    """What does not change during a run. Ticks list links and servers in this order."""

    run: str = Field(description="a word that no other run has")
    name: str
    title: str
    nodes: list[NodeFacts]
    links: list[LinkFacts]
    servers: list[ServerFacts]
    sessions: list[SessionFacts]
    policies: list[PolicyFacts]
    currency: str = Field(description="of prices in a market or of classes; empty where none was named")
    kept: float = Field(description="s that the history goes back")


class ResourceFacts(BaseModel):
    """A link (bit/s) or a server (work/s) in a tick; what is not known is null."""

    load: float
    utilization: float
    price: float | None = Field(description="marginal cost, s")
    delay: float | None = Field(default=None, description="by the model, s")
    age: float | None = Field(default=None, description="of the measurement, s")


class CopyFacts(BaseModel):
    """The copies of a packet of a group, on average."""

    links: float = Field(description="that copies cross")
    made: dict[str, float] = Field(description="by node: copies beyond those that come to it")


class QuoteFacts(BaseModel):
    """What a market says of a link (bits) or a server (works)."""

    load: float = Field(description="cleared, a second")
    price: float = Field(
        description="fee and congestion of a link, cost and scarcity of a server; currency a bit or work"
    )
    rent: float = Field(description="currency/s")


class MarketFacts(BaseModel):
    """What a market says; null of what failed, and of sessions that are cut off."""

    currency: str
    age: int = Field(description="rounds since it was cleared")
    gap: float | None = Field(default=None, description="of its cost to the bound below every clearing; a ratio")
    prices: dict[str, float | None] = Field(description="locational price by session, currency a token")
    shed: dict[str, float | None] = Field(description="by session: tokens/s that are not served")
    short: list[str] = Field(description="sessions that must be served, and are not wholly")
    links: list[QuoteFacts | None]
    servers: list[QuoteFacts | None]


class ClassFacts(BaseModel):
    """What machines (links `src->dst`, then servers) publish: rows by machine, in them the first class first."""

    machines: list[str]
    load: list[list[float]] = Field(description="part of its time that each class takes")
    wait: list[list[float]] = Field(description="s")
    premium: list[list[float]] = Field(description="what each class pays above the last, currency a second of service")
    base: list[float] = Field(description="what the last class pays, currency a second of service")
    base_square: list[float] = Field(description="the same, currency a squared second of service")


class DownFacts(BaseModel):
    """What is failed."""

    links: list[tuple[str, str]]
    nodes: list[str]
    servers: list[str]


class TickFacts(BaseModel):
    """A tick of the controller: its record line, and what the run knows beside it."""

    model_config = ConfigDict(extra="allow")

    id: int = Field(description="number in this feed, from 1")
    tick: int = Field(description="number of the controller's tick")
    time: float = Field(description="Unix time, s")
    phase: str
    elapsed: float = Field(description="s of the phase")
    total: float = Field(description="s that the phase takes in all, 0 without an end of its own")
    policy: str
    links: list[ResourceFacts]
    servers: list[ResourceFacts]
    offered: dict[str, float] = Field(description="bit/s by session")
    delivered: dict[str, float | None] = Field(default={}, description="bit/s by session")
    decided: dict[str, list[tuple[str, float]]] = Field(description="by session: [route, weight]")
    realised: dict[str, list[tuple[str, float]]] = Field(description="by session: [route, share of its packets]")
    lost_in_extraction: dict[str, float] = Field(
        default={}, description="of multicast sessions: share of the decided flow that no tree took"
    )
    copies: dict[str, CopyFacts] = Field(default={}, description="of multicast sessions, by the decided trees")
    market: MarketFacts | None = None
    classes: ClassFacts | None = None
    session_prices: dict[str, float | None] = Field(
        default={}, description="currency a request, where classes are priced; null where a session is not on offer"
    )
    session_times: dict[str, float] = Field(default={}, description="s that a request takes, where classes are priced")
    gap: float | None = Field(description="of the delay to the optimum, certified; a ratio; null of a market")
    objective: float | None = Field(description="mean delay by the model, s")
    optimum: float | None = Field(description="least mean delay by the model, s")
    tick_s: float = Field(description="what the tick took, s")
    rules_changed: int
    error: str | None
    down: DownFacts
    demand: dict[str, float] = Field(description="factors by session, of those that were changed")
    worth: dict[str, float] = Field(description="factors by user, of those whose requests' worth was changed")
    events: list[str] = Field(description="what has happened since the tick before")
    changes: bool = Field(description="whether the run takes changes")


class PolicyName(BaseModel):
    """The policy to route by."""

    policy: str


class Demand(BaseModel):
    """How much a session sends."""

    factor: Annotated[float, Field(ge=0, le=DENSEST, description="times its rate; 0 silences it")]


class Worth(BaseModel):
    """What a user's requests are worth."""

    factor: Annotated[float, Field(gt=0, le=DENSEST, description="times what they were worth at the start")]


class Works(BaseModel):
    """Whether something works."""

    works: bool = Field(description="false lets it fail, true heals it")


class Done(BaseModel):
    """A change that was carried out, in words."""

    done: str


class Problem(BaseModel):
    """Why something was refused, in words."""

    error: str


def facts_of(feed: Feed) -> NetworkFacts:
    """What the API says of a run's network."""
    network = feed.network
    problem = problem_of(network)
    weight = dict(zip(network.server_index, problem.weight[problem.link_count :].tolist(), strict=True))

    sessions = [
        SessionFacts(
            name=session.name,
            source=session.source,
            kind=session.kind,
            destinations=list(session.destinations),
            rate=session.rate,
            frame_bits=session.frame_bits,
            answers=session.response_bits / session.frame_bits,
            work={
                name: session.work / session.frame_bits * weight[name]
                for name in (session.destinations if session.kind == "anycast" else ())
            },
            request_work=session.work,
            tokens=session.tokens,
            klass=session.klass,
            group=session.group,
            joined=session.joined,
            user=feed.users.get(session.name, ""),
        )
        for session in network.sessions
    ]
    at = places(network)
    nodes = [
        NodeFacts(
            name=node.name, latitude=node.latitude, longitude=node.longitude, x=at[node.name][0], y=at[node.name][1]
        )
        for node in network.nodes
    ]
    return NetworkFacts(
        run=feed.run,
        name=network.name,
        title=feed.title,
        nodes=nodes,
        links=[LinkFacts.model_validate(link) for link in network.links],
        servers=[ServerFacts.model_validate(server) for server in network.servers],
        sessions=sessions,
        currency=network.currency,
        policies=[PolicyFacts.model_validate(policy) for policy in POLICIES.values()],
        kept=KEPT_S,
    )


def places(network: Network) -> dict[str, tuple[float, float]]:
    """Where each node is on the map, y downwards: by its coordinates, or by a drawing of the graph without them."""
    known = [(node.name, node.longitude, node.latitude) for node in network.nodes]
    degrees = [(name, x, y) for name, x, y in known if x is not None and y is not None]
    if len(degrees) == len(known):
        stretch = math.cos(math.radians(sum(y for _, _, y in degrees) / len(degrees)))
        return {name: (x * stretch, -y) for name, x, y in degrees}
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(sorted(node.name for node in network.nodes))
    graph.add_edges_from(sorted(link.key for link in network.links))
    return {name: (float(x), float(y)) for name, (x, y) in nx.spring_layout(graph, seed=1).items()}
