"""Jobs are lent in batches of one model, under fences, by demand."""

from __future__ import annotations

import random

import pytest

from producers.artifacts.media import TEXT
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import StaleFence
from producers.dispatcher.jobs import draw_backoff
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import JobState
from tests.producers.dispatcher.queues import (
    ARENA,
    MINUTE,
    MODELS,
    SECOND,
    START,
    TTL,
    Clock,
    finish,
    lease_model,
    make_custom,
    make_matchup,
    must_show,
    prompt_of,
    work_off,
)

LEASE = 60 * SECOND


def take(dispatcher: Dispatcher, count: int, **options: object) -> None:
    dispatcher.take_proposals([make_matchup(number, **options) for number in range(1, count + 1)], {})  # type: ignore[arg-type]


def test_a_batch_is_of_one_arena_and_model(dispatcher: Dispatcher) -> None:
    take(dispatcher, 3)
    dispatcher.take_proposals([make_matchup(9, arena="another")], {})
    jobs = dispatcher.lease_jobs("w", max_jobs=8, now=START)
    assert len(jobs) == 3
    assert {(job.arena, job.model) for job in jobs} == {(ARENA, jobs[0].model)}
    assert len({job.fence for job in jobs}) == 3
    assert all(job.attempt == 1 for job in jobs)


def test_no_more_are_lent_than_were_asked_for(dispatcher: Dispatcher) -> None:
    take(dispatcher, 5)
    assert len(dispatcher.lease_jobs("w", max_jobs=2, now=START)) == 2
    assert len(dispatcher.lease_jobs("w", max_jobs=0, now=START)) == 0


def test_loaded_models_go_first(dispatcher: Dispatcher) -> None:
    take(dispatcher, 3)
    assert {job.model for job in dispatcher.lease_jobs("w", resident=["gamma"], now=START)} == {"gamma"}


def test_of_the_others_the_one_with_most_to_do_goes_first(dispatcher: Dispatcher) -> None:
    dispatcher.take_proposals(
        [make_matchup(1, models=("alpha", "beta")), make_matchup(2, models=("gamma", "beta"))], {}
    )
    assert {job.model for job in dispatcher.lease_jobs("w", now=START)} == {"beta"}


def test_a_worker_gets_what_it_can_make(dispatcher: Dispatcher) -> None:
    take(dispatcher, 2)
    assert {job.model for job in lease_model(dispatcher, "delta", START)} == {"delta"}
    assert lease_model(dispatcher, "omega", START) == ()
    assert dispatcher.lease_jobs("w", arenas=["another"], now=START) == ()
    assert dispatcher.lease_jobs("w", exclude=MODELS, now=START) == ()
    assert {job.model for job in dispatcher.lease_jobs("w", exclude=["alpha", "beta", "delta"], now=START)} == {"gamma"}


def test_a_custom_prompt_goes_before_everything(dispatcher: Dispatcher) -> None:
    take(dispatcher, 3, priority=10)
    dispatcher.add_custom(make_custom(9), "v")
    jobs = dispatcher.lease_jobs("w", resident=["alpha"], now=START)
    assert prompt_of(jobs[0]).id == "c-9"
    while jobs:
        finish(dispatcher, jobs, START)
        jobs = dispatcher.lease_jobs("w", max_jobs=1, now=START)
        if not any(prompt_of(job).id == "c-9" for job in jobs):
            break
    assert dispatcher.counts(START).arenas[ARENA].ready == 1


