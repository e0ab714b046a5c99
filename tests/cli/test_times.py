"""Times as people type them."""

from __future__ import annotations

import click
import pytest

from pipeline.cli.times import TIME, format_age, format_time, parse_time

NOW = 1_764_000_000_123


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1764000000123", NOW),
        ("0", 0),
        ("-5", -5),
        ("now", NOW),
        ("2025-11-24T16:00:00.123Z", NOW),
        ("2025-11-24T16:00:00.123", NOW),
        ("2025-11-24T16:00:00.1239", NOW),
        ("2025-11-24 17:00:00.123+01:00", NOW),
        ("2025-11-24", 1_763_942_400_000),
        ("1969-12-31T23:59:59.999", -1),
        ("-15m", NOW - 15 * 60_000),
        ("-1d12h", NOW - 36 * 3_600_000),
        ("-1.5s", NOW - 1_500),
        ("-250ms", NOW - 250),
        ("+2w", NOW + 14 * 86_400_000),
    ],
)
def test_parse_time_reads(text: str, moment: int) -> None:
    assert parse_time(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "15m", "-15x", "2025-13-01", "-m", "1e12", "-15m!"])
def test_parse_time_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time; use ISO 8601"):
        parse_time(text, NOW)


def test_format_time_is_read_back() -> None:
    assert format_time(NOW) == "2025-11-24T16:00:00.123Z"
    assert format_time(-1) == "1969-12-31T23:59:59.999Z"
    assert format_time(2**62) == str(2**62)
    assert parse_time(format_time(NOW), 0) == NOW


def test_time_option_says_what_it_takes() -> None:
    assert TIME("0") == 0
    with pytest.raises(click.BadParameter, match="-15m"):
        TIME("soon")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(400, "0.4 s"), (720_000, "12.0 min"), (12_600_000, "3.5 h"), (9 * 86_400_000, "9.0 days")],
)
def test_format_age_uses_the_unit_that_fits(milliseconds: int, text: str) -> None:
    assert format_age(milliseconds) == text
