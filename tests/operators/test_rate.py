"""Rate over a real store: exactly once, whatever is repeated, cut, reloaded or failing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.log import ARROW_STREAM, EMPTY_BATCH, LogBatch, Position, Span, TopicPartition
from pipeline.contracts.store import StoreError
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.operators.fence import GapError
from pipeline.operators.ingest import Decoded, ingest_batch
from pipeline.operators.rate import Rate, RateSettings
from pipeline.store.duck_store import DuckStore
from tests.operators.feeding import (
    NO_PROPOSALS,
    NO_VOTES,
    START,
    Feed,
    archive_of,
    arena_events,
    dead_letters_of,
    make_vote,
    opened,
    process_events,
    process_votes,
    state_of,
)

Step = tuple[LogBatch, Decoded]
VOTES = TopicPartition("votes", 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckStore]:
    """A new store."""
    with opened(tmp_path / "store") as made:
        yield made


def make_record(number: int) -> bytes:
    """Return a record: mostly good votes, with repeats, second votes, old ones, strangers and rubbish between."""
    rng = np.random.default_rng([7, number])
    kind = int(rng.integers(0, 20))
    changes: dict[str, Any] = {}
    if kind == 0:
        return b"{"
    if kind == 1:
        changes["arena"] = "nowhere"
    elif kind == 2:
        changes["ranks"] = (1, 2)
    elif kind == 3:
        changes["vote_id"] = make_vote(max(0, number - 9)).vote_id
    elif kind == 4:
        changes["matchup_id"] = make_vote(max(0, number - 7)).matchup_id
    elif kind == 5:
        changes["time"] = START - int(rng.integers(0, 3000))
    elif kind == 6:
        changes |= {"mode": "skip", "ranks": None}
    elif kind == 7:
        changes["arena"] = "films"
    return encode_vote(make_vote(number, **changes))


def make_log(count: int) -> tuple[LogBatch, LogBatch]:
    """Return all control events, and `count` vote records."""
    still = {"lead_seconds": 0}  # the rate of votes is of this process: a reload begins without one
    control = Feed().control(*arena_events(settings=still), *arena_events("films", settings=still))
    values = [make_record(number) for number in range(count)]
    offsets = np.arange(count, dtype=np.int64)
    span = Span(VOTES, Position(0), Position(count))
    return control, LogBatch((span,), np.zeros(count, np.int16), offsets, START + offsets, values)


def cut_batch(batch: LogBatch, first: int, last: int) -> Decoded:
    """Return the records `first` to `last` after Ingest."""
    span = Span(VOTES, Position(first), Position(last))
    part = slice(first, last)
    return ingest_batch(
        LogBatch((span,), batch.span_of[part], batch.offsets[part], batch.appended_at[part], batch.values[part])
    )


SMALL = RateSettings(window_capacity=40, propose=False)


def run(store: DuckStore, bounds: list[int], settings: RateSettings = SMALL, *, repeat: bool = False) -> Rate:
    """Rate a log of 200 records cut at `bounds`, with a commit after each batch; load anew with `repeat`."""
    control, log = make_log(200)
    rate = Rate(store, settings)
    process_events(rate, control)
    for first, last in pairwise(bounds):
        decoded = cut_batch(log, max(0, first - 3) if repeat else first, last)
        process_votes(rate, decoded)
        if repeat:
            process_votes(rate, decoded)
        rate.commit(START)
        if repeat:
            rate = Rate(store, settings)
    return rate


def without_commits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the numbers of the commits."""
    return [{name: value for name, value in row.items() if name != "commit"} for row in rows]


