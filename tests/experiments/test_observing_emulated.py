"""`run` on real packets, observed: a click cuts a cable, a slider silences a sender, the numbers are those scraped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.emulated, browser.needed]

ROOT = Path(__file__).parents[2]
PAGE, METRICS = "127.0.0.1:19475", "127.0.0.1:19476"


def read(path: str) -> str:
    with urllib.request.urlopen(f"http://{path}") as answer:
        return str(answer.read().decode())


def eventually(what: str, found: Callable[[], Any], timeout: float = 30.0) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {timeout:g} s")


def state() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(f"{PAGE}/api/state"))
    return found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A run of Abilene whose traffic flows; it ends by Ctrl-C, and well."""
    command = [sys.executable, "-m", "experiments", "run", "abilene", "--policy", "joint"]
    process = subprocess.Popen(
        [*command, "--page", PAGE, "--metrics", METRICS], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"page: http://{PAGE}/\n"

        def flows() -> bool:
            assert process.poll() is None, process.stdout.read()
            try:
                tick = state()
            except OSError:
                return False
            return bool(tick["changes"] and min(tick["offered"].values()) > 1e5 and tick["tick"] > 10)

        eventually("traffic", flows, 60.0)
        yield f"http://{PAGE}/"
    finally:
        os.kill(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert "stopped; everything is taken down" in said


def test_a_run_is_watched_and_changed(address: str) -> None:
    with browser.browser() as chromium:
        page = browser.opened(chromium, address)
        browser.click_link(page, "Denver>KansasCity")
        expect(page.locator("#detail h2")).to_have_text("Denver → KansasCity")

        def equal() -> bool:
            before = read(f"{METRICS}/metrics")
            shown = browser.facts(page)
            labels = {"src": "Denver", "dst": "KansasCity"}
            used = browser.scraped(before, "wardrop_link_utilization_ratio", **labels)
            price = browser.scraped(before, "wardrop_link_price_seconds", **labels)
            same = shown["utilization"] == f"{used:.3f}"
            return same and browser.milliseconds(shown["price"]) == pytest.approx(price, rel=0.01, abs=1e-5)

        eventually("the page and /metrics say the same of a link", equal)

        page.get_by_role("button", name="Fail the cable").click()
        expect(page.locator("#map [data-link='Denver>KansasCity']")).to_have_class("link selected down")
        expect(page.locator("#events")).to_contain_text("Link Denver-KansasCity fails")

        def silent() -> bool:
            return browser.scraped(
                read(f"{METRICS}/metrics"), "wardrop_link_load_bytes_per_second", src="Denver", dst="KansasCity"
            ) < 1e3  # fmt: skip

        eventually("a cut cable carries nothing", silent)
        page.get_by_role("button", name="Heal the cable").click()
        expect(page.locator("#map [data-link='Denver>KansasCity']")).to_have_class("link selected")

        before = state()["decided"]
        page.select_option("#policy", "shortest-path")
        expect(page.locator("#events")).to_contain_text("Policy: shortest-path after joint")
        assert state()["decided"] != before

        session = sorted(before)[0]
        rate = json.loads(read(f"{PAGE}/api/network"))["sessions"][0]
        page.click(f"#sessions [data-session='{session}']")
        page.locator("#detail input[type=range]").fill("0")
        eventually("a session is silent", lambda: state()["offered"][session] < 0.2 * rate["rate"])
        assert not page.wrong
        page.close()
