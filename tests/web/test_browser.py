"""The page in a real browser: what a person sees and does."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Dialog, async_playwright, expect
from playwright.async_api import Page as Tab

from tests.web.page_harness import AWAY, HEALTH, Page

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser: install the Debian package chromium")

CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const parse = (text) => ({ rgb: numbers(text).slice(0, 3), a: numbers(text)[3] ?? 1 });
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.a === 1) return colour.rgb;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.matches(":disabled, noscript")) continue;
    const pair = [light(parse(getComputedStyle(node).color).rgb), light(behind(node))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), node.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""
"""Contrast of every visible text with what is behind it, as WCAG 2 defines it (relative luminance, 1.4.3)."""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    # Chromium refuses its sandbox to root, which is who runs tests in a container.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        await running.close()


@pytest.fixture
async def tab(browser: Browser, page: Page) -> AsyncIterator[Tab]:
    """A loaded tab. Whatever the console complains about, a refusal of the security policy too, fails the test."""
    opened = await browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    outside: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda r: outside.append(r.url) if not r.url.startswith(page.address) else None)
    await opened.goto(page.address)
    yield opened
    # A test may end the page's server, and the browser then says that it cannot reach it.
    assert [text for text in complaints if "ERR_CONNECTION_REFUSED" not in text] == []
    assert outside == []


def trade(page: Page) -> None:
    """A desk that has traded a little, with each table that has a section of its own."""
    page.put("account", "desk", {"session": "READY"}, "execution")
    page.put("switch", "desk", {"state": "ACTIVE", "by": "start", "reason": ""})
    page.put("admission", "desk", {"session": "READY", "admitted": 1, "denied": {"PRICE_STALE": 1}}, "execution")
    page.put("positions", "SPY", {"lots": 100, "cash_flow": "-68490.00", "commissions": "1.00", "fills": 1})
    page.put("risk", "desk", {"mids": {"SPY": 137_000}})
    page.put("gates", "1", {"verdict": "FAIL", "reasons": ["data.refused_frac=0.5 outside 0..0.02"]}, "gates")
    command = {
        "order_id": 7,
        "instrument": "SPY",
        "side": "BUY",
        "quantity_lots": 100,
        "limit_price": "684.95",
        "ts_event_ns": 1_767_623_400_000_000_000,
    }
    page.put("orders", "a" * 24, {"command": command, "state": "FILLED", "filled_lots": 100, "reason": ""}, "execution")
    for second in range(3):
        page.say(
            "risk_events",
            {
                "ts_event_ns": 1_767_623_400_000_000_000 + second * 1_000_000_000,
                "nav_usd": 1_000_000.0 + second,
                "pnl_usd": float(second),
                "gross_usd": 68_500.0,
                "net_usd": 68_500.0,
                "drawdown_frac": 0.0,
                "psr": None,
                "returns": second,
            },
        )
    denial = "denied PRICE_STALE: price_age_buckets=9.0 price_age_buckets_max=3 intent=" + "b" * 24
    page.say(
        "decisions",
        {"intent_id": "b" * 24, "instrument": "SPY", "admitted": False, "message": denial, "ts_event_ns": 1},
    )


async def test_a_row_pushed_to_the_log_appears_by_itself(page: Page, tab: Tab) -> None:
    await expect(tab.locator("section:has(#positions) .empty")).to_contain_text("No positions yet")
    trade(page)
    row = tab.locator("#positions tbody tr").first
    await expect(row).to_contain_text("SPY")
    await expect(row.locator("td")).to_have_text(["SPY", "+100", "+10.00", "68,500.00", "685.000", "1.00", "1"])
    page.put("positions", "SPY", {"lots": 0, "cash_flow": "25.00", "commissions": "2.00", "fills": 2})
    await expect(row.locator("td").nth(2)).to_have_text("+25.00")


async def test_a_person_sees_money_gates_orders_and_why_an_intent_was_denied(page: Page, tab: Tab) -> None:
    trade(page)
    await expect(tab.locator("#nav")).to_have_text("1,000,002.00")
    await expect(tab.locator("#session")).to_contain_text("READY")
    await expect(tab.locator("#gates li").nth(0)).to_contain_text("data.refused_frac=0.5 outside 0..0.02")
    await expect(tab.locator("#gates li").nth(7)).to_contain_text("no evidence yet")
    await expect(tab.locator("#orders tbody tr").first).to_contain_text("FILLED")
    await expect(tab.locator("#decisions")).to_contain_text("price_age_buckets=9.0 price_age_buckets_max=3")
    await expect(tab.locator("#denials")).to_contain_text("PRICE_STALE")
    await expect(tab.locator("#chart-pnl canvas")).to_be_visible()
    await tab.locator("#raw-orders summary").click()
    await expect(tab.locator("#raw-orders table")).to_contain_text("FILLED")


async def test_a_person_sees_who_lags_whose_queue_waits_and_what_was_refused(page: Page, tab: Tab) -> None:
    page.look(HEALTH)
    await expect(tab.locator("#health")).to_contain_text("answered in 12 ms")
    await expect(tab.locator("#health")).to_contain_text("alerts: missing")
    rows = tab.locator("#groups tbody tr")
    await expect(rows.nth(0).locator("td")).to_have_text(
        ["ingest", "2, restoring 41,210 of 96,004 records", "12,007", "market_raw/1: 12,000", "0, 3"]
    )
    await expect(rows.nth(1).locator("td")).to_have_text(["risk", "1", "0", "–", "no answer"])
    await expect(rows.nth(2).locator("td")).to_have_text(["gates", "0", "5", "gate_evidence/0: 5", "–"])
    await expect(rows.nth(0).locator("td.bad")).to_have_text(["12,007"])
    await expect(tab.locator("#letters tbody tr td")).to_have_text(["market_raw", "CROSSED_BOOK", "2"])
    await tab.locator("#lags summary").click()
    await expect(tab.locator("#partitions tbody tr").nth(1).locator("td")).to_have_text(
        ["ingest", "market_raw/1", "12,000"]
    )
    page.look(AWAY)
    await expect(tab.locator("#health .bad")).to_have_text(AWAY.problem)
    await expect(tab.locator("#groups tbody tr").nth(0)).to_contain_text("0, 3")


async def test_a_page_that_others_can_reach_says_how_to_stop_trading_instead(page: Page, browser: Browser) -> None:
    assert page.site is not None
    page.site.local = False
    tab = await browser.new_page()
    await tab.goto(page.address)
    await tab.locator("#kill").click()
    await expect(tab.locator("#dialog-text")).to_contain_text("python -m app kill")
    await tab.locator("#operator").fill("Ada")
    await tab.locator("#reason").fill("spread is wrong")
    await tab.locator("#word").fill("KILL")
    await expect(tab.locator("#confirm")).to_be_disabled()


async def test_words_from_outside_are_shown_and_never_run(page: Page, tab: Tab) -> None:
    nasty = "<img src=x onerror=alert(1)>"
    dialogs: list[Dialog] = []
    tab.on("dialog", lambda dialog: dialogs.append(dialog))
    page.put("switch", "desk", {"state": "HALTED", "by": nasty, "reason": nasty})
    await expect(tab.locator("#banner")).to_contain_text(nasty)
    assert await tab.locator("#banner img, #switch-facts img").count() == 0
    assert dialogs == []


async def test_a_kill_needs_a_name_a_reason_and_the_word(page: Page, tab: Tab) -> None:
    page.put("switch", "desk", {"state": "ACTIVE", "by": "start", "reason": ""})
    await expect(tab.locator("#switch")).to_contain_text("ACTIVE")
    await tab.locator("#kill").click()
    confirm = tab.locator("#confirm")
    await expect(confirm).to_be_disabled()
    await tab.locator("#word").fill("KILL")
    await tab.locator("#operator").fill("Ada")
    await expect(confirm).to_be_disabled()
    await tab.locator("#reason").fill("spread is wrong")
    await expect(confirm).to_be_enabled()
    await tab.locator("#word").fill("kill")
    await expect(confirm).to_be_disabled()
    await tab.locator("#word").press("Enter")
    assert page.sent == []
    await tab.locator("#word").fill("KILL")
    await confirm.click()
    await expect(tab.locator("#steps")).to_contain_text("Waiting for the switch to say HALTED")
    assert [(command.operator, command.reason) for command in page.sent] == [("Ada", "spread is wrong")]
    page.put("switch", "desk", {"state": "HALTED", "by": "Ada", "reason": "spread is wrong"})
    await expect(tab.locator("#steps")).to_contain_text("The switch is HALTED, set by Ada")
    await tab.locator("#cancel").click()
    await expect(tab.locator("#banner")).to_contain_text("Trading is HALTED by Ada: spread is wrong")
    await expect(tab.locator("#reset")).to_be_visible()
    await expect(tab.locator("#kill")).to_be_visible()


async def test_escape_cancels_and_nothing_is_sent(page: Page, tab: Tab) -> None:
    await tab.locator("#kill").click()
    await tab.locator("#operator").fill("Ada")
    await tab.locator("#reason").fill("a slip of the hand")
    await tab.locator("#word").fill("KILL")
    await tab.keyboard.press("Escape")
    await expect(tab.locator("#dialog")).to_be_hidden()
    assert page.sent == []
    await tab.locator("#kill").click()
    await expect(tab.locator("#word")).to_have_value("")
    await expect(tab.locator("#confirm")).to_be_disabled()


async def test_the_page_says_live_then_stale_then_lost(page: Page, tab: Tab) -> None:
    live = tab.locator("#live")
    await expect(live).to_have_text("waiting for data")
    page.view.fold("control", b"x", b"{}", 1_000)
    await expect(live).to_contain_text("stale")
    page.put("switch", "desk", {"state": "ACTIVE"})
    await expect(live).to_have_text("live")
    await page.stop()
    await expect(live).to_contain_text("lost", timeout=10_000)
    await expect(tab.locator("#banner")).to_contain_text("everything below is old")


@pytest.mark.parametrize("width", [390, 768, 1280])
async def test_no_width_needs_sideways_scrolling_and_the_kill_button_is_in_sight(
    page: Page, tab: Tab, width: int
) -> None:
    trade(page)
    page.look(HEALTH)
    page.put("switch", "desk", {"state": "HALTED", "by": "x" * 64, "reason": "y" * 500})
    await tab.set_viewport_size({"width": width, "height": 800})
    await expect(tab.locator("#orders tbody tr").first).to_contain_text("FILLED")
    await expect(tab.locator("#letters")).to_contain_text("CROSSED_BOOK")
    for details in await tab.locator("details").all():
        await details.locator("summary").click()
    await tab.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert await tab.evaluate("document.documentElement.scrollWidth") <= width
    box = await tab.locator("#kill").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert 0 <= box["y"] < 800
    await expect(tab.locator("header .paper")).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read_in_both_themes(page: Page, tab: Tab, scheme: str) -> None:
    await tab.emulate_media(color_scheme="light" if scheme == "light" else "dark")
    trade(page)
    page.look(HEALTH)
    page.put("switch", "desk", {"state": "HALTED", "by": "Ada", "reason": "a test"})
    await expect(tab.locator("#banner")).to_be_visible()
    await expect(tab.locator("#orders tbody tr").first).to_contain_text("FILLED")
    seen = await tab.evaluate(CONTRAST)
    await tab.locator("#kill").click()
    seen += await tab.evaluate(CONTRAST)
    assert len(seen) > 100
    assert [pair for pair in seen if pair[0] < 4.5] == []
