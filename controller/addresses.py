"""Listening sockets, who holds an address that is taken, and the way into a network namespace."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
from pathlib import Path

from pricing.errors import EmulationError, WardropError

CLONE_NEWNET = 0x40000000
LISTENING = "0A"
"""State of a listening socket in /proc/net/tcp."""

HARM = {
    "--metrics": ("read it", "every scrape carries"),
    "--page": ("reach it, and change the run", "changes need"),
}
"""What others could do who reach an address, and what carries the token that keeps them out."""


def parse(text: str, option: str) -> tuple[str, int]:
    """HOST and PORT of 'HOST:PORT'.

    Raises
    ------
    WardropError
        When it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise WardropError(f"{option} {text!r}: HOST:PORT is accepted, such as 127.0.0.1:9464")
    return host or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine, or this network namespace, can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guarded(text: str, option: str, token: str | None) -> tuple[str, int]:
    """HOST and PORT, where nobody else can reach what listens there unless there is a token.

    Raises
    ------
    WardropError
        As `parse`, and where others could reach it and there is no token.
    """
    address = parse(text, option)
    if not is_loopback(address[0]) and not token:
        could, carries = HARM[option]
        raise WardropError(
            f"{option} {text}: others could {could}; bind it to 127.0.0.1, or give a token that {carries} with "
            "--token TOKEN"
        )
    return address


def listen(address: tuple[str, int], option: str) -> socket.socket:
    """A listening TCP socket.

    Raises
    ------
    WardropError
        When the address is taken or is none of ours; it names the holder and the option to move.
    """
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(address)
        server.listen()
    except OSError as error:
        server.close()
        where = f"{address[0]}:{address[1]}"
        raise WardropError(
            f"cannot listen on {where}: {error.strerror}{holder(address[1])}; choose another with {option} HOST:PORT"
        ) from error
    return server


def holder(port: int) -> str:
    """', held by process PID (COMMAND)' for who listens on a TCP port in this namespace; empty where it is unknown."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            if str(entry.readlink()) in inodes:
                process = entry.parents[1]
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f", held by process {process.name} ({command[:80]})"
        except OSError:  # gone, or another user's
            continue
    return ""


def enter(netns: str) -> None:
    """Move this thread, and those it will start, into a named network namespace.

    Sockets that are open already stay where they are.

    Raises
    ------
    EmulationError
        When there is no such namespace, or we may not enter.
    """
    try:
        handle = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise EmulationError(
            f"network namespace {netns!r}: {error.strerror}; is its testbed up? see ip netns"
        ) from error
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET):
            reason = os.strerror(ctypes.get_errno())
            raise EmulationError(f"cannot enter network namespace {netns!r}: {reason}; run it as root")
    finally:
        os.close(handle)
