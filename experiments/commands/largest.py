"""`wardrop largest`: the largest rate that each policy carries, beside the bound of its own linear program.

A bisection between two parts of the bound; `experiments.sweeps.largest` says what is carried. All sessions grow
together, in proportion to the scenario's rates. `gdcnc(10)` is `gdcnc` with V = 10: with a list of these, and `--from`
and `--to` the same, it is the trade of cost against delay at one rate.

Fields of the JSON file. An estimate is {`value`, `ci95`, `n`}, with null for what is not known:

| field | what |
|---|---|
| `schema` | `wardrop-largest-1` |
| `scenario`, `on`, `seed` | the scenario's name; `packets`, `simulation` or `slots`; of what is drawn |
| `duration_s`, `lost` | seconds of a step, its warm-up left out; the share that may be lost |
| `policies` | one each, in the order asked for: |
| `policies[].policy`, `.bound`, `.bound_bps` | its name; its bound, as multiple of the scenario's rates and in bit/s |
| `policies[].largest`, `.largest_bps` | the largest part of the bound that was carried, and its rate; or null |
| `policies[].gain`, `.bounds_ratio` | that rate over the first policy's, and the same of the bounds; or null |
| `policies[].steps` | every rate that was tried, in order: |
| `steps[].part`, `.demand`, `.offered_bps` | of the bound; times the scenario's rates; bit/s |
| `steps[].loss`, `.growth` | estimates: copies lost, and copies added to those under way, over copies owed |
| `steps[].delay_s`, `.cost_bps` | estimate: of a copy; bits x unit cost a second, where a bit costs 1 on every link |
| `steps[].verdict`, `.why`, `.quiet` | `carried` or `not carried`; why nothing was sent; was the machine quiet |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.cli import (
    THEORY,
    JsonOption,
    ScenarioArgument,
    app,
    console,
    policies_in,
    together,
    write_json,
)
from experiments.commands.options import (
    METRICS,
    OPENFLOW,
    FrameworkOption,
    MetricsOption,
    OpenflowOption,
    PcapOption,
    SeedOption,
    WaitOption,
    options_of,
)
from experiments.commands.places import given_back
from pricing.errors import WardropError

if TYPE_CHECKING:
    from experiments.running.campaign import Options
    from experiments.sweeps.largest import Step
    from pricing.network import Network
    from topologies.scenario import Scenario

Attempt = Callable[[str, float, float], "Step"]
"""A step of a policy, at a part of its bound and so many times the scenario's rates."""


@app.command("largest", rich_help_panel=THEORY)
def largest_rate(
    scenario: ScenarioArgument,
    policy: Annotated[str, typer.Option("--policy", metavar="A,B", help="Policies (see `list`).")] = "dcnc,gdcnc",
    on: Annotated[str, typer.Option("--on", metavar="HOW", help="simulation, packets or slots.")] = "simulation",
    duration: Annotated[
        float, typer.Option("--duration", metavar="S", help="Seconds of a step, its warm-up left out.")
    ] = 60.0,
    low: Annotated[float, typer.Option("--from", metavar="PART", help="Smallest part of the bound tried.")] = 0.8,
    high: Annotated[float, typer.Option("--to", metavar="PART", help="Largest part of the bound tried.")] = 1.0,
    within: Annotated[float, typer.Option("--within", metavar="PART", help="How well it is to be known.")] = 0.02,
    seed: SeedOption = 1,
    framework: FrameworkOption = "os-ken",
    metrics: MetricsOption = METRICS,
    openflow: OpenflowOption = OPENFLOW,
    wait: WaitOption = 0.0,
    pcap: PcapOption = None,
    to: JsonOption = None,
) -> None:
    """Find the largest rate that each policy carries, beside its own bound. Root only on packets."""
    from experiments.sweeps.largest import LOST, search
    from topologies import scenario as scenarios

    policies, chosen, options = together(
        lambda: _checked(policy, on, duration, low, high, within, pcap),
        lambda: scenarios.load(scenario),
        lambda: options_of(framework, metrics, openflow, None, wait, None, pcap),
    )
    entries: list[dict[str, Any]] = []
    with given_back(pcap), _attempts(chosen, on, duration, seed, options, policies[0]) as attempt:
        for name in policies:
            most = _bound(chosen.network, name)
            steps = []
            for step in search(lambda part, at=name, by=most: attempt(at, part, part * by), low, high, within):  # type: ignore[misc]
                steps.append(step)
                _say(name, step)
            entries.append(_entry(chosen.network, name, most, steps, entries[0] if entries else None))
    _show(entries)
    found = {"schema": "wardrop-largest-1", "scenario": chosen.name, "on": on, "seed": seed, "duration_s": duration}
    write_json(to, found | {"lost": LOST, "policies": entries})


