"""Garbage between ticks: cycles of objects are looked for while nobody waits, never in the middle of a tick.

Python looks for them when so many objects were made, which is in the middle of a tick, and then walks through all that
lives: on a large network as long as the rest of the tick takes. So a controller turns that off as it starts. What is
alive after the first tick, the rules and what they follow from, is kept out of every search. Between ticks what the
last one made is searched, and every `ALL` ticks whatever else has come since. Objects in no cycle, nearly all, go at
once as ever.
"""

from __future__ import annotations

import gc

ALL = 60
"""Ticks from one search of everything to the next (ours)."""


def keep() -> None:
    """Take all that is alive out of every search; once, after the first tick."""
    gc.collect()
    gc.freeze()


def collect(number: int) -> None:
    """Search what the tick of this number has left, or everything when it is time for that."""
    gc.collect(1 if number % ALL else 2)
