"""A switch that refuses a rule, that answers late, that never answers a barrier."""

from __future__ import annotations

import re
from collections.abc import Callable

from experiments.faults.between import Between, Late, Manner, Refusing, Silent
from experiments.faults.ground import Ground, Line, blames
from experiments.faults.rows import NONE_LOST, NONE_TWICE, PACKETS, STEAL, Figure, Row, Seen

LATE_S = 1.5
"""How late `Late` is, s (ours)."""

SILENT_S = 5.0
"""Half of what the controller waits for a barrier, s (ours)."""

CODE = re.compile(r"(add|modify) table \d+ .*: OpenFlow error type 5 code 1")
"""What the error says: the rule, and OFPFMFC_TABLE_FULL."""

Said = Callable[[Line, str], bool]
"""Whether a tick says of a node's switch what it should."""


def refuse(ground: Ground) -> Seen:
    """Refuse rules of the switch at which the largest session enters, while the policy changes."""
    return _misbehave(ground, Refusing(), lambda line, node: blames(line, node) and bool(CODE.search(line["error"])))


def answer_late(ground: Ground) -> Seen:
    """Answer its barriers late, while the policy changes."""
    return _misbehave(ground, Late(LATE_S), lambda line, _: line["rules_changed"] > 0 and line["tick_s"] >= LATE_S)


def answer_never(ground: Ground) -> Seen:
    """Answer no barrier of a tick, while the policy changes."""
    return _misbehave(ground, Silent(SILENT_S), lambda line, node: blames(line, node) and "barrier" in line["error"])


def _misbehave(ground: Ground, manner: Manner, wanted: Said) -> Seen:
    """Let a switch misbehave while another policy is asked for, until that shows; then let it behave."""
    node, controller = ground.entrance(), ground.up.controller
    policy = ground.lines[-1]["policy"]
    with Between(ground.up.emulation, node) as between:
        ground.ticks(1)
        ground.until(lambda line: line["error"] is None)
        before = ground.lines[-1]
        between.manner = manner
        controller.ask({"policy": "ecmp"})
        shown, lines = ground.until(lambda line: wanted(line, node))
        said = lines[-1]
        between.manner = Manner()
        carried, more = ground.until(lambda line: line["error"] is None)
        controller.ask({"policy": policy})
        ground.until(lambda line: line["policy"] == policy and line["error"] is None)
        ground.ticks(2)
    failed = [line for line in (*lines, *more) if line["error"]]
    return Seen(
        {
            "shown": 0 if shown is None else 1,
            "failed_ticks": len(failed),
            "tick_s": said["tick_s"],
            "decision_moved": sum(line["decided"] != before["decided"] for line in failed),
            "carried_ticks": carried,
        }
    )


def _figures(shown: str, failed: Figure) -> tuple[Figure, ...]:
    return (
        PACKETS,
        NONE_LOST,
        NONE_TWICE,
        Figure("shown", "", shown, least=1),
        failed,
        Figure("tick_s", "s", "that the tick took in which it showed"),
        Figure(
            "decision_moved", "ticks", "of the failed ones, after which another decision counted as in force", most=0
        ),
        Figure("carried_ticks", "ticks", "from its better manners until what was wanted is in force", least=1),
        STEAL,
    )


FAILED = Figure("failed_ticks", "ticks", "that failed as a whole", least=1)

REFUSAL = Row(
    "refusal",
    "a switch refuses every new rule of its slots (table full), while the policy is changed",
    "the tick fails as a whole, the last acknowledged state stays, the error names switch, rule and OpenFlow's code",
    _figures("1 when the error named all three", FAILED),
    refuse,
)

LATE = Row(
    "late",
    f"a switch answers its barriers {LATE_S:g} s late, while the policy is changed",
    "the tick takes longer and succeeds; no packet is lost",
    _figures("1 when such a tick was seen", Figure("failed_ticks", "ticks", "that failed as a whole")),
    answer_late,
)

SILENT = Row(
    "silent",
    "a switch never answers the barriers of a tick, while the policy is changed",
    "the tick fails as a whole, the last acknowledged state stays, the error names the switch",
    _figures("1 when the error named it", FAILED),
    answer_never,
)
