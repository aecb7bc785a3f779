"""The compiled part of the packet simulation: the loop over events, its heap, and Lindley's recursion.

Plain functions of arrays that trust their input; `pricing.simulate.packets` says what they mean and checks what it
passes. Compiled once by Numba and kept beside the sources; no function holds Python's lock while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pricing.values import FloatArray

IntArray = NDArray[np.int64]

WAIT_LINK, SOJOURN_LINK, SERVER = 0, 1, 2

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True)


@_compiled
def lindley(arrivals: FloatArray, services: FloatArray) -> FloatArray:
    """Waits (N,) in one queue; see `pricing.simulate.packets.lindley`."""
    waits = np.empty(arrivals.size)
    free = -np.inf
    for k in range(arrivals.size):
        start = max(free, arrivals[k])
        waits[k] = start - arrivals[k]
        free = start + services[k]
    return waits


@_compiled
def _before(time: float, packet: int, other_time: float, other: int) -> bool:
    """Whether one event comes before another: by time, then by packet."""
    return time < other_time or (time == other_time and packet < other)


@_compiled
def _push(times: FloatArray, who: IntArray, count: int, time: float, packet: int) -> None:
    """Put (time, packet) into the binary heap of `count` events."""
    place = count
    while place > 0:
        above = (place - 1) >> 1
        if _before(times[above], who[above], time, packet):
            break
        times[place], who[place] = times[above], who[above]
        place = above
    times[place], who[place] = time, packet


@_compiled
def _pop(times: FloatArray, who: IntArray, count: int) -> None:
    """Take the first event out of the binary heap of `count` events."""
    last = count - 1
    time, packet = times[last], who[last]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= last:
            break
        if below + 1 < last and _before(times[below + 1], who[below + 1], times[below], who[below]):
            below += 1
        if _before(time, packet, times[below], who[below]):
            break
        times[place], who[place] = times[below], who[below]
        place = below
    times[place], who[place] = time, packet


@_compiled
def follow(
    order: IntArray,
    arrival: FloatArray,
    size: FloatArray,
    response: FloatArray,
    work: FloatArray,
    route: IntArray,
    first: IntArray,
    route_first: IntArray,
    hops: IntArray,
    kind: IntArray,
    capacity: FloatArray,
    queue: IntArray,
    propagation: FloatArray,
    ring: IntArray,
    sizes: FloatArray,
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, IntArray, int]:
    """Run the events in order of (time, packet); returns the fields of `Passage` after `first`."""
    n = arrival.size
    resource = np.full(first[n], -1, dtype=np.int64)
    at, wait = np.full(first[n], np.nan), np.full(first[n], np.nan)
    reached, ended, returned = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    server_wait, dropped_at = np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
    answers = 0
    free = np.full(kind.size, -np.inf)  # when each resource has served all that it took
    taken = np.zeros(kind.size, dtype=np.int64)
    starts = np.empty(ring[kind.size])  # of the last `queue` services at each resource, as rings
    times, who, count = np.empty(n), np.empty(n, dtype=np.int64), 0
    slot = first[:-1].copy()  # the hop that each packet makes next
    fresh = 0  # place in `order` of the next packet to enter
    while fresh < n or count > 0:
        if count > 0 and (fresh == n or _before(times[0], who[0], arrival[order[fresh]], order[fresh])):
            time, p = times[0], who[0]
            _pop(times, who, count)
            count -= 1
        else:
            p = order[fresh]
            time = arrival[p]
            fresh += 1
        while True:  # walk on for as long as this packet's next event is the first of all
            s = slot[p]
            if s == first[p + 1]:
                if np.isnan(ended[p]):
                    reached[p], ended[p], server_wait[p] = time, time, 0.0
                elif kind[resource[s - 1]] != SERVER:
                    returned[p] = time
                break
            r = hops[route_first[route[p]] + s - first[p]]
            resource[s], at[s] = r, time
            if kind[r] == SERVER:
                reached[p] = time
            place = ring[r] + taken[r] % (ring[r + 1] - ring[r])
            if taken[r] >= queue[r] and starts[place] > time:  # the packet taken `queue` ago still waits
                dropped_at[p] = r
                break
            start = max(free[r], time)
            starts[place] = start
            taken[r] += 1
            wait[s] = start - time
            if kind[r] == SERVER:
                server_wait[p] = start - time
                ended[p] = free[r] = start + work[p]
                answers += s + 1 < first[p + 1]
            else:
                bits = size[p] if np.isnan(ended[p]) else response[p]
                free[r] = start + (sizes[s] if sizes.size else bits) / capacity[r]
            time = (start if kind[r] == WAIT_LINK else free[r]) + propagation[r]
            slot[p] = s + 1
            waits_for_entry = fresh < n and _before(arrival[order[fresh]], order[fresh], time, p)
            if waits_for_entry or (count > 0 and _before(times[0], who[0], time, p)):
                _push(times, who, count, time, p)
                count += 1
                break
    return resource, at, wait, reached, server_wait, ended, returned, dropped_at, answers
