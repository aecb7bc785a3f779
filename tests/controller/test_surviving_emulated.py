"""Faults on real switches: a ring of four, two servers, packets all the time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import small_fabrics as small
from private_switch import PrivateSwitch, can_emulate, private_switch
from test_controller_emulated import STREAM, build, free_port, records, running, servers

from controller.certificates import make
from controller.channel import AUTHORITY, SWITCH
from controller.framework import PACKAGES

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(not can_emulate(), reason="needs root and Open vSwitch"),
]

RING = small.network([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")], {"east": "b", "west": "d"}, ["a", "c"])


@contextmanager
def streaming(switch: PrivateSwitch) -> Iterator[subprocess.Popen[str]]:
    """Some thousand datagrams a second from a; a line on its stdin ends it and lets it count."""
    command = ["ip", "netns", "exec", f"{switch.netns}-h-a", sys.executable, "-c", STREAM]
    stream = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert stream.stdout is not None
        assert stream.stdout.readline() == "up\n"
        yield stream
    finally:
        stream.kill()
        stream.communicate()


def rules(switch: PrivateSwitch) -> dict[str, set[str]]:
    """Rules of all switches without their counters, and without pins."""
    keep = ("table=", "cookie=", "actions=")
    return {
        name: {
            " ".join(word for word in line.replace(", ", " ").split() if word.startswith(keep) or "priority" in word)
            for line in switch.inside(
                "ovs-ofctl", "-O", "OpenFlow13", "dump-flows", f"unix:{switch.run}/{name}.mgmt"
            ).splitlines()
            if "table=1," not in line and "cookie" in line
        }
        for name in "abcd"
    }


@pytest.mark.parametrize(
    ("framework", "protocol"), [("os-ken", "tcp"), pytest.param("ryu", "ssl", marks=pytest.mark.long)]
)
def test_a_controller_that_was_killed_is_followed_by_one_that_adopts_its_rules(
    framework: str, protocol: str, tmp_path: Path
) -> None:
    pytest.importorskip(PACKAGES[framework])
    options = ["--policy=joint-distributed", "--slots=128", f"--metrics=127.0.0.1:{free_port()}"]
    options.append(f"--framework={framework}")
    with private_switch() as switch:
        if protocol == "ssl":
            make(tmp_path / "keys")
            options.append(f"--certificates={tmp_path}/keys")
            files = (f"{SWITCH}-key.pem", f"{SWITCH}-certificate.pem", AUTHORITY)
            switch.vsctl("set-ssl", *(str(tmp_path / "keys" / file) for file in files))
        plant = build(switch, RING, "127.0.0.1:6653", protocol)
        for name in "abcd":
            switch.vsctl("set", "controller", name, "max_backoff=1000")
        with running(tmp_path, RING, plant, *options) as first, servers(switch):
            lines = records(tmp_path)
            before = [next(lines) for _ in range(4)]
            while any(line["rules_changed"] for line in before[-3:]):  # no old version is left to be taken away
                before.append(next(lines))
                assert len(before) < 60
            assert not any(line["error"] for line in before)
            with streaming(switch) as stream:
                first.kill()
                first.wait()
                held = rules(switch)
                time.sleep(0.5)
                assert rules(switch) == held
                began = time.time()
                with running(tmp_path, RING, plant, *options):
                    adopted = next(line for line in lines if line["time"] > began)
                    priced = next(line for line in lines if line["tick"] == 1)
                    assert adopted["rules_changed"] == 0
                    assert priced["error"] is None
                    assert {n: p["route"] for n, p in before[0]["routes"].items()}.items() <= {
                        n: p["route"] for n, p in (priced | adopted).get("routes", before[0]["routes"]).items()
                    }.items()
                    sent, received, different = map(int, stream.communicate("\n", timeout=20)[0].split())
                    assert sent == received == different
                    assert sent > 500
            lines.close()


def test_a_switch_that_returns_gets_the_difference_alone(tmp_path: Path) -> None:
    with private_switch() as switch:
        plant = build(switch, RING, "127.0.0.1:6653")
        options = ["--policy=ecmp", "--slots=64", f"--metrics=127.0.0.1:{free_port()}"]
        with running(tmp_path, RING, plant, *options), servers(switch):
            lines = records(tmp_path)
            next(line for line in lines if age(line, "b") < 1)
            held = rules(switch)
            switch.vsctl("set-controller", "b", "tcp:127.0.0.1:9")
            next(line for line in lines if "switch b: not connected" in (line["error"] or ""))
            silent = next(line for line in lines if 0.6 < age(line, "b") < 60)
            assert age(silent, "a") < 0.5
            switch.inside("ovs-ofctl", "-O", "OpenFlow13", "del-flows", f"unix:{switch.run}/b.mgmt", "table=4")
            switch.inside(
                "ovs-ofctl",
                "-O",
                "OpenFlow13",
                "add-flow",
                f"unix:{switch.run}/b.mgmt",
                "table=5,priority=9,arp,actions=drop",
            )
            lost = len(held["b"] - rules(switch)["b"])
            assert lost > 2
            switch.vsctl("set-controller", "b", "tcp:127.0.0.1:6653")
            back = next(line for line in lines if line["rules_changed"])
            assert back["rules_changed"] == lost + 1
            assert rules(switch) == held
            lines.close()


def age(line: dict[str, Any], node: str) -> float:
    """Age of the measurement of the first link that leaves a node."""
    index = next(i for i, link in enumerate(RING.links) if link.src == node)
    return float(line["links"][index]["age"] or "inf") if line["tick"] else float("inf")
