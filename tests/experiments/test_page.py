"""The live page in a headless browser, on a made-up run: what it shows, and what clicks and keys do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import browser
import pytest
from observed import MadeUpRun, served
from playwright.sync_api import Browser, Page, expect

from controller.metrics import Exporter
from pricing.policy import POLICIES

pytestmark = browser.needed

STICKING_OUT = """() => document.documentElement.scrollWidth === innerWidth ? []
  : [...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > innerWidth).map((each) => each.outerHTML.slice(0, 80))"""
"""What is wider than the screen."""

LINK = "[data-link='Denver>KansasCity']"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests here."""
    with browser.browser() as found:
        yield found


@pytest.fixture
def run() -> MadeUpRun:
    """A run of two policies that takes changes."""
    made = MadeUpRun()
    made.feed.inbox.open()
    made.tick(5)
    made.policy = "joint-distributed"
    made.tick(10)
    return made


@pytest.fixture
def page(chromium: Browser, run: MadeUpRun) -> Iterator[Page]:
    """Its page; no error and no request to elsewhere in it."""
    with served(run) as url:
        found = browser.opened(chromium, url)
        yield found
        wrong = found.wrong
        found.close()
    assert not wrong


def last(run: MadeUpRun) -> dict[str, Any]:
    return json.loads(run.feed.last().json)


def test_a_link_failed_by_a_click_turns_and_the_splits_move(page: Page, run: MadeUpRun) -> None:
    page.click("#sessions [data-session='web-Denver']")
    expect(page.locator("#detail h2")).to_contain_text("web-Denver")
    routes = page.locator("#detail .routes-of > p:not(.parts-said)")
    browser.drawn(page)
    before = routes.all_inner_texts()
    assert any("Denver → KansasCity" in text for text in before)
    browser.click_link(page, "Denver>KansasCity")
    page.get_by_role("button", name="Fail the cable").click()
    expect(page.locator(f"#map {LINK}")).to_have_class("link selected down")
    assert frozenset(("Denver", "KansasCity")) in run.failed
    expect(page.locator(f"#links {LINK}")).to_contain_text("failed")
    expect(page.locator("#events")).to_contain_text("Failed: Denver-KansasCity")
    page.click("#sessions [data-session='web-Denver']")
    expect(page.locator("#detail h2")).to_contain_text("web-Denver")
    browser.drawn(page)
    after = routes.all_inner_texts()
    assert after != before
    assert not any("Denver → KansasCity" in text for text in after)
    browser.click_link(page, "Denver>KansasCity")
    page.get_by_role("button", name="Heal the cable").click()
    expect(page.locator(f"#map {LINK}")).to_have_class("link selected")
    assert not run.failed


@pytest.mark.parametrize("place", [0, 5, 12])
def test_the_numbers_are_those_of_the_metrics(page: Page, run: MadeUpRun, place: int) -> None:
    exporter = Exporter(run.feed.network)
    exporter.line = last(run)
    text = exporter.scrape()[1].decode()
    link = run.feed.network.links[place]
    browser.click_link(page, f"{link.src}>{link.dst}")
    expect(page.locator("#detail h2")).to_have_text(f"{link.src} → {link.dst}")
    shown = browser.facts(page)
    labels = {"src": link.src, "dst": link.dst}
    used = browser.scraped(text, "wardrop_link_utilization_ratio", **labels)
    load = 8 * browser.scraped(text, "wardrop_link_load_bytes_per_second", **labels)
    price = browser.scraped(text, "wardrop_link_price_seconds", **labels)
    assert shown["utilization"] == f"{used:.3f}"
    assert shown["load"].startswith(f"{load / 1e6:.2f} Mbit/s")
    assert browser.milliseconds(shown["price"]) == pytest.approx(price, rel=0.01, abs=1e-5)


