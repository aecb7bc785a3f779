"""Commands that emulate: `demo`, `run`, `validate` and `clean`. They need root; `bin/wardrop` goes through sudo.

`validate` and `demo` write the result file that `docs/reference/report.md` describes. A run takes its turn: whatever
measures packets holds the machine.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.cli import JsonOption, LoadOption, PolicyOption, ScenarioArgument, app, console, write_json
from pricing.errors import MeasurementError, WardropError

if TYPE_CHECKING:
    from experiments.observing.feed import Feed
    from experiments.running.campaign import Campaign, Options, Progress
    from experiments.running.live import LiveView
    from experiments.running.phase import PhaseLog, Setting
    from pricing.network import Network
    from topologies.scenario import Scenario

FrameworkOption = Annotated[str, typer.Option("--framework", metavar="F", help="os-ken or ryu.")]
MetricsOption = Annotated[str, typer.Option("--metrics", metavar="HOST:PORT", help="Where Prometheus scrapes.")]
OpenflowOption = Annotated[
    str, typer.Option("--openflow", metavar="HOST:PORT", help="OpenFlow, inside the run's own namespace.")
]
TickOption = Annotated[float | None, typer.Option("--tick", metavar="S", help="Seconds between two decisions.")]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="S", min=0.0, help="Seconds to wait while another run measures.")
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of arrivals, sizes and works.")]

LawsOption = Annotated[
    str, typer.Option("--laws", metavar="L", help="Delay laws that prices follow: mm1, scenario, measured or fitted.")
]

PageOption = Annotated[
    str, typer.Option("--page", metavar="HOST:PORT", help="Where the live page and its API are served.")
]
TokenOption = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", help="What changes from the page, and scrapes, need beyond the loopback."),
]

PcapOption = Annotated[
    Path | None,
    typer.Option("--pcap", metavar="DIR", help="Capture packets at hosts and ingress links there; takes CPU."),
]

PriceLossOption = Annotated[
    float,
    typer.Option("--price-loss", metavar="P", min=0.0, max=0.99, help="Share of prices that each source agent loses."),
]
PriceLateOption = Annotated[
    float,
    typer.Option("--price-late", metavar="S", min=0.0, help="Longest delay that a source agent adds."),
]

METRICS, OPENFLOW, PAGE = "127.0.0.1:9464", "127.0.0.1:6653", "127.0.0.1:9465"


@app.command()
def demo(
    framework: FrameworkOption = "os-ken",
    metrics: MetricsOption = METRICS,
    openflow: OpenflowOption = OPENFLOW,
    wait: WaitOption = 0.0,
    duration: Annotated[float, typer.Option("--duration", metavar="S", help="Seconds measured in each phase.")] = 60.0,
    seed: SeedOption = 1,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the report goes.")] = Path("out/demo"),
    page: PageOption = PAGE,
    token: TokenOption = None,
    pcap: PcapOption = None,
    to: JsonOption = None,
) -> None:
    """Route an emulated Abilene by shortest path, then by price, and show that theory and packets agree."""
    found = _validate(
        "abilene",
        settings_of("shortest-path,joint-distributed", "measured", None),
        duration,
        seed,
        None,
        options_of(framework, metrics, openflow, None, wait, token, pcap),
        page,
        token,
    )
    _publish(found, out)
    _end(found, to)


@app.command()
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
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write the report there too.")] = None,
    to: JsonOption = None,
) -> None:
    """Run policies (P[,P2...]) on the same packets and hold what is measured against what theory predicts.

    With as many laws (L[,L2...]) as policies, each policy prices by its own.
    """
    options = options_of(framework, metrics, openflow, tick, wait, token, pcap)
    options = replace(options, price_loss=price_loss, price_late=price_late)
    found = _validate(scenario, settings_of(policy, laws, without, worth), duration, seed, load, options)
    if "groups" in found:
        _publish_groups(found, out)
        write_json(to, found)
        give_back(*filter(None, [to]))
        return
    if out is None:
        from experiments.pages.report import table

        console().print(table(found))
    else:
        _publish(found, out)
    _end(found, to)


@app.command("run")
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
        Path | None, typer.Option("--recording", metavar="FILE", help="Keep there what `replay` decides again.")
    ] = None,
    pcap: PcapOption = None,
    price_loss: PriceLossOption = 0.0,
    price_late: PriceLateOption = 0.0,
) -> None:
    """Keep a scenario up, with its traffic, until Ctrl-C."""
    from controller.laws import law_name
    from experiments.running.campaign import campaign
    from experiments.running.changes import Changes
    from experiments.running.live import LiveView
    from pricing.own import named
    from topologies import scenario as scenarios

    policy = named(policy).name
    chosen = as_carried(scenarios.load(scenario, load), [policy])
    options = options_of(framework, metrics, openflow, tick, wait, token, pcap)
    options = replace(options, recording=recording, laws=law_name(laws))
    options = replace(options, price_loss=price_loss, price_late=price_late)
    try:
        if cli:
            with (
                campaign(chosen, policy, options) as up,
                up.traffic(seed, policy=policy),
            ):
                up.emulation.cli()
            return
        with (
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
        if pcap is not None:
            give_back(*pcap.glob("*.pcap"))


@app.command()
def clean() -> None:
    """Remove whatever runs of Wardrop have left on this machine, and nothing else."""
    from topologies.testbed import sweep

    cleared = sweep(all=True)
    console().print(f"cleared {', '.join(cleared)}" if cleared else "nothing to clear")


def options_of(
    framework: str, metrics: str, openflow: str, tick: float | None, wait: float, token: str | None, pcap: Path | None
) -> Options:
    """How a network is brought up, from the command line's options.

    Raises
    ------
    WardropError
        When the framework is none of the two.
    """
    from experiments.running.campaign import Options

    if framework not in ("os-ken", "ryu"):
        raise WardropError(f"--framework {framework}: os-ken and ryu are accepted")
    return Options(framework, metrics, openflow, tick, wait, token, pcap=pcap)


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

    feed = Feed(scenario.network, scenario.title)
    if address is None:
        yield feed
        return
    with PageServer(feed, address, token) as server:
        console().print(f"page: {server.url}", highlight=False, markup=False)
        yield feed


def _validate(
    name: str,
    settings: list[Setting],
    duration: float,
    seed: int,
    load: float | None,
    options: Options,
    page: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """Run the phases, with a page where one is wanted, and say what they showed."""
    from pricing.joint.feasible import least_top_utilization
    from topologies import scenario as scenarios

    if not duration > 0:
        raise WardropError(f"--duration {duration:g}: a number of seconds above 0 is accepted")
    chosen = scenarios.load(name, load)
    chosen = as_carried(chosen, [setting.policy for setting in settings])
    _check_users(chosen, settings)
    for failed in {setting.without for setting in settings}:  # demand beyond capacity has no steady state to measure
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


def settings_of(policies: str, laws: str, without: str | None, worth: str | None = None) -> list[Setting]:
    """What is measured, phase by phase: P[,P2...] with L[,L2...], the first one also without a link, or with a change.

    Raises
    ------
    WardropError
        When a name is unknown, there are neither one nor as many laws as policies, or a factor is no number above 0.
    """
    from controller.laws import law_name
    from experiments.running.phase import Setting
    from pricing.own import named

    names = [named(name.strip()).name for name in policies.split(",") if name.strip()]
    kinds = [law_name(name.strip()) for name in laws.split(",") if name.strip()]
    if not names:
        raise WardropError("--policy: none given; see `bin/wardrop list`")
    if len(kinds) not in (1, len(names)):
        raise WardropError(
            f"--laws {laws}: found {len(kinds)}; one is accepted, or one for each of {len(names)} policies"
        )
    found = [Setting(name, kind) for name, kind in zip(names, kinds * (len(names) // len(kinds)), strict=True)]
    if without:
        ends = tuple(end.strip() for end in without.split(","))
        found.insert(1, Setting(names[0], kinds[0], ends))
    if worth:
        user, _, factor = worth.partition("=")
        if not re.fullmatch(r"\d+\.?\d*", factor) or not float(factor) > 0:
            raise WardropError(f"--worth {worth}: USER=F with a number F above 0 is accepted, such as many=2")
        found.append(Setting(names[0], kinds[0], worth=(user, float(factor))))
    return found


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
    if groups.has_groups(up.network):
        found = groups.report(accounts, chosen.name, seed, command, machine)
        return found | {"elapsed_s": time.monotonic() - began}
    found = report(accounts, chosen.name, seed, command, machine)
    for account, entry in zip(accounts, found["runs"], strict=True):
        baseline = accounts[0] if account is not accounts[0] else None
        if chosen.groups:
            entry["users"] = told(account, chosen.groups)
            entry["verdicts"] = [*user_verdicts(account, chosen.groups, baseline), *verdicts(account, priced=False)]
        else:
            entry["verdicts"] = verdicts(account, baseline, account.log.policy in ITERATES)
    if up.captures:
        found["captures"] = [asdict(capture) for capture in up.captures]
        give_back(*(Path(capture.file) for capture in up.captures))
    found["elapsed_s"] = time.monotonic() - began
    return found


def _publish_groups(found: dict[str, Any], folder: Path | None) -> None:
    """Show what a run with groups measured, and write its report where one is wanted."""
    from experiments.pages.groups import summary, write
    from experiments.result.groups import table

    screen = console()
    screen.print(table(found["groups"]))
    screen.print(summary(found), highlight=False, markup=False)
    if folder is not None:
        write(found, folder)
        give_back(*(folder / f"report.{kind}" for kind in ("json", "html", "csv")))
        screen.print(f"report: {folder / 'report.html'} and {folder / 'report.json'}", highlight=False, markup=False)


def _publish(found: dict[str, Any], folder: Path) -> None:
    from experiments.pages.report import summary, table, write

    write(found, folder)
    give_back(*(folder / f"report.{kind}" for kind in ("json", "html", "csv")))
    screen = console()
    screen.print(table(found))
    screen.print(summary(found), highlight=False, markup=False)
    screen.print(f"report: {folder / 'report.html'} and {folder / 'report.json'}", highlight=False, markup=False)


def _end(found: dict[str, Any], to: Path | None) -> None:
    """Write the JSON file, and fail when packets went missing that nobody dropped.

    Raises
    ------
    MeasurementError
        When losses do not add up to what was sent and did not arrive.
    """
    write_json(to, found)
    if to is not None:
        give_back(to)
    for run in found["runs"]:
        if run["losses"]["unaccounted"]:
            raise MeasurementError(
                f"{run['policy']}: {run['losses']['unaccounted']} packets were sent, did not arrive, and were counted "
                "nowhere; the figures of this run are not to be trusted, run it again"
            )


def give_back(*paths: Path) -> None:
    """Under sudo, the files written and the folders made for them belong to the user who called."""
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if user is None or group is None or os.geteuid() != 0:
        return
    here = Path.cwd()
    folders = {parent for path in paths for parent in path.absolute().parents}
    made = {folder for folder in folders if folder != here and folder.is_relative_to(here)}
    for path in (*made, *paths):
        if path.stat().st_uid == 0:
            os.chown(path, int(user), int(group))


def _shown_in(view: LiveView, feed: Feed) -> Progress:
    def progress(phase: str, elapsed: float, total: float, records: list[dict[str, Any]]) -> None:
        for record in records or [{}]:
            feed.add(record, phase, elapsed, total)
            view.update(record, phase, elapsed, total)

    return progress
