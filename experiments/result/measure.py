"""What a run measured, from the logs of its hosts.

Senders and servers write down every packet (`topologies.hosts.logs`); here both ends are joined by session and sequence
number into one row a request, and the figures of a measured window are taken from the rows. The delay of a request runs
from its sending until its answer leaves the server, and falls into four parts:

    sent --network--> received --wait--> start --work--> departure --late--> left

A packet belongs to the window by the moment it was sent. Seconds in which the machine was not quiet stay in all counts
and are left out of delays, waits and lateness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.result.estimate import Delays, Estimate, delays, mean, percentile, rate, slope
from pricing.network import FRAME_OVERHEAD_BITS, Network
from pricing.simulate.loop import IntArray
from pricing.values import FloatArray
from topologies.hosts.logs import SECOND, SENT, SERVED, Log

Mask = NDArray[np.bool_]
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Window:
    """The time that is measured.

    Parameters
    ----------
    start, end : float
        s of CLOCK_REALTIME; `end` does not belong to it.
    excluded : frozenset of int
        Seconds of that clock in which the machine was not quiet.
    """

    start: float
    end: float
    excluded: frozenset[int] = frozenset()

    @property
    def duration(self) -> float:
        """Seconds, the excluded ones included."""
        return self.end - self.start

    def holds(self, moments: IntArray) -> Mask:
        """Which moments (n,), ns, lie in the window."""
        return (moments >= round(self.start * SECOND)) & (moments < round(self.end * SECOND))

    def quiet(self, moments: IntArray) -> Mask:
        """Which moments (n,), ns, lie in the window and in no excluded second."""
        bad = np.array(sorted(self.excluded), dtype=np.int64)
        return self.holds(moments) & ~np.isin(moments // SECOND, bad)


@dataclass(frozen=True)
class Requests:
    """Every request that was sent, in the order of sending: arrays of shape (N,). NaN says that it was not seen.

    Parameters
    ----------
    session, flow, seq : arrays of int
        Index of the session in the network, flow, and number in the session.
    bits : array of float
        The frame.
    sent : array of int
        ns of CLOCK_REALTIME.
    copies : array of int
        How often it arrived at a server that took it in; 0 when it was lost.
    server : array of int
        Index of the server that took it in first; -1 when it was lost, or came to a host that is no server.
    reordered : array of bool
        Whether it arrived after a later request of its flow.
    network, wait, work, late, delay : arrays of float
        Parts of its delay and their sum, s.
    answered : array of int
        When its answer was back, ns; 0 when it was not.
    """

    session: IntArray
    flow: IntArray
    seq: IntArray
    bits: FloatArray
    sent: IntArray
    copies: IntArray
    server: IntArray
    reordered: Mask
    network: FloatArray
    wait: FloatArray
    work: FloatArray
    late: FloatArray
    delay: FloatArray
    answered: IntArray


@dataclass(frozen=True)
class Parts:
    """Mean parts of the delay, s: way through the network, wait at the server, work, and the server's lateness."""

    network: Estimate
    wait: Estimate
    work: Estimate
    late: Estimate


@dataclass(frozen=True)
class SessionFigures:
    """What one session measured.

    Parameters
    ----------
    sent, received, lost : int
        Requests of the window; received ones counted once.
    duplicated, reordered : int
        Further arrivals of a request; requests that arrived after a later one of their flow.
    excluded : int
        Requests sent in excluded seconds: in the counts, but in no delay.
    answered : int
        Requests whose answer came back.
    offered, delivered : Estimate
        bit/s of frames sent, and of frames received once.
    delay : Delays
    parts : Parts
    round_trip : Estimate
        Mean time from sending to the answer's return, s.
    """

    name: str
    sent: int
    received: int
    lost: int
    duplicated: int
    reordered: int
    excluded: int
    answered: int
    offered: Estimate
    delivered: Estimate
    delay: Delays
    parts: Parts
    round_trip: Estimate


@dataclass(frozen=True)
class ServerFigures:
    """What one server measured.

    Parameters
    ----------
    requests, refused : int
        Requests that arrived in the window and were taken in, and those that found the queue full.
    load : Estimate
        work/s that arrived.
    utilization : float
        Load by capacity.
    wait : Estimate
        Mean wait before the work began, s.
    late_p99 : Estimate
        99th percentile of the time by which answers left after their deadline, s.
    """

    name: str
    requests: int
    refused: int
    load: Estimate
    utilization: float
    wait: Estimate
    late_p99: Estimate


