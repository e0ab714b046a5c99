from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.shell import PAGES
from dashboard.voting.errors import GateError
from dashboard.voting.gate import _in_words, open_gate
from producers.client import GatewayRefusal, GatewayUnreachable


@pytest.mark.parametrize(
    ("error", "title", "text", "retriable"),
    [
        (GatewayUnreachable("http://x does not answer"), "No answer", "tries again by itself", True),
        (GatewayRefusal(410, "expired", "e", retriable=False, retry_after=None), "Too late", "another", False),
        (GatewayRefusal(429, "too_many", "m", retriable=True, retry_after=3.0), "A moment, please", "allows.", True),
        (GatewayRefusal(429, "too_many", "m", retriable=True, retry_after=180.0), "A moment, please", "3 min.", True),
        (
            GatewayRefusal(422, "bad_prompt", "the prompt is empty", retriable=False, retry_after=None),
            "Not taken",
            "The prompt is empty.",
            False,
        ),
    ],
)  # fmt: skip
def test_what_the_client_raises_is_put_into_words(error: Exception, title: str, text: str, retriable: bool) -> None:
    with pytest.raises(GateError) as caught, _in_words():
        raise error
    assert (caught.value.title, caught.value.retriable) == (title, retriable)
    assert text in str(caught.value)
    assert "http" not in str(caught.value)


def test_errors_of_ours_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), _in_words():
        raise ZeroDivisionError


@pytest.mark.parametrize(("cookie", "kept"), [(None, None), ("0af3.99", "0af3.99"), ("x\r\nevil: 1", None)])
def test_only_cookies_of_the_gateway_are_shown_to_it(cookie: str | None, kept: str | None) -> None:
    assert open_gate("http://127.0.0.1:9", cookie, None).cookie() == kept


def test_address_is_told_with_the_proxys_secret_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def headers() -> dict[str, str]:
        return dict(open_gate("http://127.0.0.1:9", None, "203.0.113.7").client._http.headers)

    monkeypatch.delenv("KWISE_GATEWAY_PROXY_SECRET", raising=False)
    assert "203.0.113.7" not in headers().values()
    monkeypatch.setenv("KWISE_GATEWAY_PROXY_SECRET", "s" * 32)
    assert headers()["x-kwise-address"] == "203.0.113.7"


@pytest.mark.parametrize("gateway", [None, "http://127.0.0.1:9"])
def test_nobody_is_led_to_a_vote_without_a_gateway(monkeypatch: pytest.MonkeyPatch, gateway: str | None) -> None:
    if gateway is None:
        monkeypatch.delenv("KWISE_GATEWAY", raising=False)
    else:
        monkeypatch.setenv("KWISE_GATEWAY", gateway)

    def script() -> None:
        import streamlit as st  # noqa: PLC0415 - a script of its own

        from dashboard.shell import _list_pages  # noqa: PLC0415

        st.text(" ".join(sorted(page.url_path for page in _list_pages())))

    shown = AppTest.from_function(script).run().text[0].value.split()
    assert ("vote" in shown) == (gateway is not None)
    assert len(shown) == len(PAGES) - (1 if gateway else 2)  # the board has no name
