"""Scenarios as topologies of Mininet: `--topo abilene,load=0.9`, `--topo star,7`, `--topo scenario,my-network.yaml`.

Switches, hosts, ports and addresses are those of the scenario's plant. Links have Mininet's parameters (`bw` in Mbit/s,
`delay` where the kernel can), for whichever link class is asked for. Every switch carries the scenario's description in
its parameter `scenario`, where the controller `priced` finds sessions and servers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from mininet.topo import Topo

from pricing.errors import EmulationError
from topologies.families import FAMILIES
from topologies.mn.environment import HOME, answer
from topologies.mn.nodes import netem_here

NAME_LENGTH = 15 - len("-eth0")
"""What an interface's name has room for of its host's."""


class ScenarioTopo(Topo):  # type: ignore[misc]
    """The topology of a scenario.

    Parameters
    ----------
    scenario : str
        Its name, or the path of its file.
    load : float, optional
        Scale the servers so that they are loaded to this share of their sum.

    Raises
    ------
    EmulationError
        When there is no such scenario, or it is given something else.
    """

    def build(self, scenario: str = "abilene", *others: object, load: float | None = None) -> None:
        """Add switches, hosts and links; called by Mininet."""
        if others:
            found = ",".join(map(str, others))
            raise EmulationError(f"--topo {scenario},{found}: found {found}; accepted: nothing but load=RHO")
        if not isinstance(load, float | int | None):
            raise EmulationError(f"--topo {scenario}: load: found {load!r}; accepted: a number above 0, such as 0.75")
        netem = netem_here()
        options = ["--netem"] if netem else []
        options += [] if load is None else [f"--load={load}"]
        described = json.loads(answer("topologies.describe", scenario, *options))
        plant = described["plant"]
        names = {node: f"s{switch['dpid']}" for node, switch in plant["switches"].items()}
        for node, switch in sorted(plant["switches"].items(), key=lambda item: int(item[1]["dpid"])):
            self.addSwitch(names[node], dpid=f"{switch['dpid']:016x}", scenario=described)
        for name, host in plant["hosts"].items():
            serves = host["role"] == "server"
            services = sorted(plant["services"].values()) if serves else []
            self.addHost(name, ip=f"{host['ip']}/8", mac=host["mac"], services=services)
            self.addLink(name, names[host["node"]], 0, host["port"], intfName1=f"{name[:NAME_LENGTH]}-eth0")
        links = {(link["src"], link["dst"]): link for link in described["network"]["links"]}
        for node, switch in plant["switches"].items():
            for neighbour, port in switch["ports"].items():
                if node < neighbour:
                    back = plant["switches"][neighbour]["ports"][node]
                    ways = [parameters(links.get(key), netem) for key in ((node, neighbour), (neighbour, node))]
                    both = {"params1": ways[0], "params2": ways[1]}
                    self.addLink(names[node], names[neighbour], port, back, **both)


def of_family(family: str, number: object = None, *others: object, load: float | None = None) -> ScenarioTopo:
    """The topology of a scenario with a parameter, which Mininet gives by its place: `--topo star,7`."""
    return ScenarioTopo(family if number is None else f"{family}({number})", *others, load=load)


def parameters(link: dict[str, Any] | None, netem: bool) -> dict[str, Any]:
    """Mininet's parameters of the interface that feeds a link.

    >>> parameters({"capacity": 2e6, "propagation": 0.005, "queue": 9}, netem=False)
    {'bw': 2.0, 'queue': 9}
    """
    if link is None:
        return {}
    delay = {"delay": f"{1e6 * link['propagation']:.0f}us"} if netem and link["propagation"] else {}
    return {"bw": link["capacity"] / 1e6, "queue": link["queue"], **delay}


TOPOS: dict[str, Callable[..., Topo]] = {
    path.stem: partial(ScenarioTopo, path.stem) for path in sorted((HOME / "topologies/library").glob("*.yaml"))
}
"""A topology for each scenario and each family that comes with Wardrop, and `scenario` for any file."""
TOPOS |= {family: partial(of_family, family) for family in FAMILIES}
TOPOS["scenario"] = ScenarioTopo
