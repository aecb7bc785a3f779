"""Senders and servers, without a network: what they draw is what theory says, and the same every time."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import machine
import numpy as np
import pytest

from pricing.errors import EmulationError
from pricing.network import FRAME_OVERHEAD_BITS, LONGEST_FRAME_BITS, ArrivalLaw, SizeLaw
from pricing.simulate.priority import priority_waits
from topologies.hosts import logs, sender, start
from topologies.hosts.configs import serving
from topologies.hosts.sender import FIRST_MEASURED, Traffic, schedule
from topologies.hosts.server import LONGEST_FRAME, Server, Service, _Export, request_work
from topologies.hosts.sockets import ECHO, HEADER
from topologies.links import tos
from topologies.plant import plan
from topologies.scenario import load as scenario
from topologies.sockets import RECEIVE_BUFFER, SEND_BUFFER, closed_together, give_room
from topologies.testbed import Testbed

TRAFFIC = Traffic(
    session=3,
    seed=7,
    address="10.9.0.1",
    rate=400.0,
    size=SizeLaw(),
    flows=50,
    start=1_000.0,
    settle=5.0,
    measure=100.0,
    log="",
)


class TestSchedule:
    def test_measured_packets_do_not_depend_on_settling(self) -> None:
        short, long = (schedule(replace(TRAFFIC, settle=settle)) for settle in (0.0, 12.5))
        tail = long[long["seq"] >= FIRST_MEASURED]
        for name in ("seq", "flow", "size"):
            assert np.array_equal(short[name], tail[name])
        assert np.array_equal(short["due"] + 12_500_000_000, tail["due"])

    def test_sessions_and_seeds_differ(self) -> None:
        first = schedule(TRAFFIC)
        for other in (replace(TRAFFIC, session=4), replace(TRAFFIC, seed=8)):
            assert not np.array_equal(first["due"][:100], schedule(other)["due"][:100])

    def test_is_a_poisson_stream(self) -> None:
        requests = schedule(TRAFFIC)
        measured = requests[requests["seq"] >= FIRST_MEASURED]
        expected = TRAFFIC.rate * TRAFFIC.measure
        assert abs(len(measured) - expected) < 5 * expected**0.5
        gaps = np.diff(measured["due"]) / logs.SECOND
        assert np.all(gaps >= 0)
        assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.03)
        begin = round((TRAFFIC.start + TRAFFIC.settle) * logs.SECOND)
        assert begin <= measured["due"][0]
        assert measured["due"][-1] < begin + TRAFFIC.measure * logs.SECOND

    def test_sizes_have_the_moments_of_their_law(self) -> None:
        size = schedule(replace(TRAFFIC, measure=500.0))["size"].astype(float)
        frames = 8 * size + FRAME_OVERHEAD_BITS
        first, second = TRAFFIC.size.frame_moments
        assert frames.mean() == pytest.approx(first, rel=0.01)
        assert (frames**2).mean() == pytest.approx(second, rel=0.02)
        assert (size.min(), size.max()) == (40, 1450)

    def test_fixed_sizes_hold_at_least_the_header(self) -> None:
        fixed = SizeLaw("fixed", mean=4.0)
        assert set(schedule(replace(TRAFFIC, size=fixed))["size"]) == {HEADER.size}

    def test_flows_share_evenly(self) -> None:
        counts = np.bincount(schedule(TRAFFIC)["flow"], minlength=TRAFFIC.flows)
        assert len(counts) == TRAFFIC.flows
        assert abs(counts - counts.mean()).max() < 5 * counts.mean() ** 0.5


class TestWork:
    def test_is_a_function_of_seed_session_and_number(self) -> None:
        numbers = np.arange(FIRST_MEASURED, FIRST_MEASURED + 10_000)
        all_at_once = request_work(1, 2, numbers, 1.0)
        assert np.array_equal(all_at_once[[17, 9_000]], request_work(1, 2, numbers[[17, 9_000]], 1.0))
        assert not np.array_equal(all_at_once, request_work(1, 3, numbers, 1.0))
        assert not np.array_equal(all_at_once, request_work(2, 2, numbers, 1.0))

    @pytest.mark.parametrize("scv", [0.0, 0.5, 1.0])
    def test_moments(self, scv: float) -> None:
        work = request_work(1, 2, np.arange(200_000), scv)
        assert work.mean() == pytest.approx(1.0, abs=0.02)
        assert work.var() == pytest.approx(scv, abs=0.03)


class TestLogs:
    def test_saved_log_comes_back(self, tmp_path: Path) -> None:
        log = schedule(TRAFFIC)
        logs.save(tmp_path / "x.npy", log, {"sent": 3})
        again, summary = logs.load(tmp_path / "x.npy")
        assert np.array_equal(log, again)
        assert summary == {"sent": 3}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json", "x.npy"]

    def test_lateness_by_second(self) -> None:
        due = np.array([3_200_000_000, 1_000_000_000, 1_900_000_000])
        late = logs.lateness(due, due + np.array([4_000_000, 1_000_000, 3_000_000]))
        assert [(row["second"], row["count"]) for row in late] == [(1, 2), (3, 1)]
        assert late[0]["mean_s"] == pytest.approx(0.002)
        assert late[1]["max_s"] == pytest.approx(0.004)
        assert logs.lateness(due[:0], due[:0]) == []


class TestSender:
    def test_past_start_is_refused(self) -> None:
        late = sender.Sender(replace(TRAFFIC, address="127.0.0.1", flows=1, measure=0.1, start=time.time() - 1))
        with pytest.raises(EmulationError, match="later start"):
            late.run()
        for sock in late.sockets:
            sock.close()


class TestPace:
    def test_what_is_to_come_is_brought_together(self) -> None:
        pace = sender.Pace().changed(2.0, now=1_000)
        assert [pace.due(drawn) for drawn in (1_000, 1_200, 2_000)] == [1_000, 1_100, 1_500]

    def test_back_at_one_keeps_the_shift_and_zero_is_silence(self) -> None:
        fast = sender.Pace().changed(2.0, now=1_000)
        again = fast.changed(1.0, now=1_500)
        assert [again.due(drawn) for drawn in (2_000, 2_300)] == [1_500, 1_800]
        silent = again.changed(0.0, now=1_800)
        assert silent.due(2_300) is None
        assert silent.changed(1.0, now=9_000).due(2_310) == 9_010

    def test_a_sender_follows_what_it_is_told(self) -> None:
        """One flow to ourselves: 1 s drawn at 200 packets/s is sent in a tenth of the time when that is told."""
        told, say = os.pipe()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 7000))
            drawn = replace(TRAFFIC, address="127.0.0.1", flows=1, settle=0.0, measure=1.0, rate=200.0, drain=0.0)
            one = sender.Sender(replace(drawn, start=time.time() + 0.2))
            one.listen(told)
            os.write(say, b"1.0\n10.0\n")
            os.close(say)
            one.run()
        os.close(told)
        for sock in one.sockets:
            sock.close()
        assert one.pace.factor == 10.0
        sent = np.frombuffer(one.sent, np.int64)
        assert np.all(sent > 0)
        lateness = sent - one.requests["due"]
        assert lateness.min() >= 0
        drawn_span = np.ptp(schedule(one.traffic)["due"])
        assert np.ptp(one.requests["due"]) == pytest.approx(drawn_span / 10, rel=0.2)

    def test_listens_until_nothing_has_come_for_a_drain_but_not_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a clock of its own: answers each half a drain apart, as a full link's queue empties."""

        def took(last: float) -> float:
            one = sender.Sender(
                replace(TRAFFIC, address="127.0.0.1", flows=1, settle=0.0, measure=0.0, start=now, drain=1.5)
            )
            monkeypatch.setattr(
                one, "_read", lambda: one.answers.extend((0, 0)) if now - one.traffic.start < last else None
            )
            one.run()
            for sock in one.sockets:
                sock.close()
            return now - one.traffic.start

        def sleep(seconds: float) -> None:
            nonlocal now
            now += seconds

        now = 1_000.0
        clock = SimpleNamespace(time=lambda: now, time_ns=lambda: round(now * 1e9), sleep=sleep)
        monkeypatch.setattr(sender, "time", clock)
        assert took(0.0) == pytest.approx(1.5, abs=0.3)
        assert took(6.0) == pytest.approx(7.5, abs=0.5)
        assert took(1e9) == pytest.approx(20.0, abs=0.5)


