"""Token buckets, and what stands for an address."""

from __future__ import annotations

import pytest

from producers.gateway import limits
from producers.gateway.errors import GatewayError
from producers.gateway.limits import Limit, hash_address


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_through_and_refilled_evenly() -> None:
    clock = Clock()
    limit = Limit("things", 2.0, 3.0, clock)
    for _ in range(3):
        limit.take("a")
    with pytest.raises(GatewayError, match=r"too many things: wait 0\.5 s") as refused:
        limit.take("a")
    assert (refused.value.status, refused.value.retry, refused.value.retry_after) == (429, True, 0.5)
    limit.take("b")
    clock.now = 0.5
    limit.take("a")
    with pytest.raises(GatewayError):
        limit.take("a")
    clock.now = 100.0
    for _ in range(3):
        limit.take("a")
    with pytest.raises(GatewayError):
        limit.take("a")


def test_who_is_refused_does_not_wait_longer_for_it() -> None:
    clock = Clock()
    limit = Limit("things", 1.0, 1.0, clock)
    limit.take("a")
    for _ in range(50):
        with pytest.raises(GatewayError):
            limit.take("a")
    clock.now = 1.0
    limit.take("a")


def test_memory_is_bounded_and_the_busy_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST", 100)
    clock = Clock()
    limit = Limit("things", 1.0, 5.0, clock)
    for number in range(1_000):
        clock.now = number / 100
        limit.take(f"voter {number}")
        if number % 10 == 0:
            for _ in range(5):
                try:
                    limit.take("flood")
                except GatewayError:
                    break
    assert len(limit._buckets) <= 100
    bucket = limit._buckets["flood"]
    assert bucket.tokens < 5.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("no address", "another", True),
    ],
)
def test_addresses_count_as_networks(one: str, other: str, same: bool) -> None:
    assert (hash_address(one, b"key") == hash_address(other, b"key")) is same


def test_what_is_in_memory_says_nothing_without_the_key() -> None:
    assert hash_address("192.0.2.1", b"key") != hash_address("192.0.2.1", b"another")
