"""Every second another allocation, at random, under 2,000 packets/s: no packet may notice.

The network is the scenario's with links that nothing fills and servers that do not queue, so whatever is lost is lost
by a change of rules. That every packet followed one version of the rules is told by counters: the rules of a label have
counted the same number of packets at every switch of its path after the first, or some packet has left its path, or
joined another's. At the first switch the labels are compared together: when a slot changes its label, Open vSwitch
credits packets that it has not yet accounted for to the new one, though they carried the old one, and a few to none:
those are told and not judged, since only there a packet gets its label.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.faults.ground import Ground
from experiments.faults.rows import NONE_LOST, NONE_TWICE, PACKETS, STEAL, Figure, Row, Seen
from pricing.network import Network, SizeLaw
from topologies.hosts.start import stop

RATE = 2000.0
"""Packets/s of all sessions together."""

SIZE = SizeLaw("fixed", 60.0)
"""Payload in bytes: the frame is as large as its answer."""

ROOM = 4.0
"""A link's capacity over what all sessions send together, answers included (ours)."""

CONNECTIONS = 20
"""TCP connections that are kept open (ours)."""

DOWNLOAD = 50_000
"""Bytes/s of the download."""

SETTLE_S = 1.0
"""After the last packet, until every counter has been pushed: twice the longest round of the revalidators."""

COUNTED = re.compile(r"table=4, n_packets=(\d+), .*dl_dst=02:57:([0-9a-f]{2}):([0-9a-f]{2}):")


def roomy(network: Network) -> Network:
    """The network with 2,000 packets/s, and so much room that no allocation of them fills anything."""
    frame = SIZE.frame_moments[0]
    total = sum(session.packet_rate for session in network.sessions)
    capacity = ROOM * RATE * 2 * frame
    return replace(
        network,
        links=tuple(replace(link, capacity=max(capacity, link.capacity)) for link in network.links),
        servers=tuple(replace(server, capacity=1e3 * server.capacity) for server in network.servers),
        sessions=tuple(
            replace(session, size=SIZE, rate=RATE * session.packet_rate / total * frame, response_bits=frame)
            for session in network.sessions
        ),
    )


def shuffle(ground: Ground) -> Seen:
    """Let the policy decide at random every tick until the traffic ends, with connections open and a download going."""
    session = max((s for s in ground.network.sessions if s.kind == "anycast"), key=lambda session: session.rate)
    host, address = ground.up.emulation.plant.host_at(session.source), ground.up.emulation.plant.address(session)
    log = Path(ground.traffic.folder) / "connections-log.json"
    config = {"address": address, "connections": CONNECTIONS, "period": ground.tick, "log": str(log)}
    program = ground.up.emulation.start(host, "connections", config)
    program.wait_ready()
    size = round(DOWNLOAD * ground.length)
    command = ["mnexec", "-a", str(ground.up.net[host].pid), "curl", "-sS", "-o", "/dev/null", "--limit-rate"]
    command += [str(DOWNLOAD), "-w", "%{size_download}", f"http://{address}/bytes/{size}"]
    download = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    first = len(ground.lines)
    try:
        while ground.traffic.sending or download.poll() is None:
            ground.look()
            time.sleep(0.1)
    finally:
        download.kill()
        downloaded = download.communicate()[0]
        stop([program])
    time.sleep(SETTLE_S)
    lines, labels = ground.lines[first:], _labels(ground)
    strayed, uncredited = balance(labels)
    return Seen(
        {
            "changes": sum(line["rules_changed"] > 0 and not line["error"] for line in lines),
            "rules_changed": sum(line["rules_changed"] for line in lines),
            "failed_ticks": sum(bool(line["error"]) for line in lines),
            "routes": sum(max(label.counts) > 0 for label in labels),
            "mixed": strayed,
            "uncredited": uncredited,
            **json.loads(log.read_text()),
            "downloaded": int(downloaded or 0) / size,
        }
    )


@dataclass(frozen=True)
class Label:
    """A label: where its packets enter (session, whether it is a way back, first node); its count at each switch."""

    entrance: tuple[str, bool, str]
    counts: tuple[int, ...]


def balance(labels: Sequence[Label]) -> tuple[int, int]:
    """Packets that some switches of a label's path counted and others did not; and those that the first alone did not.

    >>> balance([Label(("k", False, "a"), (5, 6, 6)), Label(("k", False, "a"), (4, 3))])
    (0, 0)
    >>> balance([Label(("k", False, "a"), (6, 6, 5)), Label(("k", False, "a"), (4, 3))])
    (2, 0)
    """
    later = sum(max(label.counts[1:]) - min(label.counts[1:]) for label in labels if len(label.counts) > 1)
    # Where a label's path is its first switch alone, nobody else has counted its packets.
    alone = {label.entrance for label in labels if len(label.counts) == 1}
    more: Counter[tuple[str, bool, str]] = Counter()
    for label in labels:
        if label.entrance not in alone:
            more[label.entrance] += label.counts[0] - label.counts[1]
    return later + sum((+more).values()), sum((-more).values())


def _labels(ground: Ground) -> list[Label]:
    """Every label, with what its rules have counted."""
    run, bridges = ground.up.testbed.run, ground.up.emulation.faults.wiring.bridges
    counted: dict[tuple[str, int], int] = {}
    for node, bridge in bridges.items():
        text = run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", bridge, "table=4")
        for packets, high, low in COUNTED.findall(text):
            counted[node, int(high + low, 16)] = int(packets)
    known = [line["routes"] for line in ground.history if "routes" in line][-1]
    return [
        Label(
            (path["session"], path["back"], path["nodes"][0]),
            tuple(counted.get((node, int(number)), 0) for node in path["nodes"]),
        )
        for number, path in known.items()
    ]


HITLESS = Row(
    "hitless",
    "every second another allocation, at random, under 2,000 packets/s; TCP connections are open, a download is going",
    "no packet is lost, duplicated or looped, each follows one version of the rules; connections keep their server",
    (
        PACKETS,
        NONE_LOST,
        NONE_TWICE,
        Figure("changes", "changes", "of the rules that every switch has acknowledged", least=3),
        Figure("rules_changed", "rules", "sent for them"),
        Figure("failed_ticks", "ticks", "that failed"),
        Figure("routes", "routes", "whose labels carried packets, there and back", least=2),
        Figure("mixed", "packets", "counted at some switches of a label's path and not at others", most=0),
        Figure("uncredited", "packets", "counted there, and by no label at the first switch"),
        Figure("pages", "pages", f"that came over {CONNECTIONS} connections", least=CONNECTIONS),
        Figure("moved", "pages", "of these, from another server than the connection's first", most=0),
        Figure("broken", "connections", "that ended", most=0),
        Figure("downloaded", "ratio", "of the file that was downloaded meanwhile", least=1, most=1),
        STEAL,
    ),
    shuffle,
)
