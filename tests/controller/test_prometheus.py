"""A real Prometheus scrapes: every metric arrives as declared, and what is asked of it has an answer."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_fabrics as small
from real_prometheus import CONFIGURATION, Prometheus, needed, queries, scraping, until

from controller import tick
from controller.measure import Measured
from controller.metrics import METRICS, Declared, Exporter
from pricing.network import Session
from pricing.outage import NOTHING, Outage
from pricing.policy import POLICIES
from pricing.priority.publish import published
from pricing.problem import evaluate
from pricing.values import Quote, Quotes

pytestmark = needed

SQUARE = small.network(
    [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")], {"east": "c", "west": "d"}, ["a", "b"], flows=30
)
SQUARE = replace(
    SQUARE,
    sessions=(*SQUARE.sessions, Session("cast", "a", "multicast", ("c", "d"), 1e5, flows=30, group="239.0.0.1")),
)
CUT = Outage(frozenset({("a", "d"), ("d", "a")}), frozenset())
SENDER = {"host": "h-a", "sent": 40, "answers": 39, "errors": 1, "late_p99_s": 1e-4}
SERVER = {"received": 9, "overflow": 2, "queue": 3, "wait_s": 0.01, "late_p99_s": 1e-3, "socket_drops": 0}
USER = {"host": "h-a", "asked": 90, "accepted": 0.4, "value": 2.0, "announcements": 7, "malformed": 1}
AGENT = {"messages": 8, "errors": 1, "heard": 30, "lost": 2, "malformed": 0, "unanswered": 1, "price_age_s": 3.5}
PROGRAMS = (
    ("sender", "s-a", SENDER),
    ("user", "s", USER),
    ("server", "east", {**SERVER, "classes": [{"wait_s": 0.02}, {"wait_s": None}]}),
    ("agent", "s-a", {**AGENT, "kind": "sources", "host": "h-a"}),
    ("agent", "east", {"messages": 8, "errors": 0, "kind": "servers", "host": "east"}),
)
"""What programs in the hosts say; of the second class nobody was served."""

UNITS = {
    "byte/s": {"bytes_per_second"},
    "work/s": {"work_per_second"},
    "s": {"seconds"},
    "s a bit/bit": {"seconds"},
    "1": {"", "ratio"},
    "currency": {""},
    "currency/s": {""},
    "currency/token": {""},
    "currency/bit": {""},
    "currency/work": {""},
    "token/s": {""},
}
"""A unit as the README writes it, and as OpenMetrics does."""


QUOTES = Quotes(
    "EUR",
    {session.name: 2e-6 for session in SQUARE.sessions},
    {session.name: 0.0 for session in SQUARE.sessions},
    (),
    {link.key: Quote(1e5, 1e-9, 0.01) for link in SQUARE.links},
    {server.name: Quote(10.0, 1e-6, 0.0) for server in SQUARE.servers},
    gap=1e-9,
)


def line(outage: Outage, policy: str) -> dict[str, Any]:
    """A record line in which all is known, at the loads that the model gives."""
    fabric = small.fabric(SQUARE, 64)
    state = tick.with_outage(fabric, tick.first_state(fabric, POLICIES[policy]), outage)
    state = tick.acknowledged(state, tick.plan(fabric, state))
    assert state.decision is not None
    loads = evaluate(SQUARE, state.decision.allocation).loads
    carried = {session.name: {1: 100.0} for session in SQUARE.sessions}
    ages = [np.full(len(things), 0.5) for things in (SQUARE.links, SQUARE.servers, SQUARE.sessions)]
    state = replace(state, measured=Measured(loads, *ages, loads.offered, carried), carried=carried, seen=loads)
    state, verdict = tick.judge(fabric, state)
    assert state.decision is not None
    state = replace(state, decision=replace(state.decision, quotes=QUOTES))
    told = tick.published_values(published(SQUARE, state.decision.allocation, np.full(len(carried), 100.0), None))
    return {
        **tick.describe(fabric, state),
        **verdict,
        **told,
        "dropped": {"h-a": {"label": 3}},
        "remarked": {"h-a": 2},
        "members": {SQUARE.sessions[0].name: ["c", "d"]},
        "reports": {"v3": 3},
        "reports_refused": {"malformed": 1},
        "lost_in_extraction": {"cast": 0.003},
    }


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    exporter = Exporter(SQUARE, {"malformed": 2}, lambda: PROGRAMS)
    exporter.line = line(NOTHING, "ecmp")
    exporter.totals.add(0.02, 10, None)
    exporter.totals.add(0.3, 0, "InstallError")
    return exporter


@pytest.fixture(scope="module")
def server(exporter: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with scraping(exporter, tmp_path_factory.mktemp("prometheus")) as found:
        assert until(lambda: found.query("wardrop_ticks_total")), found.get("targets")
        yield found


def series(server: Prometheus) -> set[str]:
    """Every series of ours that has a value now, without what Prometheus computes itself."""
    found = server.query('{__name__=~"wardrop_.*"}')
    return {json.dumps(sample["metric"], sort_keys=True) for sample in found}


def test_names_pass_promtools_check(exporter: Exporter) -> None:
    kind, text = exporter.scrape()
    assert kind.startswith("text/plain")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_every_metric_arrives_with_type_help_and_unit(server: Prometheus) -> None:
    told = {row["metric"]: row for row in server.get("targets/metadata") if row["metric"].startswith("wardrop_")}
    assert set(told) == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        row = told[metric.name.removesuffix("_total")]
        assert (row["type"], row["help"]) == (metric.kind, metric.help)
        assert row["unit"] in UNITS[metric.unit], metric.name
        assert metric.name.endswith(row["unit"])
        sample = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
        assert server.query(sample), f"{metric.name} has no sample"


def bound(metric: Declared) -> int:
    """Most series that the topology allows a metric: a route is a path without circles, and a server."""
    things = {"src": len(SQUARE.links), "dst": 1, "server": len(SQUARE.servers), "session": len(SQUARE.sessions)}
    things |= {"machine": things["src"] + things["server"], "class": 1}
    routes = {
        "route": 2 * len(SQUARE.servers),
        "policy": 1,
        "currency": 1,
        "kind": 3,
        "message": 4,
        "class": 2,
        "node": len(SQUARE.nodes),
        "host": len(small.plant(SQUARE).hosts),
        "user": 1,
        "agent": len(SQUARE.sessions),
    }  # a square has two ways to each server
    return int(np.prod([(things | routes)[label] for label in metric.labels]))


def test_series_are_bounded_by_the_topology_and_go_with_what_they_describe(
    server: Prometheus, exporter: Exporter
) -> None:
    for metric in METRICS:
        if metric.kind != "histogram":
            labels = [sample["metric"] for sample in server.query(metric.name)]
            assert 0 < len(labels) <= bound(metric), metric.name
            assert {key for row in labels for key in row} - {"__name__", "job", "instance"} == set(metric.labels)
    before, whole = series(server), exporter.line
    try:
        exporter.line = line(CUT, "shortest-path")
        gone = until(lambda: not server.query('wardrop_split_decided_ratio{route="a>d@west"}'))
        assert gone
        assert [row["metric"]["policy"] for row in server.query("wardrop_policy_info")] == ["shortest-path"]
        assert {row["metric"]["src"] for row in server.query("wardrop_link_up == 0")} == {"a", "d"}
        assert not server.query('wardrop_link_price_seconds{src="a",dst="d"}'), "what is not known has no sample"
    finally:
        exporter.line = whole
    assert until(lambda: series(server) == before), "what heals comes back, and nothing else stays"


def test_every_query_of_the_dashboards_has_an_answer(server: Prometheus) -> None:
    empty = [row for row in queries("2s") if not until(lambda text=row[1]: server.query(text))]
    assert not empty


def test_the_variables_of_the_dashboards_have_values(server: Prometheus) -> None:
    for file in (CONFIGURATION / "dashboards").glob("*.json"):
        for variable in json.loads(file.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
                assert asked, f"{file.name}: {variable['definition']}"
                selector = re.sub(r"\$\w+", ".*", asked[1])
                assert server.get(f"label/{asked[2]}/values", **{"match[]": selector})


def test_dashboards_show_every_metric() -> None:
    text = "\n".join(query for _, query in queries("2s"))
    text += (CONFIGURATION / "recording.yml").read_text()
    assert [metric.name for metric in METRICS if metric.name not in text] == []


def test_alerts_are_raised_when_they_should_be() -> None:
    rules = Path(__file__).with_name("alerts.yml")
    checked = subprocess.run(["promtool", "test", "rules", str(rules)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    shipped = set(re.findall(r"alert: (\w+)", (CONFIGURATION / "alerts.yml").read_text()))
    assert shipped == set(re.findall(r"alertname: (\w+)", rules.read_text())), "an alert without a test"
