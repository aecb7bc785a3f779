"""Background traffic by iperf3: `python -m topologies.hosts.iperf CONFIG.json`.

A configuration with `listen`, a port, runs a server for one test. One with `address` and `port` runs the client: told
its start (s of CLOCK_REALTIME) on standard input, it sends for `settle` seconds, which iperf3 leaves out, and `measure`
seconds, and writes to `log` what was asked, sent and received: bit/s of payload. On SIGTERM iperf3 ends, and says what
there was until then.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topologies.hosts.logs import save_summary
from topologies.hosts.orders import told_start

SEGMENT = 1448
"""Bytes that TCP is given at a time where it has a rate: one segment; iperf3's own 128 kB last seconds at low rates."""


def command(config: Mapping[str, Any]) -> list[str]:
    """iperf3's command line for a client."""
    words = ["iperf3", "--client", config["address"], "--port", str(config["port"]), "--json"]
    words += ["--omit", str(round(config["settle"])), "--time", str(max(1, math.ceil(config["measure"])))]
    words += ["--parallel", str(config["streams"])]
    if config["kind"] == "udp":
        words += ["--udp", "--length", str(config["payload"])]
    elif config["rate"]:
        words += ["--length", str(SEGMENT)]
    if config["rate"]:
        words += ["--bitrate", str(max(1, round(config["rate"] / config["streams"])))]  # of each stream
    return words


def summary(config: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What iperf3's JSON says, in few words; None for what it does not say."""
    end = said.get("end", {})
    total = end.get("sum", {})
    sent = end.get("sum_sent", total).get("bits_per_second")
    received = end.get("sum_received", {}).get("bits_per_second")
    lost = None
    if config["kind"] == "udp" and total.get("packets"):
        lost = total["lost_packets"] / total["packets"]
        sent = total["bits_per_second"]
        received = sent * (1.0 - lost)
    return {
        "asked": config["rate"] or None,
        "sent": sent,
        "received": received,
        "lost": lost,
        "retransmits": end.get("sum_sent", {}).get("retransmits"),
        "error": said.get("error"),
    }


def _started(words: list[str], **pipes: Any) -> subprocess.Popen[str]:
    """iperf3, ended with this process."""
    child = subprocess.Popen(words, text=True, **pipes)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    return child


def listen(port: int) -> int:
    """Serve one test; the exit status."""
    words = ["iperf3", "--server", "--one-off", "--forceflush", "--port", str(port)]
    server = _started(words, stdout=subprocess.PIPE)
    assert server.stdout is not None
    said = ""
    for said in server.stdout:
        if "listening" in said:
            print("ready", flush=True)
            break
    else:
        print(f"iperf3 does not listen on port {port}: {said.strip()}", file=sys.stderr)
        return 1
    server.communicate()
    return 0


def ask(config: Mapping[str, Any]) -> int:
    """Send when told, and write what came of it; the exit status."""
    print("ready", flush=True)
    due = told_start()
    if due is None:
        return 0
    time.sleep(max(0.0, due - time.time()))
    began = time.time()
    client = _started(command(config), stdout=subprocess.PIPE)
    text, _ = client.communicate()
    try:
        said = json.loads(text)
    except ValueError:
        said = {"error": f"iperf3 ended with {client.returncode} and said nothing"}
    save_summary(Path(config["log"]), {"kind": config["kind"], "late_s": began - due, **summary(config, said)})
    return 0


def main(config: Path) -> int:
    """Run the server or client that the file `config` describes; the exit status."""
    values = json.loads(config.read_text())
    try:
        return listen(values["listen"]) if "listen" in values else ask(values)
    except FileNotFoundError:
        print("iperf3 is missing; `bin/wardrop setup` installs it", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
