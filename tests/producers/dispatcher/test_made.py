"""What a model made of late is listed, and betrays no model to somebody who votes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipeline.contracts.matchup import Matchup
from producers.artifacts.media import TEXT
from producers.dispatcher import made
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.types import Showing
from tests.producers.dispatcher.queues import (
    ARENA,
    DAY,
    MODELS,
    SECOND,
    START,
    TTL,
    Clock,
    make_custom,
    make_matchup,
    must_show,
    open_dispatcher,
    take_ready,
    work_off,
)

ALPHA = MODELS[0]


def vote(dispatcher: Dispatcher, showing: Showing, now: int = START) -> None:
    dispatcher.note_voted(showing.matchup.matchup_id, f"vote {showing.matchup.matchup_id}", now)


def show_and_vote(dispatcher: Dispatcher, now: int = START) -> Showing:
    showing = must_show(dispatcher, "v", now)
    vote(dispatcher, showing, now)
    return showing


def propose(dispatcher: Dispatcher, *matchups: Matchup) -> None:
    assert dispatcher.take_proposals(matchups, {}) == len(matchups)


def prompts(dispatcher: Dispatcher, model: str = ALPHA, limit: int = 12, arena: str = ARENA) -> list[str | None]:
    """The ids of the prompts of what is listed."""
    found = dispatcher.newest_artifacts(arena, model, limit)
    return [None if each.prompt is None else each.prompt.id for each in found]


def test_what_was_voted_on_is_listed_as_it_was_shown_the_newest_first(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 3)
    showings = [show_and_vote(dispatcher, START + turn * SECOND) for turn in range(3)]
    found = dispatcher.newest_artifacts(ARENA, ALPHA, 12)
    assert [each.shown_at for each in found] == [START + turn * SECOND for turn in (2, 1, 0)]
    for each, showing in zip(found, reversed(showings), strict=True):
        assert each.address == showing.slots[0].address
        assert each.prompt == showing.matchup.prompt
        assert each.media_type == TEXT
        artifact = dispatcher.artifact_at(each.address)
        assert artifact is not None
        assert each.prompt is not None
        assert dispatcher.artifacts.read(*artifact) == f"{ALPHA}: {each.prompt.text}".encode()
    assert prompts(dispatcher, limit=2) == ["p-3", "p-2"]


def test_nothing_of_another_model_or_arena_is_listed(dispatcher: Dispatcher) -> None:
    propose(dispatcher, make_matchup(1), make_matchup(2, arena="another"), make_matchup(3, models=MODELS[1:3]))
    work_off(dispatcher, START)
    work_off(dispatcher, START)
    for arena in (ARENA, ARENA, "another"):
        vote(dispatcher, must_show(dispatcher, "v", arena=arena))
    assert prompts(dispatcher) == ["p-1"]
    assert sorted(map(str, prompts(dispatcher, MODELS[1]))) == ["p-1", "p-3"]
    assert prompts(dispatcher, arena="another") == ["p-2"]
    assert prompts(dispatcher, "nobody") == prompts(dispatcher, arena="nowhere") == []


def test_what_nobody_voted_on_is_not_listed(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 3)
    assert prompts(dispatcher) == []
    claimed = must_show(dispatcher, "v")
    must_show(dispatcher, "v")
    dispatcher.claim_vote(claimed.matchup.matchup_id, "vote", START)
    assert prompts(dispatcher) == []
    dispatcher.expire(START + TTL)
    assert prompts(dispatcher) == []
    dispatcher.note_voted(claimed.matchup.matchup_id, "vote", START + TTL)
    assert prompts(dispatcher) == ["p-1"]


def test_what_a_model_refused_is_not_listed(dispatcher: Dispatcher) -> None:
    propose(dispatcher, make_matchup(1))
    jobs = dispatcher.lease_jobs("w", now=START)
    for job in jobs:
        assert job.model == ALPHA
        dispatcher.refuse_job(job.job_id, job.fence, "no", START)
    work_off(dispatcher, START)
    show_and_vote(dispatcher)
    assert prompts(dispatcher) == []
    assert prompts(dispatcher, MODELS[1]) == ["p-1"]


def test_what_came_of_a_typed_prompt_is_its_voters_own(dispatcher: Dispatcher) -> None:
    dispatcher.add_custom(make_custom(1), "v")
    work_off(dispatcher, START)
    show_and_vote(dispatcher)
    assert prompts(dispatcher) == []


def test_prompt_of_the_pool_that_a_voter_typed_before_is_listed_as_the_pools(dispatcher: Dispatcher) -> None:
    dispatcher.add_custom(make_custom(1), "v")
    work_off(dispatcher, START)
    show_and_vote(dispatcher)
    shared = make_matchup(2, text="a thing, number 1")
    propose(dispatcher, shared)  # the same job
    show_and_vote(dispatcher)
    assert prompts(dispatcher) == ["p-2"]


def test_what_a_voter_has_or_may_get_before_them_is_not_listed(dispatcher: Dispatcher) -> None:
    """The same artifact in a matchup that is proposed, ready, shown, voted on; of other models nothing is held back."""
    take_ready(dispatcher, 1)
    show_and_vote(dispatcher)
    assert prompts(dispatcher) == ["p-1"]
    again = make_matchup(2, text="a thing, number 1", models=(ALPHA, "epsilon"))
    propose(dispatcher, again)
    assert prompts(dispatcher) == []
    work_off(dispatcher, START)
    assert prompts(dispatcher) == []
    showing = must_show(dispatcher, "v")
    assert prompts(dispatcher) == []
    assert prompts(dispatcher, MODELS[1]) == ["p-1"]
    vote(dispatcher, showing)
    assert prompts(dispatcher) == ["p-1"]


def test_what_nobody_votes_on_any_more_is_listed_again(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 1)
    show_and_vote(dispatcher)
    propose(dispatcher, make_matchup(2, text="a thing, number 1"))
    must_show(dispatcher, "v")
    assert prompts(dispatcher) == []
    dispatcher.expire(START + TTL)
    assert prompts(dispatcher) == ["p-1"]


def work_off_alike(dispatcher: Dispatcher) -> None:
    """Make whatever is in demand; the first model makes the same of every prompt."""
    while jobs := dispatcher.lease_jobs("w", now=START):
        for job in jobs:
            made_of = b"always the same" if job.model == ALPHA else f"{job.model} {job.job_id}".encode()
            dispatcher.finish_job(job.job_id, job.fence, dispatcher.artifacts.put(made_of, TEXT), START)


def test_bytes_count_whatever_job_made_them(dispatcher: Dispatcher) -> None:
    """A voter sees bytes, not jobs: those of a job in another arena are as telling."""
    propose(dispatcher, make_matchup(1))
    work_off_alike(dispatcher)
    show_and_vote(dispatcher)
    assert prompts(dispatcher) == ["p-1"]
    propose(dispatcher, make_matchup(2, arena="another"))
    work_off_alike(dispatcher)
    assert prompts(dispatcher) == []
    vote(dispatcher, must_show(dispatcher, "v", arena="another"))
    assert prompts(dispatcher) == ["p-1"]


def test_each_artifact_is_listed_once(dispatcher: Dispatcher) -> None:
    """Two jobs that gave the same bytes are one artifact: the one that was shown last stands for both."""
    propose(dispatcher, make_matchup(1), make_matchup(2))
    work_off_alike(dispatcher)
    show_and_vote(dispatcher, START)
    show_and_vote(dispatcher, START + SECOND)
    assert prompts(dispatcher) == ["p-2"]
    assert sorted(map(str, prompts(dispatcher, MODELS[1]))) == ["p-1", "p-2"]


def test_artifact_keeps_its_address_when_it_is_voted_on_again(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 1)
    show_and_vote(dispatcher)
    before = dispatcher.newest_artifacts(ARENA, ALPHA, 12)
    propose(dispatcher, make_matchup(2, text="a thing, number 1"))
    show_and_vote(dispatcher, START + SECOND)
    assert dispatcher.newest_artifacts(ARENA, ALPHA, 12) == before


def test_no_more_is_looked_at_than_is_needed(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    take_ready(dispatcher, 3)
    for _ in range(3):
        show_and_vote(dispatcher)
    propose(dispatcher, make_matchup(4, text="a thing, number 3"))
    monkeypatch.setattr(made, "JOBS_SEEN", 2)
    assert prompts(dispatcher) == ["p-2"]
    dispatcher.expire(START + TTL)
    monkeypatch.setattr(made, "SLOTS_SEEN", 0)
    assert prompts(dispatcher) == []


def test_older_files_get_what_they_lack(tmp_path: Path, clock: Clock) -> None:
    with open_dispatcher(tmp_path, clock) as dispatcher:
        propose(dispatcher, make_matchup(1))
        work_off(dispatcher, START)
        show_and_vote(dispatcher)
    with sqlite3.connect(tmp_path / "queue.db", isolation_level=None) as older:
        older.execute("DROP INDEX made")
    older.close()
    with open_dispatcher(tmp_path, clock) as dispatcher:
        assert prompts(dispatcher) == ["p-1"]


def test_what_is_forgotten_is_not_listed(dispatcher: Dispatcher, clock: Clock) -> None:
    take_ready(dispatcher, 1)
    show_and_vote(dispatcher)
    clock.now = START + 8 * DAY
    dispatcher.purge(clock.now)
    assert prompts(dispatcher) == []
