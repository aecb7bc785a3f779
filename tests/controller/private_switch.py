"""An Open vSwitch of a test's own: in a network namespace of its own, with its own run directory, gone afterwards."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

DAEMONS = ("ovsdb-server", "ovs-vswitchd")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


def can_emulate() -> bool:
    """Whether this machine lets us run real switches."""
    return os.geteuid() == 0 and SCHEMA.exists()


@dataclass
class PrivateSwitch:
    """A running Open vSwitch in the namespace `netns`, and the hosts' namespaces made beside it."""

    netns: str
    run: Path
    hosts: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """With which the ovs-* tools reach this Open vSwitch and no other."""
        run = str(self.run)
        return {**os.environ, "OVS_RUNDIR": run, "OVS_DBDIR": run, "OVS_LOGDIR": run}

    def inside(self, *command: str, host: str = "", timeout: float = 20) -> str:
        """The output of a command in the switches' namespace, or in a host's."""
        done = subprocess.run(
            ["ip", "netns", "exec", host or self.netns, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout

    def daemon(self, name: str, *arguments: str) -> None:
        """Start a daemon of Open vSwitch and wait until it is ready."""
        own = ["--no-chdir", "--detach", f"--pidfile={self.run}/{name}.pid", f"--unixctl={self.run}/{name}.ctl"]
        self.inside(name, *arguments, *own, f"--log-file={self.run}/{name}.log", "-vconsole:off")

    def appctl(self, *command: str) -> str:
        """Output of ovs-appctl of the switch daemon."""
        return self.inside("ovs-appctl", "-t", f"{self.run}/ovs-vswitchd.ctl", *command)

    def vsctl(self, *command: str) -> str:
        """Output of ovs-vsctl."""
        return self.inside("ovs-vsctl", f"--db=unix:{self.run}/db.sock", *command)

    def bridge(self, name: str, dpid: int, controller: str = "") -> None:
        """A switch on the userspace datapath that speaks OpenFlow 1.3."""
        options = f"datapath_type=netdev other-config:datapath-id={dpid:016x} fail_mode=secure protocols=OpenFlow13"
        command = ["add-br", name, "--", "set", "bridge", name, *options.split()]
        self.vsctl(*command, *(["--", "set-controller", name, controller] if controller else []))

    def cable(self, a: str, port_a: int, b: str, port_b: int) -> None:
        """A veth pair between two switches."""
        left, right = f"{a}-{port_a}", f"{b}-{port_b}"
        self.inside("ip", "link", "add", left, "type", "veth", "peer", "name", right)
        for switch, end, port in ((a, left, port_a), (b, right, port_b)):
            self.inside("ip", "link", "set", end, "up")
            self.vsctl("add-port", switch, end, "--", "set", "interface", end, f"ofport_request={port}")

    def host(self, name: str, switch: str, port: int, mac: str, addresses: list[str]) -> str:
        """A host in a namespace of its own at a port of a switch; returns the namespace."""
        space, end = f"{self.netns}-{name}", f"{switch}-{port}"
        subprocess.run(["ip", "netns", "add", space], check=True)
        self.hosts.append(space)
        self.inside("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", space)
        self.inside("ip", "link", "set", end, "up")
        self.vsctl("add-port", switch, end, "--", "set", "interface", end, f"ofport_request={port}")
        self.inside("ip", "link", "set", "eth0", "address", mac, host=space)
        self.inside("ip", "link", "set", "lo", "up", host=space)
        self.inside("ip", "link", "set", "eth0", "up", host=space)
        self.inside("ip", "addr", "add", f"{addresses[0]}/8", "dev", "eth0", host=space)
        for address in addresses[1:]:
            self.inside("ip", "addr", "add", f"{address}/32", "dev", "lo", host=space)
        off = ["tx", "off", "rx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off"]
        self.inside("ethtool", "-K", "eth0", *off, host=space)
        return space


@contextmanager
def private_switch() -> Iterator[PrivateSwitch]:
    """Start ovsdb-server and ovs-vswitchd in a new namespace; end them, and it, afterwards."""
    with tempfile.TemporaryDirectory(prefix="wctl-") as folder:
        run = Path(folder)
        switch = PrivateSwitch(f"w{run.name}", run)
        subprocess.run(["ip", "netns", "add", switch.netns], check=True)
        try:
            subprocess.run(["ip", "-n", switch.netns, "link", "set", "lo", "up"], check=True)
            switch.inside("ovsdb-tool", "create", f"{run}/conf.db", str(SCHEMA))
            switch.daemon("ovsdb-server", f"{run}/conf.db", f"--remote=punix:{run}/db.sock")
            switch.vsctl("--no-wait", "init")
            switch.daemon("ovs-vswitchd", f"unix:{run}/db.sock")
            yield switch
        finally:
            for name in reversed(DAEMONS):
                if (run / f"{name}.ctl").exists():
                    subprocess.run(["ovs-appctl", "-t", f"{run}/{name}.ctl", "exit"], check=False, timeout=20)
            for space in [*switch.hosts, switch.netns]:
                subprocess.run(["ip", "netns", "del", space], check=False)
