"""Links from one page to another.

They are plain links, which open in a new tab as well. A plain click on one would load the whole app anew:
`follow_links` takes it to the running session instead, and the other page is there at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import streamlit as st

from dashboard.components import read_asset
from dashboard.markup import Markup, escape_text

MODEL_PAGE: Final = "model"
BOARD_PAGE: Final = ""
"""The app's own address."""
PAIRS_PAGE: Final = "pairs"
VOTE_PAGE: Final = "vote"


def make_address(page: str, **query: str) -> str:
    """Return the address of a page, as seen from any other page of the app."""
    return f"{page or './'}?{urlencode(query)}" if query else page or "./"


def render_link(text: str, page: str, **query: str) -> str:
    """Render a link to a page of this app."""
    address = escape_text(make_address(page, **query))
    return f'<a class="kw-link" data-kw-page="{page}" href="{address}">{escape_text(text)}</a>'


def link_model(title: str, arena: str, model: str) -> Markup:
    """Return a model's name as a link to its page."""
    return Markup(render_link(title, MODEL_PAGE, arena=arena, model=model))


def read_address(address: str, pages: Mapping[str, Any]) -> tuple[str, dict[str, str]] | None:
    """Return page and query of `address`, which a browser has sent; None if it is none of `pages`."""
    parts = urlsplit(address)
    page = parts.path.rpartition("/")[2]
    return (page, dict(parse_qsl(parts.query))) if page in pages else None


def follow_links(pages: Mapping[str, Any]) -> None:
    """Go where a link was clicked. To be called after `st.navigation`; `pages` are its pages by address."""
    clicked = _router()(key="router", on_link_change=lambda: None).link
    if isinstance(clicked, str) and (found := read_address(clicked, pages)) is not None:
        page, query = found
        st.switch_page(pages[page], query_params=query)


@cache
def _router() -> Any:
    return st.components.v2.component("kwise_router", js=read_asset("router.js"))
