"""Traffic of no session: what a file may ask for, what is started, and what is told of it afterwards."""

from __future__ import annotations

import json
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_scenario import changed

from pricing.errors import ScenarioError
from topologies.background import Background, asking, listening
from topologies.hosts import browser, iperf, web
from topologies.plant import plan
from topologies.scenario import dump, load, parse

ASKED = {
    "bulk": {"kind": "tcp", "source": "A", "destination": "B", "streams": 3},
    "noise": {"kind": "udp", "source": "B", "destination": "A", "rate": "50 kbit/s", "payload": "400 bytes"},
    "pages": {"kind": "http", "source": "A", "service": "web", "pages": 4},
}


def test_a_file_asks_for_it() -> None:
    scenario = parse(changed(background=ASKED), Path("x.yaml"))
    assert scenario.background == (
        Background("bulk", "tcp", "A", "B", 0.0, streams=3),
        Background("noise", "udp", "B", "A", 50e3, 400),
        Background("pages", "http", "A", "web", 4.0),
    )
    assert parse(dump(scenario), scenario.path) == scenario


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "udp", "source": "A", "destination": "B"}, "background.x: found udp with destination; accepted: dest"),
    ({"kind": "tcp", "source": "A", "service": "web"}, "background.x: found tcp with service; accepted: destination"),
    ({"kind": "http", "source": "B", "service": "web", "pages": 1}, "background.x: found no session from B to web; a"),
    ({"kind": "http", "source": "A", "service": "wbe", "pages": 1}, "background.x.service: found 'wbe', which is no s"),
    ({"kind": "tcp", "source": "A", "destination": "A"}, "background.x: found 'A' at both ends; accepted: two"),
    ({"kind": "tcp", "source": "A", "destination": "Z"}, "background.x.destination: found 'Z', which is no node; acce"),
    ({"kind": "ftp", "source": "A", "destination": "B"}, "background.x.kind: found 'ftp'; accepted: tcp, udp or http"),
    ({"kind": "tcp", "source": "A", "destination": "B", "streams": 0}, "background.x.streams: found 0; accepted: a w"),
    (
        {"kind": "udp", "source": "A", "destination": "B", "rate": "1 kbit/s", "payload": "9000 bytes"},
        "background.x: found payload 9000; accepted: from '16 bytes' to '1472 bytes'",
    ),
]


@pytest.mark.parametrize(("part", "said"), WRONG, ids=[said[12:50] for _, said in WRONG])
def test_what_is_not_accepted(part: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(changed(background={"x": part}), Path("x.yaml"))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(said)


def test_nodes_without_sessions_get_a_host() -> None:
    network = load("diamond").network
    bare = {node.name for node in network.nodes} - {host.node for host in plan(network).hosts.values()}
    place = min(bare)
    plant = plan(network, [place])
    assert plant.hosts[plant.host_at(place)].sessions == ()
    assert len(plant.hosts) == len(plan(network).hosts) + 1


def test_programs_find_each_other(tmp_path: Path) -> None:
    scenario = parse(changed(background=ASKED), Path("x.yaml"))
    plant = plan(scenario.network, ["A", "B"])
    servers = {name: (host, config) for name, host, _, config in listening(scenario.background, plant)}
    clients = list(asking(scenario.background, plant, tmp_path, 1, 2.0, 3.0))
    assert [(name, module) for name, _, module, _ in clients] == [
        ("bulk", "iperf"),
        ("noise", "iperf"),
        ("pages", "browser"),
    ]
    for name, host, module, config in clients:
        assert config["log"] == str(tmp_path / f"background-{name}.json")
        if module == "browser":
            assert (host, config["address"]) == ("h-A", plant.services["web"])
        else:
            at, listens = servers[name]
            assert (plant.hosts[at].ip, listens["listen"]) == (config["address"], config["port"])
    assert len({config["listen"] for _, config in servers.values()}) == 2


BASE = {"address": "10.0.0.1", "port": 5202, "settle": 15.2, "measure": 30.5, "payload": 400, "streams": 2}


class TestIperf:
    def test_tcp_goes_as_fast_as_it_can(self) -> None:
        words = iperf.command({**BASE, "kind": "tcp", "rate": 0.0})
        assert words[words.index("--time") + 1] == "31"
        assert words[words.index("--omit") + 1] == "15"
        assert not {"--udp", "--bitrate"} & set(words)

    def test_streams_share_the_rate(self) -> None:
        words = iperf.command({**BASE, "kind": "udp", "rate": 50e3})
        assert words[words.index("--bitrate") + 1] == "25000"
        assert words[words.index("--length") + 1] == "400"

    def test_what_it_says_of_datagrams(self) -> None:
        end = {"sum": {"bits_per_second": 4e4, "packets": 200, "lost_packets": 10}}
        told = iperf.summary({"kind": "udp", "rate": 5e4}, {"end": end})
        assert (told["asked"], told["sent"], told["lost"]) == (5e4, 4e4, 0.05)
        assert told["received"] == pytest.approx(3.8e4)

    def test_what_it_says_of_connections(self) -> None:
        end = {"sum_sent": {"bits_per_second": 3e6, "retransmits": 7}, "sum_received": {"bits_per_second": 2.9e6}}
        told = iperf.summary({"kind": "tcp", "rate": 0.0}, {"end": end})
        assert (told["asked"], told["sent"], told["received"], told["retransmits"]) == (None, 3e6, 2.9e6, 7)

    def test_an_error_is_told(self) -> None:
        told = iperf.summary({"kind": "tcp", "rate": 0.0}, {"error": "unable to connect", "end": {}})
        assert (told["sent"], told["received"], told["error"]) == (None, None, "unable to connect")


class TestBrowser:
    def test_pages_name_their_server_and_failures_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), web.handler("east")) as server:
            monkeypatch.setattr(browser, "PORT", server.server_port)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            came = [browser.fetch("127.0.0.1", 0.0) for _ in range(3)]
            server.shutdown()
        lost = browser.fetch("127.0.0.1", 0.0)
        assert [page.server for page in (*came, lost)] == ["east", "east", "east", ""]
        told = browser.summary({"rate": 2.0}, [*came, lost], 2.0)
        assert (told["asked"], told["sent"], told["received"], told["lost"]) == (2.0, 2.0, 1.5, 0.25)
        assert told["servers"] == {"east": 3}

    def test_nothing_came(self) -> None:
        told = browser.summary({"rate": 2.0}, [], 0.0)
        assert json.loads(json.dumps(told))["took_s"] is None
