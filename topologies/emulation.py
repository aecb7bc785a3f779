"""Mininet from a Network: switches, hosts and links as the plant says, in a testbed of their own.

    with Testbed() as testbed, Emulation(network, plan(network), testbed) as emulation:
        emulation.wait_ready()
        emulation.cli()

Mininet keeps the nodes, their shells and its prompt. Interfaces are made by one `ip -batch`, shaped by one `tc -batch`,
and switches by one `ovs-vsctl`: a process for each interface is what makes large networks slow to start.

Every node's switch is `s` and its dpid, with interfaces `sN-ethPORT` whose OpenFlow ports are the plant's. Hosts have
10.0.0.0/8 on-link and ask ARP for everything in it, and send what is multicast there too; a server's host also has the
addresses of its services, on `lo`.
"""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pricing.errors import EmulationError
from pricing.network import LinkKey, Network
from topologies.board import Board, Commands
from topologies.calibration import Calibration, recall
from topologies.faults import End, Faults, Wiring
from topologies.hosts.start import Program
from topologies.links import capacity_problems, has_netem, shaping
from topologies.namespaces import disable_ipv6, inside, run
from topologies.plant import HostPlant, Plant, service_name
from topologies.promptness import renew_first
from topologies.sockets import closed_together, give_room
from topologies.testbed import Testbed, datapath

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Mininet imports distutils
    from mininet.cli import CLI
    from mininet.link import Intf, Link
    from mininet.net import Mininet
    from mininet.node import Host, Node, OVSSwitch, RemoteController

NAME_LENGTH = 15
"""Longest name of a Linux interface."""

OFFLOADS = "tx off rx off sg off tso off gso off gro off"
"""Checksums and segments that veth leaves to hardware; on Open vSwitch's userspace datapath nobody computes them."""


UPWARD = ("controller_rate_limit=500", "controller_burst_limit=500")
"""Packets a second that a switch sends up to its controller; ports share them (ours)."""

GROUP = "87"
"""Group of the switches' interfaces: the kernel deletes a group at once, and single interfaces one by one."""


class Interface(Intf):  # type: ignore[misc]
    """An interface that a batch has already made and that goes with its namespace."""

    def config(self, **_: Any) -> dict[str, Any]:
        """Nothing to do."""
        return {}

    def delete(self) -> None:
        """Forget it."""
        self.node.delIntf(self)


class Cable(Link):  # type: ignore[misc]
    """A veth pair that a batch has already made."""

    @classmethod
    def makeIntfPair(cls, *_: Any, **__: Any) -> None:  # noqa: N802
        """Nothing to do."""


class Switch(OVSSwitch):  # type: ignore[misc]
    """An Open vSwitch bridge of the testbed; Mininet's own checks of version and service do not apply.

    Its shell starts with the first command that somebody types: a hundred that nobody needs take seconds.
    """

    made = False

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, **params)
        self.made = True

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802
        """Nothing yet."""

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command in its shell, as Mininet does; but not what sets `lo` up, which the testbed has done."""
        if not self.made:
            return ""
        self._need_shell()
        return super().cmd(*args, **kwargs)

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:  # noqa: N802
        """Send a command to its shell, as Mininet does."""
        self._need_shell()
        super().sendCmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        """Start a process where its shell is, as Mininet does."""
        self._need_shell()
        return super().popen(*args, **kwargs)

    def _need_shell(self) -> None:
        if self.shell is None:
            super().startShell()

    @classmethod
    def setup(cls) -> None:
        """Nothing to do: the testbed has started Open vSwitch."""

    @classmethod
    def isOldOVS(cls) -> bool:  # noqa: N802
        """No: 1.10 is of 2013."""
        return False

    @classmethod
    def batchStartup(cls, switches: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: N802
        """All switches by one `ovs-vsctl`, whose failure is an error: each makes Open vSwitch look at every port."""
        words = [word for switch in switches for command in switch.commands for word in shlex.split(command)]
        limited = (w for word in words for w in ((word, *UPWARD) if word.startswith("max_backoff=") else (word,)))
        run("ovs-vsctl", *limited, timeout=120.0)
        for switch in switches:
            switch.commands, switch.batch = [], False
        return switches

    @classmethod
    def batchShutdown(cls, switches: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: N802
        """All switches by one `ovs-vsctl`, which does not wait for an Open vSwitch that has died."""
        words = [word for switch in switches for word in ("--", "--if-exists", "del-br", switch.name)]
        with suppress(EmulationError):
            run("ovs-vsctl", "--timeout=5", *words)
        for switch in switches:
            switch.terminate()
        return switches


class Controller(RemoteController):  # type: ignore[misc]
    """A controller that will be there; Mininet would knock with telnet."""

    def checkListening(self) -> None:  # noqa: N802
        """Nothing to do: `wait_ready` waits for the switches' connections."""


