"""Times on the command line: read as ISO 8601, ms since 1970 or relative to now; written as ISO 8601."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import click

TIME_HELP: Final = "ISO 8601 (UTC unless it says otherwise), ms since 1970, or relative to now like -15m or -1d12h."

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = r"(\d+(?:\.\d+)?)(ms|[smhdw])"
_RELATIVE = re.compile(rf"([+-])((?:{_PART})+)")


def now_ms() -> int:
    """Return the wall clock in ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def parse_time(text: str, now: int) -> int:
    """Return the time that `text` means, in ms since 1970 UTC. Raises `ValueError`, saying what is accepted.

    A date alone is its first moment; digits beyond milliseconds are dropped.
    """
    text = text.strip()
    if text == "now":
        return now
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if relative := _RELATIVE.fullmatch(text):
        length = sum(float(amount) * _UNIT_MS[unit] for amount, unit in re.findall(_PART, relative[2]))
        return now + round(length if relative[1] == "+" else -length)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; use {TIME_HELP}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def format_time(moment: int) -> str:
    """Return `moment` (ms since 1970 UTC) as ISO 8601 with milliseconds: ``2025-11-24T16:00:00.123Z``."""
    try:
        text = (_EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds")
    except OverflowError:
        return str(moment)
    return text.replace("+00:00", "Z")


def format_age(milliseconds: int) -> str:
    """Return a length of time as people say it: ``0.4 s``, ``12 min``, ``3.5 h``, ``9 days``."""
    seconds = milliseconds / 1000
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60), (48 * 3600, "h", 3600)):
        if abs(seconds) < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86400:.1f} days"


def TIME(text: str) -> int:  # noqa: N802 - the type of a time option, beside click's STRING and PATH
    """Return the time that an option's text means, in ms since 1970 UTC; what is no time is wrong use."""
    try:
        return parse_time(text, now_ms())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
