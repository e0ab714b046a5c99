from __future__ import annotations

import html
from urllib.parse import parse_qsl, urlsplit

import pytest

from dashboard.links import make_address, render_link
from tests.dashboard.made_store import SCRIPT


@pytest.mark.parametrize("query", [{}, {"model": "a&b=c", "arena": "ä"}])
@pytest.mark.parametrize(("page", "path"), [("", ""), ("model", "model")])
def test_address_leads_to_the_page_and_says_what_it_shows(page: str, path: str, query: dict[str, str]) -> None:
    parts = urlsplit(make_address(page, **query))
    assert parts.path.removeprefix("./") == path
    assert dict(parse_qsl(parts.query)) == query


def test_link_is_escaped() -> None:
    link = render_link(SCRIPT, "model", model=SCRIPT)
    assert "<script" not in link
    assert SCRIPT in html.unescape(link)
