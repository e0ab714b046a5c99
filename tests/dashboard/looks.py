"""What every page has to look like, whoever looks at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Error, Page, Request


@contextmanager
def expect_no_errors(page: Page, address: str) -> Iterator[None]:
    """Expect that a page logs no errors within, and asks nobody but the app.

    Left out is what Streamlit asks for in vain below a page.
    """
    errors: list[str] = []
    ours = (address, address.replace("http", "ws"), "data:", "blob:")

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "/_stcore/" not in message.location["url"]:
            errors.append(f"{message.text} {message.location['url']}")

    def note_error(error: Error) -> None:
        errors.append(str(error))

    def note_request(asked: Request) -> None:
        if not asked.url.startswith(ours):
            errors.append(asked.url)

    page.on("console", note)
    page.on("pageerror", note_error)
    page.on("request", note_request)
    try:
        yield
    finally:
        page.remove_listener("console", note)
        page.remove_listener("pageerror", note_error)
        page.remove_listener("request", note_request)
    assert errors == []


def expect_no_overflow(page: Page) -> None:
    """Expect nothing that would have to be scrolled sideways for."""
    page.wait_for_function(
        "() => { const main = document.querySelector('[data-testid=stMain]');"
        " return main.scrollWidth <= main.clientWidth && document.documentElement.scrollWidth <= innerWidth }"
    )


def expect_accessible(page: Page) -> None:
    """Expect no finding of axe that it calls serious or critical."""
    found = Axe().run(page).response["violations"]
    serious = [
        {"rule": each["id"], "nodes": [node["html"][:160] for node in each["nodes"][:4]]}
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]
    assert serious == [], json.dumps(serious, indent=1)
