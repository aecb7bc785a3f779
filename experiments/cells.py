"""A grid of computations: cells that stay on disk when they are done, and are not computed again.

A **cell** is a value that says all about one computation; `Store` keeps the result of each in a file of its own, named
after its content. A result is written by the process that asked, as soon as it comes: to a new file that is then given
its name, so a reader never meets half of one. A run that is cut off goes on where it was.

`run` computes on Dask: a worker that dies takes with it only what it was at, and the scheduler gives that to another.
When none is left, the rest is computed in this process.
`run_here` computes one after the other in this process: what measures packets must have the machine to itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pricing.errors import WardropError

if TYPE_CHECKING:
    from distributed import Client, Future

RETRIES = 10
"""Workers that may die over one cell before it is given up; Dask counts those that are killed from outside too."""

POLL_S, ALONE_S = 0.1, 20.0
"""How often is asked whether there are workers, and how long there may be none, s (ours)."""

Result = dict[str, Any]
"""What a cell comes to: numbers and lists of numbers, as JSON has them."""


Cell = Any
"""A frozen dataclass of numbers and words."""


@dataclass(frozen=True)
class Store:
    """Results on disk, a file each in `folder`; `version` is part of their names and changes with what they mean."""

    folder: Path
    version: int = 1

    def path(self, cell: Cell) -> Path:
        """Where a cell's result is, or will be."""
        said = json.dumps([type(cell).__name__, asdict(cell), self.version], sort_keys=True)
        return self.folder / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.json"

    def get(self, cell: Cell) -> Result | None:
        """The result, or None when it is not there yet."""
        try:
            found: Result = json.loads(self.path(cell).read_text())
        except FileNotFoundError:
            return None
        return found

    def put(self, cell: Cell, result: Result) -> None:
        """Keep a result.

        Raises
        ------
        WardropError
            When it cannot be written.
        """
        path = self.path(cell)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(f".{os.getpid()}.new")
            new.write_text(json.dumps(result, allow_nan=False))
            new.replace(path)
        except OSError as error:
            raise WardropError(f"{path}: {error.strerror}; a folder that can be written is accepted") from error


@contextmanager
def cluster(scheduler: str | None, workers: int) -> Iterator[Client]:
    """A client of the scheduler at an address, or of one of our own with so many processes of one thread each.

    Raises
    ------
    WardropError
        When nobody answers at the address.
    """
    import dask

    # Before it is imported: that is when it reads how much to say.
    dask.config.set({"distributed.scheduler.allowed-failures": RETRIES, "distributed.logging.distributed": "error"})
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError, TimeoutError) as error:
            wanted = "the address of a Dask scheduler that runs, such as tcp://127.0.0.1:8786, is accepted"
            raise WardropError(f"--scheduler {scheduler}: {error}; {wanted}") from error
        with client:
            yield client
        return
    with (
        # Its own page is not asked for; on any free port it is in nobody's way.
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local) as client,
    ):
        yield client


def run(
    client: Client,
    store: Store,
    cells: Sequence[Cell],
    compute: Callable[[Any], Result],
    told: Callable[[int, int], None],
) -> Mapping[Any, Result]:
    """Results of all cells: what is on disk already, and the rest computed by workers and kept as it comes.

    Parameters
    ----------
    compute : function
        Of one cell; of a module, so that workers can import it.
    told : function
        Called with how many cells are done, and of how many.

    Raises
    ------
    WardropError
        When a cell fails: its own error, once the others that are on their way are kept.
    """
    found, missing = _kept(store, cells)
    told(len(found), len(cells))
    # Results live on disk: Dask must neither remember nor spill them, and equal cells are computed once.
    futures = {client.submit(compute, cell, pure=False, retries=RETRIES): cell for cell in missing}
    failed: BaseException | None = None
    keep = _keeper(store, found, len(cells), told)
    for future, error in _ended(client, futures):
        if error is None:
            with suppress(TimeoutError):  # a worker that dies with a result takes it back; it comes again
                keep(futures[future], future.result(timeout=ALONE_S))
                del futures[future]
        else:
            failed = failed or error
            del futures[future]
    if futures:  # no worker is left; one that comes later finds nothing to do
        client.cancel(list(futures))
    for cell in futures.values():
        keep(cell, compute(cell))
    if isinstance(failed, WardropError):
        raise failed
    if failed is not None:
        raise WardropError(f"a simulation of the grid failed: {failed!r}; what was finished is kept") from failed
    return found


def _ended(client: Client, futures: Mapping[Future, Any]) -> Iterator[tuple[Future, BaseException | None]]:
    """Those of `futures` that have ended, with their errors, until none is left there, or no worker for `ALONE_S`.

    A worker that is killed while it is being started is not started again by Dask.
    """
    from distributed import as_completed

    running, alone = as_completed(list(futures)), 0.0
    while futures and alone < ALONE_S:
        if not running.has_ready():
            time.sleep(POLL_S)
            alone = 0.0 if client.scheduler_info()["workers"] else alone + POLL_S
            continue
        for future in running.next_batch(block=False):
            with suppress(TimeoutError):
                yield future, future.exception(timeout=ALONE_S)
            if future in futures:  # its result was taken back
                running.add(future)


def run_here(
    store: Store, cells: Sequence[Cell], compute: Callable[[Any], Result], told: Callable[[int, int], None]
) -> Mapping[Any, Result]:
    """Results of all cells as `run` has them, those that are missing computed in order; the first error ends it."""
    found, missing = _kept(store, cells)
    told(len(found), len(cells))
    keep = _keeper(store, found, len(cells), told)
    for cell in missing:
        keep(cell, compute(cell))
    return found


def _keeper(
    store: Store, found: dict[Any, Result], of: int, told: Callable[[int, int], None]
) -> Callable[[Any, Result], None]:
    """What keeps the result of a cell, on disk too, and tells of it."""

    def keep(cell: Any, result: Result) -> None:
        found[cell] = result
        store.put(cell, result)
        told(len(found), of)

    return keep


def _kept(store: Store, cells: Sequence[Cell]) -> tuple[dict[Any, Result], list[Cell]]:
    """What is on disk already, and the cells that are not, each once."""
    found = {cell: kept for cell in cells if (kept := store.get(cell)) is not None}
    return found, [cell for cell in dict.fromkeys(cells) if cell not in found]
