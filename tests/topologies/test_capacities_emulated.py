"""Capacities at the ends of what is accepted, and odd ones: the kernel takes them as they are, without a warning."""

from __future__ import annotations

import re
import subprocess

import machine
import pytest

from pricing.network import Link
from topologies.links import HIGHEST, LOWEST, not_emulated, shaping
from topologies.testbed import Testbed

pytestmark = machine.emulated

CAPACITIES = (LOWEST, 333_333.0, 1_234_567.0, 7_654_321.0, 999_999_937.0, HIGHEST)


def kernel_warnings() -> int:
    """Warnings of quanta that the kernel has given since it started."""
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout
    return sum("quantum" in line for line in log.splitlines())


def test_the_kernel_shapes_them_as_asked_and_is_silent() -> None:
    assert not any(map(not_emulated, CAPACITIES))
    before = kernel_warnings()
    with Testbed() as testbed:
        for index, capacity in enumerate(CAPACITIES):
            testbed.run("ip", "link", "add", f"a{index}", "type", "veth", "peer", "name", f"b{index}")
            lines = shaping(Link("a", "b", capacity), f"a{index}", netem=False)
            testbed.run("tc", "-batch", "-", text="\n".join(lines) + "\n")
            shown = re.search(r" rate (\d+)([KMG]?)bit ", testbed.run("tc", "class", "show", "dev", f"a{index}"))
            assert shown
            # The kernel counts whole bytes a second, and tc shows three digits or more of them.
            rate = int(shown[1]) * {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[shown[2]]
            assert rate == pytest.approx(capacity, rel=1e-3)
    assert kernel_warnings() == before
