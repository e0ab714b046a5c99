"""A switch for simulated voters, on the pages of `kwise demo`: they rest while a file is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import streamlit as st

from dashboard.server import PAUSE_VARIABLE

_KEY: Final = "simulated-voters"


def show_pause_switch() -> None:
    """Show the switch where this app has simulated voters."""
    if not (named := os.environ.get(PAUSE_VARIABLE)):
        return
    file = Path(named)
    st.session_state[_KEY] = not file.exists()  # somebody else may have switched
    st.toggle(
        "Simulated voters",
        key=_KEY,
        on_change=_switch,
        args=(file,),
        help="They vote beside you, on matchups of their own. Switched off, only people move the board.",
    )


def _switch(file: Path) -> None:
    if st.session_state[_KEY]:
        file.unlink(missing_ok=True)
    else:
        file.touch()
