"""Links, nodes and servers that fail and heal: their interfaces go down and come up, and switches see carrier lost.

What is failed is a set, and what must be down follows from it: an interface is down while its cable, or the node or
server at either of its ends, is failed. Failing twice, or healing what works, changes nothing. A link fails with both
its directions, because carrier is a matter of the cable. A node that fails loses its rules and its controller too, as
a switch without power does.

It needs nothing but `ip` and Open vSwitch's tools, so it serves Mininet's own networks as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field

from pricing.errors import EmulationError

NOWHERE = "tcp:127.0.0.1:9"
"""Where the switch of a failed node looks for its controller: nobody listens on the port of `discard`."""


@dataclass(frozen=True)
class End:
    """A switch's end of a cable: its interface, its node, and the node or host at the other end."""

    interface: str
    node: str
    towards: str


@dataclass(frozen=True)
class Wiring:
    """How a network is wired.

    Parameters
    ----------
    bridges : mapping of node name to the name of its bridge
    servers : collection of str
        Names of the hosts that are servers.
    ends : tuple of End
    """

    bridges: Mapping[str, str]
    servers: Collection[str]
    ends: tuple[End, ...]


Thing = frozenset[str] | str
"""What can fail: a cable by its two ends, or a node or server by its name."""


def down(ends: Iterable[End], failed: Set[Thing]) -> set[str]:
    """Interfaces that are down while these things are failed.

    >>> down([End("s1-eth1", "a", "b"), End("s2-eth1", "b", "a"), End("s2-eth2", "b", "east")], {"east"})
    {'s2-eth2'}
    """
    return {
        end.interface
        for end in ends
        if failed & {end.node, end.towards} or frozenset((end.node, end.towards)) in failed
    }


@dataclass
class Faults:
    """What is failed of a network that is up.

    Parameters
    ----------
    wiring : Wiring
    run : callable
        Runs a command where the switches are, and returns what it printed: `Testbed.run`.
    failed : set
        Links as frozensets of their ends, nodes and servers by name.
    """

    wiring: Wiring
    run: Callable[..., str]
    failed: set[Thing] = field(default_factory=set)
    _controllers: dict[str, dict[str, str]] = field(default_factory=dict)

    def link(self, a: str, b: str, works: bool) -> None:
        """Let the cable between two nodes fail, or heal it.

        Raises
        ------
        EmulationError
            When there is none; the message names those of the first node.
        """
        cables = {frozenset((end.node, end.towards)) for end in self.wiring.ends if end.towards in self.wiring.bridges}
        if frozenset((a, b)) not in cables:
            others = sorted({end.towards for end in self.wiring.ends if end.node == a} & self.wiring.bridges.keys())
            accepted = f"{a} has links with {', '.join(others)}" if others else f"the nodes are {self._nodes()}"
            raise EmulationError(f"found no link between {a} and {b}; {accepted}")
        self._set(frozenset((a, b)), works)

    def node(self, name: str, works: bool) -> None:
        """Let a node fail, with all its cables, rules and its controller; or heal it: its rules are the controller's.

        Raises
        ------
        EmulationError
            When there is none of that name.
        """
        if name not in self.wiring.bridges:
            raise EmulationError(f"found no node {name!r}; accepted: {self._nodes()}")
        if works == (name in self.failed):
            self._power(name, works)
        self._set(name, works)

    def server(self, name: str, works: bool) -> None:
        """Let the host of a server lose its cable, or get it back.

        Raises
        ------
        EmulationError
            When there is none of that name.
        """
        if name not in self.wiring.servers:
            accepted = ", ".join(sorted(self.wiring.servers)) or "none, this network has no server"
            raise EmulationError(f"found no server {name!r}; accepted: {accepted}")
        self._set(name, works)

    def steer(self, node: str, target: str | None) -> None:
        """Let the switch of a node look for its controller elsewhere; where it did at first, without a target."""
        if target is None:
            targets = self._controllers.pop(node)
        else:
            self._controllers.setdefault(node, self._targets(self.wiring.bridges[node]))
            targets = dict.fromkeys(self._controllers[node], target)
        words = [word for uuid, to in targets.items() for word in ("--", "set", "Controller", uuid, f'target="{to}"')]
        if words:
            self.run("ovs-vsctl", *words)

    def any(self, names: list[str], works: bool) -> None:
        """Let what one name (a node, a server) or two (a link) mean fail, or heal it; raises as they do."""
        match names:
            case [a, b]:
                self.link(a, b, works)
            case [name] if name in self.wiring.servers:
                self.server(name, works)
            case [name]:
                self.node(name, works)
            case _:
                raise EmulationError(f"found {len(names)} names; accepted: a node, a server, or the two ends of a link")

    def _set(self, thing: Thing, works: bool) -> None:
        before = down(self.wiring.ends, self.failed)
        wanted = self.failed - {thing} if works else self.failed | {thing}
        after = down(self.wiring.ends, wanted)
        lines = [f"link set {interface} down" for interface in sorted(after - before)]
        lines += [f"link set {interface} up" for interface in sorted(before - after)]
        if lines:
            self.run("ip", "-batch", "-", text="\n".join(lines) + "\n")
        self.failed = wanted

    def _power(self, node: str, on: bool) -> None:
        self.steer(node, None if on else NOWHERE)
        if not on:
            self.run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", self.wiring.bridges[node])

    def _targets(self, bridge: str) -> dict[str, str]:
        """Where a bridge looks for its controllers, by their rows in Open vSwitch's database."""
        rows = json.loads(self.run("ovs-vsctl", "--format=json", "--columns=_uuid,target", "list", "Controller"))
        own = self.run("ovs-vsctl", "get", "Bridge", bridge, "controller")
        return {uuid: target for (_, uuid), target in rows["data"] if uuid in own}

    def _nodes(self) -> str:
        return ", ".join(sorted(self.wiring.bridges))