class TestServer:
    """One server in a namespace without network."""

    pytestmark = machine.emulated

    def test_serves_in_order_and_counts_what_does_not_fit(self, tmp_path: Path) -> None:
        with Testbed():
            shell = subprocess.Popen(["cat"], stdin=subprocess.PIPE)  # stands for a host
            config = {
                "server": "east",
                "address": "127.0.0.1",
                "capacity": 100.0,
                "scv": 0.0,
                "queue": 5,
                "seed": 1,
                "work": [1.0, 0.0],
                "response_bits": [800.0, 0.0],
                "log": str(tmp_path / "east"),
                "load": str(tmp_path / "east.load"),
            }
            program = start.Program("east", "topologies.hosts.server", config, tmp_path, shell.pid)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(("127.0.0.1", 7000))
                client.settimeout(5)
                program.wait_ready()
                before = time.time_ns()
                for number in range(1, 9):
                    client.send(HEADER.pack(0, 1, number, before))
                client.send(b"short")
                client.send(HEADER.pack(9, 0, 0, before))
                answers = [client.recv(2048) for _ in range(5)]
            start.stop([program])
            start.stop([start.Program("hasty", "topologies.hosts.server", config, tmp_path, shell.pid)])  # says nothing
            shell.terminate()
            shell.wait()
            assert shell.stdin is not None
            shell.stdin.close()
        assert [ECHO.unpack(answer[: ECHO.size]) for answer in answers] == [(0, 1, number) for number in range(1, 6)]
        assert {len(answer) for answer in answers} == {100 - 42}
        log, summary = logs.load(tmp_path / "east.npy")
        served = log[log["departure"] > 0]
        assert summary["overflow"] == len(log) - len(served) == 3
        assert summary["malformed"] == 2
        assert np.all(np.diff(served["departure"]) == 10_000_000)
        assert np.array_equal(served["start"][1:], served["departure"][:-1])
        assert np.all(served["left"] >= served["departure"])
        assert np.all(served["received"] >= before)


