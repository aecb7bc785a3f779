"""What became of every packet: answered once, never, or more often, by the sequence numbers in the hosts' logs.

A packet of a group counts once for each of its destinations, whose hosts take it in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.running.phase import Traffic
from pricing.values import FloatArray
from topologies.hosts.logs import SECOND


@dataclass(frozen=True)
class Packets:
    """Packets in the order of their sessions, and of their destinations.

    Parameters
    ----------
    sent : array of shape (n,)
        Unix time, s.
    times : array of shape (n,)
        How often each was answered; where a session is not answered, how often it was taken in.
    """

    sent: FloatArray
    times: NDArray[np.int64]

    @classmethod
    def of(cls, traffic: Traffic) -> Packets:
        """The packets of traffic that has been stopped; not those to hosts whose servers were killed."""
        requests, answers, served = traffic.logs()
        sent, times = [np.zeros(0)], [np.zeros(0, np.int64)]
        for index, session in enumerate(traffic.network.sessions):
            rows = requests[session.name][0]
            rows = rows[rows["sent"] > 0]
            taken = {host: log["seq"][log["session"] == index] for host, (log, _) in served.items()}
            frames = session.answer_frames if session.response_bits > 0 else 1
            if session.response_bits > 0:
                ends = [answers[session.name][0]["seq"]]
            elif session.kind == "multicast":
                ends = [taken[host] for host in map(traffic.plant.host_at, session.destinations) if host in taken]
            else:
                ends = [np.concatenate(list(taken.values()))]
            for came in ends:
                known, often = np.unique(came, return_counts=True)
                count = dict(zip(known.tolist(), often.tolist(), strict=True))
                sent.append(rows["sent"] / SECOND)
                times.append(np.array([count.get(number, 0) // frames for number in rows["seq"].tolist()], np.int64))
        return cls(np.concatenate(sent), np.concatenate(times))

    def between(self, start: float, end: float) -> Packets:
        """Those sent from `start` to before `end`, Unix times."""
        inside = (self.sent >= start) & (self.sent < end)
        return Packets(self.sent[inside], self.times[inside])

    def figures(self, moment: float | None) -> dict[str, float | None]:
        """How many there are, were lost and were duplicated; and how long after `moment` the last lost one was sent."""
        lost = self.sent[self.times == 0]
        last = max(float(lost.max()) - moment, 0.0) if len(lost) and moment is not None else 0.0
        return {
            "packets": len(self.sent),
            "lost": len(lost),
            "duplicated": int((self.times > 1).sum()),
            "last_lost_s": last,
        }