@pytest.mark.parametrize("bounds", [[0, 1, 2, 50, 120, 121, 200], [*range(0, 200, 7), 200]], ids=["few", "many"])
def test_cuts_repeats_and_reloads_change_nothing(bounds: list[int], store: DuckStore, tmp_path: Path) -> None:
    with opened(tmp_path / "whole") as other:
        whole = run(other, [0, 200])
        rate = run(store, bounds, repeat=True)
        assert state_of(rate) == state_of(whole)
        assert rate.tally.duplicates
        assert {"too_old", "bad_ranks", "unknown_arena", "not_json", "already_voted"} == set(rate.tally.dead)
        assert without_commits(archive_of(store)) == without_commits(archive_of(other))
        letters, others = (without_commits(dead_letters_of(each)) for each in (store, other))
        assert sorted(map(str, letters)) == sorted(map(str, others))


def test_what_is_processed_twice_is_counted_once(store: DuckStore) -> None:
    rate = Rate(store, NO_PROPOSALS)
    feed = Feed()
    decoded = feed.votes([make_vote(1), b"{", make_vote(2, ranks=(1,)), make_vote(1)])
    process_votes(rate, decoded)
    once = state_of(rate)
    process_votes(rate, decoded)
    assert state_of(rate) == once
    assert (rate.tally.accepted, rate.tally.duplicates) == (1, 1)
    rate.commit(START)
    process_votes(rate, decoded)
    assert state_of(rate) == once
    assert not rate.has_uncommitted()
    assert rate.commit(START) is None
    assert len(dead_letters_of(store)) == 2


def test_sequence_is_gapless_over_votes_and_events(store: DuckStore) -> None:
    feed, rate = Feed(), Rate(store, NO_PROPOSALS)
    for number in range(5):
        control = feed.control(*arena_events("pictures" if number % 2 else "films"), b"no event")
        rate.process(START, control, feed.votes([make_vote(number), b"rubbish", make_vote(number, arena="x")]))
        if number % 2:
            rate.commit(START)
    rate.commit(START)
    rows = archive_of(store)
    assert [row["sequence"] for row in rows] == list(range(1, rate.book.sequence + 1))
    commits = [row["commit"] for row in rows]
    assert commits == sorted(commits)
    assert set(commits) == {1, 2, 3}
    events = [row["event"] is not None for row in rows[:15]]
    assert events == [True] * 14 + [False]  # the first vote came before its arena was known


def test_an_event_of_a_poll_is_in_force_for_its_votes(store: DuckStore) -> None:
    feed, rate = Feed(), Rate(store, NO_PROPOSALS)
    rate.process(START, feed.control(*arena_events()), feed.votes([make_vote(1), make_vote(2, arena="films")]))
    assert rate.tally.dead == {"unknown_arena": 1}
    retract = feed.control({"type": "voters.retract", "voters": ["v3"]})
    rate.process(START, retract, feed.votes([make_vote(3), make_vote(4)]))
    rate.commit(START)
    assert rate.book.arenas["pictures"].votes == 2
    assert len([row for row in archive_of(store) if row["voter"] == "v3"]) == 1


def test_an_envelope_is_cut_inside_its_record(store: DuckStore) -> None:
    rate = Rate(store, NO_PROPOSALS)
    value = encode_envelope([make_vote(number) for number in range(6)])

    def part(start: Position, end: Position) -> Decoded:
        none = np.zeros(1, np.int16)
        types: list[str | None] = [ARROW_STREAM]
        batch = LogBatch((Span(VOTES, start, end),), none, np.zeros(1, np.int64), np.full(1, START), [value], types)
        return ingest_batch(batch)

    process_votes(rate, part(Position(0), Position(0, 2)))
    # a span may end inside a record; what of it lies beyond is taken with the next one
    rate.fence.marks[VOTES] = Position(0, 2)
    before = rate.tally.accepted
    process_votes(rate, part(Position(0), Position(1)))
    assert rate.tally.accepted - before + rate.tally.duplicates == 4
    process_votes(rate, part(Position(0, 2), Position(1)))
    assert rate.fence.marks[VOTES] == Position(1)
    assert rate.book.arenas["pictures"].votes == 6


