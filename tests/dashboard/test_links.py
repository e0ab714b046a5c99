from __future__ import annotations

import pytest

from dashboard.links import make_address, read_address, render_link
from tests.dashboard.made_store import SCRIPT

PAGES = {"": 0, "model": 1}


@pytest.mark.parametrize("query", [{}, {"model": "a&b=c", "arena": "ä"}])
@pytest.mark.parametrize("page", PAGES)
def test_address_is_read_as_it_was_made(page: str, query: dict[str, str]) -> None:
    assert read_address(make_address(page, **query), PAGES) == (page, query)


@pytest.mark.parametrize("address", ["nowhere?x=1", "javascript:alert(1)", "https://example.org/x"])
def test_address_of_no_page_is_refused(address: str) -> None:
    assert read_address(address, PAGES) is None


def test_link_is_escaped() -> None:
    assert "<script" not in render_link(SCRIPT, "model", model=SCRIPT)