def test_a_job_on_loan_is_not_lent_again(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    seen = [dispatcher.lease_jobs(f"w{turn}", now=START) for turn in range(5)]
    assert [len(jobs) for jobs in seen] == [1, 1, 1, 1, 0]
    assert {job.model for jobs in seen for job in jobs} == set(MODELS)


def test_a_silent_worker_loses_its_job_to_the_next(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    (first,) = lease_model(dispatcher, "alpha", START, worker="w1")
    assert lease_model(dispatcher, "alpha", START + LEASE - 1, worker="w2") == ()
    (second,) = lease_model(dispatcher, "alpha", START + LEASE, worker="w2")
    assert second.job_id == first.job_id
    assert second.fence > first.fence
    assert second.attempt == 2
    artifact = dispatcher.artifacts.put(b"late", TEXT)
    for refused in (
        lambda: dispatcher.check_fence(first.job_id, first.fence),
        lambda: dispatcher.finish_job(first.job_id, first.fence, artifact, START + LEASE),
        lambda: dispatcher.refuse_job(first.job_id, first.fence, "no", START + LEASE),
        lambda: dispatcher.fail_job(first.job_id, first.fence, "no", START + LEASE),
        lambda: dispatcher.release_job(first.job_id, first.fence, START + LEASE),
    ):
        with pytest.raises(StaleFence):
            refused()
    assert dispatcher.heartbeat("w1", [(first.job_id, first.fence)], START + LEASE) == [first.job_id]
    assert dispatcher.heartbeat("w2", [(second.job_id, second.fence)], START + LEASE) == []
    finish(dispatcher, [second], START + LEASE)


def test_a_slow_worker_may_hand_in_what_nobody_else_has(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    (job,) = lease_model(dispatcher, "alpha", START, worker="w1")
    dispatcher.expire(START + LEASE)
    assert dispatcher.counts(START + LEASE).arenas[ARENA].jobs_leased == 0
    assert dispatcher.heartbeat("w1", [(job.job_id, job.fence)], START + LEASE) == []
    assert dispatcher.counts(START + LEASE).arenas[ARENA].jobs_leased == 1
    dispatcher.expire(START + 2 * LEASE)
    finish(dispatcher, [job], START + 2 * LEASE)


def test_heartbeats_keep_a_job(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    (job,) = lease_model(dispatcher, "alpha", START, worker="w1")
    for beat in range(1, 10):
        now = START + beat * LEASE // 2
        assert dispatcher.heartbeat("w1", [(job.job_id, job.fence)], now) == []
        assert lease_model(dispatcher, "alpha", now, worker="w2") == ()


def test_a_worker_drops_what_nobody_wants(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    (doomed,) = lease_model(dispatcher, "alpha", START, worker="w1")
    (useless,) = lease_model(dispatcher, "beta", START, worker="w2")
    dispatcher.fail_job(doomed.job_id, doomed.fence, "broken", START, retriable=False)
    assert dispatcher.heartbeat("w2", [(useless.job_id, useless.fence)], START) == [useless.job_id]
    assert dispatcher.lease_jobs("w2", now=START) == ()


def test_handing_in_again_is_the_same_as_once(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    (job,) = lease_model(dispatcher, "alpha", START)
    finish(dispatcher, [job, job], START)
    assert dispatcher.counts(START).arenas[ARENA].jobs_done == 1
    with pytest.raises(StaleFence):
        dispatcher.refuse_job(job.job_id, job.fence, "no", START)


def test_an_unknown_job_is_stale(dispatcher: Dispatcher) -> None:
    with pytest.raises(StaleFence, match="there is no job"):
        dispatcher.check_fence("0" * 32, 1)
    assert dispatcher.heartbeat("w", [("nonsense", 1)], START) == ["nonsense"]


def test_a_failed_job_waits_longer_and_longer_and_is_dead_at_last(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    settings = dispatcher.settings
    now, pauses = START, []
    for attempt in range(1, settings.max_attempts + 1):
        (job,) = lease_model(dispatcher, "alpha", now)
        assert job.attempt == attempt
        state = dispatcher.fail_job(job.job_id, job.fence, "out of memory", now)
        if attempt == settings.max_attempts:
            assert state is JobState.DEAD
            break
        assert state is JobState.WAITING
        longest = round(settings.backoff_s * 2 ** (attempt - 1) * SECOND)
        assert lease_model(dispatcher, "alpha", now + longest // 2 - 1) == ()
        now += longest
        pauses.append(longest)
    assert pauses == sorted(set(pauses))
    counts = dispatcher.counts(now).arenas[ARENA]
    assert (counts.cancelled, counts.jobs_dead, counts.jobs_failed) == (1, 1, settings.max_attempts)


@pytest.mark.parametrize("attempts", [1, 2, 3, 10, 100_000])
def test_backoff_doubles_up_to_its_limit(attempts: int) -> None:
    settings = DispatcherSettings()
    longest = min(settings.backoff_s * 2 ** min(attempts - 1, 40), settings.backoff_max_s) * 1000
    drawn = [draw_backoff(attempts, settings, random.Random(seed)) for seed in range(200)]
    assert longest / 2 <= min(drawn) < 0.6 * longest
    assert 0.9 * longest < max(drawn) <= longest


def test_a_job_whose_workers_die_is_dead_at_last(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    now = START
    for _ in range(dispatcher.settings.max_attempts):
        assert len(lease_model(dispatcher, "alpha", now)) == 1
        now += LEASE
    assert lease_model(dispatcher, "alpha", now) == ()
    counts = dispatcher.counts(now).arenas[ARENA]
    assert (counts.jobs_lapsed, counts.jobs_dead, counts.cancelled) == (4, 1, 1)


def test_a_job_given_back_costs_no_attempt(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    for _ in range(2 * dispatcher.settings.max_attempts):
        (job,) = lease_model(dispatcher, "alpha", START)
        assert job.attempt == 1
        dispatcher.release_job(job.job_id, job.fence, START)


def test_a_matchup_with_a_dead_job_is_never_shown(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1)
    (job,) = lease_model(dispatcher, "alpha", START)
    finished = lease_model(dispatcher, "beta", START)
    finish(dispatcher, finished, START)
    dispatcher.fail_job(job.job_id, job.fence, "broken", START, retriable=False)
    assert work_off(dispatcher, START) == 0
    assert not hasattr(dispatcher.show_next(ARENA, "v", START), "matchup")
    assert dispatcher.counts(START).arenas[ARENA].cancelled == 1


def test_a_refusal_is_shown_and_all_refusals_cancel(dispatcher: Dispatcher) -> None:
    take(dispatcher, 2)
    for model in MODELS:
        for job in lease_model(dispatcher, model, START):
            if prompt_of(job).id == "p-1" or model == "beta":
                dispatcher.refuse_job(job.job_id, job.fence, "not this", START)
                dispatcher.refuse_job(job.job_id, job.fence, "not this", START)
            else:
                finish(dispatcher, [job], START)
    showing = must_show(dispatcher, "v")
    assert showing.matchup.matchup_id == make_matchup(2).matchup_id
    assert [slot.refused for slot in showing.slots] == [False, True, False, False]
    assert showing.slots[1].media_type is None
    counts = dispatcher.counts(START).arenas[ARENA]
    assert (counts.cancelled, counts.jobs_refused, counts.ready) == (1, 5, 0)


def test_one_broken_model_does_not_hold_up_the_others(dispatcher: Dispatcher) -> None:
    """A model that no worker serves, or that pauses after a failure, is no part of what is in the making."""
    dispatcher.take_proposals([make_matchup(number, models=("alpha", "lost")) for number in range(1, 601)], {})
    dispatcher.take_proposals([make_matchup(number, models=("alpha", "beta")) for number in range(601, 611)], {})
    done = 0
    while jobs := dispatcher.lease_jobs("w", models=["alpha", "beta"], now=START):
        finish(dispatcher, jobs, START)
        done += len(jobs)
    assert done == 20
    assert dispatcher.counts(START).arenas[ARENA].ready == 10


def test_what_was_begun_long_ago_goes_before_loaded_models(dispatcher: Dispatcher) -> None:
    take(dispatcher, 1, models=("alpha", "rare"))
    finish(dispatcher, dispatcher.lease_jobs("w", resident=["alpha"], now=START), START)
    now = START + 31 * SECOND
    dispatcher.take_proposals(
        [make_matchup(number, models=("alpha", "beta"), expires=START + TTL) for number in range(2, 9)], {}
    )
    assert {job.model for job in dispatcher.lease_jobs("w1", resident=["alpha"], now=START + 5 * SECOND)} == {"alpha"}
    assert {job.model for job in dispatcher.lease_jobs("w2", resident=["beta"], now=now)} == {"rare"}


def test_a_matchup_too_old_to_be_made_in_time_is_not_begun(dispatcher: Dispatcher) -> None:
    settings = dispatcher.settings
    horizon = START + round((settings.min_vote_s + settings.lead_s) * SECOND)
    dispatcher.take_proposals([make_matchup(1, expires=horizon), make_matchup(2, expires=horizon + 1)], {})
    jobs = dispatcher.lease_jobs("w", now=START)
    assert [prompt_of(job).id for job in jobs] == ["p-2"]


def test_nothing_is_lent_after_the_end_was_announced(dispatcher: Dispatcher, clock: Clock) -> None:
    take(dispatcher, 1)
    (job,) = lease_model(dispatcher, "alpha", START)
    dispatcher.stop_leasing()
    assert not dispatcher.is_leasing
    assert dispatcher.lease_jobs("w", now=START) == ()
    finish(dispatcher, [job], START + MINUTE)
