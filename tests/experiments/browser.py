"""A headless Chromium, where there is one, and what its page shows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

expect.set_options(timeout=20_000)

needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian `bin/wardrop test` installs it")


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window; as root it has no sandbox."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(found: Browser, url: str, **how: object) -> Page:
    """The page at `url`, once it shows a tick; whatever goes wrong in it fails the test that reads `page.wrong`."""
    page = found.new_page(**{"viewport": {"width": 1300, "height": 900}, **how})
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith((url, "data:")) or page.wrong.append(request.url))
    page.goto(url)
    page.wait_for_selector("#facts b")
    drawn(page)
    return page


def drawn(page: Page) -> None:
    """Wait until all that the page shows belongs to the same tick and selection: it draws a piece a frame."""
    page.wait_for_selector("body:not([aria-busy])")


def facts(page: Page) -> dict[str, str]:
    """What the page says of the selected link or server."""
    drawn(page)
    rows = page.locator("#detail [data-fact]")
    return dict(rows.evaluate_all("rows => rows.map(row => [row.dataset.fact, row.textContent])"))


def scraped(text: str, metric: str, **labels: str) -> float:
    """A sample of a scrape."""
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    for line in text.splitlines():
        found = re.fullmatch(rf"{metric}(?:\{{(.*)\}})? (\S+)", line)
        if found and ",".join(sorted((found[1] or "").split(","))) == inside:
            return float(found[2])
    raise AssertionError(f"no {metric} of {labels}")


def milliseconds(text: str) -> float:
    """Seconds of '12.3 ms'."""
    return float(text.removesuffix(" ms")) / 1e3


def click_link(page: Page, key: str) -> None:
    """Click the curve of a link on the map, `key` 'A>B'."""
    page.locator(f"#map [data-link='{key}'] .line").scroll_into_view_if_needed()
    x, y = page.locator(f"#map [data-link='{key}'] .line").evaluate(
        "path => { const at = path.getPointAtLength(path.getTotalLength() * 0.4).matrixTransform(path.getScreenCTM());"
        " return [at.x, at.y]; }"
    )
    page.mouse.click(x, y)
