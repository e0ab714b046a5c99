"""Text of numbers and times. Whatever is absent, or not a number, is an en dash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

ABSENT: Final = "–"
MINUS: Final = "−"

Unit = Literal["points", "score", "share"]
"""`points`: the published scale, whole numbers. `score`: a method's own units, two decimals. `share`: per cent."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def format_count(count: int | None) -> str:
    """Return a whole number with thousands separated."""
    return ABSENT if count is None else f"{count:,}".replace("-", MINUS)


def format_plural(count: int, noun: str) -> str:
    """Return ``1 vote``, ``2,000 votes``."""
    return f"{format_count(count)} {noun if count == 1 else noun + 's'}"


def join_words(words: Sequence[str]) -> str:
    """Return ``A``, ``A and B``, ``A, B and C``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def format_bytes(count: int) -> str:
    """Return a size, in steps of a thousand: ``812 B``, ``21.5 kB``, ``3.20 GB``."""
    if count < 1_000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1_000
        if size < 999.5 or unit == "TB":
            break
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f} {unit}"


def format_seconds(milliseconds: int | None) -> str:
    """Return a duration to be compared with others: ``0.31``, ``1.2``, ``45``."""
    if milliseconds is None:
        return ABSENT
    seconds = milliseconds / 1_000
    return f"{seconds:,.{2 if seconds < 1 else 1 if seconds < 10 else 0}f}"


def format_rate(rate: float | None) -> str:
    """Return how many a second: ``0.3``, ``37``, ``291,000``; no more digits than mean anything."""
    if rate is None or not math.isfinite(rate):
        return ABSENT
    return f"{rate:,.1f}" if rate < 10 else f"{float(f'{rate:.3g}'):,.0f}"


def format_value(value: float | None, unit: Unit) -> str:
    """Return a rating in its unit; a share of 0.5 is ``50.0 %``."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if unit == "points":
        text = f"{value:,.0f}"
    elif unit == "score":
        text = f"{value:,.2f}"
    else:
        text = f"{100 * value:.1f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")  # no minus before a zero
    return text.replace("-", MINUS) + (" %" if unit == "share" else "")


def format_chance(probability: float | None) -> str:
    """Return a probability in per cent, which votes never make certain: ``42 %``, ``3.1 %``, ``< 0.1 %``."""
    if probability is None or not math.isfinite(probability):
        return ABSENT
    if probability < 0.001:
        return "< 0.1 %"
    if probability > 0.999:
        return "> 99.9 %"
    return format_share(probability)


def format_share(share: float | None) -> str:
    """Return a share of what was counted in per cent: ``42 %``, ``3.1 %``, ``0 %``."""
    if share is None or not math.isfinite(share):
        return ABSENT
    percent = 100 * share
    return f"{percent:.{0 if 10 <= percent <= 99 or percent in (0, 100) else 1}f} %"


def format_signed(value: float | None, digits: int = 0) -> str:
    """Return a difference with its sign, ``+12`` or ``−3``."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:+.{digits}f}"
    return (text if text.strip("+-0.") else text[1:]).replace("-", MINUS)


def format_tick(value: float, ticks: Sequence[float], unit: Unit) -> str:
    """Return the label of a tick among `ticks`, with as many digits as their distance needs."""
    factor = 100 if unit == "share" else 1
    step = factor * (ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    digits = max(0, math.ceil(-math.log10(step) - 1e-9))
    text = f"{factor * value:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS) + (" %" if unit == "share" else "")


def format_interval(low: float | None, high: float | None, unit: Unit) -> str:
    """Return ``986–1,031``, or ``−3 to 12`` where a dash could be taken for a minus."""
    texts = [format_value(low, unit), format_value(high, unit)]
    if ABSENT in texts:
        return ABSENT
    first = texts[0].removesuffix(" %")
    return f"{first} to {texts[1]}" if MINUS in "".join(texts) else f"{first}{ABSENT}{texts[1]}"


def format_rank_interval(low: int | None, high: int | None) -> str:
    """Return ``(1–3)``, ``(2)`` for a settled rank, and nothing where there is no interval."""
    if low is None or high is None:
        return ""
    return f"({low})" if low == high else f"({low}{ABSENT}{high})"


def format_age(milliseconds: int) -> str:
    """Return how long something takes or lies back: ``3 s``, ``5 min``, ``2 h``, ``4 days``. Never negative."""
    age = max(0, milliseconds)
    if age < _MINUTE:
        return f"{age // _SECOND} s"
    if age < _HOUR:
        return f"{age // _MINUTE} min"
    if age < 2 * _DAY:
        return f"{age // _HOUR} h"
    return f"{age // _DAY:,} days"


def format_ago(milliseconds: int) -> str:
    """Return how long ago: ``just now``, ``3 s ago``."""
    return "just now" if milliseconds < _SECOND else f"{format_age(milliseconds)} ago"


def format_clock(time: int | None) -> str:
    """Return the time of day in UTC of `time` (ms since 1970), ``04:02:39``."""
    moment = _moment(time)
    return ABSENT if moment is None else f"{moment:%H:%M:%S}"


def format_day(time: int | None) -> str:
    """Return the day in UTC of `time` (ms since 1970), ``25 Nov 2026``, in English whatever the locale."""
    moment = _moment(time)
    return ABSENT if moment is None else f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _moment(time: int | None) -> datetime | None:
    try:
        return None if time is None else datetime.fromtimestamp(time / 1_000, UTC)
    except (OverflowError, ValueError, OSError):  # a record may bear any int64 as its time
        return None
