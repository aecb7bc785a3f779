"""What `tc` is told of links with classes, with what happens on the way, and with store and forward; no packets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pricing.errors import EmulationError
from pricing.network import Link, Network, Node, Session
from topologies.links import as_emulated, shaping, tos

LINK = Link("a", "b", 10e6, propagation=0.005, queue=77, delivers="sojourn", jitter=0.001, loss=0.02)


def network(*classes: int) -> Network:
    """Sessions of these classes from a to b."""
    sessions = tuple(Session(f"k{i}", "a", "unicast", ("b",), 1e6, klass=klass) for i, klass in enumerate(classes))
    return Network("pair", (Node("a"), Node("b")), (LINK,), (), sessions)


def test_a_leaf_a_class_under_one_tree() -> None:
    lines = shaping(LINK, "x", netem=False, classes=2, burst_seconds=80e-6)
    assert lines == [
        "qdisc add dev x root handle 1: htb default 12",
        "class add dev x parent 1: classid 1:1 htb rate 10000000bit burst 100 cburst 100 quantum 1514",
        "class add dev x parent 1:1 classid 1:11 htb prio 0 rate 8bit ceil 10000000bit burst 1 cburst 100 quantum 1514",
        "qdisc add dev x parent 1:11 handle 11: pfifo limit 77",
        "filter add dev x parent 1: protocol ip prio 1 u32 match ip dsfield 0xe0 0xfc flowid 1:11",
        "class add dev x parent 1:1 classid 1:12 htb prio 1 rate 8bit ceil 10000000bit burst 1 cburst 100 quantum 1514",
        "qdisc add dev x parent 1:12 handle 12: pfifo limit 77",
        "filter add dev x parent 1: protocol ip prio 2 u32 match ip dsfield 0xc0 0xfc flowid 1:12",
    ]


def test_classes_differ_in_dscp_and_one_class_has_no_mark() -> None:
    marks = [tos(klass, 8) for klass in range(1, 9)]
    assert marks == sorted(set(marks), reverse=True)
    assert all(mark & 0x03 == 0 for mark in marks), "the last two bits are not DSCP's"
    assert tos(1, 1) == 0
    with pytest.raises(EmulationError, match="9 priority classes: 1 to 8"):
        shaping(LINK, "x", netem=False, classes=9)


def test_what_happens_on_the_way_is_netems() -> None:
    wait = shaping(replace(LINK, delivers="wait"), "x", netem=True)
    assert wait[-1] == "qdisc add dev x parent 1:1 handle 10: netem limit 195 delay 5000us 1000us loss 2.000000%"
    lost = shaping(replace(LINK, delivers="wait", propagation=0.0, jitter=0.0), "x", netem=True)
    assert lost[-1].endswith("netem limit 77 loss 2.000000%")
    assert shaping(LINK, "x", netem=False)[-1].endswith("pfifo limit 77")


def test_store_and_forward_is_netems_rate() -> None:
    lines = shaping(LINK, "x", netem=True)
    assert lines == [
        "qdisc add dev x root handle 1: netem limit 195 delay 5000us 1000us loss 2.000000% rate 10000000bit"
    ]
    assert "htb" in shaping(LINK, "x", netem=True, classes=2)[0], "netem knows no classes"


@pytest.mark.parametrize(
    ("netem", "classes", "delivers", "propagation", "loss"),
    [(False, (1,), "wait", 0.0, 0.0), (True, (1,), "sojourn", 0.005, 0.02), (True, (1, 2), "wait", 0.005, 0.02)],
)
def test_the_network_as_it_is_carried_out(
    netem: bool, classes: tuple[int, ...], delivers: str, propagation: float, loss: float
) -> None:
    link = as_emulated(network(*classes), netem).links[0]
    assert network(*classes).classes == max(classes)
    assert (link.delivers, link.propagation, link.loss) == (delivers, propagation, loss)
