"""The report of a result file: `report.json`, a page to look at, a closing table and a few sentences.

Everything comes from the result file alone (docs/reference/report.md), so a page can be made again from its JSON. The
page is one file without any outside resource. Times are in ms and rates in Mbit/s here, because people read them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.table import Table

from experiments.pages import pictures
from experiments.pages.colours import UTILIZATION_STEPS, stylesheet
from experiments.pages.rows import as_csv
from experiments.result import schema
from experiments.result.estimate import Estimate, ratio

Part = Mapping[str, Any]

TEMPLATES = Path(__file__).parent / "templates"
UNKNOWN = "–"
SYMBOLS = {"met": "✓", "not met": "✗", "undecided": "?"}
UNITS = {"s": (1e3, " ms"), "bit/s": (1e-6, " Mbit/s")}
"""What people read instead, and how many of them there are in one."""

NO_NETEM = "this kernel has no netem: propagation delay is not emulated"


def write(report: dict[str, Any], folder: Path) -> None:
    """Write `report.json`, `report.html` and `report.csv` into a folder, which is made when it is not there.

    Raises
    ------
    WardropError
        When the report does not fit its schema; nothing is written then.
    """
    schema.check(report)
    put(report, folder, html(report), as_csv(report))


def put(report: dict[str, Any], folder: Path, page: str, rows: str) -> None:
    """Write a report that was checked into a folder, with its page and its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    (folder / "report.html").write_text(page)
    (folder / "report.csv").write_text(rows)


def summary(report: Part) -> str:
    """What was run and what came out, in a few sentences, a line each."""
    runs = report["runs"]
    names = " then ".join(run["policy"] for run in runs)
    each = " each" if len(runs) > 1 else ""
    delays = [f"{run['policy']} {with_interval(run['objective']['mean_delay_s'], 1e3)} ms" for run in runs]
    lines = [
        f"{report['scenario']}, seed {report['seed']}: {names}, {runs[0]['duration_s']:.0f} s measured{each}.",
        f"Mean delay: {', '.join(delays)}.",
    ]
    headline = headline_ratio(report)
    if headline is not None:
        share = with_interval(headline.as_json())
        lines.append(f"{runs[-1]['policy']} takes {share} of the mean delay of {runs[0]['policy']}.")
    lines += findings(report)
    lines += [objection(verdict, run) for run in runs for verdict in run["verdicts"] if verdict["verdict"] != "met"]
    return "\n".join(lines)


def objection(verdict: Part, run: Part) -> str:
    """What a verdict that is not met rests on, and what would have been accepted."""
    about = f" ({verdict['note']})" if verdict["note"] else ""
    told = f"  {verdict['verdict']}: {verdict['name']}, {run['policy']}: {found(verdict)}"
    return f"{told}; accepted: {wanted(verdict)}{about}"


def findings(report: Part) -> list[str]:
    """Packets, optimum, verdicts and what to know about the machine: a sentence each."""
    runs, machine = report["runs"], report["machine"]
    packets = sum(session["sent"] for run in runs for session in run["sessions"])
    lines = [f"{packets:,} requests were sent in the time measured."]
    optimum = runs[-1]["objective"]["optimum_mean_delay_s"]
    if optimum is not None:
        lines.append(f"The least mean delay that the model allows is {milliseconds(optimum)} ms.")
    said = [verdict["verdict"] for run in runs for verdict in run["verdicts"]]
    if said:
        lines.append(f"Verdicts: {', '.join(f'{said.count(word)} {word}' for word in SYMBOLS if word in said)}.")
    lines += [_told(stream, run) for run in runs for stream in run.get("background", [])]
    return lines + told_of_machine(machine)


def told_of_machine(machine: Part) -> list[str]:
    """What readers of any figure must know about the machine that it was measured on."""
    lines = [] if machine["netem"] else [f"{NO_NETEM[0].upper()}{NO_NETEM[1:]}."]
    if not machine.get("quiet", True):
        lines.append("The machine was not quiet, even after repetitions: do not rely on these delays.")
    return lines


