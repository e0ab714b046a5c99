"""Retractions through the whole operator: with commits before and after, in one poll with votes, and over reloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.contracts.vote import Vote
from pipeline.operators.rate import Rate
from pipeline.store.duck_store import DuckStore
from tests.operators.feeding import (
    NO_PROPOSALS,
    START,
    Feed,
    archive_of,
    arena_events,
    make_vote,
    opened,
    process_events,
    process_votes,
    state_of,
)

BOT = "v2"
VOTES = [make_vote(number, arena=("pictures", "films")[number % 3 == 0]) for number in range(60)]
RETRACT = {"type": "voters.retract", "voters": [BOT]}
RESTORE = {"type": "voters.restore", "voters": [BOT]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckStore]:
    """A new store."""
    with opened(tmp_path / "store") as made:
        yield made


def rate_plainly(store: DuckStore, votes: list[Vote]) -> dict[str, Any]:
    """Return what votes come to without any retraction."""
    feed, rate = Feed(), Rate(store, NO_PROPOSALS)
    process_events(rate, feed.control(*arena_events(), *arena_events("films")))
    process_votes(rate, feed.votes(votes))
    rate.commit(START)
    return state_of(rate, with_votes_only=True)


Scenario = Callable[[DuckStore, Feed, Rate], Rate]


def at_the_end(store: DuckStore, feed: Feed, rate: Rate) -> Rate:
    process_votes(rate, feed.votes(VOTES))
    rate.commit(START)
    process_events(rate, feed.control(RETRACT))
    return rate


def at_the_beginning(store: DuckStore, feed: Feed, rate: Rate) -> Rate:
    process_events(rate, feed.control(RETRACT))
    rate.commit(START)
    process_votes(rate, feed.votes(VOTES))
    return rate


def in_one_poll(store: DuckStore, feed: Feed, rate: Rate) -> Rate:
    process_votes(rate, feed.votes(VOTES[:20]))
    rate.commit(START)
    process_votes(rate, feed.votes(VOTES[20:40]))
    rate.process(START, feed.control(RETRACT), feed.votes(VOTES[40:]))
    return rate


def without_any_commit(store: DuckStore, feed: Feed, rate: Rate) -> Rate:
    process_votes(rate, feed.votes(VOTES[:40]))
    rate.process(START, feed.control(RETRACT), feed.votes(VOTES[40:]))
    return rate


def over_reloads(store: DuckStore, feed: Feed, rate: Rate) -> Rate:
    for first in range(0, 60, 10):
        control = feed.control(*([RETRACT] if first == 20 else []))
        rate.process(START, control, feed.votes(VOTES[first : first + 10]))
        rate.commit(START)
        rate = Rate(store, NO_PROPOSALS)
    return rate


def arena_by_arena(store: DuckStore, feed: Feed, rate: Rate) -> Rate:
    process_votes(rate, feed.votes(VOTES[:30]))
    process_events(rate, feed.control(RETRACT | {"arena": "films"}))
    rate.commit(START)
    process_events(rate, feed.control(RETRACT | {"arena": "pictures"}))
    process_votes(rate, feed.votes(VOTES[30:]))
    return rate


def by_matchup(store: DuckStore, feed: Feed, rate: Rate) -> Rate:
    process_votes(rate, feed.votes(VOTES[:50]))
    rate.commit(START)
    matchups = [vote.matchup_id for vote in VOTES if vote.voter == BOT]
    process_events(rate, feed.control({"type": "matchups.retract", "matchups": matchups}))
    process_votes(rate, feed.votes(VOTES[50:]))
    return rate


SCENARIOS = [at_the_end, at_the_beginning, in_one_poll, without_any_commit, over_reloads, arena_by_arena, by_matchup]


def start(store: DuckStore) -> tuple[Feed, Rate]:
    """Return a log and an operator with two arenas."""
    feed, rate = Feed(), Rate(store, NO_PROPOSALS)
    process_events(rate, feed.control(*arena_events(), *arena_events("films")))
    return feed, rate


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_retracted_board_is_that_of_a_run_without_the_votes(
    scenario: Scenario, store: DuckStore, tmp_path: Path
) -> None:
    feed, rate = start(store)
    rate = scenario(store, feed, rate)
    rate.commit(START)
    with opened(tmp_path / "without") as other:
        expected = rate_plainly(other, [vote for vote in VOTES if vote.voter != BOT])
    assert state_of(rate, with_votes_only=True) == expected
    assert state_of(Rate(store, NO_PROPOSALS), with_votes_only=True) == expected
    assert rate.tally.accepted == 60
    rows = archive_of(store)
    assert sum(row["voter"] == BOT for row in rows) == 12  # archived and sequenced all the same
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_restore_brings_everything_back(scenario: Scenario, store: DuckStore, tmp_path: Path) -> None:
    feed, rate = start(store)
    rate = scenario(store, feed, rate)
    matchups = [vote.matchup_id for vote in VOTES]
    process_events(rate, feed.control(RESTORE, {"type": "matchups.restore", "matchups": matchups}))
    rate.commit(START)
    with opened(tmp_path / "plain") as other:
        expected = rate_plainly(other, VOTES)
    assert state_of(rate, with_votes_only=True) == expected
    again = Rate(store, NO_PROPOSALS)
    assert state_of(again, with_votes_only=True) == expected
    assert not again.book.retractions


def test_votes_after_a_reload_stay_retracted(store: DuckStore) -> None:
    feed, rate = start(store)
    process_events(rate, feed.control(RETRACT))
    rate.commit(START)
    again = Rate(store, NO_PROPOSALS)
    process_votes(again, feed.votes([vote for vote in VOTES if vote.voter == BOT]))
    again.commit(START)
    assert again.tally.accepted == 12
    assert {state.votes for state in again.book.arenas.values()} == {0}
    assert {state.as_of for state in again.book.arenas.values()} == {None}


def test_a_retracted_vote_stays_a_duplicate(store: DuckStore) -> None:
    feed, rate = start(store)
    bot = next(vote for vote in VOTES if vote.voter == BOT)
    process_events(rate, feed.control(RETRACT))
    process_votes(rate, feed.votes([bot, bot]))
    assert (rate.tally.accepted, rate.tally.duplicates) == (1, 1)


def test_an_open_registry_learns_from_retracted_votes_too(store: DuckStore, tmp_path: Path) -> None:
    feed, rate = Feed(), Rate(store, NO_PROPOSALS)
    process_events(rate, feed.control(RETRACT))
    process_votes(rate, feed.votes(VOTES[:12]))
    rate.commit(START)
    with opened(tmp_path / "plain") as other:
        plain = Rate(other, NO_PROPOSALS)
        process_votes(plain, Feed().votes(VOTES[:12]))
        assert rate.book.registry.freeze() == plain.book.registry.freeze()


def test_an_archive_replay_passes_through_the_same_states(store: DuckStore, tmp_path: Path) -> None:
    feed, rate = start(store)
    live: dict[int, dict[str, Any]] = {}
    for first in range(0, 60, 10):
        events = {10: [RETRACT], 30: [RESTORE], 40: [RETRACT | {"arena": "films"}]}.get(first, [])
        rate.process(START, feed.control(*events), feed.votes(VOTES[first : first + 10]))
        rate.commit(START)
        live[rate.last_commit] = state_of(rate, with_votes_only=True)
    with opened(tmp_path / "replayed") as other:
        replayed = Rate(other, NO_PROPOSALS, archive=store)  # as a replay with a linked archive: nothing is staged
        archived = pa.Table.from_batches(store.read_archive())
        for number in range(1, 7):
            for rows in archived.filter(pc.equal(archived["commit"], number)).to_batches():
                replayed.replay_rows(rows, stage=False)
            replayed.settle()
            assert state_of(replayed, with_votes_only=True) == live[number]
