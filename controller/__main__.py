"""Start the controller: `python -m controller --network FILE --plant FILE --policy P ...`.

The order matters. The HTTP socket is opened in the namespace that we are started in; then the process enters the
testbed's, before it has a second thread; then the framework is loaded, which may patch the standard library; and only
then everything else.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

from controller.addresses import enter, guarded, is_loopback, listen, parse
from controller.framework import PACKAGES, load
from pricing.errors import WardropError

SPARE_CONNECTIONS = 16
"""Connections of switches at a time, beyond two for each switch: one that comes back before its last one is gone."""

NICE = -10
"""Priority of the process where it may choose: before whatever else runs on a machine that also emulates."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m controller", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", type=Path, required=True, metavar="FILE", help="the network, as network.json")
    parser.add_argument(
        "--plant", type=Path, required=True, metavar="FILE", help="its names in OpenFlow, as plant.json"
    )
    parser.add_argument(
        "--policy", default="joint-distributed", help="how to route: a name, or FILE.py:FUNCTION (default: %(default)s)"
    )
    parser.add_argument(
        "--own",
        action="append",
        default=[],
        metavar="FILE.py:FUNCTION",
        help="may be changed to later; may be repeated",
    )
    parser.add_argument(
        "--laws", default="measured", help="where delay laws come from: mm1, scenario, measured or fitted (%(default)s)"
    )
    parser.add_argument("--exports", type=Path, metavar="DIR", help="where links, servers, senders tell of themselves")
    parser.add_argument("--tick", type=float, default=1.0, metavar="S", help="seconds a tick (default: %(default)s)")
    parser.add_argument("--slots", type=int, default=512, metavar="N", help="hash slots (default: %(default)s)")
    parser.add_argument("--openflow", default="127.0.0.1:6653", metavar="HOST:PORT", help="where switches connect")
    parser.add_argument("--metrics", default="127.0.0.1:9464", metavar="HOST:PORT", help="where Prometheus scrapes")
    parser.add_argument("--token", help="what a scrape must carry, beyond the loopback")
    parser.add_argument("--certificates", type=Path, metavar="DIR", help="OpenFlow over TLS, with what is in DIR")
    parser.add_argument("--netns", metavar="NAME", help="network namespace to enter (default: the plant's)")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="a JSON line a tick; labels.json beside it outlives us"
    )
    parser.add_argument("--recording", type=Path, metavar="FILE", help="what `bin/wardrop replay` decides again")
    parser.add_argument("--log", choices=("human", "json"), default="human", help="form of the log")
    parser.add_argument("--control", type=Path, metavar="PATH", help="Unix socket for requests")
    parser.add_argument("--framework", default="os-ken", help=f"{' or '.join(PACKAGES)} (default: %(default)s)")
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> None:
    """Run until stopped.

    Raises
    ------
    WardropError
        When a file, an address or a name cannot be used, or the first rules cannot be installed.
    """
    if not 1 <= options.slots <= 1 << 16 or not 0.05 <= options.tick <= 60:
        raise WardropError(
            f"--slots {options.slots} --tick {options.tick}: 1 to 65536 slots and 0.05 to 60 s are accepted"
        )
    gc.disable()  # somebody may be waiting for prices; `controller.garbage` searches between ticks
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads cost more than they bring
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    openflow, metrics = _addresses(options)
    web = listen(metrics, "--metrics").detach()
    netns = _plant_netns(options.plant) if options.netns is None else options.netns
    if netns:
        enter(netns)
    framework = load(options.framework)

    # What keeps references to sockets and threads is imported after the framework may have patched them.
    import socket
    import time

    from controller.app import Controller, open_record, serve_control, set_up_log
    from controller.channel import Door, Refusals, tls
    from controller.fabric import Fabric
    from controller.laws import law_name
    from controller.ledger import Ledger
    from controller.metrics import Exporter
    from controller.openflow import Switchboard
    from controller.plant import plant_from_json
    from controller.recording import Recorder
    from controller.told import read as read_told
    from controller.web import serve
    from pricing.own import named
    from pricing.written import network_from_json

    set_up_log(options.log)
    door = Door(tls(options.certificates) if options.certificates else None, Refusals(), 0)
    switches = listen(openflow, "--openflow")
    network = network_from_json(_text(options.network))
    plant = plant_from_json(_text(options.plant), network)
    names = {switch.dpid: name for name, switch in plant.switches.items()}
    switchboard = Switchboard(framework, names, any(session.joined for session in network.sessions))
    door.most = SPARE_CONNECTIONS + 2 * len(plant.switches)
    senders = {session.name: plant.source(session) for session in network.sessions}
    told = (lambda: read_told(options.exports, senders, plant.hosts, time.time())) if options.exports else tuple
    exporter = Exporter(network, door.refusals.counts, told)
    fabric = Fabric(network, plant, options.slots)
    record = open_record(options.record) if options.record else None
    ledger = Ledger(options.record.with_name("labels.json"), fabric) if options.record else None
    recorder = Recorder(_opened(options.recording), fabric) if options.recording else None
    for text in options.own:
        named(text)
    controller = Controller(
        fabric,
        named(options.policy),
        switchboard,
        exporter,
        options.tick,
        record,
        recorder,
        ledger,
        law_name(options.laws),
        options.exports,
    )

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: controller.stop())
    serve(socket.socket(fileno=web), exporter.scrape, framework.spawn, options.token)
    if options.control:
        serve_control(options.control, controller.answer, framework.spawn)
        for ingress in controller.ingresses:
            path = options.control.with_name(f"ingress-{plant.switches[ingress.node].dpid}.sock")
            serve_control(path, ingress.answer, framework.spawn)
    framework.listen(switchboard, switches, door)
    controller.run()


def _addresses(options: argparse.Namespace) -> tuple[tuple[str, int], tuple[str, int]]:
    """Where switches and Prometheus connect; refused where others could without what keeps them out."""
    problems = []
    openflow = parse(options.openflow, "--openflow")
    if not is_loopback(openflow[0]) and options.certificates is None:
        problems.append(
            f"--openflow {options.openflow}: others could reach it, and whoever speaks plain OpenFlow is a switch; "
            "bind it to 127.0.0.1, or give --certificates DIR (made by `bin/wardrop certificates DIR`)"
        )
    try:
        metrics = guarded(options.metrics, "--metrics", options.token)
    except WardropError as error:
        problems.append(str(error))
    if problems:
        raise WardropError("\n".join(problems))
    return openflow, metrics


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise WardropError(f"{path}: {error.strerror}") from error


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w")
    except OSError as error:
        raise WardropError(f"--recording {path}: {error.strerror}; a file that can be written is accepted") from error


def _plant_netns(path: Path) -> str:
    import json

    try:
        return str(json.loads(_text(path)).get("netns", ""))
    except (ValueError, AttributeError) as error:
        raise WardropError(f"{path}: not a plant ({error})") from error


def main() -> None:
    """Run, and end with one clear message where something is wrong."""
    code = 0
    try:
        run(arguments())
    except WardropError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the framework's threads wait on their sockets for ever and cannot be ended


if __name__ == "__main__":
    main()
