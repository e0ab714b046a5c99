"""Whether a board is live: judged from the job's heartbeat and from the newest vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from dashboard.formatting import format_ago

State = Literal["live", "quiet", "stalled"]

STALLED_AFTER: Final = 10_000
"""ms without a heartbeat. The job writes one every 0.5 s; a slow disk or a long commit may hold up a few."""
QUIET_AFTER: Final = 30_000
"""ms without a vote: a community's arena sees one every few seconds while people are there."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """A state, and the reason for it in words. The newest vote's age in ms, None without one."""

    state: State
    reason: str
    vote_age: int | None

    @property
    def label(self) -> str:
        """The state as a heading."""
        return self.state.capitalize()


def judge_freshness(now: int, heartbeat: int | None, newest_vote: int | None) -> Freshness:
    """Judge at `now`; all times in ms since 1970. A clock that runs ahead of ours counts as now."""
    heartbeat_age = None if heartbeat is None else max(0, now - heartbeat)
    vote_age = None if newest_vote is None else max(0, now - newest_vote)
    state: State
    if heartbeat_age is None:
        state, reason = "stalled", "no job has reported"
    elif heartbeat_age > STALLED_AFTER:
        state, reason = "stalled", f"job last seen {format_ago(heartbeat_age)}"
    elif vote_age is None:
        state, reason = "quiet", "job runs, no votes yet"
    elif vote_age > QUIET_AFTER:
        state, reason = "quiet", "job runs, no new votes"
    else:
        state, reason = "live", f"job seen {format_ago(heartbeat_age)}"
    return Freshness(state, reason, vote_age)
