"""Verdicts on made-up accounts: what a harmful link costs the selfish, and whether tolls undo it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from experiments.result import verdicts
from experiments.result.assemble import Account
from experiments.result.refused import Spell
from experiments.running.phase import Setting
from pricing.network import Link
from pricing.values import FloatArray

PACKETS = 4000


def account(setting: Setting, delay: FloatArray, turned_away: int = 0) -> Account:
    """A phase in which these packets had these delays and so many were refused, every second quiet."""
    everything = np.ones(PACKETS, dtype=bool)
    window = SimpleNamespace(holds=lambda sent: everything, quiet=lambda sent: everything)
    requests = SimpleNamespace(sent=np.arange(PACKETS), session=np.zeros(PACKETS), delay=delay)
    log = SimpleNamespace(setting=setting, policy=setting.policy, measure=60.0)
    whole = {"spells": [Spell("a", 0.0, 9.0, 0.2)] if turned_away else [], "turned_away": turned_away}
    session = SimpleNamespace(sent=PACKETS, lost=turned_away, duplicated=0)
    counted = {"measured": SimpleNamespace(sessions=[session]), "losses": {"unaccounted": 0}, "is_market": False}
    return cast(Account, SimpleNamespace(window=window, requests=requests, log=log, **whole, **counted))


@pytest.mark.parametrize(("mean", "said"), [(8.9e-3, "met"), (12.8e-3, "not met")])
def test_tolls_undo_what_a_link_does_to_the_selfish_or_do_not(mean: float, said: str) -> None:
    own = np.random.default_rng(1).exponential(1.0, PACKETS)
    less = account(Setting("user-equilibrium", without=("North", "South")), 8.9e-3 * own)
    found = verdicts._undone(account(Setting("tolled"), mean * own), less)
    assert found["name"] == "mean delay of tolled over user-equilibrium without North-South"
    assert found["measured"] == pytest.approx(mean / 8.9e-3)
    assert found["verdict"] == said


def test_a_harmful_link_shows_in_the_ratio_without_it() -> None:
    own = np.random.default_rng(1).exponential(1.0, PACKETS)
    every = account(Setting("user-equilibrium"), 13.0e-3 * own)
    less = account(Setting("user-equilibrium", without=("North", "South")), 8.9e-3 * own)
    found = verdicts._compared(less, every)
    assert found["name"] == "mean delay of user-equilibrium without North-South over user-equilibrium"
    assert found["verdict"] == "met"
    assert found["measured"] < 1


def test_what_was_refused_is_named_and_leaves_no_ratio_of_delays_decided() -> None:
    own = np.random.default_rng(1).exponential(1.0, PACKETS)
    part = account(Setting("joint"), 2e-3 * own, turned_away=700)
    found = verdicts._compared(part, account(Setting("shortest-path"), 9e-3 * own))
    assert found["verdict"] == "undecided"
    assert found["note"].endswith("; a part was refused")
    said = {each["name"]: each for each in verdicts._whole(part)}
    assert said["requests refused"]["verdict"] == "not met"
    assert said["requests refused"]["measured"] == 700
    assert "a 20.0% from 0 to 9 s" in said["requests refused"]["note"]
    assert said["requests lost"]["verdict"] == "met"


def carrying(loads: list[float], predicted: list[float], said: list[float]) -> Account:
    """A phase on two links of 1 Mbit/s, with what its queues counted, what is predicted and what agents said."""
    network = SimpleNamespace(links=[Link("a", "b", 1e6), Link("b", "a", 1e6)])
    pieces = np.linspace(0.9, 1.1, 10)[:, None]
    return cast(
        Account,
        SimpleNamespace(
            network=network,
            edges=np.arange(11.0),
            loads=pieces * predicted + (np.array(loads) - predicted),
            predicted_loads=pieces * predicted + said,
            signalling=np.array(said),
        ),
    )


def test_what_agents_say_is_part_of_the_predicted_load() -> None:
    counted, simulated, said = [2.2e5, 3.0e5], [2.0e5, 2.9e5], [1.9e4, 1.1e4]
    found = verdicts._loads(carrying(counted, simulated, said))
    assert found["verdict"] == "met"
    assert found["measured"] == pytest.approx(1e3 / 2.19e5)
    assert "a->b, the farthest off of 2 links" in found["note"]
    assert "agents' messages, 19.0 kbit/s on a link at most, are added" in found["note"]
    without = verdicts._loads(carrying(counted, simulated, [0.0, 0.0]))
    assert without["verdict"] == "not met"
    assert without["measured"] == pytest.approx(0.1)
    assert "agents" not in without["note"]


def test_every_loss_has_its_place() -> None:
    served = {"received": 90, "served": 80, "malformed": 1, "answers": 75, "errors": 5, "socket_drops": 2}
    queues = SimpleNamespace(times=[0, 1], drops=np.array([[3, 0], [5, 1]]))
    log = SimpleNamespace(
        served={"a": (None, served)},
        requests={"s": (None, {"scheduled": 101, "sent": 100})},
        answers={"s": (None, {"received": 74, "socket_drops": 0})},
        queues=queues,
        switch_drops=4,
        background={},
    )
    found = Account.losses.func(cast(Account, SimpleNamespace(log=log, refused=np.zeros(3, dtype=bool))))
    places = {"sender": 6, "link queue": 3, "switch": 4, "socket": 2, "server queue": 10, "refused": 0}
    assert found == places | {"unaccounted": 1}, "100 + 75 sent, 91 + 74 came, 9 lost between"