def test_a_server_shows_its_load_and_fails(page: Page, run: MadeUpRun) -> None:
    page.click("svg [data-server='east']")
    expect(page.locator("#detail h2")).to_contain_text("east")
    assert browser.facts(page)["utilization"] == f"{last(run)['servers'][2]['utilization']:.3f}"
    page.keyboard.press("f")
    expect(page.locator("#servers [data-server='east']")).to_contain_text("failed")
    assert run.failed == {"east"}


def test_policy_and_demand(page: Page, run: MadeUpRun) -> None:
    page.select_option("#policy", "joint")
    expect(page.locator("#facts")).to_contain_text("joint")
    expect(page.locator("#events")).to_contain_text("Policy: joint after joint-distributed")
    page.click("#sessions [data-session='web-Denver']")
    page.locator("#detail input[type=range]").fill("2")
    expect(page.locator("#detail output")).to_contain_text("2.0 ×")
    expect(page.locator("#events")).to_contain_text("Demand: web-Denver")
    assert run.feed.demand == {"web-Denver": 2.0}


def test_an_option_has_no_demand_to_set_but_its_user_a_worth(chromium: Browser) -> None:
    run = MadeUpRun(users={"web-Denver": "web"})
    run.feed.inbox.open()
    run.tick(2)
    with served(run) as url:
        page = browser.opened(chromium, url)
        page.click("#sessions [data-session='web-Denver']")
        expect(page.locator("#detail .controls")).to_contain_text("is for web to decide")
        slider = page.get_by_label("Worth")
        expect(slider).to_have_value("1")
        slider.fill("2.5")
        expect(page.locator("#detail output")).to_have_text("2.5 × the first")
        expect(page.locator("#tick")).to_contain_text("tick 2,")
        assert (run.feed.worth, run.feed.demand) == ({"web": 2.5}, {})
        page.click("#sessions [data-session='web-Houston']")
        expect(page.locator("#detail .controls label")).to_contain_text("Demand")
        assert not page.wrong
        page.close()


def test_a_backpressures_weight_is_changed(page: Page, run: MadeUpRun) -> None:
    expect(page.locator("#weight")).to_be_hidden()
    page.select_option("#policy", "gdcnc")
    expect(page.locator("#weight")).to_have_value("1")
    page.fill("#weight", "2.5")
    page.keyboard.press("Enter")
    expect(page.locator("#events")).to_contain_text("Policy: gdcnc(2.5) after gdcnc")
    assert run.policy == "gdcnc(2.5)"
    assert page.locator("#policy").input_value() == "gdcnc"
    page.select_option("#policy", "joint")
    expect(page.locator("#weight")).to_be_hidden()


def test_a_sessions_routes_are_lit_with_their_splits_and_priced_in_parts(page: Page, run: MadeUpRun) -> None:
    page.click("#sessions [data-session='web-Houston']")
    split = last(run)["decided"]["web-Houston"]
    ends = {ends for route, _ in split for ends in pairwise(route.split("@")[0].split(">"))}
    said = page.locator("svg .routes g text", has_text="%")
    expect(said).to_have_count(len(ends))
    browser.drawn(page)
    assert page.locator("#detail .routes-of .stack").count() == len(split)
    widths = page.locator("#detail .stack").evaluate_all(
        "stacks => stacks.map(stack => [...stack.children].map(part => parseFloat(part.style.width)))"
    )
    assert max(sum(parts) for parts in widths) == pytest.approx(100, abs=0.1)


def test_pause_scrub_and_live_again(page: Page, run: MadeUpRun) -> None:
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#tick")).to_contain_text(f"tick {run.count - 2},")
    browser.drawn(page)
    shown = page.inner_text("#tick")
    run.tick(2)
    expect(page.locator("#time")).to_have_attribute("max", "16")
    assert page.inner_text("#tick") == shown
    page.locator("#time").fill("2")
    expect(page.locator("#facts")).to_contain_text("shortest-path")
    page.get_by_role("button", name="Live").click()
    expect(page.locator("#tick")).to_contain_text(f"tick {run.count - 1},")


