"""Pages of a service fetched at random times: `python -m topologies.hosts.browser CONFIG.json`.

Each page is a connection of its own, so that each may be answered by another server. The times are a Poisson stream
drawn beforehand, from the start that is told on standard input (s of CLOCK_REALTIME); `WORKERS` pages may be under way
at once, and one that is due while all are busy is late. Written to `log` at the end, or on SIGTERM, of the pages due
after `settle`: pages/s asked, sent and received, how late they began, how long they took, and from which server.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from topologies.hosts.arrivals import POISSON, times
from topologies.hosts.logs import SECOND, save_summary
from topologies.hosts.orders import told_start, told_to_end
from topologies.hosts.web import PORT

WORKERS, TIMEOUT_S = 16, 3.0
"""Pages that may be under way at once, and how long one may take (ours)."""


class Page(NamedTuple):
    """A page: when it was due and begun (s of CLOCK_REALTIME), how long it took, and who sent it; nobody: it failed."""

    due: float
    began: float
    took: float
    server: str


def fetch(address: str, due: float) -> Page:
    """Fetch the page now."""
    began = time.time()
    connection = http.client.HTTPConnection(address, PORT, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        server = answer.headers.get("X-Server", "") if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        server = ""
    finally:
        connection.close()
    return Page(due, began, time.time() - began, server)


def summary(config: Mapping[str, Any], pages: Sequence[Page], seconds: float) -> dict[str, Any]:
    """What came of the pages that were due in `seconds` seconds; None for what nothing is known of."""
    came = [page for page in pages if page.server]
    late = [page.began - page.due for page in pages]
    return {
        "kind": "http",
        "asked": config["rate"],
        "sent": len(pages) / seconds if seconds > 0 else None,
        "received": len(came) / seconds if seconds > 0 else None,
        "lost": 1.0 - len(came) / len(pages) if pages else None,
        "late_s": float(np.quantile(late, 0.99)) if late else None,
        "took_s": float(np.mean([page.took for page in came])) if came else None,
        "servers": dict(sorted(Counter(page.server for page in came).items())),
        "error": None,
    }


def main(config: Path) -> int:
    """Fetch pages as the file `config` says; the exit status."""
    values = json.loads(config.read_text())
    stopping = told_to_end()
    length = values["settle"] + values["measure"]
    due = times(POISSON, values["rate"], length, np.random.default_rng(values["seed"])) / SECOND
    print("ready", flush=True)
    start = told_start()
    if start is None:
        return 0
    with ThreadPoolExecutor(WORKERS) as workers:
        under_way = []
        for moment in due:
            if stopping.wait(max(0.0, start + moment - time.time())):
                break
            under_way.append(workers.submit(fetch, values["address"], start + float(moment)))
    begin = start + values["settle"]
    pages = [page.result() for page in under_way if page.result().due >= begin]
    seconds = min(time.time(), start + length) - begin
    save_summary(Path(values["log"]), summary(values, pages, seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
