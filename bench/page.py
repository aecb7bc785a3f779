"""The live page with a large network in a headless Chromium: frames a second, and what the main thread does for them.

A made-up run: a Gabriel graph of nodes in a square, sessions from some nodes to a few servers by their shortest paths,
and a tick each second in which every load has changed. Chromium says in a trace what each of its threads did, on their
own CPU clocks: a busy machine makes frames late, and leaves these as they are. It needs playwright and a Chromium.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from threading import Event, Thread
from typing import Any

import networkx as nx
import numpy as np

from bench.row import Row
from experiments.observing.feed import Feed
from experiments.observing.server import PageServer
from pricing.errors import WardropError
from pricing.network import Link, Network, Node, Route, Server, Session
from pricing.values import FloatArray

CAPACITY, SESSIONS, SERVERS, KEPT, LOOK_S = 10e6, 60, 5, 900, 10.0
"""bit/s of a link; sessions and servers; ticks that the page holds at first; s for which each use is looked at."""

TASK, RASTER = "ThreadControllerImpl::RunTask", "TaskGraphRunner::RunTask"
"""Chromium's names of a piece of a thread's work, and of a piece of drawing by a worker."""

COUNT = """() => {
  window.frames_seen = [];
  const next = (now) => { window.frames_seen.push(now); requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""


def gabriel(nodes: int) -> Network:
    """Nodes in a square, a cable where no third node lies in the circle about two; sessions to the nearest server."""
    at = np.random.default_rng(1).uniform(0, 10, (nodes, 2))
    apart = ((at[:, None] - at[None]) ** 2).sum(axis=2)
    free = apart <= (apart[:, None, :] + apart[None, :, :] + np.diag(np.full(nodes, np.inf))).min(axis=2)
    names = [f"n{number:03}" for number in range(nodes)]
    cables = [(names[a], names[b]) for a, b in zip(*np.nonzero(np.triu(free, 1)), strict=True)]
    links = sorted(
        (Link(*ends, CAPACITY) for cable in cables for ends in (cable, cable[::-1])), key=lambda link: link.key
    )
    servers = tuple(Server(f"server{number}", names[number * nodes // SERVERS], 1e4) for number in range(SERVERS))
    ends = tuple(server.name for server in servers)
    asking = names[1 :: nodes // SESSIONS][:SESSIONS]
    sessions = tuple(Session(f"k-{name}", name, "anycast", ends, 1e5, service="web") for name in asking)
    where = tuple(Node(name, y, x) for name, (x, y) in zip(names, at.tolist(), strict=True))
    return Network("gabriel", where, tuple(links), servers, sessions)


class Ticks:
    """Record lines of a run without packets: splits and loads change a little from each to the next."""

    def __init__(self, network: Network) -> None:
        self.feed = Feed(network, "made up, for its size")
        self.rng, self.count, self.begun = np.random.default_rng(2), 0, time.time() - 900
        at = {server.name: server.node for server in network.servers}
        self.ways = {
            session.name: [
                str(
                    Route(
                        session.name, tuple(pairwise(nx.shortest_path(network.graph, session.source, at[name]))), name
                    )
                )
                for name in session.destinations
            ]
            for session in network.sessions
        }
        self.place = {link.key: place for place, link in enumerate(network.links)}

    def add(self) -> None:
        """The next one."""
        network = self.feed.network
        loads, works = np.full(len(network.links), 2e5), np.zeros(len(network.servers))
        decided = {}
        for name, ways in self.ways.items():
            split = self.rng.dirichlet(np.ones(len(ways)))
            decided[name] = [[way, float(weight)] for way, weight in zip(ways, split, strict=True)]
            works += 1e3 * split / 8
            for way, weight in zip(ways, split, strict=True):
                for ends in pairwise(way.partition("@")[0].split(">")):
                    loads[self.place[ends]] += 4e5 * weight
        line = {
            "tick": self.count, "time": self.begun + self.count, "policy": "joint", "decided": decided,
            "realised": decided, "offered": {session.name: session.rate for session in network.sessions},
            "links": states(loads, CAPACITY), "servers": states(works, 1e4),
            "gap": float(self.rng.uniform(0, 0.1)), "objective": 0.009, "optimum": 0.0088, "tick_s": 0.1,
            "rules_changed": 12, "error": None,
        }  # fmt: skip
        self.feed.add(line, "joint", float(self.count), 0.0)
        self.count += 1


def states(loads: FloatArray, capacity: float) -> list[dict[str, Any]]:
    """What a record line says of links or servers that carry this."""
    used = np.minimum(loads / capacity, 0.95)
    price = 4e3 / capacity * (1 / (1 - used) ** 2)
    return [
        {"load": u * capacity, "utilization": u, "price": p, "delay": p / 2, "age": 0.1, "up": True}
        for u, p in zip(used.tolist(), price.tolist(), strict=True)
    ]


@contextmanager
def ticking(run: Ticks) -> Iterator[None]:
    """A tick each second meanwhile."""
    ended = Event()

    def work() -> None:
        while not ended.wait(1.0):
            run.add()

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def looked_at(browser: Any, page: Any, use: str, act: Callable[[], None]) -> dict[str, float]:
    """What a use of the page took: frames by their times, work by the threads' CPU clocks."""
    page.evaluate("() => { window.frames_seen.length = 0; }")
    browser.start_tracing(page=page, categories=["-*", "toplevel", "devtools.timeline"])
    begun = time.perf_counter()
    act()
    seconds = time.perf_counter() - begun
    frames = np.diff(page.evaluate("() => window.frames_seen"))
    events = json.loads(browser.stop_tracing())["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    of = [(names.get((e["pid"], e["tid"])), e["name"], e["tdur"] / 1e3) for e in events if e.get("tdur")]
    main = np.array([took for thread, name, took in of if (thread, name) == ("CrRendererMain", TASK)])
    raster = sum(took for _, name, took in of if name == RASTER)
    found = {
        "frames/s": round(len(frames) / seconds, 1),
        "95 % of frames within, ms": round(float(np.quantile(frames, 0.95)), 1),
        "main thread a frame, ms CPU": round(float(main.sum()) / len(frames), 2),
        "its longest piece": round(float(main.max()), 1),
        "raster, share of both": round(raster / (raster + float(main.sum())), 2),
    }
    return {f"{use}: {what}": value for what, value in found.items()}


def moved(page: Any, seconds: float, step: Callable[[float], None]) -> None:
    """The pointer over the middle of the map, and a step of it every hundredth of a second."""
    box = page.locator("#map .plane").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    begun = time.perf_counter()
    while (now := time.perf_counter() - begun) < seconds:
        step(now)
        time.sleep(0.01)


def dragged(page: Any, seconds: float) -> None:
    """The map goes round in a circle."""
    page.mouse.wheel(0, -200)
    page.mouse.down()
    moved(page, seconds, lambda now: page.mouse.move(600 + 150 * math.sin(2 * now), 420 + 100 * math.cos(2 * now)))
    page.mouse.up()


def zoomed(page: Any, seconds: float) -> None:
    """The wheel turns to and fro."""
    moved(page, seconds, lambda now: page.mouse.wheel(0, math.copysign(40, math.sin(3 * now))))


def smoothness(nodes: int, seconds: float) -> Row:
    """The page while somebody watches, drags the map, zooms it, lights routes up; ticks arrive meanwhile.

    Raises
    ------
    WardropError
        Without a Chromium.
    """
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise WardropError("no Chromium; on Debian: apt-get install chromium")
    playwright: Any = import_module("playwright.sync_api").sync_playwright
    run = Ticks(gabriel(nodes))
    for _ in range(KEPT):
        run.add()
    network, facts = run.feed.network, dict[str, float]()
    with PageServer(run.feed, "127.0.0.1:0") as server, playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.goto(server.url)
        page.wait_for_function(f"() => document.getElementById('time').max == {KEPT - 1}")
        page.evaluate(COUNT)
        with ticking(run):
            facts |= looked_at(browser, page, "watched", lambda: time.sleep(seconds))
            facts |= looked_at(browser, page, "dragged", lambda: dragged(page, seconds))
            facts |= looked_at(browser, page, "zoomed", lambda: zoomed(page, seconds))
            page.locator("#sessions button").first.click()
            facts |= looked_at(browser, page, "lit", lambda: time.sleep(seconds))
            facts |= looked_at(browser, page, "lit and dragged", lambda: dragged(page, seconds))
        browser.close()
    size = {"nodes": len(network.nodes), "links": len(network.links), "sessions": len(network.sessions)}
    return Row(
        f"the live page, {nodes} nodes", size, facts=facts, note="33 ms a frame are wanted; no GPU: raster is CPU"
    )
