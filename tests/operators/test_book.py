"""The book: what accepted votes and events in sequence add up to, against plain Python."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from pipeline.contracts.ballot import Mode, make_ballots
from pipeline.contracts.control import ControlFault, decode_control
from pipeline.contracts.retractions import Retractions
from pipeline.contracts.store import ARCHIVE_SCHEMA
from pipeline.contracts.vote import Vote
from pipeline.contracts.vote_filter import VoteFilter
from pipeline.operators.archive_rows import make_archive_rows
from pipeline.operators.arena_state import ArenaState
from pipeline.operators.book import Book
from pipeline.operators.registry import LiveRegistry
from pipeline.rating import elo, ksort_filter
from pipeline.rating.pair_counts import count_ballots_naive
from tests.operators.feeding import MODELS, START, Feed, arena_events, make_vote

Item = Vote | dict[str, Any]
"""What a sequence is made of: accepted votes, and control events."""


def new_book() -> Book:
    """Return an empty book."""
    return Book(LiveRegistry(), Retractions(), {}, sequence=0, log_time=0, announce=lambda _: None)


def make_rows(items: list[Item]) -> pa.RecordBatch:
    """Return the archive rows of accepted items, numbered from 1."""
    parts = []
    for place, item in enumerate(items):
        if isinstance(item, Vote):
            decoded = Feed().votes([item]).votes
            parts.append(make_archive_rows(decoded, place + 1, 1, ["votes"], np.zeros(1, np.int32)))
        else:
            payload = msgspec.json.encode({"schema": 1, "event_id": f"e{place}", "time": START} | item)
            row = {"sequence": place + 1, "commit": 1, "topic": "control", "partition": 0, "offset": place}
            row |= {"index": 0, "appended_at": START + place, "event": payload}
            parts.append(pa.RecordBatch.from_pylist([row], schema=ARCHIVE_SCHEMA))
    return pa.Table.from_batches(parts).unify_dictionaries().combine_chunks().to_batches()[0]


def apply_cut(book: Book, rows: pa.RecordBatch, cuts: list[int]) -> None:
    """Apply rows in batches, and settle after each."""
    bounds = sorted({0, rows.num_rows, *(place % (rows.num_rows + 1) for place in cuts)})
    for first, last in pairwise(bounds):
        book.apply_rows(rows.slice(first, last - first))
        if book.needs_settling():
            book.settle([rows])


def page_of(book: Book, arena: str = "pictures") -> tuple[Any, ...]:
    """Return everything of an arena that is rated, to be compared bit for bit."""
    state = book.arenas[arena]
    counts = state.counts.freeze()
    return state.freeze(), counts.codes.tolist(), counts.counts.tolist()


def pages_of(book: Book) -> dict[str, tuple[Any, ...]]:
    """Return all arenas."""
    return {arena: page_of(book, arena) for arena in book.arenas}


VARIED: list[Item] = [
    *arena_events(),
    *arena_events("films", models=("alpha", "beta")),
    *(make_vote(number) for number in range(12)),
    make_vote(12, mode="skip", ranks=None),
    make_vote(13, mode="all_bad", ranks=None, prompt="p0"),
    make_vote(14, mode="best", ranks=(None, 1, None, None)),
    make_vote(15, arena="films", models=("beta", "alpha"), ranks=(1, 2)),
    {"type": "model.add", "arena": "pictures", "model": {"id": "eta"}},
    make_vote(16, models=("eta", "alpha"), ranks=(2, 1)),
    make_vote(17, prompt="p2"),
    {"type": "arena.upsert", "arena": "pictures", "prompts": [{"id": "p2", "text": "late"}]},
    make_vote(18, prompt="p2"),
    make_vote(19, prompt="p0"),
    make_vote(20, arena="films", models=("beta", "alpha"), ranks=(1, 1), time=START - 5),
]


def test_counts_filters_and_tallies_are_those_of_the_votes() -> None:
    book = new_book()
    rows = make_rows(VARIED)
    assert book.apply_rows(rows) == {"pictures": 19, "films": 2}
    votes = [item for item in VARIED if isinstance(item, Vote) and item.arena == "pictures"]
    index = {model: place for place, model in enumerate([*MODELS, "eta"])}
    ballots = make_ballots(
        [
            (
                [index[model] for model in vote.models],
                None if vote.ranks is None else list(vote.ranks),
                Mode[vote.mode.upper()],
            )
            for vote in votes
        ]
    )
    state = book.arenas["pictures"]
    assert state.counts.freeze() == count_ballots_naive(ballots)
    assert state.ksort == ksort_filter.rate_ballots(ksort_filter.KsortState.initial(7), ballots)
    assert state.elo == elo.rate_ballots(elo.EloState.initial(7), ballots)
    assert (state.votes, state.as_of) == (19, START + 19)
    in_pool = [vote for vote in votes if vote.prompt in {"p0", "p1"} and vote.time < START + 18]
    assert state.tallies["p0"][0] == sum(vote.prompt == "p0" for vote in in_pool)
    assert state.tallies["p0"][1:] == [1, 0 + sum(vote.mode == "skip" and vote.prompt == "p0" for vote in in_pool)]
    assert state.tallies["p2"] == [1, 0, 0]  # once it was in the pool
    films = book.arenas["films"]
    assert (films.votes, films.as_of) == (2, START + 15)
    assert (book.sequence, book.log_time) == (len(VARIED), max(rows["appended_at"].to_pylist()))


@settings(max_examples=40)
@given(st.lists(st.integers(0, 100), max_size=8))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    whole, parts = new_book(), new_book()
    rows = make_rows(VARIED)
    whole.apply_rows(rows)
    apply_cut(parts, rows, cuts)
    assert pages_of(parts) == pages_of(whole)
    assert parts.registry.freeze() == whole.registry.freeze()


@given(st.permutations(range(9)), st.lists(st.integers(0, 8), max_size=4))
def test_an_open_registry_learns_in_the_order_of_first_votes(order: list[int], cuts: list[int]) -> None:
    votes: list[Item] = [make_vote(number, arena=("films", "pictures")[number % 2]) for number in order]
    book = new_book()
    apply_cut(book, make_rows(votes), cuts)
    expected: dict[str, list[str]] = {}
    for vote in votes:
        assert isinstance(vote, Vote)
        known = expected.setdefault(vote.arena, [])
        known += [model for model in vote.models if model not in known]
    registered = {arena: [model.id for model in live.models] for arena, live in book.registry.arenas.items()}
    assert list(registered.items()) == list(expected.items())


RETRACTED: list[Item] = [
    {"type": "voters.retract", "voters": ["v1", "v3"]},
    {"type": "matchups.retract", "arena": "films", "matchups": [make_vote(15).matchup_id]},
]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 100), max_size=6), st.integers(0, len(VARIED)))
def test_a_retraction_leaves_what_would_be_without_those_votes(cuts: list[int], place: int) -> None:
    items = [*VARIED[:place], *_in_force(RETRACTED, VARIED[:place]), *VARIED[place:], *RETRACTED]
    book = new_book()
    apply_cut(book, make_rows(items), cuts)
    gone = {make_vote(15).matchup_id}
    rest = [
        item
        for item in VARIED
        if not (isinstance(item, Vote) and (item.voter in {"v1", "v3"} or item.matchup_id in gone))
    ]
    without = new_book()
    without.apply_rows(make_rows(rest))
    assert pages_of(book) == pages_of(without)
    assert book.rebuilt <= {"pictures", "films"}


def _in_force(events: list[Item], before: list[Item]) -> list[Item]:
    """Return the events whose arena exists by then."""
    known = {item["arena"] for item in before if isinstance(item, dict)}
    return [event for event in events if isinstance(event, dict) and event.get("arena", "films") in known]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 100), max_size=6))
def test_a_restore_makes_it_as_if_nothing_had_happened(cuts: list[int]) -> None:
    restore: list[Item] = [{"type": "voters.restore", "voters": ["v1", "v3"]}]
    restore.append({"type": "matchups.restore", "matchups": [make_vote(15).matchup_id]})
    book, plain = new_book(), new_book()
    apply_cut(book, make_rows([*VARIED[:-3], *RETRACTED, *VARIED[-3:], *restore]), cuts)
    plain.apply_rows(make_rows(VARIED))
    assert pages_of(book) == pages_of(plain)
    assert not book.retractions


def test_votes_left_out_by_time_or_voter_are_not_counted() -> None:
    book, without = new_book(), new_book()
    book.leave_out(VoteFilter(voters=("v2",), event_from=START + 3, event_until=START + 9))
    book.apply_rows(make_rows(VARIED))
    kept = [
        item
        for item in VARIED
        if not isinstance(item, Vote) or (item.voter != "v2" and START + 3 <= item.time <= START + 9)
    ]
    without.apply_rows(make_rows(kept))
    assert pages_of(book) == pages_of(without)


def test_voters_left_out_stay_out_whatever_is_restored() -> None:
    events: list[Any] = [{"type": f"voters.{verb}", "voters": ["v2"]} for verb in ("retract", "restore")]
    book, without = new_book(), new_book()
    book.leave_out(VoteFilter(voters=("v2",)))
    rows = make_rows([*VARIED, *events])
    book.apply_rows(rows)
    book.settle([rows])
    without.apply_rows(make_rows([item for item in VARIED if not isinstance(item, Vote) or item.voter != "v2"]))
    assert pages_of(book) == pages_of(without)
    assert book.retractions.filter.voters == ("v2",)


def test_a_rebuild_ignores_rows_beyond_what_was_applied() -> None:
    rows = make_rows([*arena_events(), *(make_vote(number) for number in range(10)), *RETRACTED[:1], make_vote(11)])
    book, plain = new_book(), new_book()
    book.apply_rows(rows.slice(0, 18))
    assert book.needs_settling()
    book.settle([rows.slice(0, 5), rows.slice(5, 11), rows.slice(16)])
    plain.apply_rows(rows.slice(0, 18))
    plain.settle([rows.slice(0, 18)])
    assert page_of(book) == page_of(plain)
    assert plain.arenas["pictures"].votes == sum(make_vote(n).voter not in {"v1", "v3"} for n in range(10))


def test_a_rebuild_keeps_open_matchups_and_the_rate() -> None:
    book = new_book()
    book.apply_rows(make_rows([*arena_events(), make_vote(1)]))
    state = book.arenas["pictures"]
    state.recent_votes.note(START, 7)
    rows = make_rows([*arena_events(), make_vote(1), *RETRACTED[:1]])
    book.apply_rows(rows.slice(8))
    book.settle([rows])
    assert book.arenas["pictures"] is not state
    assert book.arenas["pictures"].open_matchups is state.open_matchups
    assert book.arenas["pictures"].recent_votes.total(START + 1) == 7
    assert book.changed_arenas == ("pictures",)


def test_rows_out_of_sequence_are_refused() -> None:
    book = new_book()
    rows = make_rows(VARIED)
    book.apply_rows(rows.slice(0, 4))
    with pytest.raises(ValueError, match="sequence 6; expected 5"):
        book.apply_rows(rows.slice(5, 1))


def test_a_fault_is_raised_before_anything_changed() -> None:
    book = new_book()
    book.apply_rows(make_rows(VARIED))
    book.mark_committed()
    before = pages_of(book), book.registry.freeze(), book.sequence
    fields = {"schema": 1, "event_id": "e", "time": 1, "type": "voters.retract", "arena": "no", "voters": ["v1"]}
    with pytest.raises(ControlFault):
        book.apply_event(decode_control(msgspec.json.encode(fields)))
    assert (pages_of(book), book.registry.freeze(), book.sequence) == before
    assert not book.changed_arenas
    assert not any((book.registry_changed, book.retractions_changed, book.needs_settling()))


def test_the_rate_of_votes_forgets_what_is_a_minute_old_and_what_a_clock_left_in_the_future() -> None:
    state = ArenaState()
    state.recent_votes.note(START, 5)
    state.recent_votes.note(START + 30_000, 2)
    assert state.recent_votes.total(START + 60_000) == 7
    assert state.recent_votes.total(START + 60_001) == 2
    state.recent_votes.note(START - 3_600_000, 1)  # the clock was put back by an hour
    assert state.recent_votes.total(START - 3_600_000) == 1
