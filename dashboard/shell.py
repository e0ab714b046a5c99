"""What all pages of the app share: which there are, the store they show, and how they look."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import streamlit as st

from dashboard.choices import following_address
from dashboard.links import BOARD_PAGE, MODEL_PAGE, PAIRS_PAGE, VOTE_PAGE, follow_links
from dashboard.pause_switch import show_pause_switch
from dashboard.server import STORE_VARIABLE, gateway_url
from dashboard.source import Source
from dashboard.theme import css_variables

_HERE: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class PageSpec:
    """A page: a file in screens/, its title, and its address below the app's; empty for what the app opens with."""

    file: str
    title: str
    address: str


PAGES: Final = (
    PageSpec("board.py", "Board", BOARD_PAGE),
    PageSpec("vote.py", "Vote", VOTE_PAGE),
    PageSpec("model.py", "Models", MODEL_PAGE),
    PageSpec("pairs.py", "Pairs", PAIRS_PAGE),
    PageSpec("ranks.py", "Ranks", "ranks"),
    PageSpec("matchmaking.py", "Matchmaking", "matchmaking"),
    PageSpec("operator.py", "Operations", "operator"),
)
"""In the order of the menu. To add a page, add its file and a line here."""


def run_app() -> None:
    """Set up the app, and run the page that is asked for. Streamlit calls this for every session, again and again."""
    st.set_page_config(page_title="kwise arena", page_icon=str(_HERE / "assets" / "mark.svg"), layout="wide")
    st.html(_style_sheet())
    st.logo(str(_HERE / "assets" / "wordmark.svg"), size="medium")
    chosen = st.navigation(_list_pages(), position="top")
    follow_links()
    show_pause_switch()
    with following_address():
        chosen.run()


def _list_pages() -> list[Any]:
    """Return the pages; nobody can vote without a gateway."""
    return [
        st.Page(
            _HERE / "screens" / page.file, title=page.title, url_path=page.address or None, default=not page.address
        )
        for page in PAGES
        if page.address != VOTE_PAGE or gateway_url() is not None
    ]


@cache
def _style_sheet() -> str:
    return f"<style>{css_variables()}{(_HERE / 'style.css').read_text('utf-8')}</style>"


def open_source() -> Source:
    """Return the source of the store that this app shows, the same one for all sessions."""
    return _open_source(os.environ.get(STORE_VARIABLE) or "store")


@st.cache_resource(show_spinner=False)
def _open_source(store: str) -> Source:
    return Source(Path(store))
