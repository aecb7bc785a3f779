"""The style of every picture and of the page around them.

`COLOURS` names each colour twice, for light paper and for a dark screen, and `svg` turns every colour of a figure into
a CSS variable of that name. The scale from low to high changes its lightness steadily, and the hues are close to those
of Okabe and Ito, so both survive a colour-blind eye and a grey printer.
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

P = ParamSpec("P")
R = TypeVar("R")

COLOURS = {
    "paper": ("#fdfdfb", "#15181c"),
    "ink": ("#1c2024", "#e9e7e2"),
    "soft": ("#646a70", "#9aa1a8"),
    "rule": ("#d9dad6", "#353b42"),
    "measured": ("#1b1f23", "#f1efe9"),
    "predicted": ("#0072b2", "#56b4e9"),
    "model": ("#c85500", "#f0944d"),
    "hue0": ("#0073b3", "#58b5ea"),
    "hue1": ("#c95600", "#ef934c"),
    "hue2": ("#009e74", "#2fc39b"),
    "hue3": ("#b8608f", "#d98ab5"),
    "hue4": ("#9a8200", "#dcc74a"),
    "hue5": ("#5b5f97", "#a3a7de"),
    "scale0": ("#d3cfc2", "#3b4249"),
    "scale1": ("#eccf92", "#56405c"),
    "scale2": ("#f5c274", "#6c3a63"),
    "scale3": ("#f0a04f", "#923a66"),
    "scale4": ("#e47a3c", "#b8415c"),
    "scale5": ("#d0533a", "#d8584c"),
    "scale6": ("#ad3146", "#ee7a44"),
    "scale7": ("#7d1a4b", "#f9a353"),
    "scale8": ("#4a0d43", "#fcd27c"),
}
"""Each colour on light paper and on a dark screen. Figures are drawn with the first; no two of them are equal."""

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


def stylesheet() -> str:
    """The colours as CSS variables, light and dark; print is light."""
    light = " ".join(f"--{name}: {pair[0]};" for name, pair in COLOURS.items())
    dark = " ".join(f"--{name}: {pair[1]};" for name, pair in COLOURS.items())
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


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
