"""Options of the commands that emulate, and what is made of them: how a network is brought up, and what is measured."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.cli import policies_in, together
from experiments.commands.places import folder_to_write
from pricing.errors import WardropError

if TYPE_CHECKING:
    from experiments.running.campaign import Options
    from experiments.running.phase import Setting
    from pricing.learnt import LawName

FrameworkOption = Annotated[str, typer.Option("--framework", metavar="F", help="os-ken or ryu.")]
MetricsOption = Annotated[str, typer.Option("--metrics", metavar="HOST:PORT", help="Where Prometheus scrapes.")]
OpenflowOption = Annotated[
    str, typer.Option("--openflow", metavar="HOST:PORT", help="OpenFlow, inside the run's own namespace.")
]
TickOption = Annotated[float | None, typer.Option("--tick", metavar="S", help="Seconds between two decisions.")]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="S", min=0.0, help="Seconds to wait while another run measures.")
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of arrivals, sizes and works.")]

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
    typer.Option(
        "--pcap",
        metavar="DIR",
        help="Capture packets at hosts and ingress links there; takes CPU.",
        callback=lambda path: folder_to_write(path, "--pcap"),
    ),
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


def options_of(
    framework: str, metrics: str, openflow: str, tick: float | None, wait: float, token: str | None, pcap: Path | None
) -> Options:
    """How a network is brought up, from the command line's options.

    Raises
    ------
    WardropError
        With every option that cannot be used.
    """
    from controller.addresses import guarded, parse
    from experiments.running.campaign import Options

    together(
        lambda: _check_framework(framework),
        lambda: guarded(metrics, "--metrics", token),
        lambda: parse(openflow, "--openflow"),
        lambda: _check_tick(tick),
    )
    return Options(framework, metrics, openflow, tick, wait, token, pcap=pcap)


def _check_framework(name: str) -> None:
    if name not in ("os-ken", "ryu"):
        raise WardropError(f"--framework {name}: os-ken and ryu are accepted")


def _check_tick(seconds: float | None) -> None:
    if seconds is not None and not 0.05 <= seconds <= 60:
        raise WardropError(f"--tick {seconds:g}: 0.05 to 60 s are accepted")


def check_seconds(duration: float) -> None:
    """Refuse a length of a phase that is none; raises WardropError."""
    if not (math.isfinite(duration) and duration > 0):
        raise WardropError(f"--duration {duration:g}: a number of seconds above 0 is accepted")


def law_of(name: str) -> LawName:
    """Where delay laws come from, of `--laws`; raises WardropError where there is none of the name."""
    from controller.laws import law_name

    try:
        return law_name(name)
    except WardropError as error:
        raise WardropError(f"--{error}") from error


def settings_of(policies: str, laws: str, without: str | None, worth: str | None = None) -> list[Setting]:
    """What is measured, phase by phase: P[,P2...] with L[,L2...], the first one also without a link, or with a change.

    Raises
    ------
    WardropError
        When a name is unknown, there are neither one nor as many laws as policies, or a factor is no number above 0.
    """
    from experiments.running.phase import Setting
    from pricing.own import named

    written, problems = policies_in(policies, named)
    kinds: list[LawName] = []
    for name in filter(None, map(str.strip, laws.split(","))):
        try:
            kinds.append(law_of(name))
        except WardropError as error:
            problems.append(str(error))
    user, _, factor = (worth or "").partition("=")
    if worth and not (user and re.fullmatch(r"\d+\.?\d*", factor) and float(factor) > 0):
        problems.append(f"--worth {worth}: USER=F with a number F above 0 is accepted, such as many=2")
    if not problems and len(kinds) not in (1, len(written)):
        problems.append(
            f"--laws {laws}: found {len(kinds)}; one is accepted, or one for each of {len(written)} policies"
        )
    if problems:
        raise WardropError("\n".join(problems))
    names = [named(name).name for name in written]
    found = [Setting(name, kind) for name, kind in zip(names, kinds * (len(names) // len(kinds)), strict=True)]
    if without:
        ends = tuple(end.strip() for end in without.split(","))
        found.insert(1, Setting(names[0], kinds[0], ends))
    if worth:
        found.append(Setting(names[0], kinds[0], worth=(user, float(factor))))
    return found
