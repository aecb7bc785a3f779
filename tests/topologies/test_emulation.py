"""Real packets over three switches in line, by static rules: what arrives, what is counted, how long it waits.

Timing decides nothing strictly here: the machine may be busy. What is exact is exact (packets, bytes, order, work), and
waits are held to their order of magnitude.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
import numpy as np
import pytest

from experiments.running.machine import STEAL_LIMIT, Watch
from pricing.errors import EmulationError
from pricing.network import Link, Network, Node, Server, Session
from topologies.emulation import Emulation, host_interface
from topologies.hosts import logs, start
from topologies.hosts.server import request_work
from topologies.links import QueueCounters, capacity_problems, queue_counters, shaping
from topologies.plant import Plant, plan
from topologies.promptness import CACHES
from topologies.sockets import give_room
from topologies.testbed import Testbed

NARROW, WIDE = 4e6, 40e6
SECONDS = 10.0


def line() -> Network:
    """A session from a over b to the server at c; its first link is loaded to 0.7, its server to 0.6.

    Queues are long: when a busy machine lets all packets of a second through at once, none may be lost.
    """
    session = Session("k", "a", "anycast", ("east",), 0.7 * NARROW, flows=20, response_bits=800.0)
    cables = {("a", "b"): NARROW, ("b", "a"): WIDE, ("b", "c"): WIDE, ("c", "b"): WIDE}
    return Network(
        "line",
        tuple(Node(name) for name in "abc"),
        tuple(Link(*ends, capacity, queue=10_000) for ends, capacity in cables.items()),
        (Server("east", "c", session.packet_rate / 0.6),),
        (session,),
    )


class TestShaping:
    def test_rate_bucket_and_queue(self) -> None:
        lines = shaping(Link("a", "b", 4e6, propagation=0.005, queue=77), "s1-eth1", netem=False)
        assert lines == [
            "qdisc add dev s1-eth1 root handle 1: htb default 1",
            "class add dev s1-eth1 parent 1: classid 1:1 htb rate 4000000bit burst 25 cburst 25 quantum 1514",
            "qdisc add dev s1-eth1 parent 1:1 handle 10: pfifo limit 77",
        ]

    def test_propagation_where_the_kernel_can(self) -> None:
        lines = shaping(Link("a", "b", 4e6, propagation=0.005, queue=77), "s1-eth1", netem=True)
        assert lines[-1].endswith("netem limit 117 delay 5000us")

    @pytest.mark.parametrize("capacity", [50e3, 2e9])
    def test_capacities_that_cannot_be_emulated(self, capacity: float) -> None:
        link = Link("a", "b", capacity)
        assert len(capacity_problems([link, Link("b", "a", 1e6)])) == 1
        with pytest.raises(EmulationError, match="link a->b: capacity"):
            shaping(link, "s1-eth1", netem=False)

    def test_interface_names_fit(self) -> None:
        assert host_interface("h-Seattle") == "h-Seattle-eth0"
        assert len(host_interface("h-KansasCityMissouri")) == 15


@dataclass(frozen=True)
class Run:
    """What ten seconds of traffic left."""

    network: Network
    plant: Plant
    sent: logs.Log
    answered: logs.Log
    served: logs.Log
    summaries: dict[str, dict[str, Any]]
    queues: dict[tuple[str, str], QueueCounters]
    load: str
    page: str
    settings: dict[str, str]
    quiet: bool = False


def install(emulation: Emulation) -> None:
    """Static rules for both ways, and the neighbours that nobody answers for here."""
    plant, session = emulation.plant, emulation.network.sessions[0]
    client, server = plant.hosts["h-a"], plant.hosts["east"]
    service = plant.address(session)
    hops = {"a": ("h-a", "b"), "b": ("a", "c"), "c": ("b", "east")}
    for node, ends in hops.items():
        ports = {**plant.switches[node].ports, "h-a": client.port, "east": server.port}
        back, forth = (ports[end] for end in ends)
        rules = f"ip,nw_dst={service},actions=output:{forth}\nip,nw_dst={client.ip},actions=output:{back}\n"
        bridge = f"s{plant.switches[node].dpid}"
        emulation.testbed.run("ovs-ofctl", "-O", "OpenFlow13", "add-flows", bridge, "-", text=rules)
    for host, address, peer in (("h-a", service, server), ("east", client.ip, client)):
        emulation.net[host].cmd(f"ip neigh add {address} lladdr {peer.mac} dev {host_interface(host)}")


def curl(emulation: Emulation, host: str, address: str) -> str:
    """The page of a service, as seen from a host."""
    command = ["mnexec", "-a", str(emulation.net[host].pid), "curl", "-s", "-i", "-m", "5", f"http://{address}/"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def traffic() -> Iterator[Run]:
    """One run for all tests: a sender, a server and a web page on the line."""
    network = line()
    with Testbed() as testbed, Emulation(network, plan(network), testbed) as emulation:
        emulation.check_ports()
        install(emulation)
        with Watch() as machine_watch:
            run = drive(emulation)
        yield replace(run, quiet=all(second.steal < STEAL_LIMIT for second in machine_watch.seconds))


def drive(emulation: Emulation) -> Run:
    """Start the programs, let them run, and collect what they left."""
    network, plant, directory = emulation.network, emulation.plant, emulation.testbed.directory
    session, server = network.sessions[0], network.servers[0]
    service = plant.address(session)
    load = directory / "east.load"
    serving = {
        "server": "east",
        "address": service,
        "capacity": server.capacity,
        "scv": server.scv,
        "queue": server.queue,
        "seed": 5,
        "work": [session.work],
        "response_bits": [session.response_bits],
        "log": str(directory / "east"),
        "load": str(load),
    }
    servers = [
        emulation.start("east", "server", serving),
        emulation.start("east", "web", {"server": "east", "address": service}),
    ]
    for program in servers:
        program.wait_ready()
    page = curl(emulation, "h-a", service)
    give_room(emulation.testbed.switch_pid)
    before = {key: queue_counters(emulation.testbed.run)[name] for key, name in emulation.interfaces.items()}
    sending = {
        "session": 0,
        "seed": 5,
        "address": service,
        "rate": session.packet_rate,
        "size": {"law": "exponential", "mean": 500.0, "low": 40, "high": 1450},
        "flows": session.flows,
        "start": time.time() + 2,
        "settle": 1.0,
        "measure": SECONDS - 1.0,
        "log": str(directory / "k"),
    }
    sender = emulation.start("h-a", "sender", sending)
    sender.wait(SECONDS + 20)
    start.stop(servers)
    after = {key: queue_counters(emulation.testbed.run)[name] for key, name in emulation.interfaces.items()}
    queues = {
        key: QueueCounters(
            after[key].bytes - before[key].bytes,
            after[key].packets - before[key].packets,
            after[key].drops - before[key].drops,
            after[key].backlog,
        )
        for key in after
    }
    (sent, s), (answered, a), (served, v) = (
        logs.load(directory / f"{name}.npy") for name in ("k.requests", "k.answers", "east")
    )
    settings = {
        "offload": emulation.net["h-a"].cmd(f"ethtool -k {host_interface('h-a')}"),
        "ipv6": emulation.net["h-a"].cmd("ip -6 address"),
        "plant": (directory / "plant.json").read_text(),
    }
    summaries = {"sent": s, "answered": a, "served": v}
    return Run(network, plant, sent, answered, served, summaries, queues, load.read_text(), page, settings)


def lindley(times: Any, service: Any) -> Any:
    """Waits of a first-in first-out queue, from arrival and service times in seconds."""
    wait = np.zeros(len(times))
    for i in range(1, len(times)):
        wait[i] = max(0.0, wait[i - 1] + service[i - 1] - (times[i] - times[i - 1]))
    return wait


@pytest.mark.usefixtures("traffic")
class TestTraffic:
    pytestmark = machine.emulated

    def test_every_packet_is_answered_once(self, traffic: Run) -> None:
        assert traffic.summaries["sent"]["errors"] == {}
        assert len(traffic.sent) > 0.8 * SECONDS * traffic.network.sessions[0].packet_rate
        assert sorted(traffic.served["seq"]) == list(traffic.sent["seq"])
        assert sorted(traffic.answered["seq"]) == list(traffic.sent["seq"])
        assert traffic.summaries["served"]["overflow"] == traffic.summaries["served"]["socket_drops"] == 0
        assert traffic.summaries["answered"]["socket_drops"] == 0

    def test_packets_arrive_as_they_were_sent(self, traffic: Run) -> None:
        sent, served = np.sort(traffic.sent, order="seq"), np.sort(traffic.served, order="seq")
        for name in ("flow", "size", "sent"):
            assert np.array_equal(sent[name], served[name])
        assert np.all(served["received"] > served["sent"])
        for flow in np.unique(served["flow"]):  # a switch may take up packets of several flows in any order
            assert np.all(np.diff(served["received"][served["flow"] == flow]) >= 0)

    def test_queues_count_what_the_logs_say(self, traffic: Run) -> None:
        frames = traffic.sent["size"].astype(int) + 42
        for link in (("a", "b"), ("b", "c")):
            counted = traffic.queues[link]
            assert (counted.packets, counted.bytes) == (len(frames), frames.sum())
            assert (counted.drops, counted.backlog) == (0, 0)
        for link in (("c", "b"), ("b", "a")):
            counted = traffic.queues[link]
            assert (counted.packets, counted.bytes) == (len(frames), 100 * len(frames))

    def test_narrow_link_waits_as_theory_says(self, traffic: Run) -> None:
        times = traffic.served["sent"] / logs.SECOND
        service = 8 * (traffic.served["size"].astype(int) + 42) / NARROW
        delay = (traffic.served["received"] - traffic.served["sent"]) / logs.SECOND
        waited, expected = delay - np.quantile(delay, 0.02), lindley(times, service)
        assert expected.mean() > 5e-4
        assert waited.mean() > expected.mean() / 2
        if traffic.quiet:  # what the machine adds is not the link's
            assert np.median(waited) < 2 * np.median(expected) + 1e-3

    def test_server_keeps_its_deadlines(self, traffic: Run) -> None:
        served, server = traffic.served, traffic.network.servers[0]
        work = request_work(5, 0, served["seq"], server.scv) / server.capacity
        assert np.allclose(served["work"], work, rtol=1e-12)
        expected = lindley(served["received"] / logs.SECOND, work)
        waited = (served["start"] - served["received"]) / logs.SECOND
        assert np.abs(waited - expected).max() < 1e-4
        assert np.all(served["left"] >= served["departure"])
        if traffic.quiet:
            assert np.median(served["left"] - served["departure"]) < 1e6

    def test_lateness_is_told_by_second(self, traffic: Run) -> None:
        late = traffic.summaries["sent"]["late"]
        assert sum(row["count"] for row in late) == len(traffic.sent)
        assert len(late) in (SECONDS, SECONDS + 1)
        for each in (late, traffic.summaries["served"]["late"]):
            assert all(0 <= row["mean_s"] <= row["max_s"] for row in each)
            assert not traffic.quiet or np.median([row["mean_s"] for row in each]) < 1e-3

    def test_load_is_exported(self, traffic: Run) -> None:
        assert '"server": "east"' in traffic.load
        assert '"overflow": 0' in traffic.load

    def test_web_page_names_the_server(self, traffic: Run) -> None:
        assert traffic.page.startswith("HTTP/1.1 200")
        assert "X-Server: east" in traffic.page
        assert "<strong>east</strong>" in traffic.page

    def test_hosts_leave_nothing_to_hardware_and_no_ipv6(self, traffic: Run) -> None:
        for feature in ("tx-checksumming", "tcp-segmentation-offload", "generic-receive-offload"):
            assert f"{feature}: off" in traffic.settings["offload"]
        assert "inet6" not in traffic.settings["ipv6"]

    def test_plant_is_written(self, traffic: Run) -> None:
        written = Plant.from_json(traffic.settings["plant"])
        assert written == traffic.plant
        assert machine.is_name(written.netns)


class TestLife:
    pytestmark = machine.emulated

    def test_emulation_leaves_an_empty_testbed(self) -> None:
        network = line()
        before = machine.state()
        with Testbed() as testbed:
            for _ in range(2):
                with Emulation(network, plan(network), testbed) as emulation:
                    shell = emulation.net["h-a"].pid
                    web = emulation.start("east", "web", {"server": "east", "address": "10.9.0.1"})
                    web.wait_ready()
                assert not Path(f"/proc/{shell}/ns").exists()
                assert web.process.poll() is not None
                assert testbed.run("ovs-vsctl", "list-br") == ""
                assert [line.split()[0] for line in testbed.run("ip", "-br", "link").splitlines()] == ["lo"]
        assert machine.difference(before, machine.state()) == set()
        assert machine.marked_processes(testbed.name) == []

    def test_error_in_the_middle_takes_it_down(self) -> None:
        network = line()
        numbering = plan(network)
        twice = replace(numbering.hosts["east"], port=1)
        broken = replace(numbering, hosts={**numbering.hosts, "east": twice})
        with Testbed() as testbed:
            with pytest.raises(EmulationError), Emulation(network, broken, testbed):
                pytest.fail("entered")
            assert [line.split()[0] for line in testbed.run("ip", "-br", "link").splitlines()] == ["lo"]
            assert not any(name.startswith("mininet:") for name in processes(testbed.name))

    def test_ready_when_every_switch_has_been_greeted(self) -> None:
        network = line()
        with Testbed() as testbed, socket.create_server(("127.0.0.1", 6653)) as listening:
            greeter = threading.Thread(target=greet, args=(listening, len(network.nodes)))
            greeter.start()
            try:
                with Emulation(network, plan(network), testbed) as emulation:
                    emulation.wait_ready(timeout=10)
                    assert {row for (row,) in emulation._table("Controller", "is_connected")} == {True}
                    tasks = Path(f"/proc/{testbed.switch_pid}/task")
                    names = {int(one.name): (one / "comm").read_text() for one in tasks.iterdir()}
                    renewing = [thread for thread, name in names.items() if name.startswith("revalidator")]
                    assert {os.sched_getparam(thread).sched_priority for thread in renewing} == {CACHES}
            finally:
                greeter.join()

    def test_missing_controller_is_said(self) -> None:
        network = line()
        refused = pytest.raises(EmulationError, match=r"127\.0\.0\.1:6699 .* a, b, c")
        with Testbed() as testbed, Emulation(network, plan(network), testbed, controller=6699) as emulation, refused:
            emulation.wait_ready(timeout=1)

    def test_stop_does_not_wait_for_a_dead_switch(self) -> None:
        network = line()
        with Testbed() as testbed:
            with Emulation(network, plan(network), testbed):
                pid = (testbed.directory / "ovs-vswitchd.pid").read_text().strip()
                subprocess.run(["kill", "-9", pid], check=True)
                begin = time.monotonic()
            assert time.monotonic() - begin < 10

    def test_program_that_fails_says_why(self) -> None:
        network = line()
        with Testbed() as testbed, Emulation(network, plan(network), testbed) as emulation:
            program = emulation.start("h-a", "web", {"server": "east", "address": "10.9.0.1"})
            with pytest.raises(EmulationError, match=r"h-a-web: .*Cannot assign requested address"):
                program.wait_ready()


def greet(listening: socket.socket, count: int) -> None:
    """Say hello in OpenFlow 1.3 to `count` switches, and stay until they go."""
    listening.settimeout(10)
    switches = [listening.accept()[0] for _ in range(count)]
    for switch in switches:
        switch.sendall(bytes((4, 0, 0, 8, 0, 0, 0, 1)))
    for switch in switches:
        while switch.recv(4096):
            pass
        switch.close()


def processes(testbed: str) -> list[str]:
    """Last words of the command lines of a testbed's processes."""
    paths = [Path(f"/proc/{pid}/cmdline") for pid in machine.marked_processes(testbed)]
    return [path.read_text().rstrip("\0").rpartition("\0")[2] for path in paths if path.exists()]
