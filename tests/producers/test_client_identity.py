from __future__ import annotations

import pytest

from pipeline.contracts.gateway import VOTER_COOKIE
from producers.client.calls import Answer, Identity


def test_voter_goes_on_with_the_cookie_that_the_gateway_gave() -> None:
    first = Identity(None, None)
    assert first.headers() == {}
    first.note(Answer(200, {"set-cookie": f"{VOTER_COOKIE}=abc.1; Path=/"}, b""))
    later = Identity(None, None, first.cookie)
    assert later.headers() == {"cookie": f"{VOTER_COOKIE}=abc.1"}


def test_voter_and_secret_belong_together() -> None:
    with pytest.raises(ValueError, match="belong together"):
        Identity("a" * 32, None)
