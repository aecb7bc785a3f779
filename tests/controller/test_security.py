"""What others may reach, and say: tokens, TLS, messages that are no OpenFlow, files that would run code."""

from __future__ import annotations

import socket
import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import guard
from controller.__main__ import arguments, run
from controller.addresses import is_loopback, listen
from controller.certificates import make
from controller.channel import AUTHORITY, CONTROLLER, SWITCH, UNASKED_PER_S, Channel, Door, Refusals, tls
from controller.framework import PACKAGES
from controller.web import serve
from experiments.running.fuzz import FEATURES_REPLY, HELLO, Nonsense, answer, fuzz, message, port
from pricing.errors import ProtocolError, ScenarioError, WardropError
from topologies.scenario import load

HELLO_13 = message(HELLO, b"\0\1\0\x08\0\0\0\x10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates."""
    made = tmp_path_factory.mktemp("tls") / "keys"
    make(made)
    return made


class TestReach:
    def test_all_that_others_could_reach_is_refused_at_once(self) -> None:
        options = arguments(["--network=n", "--plant=p", "--openflow=0.0.0.0:6653", "--metrics=10.1.2.3:9464"])
        with pytest.raises(WardropError) as told:
            run(options)
        assert "--certificates DIR" in str(told.value)
        assert "--token TOKEN" in str(told.value)

    @pytest.mark.parametrize(
        ("host", "own"), [("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("0.0.0.0", False)]
    )
    def test_loopback(self, host: str, own: bool) -> None:
        assert is_loopback(host) is own

    @pytest.mark.parametrize(("given_token", "status"), [(None, 401), ("wrong", 401), ("secret", 200)])
    def test_a_scrape_needs_the_token(self, given_token: str | None, status: int) -> None:
        server = listen(("127.0.0.1", 0), "--metrics")
        port_number = server.getsockname()[1]

        def spawn(function: object, *arguments: object) -> None:
            threading.Thread(target=function, args=arguments, daemon=True).start()  # type: ignore[arg-type]

        serve(server, lambda accept: ("text/plain", b"x 1\n"), spawn, "secret")
        request = urllib.request.Request(f"http://127.0.0.1:{port_number}/metrics")
        if given_token:
            request.add_header("Authorization", f"Bearer {given_token}")
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                found, body = reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                found, body = error.code, error.read()
        assert (found, b"x 1" in body) == (status, status == 200)


class TestGuard:
    @pytest.mark.parametrize(
        "data",
        [
            message(HELLO, b"\0\1\0\0\0\0\0\0"),  # an element of length 0
            message(HELLO, b"\0\1\0\x10\0\0\0\0"),  # one that reaches beyond the end
            message(HELLO, version=0),
            message(guard.BARRIER_REPLY, version=1),
            message(guard.BARRIER_REPLY, length=7),
            message(guard.FEATURES_REPLY, bytes(8)),
            message(guard.PORT_STATUS, bytes(8)),
            message(guard.MULTIPART_REPLY, b"\0\1\0\0\0\0\0\0" + bytes(56)),  # counters of length 0
            message(guard.MULTIPART_REPLY, b"\0\4\0\0\0\0\0\0" + bytes(100)),
        ],
    )
    def test_what_is_no_openflow_is_named(self, data: bytes) -> None:
        with pytest.raises(ProtocolError):
            guard.admitted(data)

    def test_real_messages_pass_and_others_are_dropped(self) -> None:
        features = answer(5, 1, b"", 7)
        status = message(guard.PORT_STATUS, bytes(8) + port(1))
        assert [guard.admitted(data) for data in (HELLO_13, features, status)] == [HELLO_13, features, status]
        assert guard.admitted(message(10, bytes(60))) is None

    def test_of_the_counters_of_rules_the_numbers_pass(self) -> None:
        numbers = bytes(range(46))
        long = (88).to_bytes(2, "big") + numbers + b"\0\1\0\x0c" + bytes(36)
        reply = guard.admitted(message(guard.MULTIPART_REPLY, b"\0\1\0\0\0\0\0\0" + long * 2))
        assert reply is not None
        assert len(reply) == int.from_bytes(reply[2:4], "big") == 16 + 2 * 56
        assert reply[18:64] == reply[74:120] == numbers

    @given(st.integers(0, 2**32))
    def test_nothing_gets_past_it_but_whole_messages(self, seed: int) -> None:
        import random

        nonsense = Nonsense(random.Random(seed))
        for _ in range(20):
            data = nonsense.next()
            if len(data) >= guard.HEADER.size and int.from_bytes(data[2:4], "big") == len(data):
                try:
                    passed = guard.admitted(data)
                except ProtocolError:
                    continue
                assert passed is None or int.from_bytes(passed[2:4], "big") == len(passed)


def pair(context: ssl.SSLContext | None = None) -> tuple[Door, socket.socket, socket.socket]:
    """A door, our end of a connection, and the peer's."""
    ours, peer = socket.socketpair()
    for end in (ours, peer):
        end.settimeout(5)
    return Door(context, Refusals(), 1), ours, peer


class TestChannel:
    def test_malformed_ends_the_connection_and_is_counted(self) -> None:
        door, ours, peer = pair()
        with peer, ours:
            channel = door.open(ours)
            peer.sendall(HELLO_13 + message(10, bytes(60)) + message(HELLO, b"\0\1\0\0\0\0\0\0"))
            assert channel.recv(8) == b""
            assert door.refusals.counts == {"unasked": 1, "malformed": 1}

    def test_messages_come_whole_however_they_are_cut(self) -> None:
        door, ours, peer = pair()
        with peer, ours:
            channel = door.open(ours)
            features = answer(5, 1, b"", 7)
            assert int.from_bytes(features[1:2], "big") == FEATURES_REPLY
            for place in range(len(features)):
                peer.sendall(features[place : place + 1])
            assert channel.recv(8) + channel.recv(1000) == features

    def test_packets_that_flood_in_are_read_at_a_limited_rate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []
        monkeypatch.setattr("controller.channel.time.sleep", slept.append)
        monkeypatch.setattr("controller.channel.time.monotonic", lambda: 100.25)
        door, ours, peer = pair()
        with peer, ours:
            channel = door.open(ours)
            peer.sendall(message(10, bytes(16)) * (UNASKED_PER_S + 3) + HELLO_13)
            assert channel.recv(100) == HELLO_13
        assert slept == [pytest.approx(1.0)] * 3
        assert door.refusals.counts == {"unasked": UNASKED_PER_S + 3}


def client_context(folder: Path, role: str | None) -> ssl.SSLContext:
    """A switch's side of TLS, with the certificate of a role."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(folder / AUTHORITY)
    if role:
        context.load_cert_chain(folder / f"{role}-certificate.pem", folder / f"{role}-key.pem")
    return context


def converse(folder: Path, role: str | None) -> tuple[bytes, Door]:
    """What a switch with the certificate of a role hears back, and the door that it came to."""
    door, ours, peer = pair(tls(folder))
    heard: list[bytes] = []

    def switch() -> None:
        try:
            with client_context(folder, role).wrap_socket(peer) as secured:
                secured.sendall(HELLO_13)
                heard.append(secured.recv(100))
        except OSError:
            peer.close()

    thread = threading.Thread(target=switch)
    thread.start()
    with ours:
        try:
            channel: Channel | None = door.open(ours)
        except OSError as error:
            door.refused("handshake", str(error))
        else:
            assert channel is not None
            if channel.recv(100) == HELLO_13:
                channel.sendall(HELLO_13)
    thread.join(5)
    return b"".join(heard), door


class TestTls:
    def test_a_switch_with_its_certificate_is_heard_and_answered(self, folder: Path) -> None:
        heard, door = converse(folder, SWITCH)
        assert heard == HELLO_13
        assert not door.refusals.counts

    @pytest.mark.parametrize("role", [None, CONTROLLER])
    def test_others_are_not(self, folder: Path, role: str | None) -> None:
        heard, door = converse(folder, role)
        assert heard == b""
        assert door.refusals.counts == {"handshake": 1}

    def test_plain_openflow_is_shut_out(self, folder: Path) -> None:
        door, ours, peer = pair(tls(folder))
        with ours, peer:
            peer.sendall(HELLO_13)
            with pytest.raises(OSError, match=r"(?i)ssl"):
                door.open(ours)

    def test_keys_are_for_their_owner_and_nothing_is_overwritten(self, folder: Path) -> None:
        assert {path.stat().st_mode & 0o777 for path in folder.glob("*-key.pem")} == {0o600}
        assert not [path for path in folder.iterdir() if "authority-key" in path.name]
        with pytest.raises(WardropError, match="there already"):
            make(folder)

    def test_a_folder_without_certificates_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(WardropError, match="wardrop certificates"):
            tls(tmp_path)


@pytest.mark.parametrize("code", ["!!python/object/apply:os.system ['touch RAN']", "!!python/name:os.system"])
def test_scenario_files_run_no_code(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "evil.yaml"
    file.write_text(f"name: evil\ntitle: {code}\n")
    with pytest.raises(ScenarioError):
        load(str(file))
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize("framework", list(PACKAGES))
def test_malformed_openflow_never_stops_the_controller(framework: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[framework])
    found = fuzz(tmp_path, framework, 400, seed=3)
    assert found["survived"]
    assert found["refused"]["malformed"] > 50
    assert found["threads"][1] <= found["threads"][0] + 6  # connections that are just ending
