"""Links and servers that fail and come back."""

from __future__ import annotations

import time
from collections import Counter

from experiments.faults.ground import Ground, Line, links_of, spare_cables
from experiments.faults.joining import POLICY, SHARE, ample, group_of
from experiments.faults.rows import LOST, NONE_TWICE, PACKETS, STEAL, Figure, Row, Seen
from experiments.result.groups import bound
from pricing.network import LinkKey, Network
from pricing.outage import Outage, remains

AWAY_TICKS = 4
"""Ticks for which something stays failed after that was noticed (ours)."""


def fail_link(ground: Ground) -> Seen:
    """Cut the busiest cable, and mend it."""
    return _fail(ground, *ground.busiest_cable())


def sparing(network: Network) -> Network:
    """The network with long queues, at the share of what the policy carries whichever spare cable is cut."""
    cut = (Outage(frozenset({key, key[::-1]})) for key in spare_cables(network))
    return ample(network).with_demand(SHARE * min(bound(remains(network, outage).network, POLICY) for outage in cut))


def fail_tree(ground: Ground) -> Seen:
    """Cut the cable that carries most of a group, and mend it."""
    group = group_of(ground.network)
    assert group is not None
    carried: Counter[LinkKey] = Counter()
    for route, weight in ground.lines[-1]["decided"][group.name]:
        for a, b in links_of(route):
            carried[min(a, b), max(a, b)] += weight
    return _fail(ground, *max(spare_cables(ground.network), key=lambda key: carried[key]))


def _fail(ground: Ground, a: str, b: str) -> Seen:
    emulation, network = ground.up.emulation, ground.network
    both = [network.link_index[a, b], network.link_index[b, a]]
    moment = time.time()
    emulation.fail_link(a, b)
    repriced, _ = ground.until(lambda line: _avoided(line, a, b) and all(not line["links"][i]["up"] for i in both))
    away = ground.ticks(AWAY_TICKS)
    emulation.heal_link(a, b)
    back, _ = ground.until(lambda line: not line["outage"]["links"])
    used, _ = ground.until(lambda line: not _avoided(line, a, b))
    busiest = [max(row["utilization"] for row in line["links"]) for line in away]
    return Seen(
        {
            "repriced_ticks": repriced,
            "back_ticks": back,
            "used_ticks": used,
            "top_utilization": max(busiest, default=None),
        },
        moment,
    )


def _avoided(line: Line, a: str, b: str) -> bool:
    """Whether no route in force has a cable."""
    routes = (route for split in line["decided"].values() for route, _ in split)
    return not any({(a, b), (b, a)} & links_of(route) for route in routes)


def kill_server(ground: Ground) -> Seen:
    """Kill the process of the server that most is asked of, and start it again."""
    name = _asked_most(ground)
    index = ground.network.server_index[name]
    moment = time.time()
    ground.traffic.kill_server(name)
    avoided, _ = ground.until(lambda line: _unused(line, name) and line["servers"][index]["price"] is None)
    asked = ground.ticks(AWAY_TICKS)[-1]["servers"][index]["utilization"]
    ground.traffic.start_server(name, ground.seed)
    back, _ = ground.until(lambda line: name not in line["outage"]["servers"])
    used, _ = ground.until(lambda line: not _unused(line, name))
    return Seen({"avoided_ticks": avoided, "still_asked": asked, "back_ticks": back, "used_ticks": used}, moment)


def cut_servers(ground: Ground) -> Seen:
    """Cut the cable of one server, then of all, and mend them."""
    emulation, first = ground.up.emulation, _asked_most(ground)
    names = [first, *(server.name for server in ground.network.servers if server.name != first)]
    anycast = {session.name for session in ground.network.sessions if session.kind == "anycast"}
    moment = time.time()
    emulation.fail_server(first)
    avoided, _ = ground.until(lambda line: _unused(line, first))
    for name in names[1:]:
        emulation.fail_server(name)
    named, _ = ground.until(lambda line: set(line["stranded"]) == anycast)
    for name in names:
        emulation.heal_server(name)
    back, _ = ground.until(lambda line: not line["stranded"] and not line["outage"]["servers"])
    ground.ticks(AWAY_TICKS)
    return Seen({"avoided_ticks": avoided, "named_ticks": named, "back_ticks": back}, moment)


