"""Users in scenario files, refused at the door all at once, and what a user in a host does with announcements."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from controller.compile import request_rule
from controller.fabric import Fabric
from controller.plant import plant_from_json
from controller.told import read as read_told
from pricing.errors import ScenarioError
from pricing.network import SizeLaw
from pricing.priority.announcement import PORT, Row, written
from topologies.hosts import logs
from topologies.hosts.sockets import ECHO
from topologies.hosts.user import Customer, Elastic, Option
from topologies.plant import plan
from topologies.scenario import dump, elastic, load, parse

TEXT = (Path(__file__).parents[2] / "topologies" / "library" / "two-servers.yaml").read_text()


def crowded() -> str:
    """`two-servers` with a second user on the left, of a service of its own."""
    text = TEXT.replace("services:\n", "services:\n  mail: {servers: [left, right]}\n")
    text = text.replace("sessions:\n", "sessions:\n  more: {source: Left, service: mail, rate: 100 kbit/s}\n")
    more = "  more: {value: {law: log, a: 200, s: 50}, delay_cost: 200, rate: 400 kbit/s}\n"
    return text.replace("users:\n", f"users:\n{more}")


def problems(text: str) -> list[str]:
    """What is said of a scenario file."""
    with pytest.raises(ScenarioError) as caught:
        parse(text, Path("x.yaml"))
    return list(caught.value.problems)


def test_every_mistake_of_users_is_reported_at_once() -> None:
    text = TEXT.replace("delay_cost: 100", "delay_cost: 0").replace("classes: 2", "classes: 9")
    text = text.replace("{law: quadratic, a: 15, b: 0.0357}", "{law: table, rates: [100, 200], values: [10, 30]}")
    found = problems(text)
    assert len(found) == 3
    assert any(said.startswith("users.many.delay_cost: found 0") for said in found)
    assert any("users.few.value" in said and "not strictly concave at X = 100" in said for said in found)
    assert any("classes: found 9" in said and "DSCP" in said for said in found)


def test_a_user_without_a_session_and_a_value_without_its_numbers_are_named() -> None:
    assert "no session; did you mean 'many'?" in problems(TEXT.replace("  many: {value", "  manny: {value"))[0]
    assert "quadratic with a, b" in problems(TEXT.replace("law: quadratic, a: 4, b: 0.00667", "law: log, a: 4"))[0]


def test_users_are_written_out_and_where_they_choose_everybody_needs_one() -> None:
    scenario = load("two-servers")
    again = parse(dump(scenario), Path("x.yaml"))
    assert again.users.keys() == scenario.users.keys()
    assert all(again.users[name].rate == pytest.approx(user.rate) for name, user in scenario.users.items())
    assert [group.name for group in elastic(scenario).groups] == ["few", "many"]
    with pytest.raises(ScenarioError, match="users: found none for ask-3"):
        elastic(load("star"))


def test_two_users_stand_at_one_node_where_they_ask_for_different_services() -> None:
    scenario = elastic(parse(crowded(), Path("x.yaml")))
    assert [group.name for group in scenario.groups] == ["few", "many", "more"]
    fabric = Fabric(scenario.network, plant_from_json(plan(scenario.network).to_json(), scenario.network), 64)
    requests = [request_rule(fabric, session) for session in scenario.network.sessions]
    matches = {(switch, rule.match) for switch, rule in requests}
    assert len(matches) == len(requests) == 12, "the switch tells every option of both by its address and mark"


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Customer]:
    """A user of two options, both at this machine: a class each."""
    options = tuple(Option(k, f"u.here.{k + 1}", "127.0.0.1", 32 * (7 - k)) for k in (0, 1))
    one = Customer(
        Elastic(
            0, 1, "127.0.0.1", 200.0, SizeLaw("fixed", 100.0), 1, time.time() + 0.2, 0.0, 1.0, str(tmp_path / "user-u"),
            drain=0.1, options=options, value={"law": "quadratic", "a": 2.0, "b": 0.01}, begin=(50.0, 50.0),
            folder=str(tmp_path), told=str(tmp_path / "user-u.json"),
        )
    )  # fmt: skip
    yield one
    for sock in (*one.sockets, one.prices):
        sock.close()


def announce(tick: int, *prices: float) -> None:
    """Tell the user what its options cost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        rows = [Row(k, k + 1, price, 0.0) for k, price in enumerate(prices)]
        for datagram in (*written(tick, 0, rows), b"nonsense"):
            sender.sendto(datagram, ("127.0.0.1", PORT))


def test_a_user_follows_announcements_and_leaves_out_what_is_older(customer: Customer) -> None:
    announce(5, 1.0, 1.5)
    customer._read()
    assert customer.choice.rate == pytest.approx(100.0), "at a cost of 1 it wants what it has"
    assert customer.choice.shares == pytest.approx([0.55, 0.45])
    announce(4, 9.0, 9.0)
    customer._read()
    assert customer.tick == 5
    assert customer.counts == {"announcements": 2, "malformed": 2}
    customer.told("value 2")
    announce(6, 1.0, 1.0)
    customer._read()
    assert customer.choice.rate == pytest.approx(105.0), "worth twice as much, it wants 150"
    announce(7, np.inf, 1.0)
    customer._read()
    assert customer.choice.shares[0] == 0.0, "what is not on offer is not asked for"


def test_what_is_sent_carries_its_class_and_every_option_has_its_logs(customer: Customer, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 7000))
        customer.run()
        customer.save()
    log, summary = logs.load(tmp_path / "user-u.npy")
    assert summary["options"] == ["u.here.1", "u.here.2"]
    assert np.array_equal(log["option"] >= 0, log["chance"] < 0.5), "the acceptance probability, 100 of 200"
    for number in (0, 1):
        requests, counts = logs.load(tmp_path / f"sender-u.here.{number + 1}.requests.npy")
        assert np.array_equal(requests["seq"], log["seq"][log["option"] == number])
        assert counts["sent"] == counts["scheduled"] == len(requests)
        assert (requests["sent"] > 0).all()


def test_what_a_user_says_is_read_as_its_own_and_as_that_of_its_options(customer: Customer, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 7000))
        customer.run()
    customer.told("value 2")
    customer.answered(ECHO.pack(1, 0, 3), [(0, 0, bytes(16))])
    customer.export.second = 0  # as if the second were over
    customer.export.write()
    hosts, now = {"u.here.1": "h-a", "u.here.2": "h-a"}, time.time()
    found = {(kind, name): fields for kind, name, fields in read_told(tmp_path, hosts, [], now)}
    user = found.pop(("user", "u"))
    assert (user["host"], user["asked"], user["accepted"], user["value"]) == ("h-a", len(customer.requests), 0.5, 2.0)
    sent = [found["sender", name]["sent"] for name in hosts]
    assert sent == np.bincount(customer.chosen[customer.chosen >= 0], minlength=2).tolist()
    assert [found["sender", name]["answers"] for name in hosts] == [0, 1]
    assert [*read_told(tmp_path, {"other.here.1": "h-a"}, [], now)] == []
