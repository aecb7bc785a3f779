"""The style of every picture and of the page around them.

Figures are drawn with the light colour of each pair in `experiments.pages.colours`, and `svg` turns every colour of a
figure into the CSS variable of its name.
"""

from __future__ import annotations

import functools
import html
import io
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from experiments.pages.colours import COLOURS

P = ParamSpec("P")
R = TypeVar("R")

LIGHT = {name: pair[0] for name, pair in COLOURS.items()}
SCALE = ListedColormap([LIGHT[f"scale{step}"] for step in range(9)], name="load")
HUES = [LIGHT[f"hue{index}"] for index in range(6)]

STYLE: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.size": 9.0,
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["soft"],
    "axes.edgecolor": LIGHT["rule"],
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": LIGHT["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.6,
    "xtick.color": LIGHT["rule"],
    "ytick.color": LIGHT["rule"],
    "xtick.labelcolor": LIGHT["soft"],
    "ytick.labelcolor": LIGHT["soft"],
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "wardrop",
}


def svg(figure: Figure, title: str) -> str:
    """The figure as an SVG element to put into a page, named `title` for those who cannot see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(
        r'<svg ([^>]*?)width="([\d.]+)pt" height="[\d.]+pt"', r'<svg \1style="max-width: \2pt"', text, count=1
    )
    text = re.sub(r"(font: [^;\"']*?)'?sans-serif'?[^;\"]*", r"\1sans-serif", text)
    # Coordinates need two decimals; what is written between tags keeps all of its own.
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), text)
    for name, colour in LIGHT.items():
        text = text.replace(colour, f"var(--{name})")
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)


def drawn(picture: Callable[P, R]) -> Callable[P, R]:
    """Draw in this style, whatever the user's own settings of Matplotlib are."""

    @functools.wraps(picture)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            return picture(*args, **kwargs)

    return inside
