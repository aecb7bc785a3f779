"""How delays spread by the model: the share of the packets that take no longer than a time.

`pricing.delay` says how long a resource takes in the mean; here is the law of a whole way, in the same model of
independent queues, each fed by Poisson arrivals at its own load. With rho the utilization, lambda the jobs a second and
m the mean time that a job takes alone, the transform w(s) = E[exp(-s W)] of the wait is Pollaczek's and Khinchine's:

    w(s) = (1 - rho) s / (s - lambda (1 - b(s)))          b(s) = (1 + v m s)^(-1/v); exp(-m s) for v = 0

and that of a way is the product of those that it passes. As a law knows of its jobs only their mean and their squared
coefficient of variation v, they are taken as gamma: exponential for v = 1, all alike for v = 0, as servers draw them.
So one M/M/1 is exponential, several in line are hypoexponential, and the mean is that of `pricing.problem.evaluate`.
Packets of many ways mix by how many take each.

The transform is turned back by Euler summation: Abate and Whitt, 'Numerical inversion of Laplace transforms of
probability distributions', ORSA Journal on Computing 7 (1995). What is fixed on a way, its propagation and equal jobs,
is taken out before, so that no jump is smoothed. Queues that know classes have other laws, which are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from pricing.chains import steps_of
from pricing.delay import PollaczekKhinchine
from pricing.network import Allocation, Network
from pricing.values import FloatArray

ACCURACY = 18.4
"""A of Abate and Whitt: exp(-A), 1e-8, is what discretising may be off."""

TERMS = 30
"""Terms summed before the Euler averages begin."""

AVERAGED = 11
"""Partial sums that the Euler averages take, less one."""

POINTS = 200
"""Times at which a distribution is known where its quantiles are asked for."""

RARE = 1e-7
"""Ways that a smaller part of the packets takes are left out."""

ComplexArray = NDArray[np.complexfloating[Any, Any]]

Way = tuple[int, ...]
"""The resources that a packet passes, links first by number, then servers, as in `pricing.problem`."""


def ways(network: Network, allocation: Allocation, offered: FloatArray) -> dict[Way, float]:
    """The ways of all requests of paths, and the share of the requests that takes each.

    Parameters
    ----------
    offered : array of shape (K,)
        bit/s of each session.
    """
    found: dict[Way, float] = {}
    for session, rate in zip(network.sessions, offered.tolist(), strict=True):
        steps = steps_of(network, session)
        for route, weight in allocation.splits.get(session.name, ()):
            way = tuple(steps[key].resource for key in route.links)
            way += (len(network.links) + network.server_index[route.server],) if route.server else ()
            found[way] = found.get(way, 0.0) + weight * rate / session.frame_bits
    return _shares(found)


def ways_to(network: Network, allocation: Allocation, session: str, destination: str) -> dict[Way, float]:
    """The ways of the copies that a group owes to one destination, and the share of them that takes each."""
    steps = steps_of(network, network.sessions[network.session_index[session]])
    found: dict[Way, float] = {}
    for route, weight in allocation.splits.get(session, ()):
        passed = zip(route.links, route.statuses, strict=True)
        way = tuple(steps[key].resource for key, owed in passed if destination in owed)
        if way:
            found[way] = found.get(way, 0.0) + weight
    return _shares(found)


def _shares(found: Mapping[Way, float]) -> dict[Way, float]:
    total = sum(found.values())
    kept = {way: amount / total for way, amount in found.items() if amount > RARE * total}
    return {way: share / sum(kept.values()) for way, share in kept.items()}


def spread(laws: PollaczekKhinchine, load: FloatArray, shares: Mapping[Way, float], times: ArrayLike) -> FloatArray:
    """The share of the packets that takes no longer than each time.

    Parameters
    ----------
    load : array of shape (R,)
        Load of each resource, bit/s or work/s; below capacity on every way.
    shares : mapping
        What share of the packets takes each way.
    times : array of shape (T,)
        s.

    Returns
    -------
    array of shape (T,)
        Between 0 and 1, never falling with time.

    Examples
    --------
    >>> from pricing.delay import mm1
    >>> spread(mm1([10.0]), np.array([6.0]), {(0,): 1.0}, [0.25]).round(6)  # 1 - exp(-1)
    array([0.632121])
    """
    moments = np.asarray(times, dtype=float)
    total = np.zeros(moments.shape)
    for fixed, alike in _by_fixed(laws, shares).items():
        late = moments > fixed
        total[late] += _turned_back(laws, load, alike, moments[late] - fixed)
    return np.asarray(np.maximum.accumulate(np.clip(total, 0.0, 1.0)))


def quantiles(
    laws: PollaczekKhinchine, load: FloatArray, shares: Mapping[Way, float], probabilities: ArrayLike
) -> FloatArray | None:
    """The delays, s, that these shares of the packets do not exceed; None where a queue on a way is full.

    Notes
    -----
    O(ways x resources a way x `POINTS`) transforms; the delays are interpolated, within a few per mille.
    """
    passed = sorted({resource for way in shares for resource in way})
    asked = np.asarray(probabilities, dtype=float)
    if not passed or (load[passed] >= laws.capacity[passed]).any():
        return None
    first = min(_by_fixed(laws, shares))
    mean = sum(share * float(laws.delay(load)[list(way)].sum()) for way, share in shares.items())
    span = max(mean - first, 1e-9 + 1e-6 * mean)
    end = span
    while spread(laws, load, shares, [first + end])[0] < asked.max(initial=0.0) and end < 1e4 * span:
        end *= 2
    times = first + np.concatenate([[0.0], np.geomspace(1e-4 * span, end, POINTS)])
    return np.asarray(np.interp(asked, spread(laws, load, shares, times), times))


def named(laws: PollaczekKhinchine, shares: Mapping[Way, float], links: int) -> str:
    """What kinds of queues these ways pass, for people.

    Parameters
    ----------
    links : int
        How many of the resources are links; those after them are servers.

    Examples
    --------
    >>> from pricing.delay import mg1
    >>> named(mg1([1.0, 1.0, 1.0], scv=[0.4, 0.0, 1.0]), {(0, 2): 0.5, (1, 2): 0.5}, 2)
    'links M/D/1 and M/G/1, servers M/M/1'
    """
    passed = sorted({resource for way in shares for resource in way})
    kinds: dict[str, set[str]] = {}
    for resource in passed:
        kind = next((name for v, name in ((0, "D"), (1, "M")) if abs(laws.scv[resource] - v) < 1e-6), "G")
        kinds.setdefault("links" if resource < links else "servers", set()).add(f"M/{kind}/1")
    return ", ".join(f"{what} {' and '.join(sorted(names))}" for what, names in kinds.items())


def _by_fixed(laws: PollaczekKhinchine, shares: Mapping[Way, float]) -> dict[float, dict[Way, float]]:
    """The ways by what every packet of a way takes, s: propagation, and jobs that are all alike."""
    alike = np.where(laws.sojourn & (laws.scv == 0), laws.size / laws.capacity, 0.0)
    every = laws.propagation + alike
    found: dict[float, dict[Way, float]] = {}
    for way, share in shares.items():
        found.setdefault(float(every[list(way)].sum()), {})[way] = share
    return found


def _turned_back(
    laws: PollaczekKhinchine, load: FloatArray, shares: Mapping[Way, float], since: FloatArray
) -> FloatArray:
    """Distribution of what varies on these ways, at times above 0: Euler summation of its transform."""
    order = np.arange(TERMS + AVERAGED + 1)
    s = (ACCURACY + 2j * np.pi * order) / (2 * since[:, None])
    each = {r: _transform(laws, load, r, s) for r in {resource for way in shares for resource in way}}
    mixed = sum(share * np.prod([each[r] for r in way], axis=0) for way, share in shares.items())
    terms = np.where(order == 0, 0.5, (-1.0) ** order) * (mixed / s).real
    sums = np.exp(ACCURACY / 2) / since[:, None] * np.cumsum(terms, axis=1)
    weights = comb(AVERAGED, np.arange(AVERAGED + 1)) / 2.0**AVERAGED
    return np.asarray(sums[:, TERMS:] @ weights)


def _transform(laws: PollaczekKhinchine, load: FloatArray, r: int, s: ComplexArray) -> ComplexArray:
    """E[exp(-s T)] of the time T at a resource, less what is fixed there."""
    alone, v, used = laws.size[r] / laws.capacity[r], laws.scv[r], load[r] / laws.capacity[r]
    job = np.exp(-alone * s) if v == 0 else (1 + v * alone * s) ** (-1 / v)
    wait = (1 - used) * s / (s - used / alone * (1 - job))
    return np.asarray(wait * job if laws.sojourn[r] and v > 0 else wait)
