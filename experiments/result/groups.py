"""What a run with groups measured: each destination's packets, and the loads of links against those decided.

Packets of a group become several on the way, so there is no packet simulation of them; what is held against what was
measured is the decision itself: where its trees make copies, and how many. Beside the rate stands the policy's own
**bound**, the largest rate that its linear program carries on the network as emulated:

| policy | its bound |
|---|---|
| `edspa`, `shortest-path` | the smallest capacity over load on its fixed tree |
| `dcnc` | a copy for each destination from the source on |
| `gdcnc-r`, `egdcnc-r` | the choices of its duplication tree |
| others | everything: all duplications |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from experiments.result import schema
from experiments.result.assemble import Account, head
from experiments.result.estimate import Estimate, mean
from experiments.result.verdicts import count, entry
from pricing.joint.feasible import least_top_utilization
from pricing.multicast.epochs import DISTANCE
from pricing.multicast.region import largest_scale, relays_of, tree_choices, unicast_choices
from pricing.multicast.status import trees
from pricing.multicast.virtual import instance_of
from pricing.network import FRAME_OVERHEAD_BITS, Allocation, Network, Session
from pricing.policy import base_of
from pricing.problem import problem_of
from pricing.shortest import shortest_path
from pricing.simulate.loop import IntArray
from pricing.spread import ways_to
from pricing.values import FloatArray
from topologies.hosts.logs import SECOND, Log

USED = 0.10
"""Loads of links above this utilization, measured or decided, are held against each other (ours)."""

TOLERANCE = 0.05
"""Measured against decided load of a link."""


@dataclass(frozen=True)
class Arrivals:
    """What one end of a session received: a destination of a group, or all servers of a service together.

    Attributes
    ----------
    sent, left : (N,)
        When each packet was sent, and when it arrived for the first time and was through, s; NaN where it was lost.
    times : (N,)
        How often it arrived.
    """

    session: str
    destination: str
    sent: FloatArray
    left: FloatArray
    times: IntArray


@dataclass(frozen=True)
class Received:
    """What one destination of a group received of the packets sent in the time measured, and how long they took, s."""

    session: str
    destination: str
    sent: int
    received: int
    duplicated: int
    took: FloatArray

    @property
    def lost(self) -> int:
        """Packets that did not arrive."""
        return self.sent - self.received

    @property
    def delay(self) -> Estimate:
        """Mean delay, s."""
        return mean(self.took)

    def as_json(self, law: schema.Law) -> dict[str, Any]:
        """An entry of `groups[].destinations`, with the law of its delays by the model."""
        told = {name: getattr(self, name) for name in ("session", "destination", "sent", "received", "lost")}
        spread = schema.distribution(self.took, [], law)
        return told | {"duplicated": self.duplicated, "delay_s": self.delay.as_json(), "delay_histogram": spread}


def has_groups(network: Network) -> bool:
    """Whether a session is multicast."""
    return any(session.kind == "multicast" for session in network.sessions)


def arrivals(account: Account) -> list[Arrivals]:
    """Every packet at every end that it is owed to, by the sequence numbers in the logs of hosts."""
    found = []
    for index, session in enumerate(account.network.sessions):
        hosts = [name if session.kind == "anycast" else account.plant.host_at(name) for name in session.destinations]
        ends = zip(session.destinations, [[host] for host in hosts], strict=True)
        for destination, at in ends if session.kind == "multicast" else [(session.service, hosts)]:
            rows = np.concatenate([account.log.served[host][0] for host in at if host in account.log.served])
            rows = rows[(rows["session"] == index) & (rows["left"] > 0)]
            found.append(_arrivals(session.name, destination, account.log.requests[session.name][0], rows))
    return found


def _arrivals(session: str, destination: str, sent: Log, rows: Log) -> Arrivals:
    sent = sent[sent["sent"] > 0]
    rows = rows[np.argsort(rows["left"], kind="stable")]
    numbers, first, times = np.unique(rows["seq"], return_index=True, return_counts=True)
    _, here, there = np.intersect1d(sent["seq"], numbers, assume_unique=True, return_indices=True)
    left, often = np.full(len(sent), np.nan), np.zeros(len(sent), dtype=np.int64)
    left[here], often[here] = rows["left"][first][there] / SECOND, times[there]
    return Arrivals(session, destination, sent["sent"] / SECOND, left, often)


def received(account: Account) -> list[Received]:
    """Every destination of every group, in the time measured."""
    groups = {session.name for session in account.network.sessions if session.kind == "multicast"}
    return [_received(account, end) for end in arrivals(account) if end.session in groups]


def _received(account: Account, end: Arrivals) -> Received:
    moments = np.rint(end.sent * SECOND).astype(np.int64)
    inside = account.window.holds(moments)
    often, took = end.times[inside], (end.left - end.sent)[account.window.quiet(moments)]
    once = int((often > 0).sum())
    return Received(end.session, end.destination, len(often), once, int(often.sum()) - once, took[np.isfinite(took)])


def _law(account: Account, end: Received, load: FloatArray) -> schema.Law:
    """How the delays of what a destination is owed spread by the model, at the decided loads (R,)."""
    ways = ways_to(account.network, account.allocation, end.session, end.destination)
    return schema.law(account.network, ways, load)


def bound(network: Network, policy: str) -> float:
    """The largest multiple of the sessions' rates that a policy's own linear program carries.

    Where no session is multicast, answers count too: then every policy that may choose has the same bound, that of the
    least top utilization. Beside groups the programs know of no answers.
    """
    policy = base_of(policy)
    if policy in ("edspa", "shortest-path"):
        return 1 / _top(network, shortest_path(network))
    if not has_groups(network):
        free = 0.5 / _top(network, shortest_path(network))  # a demand that can be carried for sure
        return free / _top(network.with_demand(free), least_top_utilization(network.with_demand(free)))
    instance = instance_of(network, 1.0)
    allowed = None
    if policy == "dcnc":
        allowed = [unicast_choices(len(cast.destinations)) for cast in instance.casts]
    elif policy.endswith("-r"):
        every = trees(instance, DISTANCE, 1, 0)
        allowed = [tree_choices(mine, relays_of(instance, k), local=False) for k, mine in enumerate(every)]
    return largest_scale(instance, allowed).scale


def _top(network: Network, allocation: Allocation) -> float:
    """Utilization of the fullest link or server."""
    problem = problem_of(network)
    return float((problem.loads(allocation) / problem.capacity).max())


def run(account: Account) -> dict[str, Any]:
    """One phase: its destinations, its links, its copies, its verdicts."""
    network, policy = account.network, account.log.policy
    offered = np.array([_offered(account, session) for session in network.sessions])
    load = problem_of(network).loads(account.allocation, offered)
    decided, work = np.split(load, [len(network.links)])
    measured = account.loads.mean(axis=0)
    loads = [account.link_load(index) for index in range(len(network.links))]
    busy = np.maximum(decided, measured) >= USED * problem_of(network).capacity[: len(network.links)]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(busy, np.abs(measured / decided - 1), 0.0)
    ends = received(account)
    owed = f"of {sum(end.sent for end in ends)} that destinations were owed in the time measured"
    lost = [record["lost_in_extraction"] for record in account.records]
    return {
        "policy": policy,
        "duration_s": account.log.measure,
        "offered_bps": {session.name: rate for session, rate in zip(network.sessions, offered.tolist(), strict=True)},
        "bound": bound(network, policy),
        "destinations": [end.as_json(_law(account, end, load)) for end in ends],
        "cost_bps": {"measured": float(measured.sum()), "decided": float(decided.sum())},
        "trees": [
            {"session": name, "route": route, "decided": min(weight, 1.0)}
            for name, split in account.decided.items()
            for route, weight in sorted(split.items(), key=lambda pair: -pair[1])
        ],
        "links": [
            {
                "src": link.src,
                "dst": link.dst,
                "capacity_bps": link.capacity,
                "load_bps": found.as_json(),
                "decided_bps": decided_load,
                "utilization": found.value / link.capacity,
                "price": account.price("links", index),
            }
            for index, (link, found, decided_load) in enumerate(
                zip(network.links, loads, decided.tolist(), strict=True)
            )
        ],
        "servers": [
            {
                "name": server.name,
                "capacity": server.capacity,
                "load": (told := mean(np.array([each["servers"][j]["load"] for each in account.records]))).as_json(),
                "decided": float(work[j]),
                "utilization": told.value / server.capacity,
                "price": account.price("servers", j),
            }
            for j, server in enumerate(network.servers)
        ],
        "copies": {
            "measured": mean(account.loads.sum(axis=1) / offered.sum()).as_json(),
            "decided": float(decided.sum() / offered.sum()),
        },
        "lost_in_extraction": float(np.mean([max(each.values(), default=0.0) for each in lost] or [0.0])),
        "excluded_s": float(len(account.window.excluded)),
        "failed_ticks": sum(record["error"] is not None for record in account.records),
        "steal": float(np.mean([second.steal for second in account.log.seconds] or [0.0])),
        "ticks": schema.ticks(account.log.records, account.log.window),
        "verdicts": [
            count("packets lost", sum(end.lost for end in ends), owed),
            count("packets duplicated", sum(end.duplicated for end in ends), owed),
            _farthest(account, decided, off),
        ],
    }


def _offered(account: Account, session: Session) -> float:
    """bit/s of frames that a session sent in the time measured."""
    sent = account.log.requests[session.name][0]
    inside = account.window.holds(sent["sent"])
    return float((sent["size"][inside].astype(float) * 8 + FRAME_OVERHEAD_BITS).sum() / account.window.duration)


def _farthest(account: Account, decided: FloatArray, off: FloatArray) -> dict[str, Any]:
    """The verdict on the link whose load is farthest from the decided."""
    place, tolerance = int(off.argmax()), TOLERANCE
    link, load, says = account.network.links[place], account.link_load(place), float(decided[place])
    share = Estimate(float(off[place]), load.ci95 / says if says > 0 else np.inf, load.n)
    note = f"{link}, the farthest off of those above {USED:.0%} of their capacity"
    return entry(
        "load of a link off the decided",
        share,
        tolerance,
        None,
        "met" if off[place] <= tolerance else "not met",
        note,
        "ratio",
    )


def report(
    accounts: Sequence[Account], scenario: str, seed: int, command: str, machine: dict[str, Any]
) -> dict[str, Any]:
    """The result file's content for a network with groups: `groups` in place of `runs`."""
    return head(accounts, scenario, seed, command, machine) | {"groups": [run(account) for account in accounts]}


