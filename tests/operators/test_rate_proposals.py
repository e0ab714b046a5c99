"""Proposals in commits: the outbox, expiry, answers, and what a reload brings back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.contracts.log import EMPTY_BATCH
from pipeline.operators.proposals import Proposer
from pipeline.operators.rate import Rate, RateSettings
from pipeline.store.duck_store import DuckStore
from tests.operators.feeding import (
    NO_VOTES,
    START,
    Feed,
    arena_events,
    make_vote,
    opened,
    process_events,
    process_votes,
    state_of,
)

SEEDED = RateSettings(seed=11)
TTL_MS = 60_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckStore]:
    """A new store."""
    with opened(tmp_path / "store") as made:
        yield made


def started(store: DuckStore, feed: Feed) -> Rate:
    """Return an operator with one arena that keeps four matchups open."""
    rate = Rate(store, SEEDED)
    settings = {"open_min": 4, "open_max": 40, "matchup_ttl_seconds": TTL_MS / 1000}
    process_events(rate, feed.control(*arena_events(settings=settings)))
    return rate


def test_proposals_are_part_of_the_commit_whose_state_they_are_made_from(store: DuckStore) -> None:
    rate = started(store, Feed())
    committed = rate.commit(START)
    assert committed is not None
    assert committed.changed == ("pictures",)
    assert len(committed.outbox) == 4
    assert {matchup.commit for matchup in committed.outbox} == {committed.number}
    assert list(rate.undelivered.values()) == list(committed.outbox)
    assert store.load().outbox == committed.outbox


def test_the_outbox_is_kept_until_it_is_delivered(store: DuckStore) -> None:
    feed = Feed()
    rate = started(store, feed)
    rate.commit(START)
    waiting = list(rate.undelivered)
    again = Rate(store, SEEDED)
    assert list(again.undelivered) == waiting
    again.mark_delivered(waiting[:3])
    assert list(again.undelivered) == waiting[3:]
    assert list(Rate(store, SEEDED).undelivered) == waiting  # no commit has noted it yet
    third = Rate(store, SEEDED)
    third.mark_delivered(waiting[:3])
    process_votes(third, feed.votes([make_vote(1)]))
    third.commit(START)
    assert list(Rate(store, SEEDED).undelivered) == waiting[3:]


def test_nothing_is_proposed_again_while_nothing_happens(store: DuckStore) -> None:
    rate = started(store, Feed())
    rate.commit(START)
    assert rate.commit(START + 500) is None
    assert Rate(store, SEEDED).commit(START + 1000) is None


def test_expired_matchups_are_renewed_without_votes(store: DuckStore) -> None:
    rate = started(store, Feed())
    first = rate.commit(START)
    assert first is not None
    rate.process(START + TTL_MS, EMPTY_BATCH, NO_VOTES)
    second = Rate(store, SEEDED).commit(START + TTL_MS)
    assert second is not None
    assert second.changed == ("pictures",)
    assert len(second.outbox) == 4
    assert not {matchup.matchup_id for matchup in first.outbox} & {matchup.matchup_id for matchup in second.outbox}


@pytest.mark.parametrize("reload", [False, True])
def test_an_answer_closes_its_matchup_and_a_new_one_is_opened(reload: bool, store: DuckStore) -> None:
    feed = Feed()
    rate = started(store, feed)
    first = rate.commit(START)
    assert first is not None
    answered = first.outbox[1]
    if reload:
        rate = Rate(store, SEEDED)
    elsewhere = make_vote(1, matchup_id=first.outbox[0].matchup_id, arena="films")  # a dead letter
    vote = make_vote(2, matchup_id=answered.matchup_id, models=answered.models)
    process_votes(rate, feed.votes([elsewhere, vote, make_vote(3)]))
    assert set(rate.book.arenas["pictures"].open_matchups) == {m.matchup_id for m in first.outbox} - {
        answered.matchup_id
    }
    second = rate.commit(START)
    assert second is not None
    assert len(second.outbox) == 1
    again = Rate(store, SEEDED)
    assert again.book.arenas["pictures"].open_matchups == rate.book.arenas["pictures"].open_matchups
    late = make_vote(4, matchup_id=second.outbox[0].matchup_id)
    process_votes(again, feed.votes([late]))
    assert second.outbox[0].matchup_id not in again.book.arenas["pictures"].open_matchups


def test_a_refused_answer_closes_nothing(store: DuckStore) -> None:
    feed = Feed()
    rate = started(store, feed)
    first = rate.commit(START)
    assert first is not None
    process_votes(rate, feed.votes([make_vote(1, matchup_id=first.outbox[0].matchup_id, ranks=(1,))]))
    assert len(rate.book.arenas["pictures"].open_matchups) == 4


def test_matchups_are_opened_for_the_rate_of_the_last_minute(store: DuckStore) -> None:
    feed = Feed()
    rate = started(store, feed)
    rate.commit(START)
    process_votes(rate, feed.votes([make_vote(number) for number in range(60)]), now=START)
    rate.commit(START)
    assert len(rate.book.arenas["pictures"].open_matchups) == 30


def test_seeded_runs_propose_the_same(store: DuckStore, tmp_path: Path) -> None:
    with opened(tmp_path / "other") as other:
        rates = []
        for each in (store, other):
            feed = Feed()
            rate = started(each, feed)
            for number in range(5):
                process_votes(rate, feed.votes([make_vote(number)]), now=START + number)
                rate.commit(START + number)
                if each is other:
                    rate = Rate(other, SEEDED)
            rates.append(rate)
        ours, theirs = map(state_of, rates)
        assert ours == theirs


def test_a_retired_model_is_proposed_no_more(store: DuckStore) -> None:
    feed = Feed()
    rate = started(store, feed)
    rate.commit(START)
    process_events(rate, feed.control({"type": "model.retire", "arena": "pictures", "model": "alpha"}))
    renewed = rate.commit(START + TTL_MS)
    assert renewed is not None
    assert all("alpha" not in matchup.models for matchup in renewed.outbox)
    retire = [{"type": "model.retire", "arena": "pictures", "model": model} for model in ("beta", "gamma")]
    process_events(rate, feed.control(*retire))
    last = rate.commit(START + 2 * TTL_MS)
    assert last is not None
    assert last.outbox == ()
    assert rate.book.arenas["pictures"].open_matchups == {}


def test_without_proposals_none_are_made_and_none_expire(store: DuckStore) -> None:
    rate = started(store, Feed())
    rate.commit(START)
    quiet = Rate(store, RateSettings(propose=False))
    assert quiet.commit(START + 10 * TTL_MS) is None
    assert len(quiet.book.arenas["pictures"].open_matchups) == 4


def test_a_proposer_delivers_at_a_later_commit_what_was_asked_at_an_earlier_one(store: DuckStore) -> None:
    proposer = Proposer()
    rate = Rate(store, RateSettings(), proposer=proposer)
    process_events(rate, Feed().control(*arena_events(settings={"open_min": 4, "matchup_ttl_seconds": 60})))
    first = rate.commit(START)
    assert first is not None
    assert first.outbox == ()
    proposer.close()  # when what is under way is done
    second = rate.commit(START + 500)
    assert second is not None
    assert len(second.outbox) == 4
    assert {matchup.commit for matchup in second.outbox} == {first.number}
    assert rate.commit(START + 1000) is None
