"""Codes are those of the standard library."""

from __future__ import annotations

import hmac

from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.mac import Mac


@given(st.binary(max_size=200), st.lists(st.binary(max_size=300), max_size=3))
def test_codes_are_those_of_the_standard_library(key: bytes, messages: list[bytes]) -> None:
    mac = Mac(key)
    for message in messages:
        assert mac.digest(message) == hmac.digest(key, message, "sha256")
