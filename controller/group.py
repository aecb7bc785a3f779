"""The agents' multicast group in the switches: along one tree that spans the links that work, never in a circle.

What agents say (`pricing.joint.messages`) goes from a host, or from the switch's own port, to every host where sessions
start, and to nobody else. The tree is the one of shortest paths (in links, ties by name) from the first node by name;
a packet goes out of every port of it that leads to such a host, but the one that it came in by. Packets to the group
from elsewhere meet no rule.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import lru_cache

from controller.fabric import Fabric
from controller.pipeline import ADMIT, ETH_IP, declare
from controller.rules import Match, Output, Placed
from pricing.joint.messages import GROUP

LOCAL = 0xFFFFFFFE
"""OpenFlow's number for a switch's own port, where its own agent speaks."""


@lru_cache(maxsize=64)
def tree(fabric: Fabric) -> dict[str, tuple[str, ...]]:
    """Neighbours of each node in the tree; a node that is cut off has none."""
    both = {node: sorted(n for n in fabric.graph[node] if fabric.graph.has_edge(n, node)) for node in fabric.graph}
    found: dict[str, list[str]] = {node: [] for node in sorted(both)}
    seen: set[str] = set()
    for root in found:
        ahead = deque([root] if root not in seen else ())
        seen.add(root)
        while ahead:
            node = ahead.popleft()
            for neighbour in both[node]:
                if neighbour not in seen:
                    seen.add(neighbour)
                    ahead.append(neighbour)
                    found[node].append(neighbour)
                    found[neighbour].append(node)
    return {node: tuple(sorted(neighbours)) for node, neighbours in found.items()}


def group_rules(fabric: Fabric) -> Iterator[Placed]:
    """The rules that carry the group."""
    for node, neighbours in tree(fabric).items():
        for port in (fabric.plant.switches[node].ports[neighbour] for neighbour in neighbours):
            yield node, declare(ADMIT, 460, _match(port), *_out(fabric, node, port))
    for rules in entries(fabric).values():
        yield from rules


def entries(fabric: Fabric) -> dict[str, tuple[Placed, ...]]:
    """The rules by which the group's packets enter, counted, by who speaks there: servers, links or sources."""
    roles: dict[str, list[Placed]] = {"servers": [], "sources": []}
    for name, host in sorted(fabric.plant.hosts.items()):
        roles["servers" if host.role == "server" else "sources"].append(spoken_rule(fabric, name))
    roles["links"] = [_switch_rule(fabric, node) for node in tree(fabric)]
    return {kind: tuple(rules) for kind, rules in roles.items()}


def _switch_rule(fabric: Fabric, node: str) -> Placed:
    """What a switch's own agent says."""
    return node, declare(ADMIT, 460, _match(LOCAL), *_out(fabric, node), counted=True)


def spoken_rule(fabric: Fabric, name: str) -> Placed:
    """What a host says to the group, from its own address."""
    host = fabric.plant.hosts[name]
    match = tuple(sorted([*_match(host.port), ("ipv4_src", host.ip)]))
    return host.node, declare(ADMIT, 460, match, *_out(fabric, host.node, host.port), counted=True)


def _out(fabric: Fabric, node: str, but: int = LOCAL) -> list[Output]:
    """Sends a packet out of every port of a node behind which somebody listens, but the one that it came in by."""
    here = (fabric.plant.hosts[name].port for name in fabric.sources if fabric.plant.hosts[name].node == node)
    ahead = (fabric.plant.switches[node].ports[neighbour] for neighbour in _ahead(fabric)[node])
    return [Output(port) for port in sorted({*ahead, *here} - {but})]


@lru_cache(maxsize=64)
def crossed(fabric: Fabric) -> dict[str, tuple[int, ...]]:
    """Indices of the links that a message crosses that enters at a node, each once."""
    ahead, index = _ahead(fabric), fabric.network.link_index

    def beyond(before: str, node: str) -> Iterator[int]:
        for after in ahead[node]:
            if after != before:
                yield index[node, after]
                yield from beyond(node, after)

    return {node: tuple(sorted(beyond("", node))) for node in ahead}


@lru_cache(maxsize=64)
def _ahead(fabric: Fabric) -> dict[str, tuple[str, ...]]:
    """Neighbours of each node behind which somebody of the tree listens: nothing goes to where it would be dropped."""
    branches, seen = tree(fabric), dict[tuple[str, str], bool]()
    listening = {fabric.plant.hosts[name].node for name in fabric.sources}

    def listens(node: str, after: str) -> bool:
        if (node, after) not in seen:
            further = any(listens(after, other) for other in branches[after] if other != node)
            seen[node, after] = after in listening or further
        return seen[node, after]

    return {node: tuple(n for n in found if listens(node, n)) for node, found in branches.items()}


def _match(port: int) -> Match:
    return (("eth_type", ETH_IP), ("in_port", port), ("ipv4_dst", GROUP))