def _checked(
    policy: str, on: str, duration: float, low: float, high: float, within: float, pcap: Path | None
) -> list[str]:
    """Which policies.

    Raises
    ------
    WardropError
        With every option that cannot be used.
    """
    from pricing.own import named
    from pricing.policy import backpressure

    names, problems = policies_in(policy, backpressure if on == "slots" else named)
    if on not in ("simulation", "packets", "slots"):
        problems.append(f"--on {on}: simulation, packets and slots are accepted")
    for what, value in (("--duration", duration), ("--within", within)):
        if not (math.isfinite(value) and value > 0):
            problems.append(f"{what} {value:g}: a number above 0 is accepted")
    if not (math.isfinite(high) and 0 < low <= high):
        problems.append(f"--from {low:g} --to {high:g}: parts of the bound, 0 < from <= to, are accepted")
    if pcap is not None and on != "packets":
        problems.append(f"--pcap {pcap}: accepted with --on packets, where there are packets to capture")
    if problems:
        raise WardropError("\n".join(problems))
    return names


def _bound(network: Network, policy: str) -> float:
    from experiments.result.groups import bound

    if not any(session.rate for session in network.sessions):
        raise WardropError(f"{network.name}: no session has a rate; one above 0 is needed")
    return bound(network, policy)


@contextmanager
def _attempts(chosen: Scenario, on: str, duration: float, seed: int, options: Options, first: str) -> Iterator[Attempt]:
    """How a step is made; on packets one network is up for all of them."""
    from experiments.sweeps.largest import measured, simulated, slotted

    if on != "packets":
        step = simulated if on == "simulation" else slotted
        yield lambda policy, part, demand: step(chosen.network, policy, part, demand, duration, seed)
        return
    from experiments.running.campaign import campaign

    with console(stderr=True).status("") as status:

        def progress(phase: str, elapsed: float, total: float, _: list[dict[str, Any]]) -> None:
            status.update(f"{phase}: {elapsed:.0f} of {total:.0f} s")

        with campaign(chosen, first, options, progress) as up:
            yield lambda policy, part, demand: measured(up, policy, part, demand, duration, seed)


def _say(policy: str, step: Step) -> None:
    figures = f"loss {step.loss.value:.3%}, growth {step.growth.value:+.3%} (± {step.growth.ci95:.3%})"
    told = step.why or f"{figures}, delay {1e3 * step.delay.value:.1f} ms, cost {step.cost / 1e6:.3f} Mbit/s"
    verdict = "carried" if step.carried else "not carried"
    text = f"{policy} at {step.part:.3f} of its bound, {step.offered / 1e6:.3f} Mbit/s: {verdict}; {told}"
    console().print(text + ("" if step.quiet else "; the machine was not quiet"), soft_wrap=True, highlight=False)


def _entry(
    network: Network, policy: str, most: float, steps: list[Step], first: dict[str, Any] | None
) -> dict[str, Any]:
    """A policy's part of the JSON file; `first` is the one that it is held against."""
    from experiments.sweeps.largest import largest

    rate, best = sum(session.rate for session in network.sessions), largest(steps)
    entry = {
        "policy": policy,
        "bound": most,
        "bound_bps": most * rate,
        "largest": best.part if best else None,
        "largest_bps": best.offered if best else None,
    }
    both = first is not None and best is not None and first["largest_bps"] is not None
    return entry | {
        "gain": best.offered / first["largest_bps"] if both and best and first else None,
        "bounds_ratio": most / first["bound"] if first else None,
        "steps": [step.as_json() for step in steps],
    }


def _show(entries: list[dict[str, Any]]) -> None:
    """The table: a row a policy."""
    from rich.table import Table

    shown = Table("policy", "its bound", "largest carried", "of its bound", "over the first", "the bounds'")
    for each in entries:
        top = each["largest"] is not None and each["steps"][-1]["verdict"] == "carried" == each["steps"][0]["verdict"]
        open_end = "at least " if top and len(each["steps"]) == 2 else ""
        shown.add_row(
            each["policy"],
            f"{each['bound_bps'] / 1e6:.3f} Mbit/s",
            f"{open_end}{each['largest_bps'] / 1e6:.3f} Mbit/s" if each["largest"] else "none of those tried",
            f"{each['largest']:.3f}" if each["largest"] else "",
            f"{each['gain']:.3f}" if each["gain"] else "",
            f"{each['bounds_ratio']:.3f}" if each["bounds_ratio"] else "",
        )
    console().print(shown)