def _delay(ends: list[dict[str, Any]]) -> float:
    """Mean delay of a copy, s."""
    copies = sum(end["received"] for end in ends)
    return sum((end["delay_s"]["value"] or 0.0) * end["received"] for end in ends) / copies if copies else 0.0


def table(runs: list[dict[str, Any]]) -> Table:
    """What the terminal shows: a row a policy. The cost is bits x unit cost, Mbit/s, where a bit costs 1 a link."""
    head = "policy,offered,of its bound,sent,lost,twice,link off by,cost,delay,copies,decided,no tree"
    shown = Table(*head.split(","))
    for each in runs:
        ends, (_, _, load) = each["destinations"], each["verdicts"]
        shown.add_row(
            each["policy"],
            f"{sum(each['offered_bps'].values()) / 1e6:.3f} Mbit/s",
            f"{1 / each['bound']:.3f}",
            str(sum(end["sent"] for end in ends)),
            str(sum(end["lost"] for end in ends)),
            str(sum(end["duplicated"] for end in ends)),
            f"{load['measured']:.1%}",
            f"{each['cost_bps']['measured'] / 1e6:.3f}",
            f"{1e3 * _delay(ends):.2f} ms",
            f"{each['copies']['measured']['value']:.3f}",
            f"{each['copies']['decided']:.3f}",
            f"{each['lost_in_extraction']:.1%}",
        )
    return shown
