"""What every page has to look like, whoever looks at it."""

from __future__ import annotations

import json

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


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
