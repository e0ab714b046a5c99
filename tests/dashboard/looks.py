"""What every page has to look like, whoever looks at it."""

from __future__ import annotations

import json

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page


def watch_errors(page: Page, address: str) -> list[str]:
    """Return a list that fills with what goes wrong on a page: errors it logs, and requests to others than the app.

    Left out is what Streamlit asks for in vain below a page.
    """
    errors: list[str] = []
    ours = (address, address.replace("http", "ws"), "data:", "blob:")

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "/_stcore/" not in message.location["url"]:
            errors.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda asked: errors.append(asked.url) if not asked.url.startswith(ours) else None)
    return errors


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
