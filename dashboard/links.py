"""Links from one page to another.

They are plain links, which open in a new tab as well. A plain click on one would load the whole app anew:
`follow_links` keeps it in the running session instead, and the other page is there at once.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

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


def follow_links() -> None:
    """Have clicks on links followed within the session."""
    _router()(key="router")


@cache
def _router() -> Any:
    return st.components.v2.component("kwise_router", js=read_asset("router.js"))
