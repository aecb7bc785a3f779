"""The controller, Open vSwitch and one switch's connection: ended and there again, while packets flow."""

from __future__ import annotations

import re
import time

from experiments.faults.ground import Ground, Line, blames, max_age
from experiments.faults.rows import LOST, NONE_LOST, NONE_TWICE, PACKETS, STEAL, Figure, Row, Seen
from topologies.faults import NOWHERE
from topologies.sockets import give_room

AWAY_TICKS = 3
"""Ticks for which a switch stays away (ours)."""

FOREIGN = "table=5,priority=9,arp,actions=drop"
"""A rule that nobody wants, and no packet meets."""


def kill_controller(ground: Ground) -> Seen:
    """Kill the controller with -9, and start it again."""
    up = ground.up
    moment = time.time()
    up.controller.kill()
    held = rules(ground)  # now, not before: its last tick may have been at work
    time.sleep(ground.tick)
    kept = rules(ground)
    began = time.time()
    with up.testbed.outside():
        up.controller.start()
    _, lines = ground.until(lambda line: line["tick"] >= 1 and line["error"] is None)
    fresh = [line for line in lines if line["time"] > began]
    priced = next((line["time"] - began for line in fresh if line["tick"] >= 1 and line["error"] is None), None)
    changed = fresh[0]["rules_changed"] if fresh else None
    ground.ticks(2)
    return Seen({"rules_lost": _differences(held, kept), "rules_changed": changed, "priced_s": priced}, moment)


def restart_switches(ground: Ground) -> Seen:
    """Kill the run's ovs-vswitchd with -9, and start it again some ticks later."""
    held, first = sum(map(len, rules(ground).values())), len(ground.lines)
    ground.up.emulation.restart_switches(AWAY_TICKS * ground.tick)
    moment = time.time()
    back, lines = ground.until(lambda line: line["rules_changed"] > 0 and line["error"] is None)
    restored = sum(line["rules_changed"] for line in lines)
    measured, _ = ground.until(lambda line: line["error"] is None and max_age(line) < 2 * ground.tick)
    give_room(ground.up.testbed.switch_pid)  # its sockets are new
    ground.ticks(2)
    there = sum(map(len, rules(ground).values()))
    return Seen(
        {
            "rules_held": held,
            "rules_restored": restored,
            "rules_missing": max(held - there, 0),
            "back_s": lines[-1]["time"] - moment if back else None,
            "age_ticks": max(map(max_age, ground.lines[first:])) / ground.tick,
            "measured": 0 if measured is None else 1,
        },
        moment,
    )


def disconnect_switch(ground: Ground) -> Seen:
    """Cut one switch from the controller, bend some of its rules, and let it return."""
    node = ground.entrance()
    run, bridge = ground.up.testbed.run, ground.up.emulation.faults.wiring.bridges[node]
    ground.up.emulation.faults.steer(node, NOWHERE)
    gone, _ = ground.until(lambda line: blames(line, node))
    away = ground.ticks(AWAY_TICKS)
    before = rules(ground)[node]
    run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", bridge, "table=5")
    run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", bridge, FOREIGN)
    others = rules(ground)
    wrong = len(before ^ others.pop(node))
    ground.up.emulation.faults.steer(node, None)
    back, lines = ground.until(lambda line: line["error"] is None)
    after = rules(ground)
    # Slots are left out: the next decision may have moved some, there and elsewhere.
    return Seen(
        {
            "age_ticks": max(_age_of(ground, line, node) for line in away) / ground.tick,
            "rules_wrong": wrong,
            "rules_still_wrong": len(before ^ after[node]),
            "others_changed": _differences(others, after),
            "named": 0 if gone is None else 1,
            "back_ticks": back,
            "rules_changed": sum(line["rules_changed"] for line in lines),
        }
    )


def rules(ground: Ground) -> dict[str, set[str]]:
    """The rules of every switch without their counters; without pins, which switches learn, and slots, which move."""
    run, found = ground.up.testbed.run, {}
    for node, bridge in ground.up.emulation.faults.wiring.bridges.items():
        text = run("ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", bridge)
        lines = (line.strip() for line in text.splitlines())
        found[node] = {line for line in lines if "actions=" in line and not re.search(r"table=[12],", line)}
    return found


def _differences(some: dict[str, set[str]], others: dict[str, set[str]]) -> int:
    return sum(len(held ^ others[name]) for name, held in some.items())


def _age_of(ground: Ground, line: Line, node: str) -> float:
    """Age of what is known of the links that leave a node, s."""
    pairs = zip(ground.network.links, line["links"], strict=True)
    return max((row["age"] for link, row in pairs if link.src == node and row["age"] is not None), default=0.0)


CONTROLLER = Row(
    "controller",
    "the controller is killed with -9, and another one is started",
    "no packet is lost; the new one changes no rule that is right, and prices again within 5 s",
    (
        PACKETS,
        NONE_LOST,
        NONE_TWICE,
        Figure("rules_lost", "rules", "gone or different while no controller was there", most=0),
        Figure("rules_changed", "rules", "sent when the new one had read what the switches hold", most=0),
        Figure("priced_s", "s", "from its start until it has priced", most=5.0, timing=True),
        STEAL,
    ),
    kill_controller,
)

OPEN_VSWITCH = Row(
    "open-vswitch",
    "the run's own ovs-vswitchd is killed with -9, and started again some ticks later",
    "every rule is put back, and everything is measured again; meanwhile measurements show their age",
    (
        PACKETS,
        LOST,
        NONE_TWICE,
        Figure("last_lost_s", "s", "from its return to the last lost packet that was sent", most=10.0, timing=True),
        Figure("rules_held", "rules", "held before, pins and slots left out"),
        Figure("rules_restored", "rules and groups", "sent to put back what was gone", least=1),
        Figure("rules_missing", "rules", "fewer than before, afterwards", most=0),
        Figure("back_s", "s", "from its return until every rule was acknowledged", most=10.0, timing=True),
        Figure("age_ticks", "ticks", "greatest age of a measurement that was shown meanwhile", least=2, timing=True),
        Figure("measured", "", "1 when everything was measured again", least=1),
        STEAL,
    ),
    restart_switches,
)

SWITCH = Row(
    "switch",
    "one switch is cut from the controller, loses rules that no packet meets, gets a foreign one, and returns",
    "no packet is lost, its measurements show their age, the tick names it; it is sent the difference alone",
    (
        PACKETS,
        NONE_LOST,
        NONE_TWICE,
        Figure("named", "", "1 when ticks say which switch is away", least=1),
        Figure("age_ticks", "ticks", "greatest age of its measurements that was shown", least=2, timing=True),
        Figure("rules_wrong", "rules", "missing or foreign when it returned", least=2),
        Figure("rules_changed", "rules", "sent to it and others in the tick in which it was back"),
        Figure("rules_still_wrong", "rules", "missing or foreign afterwards", most=0),
        Figure("others_changed", "rules", "that other switches were sent meanwhile, slots left out"),
        Figure("back_ticks", "ticks", "from its return until a tick went well", most=4, timing=True),
        STEAL,
    ),
    disconnect_switch,
)
