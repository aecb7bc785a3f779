"""The compiled loop over events where packets have priority classes: `pricing.simulate.loop.follow` for such.

Each resource has a line for each class. Whoever is served is served to the end; then the first packet of the first
class that waits goes on. Who comes in the very moment in which a resource is free is there by then.
"""

from __future__ import annotations

import numpy as np

from pricing.simulate.loop import SERVER, WAIT_LINK, IntArray, _before, _compiled, _pop, _push
from pricing.values import FloatArray


@_compiled
def follow(
    order: IntArray,
    arrival: FloatArray,
    size: FloatArray,
    response: FloatArray,
    work: FloatArray,
    klass: IntArray,
    route: IntArray,
    first: IntArray,
    route_first: IntArray,
    hops: IntArray,
    kind: IntArray,
    capacity: FloatArray,
    queue: IntArray,
    propagation: FloatArray,
    sizes: FloatArray,
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, IntArray, int]:
    """Run the events in order of (time, packets before resources that are free); the fields of `Passage`.

    A link's line of one class holds `queue` packets, a server's lines hold as many together.
    """
    n, count, classes = arrival.size, kind.size, klass.max() + 1
    resource = np.full(first[n], -1, dtype=np.int64)
    at, wait = np.full(first[n], np.nan), np.full(first[n], np.nan)
    reached, ended, returned = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    server_wait, dropped_at = np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
    answers = 0
    busy = np.zeros(count, dtype=np.bool_)
    head, tail = np.full((count, classes), -1), np.full((count, classes), -1)
    waiting, behind = np.zeros((count, classes), dtype=np.int64), np.empty(n, dtype=np.int64)
    times, who, events = np.empty(n + count), np.empty(n + count, dtype=np.int64), 0
    slot = first[:-1].copy()  # the hop that each packet makes next
    fresh = 0  # place in `order` of the next packet to enter
    while fresh < n or events > 0:
        if events > 0 and (fresh == n or _before(times[0], who[0], arrival[order[fresh]], order[fresh])):
            time, event = times[0], who[0]
            _pop(times, who, events)
            events -= 1
        else:
            event = order[fresh]
            time = arrival[event]
            fresh += 1
        if event < n:
            p, s = event, slot[event]
            if s == first[p + 1]:
                if np.isnan(ended[p]):
                    reached[p], ended[p], server_wait[p] = time, time, 0.0
                elif kind[resource[s - 1]] != SERVER:
                    returned[p] = time
                continue
            r, k = hops[route_first[route[p]] + s - first[p]], klass[p]
            resource[s], at[s] = r, time
            if kind[r] == SERVER:
                reached[p] = time
            if busy[r]:
                if (waiting[r].sum() if kind[r] == SERVER else waiting[r, k]) >= queue[r]:
                    dropped_at[p] = r
                    continue
                if head[r, k] < 0:
                    head[r, k] = p
                else:
                    behind[tail[r, k]] = p
                behind[p], tail[r, k] = -1, p
                waiting[r, k] += 1
                continue
        else:
            r, k = event - n, 0
            while k < classes and head[r, k] < 0:
                k += 1
            if k == classes:
                busy[r] = False
                continue
            p = head[r, k]
            head[r, k] = behind[p]
            waiting[r, k] -= 1
            s = slot[p]
        busy[r] = True  # with packet p, which makes its hop s, from now on
        wait[s] = time - at[s]
        if kind[r] == SERVER:
            server_wait[p] = wait[s]
            free = ended[p] = time + work[p]
            answers += s + 1 < first[p + 1]
        else:
            bits = size[p] if np.isnan(ended[p]) else response[p]
            free = time + (sizes[s] if sizes.size else bits) / capacity[r]
        slot[p] = s + 1
        _push(times, who, events, free, n + r)
        _push(times, who, events + 1, (time if kind[r] == WAIT_LINK else free) + propagation[r], p)
        events += 2
    return resource, at, wait, reached, server_wait, ended, returned, dropped_at, answers
