"""The values that pass between measuring, pricing and deciding.

Arrays follow the network's order: `links[i]` belongs to `network.links[i]`, `servers[j]` to `network.servers[j]`,
`offered[k]` to `network.sessions[k]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricing.network import Allocation, LinkKey, Network

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Loads:
    """Loads at one moment, measured or assumed.

    Parameters
    ----------
    links : array of shape (L,)
        bit/s on each link, background included.
    servers : array of shape (J,)
        work/s offered to each server.
    offered : array of shape (K,)
        bit/s that each session offers at its ingress.
    """

    links: FloatArray
    servers: FloatArray
    offered: FloatArray


@dataclass(frozen=True)
class Prices:
    """Marginal costs C(x) = D(x) + x D'(x), in seconds (s·bit a bit), of links (L,) and servers (J,)."""

    links: FloatArray
    servers: FloatArray


@dataclass(frozen=True)
class Certificate:
    """How far from optimal a feasible allocation is, computed from the allocation alone.

    Parameters
    ----------
    primal : float
        Mean delay that the objective gives it, s: the sum over resources of load times delay, a bit offered.
    dual : float
        A lower bound on any allocation's, s.
    gap : float
        (primal - dual) / dual, a ratio.
    kkt_residual : float
        Largest amount by which a used route's marginal cost exceeds its session's cheapest route, s.
    wardrop_residual : float
        The same excess averaged over the traffic, relative to the mean marginal cost of a route; a ratio.
    """

    primal: float
    dual: float
    gap: float
    kkt_residual: float
    wardrop_residual: float


@dataclass(frozen=True)
class Quote:
    """What a market says of a link (bit/s, currency a bit) or a server (work/s, currency a work).

    Parameters
    ----------
    load : float
        Cleared.
    price : float
        Fee and congestion of a link, cost and scarcity of a server.
    rent : float
        Congestion or scarcity times what could be cleared, currency/s.
    """

    load: float
    price: float
    rent: float


@dataclass(frozen=True)
class Quotes:
    """What a market says beside the allocation, of what is left of the network.

    Parameters
    ----------
    currency : str
    sessions : mapping of session name to locational price, currency a token
        Without those that nothing within their latency limit is left for.
    shed : mapping of session name to tokens/s that are not served
    short : tuple of str
        Sessions that must be served, and are not, or not wholly.
    links, servers : mapping to Quote
    age : int
        Rounds since it was cleared.
    gap : float, optional
        How far its cost is proven to be above the least at most, a part of the cost; None where nothing was cleared.
    """

    currency: str
    sessions: Mapping[str, float]
    shed: Mapping[str, float]
    short: tuple[str, ...]
    links: Mapping[LinkKey, Quote]
    servers: Mapping[str, Quote]
    age: int = 0
    gap: float | None = None

    def by_place(self, network: Network) -> dict[str, Any]:
        """The same in the order of the whole network, as plain values; None of what failed, or is cut off."""
        links = [self.links.get(link.key) for link in network.links]
        servers = [self.servers.get(server.name) for server in network.servers]
        names = [session.name for session in network.sessions]
        return {
            "currency": self.currency,
            "age": self.age,
            "gap": self.gap,
            "prices": {name: self.sessions.get(name) for name in names},
            "shed": {name: self.shed.get(name) for name in names},
            "short": list(self.short),
            "links": [asdict(quote) if quote else None for quote in links],
            "servers": [asdict(quote) if quote else None for quote in servers],
        }


@dataclass(frozen=True)
class Decision:
    """What a policy returns: the prices it saw, what it decided, and what it wants to see again next time.

    Parameters
    ----------
    lost : mapping of session name to ratio
        Where flows were decided: the share of a session's that no route took (`pricing.multicast.extract`).
    served : array of shape (K,), optional
        Part of each session that it lets in; all of it without.
    quotes : Quotes, optional
        Of a policy that clears a market.
    """

    prices: Prices
    allocation: Allocation
    state: Any = None
    lost: Mapping[str, float] = field(default_factory=dict)
    served: FloatArray | None = None
    quotes: Quotes | None = None