@dataclass(frozen=True)
class Measured:
    """All figures of a window: of sessions and servers in the network's order, and of all requests together.

    Parameters
    ----------
    slope : Estimate
        Growth of the delay, s/s: slope of a line through each quiet second's mean delay; n: seconds.
    """

    sessions: tuple[SessionFigures, ...]
    servers: tuple[ServerFigures, ...]
    delay: Delays
    parts: Parts
    slope: Estimate


def join(
    network: Network, sent: Mapping[str, Log], served: Mapping[str, Log], answers: Mapping[str, Log] | None = None
) -> Requests:
    """One row for each request that was sent, with what became of it.

    Parameters
    ----------
    sent, answers : mapping of session name to log
        Of the senders (`SENT`, `ANSWERED`); a session without a log sent nothing.
    served : mapping of server or host name to log
        Of the servers, and of the hosts where unicast sessions end (`SERVED`). Rows whose moment of sending no sender
        knows belong to another run and are left out.

    Notes
    -----
    O(N log N).
    """
    arrivals = _arrivals(network, served)
    tables = [
        _session_rows(index, sent[session.name], arrivals, (answers or {}).get(session.name), session.answer_frames > 1)
        for index, session in enumerate(network.sessions)
        if session.name in sent
    ]
    tables = tables or [_session_rows(0, np.empty(0, SENT), arrivals, None)]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    order = np.argsort(columns["sent"], kind="stable")
    return Requests(**{name: column[order] for name, column in columns.items()})


def measure(network: Network, requests: Requests, served: Mapping[str, Log], window: Window) -> Measured:
    """The figures of a window.

    Parameters
    ----------
    requests : Requests
        What `join` made of the logs.
    served : mapping of server name to log
    """
    inside, quiet = window.holds(requests.sent), window.quiet(requests.sent)
    sessions = [
        _session_figures(name, requests, inside & mine, quiet & mine, window)
        for name, mine in ((session.name, requests.session == k) for k, session in enumerate(network.sessions))
    ]
    servers = [
        _server_figures(server.name, server.capacity, served[server.name], window)
        for server in network.servers
        if server.name in served
    ]
    return Measured(
        tuple(sessions),
        tuple(servers),
        delays(_known(requests.delay, quiet)),
        _parts(requests, quiet),
        _growth(requests.sent[quiet], requests.delay[quiet]),
    )


def unaccounted(sent: int, received: int, losses: Mapping[str, int]) -> int:
    """Packets that were sent and did not arrive, less those that `losses` counts by place; 0 in a sound run.

    >>> unaccounted(1000, 990, {"sender": 1, "link queues": 9})
    0
    """
    return sent - received - sum(losses.values())


