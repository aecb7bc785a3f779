"""The numbering is a pure function of the network, and survives its file."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pricing.errors import TopologyError
from pricing.network import Link, Network, Node, Server, Session
from topologies.plant import HostPlant, Plant, plan

NODES = ("Beta", "Alpha", "Gamma")
LINKS = (("Alpha", "Beta"), ("Beta", "Alpha"), ("Gamma", "Alpha"), ("Alpha", "Gamma"))


def network(nodes: tuple[str, ...] = NODES, links: tuple[tuple[str, str], ...] = LINKS) -> Network:
    return Network(
        name="three",
        nodes=tuple(Node(name) for name in nodes),
        links=tuple(Link(src, dst, 1e6) for src, dst in links),
        servers=(Server("west", "Gamma", 100.0), Server("east", "Alpha", 100.0)),
        sessions=(
            Session("b-web", "Beta", "anycast", ("west", "east"), 1e5, service="web"),
            Session("a-web", "Alpha", "anycast", ("west", "east"), 1e5, service="web"),
            Session("b-g", "Beta", "unicast", ("Gamma",), 1e5),
        ),
    )


def test_numbers_are_as_documented() -> None:
    plant = plan(network())
    assert {name: switch.dpid for name, switch in plant.switches.items()} == {"Alpha": 1, "Beta": 2, "Gamma": 3}
    assert plant.switches["Alpha"].ports == {"Beta": 1, "Gamma": 2}
    assert plant.hosts == {
        "east": HostPlant("Alpha", 3, "10.0.0.1", "02:00:0a:00:00:01", "server", ("a-web", "b-web")),
        "h-Alpha": HostPlant("Alpha", 4, "10.0.0.2", "02:00:0a:00:00:02", "source", ("a-web",)),
        "h-Beta": HostPlant("Beta", 2, "10.0.0.3", "02:00:0a:00:00:03", "source", ("b-g", "b-web")),
        "h-Gamma": HostPlant("Gamma", 2, "10.0.0.4", "02:00:0a:00:00:04", "destination", ("b-g",)),
        "west": HostPlant("Gamma", 3, "10.0.0.5", "02:00:0a:00:00:05", "server", ("a-web", "b-web")),
    }
    assert plant.services == {"web": "10.9.0.1"}


def test_addresses_of_sessions() -> None:
    net = network()
    assert [plan(net).address(session) for session in net.sessions] == ["10.9.0.1", "10.9.0.1", "10.0.0.4"]


def test_order_of_the_parts_does_not_matter() -> None:
    nodes, links = list(NODES), list(LINKS)
    for seed in range(5):
        random.Random(seed).shuffle(nodes)
        random.Random(seed).shuffle(links)
        assert plan(network(tuple(nodes), tuple(links))).to_json() == plan(network()).to_json()


def test_a_one_way_link_has_a_port_at_both_ends() -> None:
    one_way = network(links=(("Alpha", "Beta"), ("Beta", "Gamma"), ("Gamma", "Alpha")))
    assert plan(one_way).switches["Alpha"].ports == {"Beta": 1, "Gamma": 2}


def test_ports_of_a_switch_are_told_apart() -> None:
    plant = plan(network())
    for name, switch in plant.switches.items():
        ports = [*switch.ports.values(), *(host.port for host in plant.hosts.values() if host.node == name)]
        assert sorted(ports) == list(range(1, len(ports) + 1))


def test_long_names_stay_unique_and_short() -> None:
    names = ("Llanfairpwllgwy", "Llanfairpwllgwz", "h-Llanfairpwll")
    net = Network(
        name="long",
        nodes=tuple(Node(name) for name in names),
        links=tuple(Link(a, b, 1e6) for a in names for b in names if a != b),
        servers=(Server("h-Llanfairpwllg", names[2], 10.0),),
        sessions=tuple(Session(f"s{i}", name, "anycast", ("h-Llanfairpwllg",), 1e3) for i, name in enumerate(names)),
    )
    hosts = plan(net).hosts
    assert len(hosts) == 4
    assert all(len(name) <= 15 for name in hosts)
    assert not set(hosts) & set(names)


def test_many_hosts_have_addresses_of_hosts() -> None:
    count = 300
    nodes = tuple(Node(f"n{i:03}") for i in range(count))
    links = tuple(Link(f"n{i:03}", f"n{(i + 1) % count:03}", 1e6) for i in range(count))
    sessions = tuple(Session(f"s{i}", f"n{i:03}", "unicast", (f"n{(i + 7) % count:03}",), 1e3) for i in range(count))
    hosts = plan(Network("ring", nodes, links, (), sessions)).hosts
    addresses = {host.ip for host in hosts.values()}
    assert len(addresses) == len({host.mac for host in hosts.values()}) == count
    assert all(1 <= int(address.split(".")[3]) <= 254 for address in addresses)


def test_it_survives_its_file() -> None:
    plant = replace(plan(network()), datapath="kernel", netem=True, netns="wardrop-abcdef")
    assert Plant.from_json(plant.to_json()) == plant


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"datapath": "user", "netem": false, "netns": "", "switches": 3}'])
def test_what_is_no_plant_is_refused(text: str) -> None:
    with pytest.raises(TopologyError, match="not a plant"):
        Plant.from_json(text)
