"""Takes the pictures of the pages that README and docs show: ``python docs/images/take_pictures.py``.

Runs a demo, waits until its votes are counted, and takes each page in both themes. Needs Chromium (on Debian:
``apt-get install chromium``) and the development tools (``make install-dev``).
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, sync_playwright

from infra.chromium import CHROMIUM, FLAGS

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
VOTES = 400
"""Enough for an order, few enough for intervals that can be seen."""
LIMIT_MS = 120_000
WIDTH, HEIGHT = 1080, 962
HEIGHTS = {"model": 1180}
"""Down to what it made."""
BALLOTS = 10
"""Cast by hand: pages of models show what they made once it was voted on."""
PAGES = {
    "vote": ".card .picture img",
    "model": ".kw-outcomes",
    "pairs": ".kw-matrix",
    "ranks": ".st-key-ranks-data button",
    "matchmaking": ".kw-amount",
    "operator": ".kw-panels",
}
"""Addresses below the board's, and what is there when a page is drawn."""


@contextmanager
def run_demo() -> Iterator[str]:
    """Run a demo while the block runs; yield the address of its page."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "pipeline.cli.main", "demo"]
    options = ["--votes", str(VOTES), "--rate", "40", "--seed", "4", "--port", str(port)]
    demo = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert demo.stderr is not None
        for line in demo.stderr:
            if line.startswith("vote:"):
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)


def take_pictures(address: str, folder: Path) -> None:
    """Write ``PAGE-THEME.png`` to `folder`, for each of `PAGES` and the board."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        pages = {
            theme: browser.new_page(
                color_scheme=theme, viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5
            )
            for theme in THEMES
        }
        for page in pages.values():
            page.goto(address)
        for page in pages.values():
            page.get_by_text(str(VOTES), exact=True).first.wait_for(timeout=LIMIT_MS)
        vote(pages["light"], address)
        pages["light"].goto(address)
        pages["light"].locator("tr[data-model]").first.wait_for(timeout=LIMIT_MS)
        for theme, page in pages.items():
            page.get_by_test_id("stStatusWidget").wait_for(state="hidden")
            page.screenshot(path=folder / f"board-{theme}.png", animations="disabled")
            for name, drawn in PAGES.items():
                page.set_viewport_size({"width": WIDTH, "height": HEIGHTS.get(name, HEIGHT)})
                page.goto(f"{address}/{name}")
                page.locator(drawn).first.wait_for(timeout=LIMIT_MS)
                page.get_by_test_id("stSkeleton").first.wait_for(state="hidden")
                page.get_by_test_id("stStatusWidget").wait_for(state="hidden")
                page.screenshot(path=folder / f"{name}-{theme}.png", animations="disabled")
        browser.close()


def vote(page: Page, address: str) -> None:
    """Vote on some matchups."""
    page.goto(f"{address}/vote")
    for _ in range(BALLOTS):
        page.get_by_role("radio", name="Best only").check(timeout=LIMIT_MS)
        page.get_by_role("button", name="Picture A is best").click()
        page.get_by_role("button", name="Send now").click()
        page.get_by_role("button", name="Next matchup").click()
    page.get_by_role("radio", name="Rank all").check(timeout=LIMIT_MS)  # the pictures show what newcomers see


if __name__ == "__main__":
    with run_demo() as board:
        take_pictures(board, Path(__file__).parent)
