"""Replay: a finite log, or a store's archive, into a new store, as fast as it goes.

A replay of the *archive* feeds archived rows to the same `Book` as the live job. It judges nothing, keeps sequence and
commit numbers, and at its end takes over log positions and de-duplication window, so that the new store can go on
live from where the old one was.

A replay of the *raw log* judges every vote as live, with partitions merged into the one order that does not depend on
how votes were spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.log import EventLog
from pipeline.contracts.retractions import Retractions
from pipeline.contracts.store import StoreError
from pipeline.contracts.vote_filter import VoteFilter
from pipeline.operators.ingest import CheckToken
from pipeline.operators.publish import Publisher
from pipeline.operators.rate import Rate, RateSettings
from pipeline.store.duck_store import DuckStore
from pipeline.store.reader import StoreReader
from pipeline.streaming.elements import ingest_votes
from pipeline.streaming.known_log import KnownLog
from pipeline.streaming.owner import wall_clock
from pipeline.streaming.read_ahead import read_ahead

_POLL_RECORDS = 40_000
_ROWS = 131_072
_COMMIT_RECORDS = 200_000
"""A replay commits after so many records, about twice a second. Not by the clock: same input, same commits."""
_CATCH_UPS = 20
"""How often a replay follows the archive of a store that goes on meanwhile."""

Progress = Callable[[int], None]
"""Takes the number of votes that were replayed since the last call."""


@dataclass(frozen=True, slots=True)
class ReplayFilter:
    """Which votes a replay counts.

    Attributes
    ----------
    until : int or None
        Only records appended up to this time, ms, each by its own append time. The new store then does not know
        where the log was read to: a later record may lie before an earlier one.
    event_from, event_until : int or None
        Only votes with the voter's time within these bounds, ms; the others are archived and not counted.
    without_voters : tuple of str
        Voters whose votes are archived and not counted, as if retracted.
    """

    until: int | None = None
    event_from: int | None = None
    event_until: int | None = None
    without_voters: tuple[str, ...] = ()

    @property
    def votes(self) -> VoteFilter:
        """Which votes are archived and not counted."""
        return VoteFilter(voters=self.without_voters, event_from=self.event_from, event_until=self.event_until)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did."""

    votes: int
    commits: int
    sequence: int


def check_live(store: DuckStore) -> None:
    """Refuse a store that cannot go on live, or would answer "what if": made by a replay that passed votes over."""
    loaded = store.load()
    if loaded.sequence and not loaded.positions:
        raise StoreError(
            "this store was made by a replay with --until, so it does not know where the log was read to; "
            "replay the whole archive into a new store to go on live"
        )
    if "retractions" in loaded.state and msgspec.msgpack.decode(loaded.state["retractions"], type=Retractions).filter:
        raise StoreError(
            "this store was made by a replay that left votes out (--event-from, --event-until or --without-voter), and "
            "would go on leaving them out; replay the log, or the store that it was made from, without these options "
            "into a new store to go on live"
        )


class _Pace:
    """Decides when a replay makes its next durable commit."""

    def __init__(self) -> None:
        self._since = 0

    def add(self, records: int) -> None:
        self._since += records

    def is_due(self) -> bool:
        if self._since < _COMMIT_RECORDS:
            return False
        self._since = 0
        return True


def replay_log(
    log: EventLog,
    store: DuckStore,
    settings: RateSettings,
    chosen: ReplayFilter,
    *,
    announce: Callable[[str], None],
    progress: Progress,
    check_token: CheckToken | None = None,
) -> Replayed:
    """Judge and rate everything in `log` into `store`, which must be new.

    Without `check_token` no token is right: arenas that require one get no votes.

    Raises
    ------
    StoreError
        The store is not new.
    LogError
        The log cannot be read.
    """
    rate, publisher = _start(store, settings, chosen, announce)
    row_times = log.row_times
    pace, commits, known = _Pace(), 0, KnownLog(log, rate)
    reader = log.merged_reader({}, until=chosen.until)
    polls = (
        (poll, ingest_votes(poll.votes, row_times=row_times, check_token=check_token))
        for poll in reader.polls(_POLL_RECORDS)
    )
    try:
        with closing(read_ahead(polls)) as ahead:
            for poll, decoded in ahead:
                rate.process(poll.now, poll.control, decoded)
                progress(decoded.votes.num_rows)
                pace.add(len(poll.control) + decoded.votes.num_rows + decoded.rejects.num_rows)
                if pace.is_due():
                    known.note()
                    commits += _commit(rate, publisher)
        known.note()
        commits += _commit(rate, publisher)
        publisher.finish(rate)
        store.heartbeat(wall_clock())
    finally:
        reader.close()
        publisher.close()
    return Replayed(rate.tally.accepted, commits, rate.book.sequence)


