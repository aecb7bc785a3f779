"""The agents' group in the rules: who hears whom, once each, with nothing dropped on its way."""

from __future__ import annotations

import pytest

from controller.fabric import Fabric
from controller.group import LOCAL, crossed, entries, group_rules
from controller.ingress import Ingress, ingresses
from controller.measure import EMPTY, Meter, Rate, rule_key, signalling
from controller.plant import plant_from_json
from controller.rules import Output, Rule
from pricing.network import Network
from pricing.outage import Outage
from pricing.shortest import shortest_path
from topologies.plant import plan
from topologies.scenario import load


def fabric_of(network: Network) -> Fabric:
    """The fabric of a network that is planned as the emulation plans it."""
    return Fabric(network, plant_from_json(plan(network).to_json(), network), 64)


ABILENE = fabric_of(load("abilene").network)


def walked(fabric: Fabric, node: str, port: int) -> tuple[list[str], list[int]]:
    """Hosts that get what enters there, and links that it crosses, once for each copy."""
    rules: dict[tuple[str, int], Rule] = {}
    for switch, rule in group_rules(fabric):
        rules[switch, int(dict(rule.match)["in_port"])] = rule  # type: ignore[arg-type]
    wires = {(a, p): b for a, switch in fabric.plant.switches.items() for b, p in switch.ports.items()}
    hosts = {(host.node, host.port): name for name, host in fabric.plant.hosts.items()}
    found, crossed, ahead = [], [], [(node, port)]
    while ahead:
        here, entered = ahead.pop()
        assert rules[here, entered].actions, f"dropped at {here}"
        for action in rules[here, entered].actions:
            assert isinstance(action, Output)
            assert action.port != entered
            if (here, action.port) in hosts:
                found.append(hosts[here, action.port])
            else:
                after = wires[here, action.port]
                crossed.append(fabric.network.link_index[here, after])
                ahead.append((after, fabric.plant.switches[after].ports[here]))
    return sorted(found), sorted(crossed)


@pytest.mark.parametrize("failed", [(), (("Denver", "KansasCity"), ("KansasCity", "Denver"))])
def test_every_source_hears_every_agent_once(failed: tuple[tuple[str, str], ...]) -> None:
    fabric = ABILENE.under(Outage(frozenset(failed), frozenset()))
    sources = sorted(fabric.sources)
    for node in fabric.plant.switches:
        assert walked(fabric, node, LOCAL) == (sources, [*crossed(fabric)[node]])
    for name, host in fabric.plant.hosts.items():
        others = [other for other in sources if other != name]
        assert walked(fabric, host.node, host.port) == (others, [*crossed(fabric)[host.node]])


def test_what_agents_say_is_told_of_each_link_that_it_crosses() -> None:
    one, other = entries(ABILENE)["servers"][0], entries(ABILENE)["links"][0]
    meter = Meter({}, {rule_key(one): Rate(1.0, 560.0, 0.0), rule_key(other): Rate(1.0, 40.0, 0.0)})
    told = signalling(ABILENE, meter)
    assert told["signalling"] == {"servers": 560.0, "links": 40.0, "sources": 0.0}
    first, second = (set(crossed(ABILENE)[node]) for node, _ in (one, other))
    assert len({one[0], other[0]}) == 2
    assert first != second
    assert told["signalling_links"] == [
        560.0 * (link in first) + 40.0 * (link in second) for link in range(len(ABILENE.network.links))
    ]
    assert not any(signalling(ABILENE, EMPTY)["signalling_links"])


@pytest.fixture
def seattle() -> Ingress:
    """An ingress of Abilene at which something is in force."""
    ingress = next(ingress for ingress in ingresses(ABILENE) if ingress.node == "Seattle")
    ingress.carries(shortest_path(ABILENE.network), {"seattle": 2e5}, 100.0)
    return ingress


def test_an_ingress_tells_what_it_carries_and_keeps_what_is_asked(seattle: Ingress) -> None:
    wanted = [[["Seattle", "Sunnyvale"], "west", 3.0], [["Seattle", "Denver", "Sunnyvale"], "west", 1.0]]
    reply = seattle.answer({"session": "seattle", "split": wanted})
    assert (reply["rate"], reply["since"], reply["split"]) == (2e5, 100.0, [[("Seattle", "Sunnyvale"), "west", 1.0]])
    assert sorted(weight for _, weight in seattle.taken()["seattle"]) == [0.25, 0.75]
    assert seattle.taken() == {}


@pytest.mark.parametrize(
    "request_",
    [
        {"session": "denver"},
        {"session": "seattle", "policy": "joint"},
        {"session": "seattle", "split": []},
        {"session": "seattle", "split": 3},
        {"session": "seattle", "split": [[["Seattle", "Sunnyvale"], "west", float("nan")]]},
        {"session": "seattle", "split": [[["Seattle", "Sunnyvale"], "east", 1.0]]},
        {"session": "seattle", "split": [[["Denver", "Sunnyvale"], "west", 1.0]]},
        {"session": "seattle", "split": [[["Seattle", "NewYork"], "west", 1.0]]},
    ],
)
def test_what_is_no_split_of_its_own_session_is_refused(seattle: Ingress, request_: dict[str, object]) -> None:
    assert "accepted" in seattle.answer(request_)["error"]
    assert seattle.taken() == {}
