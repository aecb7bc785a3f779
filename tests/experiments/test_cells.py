"""Grids on Dask: nothing finished is lost, whether a worker is killed or the run is cut off."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from experiments import cells
from experiments.cells import Result, Store, cluster, run
from pricing.errors import WardropError


@dataclass(frozen=True)
class Sum:
    """A cell of the tests: what to add, and a folder in which computations leave a mark."""

    a: int
    b: float
    marks: str
    kills: bool = False
    fails: bool = False


def add(cell: Sum) -> Result:
    """Add; a cell that kills takes its worker with it, the first time."""
    mark = Path(cell.marks) / f"{cell.a}-{os.urandom(4).hex()}"
    before = list(Path(cell.marks).glob(f"{cell.a}-*"))
    mark.touch()
    if cell.kills and not before:
        os.kill(os.getpid(), signal.SIGKILL)
    if cell.fails:
        raise WardropError(f"cell {cell.a} cannot be")
    return {"sum": cell.a + cell.b}


def quiet(done: int, total: int) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster(None, 2) as found:
        yield found


def test_a_killed_worker_costs_no_finished_cell(client: Any, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    store = Store(tmp_path / "cells")
    asked = [Sum(n, 0.5, str(marks), kills=n in (3, 7)) for n in range(12)]
    told: list[int] = []
    found = run(client, store, asked, add, lambda done, total: told.append(done))
    assert [found[cell]["sum"] for cell in asked] == [n + 0.5 for n in range(12)]
    assert all(len(list(marks.glob(f"{n}-*"))) >= 2 for n in (3, 7)), "the killed ones were computed again"
    assert told == list(range(13))
    assert all(store.get(cell) == found[cell] for cell in asked)


def test_without_workers_the_rest_is_computed_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cells, "ALONE_S", 1.0)
    asked = [Sum(n, 0.5, str(tmp_path)) for n in range(3)]
    with cluster(None, 0) as nobody:
        found = run(nobody, Store(tmp_path / "cells"), asked, add, quiet)
    assert [found[cell]["sum"] for cell in asked] == [0.5, 1.5, 2.5]


def test_a_run_cut_off_goes_on_where_it_was(client: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")
    first = [Sum(n, 1.0, str(tmp_path)) for n in range(3)]
    run(client, store, first, add, quiet)
    again = [*first, Sum(9, 1.0, str(tmp_path))]
    told: list[int] = []
    run(client, store, again, add, lambda done, total: told.append(done))
    assert told == [3, 4]
    assert len(list(tmp_path.glob("0-*"))) == 1, "a finished cell is not computed again"


def test_what_fails_says_so_and_leaves_the_rest(client: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")
    cells = [Sum(n, 0.0, str(tmp_path), fails=n == 2) for n in range(5)]
    with pytest.raises(WardropError, match="cell 2 cannot be"):
        run(client, store, cells, add, quiet)
    assert [store.get(cell) is None for cell in cells] == [False, False, True, False, False]


def test_a_scheduler_elsewhere(client: Any, tmp_path: Path) -> None:
    cell = Sum(1, 2.0, str(tmp_path))
    with cluster(client.scheduler.address, 1) as there:
        assert run(there, Store(tmp_path / "cells"), [cell], add, quiet)[cell] == {"sum": 3.0}


def test_other_cells_have_other_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cells = [Sum(1, 2.0, ""), Sum(1, 3.0, ""), Sum(2, 2.0, "")]
    assert len({store.path(cell) for cell in cells} | {Store(tmp_path, 2).path(cells[0])}) == 4
    assert store.get(cells[0]) is None


def test_a_folder_that_cannot_be_written_is_said() -> None:
    with pytest.raises(WardropError, match="a folder that can be written is accepted"):
        Store(Path("/dev/null/cells")).put(Sum(1, 1.0, ""), {})


@pytest.mark.parametrize("address", ["nonsense://x", "no-scheme-at-all:"])
def test_a_wrong_address_is_said(address: str) -> None:
    with pytest.raises(WardropError, match="the address of a Dask scheduler"), cluster(address, 1):
        pass