def replay_archive(
    source: StoreReader,
    store: DuckStore,
    chosen: ReplayFilter,
    *,
    announce: Callable[[str], None],
    progress: Progress,
    settings: RateSettings | None = None,
    on_commit: Callable[[int, Rate], None] = lambda _number, _rate: None,
) -> Replayed:
    """Rate the archive of `source` into `store`, which must be new.

    Votes that do not count in `source`, because it was made by a replay that left them out, do not count here either.
    Without `until` the archive's files are taken over as they are, and with them log positions and de-duplication
    window. With it the rows are written again, and the new store cannot go on live.

    Parameters
    ----------
    on_commit
        Called at each commit boundary of the archive, with its number and the operator in that state.

    Raises
    ------
    StoreError
        The store is not new.
    """
    settings = settings or RateSettings(propose=False)
    linked = chosen.until is None
    rate, publisher = _start(store, settings, chosen, announce, source)
    pace, commits = _Pace(), 0

    def commit(number: int) -> None:
        nonlocal commits
        rate.commit(wall_clock(), number)
        commits += 1
        publisher.note_changes(tuple(rate.book.arenas))

    def replay_new_rows() -> None:
        batches = source.read_archive(after_sequence=rate.book.sequence, batch_rows=_ROWS)
        with closing(read_ahead(batches)) as ahead:
            for rows, is_last in _cut_at_commits(ahead, chosen.until, renumber=not linked):
                number = int(rows["commit"][0].as_py())
                rate.replay_rows(rows, stage=not linked)
                progress(rows.num_rows)
                pace.add(rows.num_rows)
                if not is_last:
                    continue
                rate.settle()
                on_commit(number, rate)
                if pace.is_due():
                    commit(number)
                    publisher.offer(rate)

    try:
        if linked:
            _follow(source, store, rate, replay_new_rows, commit)
        else:
            replay_new_rows()
            if rate.has_uncommitted():
                commit(rate.last_commit + 1)
        publisher.note_changes(tuple(rate.book.arenas))
        publisher.finish(rate)
        store.heartbeat(wall_clock())
    finally:
        publisher.close()
    return Replayed(rate.tally.accepted, commits, rate.book.sequence)


def _follow(
    source: StoreReader,
    store: DuckStore,
    rate: Rate,
    replay_new_rows: Callable[[], None],
    commit: Callable[[int], None],
) -> None:
    """Replay all of an archive, and what a store that goes on adds meanwhile; then take over where it stands."""
    for _ in range(_CATCH_UPS):
        store.link_archive(source)
        replay_new_rows()
        manifest = source.manifest()
        if manifest.sequence != rate.book.sequence:
            continue
        if manifest.commit > rate.last_commit:
            commit(manifest.commit)
        try:
            store.adopt(source, sequence=rate.book.sequence)
        except StoreError:
            if source.manifest().sequence == rate.book.sequence:
                raise
            continue
        return
    raise StoreError(
        f"the store {source.path} takes in votes faster than they can be replayed; stop its job for a moment"
    )


def _start(
    store: DuckStore,
    settings: RateSettings,
    chosen: ReplayFilter,
    announce: Callable[[str], None],
    source: StoreReader | None = None,
) -> tuple[Rate, Publisher]:
    linked = source is not None and chosen.until is None
    rate = Rate(store, settings, announce=announce, archive=source if linked else None)
    if rate.last_commit:
        raise StoreError(
            f"the store already has {rate.last_commit} commits; replay into a new folder, or delete it first"
        )
    rate.keeps_positions = chosen.until is None
    if left_out := chosen.votes.narrow(VoteFilter() if source is None else source.filter()):
        rate.book.leave_out(left_out)
    return rate, Publisher(store, wall_clock, announce=announce)


def _commit(rate: Rate, publisher: Publisher) -> int:
    committed = rate.commit(wall_clock())
    if committed is None:
        return 0
    publisher.note_changes(committed.changed)
    publisher.offer(rate)
    return 1


def _cut_at_commits(
    batches: Iterator[pa.RecordBatch], until: int | None, *, renumber: bool
) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """Cut archive rows where their commit changes, and say of each piece whether it is its commit's last.

    Rows appended after `until` are dropped, and the gaps in the sequence closed.
    """
    held: pa.RecordBatch | None = None
    for piece in _cut_batches(batches, until, renumber=renumber):
        if held is not None:
            yield held, held["commit"][0] != piece["commit"][0]
        held = piece
    if held is not None:
        yield held, True


def _cut_batches(batches: Iterator[pa.RecordBatch], until: int | None, *, renumber: bool) -> Iterator[pa.RecordBatch]:
    sequence = 0
    for batch in batches:
        rows = batch
        if until is not None:
            rows = rows.filter(pc.less_equal(rows["appended_at"], until))
        if renumber and rows.num_rows:
            numbers = pa.array(np.arange(sequence + 1, sequence + rows.num_rows + 1, dtype=np.int64))
            rows = rows.set_column(rows.schema.get_field_index("sequence"), rows.schema.field("sequence"), numbers)
            sequence += rows.num_rows
        cuts = np.flatnonzero(np.diff(rows["commit"].to_numpy())) + 1
        bounds = [0, *cuts.tolist(), rows.num_rows]
        for first, last in pairwise(bounds):
            if last > first:
                yield rows.slice(first, last - first)
