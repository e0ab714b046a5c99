"""Widgets whose value is part of the page's address, so that a link shows what its sender saw.

An address is taken over once, when the whole app runs. What runs again because of a choice is a fragment, and the
browser may not have the address yet that followed from the choice before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import streamlit as st

_ADDRESS: Final = "choices:address"
_UNWRITTEN: Final = "choices:unwritten"


@contextmanager
def following_address() -> Iterator[None]:
    """Take over what the address asks for, and complete it at the end. To be around the drawing of a whole page."""
    state = st.session_state
    state[_ADDRESS] = {name: st.query_params.get_all(name) for name in st.query_params}
    state[_UNWRITTEN] = {}
    try:
        yield
    finally:
        st.query_params.update(state.pop(_UNWRITTEN))  # at once: each change is a step in the browser's history


def adopt_choice(name: str, options: Sequence[str]) -> None:
    """Set the state of the widget `name` from the address if that is new, and to an option in any case.

    Without a choice it is the first of `options`. To be called before the widget is made, with `name` as its key.
    """
    state = st.session_state
    asked, written = _take(name), state.get(_written(name))
    if asked and asked[-1] != written:
        state[name] = asked[-1]
        state[_unknown(name)] = asked[-1] if asked[-1] not in options else None
    # A page that is switched to through the menu has a bare address: what was chosen on the one before stays. It has to
    # be set anew, or the page's own widget would not know it.
    wanted = [value for value in (state.get(name), written) if value in options]
    state[name] = wanted[0] if wanted else options[0]


def write_choice(name: str, value: str) -> None:
    """Write the choice to the address. To be called after the widget is made."""
    st.session_state[_written(name)] = value
    _write(name, [value])


def adopt_choices(name: str, options: Sequence[str], most: int | None = None) -> None:
    """Do the same for a widget of which several options, at most `most`, or none may be chosen."""
    state = st.session_state
    asked, written = _take(name), state.get(_written(name), [])
    if asked is not None and asked != written:
        state[name] = asked
    known = [value for value in dict.fromkeys(state.get(name, written)) if value in options]
    state[name] = known[:most]


def write_choices(name: str, values: Sequence[str]) -> None:
    """Write choices to the address. To be called after the widget is made."""
    st.session_state[_written(name)] = list(values)
    _write(name, list(values))


def unknown_choice(name: str) -> str | None:
    """Return what a link asked for in vain, until the reader makes a choice."""
    found = st.session_state.get(_unknown(name))
    return str(found) if found is not None else None


def forget_unknown(name: str) -> None:
    """The reader has chosen: nothing asked for in vain is to be mentioned any more."""
    st.session_state[_unknown(name)] = None


def _take(name: str) -> list[str] | None:
    """Return what the address asks for under `name`; None if that was taken over already."""
    address: dict[str, list[str] | None] = st.session_state[_ADDRESS]
    asked = address.get(name, [])
    address[name] = None
    return asked


def _write(name: str, values: list[str]) -> None:
    if st.query_params.get_all(name) != values:
        st.session_state.get(_UNWRITTEN, st.query_params)[name] = values


def _written(name: str) -> str:
    return f"{name}:written"


def _unknown(name: str) -> str:
    return f"{name}:unknown"