def test_a_gap_stops_the_operator(store: DuckStore) -> None:
    control, log = make_log(20)
    rate = Rate(store, SMALL)
    process_events(rate, control)
    process_votes(rate, cut_batch(log, 0, 5))
    rate.commit(START)
    with pytest.raises(GapError, match="votes/0 continues at"):
        process_votes(rate, cut_batch(log, 6, 9))
    with pytest.raises(RuntimeError, match="make a new Rate"):
        rate.commit(START)
    with pytest.raises(RuntimeError, match="make a new Rate"):
        process_votes(rate, cut_batch(log, 5, 9))
    again = Rate(store, SMALL)
    process_votes(again, cut_batch(log, 5, 20))
    assert again.commit(START) is not None


def test_an_idle_poll_makes_no_commit(store: DuckStore) -> None:
    rate = Rate(store, NO_PROPOSALS)
    rate.process(START, EMPTY_BATCH, NO_VOTES)
    assert not rate.has_uncommitted()
    assert rate.commit(START) is None
    assert store.load().commit == 0


def test_a_hole_at_the_end_moves_the_mark(store: DuckStore) -> None:
    rate = Rate(store, NO_PROPOSALS)
    empty = LogBatch((Span(VOTES, Position(0), Position(9)),), *_empty_columns(), [])
    process_votes(rate, ingest_batch(empty))
    assert rate.commit(START) is not None
    assert store.load().positions == {VOTES: Position(9)}


def _empty_columns() -> tuple[Any, Any, Any]:
    return np.zeros(0, np.int16), np.zeros(0, np.int64), np.zeros(0, np.int64)


