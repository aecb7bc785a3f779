"""Networks to test on: two nodes, two servers, the paper's 5 x 3 instance, and Abilene."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pricing.network import Link, Network, Node, Server, Session, SizeLaw
from pricing.values import FloatArray


class UnitJobs(SizeLaw):
    """Exponential jobs of mean 1, headers and all: the units of the papers."""

    frame_moments = (1.0, 2.0)  # type: ignore[assignment]


UNIT = UnitJobs()


def cables(*pairs: tuple[str, str, float], **kwargs: Any) -> tuple[Link, ...]:
    """Two links for each (end, end, capacity)."""
    return tuple(Link(a, b, c, **kwargs) for one, other, c in pairs for a, b in ((one, other), (other, one)))


def network(
    links: Sequence[Link], servers: Sequence[Server] = (), sessions: Sequence[Session] = (), name: str = "test"
) -> Network:
    """A network of these links; its nodes are their ends."""
    names = sorted({end for link in links for end in link.key} | {server.node for server in servers})
    return Network(name, tuple(Node(n) for n in names), tuple(links), tuple(servers), tuple(sessions))


def unicast(name: str, source: str, destination: str, rate: float, **kwargs: Any) -> Session:
    """A session from node to node, with unit jobs unless said otherwise."""
    return Session(name, source, "unicast", (destination,), rate, **{"size": UNIT, **kwargs})


def anycast(name: str, source: str, servers: Sequence[str], rate: float, **kwargs: Any) -> Session:
    """A session to any of these servers, with unit jobs unless said otherwise."""
    return Session(name, source, "anycast", tuple(servers), rate, **{"size": UNIT, **kwargs})


PAPER_RATES = (0.15625, 0.09765625, 30.05859375, 30.009765625, 0.107421875)
PAPER_ACCESS = (
    (47.49080237694725, 54.6398788362281, 43.12037280884873),
    (41.16167224336399, 52.022300234864176, 40.41168988591605),
    (56.648852816008436, 43.63649934414201, 46.08484485919075),
    (48.638900372842315, 52.23705789444759, 45.84289297070436),
    (49.121399684340716, 43.993475643167194, 51.84829137724085),
)
PAPER_SERVERS = (160.75448519014384, 106.50515929852796, 196.56320330745592)


def paper(servers: Sequence[float] = PAPER_SERVERS, rates: Sequence[float] = PAPER_RATES) -> Network:
    """The joint paper's instance: a private access link from each source to each service node, M/M/1 everywhere."""
    links = [
        Link(f"p{i}", f"n{j}", mu, delivers="sojourn") for i, row in enumerate(PAPER_ACCESS) for j, mu in enumerate(row)
    ]
    nodes = [Server(f"s{j}", f"n{j}", mu) for j, mu in enumerate(servers)]
    names = [server.name for server in nodes]
    return network(links, nodes, [anycast(f"P{i}", f"p{i}", names, rate) for i, rate in enumerate(rates)], "joint-5x3")


ABILENE = (
    ("Seattle", "Sunnyvale"), ("Seattle", "Denver"), ("Sunnyvale", "LosAngeles"), ("Sunnyvale", "Denver"),
    ("LosAngeles", "Houston"), ("Denver", "KansasCity"), ("KansasCity", "Houston"), ("KansasCity", "Indianapolis"),
    ("Houston", "Atlanta"), ("Indianapolis", "Atlanta"), ("Indianapolis", "Chicago"), ("Atlanta", "Washington"),
    ("Chicago", "NewYork"), ("NewYork", "Washington"),
)  # fmt: skip


def abilene(rho: float = 0.75, response_bits: float = 800.0, capacity: float = 2.5e6) -> Network:
    """Eleven cities, fourteen cables, three servers at a load of `rho`, eight sources of one service."""
    shares = np.array([190.0, 160.0, 150.0, 130.0, 90.0, 80.0, 100.0, 60.0])
    sources = ("Seattle", "Sunnyvale", "LosAngeles", "Denver", "Houston", "Chicago", "Atlanta", "Indianapolis")
    bits = SizeLaw().frame_moments[0]
    work = shares.sum() / rho * np.array([0.36, 0.34, 0.30])
    servers = [
        Server(name, node, float(mu))
        for name, node, mu in zip(("east", "mid", "west"), ("NewYork", "KansasCity", "Sunnyvale"), work, strict=True)
    ]
    sessions = [
        anycast(
            f"s-{source}", source, ("east", "mid", "west"), float(n * bits), size=SizeLaw(), response_bits=response_bits
        )
        for source, n in zip(sources, shares, strict=True)
    ]
    return network(cables(*((a, b, capacity) for a, b in ABILENE)), servers, sessions, "abilene")


def ring(capacities: Sequence[float], rates: FloatArray) -> Network:
    """A ring of nodes with a server at the first and the third, and a session of unit jobs from every node.

    Spare rates are ignored.
    """
    names = [f"n{i}" for i in range(len(capacities))]
    links = cables(*((a, b, c) for (a, b), c in zip(pairwise([*names, names[0]]), capacities, strict=True)))
    servers = [Server("sa", names[0], 12.0), Server("sb", names[2], 9.0)]
    sessions = [
        anycast(f"k{i}", name, ("sa", "sb"), float(r)) for i, (name, r) in enumerate(zip(names, rates, strict=False))
    ]
    return network(links, servers, sessions, "ring")
