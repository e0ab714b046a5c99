"""The login of operators: one password, in a file that only the server reads.

Votes in dead letters bear what voters are told apart by. Whoever is not logged in sees counts only.
"""

from __future__ import annotations

import hmac
import logging
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

import streamlit as st

from dashboard.server import PASSWORD_VARIABLE

LEAST_LENGTH: Final = 12
ATTEMPTS: Final = 5
"""Wrong passwords in `SPAN_SECONDS`, of all sessions together, after which none is looked at: it cannot be guessed."""
SPAN_SECONDS: Final = 60.0

_LOGGER: Final = logging.getLogger(__name__)
_LOGGED_IN: Final = "operator:logged_in"


class LoginError(Exception):
    """The password cannot be checked, or is wrong. Says what to do."""


class Attempts:
    """Wrong passwords of late, of all sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wrong: deque[float] = deque()

    def check(self, given: str, path: Path, now: float) -> None:
        """Return if `given` is the password in the file at `path`; `now` in seconds of any clock.

        Raises `LoginError` if it is not, if there were too many wrong ones, or if the file is none.
        """
        password = read_password(path)
        with self._lock:
            while self._wrong and self._wrong[0] <= now - SPAN_SECONDS:
                self._wrong.popleft()
            if len(self._wrong) >= ATTEMPTS:
                raise LoginError("Too many wrong passwords. Try again in a minute.")
            if not hmac.compare_digest(given.encode(), password.encode()):
                self._wrong.append(now)
                raise LoginError("That is not the password.")


def read_password(path: Path) -> str:
    """Return the password in a file: its text without blanks at the ends. Raises `LoginError`."""
    try:
        password = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        _LOGGER.error("the file of the operators' password cannot be read: %s", error)
        raise LoginError("The file of the password cannot be read; the server's log says why.") from None
    if len(password) < LEAST_LENGTH:
        raise LoginError(f"The password in its file has fewer than {LEAST_LENGTH} characters: choose a longer one.")
    return password


def password_file() -> Path | None:
    """Return the file that holds the password; None where operators cannot log in."""
    named = os.environ.get(PASSWORD_VARIABLE)
    return Path(named) if named else None


def is_logged_in() -> bool:
    """Whether an operator is logged in, in this session."""
    return st.session_state.get(_LOGGED_IN) is True and password_file() is not None


def draw_login(path: Path) -> None:
    """Draw the form; the page starts anew when the password is right."""
    with st.form("login", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        given = st.text_input("Operator's password", type="password", key="password", width=260)
        is_sent = st.form_submit_button("Log in")
    if not is_sent:
        return
    try:
        _attempts().check(given, path, time.monotonic())
    except LoginError as error:
        st.error(str(error))
        return
    st.session_state[_LOGGED_IN] = True
    st.rerun()


def draw_logout() -> None:
    """Draw the button that ends the login."""
    if st.button("Log out", type="tertiary", icon=":material/logout:", key="logout"):
        st.session_state[_LOGGED_IN] = False
        st.rerun()


@st.cache_resource(show_spinner=False)
def _attempts() -> Attempts:
    return Attempts()
