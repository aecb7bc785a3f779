"""Users of a network who answer to prices: who they are, what they can choose from, and how they move.

A **user** is a session whose requests need not be sent. Each request that comes up may be sent to any of the session's
servers in any class; each such choice is an **option**, and in the network that carries them an option is a session of
its own, `SESSION.SERVER.CLASS`: it has counters, routes and delays like any other. Its address names the server and its
DSCP the class.

    X_0      requests a second that come up, a Poisson stream
    X        those that are sent: each with the acceptance probability X/X_0 (Kim and Juhn, section 3)
    X -> X + step (min(V'^-1(c*), X_0) - X)        c* the cheapest option's cost, delay cost x time + price
    shares -> shares + step (nearest shares to  shares - SHIFT (c_o - c*)/c*  - shares)

Rate and shares move a part of the way at each announcement, as in `pricing.priority.tatonnement`, for all move at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pricing.network import Network, Route, Session
from pricing.priority.economy import Economy, Service, machines_of, program_of
from pricing.priority.tatonnement import nearest_shares
from pricing.priority.values import Value, value_of
from pricing.routes import equal_routes, nearest_routes
from pricing.values import FloatArray

STEP, SHIFT = 0.1, 2.0
"""Part of the way that rates and shares move at each announcement, and the share that would leave an option for each
part of the least cost that it costs more; smaller than where prices are exact, for measured ones come late (ours,
chosen as `pricing.priority.publish.PACE` was)."""

START_LOAD = 0.5
"""Load of the fullest machine at which users begin, before anybody has told them a price (ours)."""


@dataclass(frozen=True)
class User:
    """A session's user.

    Parameters
    ----------
    value : mapping
        V, currency/s of requests/s, as `pricing.priority.values.value_of` reads it.
    delay_cost : float
        Currency a second of one request's delay.
    rate : float
        Requests/s that come up, X_0; as many as the session's where it is 0.
    """

    value: Mapping[str, Any]
    delay_cost: float
    rate: float = 0.0


@dataclass(frozen=True)
class Group:
    """A user in the network of options.

    Parameters
    ----------
    name : str
        The session that it was.
    user : User
        With its rate.
    options : tuple of str
        Sessions that it can choose from, servers by name, then classes.
    """

    name: str
    user: User
    options: tuple[str, ...]


def expanded(network: Network, users: Mapping[str, User], classes: int) -> tuple[Network, tuple[Group, ...]]:
    """The network whose sessions are the users' options, at the rates with which they begin, and the users.

    Sessions without a user are left out: nobody sends them.
    """
    groups, sessions = [], []
    for session in network.sessions:
        if session.name not in users:
            continue
        user = users[session.name]
        user = user if user.rate else replace(user, rate=session.packet_rate)
        options = [_option(session, server, k, user) for server in sorted(session.destinations) for k in _to(classes)]
        share = user.rate / len(options)
        sessions += [replace(option, rate=share * option.frame_bits) for option in options]
        groups.append(Group(session.name, user, tuple(option.name for option in options)))
    found = replace(network, sessions=tuple(sessions))
    load = float(economy_of(found, groups).load(np.array([s.packet_rate for s in found.sessions])).max())
    part = min(1.0, START_LOAD / load)
    return replace(found, sessions=tuple(replace(s, rate=part * s.rate) for s in sessions)), tuple(groups)


def economy_of(network: Network, groups: Sequence[Group], nearest: int = 1) -> Economy:
    """The economy of users with their values, on the `nearest` shortest routes to each server.

    With one, which is each session's shortest, its options are the network's sessions, in order.
    """
    services = []
    for group in groups:
        first = [network.sessions[network.session_index[name]] for name in group.options]
        ways = [_ways(network, one, nearest) for one in first if one.klass == 1]
        programs = [program_of(network, route) for routes in ways for route in routes]
        services.append(Service(group.name, value_of(group.user.value), group.user.delay_cost, programs))
    return Economy(machines_of(network), services, network.classes)


def _to(classes: int) -> range:
    return range(1, classes + 1)


def _ways(network: Network, session: Session, nearest: int) -> Sequence[Route]:
    return nearest_routes(network, session, nearest) if nearest > 1 else [equal_routes(network, session)[0][0]]


def _option(session: Session, server: str, klass: int, user: User) -> Session:
    return replace(
        session,
        name=f"{session.name}.{server}.{klass}",
        destinations=(server,),
        service=f"{session.service}@{server}",
        klass=klass,
        delay_cost=user.delay_cost,
    )


@dataclass(frozen=True)
class Choice:
    """How a user's requests are dealt: X in requests/s, and each option's share of it; shape (O,)."""

    rate: float
    shares: FloatArray

    def answer(self, user: User, value: Value, costs: FloatArray, step: float = STEP) -> Choice:
        """The choice after an announcement.

        Parameters
        ----------
        costs : array of shape (O,)
            Delay cost times time, and price, of one request by each option; infinite where it is not on offer.
        """
        cheapest = float(costs.min())
        wanted = min(value.demand(cheapest), user.rate)
        dearer = np.minimum((costs - cheapest) / max(cheapest, 1e-300), 1.0)
        aim = np.where(np.isfinite(costs), nearest_shares(self.shares - SHIFT * dearer), 0.0)
        shares = np.where(np.isfinite(costs), self.shares, 0.0)
        shares = shares / shares.sum() if shares.sum() > 0 else aim
        return Choice(self.rate + step * (wanted - self.rate), shares + step * (aim - shares))

    def pick(self, user: User, chance: float) -> int | None:
        """The option of a request that drew `chance` from [0, 1); None when it is not sent."""
        place = chance * user.rate / self.rate if self.rate > 0 else 1.0
        return int(np.searchsorted(np.cumsum(self.shares), place, side="right")) if place < 1 else None


def begun(group: Group, network: Network) -> Choice:
    """The choice with which a user begins: the rates of its options."""
    rates = np.array([network.sessions[network.session_index[name]].packet_rate for name in group.options])
    return Choice(float(rates.sum()), rates / rates.sum())
