"""Widgets whose value is part of the page's address, so that a link shows what its sender saw."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st


def adopt_choice(name: str, options: Sequence[str]) -> None:
    """Set the state of the widget `name` from the address if that has changed, and to an option in any case.

    Without a choice it is the first of `options`. To be called before the widget is made, with `name` as its key.
    """
    state = st.session_state
    asked, written = st.query_params.get(name), state.get(_written(name))
    if asked is not None and asked != written:
        state[name] = asked
        state[_unknown(name)] = asked if asked not in options else None
    # A page that is switched to through the menu has a bare address: what was chosen on the one before stays. It has to
    # be set anew, or the page's own widget would not know it.
    wanted = [value for value in (state.get(name), written) if value in options]
    state[name] = wanted[0] if wanted else options[0]


def write_choice(name: str, value: str) -> None:
    """Write the choice to the address. To be called after the widget is made."""
    st.session_state[_written(name)] = value
    if st.query_params.get(name) != value:
        st.query_params[name] = value


def adopt_choices(name: str, options: Sequence[str]) -> None:
    """Do the same for a widget of which several options, or none, may be chosen: those in the address."""
    state = st.session_state
    asked = st.query_params.get_all(name)
    if name not in state or asked != state.get(_written(name)):
        state[name] = asked
    state[name] = [value for value in state[name] if value in options]


def write_choices(name: str, values: Sequence[str]) -> None:
    """Write choices to the address. To be called after the widget is made."""
    st.session_state[_written(name)] = list(values)
    if st.query_params.get_all(name) != list(values):
        st.query_params[name] = list(values)


def unknown_choice(name: str) -> str | None:
    """Return what a link asked for in vain, until the reader makes a choice."""
    found = st.session_state.get(_unknown(name))
    return str(found) if found is not None else None


def forget_unknown(name: str) -> None:
    """The reader has chosen: nothing asked for in vain is to be mentioned any more."""
    st.session_state[_unknown(name)] = None


def _written(name: str) -> str:
    return f"{name}:written"


def _unknown(name: str) -> str:
    return f"{name}:unknown"