def fail_ledger(store: DuckStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ledger refuse the next transaction."""
    apply: Callable[..., None] = store._ledger.apply

    def refuse(change: Any) -> None:
        monkeypatch.setattr(store._ledger, "apply", apply)
        raise OSError("no space left on device")

    monkeypatch.setattr(store._ledger, "apply", refuse)


def test_a_commit_that_fails_leaves_the_store_as_it_was(
    store: DuckStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RateSettings(window_capacity=40, seed=3)
    control, log = make_log(200)
    rate = Rate(store, settings)
    rate.process(START, control, cut_batch(log, 0, 80))
    rate.commit(START)
    before, loaded = state_of(rate), store.load()
    fail_ledger(store, monkeypatch)
    process_votes(rate, cut_batch(log, 80, 150))
    with pytest.raises(StoreError, match="no space left"):
        rate.commit(START + 1)
    assert store.load() == loaded
    with pytest.raises(RuntimeError, match="make a new Rate"):
        rate.commit(START + 1)
    again = Rate(store, settings)
    assert state_of(again) == before
    process_votes(again, cut_batch(log, 80, 150))
    again.commit(START + 1)
    process_votes(again, cut_batch(log, 150, 200))
    again.commit(START + 2)
    with opened(tmp_path / "undisturbed") as other:
        plain = Rate(other, settings)
        plain.process(START, control, cut_batch(log, 0, 80))
        plain.commit(START)
        process_votes(plain, cut_batch(log, 80, 150))
        plain.commit(START + 1)
        process_votes(plain, cut_batch(log, 150, 200))
        plain.commit(START + 2)
        assert state_of(again) == state_of(plain)
        assert archive_of(store) == archive_of(other)


def test_an_archive_replay_ends_where_the_live_run_did(store: DuckStore, tmp_path: Path) -> None:
    live = run(store, [0, 30, 31, 90, 200])
    with opened(tmp_path / "replayed") as other:
        rate = Rate(other, NO_PROPOSALS)
        for batch in store.read_archive():
            for first in range(0, batch.num_rows, 37):
                rate.replay_rows(batch.slice(first, 37), stage=True)
        rate.commit(START, 5)
        ours, theirs = state_of(rate), state_of(live)
        for name in ("arenas", "sequence", "log_time", "registry", "retractions"):
            assert ours[name] == theirs[name]
        assert rate.tally.accepted == live.tally.accepted
        assert Rate(other, NO_PROPOSALS).last_commit == 5


def test_an_open_registry_is_the_same_in_every_cut_and_in_a_replay(store: DuckStore, tmp_path: Path) -> None:
    votes = [make_vote(number, arena=("b", "a", "c")[number * 7 % 3]) for number in range(30)]
    feed, rate = Feed(), Rate(store, NO_PROPOSALS)
    for vote in votes:
        process_votes(rate, feed.votes([vote]))
        rate.commit(START)
    with opened(tmp_path / "whole") as other, opened(tmp_path / "replayed") as third:
        whole, replayed = Rate(other, NO_PROPOSALS), Rate(third, NO_PROPOSALS)
        process_votes(whole, Feed().votes(votes))
        for batch in store.read_archive():
            replayed.replay_rows(batch, stage=True)
        assert list(rate.book.registry.arenas) == list(whole.book.registry.arenas)
        assert rate.book.registry.freeze() == whole.book.registry.freeze() == replayed.book.registry.freeze()
        assert state_of(rate, with_votes_only=True) == state_of(whole, with_votes_only=True)
        assert state_of(rate, with_votes_only=True) == state_of(replayed, with_votes_only=True)
        assert not rate.book.registry.closed


def test_partitions_of_one_poll_are_kept_apart(store: DuckStore) -> None:
    rate = Rate(store, NO_PROPOSALS)
    spans = tuple(Span(TopicPartition("votes", part), Position(5), Position(6)) for part in (1, 0))
    values = [encode_vote(make_vote(1)), b"{"]
    batch = LogBatch(spans, np.array([0, 1], np.int16), np.array([5, 5]), np.full(2, START), values)
    process_votes(rate, ingest_batch(batch))
    rate.commit(START)
    assert [(row["partition"], row["offset"]) for row in archive_of(store)] == [(1, 5)]
    assert [(letter["partition"], letter["offset"]) for letter in dead_letters_of(store)] == [(0, 5)]
    process_votes(rate, ingest_batch(batch))
    assert not rate.has_uncommitted()


def test_the_log_time_and_as_of_run_with_append_times(store: DuckStore) -> None:
    feed, rate = Feed(), Rate(store, NO_PROPOSALS)
    process_votes(rate, feed.votes([make_vote(1)], appended_at=START + 500))
    process_votes(rate, feed.votes([make_vote(2)], appended_at=START + 100))
    process_votes(rate, feed.votes([b"{"], appended_at=START + 900))
    committed = rate.commit(START + 10_000)
    assert committed is not None
    assert committed.log_time == START + 500  # of what is archived: a replay must come to the same
    assert rate.book.arenas["pictures"].as_of == START + 500
    assert Rate(store, NO_PROPOSALS).book.log_time == START + 500


def test_the_window_goes_on_where_it_stood(store: DuckStore) -> None:
    settings = RateSettings(window_capacity=100, propose=False)
    feed, rate = Feed(), Rate(store, settings)
    same_time = [make_vote(number, time=START) for number in range(103)]
    process_votes(rate, feed.votes(same_time))
    rate.commit(START)
    again = Rate(store, settings)
    assert (again.window.limit, again.window.horizon) == (111, START) == (rate.window.limit, rate.window.horizon)
    process_votes(again, feed.votes([*same_time, make_vote(500, matchup_id=make_vote(3).matchup_id)]))
    assert (again.tally.duplicates, again.tally.dead) == (103, {"already_voted": 1})


def test_old_votes_that_are_taken_stay_known(store: DuckStore) -> None:
    settings = RateSettings(window_capacity=10, accept_old=True, propose=False)
    feed, rate = Feed(), Rate(store, settings)
    process_votes(rate, feed.votes([make_vote(number) for number in range(19)]))
    ancient: Vote = make_vote(99, time=1)
    process_votes(rate, feed.votes([ancient]))
    rate.commit(START)
    assert rate.window.horizon > START
    again = Rate(store, settings)
    process_votes(again, feed.votes([ancient]))
    assert (again.tally.accepted, again.tally.duplicates) == (20, 1)
