"""Studies that need no emulation: `wardrop study iteration` writes tables and figures of the distributed iterations.

Three tables, on the joint paper's instance with its servers scaled to several loads, and where all sources and servers
are alike: rounds to a certified gap and what is told for it; seconds to a gap when prices come late and get lost; and
the distance to an optimum that moves with the capacities. Fields of `--json FILE` and columns of the CSV files:

| table | field | what |
|---|---|---|
| `rounds` | `instance`, `form` | which |
|  | `to_1e-3`, `to_1e-6`, `to_1e-9` | rounds to that certified gap; null where it was not reached |
|  | `rounds`, `gap` | rounds that were run, and the gap after the last; null where infeasible |
|  | `numbers` | numbers told in one round |
|  | `infeasible` | first round that left the feasible set; null where none did |
| `channel` | `instance`, `form`, `late_s`, `lost` | which |
|  | `share_1e-3`, `share_1e-6` | ratio of the runs that reached that gap for good |
|  | `seconds_1e-3`, `seconds_1e-6` | median of those runs, s; null without any |
|  | `overloaded` | mean part of the time with a load at or over capacity |
|  | `left` | ratio of the runs that left the feasible set |
| `moving` | `form`, `load`, `amplitude`, `period_s`, `noise`, `late_s`, `lost` | which |
|  | `mean_gap`, `worst_gap` | over the feasible time, after the first tenth; null without any |
|  | `overloaded` | mean part of the time with a load at or over capacity |
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from experiments.cli import JsonOption, app, console, write_json
from experiments.style import HUES, drawn, stylesheet, svg
from pricing.errors import WardropError
from pricing.joint import local, safe
from pricing.joint.asynchronous import Channel, Form, Motion, Trace, simulate
from pricing.joint.printed import Instance, best_response, proportional_start
from pricing.values import FloatArray

RATES = np.array([0.15625, 0.09765625, 30.05859375, 30.009765625, 0.107421875])
ACCESS = np.array(
    [
        [47.49080237694725, 54.6398788362281, 43.12037280884873],
        [41.16167224336399, 52.022300234864176, 40.41168988591605],
        [56.648852816008436, 43.63649934414201, 46.08484485919075],
        [48.638900372842315, 52.23705789444759, 45.84289297070436],
        [49.121399684340716, 43.993475643167194, 51.84829137724085],
    ]
)
SERVERS = np.array([160.75448519014384, 106.50515929852796, 196.56320330745592])
"""The joint paper's static instance, MB/s."""

LOADS = (0.6, 0.85, 0.99)
CHANNELS = (Channel(), Channel(10.0), Channel(10.0, 0.3))
MOTIONS = (Motion(0.2, 300.0), Motion(0.3, 300.0, 0.02))
"""Amplitudes, periods and noise are ours: the paper gives the model only."""

GAPS = (1e-3, 1e-6, 1e-9)
ROUNDS = 1500
SECONDS = 300

Table = list[dict[str, Any]]


def paper_instance(load: float | None = None) -> Instance:
    """The paper's instance, its servers scaled to a load of their sum."""
    return Instance(RATES, ACCESS, SERVERS if load is None else SERVERS * RATES.sum() / (load * SERVERS.sum()))


def alike_instance(load: float) -> Instance:
    """Five sources and three servers, all alike, access paths at a fifth or less: constant steps circle here."""
    return Instance(np.full(5, 10.0), np.full((5, 3), 50.0), np.full(3, 50.0 / 3 / load))


def instances() -> dict[str, Instance]:
    """All that the rounds are counted on."""
    found = {"paper": paper_instance()} | {f"load {load:g}": paper_instance(load) for load in LOADS}
    return found | {"alike 0.99": alike_instance(0.99)}


