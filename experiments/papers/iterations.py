"""How the distributed iterations fare: rounds, late and lost prices, capacities that move.

The instances are the joint paper's with its servers scaled to several loads, and one where all sources and servers are
alike. `experiments.commands.studies` runs this, and describes the tables.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np

from experiments.pages.colours import stylesheet
from experiments.pages.style import HUES, drawn, svg
from experiments.papers.joint_instance import SERVERS, instance
from pricing.joint import local, safe
from pricing.joint.asynchronous import Channel, Form, Motion, Trace, simulate
from pricing.joint.printed import Instance, best_response, proportional_start
from pricing.values import FloatArray

LOADS = (0.6, 0.85, 0.99)
CHANNELS = (Channel(), Channel(10.0), Channel(10.0, 0.3))
MOTIONS = (Motion(0.2, 300.0), Motion(0.3, 300.0, 0.02))
"""Amplitudes, periods and noise are ours: the paper gives the model only."""

GAPS = (1e-3, 1e-6, 1e-9)
ROUNDS = 1500
SECONDS = 300

Table = list[dict[str, Any]]


def alike_instance(load: float) -> Instance:
    """Five sources and three servers, all alike, access paths at a fifth or less: constant steps circle here."""
    return Instance(np.full(5, 10.0), np.full((5, 3), 50.0), np.full(3, 50.0 / 3 / load))


def instances() -> dict[str, Instance]:
    """All that the rounds are counted on."""
    found = {"paper": instance()} | {f"load {load:g}": instance(load) for load in LOADS}
    return found | {"alike 0.99": alike_instance(0.99)}


def study(out: Path, seeds: int) -> dict[str, Table]:
    """Make the tables and write them, and the figures, into a folder; the tables by name.

    Parameters
    ----------
    seeds : int
        Runs of each kind in which messages travel.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    traces = dict[str, tuple[float, ...]]()
    tables = {"rounds": rounds_table(traces), "channel": channel_table(seeds), "moving": moving_table(seeds)}
    write_tables(out, tables)
    (out / "figures.html").write_text(_page(rounds_picture(traces), channel_picture()), encoding="utf-8")
    return tables


def write_tables(folder: Path, tables: Mapping[str, Table]) -> None:
    """Write each table into a folder, as `NAME.csv`.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for title, rows in tables.items():
        with (folder / f"{title}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _page(*pictures: str) -> str:
    """The figures on a page, which gives them their colours."""
    style = stylesheet() + " body { background: var(--paper); font-family: sans-serif; margin: 2em; }"
    figures = "\n".join(f"<figure>{picture}</figure>" for picture in pictures)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Iterations</title><style>{style}</style>'
    return f"{head}\n{figures}\n</html>\n"


def rounds_table(traces: dict[str, tuple[float, ...]]) -> Table:
    """Rounds to certified gaps; the gaps of each run are left in `traces`."""
    rows: Table = []
    for name, case in instances().items():
        task = safe.bipartite(case.rates, case.paths, case.nodes)
        start = uneven(task)
        for form, gaps, numbers in (
            ("forecast", _gaps(safe.points(task, start), 100), safe.numbers_told(task)),
            ("local", _gaps(local.points(task, start), ROUNDS), local.numbers_told(task)),
            ("printed", printed_gaps(case, task, start), len(task.shared)),
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


def printed_gaps(case: Instance, task: safe.Task, start: FloatArray, rounds: int = 200) -> tuple[float, ...]:
    """Certified gaps of Algorithm 1 (steps 0.3 and 0.5) after each round; it ends where it leaves the feasible set."""
    flows, prices = start.reshape(case.access.shape) * case.rates[:, None], np.zeros(len(case.servers))
    if np.allclose(case.servers, SERVERS):
        flows = proportional_start(case)
    best, gaps = -np.inf, list[float]()
    for _ in range(rounds + 1):
        if not np.isfinite(case.cost(flows)):
            return (*gaps, np.inf)
        shares = (flows / case.rates[:, None]).ravel()
        best = max(best, task.bound(shares))
        gaps.append(safe.relative_gap(task.cost(shares), best))
        prices = 0.5 * prices + 0.5 * case.nodes.marginal(flows.sum(axis=0))
        flows = flows + 0.3 * (best_response(case, prices) - flows)
    return tuple(gaps)


def channel_table(seeds: int) -> Table:
    """Which form reaches which gap when prices come late and get lost."""
    rows: Table = []
    for name, case in list(instances().items())[:4]:
        for channel in CHANNELS:
            for form in get_args(Form):
                traces = [simulate(case, form, channel, seconds=SECONDS, seed=seed) for seed in range(seeds)]
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
                runs = [simulate(instance(load), form, channel, motion, SECONDS, 10, seed) for seed in range(seeds)]
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
    for panel, (name, case) in zip(panels, list(instances().items())[:3], strict=True):
        for hue, form in zip(HUES, forms, strict=False):
            trace = simulate(case, form, CHANNELS[2], seconds=SECONDS)
            shown = np.where(np.isfinite(trace.gaps), np.clip(trace.gaps, 1e-8, 1e2), 1e2)
            panel.semilogy(trace.times, shown, color=hue, label=form)
        panel.set(title=name, xlabel="time, s", ylim=(1e-8, 1e2))
    panels[0].set_ylabel("gap (top edge: overloaded)")
    panels[-1].legend()
    return svg(figure, "Gap over time when prices come up to 10 s late and 30 % are lost")
