"""Commands that emulate: `demo`, `run`, `validate` and `clean`. They need root; `bin/wardrop` goes through sudo.

`validate` and `demo` write the result file that `docs/reference/report.md` describes. A run takes its turn: whatever
measures packets holds the machine.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.cli import (
    PACKETS,
    JsonOption,
    LoadOption,
    PolicyOption,
    ScenarioArgument,
    app,
    console,
    together,
    write_json,
)
from experiments.commands.options import (
    METRICS,
    OPENFLOW,
    PAGE,
    FrameworkOption,
    LawsOption,
    MetricsOption,
    OpenflowOption,
    PageOption,
    PcapOption,
    PriceLateOption,
    PriceLossOption,
    SeedOption,
    TickOption,
    TokenOption,
    WaitOption,
    check_seconds,
    law_of,
    options_of,
    settings_of,
)
from experiments.commands.places import file_to_write, for_results, give_back, given_back
from pricing.errors import MeasurementError, WardropError

if TYPE_CHECKING:
    from experiments.observing.feed import Feed
    from experiments.running.campaign import Campaign, Options, Progress
    from experiments.running.live import LiveView
    from experiments.running.phase import PhaseLog, Setting
    from pricing.network import Network
    from topologies.scenario import Scenario


@app.command(rich_help_panel=PACKETS)
def demo(
    framework: FrameworkOption = "os-ken",
    metrics: MetricsOption = METRICS,
    openflow: OpenflowOption = OPENFLOW,
    wait: WaitOption = 0.0,
    duration: Annotated[float, typer.Option("--duration", metavar="S", help="Seconds measured in each phase.")] = 60.0,
    seed: SeedOption = 1,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Where the report goes.", callback=for_results),
    ] = Path("out/demo"),
    page: PageOption = PAGE,
    token: TokenOption = None,
    pcap: PcapOption = None,
    to: JsonOption = None,
) -> None:
    """Route an emulated Abilene by shortest path, then by price, and show that theory and packets agree."""
    from topologies import scenario as scenarios

    settings, options, _ = together(
        lambda: settings_of("shortest-path,joint-distributed", "measured", None),
        lambda: options_of(framework, metrics, openflow, None, wait, token, pcap),
        lambda: check_seconds(duration),
    )
    with given_back(pcap):
        found = _validate(scenarios.load("abilene"), settings, duration, seed, options, page, token)
    _publish(found, out)
    _end(found, to)


@app.command(rich_help_panel=PACKETS)
def validate(
    scenario: ScenarioArgument,
    policy: PolicyOption = "shortest-path,joint-distributed",
    duration: Annotated[float, typer.Option("--duration", metavar="S", help="Seconds measured in each phase.")] = 60.0,
    seed: SeedOption = 1,
    load: LoadOption = None,
    framework: FrameworkOption = "os-ken",
    metrics: MetricsOption = METRICS,
    openflow: OpenflowOption = OPENFLOW,
    wait: WaitOption = 0.0,
    tick: TickOption = None,
    token: TokenOption = None,
    pcap: PcapOption = None,
    laws: LawsOption = "measured",
    without: Annotated[
        str | None,
        typer.Option("--without", metavar="A,B", help="Run the first policy also while the link A-B is down."),
    ] = None,
    worth: Annotated[
        str | None,
        typer.Option("--worth", metavar="USER=F", help="Run the first policy also with that user's value times F."),
    ] = None,
    price_loss: PriceLossOption = 0.0,
    price_late: PriceLateOption = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write the report there too.",
            callback=for_results,
        ),
    ] = None,
    to: JsonOption = None,
) -> None:
    """Run policies (P[,P2...]) on the same packets and hold what is measured against what theory predicts.

    With as many laws (L[,L2...]) as policies, each policy prices by its own.
    """
    from topologies import scenario as scenarios

    chosen, settings, options, _ = together(
        lambda: scenarios.load(scenario, load),
        lambda: settings_of(policy, laws, without, worth),
        lambda: options_of(framework, metrics, openflow, tick, wait, token, pcap),
        lambda: check_seconds(duration),
    )
    options = replace(options, price_loss=price_loss, price_late=price_late)
    with given_back(pcap):
        found = _validate(chosen, settings, duration, seed, options)
    _publish(found, out)
    _end(found, to)


@app.command("run", rich_help_panel=PACKETS)
def run_scenario(
    scenario: ScenarioArgument,
    policy: PolicyOption = "joint-distributed",
    load: LoadOption = None,
    cli: Annotated[bool, typer.Option("--cli", help="Open Mininet's prompt.")] = False,
    framework: FrameworkOption = "os-ken",
    metrics: MetricsOption = METRICS,
    openflow: OpenflowOption = OPENFLOW,
    wait: WaitOption = 0.0,
    tick: TickOption = None,
    laws: LawsOption = "measured",
    seed: SeedOption = 1,
    page: PageOption = PAGE,
    token: TokenOption = None,
    recording: Annotated[
        Path | None,
        typer.Option(
            "--recording",
            metavar="FILE",
            help="Keep there what `replay` decides again.",
            callback=lambda path: file_to_write(path, "--recording"),
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            help="Keep the controller's log there; lines of JSON if it ends in .json or .jsonl.",
            callback=lambda path: file_to_write(path, "--log"),
        ),
    ] = None,
    pcap: PcapOption = None,
    price_loss: PriceLossOption = 0.0,
    price_late: PriceLateOption = 0.0,
) -> None:
    """Keep a scenario up, with its traffic, until Ctrl-C."""
    from experiments.running.campaign import campaign
    from experiments.running.changes import Changes
    from experiments.running.live import LiveView
    from pricing.own import named
    from topologies import scenario as scenarios

    wanted, found, options, law = together(
        lambda: named(policy),
        lambda: scenarios.load(scenario, load),
        lambda: options_of(framework, metrics, openflow, tick, wait, token, pcap),
        lambda: law_of(laws),
    )
    policy = wanted.name
    chosen = as_carried(found, [policy])
    options = replace(options, recording=recording, log=log, laws=law, price_loss=price_loss, price_late=price_late)
    try:
        if cli:
            with (
                given_back(pcap),
                campaign(chosen, policy, options) as up,
                up.traffic(seed, policy=policy),
            ):
                up.emulation.cli()
            return
        with (
            given_back(pcap),
            _page(chosen, page, token) as feed,
            LiveView(chosen.network, chosen.title) as view,
            campaign(chosen, policy, options, _shown_in(view, feed)) as up,
            up.traffic(seed, policy=policy) as traffic,
        ):
            changes = Changes(up, traffic, feed)
            feed.inbox.open()
            up.follow(policy, traffic, lambda: feed.inbox.carry_out(changes))
    except KeyboardInterrupt:
        console(stderr=True).print("stopped; everything is taken down")
    finally:
        give_back(*(path for path in (recording, log) if path is not None and path.exists()))


@app.command(rich_help_panel=PACKETS)
def clean() -> None:
    """Remove whatever runs of Wardrop have left on this machine, and nothing else."""
    from topologies.testbed import sweep

    cleared = sweep(all=True)
    console().print(f"cleared {', '.join(cleared)}" if cleared else "nothing to clear")


def as_carried(chosen: Scenario, policies: list[str]) -> Scenario:
    """The scenario that these policies run on: where users choose, its sessions are their options.

    Raises
    ------
    WardropError
        When some of the policies let users choose and others do not, for then requests are not the same.
    """
    from pricing.priority.publish import REGIMES
    from topologies.scenario import elastic

    regimes = [regime for regime in REGIMES if chosen.users or regime != "joint-priority"]  # which routes anybody
    chosen_by_users = [policy for policy in policies if policy in regimes]
    if not chosen_by_users:
        return chosen
    if len(chosen_by_users) < len(policies):
        raise WardropError(
            f"--policy {','.join(policies)}: {', '.join(regimes)} let users choose what is sent, the others do not; "
            "runs of either kind are accepted"
        )
    return elastic(chosen)


@contextmanager
def _page(scenario: Scenario, address: str | None, token: str | None = None) -> Iterator[Feed]:
    """Serve the live page for the length of the block, where one is wanted, and say in a line where."""
    from experiments.observing.feed import Feed
    from experiments.observing.server import PageServer

    users = {option: group.name for group in scenario.groups for option in group.options}
    feed = Feed(scenario.network, scenario.title, users)
    if address is None:
        yield feed
        return
    with PageServer(feed, address, token) as server:
        console().print(f"page: {server.url}", highlight=False, markup=False)
        yield feed


def _validate(
    chosen: Scenario,
    settings: list[Setting],
    duration: float,
    seed: int,
    options: Options,
    page: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """Run the phases, with a page where one is wanted, and say what they showed."""
    from experiments.running.campaign import LIVES_ON_DEMAND
    from pricing.joint.feasible import least_top_utilization

    chosen = as_carried(chosen, [setting.policy for setting in settings])
    _check_users(chosen, settings)
    # Demand beyond capacity has no steady state to measure, but where it is shed.
    for failed in {setting.without for setting in settings if setting.policy not in LIVES_ON_DEMAND}:
        least_top_utilization(_without(chosen.network, failed))
    began = time.monotonic()
    with _page(chosen, page, token) as feed:
        up, logs = _phases(chosen, settings, duration, seed, options, feed)
    return _account(chosen, up, logs, seed, options, began)


def _check_users(chosen: Scenario, settings: list[Setting]) -> None:
    """Refuse a change of the value of somebody who is no user.

    Raises
    ------
    WardropError
        Names the users that there are.
    """
    names = [group.name for group in chosen.groups]
    for user, factor in {setting.worth for setting in settings if setting.worth}:
        if user not in names:
            accepted = ", ".join(names) or "none without a policy at which users choose, such as priority"
            raise WardropError(f"--worth {user}={factor:g}: found no user {user!r}; accepted users: {accepted}")


def _without(network: Network, ends: tuple[str, ...]) -> Network:
    """What is left of a network without a cable.

    Raises
    ------
    WardropError
        When there is no such cable, or a session needs it.
    """
    from pricing.outage import Outage, remains

    if not ends:
        return network
    keys = frozenset((ends, ends[::-1])) & network.link_index.keys()
    if not keys:
        raise WardropError(f"--without {','.join(ends)}: there is no such link; the ends of one are accepted, A,B")
    left = remains(network, Outage(frozenset((a, b) for a, b in keys)))
    if left.stranded:
        raise WardropError(f"--without {','.join(ends)}: it cuts off {', '.join(left.stranded)}")
    return left.network


def _phases(
    chosen: Scenario, settings: list[Setting], duration: float, seed: int, options: Options, feed: Feed
) -> tuple[Campaign, list[PhaseLog]]:
    from experiments.running.campaign import campaign, settling
    from experiments.running.live import LiveView

    with (
        LiveView(chosen.network, chosen.title) as view,
        campaign(chosen, settings[0].policy, options, _shown_in(view, feed)) as up,
    ):
        return up, [up.run(each, seed, settling(each), duration) for each in settings]


def _account(
    chosen: Scenario, up: Campaign, logs: list[PhaseLog], seed: int, options: Options, began: float
) -> dict[str, Any]:
    from experiments.result import groups
    from experiments.result.assemble import Account, report
    from experiments.result.users import told, user_verdicts
    from experiments.result.verdicts import verdicts
    from experiments.running.campaign import ITERATES
    from experiments.running.machine import BAD_SHARE, versions

    accounts = [Account(up.network, up.emulation.plant, log, up.emulation.calibration) for log in logs]
    command = "bin/wardrop " + shlex.join(sys.argv[1:])
    machine = {
        "framework": options.framework,
        "versions": versions(options.framework),
        "quiet": all(len(each.window.excluded) <= BAD_SHARE * each.log.measure for each in accounts),
    }
    captures = {"captures": [asdict(capture) for capture in up.captures]} if up.captures else {}
    if groups.has_groups(up.network):
        found = groups.report(accounts, chosen.name, seed, command, machine)
        return found | captures | {"elapsed_s": time.monotonic() - began}
    found = report(accounts, chosen.name, seed, command, machine)
    less = next((each for each in accounts if each.log.setting.without), None)
    for account, entry in zip(accounts, found["runs"], strict=True):
        baseline = accounts[0] if account is not accounts[0] else None
        other = less if account.log.policy != accounts[0].log.policy else None
        if chosen.groups:
            entry["users"] = told(account, chosen.groups)
            entry["verdicts"] = [*user_verdicts(account, chosen.groups, baseline), *verdicts(account, priced=False)]
        else:
            entry["verdicts"] = verdicts(account, baseline, account.log.policy in ITERATES, other)
    return found | captures | {"elapsed_s": time.monotonic() - began}


def _publish(found: dict[str, Any], folder: Path | None) -> None:
    """Write the report of a run where one is wanted, and say what was measured, with every verdict that is not met."""
    from experiments.pages import groups, report
    from experiments.result.groups import table as table_of_groups

    if "groups" in found:
        page: ModuleType = groups
        table = table_of_groups(found["groups"])
    else:
        page, table = report, report.table(found)
    screen = console()
    if folder is not None:
        page.write(found, folder)
        give_back(*(folder / f"report.{kind}" for kind in ("json", "html", "csv")))
    screen.print(table)
    screen.print(page.summary(found), highlight=False, markup=False)
    if folder is not None:
        screen.print(f"report: {folder / 'report.html'} and {folder / 'report.json'}", highlight=False, markup=False)


def _end(found: dict[str, Any], to: Path | None) -> None:
    """Write the JSON file, and fail when packets went missing that nobody dropped.

    Raises
    ------
    MeasurementError
        When losses do not add up to what was sent and did not arrive.
    """
    write_json(to, found)
    for run in found.get("runs", []):
        if run["losses"]["unaccounted"]:
            raise MeasurementError(
                f"{run['policy']}: {run['losses']['unaccounted']} packets were sent, did not arrive, and were counted "
                "nowhere; the figures of this run are not to be trusted, run it again"
            )


def _shown_in(view: LiveView, feed: Feed) -> Progress:
    def progress(phase: str, elapsed: float, total: float, records: list[dict[str, Any]]) -> None:
        for record in records or [{}]:
            feed.add(record, phase, elapsed, total)
            view.update(record, phase, elapsed, total)

    return progress
