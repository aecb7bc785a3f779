"""What groups, markets and classes add to the live page: copies, prices of locations, waits; from real decisions."""

from __future__ import annotations

import json
from collections.abc import Iterator

import browser
import pytest
from observed import decided, page_of
from playwright.sync_api import Browser, expect

from topologies.scenario import elastic, load

pytestmark = browser.needed


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests here."""
    with browser.browser() as found:
        yield found


IN_SIGHT = """words => words.length > 0 && words.every(each => {
    const { left, right, top, bottom } = each.getBoundingClientRect();
    return left > -4 && right < innerWidth + 4 && top > 0 && bottom < innerHeight;
})"""
"""Whether texts are on the screen, give or take what fonts differ."""


def test_a_groups_copies_are_shown_where_they_are_made_and_with_what_they_owe(chromium: Browser) -> None:
    feed = decided(load("butterfly-group").network, "gdcnc", 2)
    split = json.loads(feed.last().json)["decided"]["to-both"]
    assert any("LeftSink>" in text for text, _ in split), "one sink sends on to the other"
    with page_of(feed) as url:
        page = browser.opened(chromium, url)
        page.click("#sessions [data-session='to-both']")
        made = page.locator("#detail .copies li")
        expect(made).to_have_count(len(split))
        browser.drawn(page)
        rows = made.all_inner_texts()
        assert "Source makes 2 copies: Left {LeftSink}, Right {RightSink}" in rows
        assert "LeftSink makes 2 copies: its own, Waist {RightSink}" in rows
        labels = page.locator("svg .routes text").all_text_contents()
        assert {label.rpartition("}")[0] for label in labels} == {"{LeftSink", "{RightSink", "{LeftSink, RightSink"}
        assert {"Source", "LeftSink"} == set(
            page.locator("[data-copies]").evaluate_all("m => m.map(e => e.dataset.copies)")
        )
        assert page.locator(".node.owed").count() == 2
        assert not page.wrong
        page.close()
        phone = browser.opened(chromium, url, viewport={"width": 390, "height": 844})
        phone.click("#sessions [data-session='to-both']")
        browser.drawn(phone)
        assert phone.locator("svg .routes text").evaluate_all(IN_SIGHT), "brought into view, and no word is cut"
        phone.close()


def test_a_tree_through_functions_is_drawn_on_its_links_and_says_where_it_parts(chromium: Browser) -> None:
    feed = decided(load("butterfly-chain").network, "steiner", 2)
    ((text, _),) = json.loads(feed.last().json)["decided"]["to-both"]
    assert "/2{" in text
    with page_of(feed) as url:
        page = browser.opened(chromium, url)
        page.click("#sessions [data-session='to-both']")
        expect(page.locator("#detail .copies li")).to_have_count(1)
        browser.drawn(page)
        assert page.locator("svg .routes text").count() >= 4
        assert not page.wrong
        page.close()


def test_the_price_of_a_location_is_split_into_its_parts(chromium: Browser) -> None:
    network = load("us-5").network
    feed = decided(network, "market", 1)
    market = json.loads(feed.last().json)["market"]
    with page_of(feed) as url:
        page = browser.opened(chromium, url)
        rows = page.locator("#prices button")
        expect(rows).to_have_count(len(network.sessions))
        dearest = max(market["prices"], key=market["prices"].get)
        for name in ("chatbot-NewYork", dearest):
            page.click(f"#prices [data-session='{name}']")
            expect(page.locator("#detail h2")).to_have_text(f"{name}, from {name.partition('-')[2]}")
            browser.drawn(page)
            price = 1e6 * market["prices"][name]
            said = page.inner_text("#detail .location-said")
            parts = dict(part.rsplit(" ", 1) for part in said.split(", "))
            assert parts.keys() == {"cost", "scarcity", "fees", "congestion"}
            assert sum(map(float, parts.values())) == pytest.approx(price, rel=0.01), "the parts are all of it"
        full = max(range(len(network.links)), key=lambda place: market["links"][place]["rent"])
        page.click(f"#links [data-link='{'>'.join(network.links[full].key)}']")
        expect(page.locator("#detail h2")).to_have_text(" → ".join(network.links[full].key))
        shown = browser.facts(page)
        assert shown["congestion"].endswith("USD a bit")
        assert float(shown["rent"].split()[0]) == pytest.approx(market["links"][full]["rent"], rel=0.01)
        assert not page.wrong
        page.close()


def test_classes_are_shown_with_their_waits(chromium: Browser) -> None:
    feed = decided(elastic(load("two-servers")).network, "priority", 1)
    tick = json.loads(feed.last().json)
    with page_of(feed) as url:
        page = browser.opened(chromium, url)
        head = page.locator("#classes tr").first.locator("th").all_inner_texts()
        assert head == ["", "class 1", "class 2"]
        page.click("#servers [data-server='left']")
        expect(page.locator("#detail h2")).to_have_text("left at North")
        browser.drawn(page)
        cells = page.locator("#detail table tr").all_inner_texts()[1:]
        waits = tick["classes"]["wait"][tick["classes"]["machines"].index("left")]
        assert [browser.milliseconds(row.split("\t")[2]) for row in cells] == pytest.approx(waits, rel=0.01)
        page.click("#sessions [data-session='few.left.1']")
        expect(page.locator("#detail")).to_contain_text(f"a request pays {tick['session_prices']['few.left.1']:.3g} ")
        assert not page.wrong
        page.close()
