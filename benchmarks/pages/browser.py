"""Timing pages in a real browser, by its own clock: from a click to the change that it was for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from infra.chromium import CHROMIUM, FLAGS

_LIMIT_MS = 60_000

# Looks at each frame until `is_there` holds.
_WATCH = """
([act, isThere]) => new Promise((resolve, reject) => {
  const there = new Function('return (' + isThere + ')');
  if (there()) return reject(new Error('there before: ' + isThere));
  const late = setTimeout(() => reject(new Error('not there: ' + isThere)), 60000);
  const started = performance.now();
  const look = () => {
    if (!there()) return requestAnimationFrame(look);
    clearTimeout(late);
    requestAnimationFrame(() => resolve(performance.now() - started));
  };
  new Function(act)();
  look();
})
"""
_FIRST = """
isThere => new Promise(resolve => {
  const there = new Function('return (' + isThere + ')');
  const look = () => there() ? resolve(performance.now()) : requestAnimationFrame(look);
  look();
})
"""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run Chromium while the block runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


def new_context(browser: Browser) -> BrowserContext:
    """Return a browser that has seen nothing before, as big as a desk's."""
    return browser.new_context(viewport={"width": 1280, "height": 900})


def time_first(page: Page, address: str, is_there: str) -> float:
    """Open `address`; return ms from the start of the navigation until `is_there` (JavaScript) holds."""
    page.goto(address, wait_until="commit", timeout=_LIMIT_MS)
    return float(page.evaluate(_FIRST, is_there))


def time_act(page: Page, act: str, is_there: str) -> float:
    """Run `act` (JavaScript); return ms until `is_there` holds and the next frame is drawn."""
    return float(page.evaluate(_WATCH, [act, is_there]))
