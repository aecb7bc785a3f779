"""What the programs in the hosts say of themselves: a small file each, replaced about once a second, read at a scrape.

Senders write `sender-SESSION.json`, users `user-NAME.json`, servers `load-HOST.json` and agents `agent-KIND-NAME.json`
into one folder in memory (`topologies.hosts`). A user's file has what a sender says, of each of its options. Only files
of sessions, users and hosts that exist are read, so that their number is bounded by the topology; one that was not
replaced for a while belongs to a program that has ended, and says nothing any more.

Agents are of three kinds, by what they say: `sources`, one a session in its source's host, `servers`, one a server in
its own, and `links`, one process for all switches, in no host.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from controller.declared import Declared, Read, Sample, Snapshot, Told
from pricing.priority.announcement import user_of

FRESH_S = 5.0
"""Age of a file from which its program is taken to have ended (ours)."""


def read(folder: Path, senders: Mapping[str, str], hosts: Iterable[str], now: float) -> Iterator[Told]:
    """What programs say at a Unix time `now`, s: senders by session (and its host), users, servers in hosts, agents."""
    users = {user_of(name): host for name, host in senders.items()}
    asked = [("sender", name, host, f"sender-{name}.json") for name, host in senders.items() if not user_of(name)]
    asked += [("user", name, host, f"user-{name}.json") for name, host in users.items() if name]
    hosts = [*hosts]
    asked += [("server", name, name, f"load-{name}.json") for name in hosts]
    asked += [("agent", name, host, f"agent-sources-{name}.json") for name, host in senders.items()]
    asked += [("agent", name, name, f"agent-servers-{name}.json") for name in hosts]
    asked += [("agent", "switches", "", "agent-links-switches.json")]
    for kind, name, host, file in asked:
        try:
            fields = json.loads((folder / file).read_text())
        except FileNotFoundError:
            continue
        if now - fields["time"] > FRESH_S:
            continue
        yield kind, name, {**fields, "host": host}
        for option, counts in fields["options"].items() if kind == "user" else ():
            if option in senders:
                yield "sender", option, {**counts, "host": host}


def _told(of: str, key: str, *between: str) -> Read:
    """What senders, users or agents say who say it, by host, the fields `between`, and name."""

    def samples(seen: Snapshot) -> Iterator[Sample]:
        for kind, name, fields in seen.told:
            if kind == of:
                yield (fields["host"], *(fields[label] for label in between), name), fields.get(key)

    return samples


def _senders(key: str) -> Read:
    return _told("sender", key)


def _users(key: str) -> Read:
    return _told("user", key)


def _agents(key: str) -> Read:
    return _told("agent", key, "kind")


def _hosts(key: str) -> Read:
    def samples(seen: Snapshot) -> Iterator[Sample]:
        for kind, name, fields in seen.told:
            if kind == "server":
                yield (name,), fields[key]

    return samples


def _classes(seen: Snapshot) -> Iterator[Sample]:
    for kind, name, fields in seen.told:
        for number, row in enumerate(fields["classes"] if kind == "server" else (), 1):
            yield (name, str(number)), row["wait_s"]


_SENDER, _USER, _HOST, _AGENT = ("host", "session"), ("host", "user"), ("host",), ("host", "kind", "agent")

PROGRAMS: tuple[Declared, ...] = (
    Declared(
        "wardrop_host_sent_packets_total", "counter", "Requests that a sender has sent", "1", _SENDER, _senders("sent")
    ),
    Declared(
        "wardrop_host_answers_total", "counter", "Answers that came back to a sender", "1", _SENDER, _senders("answers")
    ),
    Declared(
        "wardrop_host_send_errors_total",
        "counter",
        "Requests that a sender's socket refused",
        "1",
        _SENDER,
        _senders("errors"),
    ),
    Declared(
        "wardrop_host_send_late_seconds",
        "gauge",
        "How late requests were sent, 99th percentile of about a second",
        "s",
        _SENDER,
        _senders("late_p99_s"),
    ),
    Declared(
        "wardrop_user_requests_total", "counter", "Requests that came up, sent or not", "1", _USER, _users("asked")
    ),
    Declared(
        "wardrop_user_accepted_ratio",
        "gauge",
        "Acceptance probability: the part of its requests that a user sends at the prices it has heard",
        "1",
        _USER,
        _users("accepted"),
    ),
    Declared(
        "wardrop_user_value_ratio",
        "gauge",
        "What a user's requests are worth, over what they were worth at the start",
        "1",
        _USER,
        _users("value"),
    ),
    Declared(
        "wardrop_user_announcements_total",
        "counter",
        "Announcements of prices that came to a user",
        "1",
        _USER,
        _users("announcements"),
    ),
    Declared(
        "wardrop_user_malformed_total",
        "counter",
        "Datagrams that came to a user where announcements do, and are none",
        "1",
        _USER,
        _users("malformed"),
    ),
    Declared(
        "wardrop_host_requests_total", "counter", "Requests that came to a server", "1", _HOST, _hosts("received")
    ),
    Declared(
        "wardrop_host_refused_requests_total",
        "counter",
        "Requests that a server's full queue refused",
        "1",
        _HOST,
        _hosts("overflow"),
    ),
    Declared(
        "wardrop_host_queue_requests",
        "gauge",
        "Requests in a server, the one in service included",
        "1",
        _HOST,
        _hosts("queue"),
    ),
    Declared(
        "wardrop_host_wait_seconds",
        "gauge",
        "Wait in a server's queue, mean of the last second",
        "s",
        _HOST,
        _hosts("wait_s"),
    ),
    Declared(
        "wardrop_host_answer_late_seconds",
        "gauge",
        "How late a server answered, 99th percentile of the last second",
        "s",
        _HOST,
        _hosts("late_p99_s"),
    ),
    Declared(
        "wardrop_host_socket_drops_total",
        "counter",
        "Packets that found a server's socket full",
        "1",
        _HOST,
        _hosts("socket_drops"),
    ),
    Declared(
        "wardrop_host_class_wait_seconds",
        "gauge",
        "Wait of a class in a server's queue, mean of the last second",
        "s",
        ("host", "class"),
        _classes,
    ),
    Declared(
        "wardrop_agent_messages_total",
        "counter",
        "Messages that an agent has said to the agents' group",
        "1",
        _AGENT,
        _agents("messages"),
    ),
    Declared(
        "wardrop_agent_heard_messages_total",
        "counter",
        "Messages that a source's agent has heard",
        "1",
        _AGENT,
        _agents("heard"),
    ),
    Declared(
        "wardrop_agent_lost_messages_total",
        "counter",
        "Messages that a source's agent did not hear on purpose (--price-loss)",
        "1",
        _AGENT,
        _agents("lost"),
    ),
    Declared(
        "wardrop_agent_malformed_total",
        "counter",
        "Datagrams that came to a source's agent where messages do, and are none",
        "1",
        _AGENT,
        _agents("malformed"),
    ),
    Declared(
        "wardrop_agent_send_errors_total",
        "counter",
        "Messages that an agent's socket refused",
        "1",
        _AGENT,
        _agents("errors"),
    ),
    Declared(
        "wardrop_agent_unanswered_total",
        "counter",
        "Questions of a source's agent that its ingress did not answer",
        "1",
        _AGENT,
        _agents("unanswered"),
    ),
    Declared(
        "wardrop_agent_price_age_seconds",
        "gauge",
        "How old the prices are that a source's agent knows, a mean",
        "s",
        _AGENT,
        _agents("price_age_s"),
    ),
)
"""The metrics of the programs in the hosts."""
