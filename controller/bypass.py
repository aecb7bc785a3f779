"""Bypasses: where packets go in the moment when a link fails, before anybody has decided anything.

Each link from i to j has a group at i: its first bucket sends the packet on while the port is alive; its second, where
other links lead to j, sends it around the link (facility backup, as RFC 4090 does it for MPLS). On the bypass the
packet carries a VLAN tag, the link's number; the last switch before j takes it off, so at j the packet is what it would
have been, and goes on by its label or address: also back over the link that it came by, which a port alone would
refuse. One bypass serves every session, and needs no message when the link fails.

A bypass is itself not bypassed, so two failures at once can lose packets but never turn them in circles; and a node
that fails takes its bypasses along: then packets wait for the next decision of the controller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from controller.fabric import Fabric
from controller.pipeline import ADMIT, declare
from controller.rules import Action, Bucket, Group, Load, Output, Placed, PopVlan, PushVlan, SetField, ToGroup
from pricing.network import LinkKey

VLAN_PRESENT = 0x1000
"""Bit of `vlan_vid` that says that there is a tag."""

LAST_VLAN = 0xFFE

FORGET_PORT = Load("in_port_nxm", 0, bits=16)
"""A switch sends no packet back where it came from, which a bypass, or the way after it, may ask for."""


@lru_cache(maxsize=1 << 14)
def bypass(fabric: Fabric, link: LinkKey) -> tuple[str, ...]:
    """Nodes from one end of a link to the other without its cable: fewest links, ties by name; empty without a way."""
    start, goal = link
    if fabric.network.link_index[link] >= LAST_VLAN:
        return ()
    before: dict[str, str] = {start: start}
    queue = deque([start])
    while queue and goal not in before:
        node = queue.popleft()
        for after in sorted(fabric.graph[node]):
            if after not in before and {node, after} != {start, goal}:
                before[after] = node
                queue.append(after)
    if goal not in before:
        return ()
    nodes = [goal]
    while nodes[-1] != start:
        nodes.append(before[nodes[-1]])
    return tuple(reversed(nodes))


def towards(fabric: Fabric, node: str, after: str) -> Action:
    """What sends a packet from a node to a neighbour, even back to where a bypass brought it from: the link's group."""
    return ToGroup(fabric.plant.switches[node].ports[after])


def bypasses(fabric: Fabric) -> Iterator[Placed]:
    """Each link's group, and the rules along its bypass."""
    for link in fabric.network.links:
        nodes = bypass(fabric, link.key)
        own = fabric.plant.switches[link.src].ports[link.dst]
        straight = Bucket((FORGET_PORT, Output(own)), own)
        if not nodes:
            yield link.src, Group(own, "failover", (straight,))
            continue
        tag = VLAN_PRESENT | fabric.network.link_index[link.key] + 1
        ports = [fabric.plant.switches[a].ports[b] for a, b in pairwise(nodes)]
        around = (FORGET_PORT, PushVlan(), SetField("vlan_vid", tag), Output(ports[0]))
        yield link.src, Group(own, "failover", (straight, Bucket(around, ports[0])))
        for (came, node), port in zip(pairwise(nodes), ports[1:], strict=False):
            match = (("in_port", fabric.plant.switches[node].ports[came]), ("vlan_vid", tag))
            last = (PopVlan(),) if port == ports[-1] and node == nodes[-2] else ()
            yield node, declare(ADMIT, 600, match, *last, Output(port))
