"""Garbage is searched when told to: what a tick left goes, what was kept is not walked through."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from controller import garbage


class Ring:
    """An object in a cycle with itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No search but those of the test, and nothing kept after it."""
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def test_a_cycle_that_a_tick_left_goes_after_it() -> None:
    left = weakref.ref(Ring())
    assert left(), "no search has come upon it"
    garbage.collect(1)
    assert left() is None


def test_an_old_cycle_goes_when_everything_is_searched() -> None:
    ring = Ring()
    left = weakref.ref(ring)
    gc.collect()
    del ring
    garbage.collect(garbage.ALL - 1)
    assert left(), "it outlived a search of everything, so it is old"
    garbage.collect(garbage.ALL)
    assert left() is None


def test_what_is_kept_is_not_searched() -> None:
    ring = Ring()
    left = weakref.ref(ring)
    garbage.keep()
    del ring
    garbage.collect(0)
    assert left()