class TestClasses:
    def test_waits_are_those_of_the_recursion(self, tmp_path: Path) -> None:
        """Forty requests that are there before the first is served: nobody is interrupted, the first class goes on."""
        service = Service(
            "east",
            "127.0.0.1",
            2000.0,
            1.0,
            100,
            5,
            [1.0],
            [800.0],
            str(tmp_path / "x"),
            str(tmp_path / "x.load"),
            "",
            3,
        )
        server = Server(service)
        classes = np.random.default_rng(1).integers(1, 4, 40)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", 7000))
            for number, klass in enumerate(classes.tolist()):
                mark = [(socket.IPPROTO_IP, socket.IP_TOS, tos(klass, 3).to_bytes(4, sys.byteorder))]
                client.sendmsg([HEADER.pack(0, 0, number, time.time_ns())], mark)
            thread = threading.Thread(target=server.run)
            thread.start()
            answers = [ECHO.unpack(client.recv(2048)[: ECHO.size])[2] for _ in classes]
            server.stop()
            thread.join()
        server.socket.close()
        server.save()
        log, summary = logs.load(tmp_path / "x.npy")
        assert (summary["served"], summary["overflow"]) == (40, 0)
        assert np.array_equal(log["klass"], classes)
        received, work = (log["received"] - log["received"][0]) / logs.SECOND, log["work"]
        waits = (log["start"] - log["received"]) / logs.SECOND
        assert waits == pytest.approx(priority_waits(received, work, classes), abs=1e-6)
        order = np.argsort(log["start"])
        assert answers == log["seq"][order].tolist() != sorted(answers)
        assert (np.diff(log["klass"][order][1:].astype(int)) >= 0).all()

    def test_exports_load_and_wait_of_each_class(self, tmp_path: Path) -> None:
        load = tmp_path / "load"
        server = Server(Service("east", "127.0.0.1", 1000.0, 0.0, 9, 5, [2.0], [0.0], "x", str(load), "", 2))
        export = _Export(server)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", 7000))
            for byte in (224, 192, 0, 0):
                client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, byte)
                client.send(HEADER.pack(0, 0, byte, 0))
        server.take_in()
        server.socket.close()
        for second in (1, 2):
            export.write(second)
            said = json.loads(load.read_text())
            known = [[4, 8.0], [0, 0.0]][second - 1]
            assert [said["requests"], said["load"], said["queue"]] == [*known, 4]
            parts = [{"requests": 1, "load": 2.0}, {"requests": 3, "load": 6.0}]
            idle = [{"requests": 0, "load": 0.0}] * 2
            wanted = [{**part, "wait_s": None} for part in (parts, idle)[second - 1]]
            assert said["classes"] == wanted


