"""A real Prometheus, where there is one: started on a port and a folder of its own, asked over its API."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from controller.addresses import listen
from controller.metrics import Exporter
from controller.web import serve

CONFIGURATION = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "prometheus"
PATIENCE_S = 30.0
"""Longest wait for what has to come; a quiet machine needs a second or two."""

needed = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="no Prometheus; on Debian `bin/wardrop test` installs it",
)


class Prometheus:
    """A running server."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of the API."""
        asked = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(asked, timeout=10) as reply:
            return json.load(reply)["data"]

    def query(self, text: str) -> list[dict[str, Any]]:
        """The samples that an expression has now."""
        found: list[dict[str, Any]] = self.get("query", query=text)["result"]
        return found

    def alive(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.get("status/buildinfo"))
        except (OSError, urllib.error.URLError):
            return False


def until(holds: Callable[[], Any]) -> Any:
    """What `holds` says, once that is true; the last of it when patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def spawn(work: Callable[..., None], *arguments: object) -> None:
    """Run in the background."""
    Thread(target=work, args=arguments, daemon=True).start()


@contextmanager
def scraping(exporter: Exporter, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes this exporter."""
    with listen(("127.0.0.1", 0), "--metrics") as web:
        serve(web, exporter.scrape, spawn)
        with prometheus(f"127.0.0.1:{web.getsockname()[1]}", folder, "200ms") as found:
            yield found


@contextmanager
def prometheus(target: str, folder: Path, every: str) -> Iterator[Prometheus]:
    """A Prometheus with the configuration that users are given, but one that scrapes this address so often."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shipped = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    shipped["global"] = {"scrape_interval": every, "evaluation_interval": every}
    shipped["rule_files"] = [str(CONFIGURATION / name) for name in shipped["rule_files"]]
    shipped["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(shipped))
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        found = Prometheus(f"127.0.0.1:{port}")
        assert until(lambda: found.alive() or process.poll() is not None), (folder / "log").read_text()
        assert process.poll() is None, (folder / "log").read_text()
        yield found
    finally:
        process.terminate()
        process.wait(20)


def queries(range_of_rates: str) -> list[tuple[str, str]]:
    """Every query of every dashboard, with what Grafana would put in for its variables."""
    found = []
    for file in sorted((CONFIGURATION / "dashboards").glob("*.json")):
        data = json.loads(file.read_text())
        names = [variable["name"] for variable in data["templating"]["list"]]
        for panel in data["panels"]:
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", range_of_rates)
                for name in names:
                    text = text.replace(f"${name}", ".*")
                assert "$" not in text, f"{file.name}: {text} has a variable that the dashboard has not"
                found.append((f"{file.stem}: {panel['title']}", text))
    return found
