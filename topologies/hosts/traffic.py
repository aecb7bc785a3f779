"""`python -m topologies.hosts.traffic SCENARIO DIR HOSTS SECONDS [--load RHO]`: a scenario's traffic in given hosts.

HOSTS is a JSON object, a process id in each host's namespaces by the host's name. Servers and senders run for so many
seconds; what became of the requests is printed as JSON: `sent`, `answered`, `delay_s` (mean, from sending to the
server's answer at the sender; null without answers) and `served` by server.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pricing.network import Network
from topologies.hosts.configs import sending, serving
from topologies.hosts.logs import SECOND, load
from topologies.hosts.start import Program, stop
from topologies.plant import Plant, plan
from topologies.scenario import load as load_scenario

START_DELAY_S, END_TIMEOUT_S, SEED = 1.0, 30.0, 1
"""From telling the senders to their first packet; longest wait for a program; of arrivals, sizes and works (ours)."""


def drive(network: Network, plant: Plant, folder: Path, pids: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """Run the programs, and say what became of the requests."""

    def start(module: str, host: str, name: str, config: Mapping[str, Any]) -> Program:
        return Program(f"{module}-{name}.config", f"topologies.hosts.{module}", config, folder, pids[host])

    servers = {
        host: start("server", host, host, config) for host, config in serving(network, plant, folder, SEED).items()
    }
    asked = sending(network, plant, folder, SEED, 0.0, seconds)
    senders = {name: start("sender", host, name, config) for name, (host, config) in asked.items()}
    try:
        for program in (*servers.values(), *senders.values()):
            program.wait_ready()
        begin = time.time() + START_DELAY_S
        for sender in senders.values():
            sender.tell(repr(begin))
        for sender in senders.values():
            sender.wait(seconds + END_TIMEOUT_S)
    finally:
        stop([*senders.values(), *servers.values()], END_TIMEOUT_S)
    return _account(folder, list(senders), list(servers))


def _account(folder: Path, sessions: list[str], servers: list[str]) -> dict[str, Any]:
    sent, answered, delay = 0, 0, 0.0
    for name in sessions:
        requests, _ = load(folder / f"sender-{name}.requests.npy")
        answers, _ = load(folder / f"sender-{name}.answers.npy")
        _, mine, theirs = np.intersect1d(requests["seq"], answers["seq"], return_indices=True)
        sent, answered = sent + len(requests), answered + len(mine)
        delay += float((answers["received"][theirs] - requests["sent"][mine]).sum()) / SECOND
    served = {name: len(load(folder / f"server-{name}.npy")[0]) for name in servers}
    return {"sent": sent, "answered": answered, "delay_s": delay / answered if answered else None, "served": served}


def main() -> None:
    """Run, and print the account."""
    parser = argparse.ArgumentParser(prog="python -m topologies.hosts.traffic")
    parser.add_argument("scenario")
    parser.add_argument("directory", type=Path)
    parser.add_argument("hosts", type=json.loads)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--load", type=float)
    asked = parser.parse_args()
    network = load_scenario(asked.scenario, asked.load).network
    print(json.dumps(drive(network, plan(network), asked.directory, asked.hosts, asked.seconds)))


if __name__ == "__main__":
    main()
