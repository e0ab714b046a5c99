"""The doctor's look at what a job says of itself: lag, throughput, freshness, failures, the window, dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pipeline.cli.doctor import Finding
from pipeline.cli.times import format_age, format_time
from pipeline.contracts.reasons import ADVICE, Reason
from pipeline.contracts.status import FRESHNESS_TARGET_MS, Status

if TYPE_CHECKING:
    from pipeline.store.reader import StoreReader

_MOST_BEHIND_S: Final = 60.0
"""A job that has more than this much work waiting, at its own speed of the last minute, does not keep up."""


def check_status(status: Status, *, runs: bool, now: int) -> Iterator[Finding]:
    """Look at what the job said last, at `now` (ms); what is said of the moment counts only while it `runs`."""
    if runs:
        yield from _check_log(status)
        yield _check_lag(status)
        yield _check_freshness(status)
    yield from _check_failures(status, now)
    yield _check_window(status)


def _check_log(status: Status) -> Iterator[Finding]:
    if status.log_error is not None:
        advice = "the job tries again until the log is back, and loses nothing"
        yield Finding("job: log", "bad", f"out of reach: {status.log_error}", advice)


def _check_lag(status: Status) -> Finding:
    rate = status.votes_per_s
    speed = "no votes yet" if rate is None else f"{rate:,.1f} votes/s over the last minute"
    if (lag := status.total_lag) is None:
        return Finding("job: throughput", "ok", speed)
    behind = lag > _MOST_BEHIND_S * (rate or 0.0) and lag > _MOST_BEHIND_S
    advice = "if it grows, the job needs a faster machine, or fewer programs beside it" if behind else None
    return Finding("job: throughput", "note" if behind else "ok", f"{speed}, {lag:,} records waiting", advice)


def _check_freshness(status: Status) -> Finding:
    fresh = status.freshness
    if fresh is None:
        return Finding("job: freshness", "ok", "not measured: append times in files say nothing of now")
    if fresh.p50_ms is None or fresh.p99_ms is None:
        return Finding("job: freshness", "ok", "no votes in the last minute")
    detail = f"from append to board p50 {format_age(fresh.p50_ms)}, p99 {format_age(fresh.p99_ms)}"
    if fresh.p99_ms <= FRESHNESS_TARGET_MS:
        return Finding("job: freshness", "ok", detail)
    advice = "with votes waiting, the job does not keep up; without, boards take long: many models, a slow disk"
    return Finding("job: freshness", "note", detail, advice)


def _check_failures(status: Status, now: int) -> Iterator[Finding]:
    if status.last_error is None or status.last_error_at is None:
        return
    ago = format_age(now - status.last_error_at)
    detail = f"{status.restarts} restarts since {format_time(status.started)}; last {ago} ago: {status.last_error}"
    yield Finding("job: failures", "note", detail, "look at its output; a failure that comes again is a bug to report")


def _check_window(status: Status) -> Finding:
    window = status.window
    detail = f"{window.votes:,} of {window.limit:,} votes, {window.bytes / 1e6:,.1f} MB of memory"
    if window.horizon > 0:
        detail += f"; votes from before {format_time(window.horizon)} are too old"
    refused = status.dead.get(Reason.TOO_OLD, 0)
    if window.horizon > 0 and refused:
        return Finding("job: window", "note", f"{detail}; {refused:,} were refused", ADVICE[Reason.TOO_OLD])
    return Finding("job: window", "ok", detail)


def check_dead_letters(reader: StoreReader) -> Iterator[Finding]:
    """Count the dead letters by reason, and say what to do about each."""
    counted = reader.count_dead_letters()
    if not counted:
        yield Finding("dead letters", "ok", "none")
        return
    known = {reason.value: text for reason, text in ADVICE.items()}
    for reason, count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        yield Finding(f"dead letters: {reason}", "note", str(count), known.get(reason))
    if (samples := reader.recent()) and (fresh := samples[-1].dead - samples[0].dead) > 0:
        span = format_age(samples[-1].time - samples[0].time)
        advice = f"kwise dead-letters list --store {reader.path}"
        yield Finding(
            "dead letters: lately", "note", f"{fresh} in the {span} up to {format_time(samples[-1].time)}", advice
        )
