"""Members of a group that join and leave by plain sockets, every few seconds, beside others that stay.

Who comes and goes is asked of each flow of its own, because a flow has one slot and a slot one tree: from the first
packet of a flow that comes, all of its packets come until the member leaves, or there is a hole. A join is served when
no flow is left of which packets do not come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experiments.faults.ground import Ground
from experiments.faults.rows import STEAL, Figure, Figures, Row, Seen
from experiments.result.groups import bound
from experiments.running.phase import Traffic
from pricing.network import Network, Session
from pricing.values import FloatArray
from topologies.hosts.logs import SECOND, Log, load
from topologies.hosts.start import stop

POLICY = "gdcnc"
"""The policy whose groups these are."""

SHARE = 0.8
"""The rate over the policy's bound."""

QUEUE = 5000
"""Packets that each link's queue holds at least: what is lost is not lost to a burst (ours)."""

STAYS_S, AWAY_S = (3.0, 6.0), (4.0, 7.0)
"""Shortest and longest time for which a member stays, and for which it is away: longer than a leave may take (ours)."""

FIRST_S = 2.0
"""Until the first of them may join (ours)."""


def group_of(network: Network) -> Session | None:
    """The group with the most destinations; None without any."""
    groups = [session for session in network.sessions if session.kind == "multicast"]
    return max(groups, key=lambda session: len(session.destinations), default=None)


def comers(network: Network) -> tuple[str, ...]:
    """Destinations that come and go: every other one of the group, but for those at which other sessions end too."""
    group = group_of(network)
    taken = {node for session in network.sessions if session != group for node in session.destinations}
    return tuple(node for node in group.destinations[1::2] if node not in taken) if group else ()


def ample(network: Network) -> Network:
    """The network with queues in which nothing is lost."""
    return replace(network, links=tuple(replace(link, queue=max(link.queue, QUEUE)) for link in network.links))


def lively(network: Network) -> Network:
    """The network whose group follows its hosts, with long queues, at the share of the policy's bound."""
    group = group_of(network)
    sessions = (replace(one, joined=True) if one == group else one for one in network.sessions)
    return ample(replace(network, sessions=tuple(sessions)).with_demand(SHARE * bound(network, POLICY)))


def turns(seed: int, start: float, length: float) -> list[tuple[float, float]]:
    """When a member joins and when it leaves, s, at random from `start` on for so long."""
    draw, now = np.random.default_rng(seed), start - AWAY_S[0]
    found: list[tuple[float, float]] = []
    while True:
        joins = now + draw.uniform(*AWAY_S)
        now = joins + draw.uniform(*STAYS_S)
        if now > start + length:
            return found
        found.append((joins, now))


def come_and_go(ground: Ground) -> Seen:
    """Let members join and leave until the traffic ends."""
    group, nodes = group_of(ground.network), comers(ground.network)
    assert group is not None
    emulation, number = ground.up.emulation, ground.network.session_index[group.name]
    start, programs, logs = time.time() + FIRST_S, [], []
    for place, node in enumerate(nodes):
        host = emulation.plant.host_at(node)
        ground.traffic.kill_server(host)  # which was a member, and leaves with it
        logs.append(Path(ground.traffic.folder) / f"member-{host}")
        when = turns(1000 * ground.seed + place, start, ground.length)
        config = {"group": group.group, "session": number, "turns": when, "log": str(logs[-1])}
        programs.append(emulation.start(host, "member", config))
    first = len(ground.lines)
    for program in programs:
        program.wait_ready()
    while ground.traffic.sending:
        ground.look()
        for program in programs:
            program.check()
        time.sleep(0.1)
    stop(programs)
    lines = ground.lines[first:]
    refused = [1 - line["served"][group.name] for line in lines]
    figures = {"refused": max(refused, default=None), "failed_ticks": sum(bool(line["error"]) for line in lines)}
    return Seen(figures, later=lambda traffic: judged(traffic, group.name, logs))


def judged(traffic: Traffic, name: str, logs: list[Path]) -> Figures:
    """What became of everyone that came and went, by the logs of hosts."""
    sent = traffic.logs()[0][name][0]
    visits: list[Visit] = []
    twice = 0
    for path in logs:
        heard, told = load(path.with_name(path.name + ".npy"))
        twice += len(heard) - len(np.unique(heard["seq"]))
        visits += visits_of(sent, heard, np.array(told["turns"], np.int64).reshape(-1, 2) / SECOND)
    return {
        "joins": len(visits),
        "join_s": max((visit.join_s for visit in visits), default=None),
        "leave_s": max((visit.leave_s for visit in visits), default=None),
        "came": sum(visit.owed for visit in visits),
        "holes": sum(visit.holes for visit in visits),
        "came_twice": twice,
    }


@dataclass(frozen=True)
class Visit:
    """One time that a member was there: packets of flows that it was served, those of them that did not come, and how
    long joining and leaving took, s."""

    owed: int
    holes: int
    join_s: float
    leave_s: float


def visits_of(sent: Log, heard: Log, turns: FloatArray) -> list[Visit]:
    """Every time that a member was there and packets were sent until it could be seen to be gone.

    Parameters
    ----------
    sent : SENT
        The session's packets.
    heard : ANSWERED
        What came over the wire of the member's host.
    turns : (N, 2)
        When it joined and left, Unix times, s.
    """
    sent = sent[sent["sent"] > 0]
    came, at, flow = np.isin(sent["seq"], heard["seq"]), sent["sent"] / SECOND, sent["flow"]
    received, last = heard["received"] / SECOND, at.max(initial=0.0)
    found = []
    for place, (joins, leaves) in enumerate(turns):
        until = turns[place + 1, 0] if place + 1 < len(turns) else np.inf
        if last < leaves + AWAY_S[0]:
            break
        inside = (at >= joins) & (at < leaves)
        served = np.full(int(flow.max()) + 1, np.inf)
        np.minimum.at(served, flow[inside & came], at[inside & came])
        owed = inside & (at >= served[flow])
        late = at[inside & ~owed]
        after = received[(received >= leaves) & (received < until)]
        found.append(
            Visit(
                int(owed.sum()),
                int((owed & ~came).sum()),
                float(late.max(initial=joins) - joins),
                float(after.max(initial=leaves) - leaves),
            )
        )
    return found


MEMBERS = Row(
    "members",
    "every other member of the group joins and leaves every few seconds, by a plain socket, "
    f"at {SHARE:g} of the bound of {POLICY}",
    "who stays has every packet once, and who comes has too, from being served until it leaves; neither takes long",
    (
        Figure("packets", "packets", "copies that were owed to members that stay, while the row was run"),
        Figure("lost", "packets", "of these, copies that never came", most=0),
        Figure("duplicated", "packets", "of these, copies that came more than once", most=0),
        Figure("joins", "joins", "that a leave followed, and then a while in which nothing may come", least=1),
        Figure(
            "join_s",
            "s",
            "longest time from a join to the last packet of a flow that was not served yet",
            most=1.5,
            timing=True,
        ),
        Figure(
            "leave_s",
            "s",
            "longest time from a leave to the last packet that reached the host",
            most=3.0,
            timing=True,
        ),
        Figure("came", "packets", "of flows that were served to members that come, until they left", least=1),
        Figure("holes", "packets", "of these, packets that did not come", most=0),
        Figure("came_twice", "packets", "that came to members that come more than once, at any time", most=0),
        Figure("refused", "ratio", "of the demand at most, as told", most=1e-6),
        Figure("failed_ticks", "ticks", "that failed"),
        STEAL,
    ),
    come_and_go,
)
