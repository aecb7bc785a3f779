"""The colours of every page, without what draws figures.

Each is named twice, for light paper and for a dark screen. The scale from low to high changes its lightness steadily,
and the hues are close to those of Okabe and Ito, so both survive a colour-blind eye and a grey printer.
"""

from __future__ import annotations

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

UTILIZATION_STEPS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Borders of the colours of utilization: closer where queues grow."""


def stylesheet() -> str:
    """The colours as CSS variables, light and dark; print is light."""
    light = " ".join(f"--{name}: {pair[0]};" for name, pair in COLOURS.items())
    dark = " ".join(f"--{name}: {pair[1]};" for name, pair in COLOURS.items())
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