def _arrivals(network: Network, served: Mapping[str, Log]) -> Columns:
    """All requests that servers took in, as columns in the order of their arrival."""
    names = sorted(served)
    logs = [served[name][served[name]["start"] > 0] for name in names]
    rows = np.concatenate([np.empty(0, SERVED), *logs])
    columns: Columns = {name: rows[name].astype(np.int64) for name in SERVED.names or () if name != "work"}
    columns["work"] = rows["work"]
    index = [network.server_index.get(name, -1) for name in names]
    columns["server"] = np.repeat(np.array(index, dtype=np.int64), [len(log) for log in logs])
    order = np.argsort(columns["received"], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def _session_rows(index: int, log: Log, arrivals: Columns, answers: Log | None, several: bool = False) -> Columns:
    """The fields of `Requests` for one session, in the order of its sequence numbers.

    An answer of `several` packets is back when its last one is.
    """
    log = log[log["sent"] > 0]
    log = log[np.argsort(log["seq"], kind="stable")]
    n = len(log)
    rows: Columns = {name: log[name].astype(np.int64) for name in ("seq", "flow", "sent")}
    rows["session"] = np.full(n, index)
    rows["bits"] = log["size"] * 8.0 + FRAME_OVERHEAD_BITS
    mine = np.flatnonzero(arrivals["session"] == index)
    mine = mine[_places(rows["seq"], arrivals["seq"][mine]) < n]
    place = _places(rows["seq"], arrivals["seq"][mine])
    same = rows["sent"][place] == arrivals["sent"][mine]
    mine, place = mine[same], place[same]
    rows["copies"] = np.bincount(place, minlength=n)
    first = np.sort(np.unique(place, return_index=True)[1])
    mine, place = mine[first], place[first]  # each request's first arrival, in the order of arrival
    rows["reordered"] = np.zeros(n, dtype=bool)
    rows["reordered"][place[_overtaken(rows["flow"][place], rows["seq"][place])]] = True
    rows["server"] = np.full(n, -1)
    rows["server"][place] = arrivals["server"][mine]

    def seconds(values: NDArray[Any]) -> FloatArray:
        column = np.full(n, np.nan)
        column[place] = values
        return column

    at = {name: arrivals[name][mine] for name in ("sent", "received", "start", "departure", "left")}
    rows["network"] = seconds((at["received"] - at["sent"]) / SECOND)
    rows["wait"] = seconds((at["start"] - at["received"]) / SECOND)
    rows["work"] = seconds(arrivals["work"][mine])
    rows["late"] = seconds(np.where(at["left"] > 0, (at["left"] - at["departure"]) / SECOND, np.nan))
    rows["delay"] = seconds((at["departure"] - at["sent"]) / SECOND) + rows["late"]
    rows["answered"] = np.zeros(n, dtype=np.int64)
    if answers is not None and n:
        back = answers[_places(rows["seq"], answers["seq"]) < n]
        back = back if several else back[::-1]  # what is written last stays
        rows["answered"][_places(rows["seq"], back["seq"])] = back["received"]
    return rows


def _places(numbers: IntArray, wanted: NDArray[Any]) -> IntArray:
    """Place of each of `wanted` in the ascending `numbers`; their length for what is not there."""
    place = np.searchsorted(numbers, wanted)
    found = place < len(numbers)
    found[found] = numbers[place[found]] == wanted[found]
    return np.where(found, place, len(numbers))


def _overtaken(flow: IntArray, seq: IntArray) -> IntArray:
    """Indices of arrivals, in their order, that come after a higher number of the same flow."""
    order = np.argsort(flow, kind="stable")
    key = flow[order] * 2**33 + seq[order]  # a flow's numbers lie above all numbers of the flows before
    return order[key < np.maximum.accumulate(key)]


def _known(values: FloatArray, mask: Mask) -> FloatArray:
    chosen = values[mask]
    return chosen[np.isfinite(chosen)]


def _parts(requests: Requests, quiet: Mask) -> Parts:
    return Parts(
        *(mean(_known(part, quiet)) for part in (requests.network, requests.wait, requests.work, requests.late))
    )


def _session_figures(name: str, requests: Requests, inside: Mask, quiet: Mask, window: Window) -> SessionFigures:
    got = inside & (requests.copies > 0)
    answered = requests.answered > 0
    back = (requests.answered - requests.sent)[quiet & answered] / SECOND
    return SessionFigures(
        name=name,
        sent=int(inside.sum()),
        received=int(got.sum()),
        lost=int(inside.sum() - got.sum()),
        duplicated=int((requests.copies[got] - 1).sum()),
        reordered=int(requests.reordered[inside].sum()),
        excluded=int(inside.sum() - quiet.sum()),
        answered=int((inside & answered).sum()),
        offered=rate(requests.bits[inside], window.duration),
        delivered=rate(requests.bits[got], window.duration),
        delay=delays(_known(requests.delay, quiet)),
        parts=_parts(requests, quiet),
        round_trip=mean(back),
    )


def _server_figures(name: str, capacity: float, log: Log, window: Window) -> ServerFigures:
    log = log[window.holds(log["received"])]
    taken = log[log["start"] > 0]
    quiet = taken[window.quiet(taken["received"])]
    gone = quiet[quiet["left"] > 0]
    load = rate(taken["work"] * capacity, window.duration)
    return ServerFigures(
        name=name,
        requests=len(taken),
        refused=len(log) - len(taken),
        load=load,
        utilization=load.value / capacity,
        wait=mean((quiet["start"] - quiet["received"]) / SECOND),
        late_p99=percentile((gone["left"] - gone["departure"]) / SECOND, 0.99),
    )


def _growth(sent: IntArray, delay: FloatArray) -> Estimate:
    """Slope of a line through the mean delays of the seconds in which anything was seen."""
    known = np.isfinite(delay)
    seconds, group = np.unique(sent[known] // SECOND, return_inverse=True)
    means = np.bincount(group, delay[known], len(seconds)) / np.maximum(np.bincount(group, minlength=len(seconds)), 1)
    return slope(seconds - seconds[0] if len(seconds) else seconds, means)