def test_program_that_fails_says_why(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "topologies.hosts.sender", str(tmp_path / "none.json")],
        capture_output=True,
        text=True,
        cwd=start.ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "none.json" in result.stderr


class TestServices:
    def test_each_service_is_answered_from_its_own_address_with_as_many_packets_as_it_takes(
        self, tmp_path: Path
    ) -> None:
        """Two services and a session that asks elsewhere; 43,500 bytes of frames are thirty packets."""
        sources = ["127.0.0.2", "127.0.0.3", ""]
        names = str(tmp_path / "x"), str(tmp_path / "x.load")
        service = Service("east", "", 1e6, 0.0, 100, 5, [1.0] * 3, [8 * 43_500.0, 800.0, 0.0], *names, sources=sources)
        server = Server(service)
        thread = threading.Thread(target=server.run)
        thread.start()
        sizes = []
        for session, count in ((0, 30), (1, 1)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(5)
                client.connect((sources[session], 7000))  # hears this address alone
                client.send(HEADER.pack(session, 0, 7, time.time_ns()))
                answers = [client.recv(2048) for _ in range(count)]
            assert {ECHO.unpack(answer[: ECHO.size]) for answer in answers} == {(session, 0, 7)}
            sizes.append([len(answer) + 42 for answer in answers])
        server.stop()
        thread.join()
        server.socket.close()
        server.save()
        assert (sum(sizes[0]), sizes[1]) == (43_500, [100])
        assert max(sizes[0]) - min(sizes[0]) <= 1
        assert 8 * LONGEST_FRAME == LONGEST_FRAME_BITS
        assert logs.load(tmp_path / "x.npy")[1]["answers"] == 31

    def test_configurations_name_the_address_that_each_session_asks(self, tmp_path: Path) -> None:
        network = scenario("us-5").network
        config = serving(network, plan(network), tmp_path, 1)["nyc-old"]
        assert config["address"] == ""
        services = [one.service for one in network.sessions]
        assert len(set(zip(services, config["sources"], strict=True))) == len(set(config["sources"])) == 5
        one = scenario("abilene").network
        assert "sources" not in serving(one, plan(one), tmp_path, 1)["east"]


def test_flows_take_turns_where_packets_come_at_equal_distances() -> None:
    law = ArrivalLaw("deterministic")
    rows = schedule(replace(TRAFFIC, flows=7, settle=0.0, measure=0.25, arrivals=law))
    assert rows["flow"].tolist() == [number % 7 for number in range(100)]


def test_the_limit_of_open_files_is_as_before() -> None:
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = (min(256, most), most)
    resource.setrlimit(resource.RLIMIT_NOFILE, low)
    try:
        with closed_together(os.getpid()):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == low
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


class TestRoom:
    pytestmark = machine.emulated

    def test_packet_sockets_are_given_room_for_what_queues(self) -> None:
        with Testbed(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending:
            give_room(os.getpid())
            assert sending.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= SEND_BUFFER
            assert sending.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= RECEIVE_BUFFER
