"""A market that sheds, on real packets: what is not worth its price is refused at the ingress, all else arrives."""

from __future__ import annotations

import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.result.assemble import Account
from experiments.result.verdicts import verdicts
from experiments.running.campaign import Options, campaign
from pricing.network import ArrivalLaw, Link, Network, Node, Server, Session, SizeLaw
from topologies.scenario import Control, Scenario

pytestmark = [pytest.mark.emulated, pytest.mark.long]

METRICS = "127.0.0.1:19478"

REQUESTS = Session(
    "batch",
    "a",
    "anycast",
    ("cheap", "dear"),
    2e5,
    size=SizeLaw("fixed", 83, 83, 83),
    flows=200,
    response_bits=1000.0,
    arrivals=ArrivalLaw("deterministic"),
)
"""200 a second."""

NETWORK = Network(
    "shedding",
    (Node("a"), Node("b")),
    (Link("a", "b", 4e6, queue=5000), Link("b", "a", 4e6, queue=5000)),
    (Server("cheap", "b", 100.0, scv=0.0, cost=1e-3), Server("dear", "a", 100.0, scv=0.0, cost=2e-3)),
    (
        replace(REQUESTS, service="batch", work=1.0, value=3e-3),
        replace(REQUESTS, name="chat", service="chat", work=0.5),
    ),
    currency="EUR",
)


def test_what_is_not_worth_its_price_is_refused_and_everything_else_arrives() -> None:
    """180 of 200 work/s are cleared; chat takes 100 of them, so that 80 of 200 are left for batch."""
    scenario = Scenario("shedding", "", "", NETWORK, Control(0.5, 256), Path("shedding.yaml"))
    with campaign(scenario, "market", Options(metrics=METRICS, wait=300.0)) as up:
        log = up.run_once("market", "market", 1, 3.0, 6.0)
        with up.testbed.outside(), urllib.request.urlopen(f"http://{METRICS}/metrics") as page:
            told = page.read().decode()
        account = Account(up.network, up.emulation.plant, log)
    shed = next(line for line in told.splitlines() if line.startswith('wardrop_market_session_shed{session="batch"}'))
    assert float(shed.split()[-1]) == pytest.approx(120, rel=0.1)
    assert {spell.session for spell in account.spells} == {"batch"}
    found = {verdict["name"]: verdict for verdict in verdicts(account)}
    refused = found["refused against decided share"]
    assert refused["expected"] == pytest.approx(0.6, abs=0.05)
    assert refused["verdict"] == "met", refused["note"]
    assert found["requests lost"]["verdict"] == found["losses unaccounted for"]["verdict"] == "met"
    assert found["requests duplicated"]["verdict"] == "met"
    batch, chat = account.measured.sessions
    assert chat.received == chat.sent > 0 < batch.received < batch.sent
