"""A made-up run that can be observed and changed: no packets, one tick whenever it is asked for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from threading import Event, Thread
from types import MappingProxyType
from typing import Any

import numpy as np
from synthetic import network, record

from controller import tick
from controller.fabric import Fabric
from controller.plant import plant_from_json
from experiments.observing.feed import Feed
from experiments.observing.server import PageServer
from pricing.errors import WardropError
from pricing.network import Network
from pricing.policy import get_policy
from topologies.plant import plan

START = 1_700_000_000.0


class MadeUpRun:
    """Its record lines, and what was changed of it; a failed cable carries nothing, and its routes are given up."""

    def __init__(self, users: Mapping[str, str] = MappingProxyType({})) -> None:
        self.feed = Feed(network(), "Abilene, made up", users)
        self.policy = "shortest-path"
        self.failed: set[frozenset[str] | str] = set()
        self.rng = np.random.default_rng(1)
        self.count = 0

    def tick(self, times: int = 1, **changes: Any) -> None:
        """Add so many ticks, a second apart, with some fields changed."""
        for _ in range(times):
            line = record(self.feed.network, self.policy, self.count, self.rng) | {"time": START + self.count}
            for state in (*line["links"], *line["servers"]):
                state.update(delay=state["price"] / 2, up=True)
            self._give_up(line)
            self.feed.add(line | changes, self.policy, float(self.count), 0.0)
            self.count += 1

    def _give_up(self, line: dict[str, Any]) -> None:
        for name, split in line["decided"].items():
            kept = [[route, weight] for route, weight in split if not self._crosses(route)]
            total = sum(weight for _, weight in kept)
            line["decided"][name] = [[route, weight / total] for route, weight in kept] or split
        for link, state in zip(self.feed.network.links, line["links"], strict=True):
            if frozenset(link.key) in self.failed:
                state.update(load=0.0, utilization=0.0)

    def _crosses(self, route: str) -> bool:
        nodes = route.partition("@")[0].split(">")
        return any(frozenset(ends) in self.failed for ends in pairwise(nodes))

    def set_policy(self, name: str) -> None:
        """From the next tick on."""
        self.policy = name

    def set_demand(self, session: str, factor: float) -> None:
        """Tell it to those who observe."""
        if session not in self.feed.network.session_index:
            raise WardropError(f"unknown session {session!r}")
        self.feed.demanded(session, factor)
        self.feed.say(f"Demand: {session}")

    def set_value(self, user: str, factor: float) -> None:
        """Tell it to those who observe."""
        if user not in self.feed.users.values():
            raise WardropError(f"unknown user {user!r}")
        self.feed.valued(user, factor)

    def set_link(self, src: str, dst: str, works: bool) -> None:
        """Fail or heal a cable."""
        self._set(frozenset((src, dst)), works)

    def set_node(self, node: str, works: bool) -> None:
        """Fail or heal a node."""
        self._set(node, works)

    def set_server(self, server: str, works: bool) -> None:
        """Fail or heal a server."""
        self._set(server, works)

    def _set(self, thing: frozenset[str] | str, works: bool) -> None:
        self.failed = self.failed - {thing} if works else self.failed | {thing}
        self.feed.failed(self.failed)
        self.feed.say(
            f"{'Healed' if works else 'Failed'}: {thing if isinstance(thing, str) else '-'.join(sorted(thing))}"
        )


def decided(network: Network, policy: str, ticks: int) -> Feed:
    """What a policy decides on a network at its nominal rates, tick after tick, as those who observe get it."""
    fabric = Fabric(network, plant_from_json(plan(network).to_json(), network), 64)
    feed = Feed(network, f"{network.name}, by the model")
    state = tick.first_state(fabric, get_policy(policy))
    for number in range(ticks):
        state = tick.acknowledged(state, tick.plan(fabric, state))
        line = tick.describe(fabric, state) | {"tick": number, "time": START + number, **tick.NO_VERDICT}
        feed.add(line | {"tick_s": 0.01, "rules_changed": 0, "error": None}, policy, float(number), 0.0)
    return feed


@contextmanager
def page_of(feed: Feed) -> Iterator[str]:
    """The address of a feed's page."""
    with PageServer(feed, "127.0.0.1:0") as server:
        yield server.url


@contextmanager
def served(run: MadeUpRun, token: str | None = None) -> Iterator[str]:
    """The address of the run's page; a thread carries out what is asked, and adds a tick after each change."""
    ended = Event()

    def attend() -> None:
        while not ended.wait(0.02):
            before = (run.policy, run.failed, run.feed.demand, run.feed.worth)
            run.feed.inbox.carry_out(run)
            if (run.policy, run.failed, run.feed.demand, run.feed.worth) != before:
                run.tick()

    thread = Thread(target=attend)
    thread.start()
    try:
        with PageServer(run.feed, "127.0.0.1:0", token) as server:
            yield server.url
    finally:
        ended.set()
        thread.join()
