"""The delay laws in force, and what they are learnt from: counters of links, and what links and servers tell.

The mathematics is in `pricing.learnt`. Here are the intervals: of a link's counters, from one reply to the next; of an
export, the second that it tells of, each taken once. New laws are prices that jump, so they come into force at most
every `HOLD_S`, and only where a wait has really changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from controller.exports import SECOND, Export
from controller.fabric import Fabric
from controller.measure import Meter, increase, wiring
from pricing.errors import WardropError
from pricing.learnt import LAWS, Jobs, LawName, Seen, differ, learnt, nothing_seen
from pricing.network import Network
from pricing.outage import Remains

HOLD_S = 10.0
"""Least time between two changes of the laws in force, s (ours)."""


@dataclass(frozen=True)
class Laws:
    """Where laws come from, what is in force, and what was seen.

    Parameters
    ----------
    name : LawName
    jobs : tuple of (mean, scv)
        In force, of all resources; empty for the scenario's own.
    since : float
        When they came into force, s.
    told : mapping of resource name to float
        Time of the last export that was taken in.
    """

    name: LawName
    seen: Seen
    jobs: Jobs = ()
    since: float = -math.inf
    told: Mapping[str, float] = field(default_factory=dict)


def first_laws(network: Network, name: LawName) -> Laws:
    """Before anything is measured."""
    seen = nothing_seen(network)
    return Laws(name, seen, learnt(network, seen, name))


def law_name(name: str) -> LawName:
    """The name, checked.

    Raises
    ------
    WardropError
        When there is none; the message lists all.
    """
    for known in LAWS:
        if name == known:
            return known
    raise WardropError(f"laws {name!r}: {', '.join(LAWS)} are accepted")


def chosen(fabric: Fabric, laws: Laws, name: LawName) -> Laws:
    """Laws from another place; what was seen stays seen."""
    if name == laws.name:
        return laws
    return replace(laws, name=name, jobs=learnt(fabric.network, laws.seen, name), since=-math.inf)


def learn(fabric: Fabric, laws: Laws, before: Meter, after: Meter, exports: tuple[Export, ...], now: float) -> Laws:
    """The laws after new counters and exports."""
    network = fabric.network
    seen = _counted(fabric, laws.seen, before, after)
    place = _places(network)
    fresh = [one for one in exports if one.name in place and one.time > laws.told.get(one.name, -math.inf)]
    seen = _told(seen, place, fresh, len(network.links))
    laws = replace(laws, seen=seen, told={**laws.told, **{one.name: one.time for one in fresh}})
    if laws.name in ("mm1", "scenario") or now - laws.since < HOLD_S:
        return laws
    jobs = learnt(network, seen, laws.name)
    return replace(laws, jobs=jobs, since=now) if differ(network, laws.jobs, jobs) else laws


def under(left: Remains, laws: Laws) -> Network:
    """What remains of the network, with the laws in force."""
    if not laws.jobs:
        return left.network
    first = len(left.whole.links)
    places = [*left.links.tolist(), *(first + left.servers).tolist()]
    return _with_jobs(left.network, tuple(laws.jobs[place] for place in places))


@lru_cache(maxsize=16)
def _with_jobs(network: Network, jobs: Jobs) -> Network:
    return network.with_jobs(jobs)


@lru_cache(maxsize=16)
def _places(network: Network) -> dict[str, int]:
    """Place of each resource by its name."""
    names = [*map(str, network.links), *(server.name for server in network.servers)]
    return {name: place for place, name in enumerate(names)}


def _counted(fabric: Fabric, seen: Seen, before: Meter, after: Meter) -> Seen:
    """What the counters of links say."""
    span, jobs, amount = (np.zeros(len(seen.jobs)) for _ in range(3))
    for place, key in enumerate(wiring(fabric).links):
        old, new = before.counts.get(key), after.counts.get(key)
        if old and new and new.time > old.time:
            packets, octets = increase(old.packets, new.packets), increase(old.octets, new.octets)
            if packets is not None and octets is not None:
                span[place], jobs[place], amount[place] = new.time - old.time, packets, 8 * octets
    return seen.sized(span, jobs, amount, np.full(len(jobs), np.nan))


def _told(seen: Seen, place: Mapping[str, int], exports: list[Export], links: int) -> Seen:
    """What links and servers say: waits of both, and of servers the work, which no counter knows."""
    if not exports:
        return seen
    span, jobs, amount, waiting = (np.zeros(len(seen.jobs)) for _ in range(4))
    squares = np.full(len(jobs), np.nan)
    for one in exports:
        here = place[one.name]
        span[here], jobs[here], amount[here], waiting[here] = SECOND, one.jobs, one.amount, one.waiting
        squares[here] = math.nan if one.squares is None else one.squares
    own = np.arange(len(jobs)) >= links
    return seen.waits(span, jobs, amount, waiting).sized(np.where(own, span, 0.0), jobs, amount, squares)
