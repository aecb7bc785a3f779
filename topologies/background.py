"""Traffic of no session: what else is on the links while sessions are measured, and how it is run.

Three kinds: `tcp` and `udp` by iperf3 from node to node, and `http`, pages of a service fetched at random times. The
controller sees it as everything else that loads a link or server; models and packet simulation do not know of it. What
came of each is a mapping, in the result file under `runs[].background`: what was asked, sent and received.

iperf3's packets go hop by hop along shortest paths. A page is a TCP connection with a service: it takes the routes of
the session from that source, which must be there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from topologies.plant import Plant

FIRST_PORT = 5201
"""TCP and UDP port of the first iperf3; each has one of its own."""

Part = tuple[str, str, str, Mapping[str, Any]]
"""A program: its name, the host that it runs in, its module in `topologies.hosts`, and its configuration."""


@dataclass(frozen=True)
class Background:
    """One stream of background traffic.

    Parameters
    ----------
    kind : 'tcp', 'udp' or 'http'
    source : str
        Node where it starts.
    destination : str
        Node where it goes; of `http` the service.
    rate : float
        bit/s of payload, of `tcp` 0 for as fast as it goes; of `http` pages/s.
    payload : int
        Bytes in a packet of `udp`.
    streams : int
        Connections of `tcp` and `udp` side by side, which share the rate.
    """

    name: str
    kind: Literal["tcp", "udp", "http"]
    source: str
    destination: str
    rate: float
    payload: int = 1000
    streams: int = 1

    @property
    def places(self) -> tuple[str, ...]:
        """Nodes that need a host for it."""
        return (self.source,) if self.kind == "http" else (self.source, self.destination)


def listening(background: Collection[Background], plant: Plant) -> Iterator[Part]:
    """What has to be there before the first packet: an iperf3 server for each stream of its own."""
    for port, each in enumerate(background, FIRST_PORT):
        if each.kind != "http":
            yield each.name, plant.host_at(each.destination), "iperf", {"listen": port}


def asking(
    background: Collection[Background], plant: Plant, folder: Path, seed: int, settle: float, measure: float
) -> Iterator[Part]:
    """What sends, once it is told when; each leaves `background-NAME.json` in `folder`."""
    for number, each in enumerate(background):
        times = {"settle": settle, "measure": measure, "log": str(result(folder, each))}
        if each.kind == "http":
            config = {"address": plant.services[each.destination], "rate": each.rate, "seed": [seed, number], **times}
            yield each.name, plant.host_at(each.source), "browser", config
            continue
        address = plant.hosts[plant.host_at(each.destination)].ip
        config = {"address": address, "port": FIRST_PORT + number, "kind": each.kind, "rate": each.rate, **times}
        config |= {"payload": each.payload, "streams": each.streams}
        yield each.name, plant.host_at(each.source), "iperf", config


def result(folder: Path, background: Background) -> Path:
    """Where a stream leaves what came of it."""
    return folder / f"background-{background.name}.json"
