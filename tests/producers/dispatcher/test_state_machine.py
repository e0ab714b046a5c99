"""Whatever happens in whatever order, the dispatcher does what a simple model of it does."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from producers.artifacts.media import TEXT
from producers.dispatcher.errors import AlreadyVoted, MatchupExpired, StaleFence, UnknownMatchup
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import JobState, MatchupState, Showing
from tests.producers.dispatcher.queues import (
    ARENA,
    MODELS,
    SECOND,
    Clock,
    make_matchup,
    open_dispatcher,
    prompt_of,
)
from tests.producers.dispatcher.simple_queue import JobKey, SimpleQueue

SETTINGS = DispatcherSettings(
    durable=False,
    ready_min=1_000,
    max_attempts=3,
    backoff_s=10,
    backoff_max_s=20,
    dead_rest_s=100,
    lead_s=1,
    lead_max_s=1,
)
LONGEST_PAUSE = 20 * SECOND
MODEL_SETS = st.lists(st.sampled_from(MODELS), min_size=2, max_size=4, unique=True).map(tuple)


class DispatcherMachine(RuleBasedStateMachine):
    """Runs a dispatcher and its model side by side."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kwise-queue-"))
        self.clock = Clock()
        self.dispatcher = open_dispatcher(self.folder, self.clock, SETTINGS)
        self.artifact = self.dispatcher.artifacts.put(b"made", TEXT)
        self.model = SimpleQueue(SETTINGS)
        self.loans: list[tuple[JobKey, str, int]] = []
        self.last_fence = 0
        self.openings = 1

    def teardown(self) -> None:
        if hasattr(self, "dispatcher"):
            self.dispatcher.close()
            shutil.rmtree(self.folder)

    @property
    def now(self) -> int:
        return self.clock.now

    @rule(
        numbers=st.lists(st.integers(1, 30), min_size=1, max_size=6),
        models=MODEL_SETS,
        text=st.sampled_from(["a", "b", "c"]),
        life=st.sampled_from([121, 200, 900, 3_600]),
        priority=st.sampled_from([0, 0, 0, 5]),
    )
    def take(self, numbers: list[int], models: tuple[str, ...], text: str, life: int, priority: int) -> None:
        expires = self.now + life * SECOND
        for number in numbers:
            matchup = make_matchup(number, models=models, text=text, expires=expires, priority=priority)
            assert self.dispatcher.take_proposals([matchup], {}) == self.model.take(matchup, self.now)

    @rule(
        max_jobs=st.integers(1, 3),
        resident=st.sets(st.sampled_from(MODELS), max_size=2),
        exclude=st.sampled_from([(), (), ("alpha",)]),
    )
    def lease(self, max_jobs: int, resident: set[str], exclude: tuple[str, ...]) -> None:
        self.loans += self.borrow(max_jobs, resident, exclude)

    @rule(batches=st.integers(1, 8), refuses=st.sampled_from(["", "", "beta"]))
    def work(self, batches: int, refuses: str) -> None:
        """A worker makes what there is, without any trouble."""
        for _ in range(batches):
            for key, job_id, fence in self.borrow(8, set(), ()):
                if key[0] == refuses:
                    self.dispatcher.refuse_job(job_id, fence, "no", self.now)
                    self.model.end(key, JobState.REFUSED)
                else:
                    self.dispatcher.finish_job(job_id, fence, self.artifact, self.now)
                    self.model.end(key, JobState.DONE)

    def borrow(self, max_jobs: int, resident: set[str], exclude: tuple[str, ...]) -> list[tuple[JobKey, str, int]]:
        self.dispatcher.lease_jobs("serves all", max_jobs=0, now=self.now)
        self.model.lapse(self.now)
        must = {key for key in self.model.must_lease(self.now) if key[0] not in exclude}
        jobs = self.dispatcher.lease_jobs("w", resident=resident, exclude=exclude, max_jobs=max_jobs, now=self.now)
        assert len(jobs) <= max_jobs
        assert jobs or not must
        assert len({job.model for job in jobs}) <= 1
        loans = []
        for job in jobs:
            assert job.model not in exclude
            assert job.fence > self.last_fence
            self.last_fence = job.fence
            key = (job.model, str(prompt_of(job).text))
            self.model.lease(key, job.fence, self.now)
            assert job.attempt == self.model.jobs[key].attempts
            loans.append((key, job.job_id, job.fence))
        return loans

    @precondition(lambda self: self.loans)
    @rule(data=st.data(), refused=st.booleans())
    def hand_in(self, data: st.DataObject, refused: bool) -> None:
        key, job_id, fence = data.draw(st.sampled_from(self.loans))
        state = JobState.REFUSED if refused else JobState.DONE
        held = self.model.is_held(key, fence, also=state)
        try:
            if refused:
                self.dispatcher.refuse_job(job_id, fence, "no", self.now)
            else:
                self.dispatcher.finish_job(job_id, fence, self.artifact, self.now)
            assert held
            self.model.end(key, state)
        except StaleFence:
            assert not held

    @precondition(lambda self: self.loans)
    @rule(data=st.data(), retriable=st.booleans())
    def fail(self, data: st.DataObject, retriable: bool) -> None:
        key, job_id, fence = data.draw(st.sampled_from(self.loans))
        held = self.model.is_held(key, fence)
        try:
            state = self.dispatcher.fail_job(job_id, fence, "broken", self.now, retriable=retriable)
            assert held
            assert state is self.model.fail(key, self.now, retriable=retriable)
        except StaleFence:
            assert not held

    @precondition(lambda self: self.loans)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        key, job_id, fence = data.draw(st.sampled_from(self.loans))
        held = self.model.is_held(key, fence)
        try:
            self.dispatcher.release_job(job_id, fence, self.now)
            assert held
            self.model.release(key)
        except StaleFence:
            assert not held

    @precondition(lambda self: self.loans)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        key, job_id, fence = data.draw(st.sampled_from(self.loans))
        lost = self.dispatcher.heartbeat("w", [(job_id, fence)], self.now)
        assert lost == ([] if self.model.beat(key, fence, self.now) else [job_id])

    @rule(voter=st.sampled_from(["v1", "v2"]))
    def show(self, voter: str) -> None:
        expected = self.model.next_shown(self.now)
        answer = self.dispatcher.show_next(ARENA, voter, self.now)
        if not isinstance(answer, Showing):
            assert expected is None
            return
        shown = self.model.matchups[answer.matchup.matchup_id]
        assert answer.matchup.matchup_id == expected
        assert not shown.shown
        refused = [self.model.jobs[key].state is JobState.REFUSED for key in shown.jobs]
        assert [slot.refused for slot in answer.slots] == refused
        assert not all(refused)
        shown.state, shown.shown = MatchupState.SHOWN, True

    @precondition(lambda self: self.model.matchups)
    @rule(data=st.data(), vote=st.sampled_from(["x", "x", "y"]), claim=st.booleans())
    def vote(self, data: st.DataObject, vote: str, claim: bool) -> None:
        shown = [each for each, matchup in self.model.matchups.items() if matchup.shown]
        matchup_id = data.draw(st.sampled_from(shown or sorted(self.model.matchups)))
        known = self.model.matchups.get(matchup_id)
        act = self.dispatcher.claim_vote if claim else self.dispatcher.note_voted
        try:
            act(matchup_id, vote, self.now)
        except UnknownMatchup:
            assert known is None or not known.shown
        except AlreadyVoted:
            assert known is not None
            assert known.vote not in {None, vote}
        except MatchupExpired:
            assert known is not None
            assert known.vote is None
            assert known.matchup.expires <= self.now
        else:
            assert known is not None
            assert known.shown
            assert known.vote in {None, vote}
            known.vote = vote
            known.state = known.state if claim else MatchupState.VOTED

    @rule()
    def expire(self) -> None:
        found = self.dispatcher.expire(self.now)
        assert (found.unmade, found.ready, found.shown) == self.model.expire(self.now)

    @rule(seconds=st.sampled_from([20, 61, 120, 1_000]))
    def wait(self, seconds: int) -> None:
        """Every pause after a failure is over then."""
        self.clock.now += seconds * SECOND
        assert seconds * SECOND >= LONGEST_PAUSE
        for job in self.model.jobs.values():
            job.paused = False

    @rule()
    def reopen(self) -> None:
        self.dispatcher.close()
        self.openings += 1
        self.dispatcher = open_dispatcher(self.folder, self.clock, SETTINGS, seed=self.openings)

    @invariant()
    def queue_is_as_the_model_says(self) -> None:
        if not self.model.matchups:
            return
        counts = self.dispatcher.counts(self.now).arenas[ARENA]
        states = Counter(each.state for each in self.model.matchups.values())
        assert counts.proposed + counts.leased == states[MatchupState.PROPOSED]
        assert (counts.ready, counts.shown) == (states[MatchupState.READY], states[MatchupState.SHOWN])
        assert counts.cancelled == states[MatchupState.CANCELLED]
        assert counts.voted == states[MatchupState.VOTED]
        assert counts.shown_ever == sum(each.shown for each in self.model.matchups.values())
        assert counts.taken == len(self.model.matchups)
        leased = {key for key, job in self.model.jobs.items() if job.state is JobState.LEASED}
        assert counts.jobs_leased == len(leased)
        in_work = [
            each
            for each in self.model.matchups.values()
            if each.state is MatchupState.PROPOSED and leased.intersection(each.jobs)
        ]
        assert counts.leased == len(in_work)


TestDispatcher = DispatcherMachine.TestCase
TestDispatcher.settings = profile(max_examples=60, stateful_step_count=50)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_for_longer() -> None:
    run_state_machine_as_test(DispatcherMachine, settings=profile(max_examples=1_500, stateful_step_count=80))