class Prompt(Commands, CLI):  # type: ignore[misc]
    """Mininet's prompt, with commands of our own, and for hosts with a hyphen in their names too."""

    identchars = CLI.identchars + "-"

    def __init__(self, emulation: Emulation) -> None:
        self.board = emulation.board
        super().__init__(emulation.net)


class Emulation:
    """A network on real packets, for the length of a `with` block.

    Parameters
    ----------
    network : Network
    plant : Plant
        `plan(network)`; datapath, netem and namespace are filled in here.
    testbed : Testbed
        Entered by the calling thread.
    controller : int
        TCP port on 127.0.0.1 of the namespace where the switches look for their controller.

    Attributes
    ----------
    plant : Plant
        As it was written to `plant.json` in the testbed's directory.
    net : mininet.net.Mininet
    interfaces : dict of LinkKey to str
        The interface that feeds each directed link, whose queue is the link's.
    faults : Faults
        What is failed.
    calibration : Calibration
        What this machine's links were found to need; nominal where that was not measured.

    Raises
    ------
    EmulationError
        When a capacity cannot be emulated, or the kernel or Open vSwitch refuses a part; nothing is left then.
    """

    def __init__(self, network: Network, plant: Plant, testbed: Testbed, controller: int = 6653) -> None:
        problems = capacity_problems(network.links)
        if problems:
            raise EmulationError("\n".join(problems))
        self.network = network
        self.testbed = testbed
        self.controller = controller
        self.plant = replace(plant, datapath=datapath(), netem=has_netem(testbed.run), netns=testbed.name)
        self.interfaces: dict[LinkKey, str] = {
            link.key: switch_interface(plant, link.src, plant.switches[link.src].ports[link.dst])
            for link in network.links
        }
        self.calibration: Calibration = recall(self.plant.datapath)
        self.programs: list[Program] = []
        self.faults = Faults(wiring(self.plant), testbed.run)
        self._exits = ExitStack()
        (testbed.directory / "plant.json").write_text(self.plant.to_json())

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            Mininet.inited = True  # it would raise limits of the whole machine
            self.net = Mininet(build=False, controller=None, switch=Switch, link=Cable, intf=Interface)
            exits.callback(self._stop)
            with ThreadPoolExecutor(1) as aside:  # the kernel makes cables while shells of hosts start
                cables = aside.submit(self._make_cables)
                self._add_nodes()
                cables.result()
            self._make_host_cables()
            self._add_links()
            for name, host in self.plant.hosts.items():
                self._configure_host(name, host)
            self.net.built = True
            self.net.start()
            self._switches_are_there()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, trace)

    def start(self, host: str, module: str, config: Mapping[str, Any], name: str = "") -> Program:
        """Start `python -m topologies.hosts.MODULE` in a host.

        Parameters
        ----------
        host : str
            Name of the host; beside the switches where it is ''.
        module : str
            'sender', 'server' or 'web'.
        config : mapping
            The fields of the module's configuration.
        name : str
            Of its files in the testbed's directory; `HOST-MODULE` where it is left out.

        Returns
        -------
        Program
            Stopped by `topologies.hosts.start.stop`; what still runs at the end is killed.
        """
        name = name or f"{host}-{module}"
        pid = self.net[host].pid if host else self.testbed.switch_pid
        program = Program(name, f"topologies.hosts.{module}", config, self.testbed.directory, pid)
        self.programs.append(program)
        return program

    def wait_ready(self, timeout: float = 20.0) -> None:
        """Wait until every switch has its ports where the plant says and speaks with its controller.

        Raises
        ------
        EmulationError
            When that takes longer than `timeout` seconds; the message names the switches without controller.

        Notes
        -----
        Open vSwitch notes down every 5 s whom it is connected to: this may return as much later than it could.
        """
        self.check_ports()
        controllers = self._table("Controller", "_uuid", "is_connected")
        waits = [
            word for uuid, _ in controllers for word in ("--", "wait-until", "Controller", uuid, "is_connected=true")
        ]
        try:
            run("ovs-vsctl", f"--timeout={timeout:.0f}", *waits, timeout=timeout + 5)
        except EmulationError as error:
            self.testbed.check()
            lonely = [node for node, bridge in self._bridges() if not self.net[bridge].connected()]
            raise EmulationError(
                f"after {timeout:g} s no controller on 127.0.0.1:{self.controller} of the testbed has taken "
                f"{', '.join(lonely) or 'every switch'}; is it running?"
            ) from error

    def check_ports(self) -> None:
        """Look whether every interface has the OpenFlow port that the plant says.

        Raises
        ------
        EmulationError
            When one has not.
        """
        given = dict(self._table("Interface", "name", "ofport"))
        wanted = {name: port for name, port, _ in self._switch_ends()}
        wrong = [f"{name}: {given.get(name)} for {port}" for name, port in wanted.items() if given.get(name) != port]
        if wrong:
            raise EmulationError(f"Open vSwitch gave other ports than the plant's: {', '.join(wrong)}")

    def fail_link(self, a: str, b: str) -> None:
        """Cut the cable between two nodes: both ends lose carrier. Raises as `Faults.link` does."""
        self.faults.link(a, b, works=False)

    def heal_link(self, a: str, b: str) -> None:
        """Mend the cable between two nodes."""
        self.faults.link(a, b, works=True)

    def fail_node(self, node: str) -> None:
        """Take the power from a node's switch: its cables lose carrier, its rules and its controller are gone."""
        self.faults.node(node, works=False)

    def heal_node(self, node: str) -> None:
        """Give a node's switch its power back; it looks for its controller, and has no rules yet."""
        self.faults.node(node, works=True)

    def fail_server(self, server: str) -> None:
        """Cut the cable of a server's host."""
        self.faults.server(server, works=False)

    def heal_server(self, server: str) -> None:
        """Mend the cable of a server's host."""
        self.faults.server(server, works=True)

    def restart_switches(self, away: float = 0.0) -> None:
        """Kill the run's Open vSwitch and start it again: its switches have lost their rules, and every packet in them.

        Parameters
        ----------
        away : float
            Seconds from the one to the other.

        Raises
        ------
        EmulationError
            When it does not come back with the ports that it had.
        """
        self.testbed.restart_switches(away)
        self.check_ports()
        self._switches_are_there()

    def cli(self) -> None:
        """Open Mininet's prompt, until `exit`."""
        Prompt(self)

    def board(self) -> Board:
        """What its prompt sees and does; prices are there once a controller runs in the testbed's directory."""
        addresses = {name: host.ip for name, host in self.plant.hosts.items()} | dict(self.plant.services)
        pids = {name: self.net[name].pid for name in self.plant.hosts}
        return Board(self.faults, addresses, pids, self.testbed.directory)

    def _add_nodes(self) -> None:
        self.net.addController("c0", Controller, ip="127.0.0.1", port=self.controller)
        for _, switch in sorted(self.plant.switches.items()):
            self.net.addSwitch(
                f"s{switch.dpid}",
                dpid=f"{switch.dpid:016x}",
                datapath=self.plant.datapath,
                protocols="OpenFlow13",
                failMode="secure",
                batch=True,
            )
        for name in self.plant.hosts:
            self.net.addHost(name, Host)

    def _make_cables(self) -> None:
        both = [(end, other) for (end, _, _), (other, _, _) in self._cables()]
        lines = [f"link add {end} group {GROUP} type veth peer name {other}" for end, other in both]
        lines += [f"link set {end} up" for pair in both for end in pair]
        run("ip", "-batch", "-", text="".join(f"{line}\n" for line in lines), timeout=60.0)

    def _make_host_cables(self) -> None:
        lines = []
        for name, host in self.plant.hosts.items():
            end = switch_interface(self.plant, host.node, host.port)
            peer = f"name {host_interface(name)} address {host.mac} netns {self.net[name].pid}"
            lines += [f"link add {end} group {GROUP} type veth peer {peer}", f"link set {end} up"]
        run("ip", "-batch", "-", text="\n".join(lines) + "\n")

    def _add_links(self) -> None:
        for (end, port, bridge), (other, other_port, other_bridge) in self._cables():
            self.net.addLink(bridge, other_bridge, port, other_port, intfName1=end, intfName2=other)
        for name, host in self.plant.hosts.items():
            end = switch_interface(self.plant, host.node, host.port)
            bridge = f"s{self.plant.switches[host.node].dpid}"
            self.net.addLink(name, bridge, 0, host.port, intfName1=host_interface(name), intfName2=end, addr1=host.mac)
            interface = self.net[name].defaultIntf()
            interface.ip, interface.prefixLen = host.ip, 8

    def _configure_host(self, name: str, host: HostPlant) -> None:
        end = host_interface(name)
        sessions = [session for session in self.network.sessions if session.name in host.sessions]
        services = {service_name(session) for session in sessions if host.role == "server"}
        lines = ["link set lo up", f"link set {end} up", f"address add {host.ip}/8 dev {end}"]
        lines.append(f"route add 224.0.0.0/4 dev {end}")
        lines += [f"address add {self.plant.services[service]}/32 dev lo" for service in sorted(services)]
        with inside(Path(f"/proc/{self.net[name].pid}/ns/net")):
            disable_ipv6()
            run("ethtool", "-K", end, *OFFLOADS.split())
            run("ip", "-batch", "-", text="\n".join(lines) + "\n")

    def _switches_are_there(self) -> None:
        """What an Open vSwitch needs that has just made its bridges; it takes away the queues of interfaces."""
        renew_first(self.testbed.switch_pid)
        give_room(self.testbed.switch_pid)
        self._group_bridges()
        self._shape()

    def _group_bridges(self) -> None:
        """The userspace datapath's bridges are interfaces too, which can go with the others."""
        if self.plant.datapath == "user":
            lines = [f"link set {bridge} group {GROUP}\n" for _, bridge in self._bridges()]
            run("ip", "-batch", "-", text="".join(lines))

    def _shape(self) -> None:
        lines = [
            line
            for link in self.network.links
            for line in shaping(
                link,
                self.interfaces[link.key],
                self.plant.netem,
                self.network.classes,
                self.calibration.burst_seconds,
            )
        ]
        run("tc", "-batch", "-", text="\n".join(lines) + "\n")

    def _cables(self) -> Iterator[tuple[tuple[str, int, str], tuple[str, int, str]]]:
        """Both ends of every cable between switches: (interface, port, bridge)."""
        for node, switch in sorted(self.plant.switches.items()):
            for neighbour, port in switch.ports.items():
                if node < neighbour:
                    other_port = self.plant.switches[neighbour].ports[node]
                    yield self._end(node, port), self._end(neighbour, other_port)

    def _switch_ends(self) -> Iterator[tuple[str, int, str]]:
        """Every interface of a switch: (interface, port, bridge)."""
        for node, switch in sorted(self.plant.switches.items()):
            for port in switch.ports.values():
                yield self._end(node, port)
        for host in self.plant.hosts.values():
            yield self._end(host.node, host.port)

    def _end(self, node: str, port: int) -> tuple[str, int, str]:
        return switch_interface(self.plant, node, port), port, f"s{self.plant.switches[node].dpid}"

    def _bridges(self) -> list[tuple[str, str]]:
        return [(node, f"s{switch.dpid}") for node, switch in sorted(self.plant.switches.items())]

    def _table(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Rows of a table of Open vSwitch's database."""
        wanted = f"--columns={','.join(columns)}"
        rows = json.loads(self.testbed.run("ovs-vsctl", "--format=json", wanted, "list", table))["data"]
        return [
            tuple(cell[1] if isinstance(cell, list) and cell[0] == "uuid" else cell for cell in row) for row in rows
        ]

    def _stop(self) -> None:
        for program in self.programs:
            program.kill()
        with suppress(EmulationError):  # where none was made
            run("ip", "link", "delete", "group", GROUP)
        with closed_together(self.testbed.switch_pid):
            self.net.stop()
        for shell in self.net.controllers:
            shell.terminate()
        Node.inToNode.clear()
        Node.outToNode.clear()
        (self.testbed.directory / "plant.json").unlink(missing_ok=True)


def switch_interface(plant: Plant, node: str, port: int) -> str:
    """Name of the interface at a port of a node's switch."""
    return f"s{plant.switches[node].dpid}-eth{port}"


def host_interface(host: str) -> str:
    """Name of a host's interface, cut to what Linux allows."""
    return f"{host[: NAME_LENGTH - len('-eth0')]}-eth0"


def wiring(plant: Plant) -> Wiring:
    """How a plant is wired."""
    servers = [name for name, host in plant.hosts.items() if host.role == "server"]
    ends = [
        End(switch_interface(plant, node, port), node, neighbour)
        for node, switch in plant.switches.items()
        for neighbour, port in switch.ports.items()
    ]
    ends += [End(switch_interface(plant, host.node, host.port), host.node, name) for name, host in plant.hosts.items()]
    return Wiring({node: f"s{switch.dpid}" for node, switch in plant.switches.items()}, servers, tuple(ends))
