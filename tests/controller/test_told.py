"""What programs in hosts say of themselves: read while it is fresh, of sessions and hosts that there are."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from controller.told import FRESH_S, read
from pricing.network import SizeLaw
from topologies.hosts.sender import Sender, Traffic
from topologies.hosts.server import Server, Service, _Export

TRAFFIC = Traffic(0, 7, "127.0.0.1", 200.0, SizeLaw(), 1, 0.0, 0.0, 0.1, "", drain=0.1)
HOSTS = {"talk": "h-a", "other": "h-b"}


def test_a_sender_and_a_server_are_read_until_they_are_old(tmp_path: Path) -> None:
    server = Server(
        Service("b", "127.0.0.1", 1e4, 0.0, 9, 5, [2.0], [800.0], "x", str(tmp_path / "load-b.json"), "", 2)
    )
    sender = Sender(replace(TRAFFIC, start=time.time() + 0.2, told=str(tmp_path / "sender-talk.json")))
    try:
        sender.run()
        sender.export.second = 0  # as if the second were over
        sender.export.write()
        server.take_in()
        _Export(server).write(int(time.time()))
        now = time.time()
        found = {(kind, name): fields for kind, name, fields in read(tmp_path, HOSTS, ["a", "b"], now)}
        assert found.keys() == {("sender", "talk"), ("server", "b")}
        one, other = found["sender", "talk"], found["server", "b"]
        sent = np.frombuffer(sender.sent, np.int64)
        assert (one["host"], one["sent"], one["errors"]) == ("h-a", len(sent), 0)
        assert 5 < one["sent"] == other["received"] == other["overflow"] + other["queue"]
        assert [*read(tmp_path, HOSTS, ["b"], now + FRESH_S + 1)] == []
        assert [*read(tmp_path, {"other": "h-b"}, ["a"], now)] == []

    finally:
        for each in (*sender.sockets, server.socket):
            each.close()


def test_agents_say_of_what_they_are(tmp_path: Path) -> None:
    files = {"sources-talk": "sources", "servers-b": "servers", "links-switches": "links", "sources-nobody": "sources"}
    for file, kind in files.items():
        (tmp_path / f"agent-{file}.json").write_text(json.dumps({"time": 99.0, "kind": kind, "messages": 4}))
    found = {(fields["kind"], name): fields["host"] for _, name, fields in read(tmp_path, HOSTS, ["b"], 100.0)}
    assert found == {("sources", "talk"): "h-a", ("servers", "b"): "b", ("links", "switches"): ""}


def test_lateness_is_of_what_was_sent_since_it_was_told_last(tmp_path: Path) -> None:
    file = tmp_path / "sender-talk.json"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 7000))
        sender = Sender(replace(TRAFFIC, told=str(file)))
    for sock in sender.sockets:
        sock.close()
    due = sender.requests["due"]
    for done, late in ((4, 0.25), (9, 0.5)):
        for index in range(sender.done, done):
            sender.sent[index] = int(due[index]) + round(late * 1e9)
        sender.sent[done - 1] = 0  # refused by its socket
        sender.done, sender.export.second = done, 0
        sender.export.write()
        told = json.loads(file.read_text())
        assert (told["sent"], told["late_p99_s"]) == ({4: 3, 9: 7}[done], late)