@app.command("study")
def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to study: iteration.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where tables and figures go.")] = Path("out/study"),
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Runs of each kind with messages.")] = 2,
    to: JsonOption = None,
) -> None:
    """Study the distributed iterations: rounds, late and lost prices, capacities that move. Needs no root."""
    if name != "iteration":
        raise WardropError(f"no study is called {name!r}; iteration is accepted")
    screen, traces = console(), dict[str, tuple[float, ...]]()
    tables = {"rounds": rounds_table(traces), "channel": channel_table(seeds), "moving": moving_table(seeds)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for title, rows in tables.items():
            with (out / f"{title}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        (out / "figures.html").write_text(_page(rounds_picture(traces), channel_picture()), encoding="utf-8")
    except OSError as error:
        raise WardropError(f"--out {out}: {error.strerror}; a directory that can be written is accepted") from error
    for title, rows in tables.items():
        _show(screen, title, rows)
    screen.print(f"written to {out}", highlight=False)
    write_json(to, tables)


def _page(*pictures: str) -> str:
    """The figures on a page, which gives them their colours."""
    style = stylesheet() + " body { background: var(--paper); font-family: sans-serif; margin: 2em; }"
    figures = "\n".join(f"<figure>{picture}</figure>" for picture in pictures)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Iterations</title><style>{style}</style>'
    return f"{head}\n{figures}\n</html>\n"


def _show(screen: Any, title: str, rows: Table) -> None:
    from rich.table import Table as Grid

    grid = Grid(*rows[0], title=title, title_justify="left")
    for row in rows:
        grid.add_row(*("-" if v is None else f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    screen.print(grid)


def rounds_table(traces: dict[str, tuple[float, ...]]) -> Table:
    """Rounds to certified gaps; the gaps of each run are left in `traces`."""
    rows: Table = []
    for name, instance in instances().items():
        task = safe.bipartite(instance.rates, instance.paths, instance.nodes)
        start = uneven(task)
        for form, gaps, numbers in (
            ("forecast", _gaps(safe.points(task, start), 100), safe.numbers_told(task)),
            ("local", _gaps(local.points(task, start), ROUNDS), local.numbers_told(task)),
            ("printed", printed_gaps(instance, task, start), len(task.shared)),
        ):
            traces[f"{name}/{form}"] = gaps
            left = next((k for k, gap in enumerate(gaps) if not np.isfinite(gap) and k and form == "printed"), None)
            reached = {
                f"to_{gap:.0e}".replace("e-0", "e-"): next((k for k, g in enumerate(gaps) if g <= gap), None)
                for gap in GAPS
            }
            last = float(gaps[-1]) if np.isfinite(gaps[-1]) else None
            row = {"instance": name, "form": form, **reached, "rounds": len(gaps) - 1, "gap": last}
            rows.append(row | {"numbers": numbers, "infeasible": left})
    return rows


def uneven(task: safe.Task) -> FloatArray:
    """A strictly feasible start that is not the one found: most of the way from it to a random point, or less."""
    rng, even = np.random.default_rng(1), safe.find_start(task)
    shares = np.concatenate([rng.dirichlet(np.ones(len(mine))) for mine in task.members])
    part = 0.8
    while not (task.load((1 - part) * even + part * shares) < task.capacity).all():
        part *= 0.8
    return np.asarray((1 - part) * even + part * shares)


def _gaps(points: Iterator[tuple[FloatArray, float]], most: int) -> tuple[float, ...]:
    """Gaps until the least of `GAPS`, or for the most rounds."""
    gaps = list[float]()
    for _, gap in islice(points, most + 1):
        gaps.append(gap)
        if gap <= min(GAPS):
            break
    return tuple(gaps)


def printed_gaps(instance: Instance, task: safe.Task, start: FloatArray, rounds: int = 200) -> tuple[float, ...]:
    """Certified gaps of Algorithm 1 (steps 0.3 and 0.5) after each round; it ends where it leaves the feasible set."""
    flows, prices = start.reshape(instance.access.shape) * instance.rates[:, None], np.zeros(len(instance.servers))
    if np.allclose(instance.servers, SERVERS):
        flows = proportional_start(instance)
    best, gaps = -np.inf, list[float]()
    for _ in range(rounds + 1):
        if not np.isfinite(instance.cost(flows)):
            return (*gaps, np.inf)
        shares = (flows / instance.rates[:, None]).ravel()
        best = max(best, task.bound(shares))
        gaps.append(safe.relative_gap(task.cost(shares), best))
        prices = 0.5 * prices + 0.5 * instance.nodes.marginal(flows.sum(axis=0))
        flows = flows + 0.3 * (best_response(instance, prices) - flows)
    return tuple(gaps)


def channel_table(seeds: int) -> Table:
    """Which form reaches which gap when prices come late and get lost."""
    rows: Table = []
    for name, instance in list(instances().items())[:4]:
        for channel in CHANNELS:
            for form in get_args(Form):
                traces = [simulate(instance, form, channel, seconds=SECONDS, seed=seed) for seed in range(seeds)]
                kind = {"instance": name, "form": form, "late_s": channel.late, "lost": channel.lost}
                rows.append(kind | _reached(traces))
    return rows


def _reached(traces: list[Trace]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for label, gap in (("1e-3", 1e-3), ("1e-6", 1e-6)):
        times = np.array([trace.reached(gap) for trace in traces])
        there = np.isfinite(times)
        found[f"share_{label}"] = float(there.mean())
        found[f"seconds_{label}"] = float(np.median(times[there])) if there.any() else None
    found["overloaded"] = float(np.mean([trace.overloaded for trace in traces]))
    found["left"] = float(np.mean([trace.overloaded > 0 for trace in traces]))
    return found


def moving_table(seeds: int, load: float = 0.6) -> Table:
    """How far each form stays from an optimum that moves."""
    rows: Table = []
    for motion in MOTIONS:
        for channel in (CHANNELS[0], CHANNELS[2]):
            for form in get_args(Form):
                runs = [
                    simulate(paper_instance(load), form, channel, motion, SECONDS, 10, seed) for seed in range(seeds)
                ]
                gaps = np.concatenate([trace.gaps[len(trace.gaps) // 10 :] for trace in runs])
                inside = gaps[np.isfinite(gaps)]
                kind = {"form": form, "load": load, "amplitude": motion.amplitude, "period_s": motion.period}
                kind |= {"noise": motion.noise, "late_s": channel.late, "lost": channel.lost}
                mean, worst = (float(inside.mean()), float(inside.max())) if len(inside) else (None, None)
                rows.append(kind | {"mean_gap": mean, "worst_gap": worst, "overloaded": float(np.isinf(gaps).mean())})
    return rows


@drawn
def rounds_picture(traces: dict[str, tuple[float, ...]]) -> str:
    """Certified gap by round, one panel an instance."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(key.split("/")[0] for key in traces))
    figure = Figure(figsize=(2.1 * len(names), 2.4), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True)
    for panel, name in zip(panels, names, strict=True):
        for hue, form in zip(HUES, ("forecast", "local", "printed"), strict=False):
            gaps = np.array(traces[f"{name}/{form}"])
            panel.loglog(np.arange(1, len(gaps) + 1), np.maximum(gaps, 1e-10), color=hue, label=form)
        panel.set(title=name, xlabel="round", ylim=(1e-10, 1e2))
    panels[0].set_ylabel("certified gap")
    panels[0].legend()
    return svg(figure, "Certified gap of the forecast, local and printed iterations by round")


@drawn
def channel_picture() -> str:
    """Gap over time with prices up to 10 s late and 30 % of them lost."""
    from matplotlib.figure import Figure

    forms: tuple[Form, ...] = ("forecast", "leased", "printed")
    figure = Figure(figsize=(7.2, 2.4), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for panel, (name, instance) in zip(panels, list(instances().items())[:3], strict=True):
        for hue, form in zip(HUES, forms, strict=False):
            trace = simulate(instance, form, CHANNELS[2], seconds=SECONDS)
            shown = np.where(np.isfinite(trace.gaps), np.clip(trace.gaps, 1e-8, 1e2), 1e2)
            panel.semilogy(trace.times, shown, color=hue, label=form)
        panel.set(title=name, xlabel="time, s", ylim=(1e-8, 1e2))
    panels[0].set_ylabel("gap (top edge: overloaded)")
    panels[-1].legend()
    return svg(figure, "Gap over time when prices come up to 10 s late and 30 % are lost")
