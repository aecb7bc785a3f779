"""The largest rate: bisection, what is carried, bounds with servers and answers, the trade of V, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.commands.cli import app
from experiments.commands.largest import largest_rate
from experiments.result.estimate import Estimate
from experiments.result.groups import bound
from experiments.sweeps.largest import LOST, Step, judged, largest, search, simulated, slotted
from pricing.errors import Infeasible, WardropError
from pricing.joint.feasible import least_top_utilization
from topologies.scenario import load

GROUP, ABILENE = load("butterfly-group").network, load("abilene").network


def step(part: float, most: float) -> Step:
    """A step of a policy that loses all that is beyond a part of its bound."""
    return Step(part, part, part, Estimate(max(0.0, part - most), 0.0, 9), Estimate(0.0, 1.0, 9))


@pytest.mark.parametrize(
    ("most", "tried", "found"),
    [
        (0.93, [0.8, 1.0, 0.9, 0.95, 0.925, 0.9375], 0.925),
        (0.7, [0.8], None),
        (1.2, [0.8, 1.0], 1.0),
    ],
)
def test_a_rate_is_found_by_halves_from_both_ends(most: float, tried: list[float], found: float | None) -> None:
    steps = list(search(lambda part: step(part, most), 0.8, 1.0, 0.0125))
    assert [each.part for each in steps] == pytest.approx(tried)
    best = largest(steps)
    assert (best.part if best else None) == found


def test_copies_that_are_lost_or_pile_up_are_told_from_those_that_wait() -> None:
    sent = np.linspace(0.0, 100.0, 10_000)
    random = np.random.default_rng(1).exponential(0.05, len(sent))
    loss, growth, delay = judged(sent, sent + random, 20.0, 100.0)
    assert (loss.value, growth.low <= LOST) == (0.0, True)
    assert delay.value == pytest.approx(0.05, rel=0.1)
    holes = np.where(np.arange(len(sent)) % 500 == 0, np.nan, sent + random)
    loss, growth, _ = judged(sent, holes, 20.0, 100.0)
    assert loss.value == pytest.approx(0.002, rel=0.05)
    assert growth.low <= LOST, "what is lost is not under way"
    _, growth, _ = judged(sent, 1.01 * sent + random, 20.0, 100.0)
    assert growth.value == pytest.approx(0.01, rel=0.2)
    assert growth.low > LOST


def test_simulated_copies_are_carried_below_the_bound_of_their_own_policy_and_not_above() -> None:
    most = bound(GROUP, "dcnc")
    below, above = (simulated(GROUP, "dcnc", part, part * most, 20.0, 1) for part in (0.85, 1.1))
    assert below.carried
    assert not above.carried
    assert below.cost / below.offered == pytest.approx(4.0, rel=0.05), "two copies, two links each"
    refused = simulated(GROUP, "joint", 1.1, 1.1 * bound(GROUP, "joint"), 20.0, 1)
    assert not refused.carried
    assert "capacity" in refused.why


def test_servers_and_answers_count_in_the_bound_of_a_service() -> None:
    most = bound(ABILENE, "egdcnc(10)")
    assert most == pytest.approx(bound(ABILENE, "dcnc"))
    assert bound(ABILENE, "shortest-path") < most
    least_top_utilization(ABILENE.with_demand(0.999 * most))
    with pytest.raises(Infeasible):
        least_top_utilization(ABILENE.with_demand(1.001 * most))
    found = simulated(ABILENE, "egdcnc", 0.8, 0.8 * most, 10.0, 1)
    assert found.loss.value == 0


def test_a_larger_v_costs_less_and_waits_longer_in_slots() -> None:
    steps = [slotted(GROUP, f"gdcnc({weight})", 0.45, 1.0, 60.0, 1) for weight in (1, 10, 30)]
    assert steps[0].cost > 1.3 * steps[-1].cost
    assert steps[0].delay.value < 0.3 * steps[1].delay.value < 0.3 * steps[2].delay.value
    assert not slotted(GROUP, "gdcnc", 1.1, 1.1 * bound(GROUP, "gdcnc"), 60.0, 1).carried


def test_the_command_says_each_step_and_what_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "largest.json"
    words = f"largest butterfly-group --policy edspa,dcnc --duration 5 --within 0.2 --json {file}"
    found = CliRunner().invoke(app, words.split())
    assert found.exit_code == 0, found.output
    first, second = json.loads(file.read_text())["policies"]
    assert (first["bound"], second["bound_bps"]) == (pytest.approx(1 / 0.9), pytest.approx(1e6))
    assert [each["part"] for each in second["steps"]][:1] == [0.8]
    assert second["steps"][0]["verdict"] == "carried"
    assert second["bounds_ratio"] == pytest.approx(1.0)
    with pytest.raises(WardropError) as error:
        largest_rate("butterfly-group", "gdcnc(x)", on="paper", duration=0.0, low=2.0, high=1.0)
    assert all(what in str(error.value) for what in ("--policy", "--on paper", "--duration 0", "--from 2"))
    with pytest.raises(WardropError, match="no backpressure"):
        largest_rate("butterfly-group", "joint", on="slots")
