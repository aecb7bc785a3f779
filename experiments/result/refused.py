"""What was refused at the ingress, when, and which requests that were.

A market sheds what is not worth its price, and whatever the policy, a network that can carry no more lets a part in:
slots without a route. While a run settles that may well happen, since estimates of demand are rough then. In the time
measured only a market may do it, whose answer it is. Of any other policy the report says how many were refused: its
delays are those of the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.labels import REFUSED
from experiments.result.choices import NOWHERE, Choices
from experiments.result.measure import Mask, Requests
from pricing.network import Network
from topologies.hosts.logs import SECOND

AROUND_S = 1.0
"""So long before or after its sending a lost request's slot may have been refused: switches change within it (ours)."""


@dataclass(frozen=True)
class Spell:
    """A time in which part of a session was refused.

    Parameters
    ----------
    session : str
    start, end : float
        s after the beginning of the time measured: below 0 while the run settled.
    share : float
        Largest part of its slots that was refused meanwhile.
    """

    session: str
    start: float
    end: float
    share: float

    def __str__(self) -> str:
        return f"{self.session} {self.share:.1%} from {self.start:.0f} to {self.end:.0f} s"

    def as_json(self) -> dict[str, Any]:
        """An entry of `refused`."""
        return {"session": self.session, "start_s": self.start, "end_s": self.end, "share": self.share}


def spells(records: Iterable[Mapping[str, Any]], begun: float, window: tuple[float, float]) -> list[Spell]:
    """What was refused in a phase, by session and time.

    Parameters
    ----------
    records : iterable of mapping
        The controller's lines, in order.
    begun : float
        When the phase began, Unix time, s; what was refused before is no part of it.
    window : pair of float
        Unix times of the time measured.
    """
    tables: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for session, slots in record.get("slots", {}).items():
            tables.setdefault(session, []).append((float(record["installed"]), slots.count(REFUSED) / len(slots)))
    found: list[Spell] = []
    zero, last = window
    for session, steps in sorted(tables.items()):
        ends = [*(when for when, _ in steps[1:]), last]
        since, most = 0.0, 0.0
        for (when, share), until in zip(steps, ends, strict=True):
            start, end = max(when, begun), min(until, last)
            if not share or end <= start:
                continue
            if most and found[-1].end == start - zero:
                found.pop()
            else:
                since, most = start - zero, 0.0
            most = max(most, share)
            found.append(Spell(session, since, end - zero, most))
    return found


def turned_away(network: Network, requests: Requests, choices: Mapping[str, Choices]) -> Mask:
    """Which requests (N,) were refused: they did not arrive, and about then their slot had no route."""
    found = np.zeros(len(requests.sent), dtype=bool)
    for index, session in enumerate(network.sessions):
        mine = np.flatnonzero((requests.session == index) & (requests.copies == 0))
        for late in (-AROUND_S, 0.0, AROUND_S) if len(mine) else ():
            sent = requests.sent[mine] + round(late * SECOND)
            found[mine] |= choices[session.name].take(sent, requests.flow[mine]) == NOWHERE
    return found