def _asked_most(ground: Ground) -> str:
    """The server that carries most."""
    load = [row["load"] for row in ground.lines[-1]["servers"]]
    return ground.network.servers[load.index(max(load))].name


def _unused(line: Line, server: str) -> bool:
    """Whether no session may go to a server, which is known to be down."""
    routes = (route for split in line["decided"].values() for route, _ in split)
    return server in line["outage"]["servers"] and not any(route.endswith(f"@{server}") for route in routes)


LINK = Row(
    "link",
    "the busiest cable fails, and returns some ticks later",
    "its packets go around it within 50 ms, it is out of the prices within 2 ticks, and in use when it is back",
    (
        PACKETS,
        LOST,
        NONE_TWICE,
        Figure(
            "last_lost_s", "s", "from the cable's failure to the last lost packet that was sent", most=0.05, timing=True
        ),
        Figure("repriced_ticks", "ticks", "until no route uses it and its price is infinite", most=2, timing=True),
        Figure("top_utilization", "ratio", "of the links meanwhile: a storm or a loop would fill them", most=1.05),
        Figure("back_ticks", "ticks", "from its return until it is priced again", most=2, timing=True),
        Figure("used_ticks", "ticks", "from then until a route uses it", least=1),
        STEAL,
    ),
    fail_link,
)

TREE = Row(
    "tree",
    "the cable that carries most of the group fails, and returns some ticks later; the rate is "
    f"{SHARE:g} of what {POLICY} carries without any one cable",
    "its destinations are whole again within 2 ticks, nothing comes twice, and the cable is in use when it is back",
    (
        Figure("packets", "packets", "copies that were owed to destinations, while the row was run"),
        Figure("lost", "packets", "of these, copies that never came"),
        Figure("duplicated", "packets", "of these, copies that came more than once", most=0),
        Figure("last_lost_s", "s", "from the cable's failure to the last lost packet that was sent"),
        Figure("last_lost_ticks", "ticks", "the same in ticks", most=2, timing=True),
        Figure("repriced_ticks", "ticks", "until no tree uses it and its price is infinite", most=2, timing=True),
        Figure("top_utilization", "ratio", "of the links meanwhile: a storm or a loop would fill them", most=1.05),
        Figure("back_ticks", "ticks", "from its return until it is priced again", most=2, timing=True),
        Figure("used_ticks", "ticks", "from then until a tree uses it", least=1),
        STEAL,
    ),
    fail_tree,
)

SERVER = Row(
    "server",
    "the process of the server that most is asked of is killed, and started again some ticks later",
    "its price is infinite and no request is sent to it within 2 ticks; it is used again when it is back",
    (
        PACKETS,
        LOST,
        NONE_TWICE,
        Figure("last_lost_s", "s", "from its death to the last lost request that was sent"),
        Figure("avoided_ticks", "ticks", "until its price is infinite and no route leads to it", most=2, timing=True),
        Figure("still_asked", "ratio", "what still reaches it then, as its utilization", most=0.01),
        Figure("back_ticks", "ticks", "from its return until it counts as working", most=3, timing=True),
        Figure("used_ticks", "ticks", "from then until a route leads to it", least=1),
        STEAL,
    ),
    kill_server,
)

SERVER_LINK = Row(
    "server-link",
    "the cable of one server is cut, then those of all; all are mended",
    "no route leads to it within 2 ticks; sessions that no server is left for are named, and served again afterwards",
    (
        PACKETS,
        LOST,
        NONE_TWICE,
        Figure("avoided_ticks", "ticks", "until no route leads to the first", most=2, timing=True),
        Figure(
            "named_ticks", "ticks", "from the last cut until every session is named as cut off", most=3, timing=True
        ),
        Figure("back_ticks", "ticks", "from their return until no session is", most=3, timing=True),
        STEAL,
    ),
    cut_servers,
)
