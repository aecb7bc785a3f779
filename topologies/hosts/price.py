"""The price agent of a server, in the server's own host: `python -m topologies.hosts.price CONFIG.json`.

Each second the server (`topologies.hosts.server`) exports how many requests came; the agent turns what came in the last
seconds into one price and says it to the agents' group. It hears nobody. The configuration holds `network` (path of
network.json), `server` (its name), `address` (of the host), `load` (path of the server's export), `told` (path of the
JSON file of counts, replaced every second) and `log` (path of that file's last, written at the end, on SIGTERM).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from pricing.joint.agents import PriceAgent
from pricing.problem import problem_of
from pricing.written import network_from_json
from topologies.hosts.group import Mouth, speaker
from topologies.hosts.logs import save_summary
from topologies.hosts.orders import told_to_end

GLANCE_S = 0.1
"""Between two looks at the server's export."""


def main(config: Path) -> int:
    """Announce until SIGTERM; the exit status."""
    values = json.loads(config.read_text())
    problem = problem_of(network_from_json(Path(values["network"]).read_text()))
    place = problem.network.server_index[values["server"]]
    resource = problem.link_count + place
    agent, mouth = PriceAgent(problem, place, [resource]), Mouth(speaker(values["address"]))
    work, came, last = float(problem.laws.size[resource]), 0.0, time.time()  # what was told before is of another phase
    ending = told_to_end()
    print("ready", flush=True)
    while not ending.is_set():
        time.sleep(GLANCE_S)
        try:
            said = json.loads(Path(values["load"]).read_text())
        except OSError:  # the server has said nothing yet
            continue
        if said["time"] <= last:
            continue
        last, came = said["time"], came + said["requests"] * work
        if message := agent.announce(float(last), np.array([came])):
            mouth.say(message)
        save_summary(Path(values["told"]), {"time": last, "kind": "servers", **mouth.counts})
    save_summary(Path(values["log"]), {"agent": values["server"], "kind": "servers", **mouth.counts})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
