"""What people may change of a run while its traffic flows: policy, demand, and what is failed."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.observing.feed import Feed
from experiments.running.campaign import Campaign
from experiments.running.phase import Traffic
from pricing.errors import WardropError
from pricing.policy import get_policy
from pricing.priority.announcement import user_of

AGENTS_SEED = 1
"""Of what agents lose that are started in the middle of a run (ours)."""


@dataclass(frozen=True)
class Changes:
    """The changes of one run (`experiments.observing.changes.Changeable`); observers are told of each."""

    up: Campaign
    traffic: Traffic
    feed: Feed

    def set_policy(self, name: str) -> None:
        """Route by another policy from the next tick on; the feed tells it by itself."""
        if get_policy(name).asked:
            self.traffic.start_agents(AGENTS_SEED)
        self.up.controller.ask({"policy": name})

    def set_demand(self, session: str, factor: float) -> None:
        """Let a session send `factor` times its rate.

        Raises
        ------
        WardropError
            When there is no such session, or its user decides what it sends.
        """
        if session not in self.up.network.session_index:
            raise WardropError(f"unknown session {session!r}; accepted: {', '.join(self.up.network.session_index)}")
        if self.up.groups:
            raise WardropError(
                f"session {session!r}: its user {user_of(session)!r} decides what it sends; what changes that is what "
                "requests are worth, the user's value"
            )
        self.traffic.set_demand(session, factor)
        self.feed.demanded(session, factor)
        self.feed.say(f"Demand: {session} sends {factor:g} times its rate")

    def set_value(self, user: str, factor: float) -> None:
        """Let a user's requests be worth `factor` times what they were worth at the start.

        Raises
        ------
        WardropError
            When there is no such user.
        """
        names = [group.name for group in self.up.groups]
        if user not in names:
            raise WardropError(f"unknown user {user!r}; accepted: {', '.join(names) or 'none, nobody chooses here'}")
        self.traffic.set_value(user, factor)
        self.feed.valued(user, factor)
        self.feed.say(f"Value: requests of {user} are worth {factor:g} times what they were")

    def set_link(self, src: str, dst: str, works: bool) -> None:
        """Let the cable between two nodes fail, or heal it; raises as `Faults.link`, and so on for the others."""
        (self.up.emulation.heal_link if works else self.up.emulation.fail_link)(src, dst)
        self._tell(f"Link {src}-{dst}", works)

    def set_node(self, node: str, works: bool) -> None:
        """Let a node fail, or heal it."""
        (self.up.emulation.heal_node if works else self.up.emulation.fail_node)(node)
        self._tell(f"Node {node}", works)

    def set_server(self, server: str, works: bool) -> None:
        """Let a server fail, or heal it."""
        (self.up.emulation.heal_server if works else self.up.emulation.fail_server)(server)
        self._tell(f"Server {server}", works)

    def _tell(self, what: str, works: bool) -> None:
        self.feed.failed(self.up.emulation.faults.failed)
        self.feed.say(f"{what} {'is healed' if works else 'fails'}")
