"""The curves of a calibration: waits over utilization, with confidence bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.calibrating.measure import Found
from experiments.calibrating.theory import Point
from experiments.pages.style import HUES, LIGHT, drawn
from pricing.errors import WardropError

DOTS_AN_INCH = 160


@drawn
def draw(found: Found, path: Path) -> None:
    """Draw the curves into a PNG file.

    Raises
    ------
    WardropError
        When it cannot be written.
    """
    laws = sorted({point.law for point in found.points}, key=[point.law for point in found.points].index)
    figure = Figure(figsize=(3.4 * len(laws), 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(laws), sharey=True))
    for axes, law in zip(panels, laws, strict=True):
        mine = [point for point in found.points if point.law == law]
        for klass in sorted({point.klass for point in mine}):
            label = f"class {klass}, measured" if law == "Cobham" else "measured"
            _curve(axes, [point for point in mine if point.klass == klass], HUES[klass - 1], label)
        if law == "M/M/1" and found.tclink:
            rho = [point.utilization for point in found.tclink]
            axes.plot(
                rho, _ms([point.measured.value for point in found.tclink]), "x", color=LIGHT["soft"], label="TCLink"
            )
        axes.set(title=law, xlabel="utilization", yscale="log", xlim=(0, 1))
        axes.legend(fontsize=7.5, loc="upper left")
    panels[0].set_ylabel("mean wait, ms")
    try:
        figure.savefig(path, dpi=DOTS_AN_INCH, facecolor=LIGHT["paper"])
    except OSError as error:
        raise WardropError(
            f"--out {path.parent}: {error.strerror}; a folder that can be written is accepted"
        ) from error


def _curve(axes: Axes, points: Sequence[Point], colour: str, label: str) -> None:
    rho = [point.utilization for point in points]
    low = _ms([max(point.measured.low, 1e-6) for point in points])
    axes.fill_between(rho, low, _ms([point.measured.high for point in points]), color=colour, alpha=0.18, lw=0)
    axes.plot(rho, _ms([point.measured.value for point in points]), "o", ms=3.5, color=colour, label=label)
    axes.plot(rho, _ms([point.predicted.value for point in points]), "-", color=colour, lw=1.2, label="Lindley")
    axes.plot(rho, _ms([point.formula for point in points]), ":", color=colour, lw=1.2, label="formula")


def _ms(seconds: Sequence[float]) -> list[float]:
    """Finite milliseconds; NaN, which is not drawn, for the rest."""
    return [1e3 * value if np.isfinite(value) else np.nan for value in seconds]
