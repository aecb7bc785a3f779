"""A group on real packets: copies made at the source, then on the way; everybody gets everything once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.result.assemble import Account
from experiments.result.groups import run
from experiments.running.campaign import Options, campaign
from experiments.running.phase import Setting
from topologies import scenario as scenarios
from topologies.scenario import Scenario

pytestmark = pytest.mark.emulated


def roomy(chosen: Scenario) -> Scenario:
    """The scenario with queues that hold what a busy machine lets through at once."""
    links = tuple(replace(link, queue=10_000) for link in chosen.network.links)
    return replace(chosen, network=replace(chosen.network, links=links))


def test_each_member_gets_each_packet_once_under_unicast_copies_and_under_duplication() -> None:
    chosen = roomy(scenarios.load("butterfly-group"))
    with campaign(chosen, "dcnc", Options(metrics="127.0.0.1:19469", wait=300.0), lambda *_: None) as up:
        asked = Setting("dcnc"), Setting("egdcnc", demand=1.5)
        logs = [up.run_once(each, str(each), 3, 3.0, 4.0) for each in asked]
    assert len(logs[1].requests["to-both"][0]) == pytest.approx(1.5 * len(logs[0].requests["to-both"][0]), rel=0.15)
    for log in logs:
        found = run(Account(up.network, up.emulation.plant, log))
        assert found["failed_ticks"] == 0
        assert [end["destination"] for end in found["destinations"]] == ["LeftSink", "RightSink"]
        assert all(end["sent"] > 400 and not end["lost"] and not end["duplicated"] for end in found["destinations"])
        decided = [split for record in log.records for split in record["decided"]["to-both"]]
        assert decided
        seqs = log.requests["to-both"][0]["seq"]
        for rows, summary in log.served.values():
            assert sorted(rows["seq"].tolist()) == sorted(seqs.tolist()), "also while the trees changed"
            assert summary["socket_drops"] == 0
    single, shared = ({text for r in log.records for text, _ in r["decided"]["to-both"]} for log in logs)
    assert all("," not in text for text in single), "each copy owes one destination"
    assert any("," in text for text in shared), "some copies owe both"
