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

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from experiments.result.assemble import Account
from pricing.multicast.epochs import DISTANCE
from pricing.multicast.region import largest_scale, relays_of, tree_choices, unicast_choices
from pricing.multicast.status import trees
from pricing.multicast.virtual import instance_of
from pricing.network import FRAME_OVERHEAD_BITS, Network, Session
from pricing.problem import problem_of
from pricing.shortest import shortest_path

USED = 0.10
"""Loads of links above this utilization, measured or decided, are held against each other (ours)."""

TOLERANCE = 0.05
"""Measured against decided load of a link."""


@dataclass(frozen=True)
class Received:
    """What one destination of a group received of the packets sent in the time measured."""

    session: str
    destination: str
    sent: int
    received: int
    duplicated: int

    @property
    def lost(self) -> int:
        """Packets that did not arrive."""
        return self.sent - self.received


def has_groups(network: Network) -> bool:
    """Whether a session is multicast."""
    return any(session.kind == "multicast" for session in network.sessions)


def received(account: Account) -> list[Received]:
    """Every destination of every group, by the sequence numbers in the logs of its host."""
    found = []
    for index, session in enumerate(account.network.sessions):
        if session.kind == "multicast":
            found += [_received(account, session, index, node) for node in session.destinations]
    return found


def _received(account: Account, session: Session, index: int, node: str) -> Received:
    sent = account.log.requests[session.name][0]
    sent = sent["seq"][account.window.holds(sent["sent"])]
    rows = account.log.served[account.plant.host_at(node)][0]
    seen = rows["seq"][rows["session"] == index]
    seen = seen[np.isin(seen, sent)]
    once = len(np.unique(seen))
    return Received(session.name, node, len(sent), once, len(seen) - once)


def bound(network: Network, policy: str) -> float:
    """The largest multiple of the sessions' rates that a policy's own linear program carries.

    Raises
    ------
    WardropError
        When a session is anycast.
    """
    if policy in ("edspa", "shortest-path"):
        problem = problem_of(network)
        return float(1 / (problem.loads(shortest_path(network)) / problem.capacity).max())
    instance = instance_of(network, 1.0)
    allowed = None
    if policy == "dcnc":
        allowed = [unicast_choices(len(cast.destinations)) for cast in instance.casts]
    elif policy.endswith("-r"):
        every = trees(instance, DISTANCE, 1, 0)
        allowed = [tree_choices(mine, relays_of(instance, k), local=False) for k, mine in enumerate(every)]
    return largest_scale(instance, allowed).scale


def run(account: Account) -> dict[str, Any]:
    """One phase: its destinations, its links, its copies, its verdicts."""
    network, policy = account.network, account.log.policy
    offered = np.array([_offered(account, session) for session in network.sessions])
    decided = problem_of(network).loads(account.allocation, offered)[: len(network.links)]
    measured = account.loads.mean(axis=0)
    busy = np.maximum(decided, measured) >= USED * problem_of(network).capacity[: len(network.links)]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(busy, np.abs(measured / decided - 1), 0.0)
    ends = received(account)
    lost = [record["lost_in_extraction"] for record in account.records]
    return {
        "policy": policy,
        "duration_s": account.log.measure,
        "offered_bps": {session.name: rate for session, rate in zip(network.sessions, offered.tolist(), strict=True)},
        "bound": bound(network, policy),
        "destinations": [{**vars(end), "lost": end.lost} for end in ends],
        "links": [
            {"src": link.src, "dst": link.dst, "capacity_bps": link.capacity, "load_bps": x, "decided_bps": y}
            for link, x, y in zip(network.links, measured.tolist(), decided.tolist(), strict=True)
        ],
        "copies": {"measured": float(measured.sum() / offered.sum()), "decided": float(decided.sum() / offered.sum())},
        "lost_in_extraction": float(np.mean([max(each.values(), default=0.0) for each in lost] or [0.0])),
        "excluded_s": float(len(account.window.excluded)),
        "failed_ticks": sum(record["error"] is not None for record in account.records),
        "verdicts": [
            _verdict("packets lost", sum(end.lost for end in ends), 0),
            _verdict("packets duplicated", sum(end.duplicated for end in ends), 0),
            _verdict("load of a link off the decided", float(off.max()), TOLERANCE),
        ],
    }


def _offered(account: Account, session: Session) -> float:
    """bit/s of frames that a session sent in the time measured."""
    sent = account.log.requests[session.name][0]
    inside = account.window.holds(sent["sent"])
    return float((sent["size"][inside].astype(float) * 8 + FRAME_OVERHEAD_BITS).sum() / account.window.duration)


def _verdict(name: str, measured: float, limit: float) -> dict[str, Any]:
    return {"name": name, "measured": measured, "limit": limit, "verdict": "met" if measured <= limit else "not met"}


def table(runs: list[dict[str, Any]]) -> Table:
    """What the terminal shows: a row a policy."""
    head = ("policy", "offered", "of its bound", "sent", "lost", "twice", "link off by", "copies", "decided", "no tree")
    shown = Table(*head)
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
            f"{each['copies']['measured']:.3f}",
            f"{each['copies']['decided']:.3f}",
            f"{each['lost_in_extraction']:.1%}",
        )
    return shown
