from __future__ import annotations

import math

import pytest

from dashboard.formatting import (
    Unit,
    format_age,
    format_ago,
    format_bytes,
    format_clock,
    format_count,
    format_day,
    format_interval,
    format_plural,
    format_rank_interval,
    format_rate,
    format_seconds,
    format_tick,
    format_value,
)

NOON = 1_764_072_159_000  # 2025-11-25 12:02:39 UTC


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234.4, "points", "1,234"),
        (-1234.5, "points", "−1,234"),
        (-0.2, "points", "0"),
        (23.456, "score", "23.46"),
        (-0.001, "score", "0.00"),
        (0.6321, "share", "63.2 %"),
        (0.0, "share", "0.0 %"),
        (1.0, "share", "100.0 %"),
        (None, "points", "–"),
        (math.nan, "score", "–"),
        (math.inf, "points", "–"),
    ],
)
def test_format_value_never_shows_what_is_no_number(value: float | None, unit: Unit, text: str) -> None:
    assert format_value(value, unit) == text


def test_format_interval_keeps_dash_and_minus_apart() -> None:
    assert format_interval(986.2, 1030.8, "points") == "986–1,031"
    assert format_interval(-3.0, 12.0, "score") == "−3.00 to 12.00"
    assert format_interval(0.512, 0.634, "share") == "51.2–63.4 %"
    assert format_interval(-0.1, 0.2, "share") == "−10.0 to 20.0 %"
    assert format_interval(None, 3.0, "score") == "–"


@pytest.mark.parametrize(("low", "high", "text"), [(1, 3, "(1–3)"), (2, 2, "(2)"), (None, None, ""), (1, None, "")])
def test_format_rank_interval(low: int | None, high: int | None, text: str) -> None:
    assert format_rank_interval(low, high) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (-5, "0 s"),
        (3_999, "3 s"),
        (60_000, "1 min"),
        (3_599_999, "59 min"),
        (3_600_000, "1 h"),
        (47 * 3_600_000, "47 h"),
        (48 * 3_600_000, "2 days"),
    ],
)
def test_format_age(age: int, text: str) -> None:
    assert format_age(age) == text


def test_format_ago_says_just_now_below_a_second() -> None:
    assert (format_ago(999), format_ago(1_000)) == ("just now", "1 s ago")


def test_times_are_utc_in_english() -> None:
    assert (format_clock(NOON), format_day(NOON)) == ("12:02:39", "25 Nov 2025")


@pytest.mark.parametrize("time", [None, 2**62, -(2**62)])
def test_times_that_are_none_are_a_dash(time: int | None) -> None:
    assert (format_clock(time), format_day(time)) == ("–", "–")


def test_counts_and_plurals() -> None:
    assert format_count(1234567) == "1,234,567"
    assert format_count(None) == "–"
    assert (format_plural(1, "vote"), format_plural(2000, "vote")) == ("1 vote", "2,000 votes")


@pytest.mark.parametrize(
    ("ticks", "unit", "texts"),
    [
        ((800.0, 1000.0, 1200.0), "points", ["800", "1,000", "1,200"]),
        ((-0.5, 0.0, 0.5), "score", ["−0.5", "0.0", "0.5"]),
        ((0.2, 0.4, 0.6), "share", ["20 %", "40 %", "60 %"]),
        ((0.4, 0.405), "share", ["40.0 %", "40.5 %"]),
        ((3.0,), "score", ["3"]),
    ],
)
def test_format_tick_has_the_digits_that_its_step_needs(ticks: tuple[float, ...], unit: Unit, texts: list[str]) -> None:
    assert [format_tick(tick, ticks, unit) for tick in ticks] == texts


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.00 kB"),
        (21_470, "21.5 kB"),
        (123_456, "123 kB"),
        (999_600, "1.00 MB"),
        (3_200_000_000, "3.20 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_format_bytes_has_three_digits(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(None, "–"), (0, "0.00"), (312, "0.31"), (1_240, "1.2"), (45_300, "45"), (9e6, "9,000")]
)
def test_format_seconds_has_the_digits_that_mean_something(milliseconds: int | None, text: str) -> None:
    assert format_seconds(milliseconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(None, "–"), (0.0, "0.0"), (0.34, "0.3"), (58.3, "58"), (291_234.0, "291,000"), (math.nan, "–")]
)
def test_format_rate_has_at_most_three_digits(rate: float | None, text: str) -> None:
    assert format_rate(rate) == text
