"""A model that keeps failing is left alone, longer each time, and comes back when it works."""

from __future__ import annotations

from generation.worker.breaker import THRESHOLD, Breakers


def test_failures_in_a_row_open_it_and_pauses_double() -> None:
    breakers, now = Breakers(), 1_000
    for _ in range(THRESHOLD - 1):
        assert breakers.note_failure("a", now) is None
    until = breakers.note_failure("a", now)
    assert until == now + 30_000
    assert breakers.excluded(now) == ("a",)
    assert breakers.excluded(until) == ()
    assert breakers.note_failure("a", until) == until + 60_000  # one more failure suffices
    for _ in range(20):
        last = breakers.note_failure("a", until)
    assert last == until + 600_000


def test_a_success_forgets_failures() -> None:
    breakers = Breakers()
    for _ in range(THRESHOLD - 1):
        breakers.note_failure("a", 0)
    breakers.note_success("a")
    assert breakers.note_failure("a", 0) is None
    breakers.open("a", 0)
    breakers.note_success("a")
    assert breakers.excluded(1) == ()
    assert breakers.open("a", 0) == 30_000


def test_models_do_not_touch_each_other() -> None:
    breakers = Breakers()
    assert breakers.open("b", 0, until=500) == 500
    breakers.note_failure("a", 0)
    assert breakers.excluded(499) == ("b",)
