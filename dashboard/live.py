"""HTML that a page draws again and again while it is open."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import streamlit as st

from dashboard.components import read_asset

LIVE: Final = "kwise_live"
"""What the component is called."""


def draw_live(key: str, html: str) -> None:
    """Draw HTML; drawn again under the same key, the browser changes only what differs.

    Unlike with `st.html`, nothing sanitizes it: that would be most of a big table's time in the browser. So all text
    from data has to have passed through `markup.escape_text`. `key` tells apart what a page draws.
    """
    _live()(key=key, data=html)


@cache
def _live() -> Any:
    return st.components.v2.component(LIVE, js=read_asset("live.js"), isolate_styles=False)
