from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.operator_login import ATTEMPTS, SPAN_SECONDS, Attempts, LoginError, read_password
from tests.dashboard.conftest import OpenPage, html_of

PASSWORD = "correct horse battery"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", "utf-8")
    return path


def test_password_is_checked_and_guessing_is_stopped_for_a_minute(password_file: Path) -> None:
    attempts = Attempts()
    attempts.check(PASSWORD, password_file, now=0.0)
    for moment in range(ATTEMPTS):
        with pytest.raises(LoginError, match="not the password"):
            attempts.check("wrong", password_file, now=float(moment))
    with pytest.raises(LoginError, match="Too many"):
        attempts.check(PASSWORD, password_file, now=10.0)
    attempts.check(PASSWORD, password_file, now=SPAN_SECONDS + 1)


@pytest.mark.parametrize("text", ["short", "", None])
def test_password_that_is_none_or_short_lets_nobody_in(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "password"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(LoginError) as caught:
        read_password(path)
    assert str(tmp_path) not in str(caught.value)


def button(app: AppTest, label: str) -> None:
    next(each for each in app.button if each.label == label).click()


def test_records_are_shown_to_operators_only(
    open_page: OpenPage, password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--operator-password FILE" in html_of(open_page("operator"))
    monkeypatch.setenv("KWISE_OPERATOR_PASSWORD_FILE", str(password_file))
    app = open_page("operator")
    assert "vote_id" not in html_of(app)
    app.text_input("password").input("wrong password")
    button(app, "Log in")
    assert "That is not the password." in [each.value for each in app.run().error]
    assert "vote_id" not in html_of(app)
    app.text_input("password").input(PASSWORD)
    button(app, "Log in")
    html = html_of(app.run())
    assert "vote_id" in html
    assert "<script" not in html
    app.selectbox("reason").select("not_json").run()
    assert "vote_id" not in html_of(app)
    assert "at byte 0" in html_of(app)
    app.selectbox("reason").select("too_old").run()
    assert "There is no such record." in html_of(app)
    button(app, "Log out")
    assert "at byte 0" not in html_of(app.run())


def test_weights_of_likelihoods_are_shown(open_page: OpenPage) -> None:
    html = html_of(open_page("operator"))
    assert "davidson-lapse" in html
    assert "after 4 blocks of votes" in html
    assert "No block of votes has ended so far" in html  # of the other arena