def _told(stream: Part, run: Part) -> str:
    """What came of a stream of background traffic."""
    scale, unit = (1.0, "pages/s") if stream["kind"] == "http" else (1e-6, "Mbit/s")

    def amount(field: str) -> str:
        return "unknown" if stream[field] is None else f"{scale * stream[field]:.3g}"

    asked = "all that fits" if stream["asked"] is None else amount("asked")
    said = f"; {stream['error']}" if stream.get("error") else ""
    head = f"Background {stream['name']} ({stream['kind']}, {run['policy']}): "
    return f"{head}asked {asked}, sent {amount('sent')}, received {amount('received')} {unit}{said}."


def table(report: Part) -> Table:
    """The closing table: a row a run, and the model's optimum."""
    made = Table(
        title=f"Mean delay, ms: {report['scenario']}",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in ("", "packets", "measured", "predicted", "differs", "model", "p95", "p99", "lost"):
        made.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for row in comparison(report):
        made.add_row(*row.values())
    return made


def comparison(report: Part) -> list[dict[str, str]]:
    """Rows of 'shortest path, priced, the model's optimum; predicted against measured', as text."""
    rows = []
    for run in report["runs"]:
        objective, sessions = run["objective"], run["sessions"]
        mean = objective["mean_delay_s"]
        points = dict(zip(run["delay_histogram"]["probability"], run["delay_histogram"]["measured_s"], strict=True))
        rows.append(
            {
                "policy": run["policy"],
                "packets": f"{mean['n']:,}",
                "measured": with_interval(mean, 1e3),
                "predicted": milliseconds(objective["predicted_mean_delay_s"]),
                "differs": difference(mean["value"], objective["predicted_mean_delay_s"]),
                "model": milliseconds(objective["model_mean_delay_s"]),
                "p95": milliseconds(_at(points, 0.95)),
                "p99": milliseconds(_at(points, 0.99)),
                "lost": f"{sum(session['lost'] for session in sessions):,}",
            }
        )
    optimum = dict.fromkeys(rows[0], "")
    optimum |= {
        "policy": "the model's optimum",
        "model": milliseconds(report["runs"][-1]["objective"]["optimum_mean_delay_s"]),
    }
    return [*rows, optimum]


def headline_ratio(report: Part) -> Estimate | None:
    """Mean delay of the last run over that of the first, with its interval; None where there is one run."""
    first, last = (report["runs"][index]["objective"]["mean_delay_s"] for index in (0, -1))
    if len(report["runs"]) < 2 or not first["value"] or last["value"] is None:
        return None
    upper, lower = (Estimate(mean["value"], _or_endless(mean["ci95"]), mean["n"]) for mean in (last, first))
    return ratio(upper, lower)


def html(report: Part) -> str:
    """The page, as a string."""
    return rendered(
        "report.html",
        report=report,
        runs=report["runs"],
        rows=comparison(report),
        headline=headline_ratio(report),
        findings=findings(report),
        pairs=list(zip(report["runs"], _pictures(report), strict=True)),
        longest=max((run["objective"]["mean_delay_s"]["value"] or 0.0 for run in report["runs"]), default=0.0),
    )


def rendered(template: str, **values: Any) -> str:
    """A page in the look of the report, with what people read in place of numbers as its filters."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": milliseconds,
        "mbit": lambda value: number(value, 1e-6),
        "number": number,
        "percent": percent,
        "interval": with_interval,
        "amount": amount,
        "wanted": wanted,
        "found": found,
        "busiest": lambda links: sorted(links, key=lambda link: -(link["utilization"] or 0.0)),
    }
    environment.globals |= {
        "difference": difference,
        "symbols": SYMBOLS,
        "unknown": UNKNOWN,
        "no_netem": NO_NETEM,
        "colours": Markup(stylesheet()),
    }
    shown = environment.get_template(template).render(**values)
    return "\n".join(line.rstrip() for line in shown.split("\n")) + "\n"


def _pictures(report: Part) -> list[dict[str, Any]]:
    """The pictures of each run."""
    runs, topology = report["runs"], report["topology"]
    largest = max((link["load_bps"]["value"] or 0.0 for run in runs for link in run["links"]), default=0.0) or 1.0
    steps = {"utilization": UTILIZATION_STEPS, "price": pictures.price_steps(runs)}
    limits = pictures.delay_limits([run["delay_histogram"] for run in runs])
    servers = [server["name"] for server in topology["servers"]]
    return [
        {
            **{
                quantity: Markup(pictures.network_map(topology, run, quantity, borders, largest))
                for quantity, borders in steps.items()
            },
            "delays": Markup(
                pictures.delays(
                    run["delay_histogram"],
                    run["objective"]["mean_delay_s"]["value"],
                    limits,
                    f"Distribution of the delay, {run['policy']}",
                )
            ),
            "prices": Markup(pictures.prices(run)),
            "gaps": Markup(pictures.gaps(run)) if any(gap is not None for gap in run["ticks"]["gap"]) else "",
            "loads": Markup(pictures.loads(run)),
            "splits": [
                Markup(pictures.split(session, run, servers))
                for session, routes in sorted(run["ticks"]["splits"].items())
                if len(routes) > 1
            ],
        }
        for run in runs
    ]


def number(value: float | None, factor: float = 1.0) -> str:
    """Three significant digits, in full where they are more.

    Examples
    --------
    >>> number(0.0123456, 1e3), number(1234.5), number(0.0), number(None), number(0.000012)
    ('12.3', '1,234', '0', '–', '1.2e-05')
    """
    if value is None:
        return UNKNOWN
    shown = value * factor
    if shown == 0:
        return "0"
    if not 1e-3 <= abs(shown) < 1e9:
        return f"{shown:.3g}"
    return f"{shown:,.{max(2 - math.floor(math.log10(abs(shown))), 0)}f}"


def milliseconds(seconds: float | None) -> str:
    """Seconds as ms, without the unit."""
    return number(seconds, 1e3)


def percent(value: float | None, digits: int = 1) -> str:
    """A ratio in percent."""
    return UNKNOWN if value is None else f"{value * 100:z.{digits}f} %"


def difference(measured: float | None, expected: float | None) -> str:
    """By how much `measured` is above `expected`, in percent of it.

    Examples
    --------
    >>> difference(1.1, 1.0), difference(1.0, None)
    ('+10.0 %', '–')
    """
    return UNKNOWN if measured is None or not expected else f"{(measured / expected - 1) * 100:+z.1f} %"


def with_interval(estimate: Part, factor: float = 1.0, digits: int | None = None) -> str:
    """`12.8 ± 0.8`: both with as many digits as the half-width has two of, or with the digits given.

    Examples
    --------
    >>> with_interval({"value": -0.0003, "ci95": 0.085})
    '0.000 ± 0.085'
    """
    value, half = estimate["value"], estimate["ci95"]
    if value is None:
        return UNKNOWN
    if half is None or (half == 0 and digits is None):
        return number(value, factor) + (" ± ?" if half is None else "")
    if digits is None:
        digits = max(1 - math.floor(math.log10(half * factor)), 0)
    if digits > 6:
        return f"{value * factor:.2g} ± {half * factor:.2g}"
    return f"{value * factor:z,.{digits}f} ± {half * factor:,.{digits}f}"


def amount(value: float | None, verdict: Part) -> str:
    """A number of a verdict in the unit that people read."""
    if value is None:
        return UNKNOWN
    unit = verdict.get("unit", "ratio")
    if unit == "packets":
        return f"{value:,.0f}"
    factor, name = UNITS.get(unit, (1.0, ""))
    return number(value, factor) + name


def found(verdict: Part) -> str:
    """What a verdict rests on: the number measured, with its interval where it has one."""
    if not verdict["ci95"] or verdict["measured"] is None:
        return amount(verdict["measured"], verdict)
    factor, name = UNITS.get(verdict.get("unit", "ratio"), (1.0, ""))
    return with_interval({"value": verdict["measured"], "ci95": verdict["ci95"]}, factor) + name


def wanted(verdict: Part) -> str:
    """What a verdict accepts, in words.

    Examples
    --------
    >>> wanted({"expected": 0.6, "tolerance": None}), wanted({"expected": 0.02, "tolerance": 0.003, "unit": "s"})
    ('at most 0.600', '20.0 ms ± 3.00 ms')
    """
    expected = amount(verdict["expected"], verdict)
    if verdict["tolerance"] is None:
        return f"at most {expected}"
    if verdict["tolerance"] == 0:
        return expected
    return f"{expected} ± {amount(verdict['tolerance'], verdict)}"


def _or_endless(half: float | None) -> float:
    return math.inf if half is None else half


def _at(points: Mapping[float, float | None], share: float) -> float | None:
    """The delay at the share nearest to the one asked for."""
    return points[min(points, key=lambda known: abs(known - share))] if points else None