def test_two_phases_side_by_side(page: Page) -> None:
    page.keyboard.press("c")
    expect(page.locator("#difference tr").first.locator("th")).to_have_count(3)
    browser.drawn(page)
    heads = page.locator("#difference tr").first.locator("th").all_inner_texts()
    assert heads == ["", "shortest-path", "joint-distributed"]
    assert page.locator("#pair .plane").count() == 2


def test_the_colours_tell_price_or_utilization(page: Page) -> None:
    colours = "lines => lines.map(line => line.style.stroke)"
    before = page.locator("#map .line").evaluate_all(colours)
    page.keyboard.press("p")
    expect(page.locator("#legend")).to_contain_text("ms")
    browser.drawn(page)
    assert page.locator("#map .line").evaluate_all(colours) != before
    fills = page.evaluate("import('./words.js').then(({ filled }) => [...Array(18).keys()].map(filled))")
    assert len(set(fills)) == 18, "servers whose hues come again are striped"


def test_prices_of_minutes_leave_colours_for_what_comes_after(page: Page) -> None:
    borders, counted = page.evaluate("""async () => {
        const { Scale } = await import("./scale.js"), scale = new Scale();
        const ticks = Array.from({ length: 50 }, (_, place) => ({
            id: place + 1,
            links: [1, 2, 5, 20].map((price) => ({ load: 1, price: price / 1e3 })),
            servers: [{ price: place ? 0.03 : 100 }],
        }));
        for (const [first, last] of [[20, 30], [0, 30], [10, 40], [10, 50]]) scale.stretch(ticks.slice(first, last));
        return [scale.borders(), scale.count];
    }""")
    assert counted == 50 * 5, "each tick once"
    assert borders[-1] == 100
    assert sum(border < 0.03 for border in borders) >= 3


def test_a_phone_is_wide_enough_and_the_dark_is_dark(
    chromium: Browser, run: MadeUpRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(POLICIES["joint"], name="/home/somebody/experiments/of/a/user/with/long/names.py:their_own_policy")
    monkeypatch.setitem(POLICIES, own.name, own)
    with served(run) as url:
        phone = browser.opened(chromium, url, viewport={"width": 360, "height": 740}, color_scheme="dark")
        phone.click("#sessions [data-session='web-Houston']")
        expect(phone.locator("#policy option", has_text="their_own_policy")).to_have_count(1)
        assert phone.evaluate(STICKING_OUT) == []
        assert phone.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
        phone.close()


def test_a_run_that_measures_says_so(chromium: Browser) -> None:
    made = MadeUpRun()
    made.tick(3)
    with served(made) as url:
        page = browser.opened(chromium, url)
        page.click(f"#links {LINK}")
        assert page.locator("#detail button.fails").is_disabled()
        assert page.locator("#policy").is_disabled()
        expect(page.locator("#detail .refused")).to_be_visible()
        page.close()


def test_changes_ask_for_the_token_once(chromium: Browser, run: MadeUpRun) -> None:
    with served(run, token="secret") as url:
        page = browser.opened(chromium, url)
        page.select_option("#policy", "joint")
        page.fill("#token", "secret")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#events")).to_contain_text("Policy: joint after")
        page.select_option("#policy", "ecmp")
        expect(page.locator("#events")).to_contain_text("Policy: ecmp after joint")
        page.close()


def test_the_map_is_drawn_anew_where_it_was_moved_to(page: Page) -> None:
    browser.drawn(page)
    box = page.locator("#map .plane").bounding_box()
    line = page.locator("#map [data-link='Denver>KansasCity'] .line")
    before = line.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(4):
        page.mouse.wheel(0, -120)
    expect(page.locator("#map")).not_to_have_class("map moving")
    assert not page.locator("#map .plane").evaluate("plane => plane.style.transform")
    wide = line.bounding_box()["width"] / before["width"]
    assert wide == pytest.approx(2 ** (4 * 120 * 0.002), rel=0.05), "as far as the wheel turned"
    browser.click_link(page, "Denver>KansasCity")
    expect(page.locator("#detail h2")).to_have_text("Denver → KansasCity")
