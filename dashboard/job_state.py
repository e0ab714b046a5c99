"""Whether a store's job runs, judged from its last sign of life, and what to say where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dashboard import notices
from dashboard.formatting import format_age, format_ago
from dashboard.freshness import STALLED_AFTER, State
from dashboard.notices import Notice
from pipeline.store.manifest import Heartbeat

_LAST_WORDS: int = 5_000
"""ms between a job's last failure and its end within which the one caused the other."""


@dataclass(frozen=True, slots=True)
class JobState:
    """A state with its reason in words. `kind` is how it is coloured; `runs`: what is said of the moment holds."""

    label: str
    reason: str
    kind: State
    runs: bool
    notice: Notice | None = None


def judge_job(now: int, beat: Heartbeat | None, store: Path) -> JobState:
    """Judge at `now`, in ms since 1970. A clock that runs ahead of ours counts as now."""
    if beat is None or beat.status is None:
        return JobState("None", "no live job has reported", "quiet", runs=False, notice=notices.no_status(store))
    age, status = max(0, now - beat.time), beat.status
    seen = f"last seen {format_ago(age)}"
    if beat.stopped:
        failed_at = status.last_error_at
        if status.last_error is not None and failed_at is not None and beat.time - failed_at < _LAST_WORDS:
            notice = notices.job_failed(beat.time, status.last_error, store)
            return JobState("Failed", seen, "stalled", runs=False, notice=notice)
        return JobState("Stopped", seen, "quiet", runs=False, notice=notices.job_stopped(beat.time, store))
    if age > STALLED_AFTER:
        return JobState("Silent", seen, "stalled", runs=False, notice=notices.job_silent(beat.time, store))
    up = f"up {format_age(now - status.started)}"
    if status.log_error is not None:
        notice = notices.log_out_of_reach(status.log_error)
        return JobState("Waiting", f"for the log; {up}", "stalled", runs=True, notice=notice)
    return JobState("Live", f"{up}, seen {format_ago(age)}", "live", runs=True)
