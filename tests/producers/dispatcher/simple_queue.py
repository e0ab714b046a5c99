"""What the dispatcher is to do, as plainly as it can be said: dictionaries, and no cleverness."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.contracts.matchup import Matchup
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import JobState, MatchupState

JobKey = tuple[str, str]
"""Model and text: all that tells jobs apart in the test."""


@dataclass(slots=True)
class SimpleJob:
    """A job. `fence` is None when nobody may hand it in."""

    state: JobState = JobState.WAITING
    fence: int | None = None
    attempts: int = 0
    lease_until: int = 0
    paused: bool = False
    died_at: int = 0


@dataclass(slots=True)
class SimpleMatchup:
    """A matchup, its jobs in slot order, and its vote."""

    matchup: Matchup
    jobs: list[JobKey]
    state: MatchupState = MatchupState.PROPOSED
    vote: str | None = None
    shown: bool = False


@dataclass(slots=True)
class SimpleQueue:
    """The queue of one arena. Pauses after failures end when the test says so: their length is random."""

    settings: DispatcherSettings
    matchups: dict[str, SimpleMatchup] = field(default_factory=dict)
    jobs: dict[JobKey, SimpleJob] = field(default_factory=dict)

    def latest(self, now: int) -> int:
        return now + round(self.settings.min_vote_s * 1000)

    def take(self, matchup: Matchup, now: int) -> bool:
        if matchup.matchup_id in self.matchups or matchup.expires <= self.latest(now):
            return False
        assert matchup.prompt is not None
        keys = [(model, str(matchup.prompt.text)) for model in matchup.models]
        for key in keys:
            job = self.jobs.setdefault(key, SimpleJob())
            if job.state is JobState.DEAD and now - job.died_at >= self.settings.dead_rest_s * 1000:
                self.jobs[key] = SimpleJob()
        taken = self.matchups[matchup.matchup_id] = SimpleMatchup(matchup, keys)
        self.settle(taken)
        return True

    def settle(self, matchup: SimpleMatchup) -> None:
        """Give a proposed matchup the state that follows from its jobs."""
        states = {self.jobs[key].state for key in matchup.jobs}
        if matchup.state is not MatchupState.PROPOSED:
            return
        if JobState.DEAD in states or states == {JobState.REFUSED}:
            matchup.state = MatchupState.CANCELLED
        elif states <= {JobState.DONE, JobState.REFUSED}:
            matchup.state = MatchupState.READY

    def settle_all(self) -> None:
        for matchup in self.matchups.values():
            self.settle(matchup)

    def is_wanted(self, key: JobKey) -> bool:
        return any(each.state is MatchupState.PROPOSED and key in each.jobs for each in self.matchups.values())

    def lapse(self, now: int) -> None:
        for job in self.jobs.values():
            if job.state is JobState.LEASED and job.lease_until <= now:
                if job.attempts >= self.settings.max_attempts:
                    job.state, job.fence, job.died_at = JobState.DEAD, None, now
                else:
                    job.state = JobState.WAITING
        self.settle_all()

    def must_lease(self, now: int) -> set[JobKey]:
        """Return jobs of which at least one must be lent to whoever asks: of matchups that can go on."""
        worth = self.latest(now) + round(self.settings.lead_s * 1000)
        found: set[JobKey] = set()
        for matchup in self.matchups.values():
            if matchup.state is MatchupState.PROPOSED and matchup.matchup.expires > worth:
                waiting = {key for key in matchup.jobs if self.jobs[key].state is JobState.WAITING}
                if not any(self.jobs[key].paused for key in waiting):
                    found |= waiting
        return found

    def lease(self, key: JobKey, fence: int, now: int) -> None:
        job = self.jobs[key]
        assert job.state is JobState.WAITING
        assert not job.paused
        assert self.is_wanted(key)
        job.state, job.fence, job.attempts = JobState.LEASED, fence, job.attempts + 1
        job.lease_until = now + round(self.settings.lease_s * 1000)

    def is_held(self, key: JobKey, fence: int, also: JobState | None = None) -> bool:
        job = self.jobs[key]
        return job.fence == fence and job.state in {JobState.WAITING, JobState.LEASED, also}

    def beat(self, key: JobKey, fence: int, now: int) -> bool:
        """Return whether the job is kept."""
        if not self.is_held(key, fence):
            return False
        if not self.is_wanted(key):
            self.release(key)
            return False
        job = self.jobs[key]
        job.state, job.lease_until = JobState.LEASED, now + round(self.settings.lease_s * 1000)
        return True

    def end(self, key: JobKey, state: JobState) -> None:
        self.jobs[key].state = state
        self.settle_all()

    def fail(self, key: JobKey, now: int, *, retriable: bool) -> JobState:
        job = self.jobs[key]
        job.fence = None
        if retriable and job.attempts < self.settings.max_attempts:
            job.state, job.paused = JobState.WAITING, True
        else:
            job.state, job.died_at = JobState.DEAD, now
        self.settle_all()
        return job.state

    def release(self, key: JobKey) -> None:
        job = self.jobs[key]
        job.state, job.fence, job.attempts = JobState.WAITING, None, job.attempts - 1

    def next_shown(self, now: int) -> str | None:
        ready = [
            (-each.matchup.priority, each.matchup.expires, place, each.matchup.matchup_id)
            for place, each in enumerate(self.matchups.values())
            if each.state is MatchupState.READY and each.matchup.expires > self.latest(now)
        ]
        return min(ready)[-1] if ready else None

    def expire(self, now: int) -> tuple[int, int, int]:
        self.lapse(now)
        counts = {MatchupState.PROPOSED: 0, MatchupState.READY: 0, MatchupState.SHOWN: 0}
        for each in self.matchups.values():
            limit = now if each.state is MatchupState.SHOWN else self.latest(now)
            if each.state in counts and each.matchup.expires <= limit:
                counts[each.state] += 1
                each.state = MatchupState.EXPIRED
        return counts[MatchupState.PROPOSED], counts[MatchupState.READY], counts[MatchupState.SHOWN]
