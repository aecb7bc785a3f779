"""Bridges, qdiscs, namespaces and an Open vSwitch of the user's stay as they are, whatever becomes of a testbed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import machine
import pytest
from test_testbed import ROOT, user

from topologies.emulation import Emulation
from topologies.namespaces import inside, run
from topologies.plant import plan
from topologies.scenario import load
from topologies.testbed import SCHEMA, Testbed, sweep

pytestmark = machine.emulated

__all__ = ["user"]

OWNER = """
import sys
from topologies.testbed import Testbed
with Testbed() as testbed:
    testbed.run("ovs-vsctl", "add-br", "s1", "--", "set", "bridge", "s1", "datapath_type=netdev")
    print(testbed.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def things(user: Path, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """What the user has beside a bridge s1, under names that are ours too: a shaped cable, a bridge of Open vSwitch."""
    places = dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"), str(tmp_path))
    environment = {**os.environ, **places}

    def ovs(*command: str) -> str:
        return run(*command, environment=environment)

    def all_of_it() -> list[str]:
        with inside(user):
            shown = [
                run("ip", "-o", "-br", "link"),
                run("tc", "qdisc", "show"),
                run("tc", "class", "show", "dev", "s1-eth1"),
            ]
        return [*shown, ovs("ovs-vsctl", "list-br"), ovs("ovs-vsctl", "list-ports", "s2"), ovs("ovs-appctl", "version")]

    with inside(user):
        run("ip", "link", "add", "s1-eth1", "type", "veth", "peer", "name", "s2-eth1")
        run("ip", "link", "set", "s1-eth1", "master", "s1", "up")
        run("tc", "qdisc", "add", "dev", "s1-eth1", "root", "handle", "5:", "htb", "default", "1")
        run("tc", "class", "add", "dev", "s1-eth1", "classid", "5:1", "htb", "rate", "3mbit", "quantum", "1514")
        ovs("ovsdb-tool", "create", str(tmp_path / "conf.db"), str(SCHEMA))
        daemon = ("--pidfile", "--detach", "--log-file", "-vconsole:off", "-vsyslog:off")
        ovs("ovsdb-server", str(tmp_path / "conf.db"), f"--remote=punix:{tmp_path / 'db.sock'}", *daemon)
        ovs("ovs-vsctl", "--no-wait", "init")
        ovs("ovs-vswitchd", *daemon)
    ovs(
        "ovs-vsctl",
        "add-br",
        "s2",
        "--",
        "set",
        "bridge",
        "s2",
        "datapath_type=netdev",
        "--",
        "add-port",
        "s2",
        "s2-eth1",
    )
    yield all_of_it
    for name in ("ovs-vswitchd", "ovsdb-server"):
        ovs("ovs-appctl", "-t", name, "exit")


def test_a_network_comes_and_goes(user: Path, things: Callable[[], list[str]]) -> None:
    before = things()
    assert "rate 3Mbit" in before[2]
    network = load("diamond").network
    with inside(user), suppress(ZeroDivisionError), Testbed() as testbed:
        with Emulation(network, plan(network), testbed):
            assert things() == before
        raise ZeroDivisionError
    assert things() == before


def test_a_run_is_killed_and_swept(user: Path, things: Callable[[], list[str]]) -> None:
    before = things()
    with inside(user):
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
    with owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        owner.kill()
    assert name in sweep()
    assert things() == before
