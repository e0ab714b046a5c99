"""The button that downloads what a page shows.

Streamlit drops what a callable returned after two more runs of any fragment: on a page that draws itself every second
a slow browser asks for it too late. So the file is made before the button is pressed, and anew every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import streamlit as st

from dashboard.source import UnavailableError

MADE_EVERY: Final = 5.0
"""Seconds; what is downloaded is at most so old."""


@st.fragment(run_every=MADE_EVERY)
def draw_download(make_csv: Callable[[], str], file_name: str) -> None:
    """Draw the button for a CSV file; none while there is nothing to make it of."""
    try:
        text = make_csv()
    except (UnavailableError, KeyError):  # a method that is published no more
        return
    st.download_button(
        "Download as CSV",
        data=text.encode(),
        file_name=file_name,
        mime="text/csv",
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
        key="download",
    )
