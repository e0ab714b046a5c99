"""Puts votes into envelopes: many votes in one record, all of one partition.

Votes of one matchup must lie in one partition (promise 1 of the architecture). So votes are sorted by the partition
of their matchup_id before they are packed, and the record gets the matchup_id of its first vote as its key: the log
then puts it where its votes belong. Within a partition votes keep their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.contracts.log import ARROW_STREAM, CONTENT_TYPE
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.contracts.vote_batch import encode_rows, tabulate_votes
from pipeline.eventlog.partitioner import partitions_of_column, partitions_of_keys
from producers.delivery.sender import Delivered, Loss, OnDone, OnLost, Parcel

MAX_ENVELOPE_BYTES: Final = MAX_RECORD_BYTES * 7 // 8
"""Largest record made: key, headers and what a broker adds to a batch must fit into its limit of 1 MiB as well."""

HEADERS: Final = {CONTENT_TYPE: ARROW_STREAM}

_UNFIT = (pa.ArrowException, OverflowError, TypeError, ValueError)


@dataclass(slots=True)
class _Lane:
    """What waits for one partition: single votes, or rows; never both, so that their order is kept."""

    votes: list[Vote] = field(default_factory=list)
    on_done: list[OnDone | None] = field(default_factory=list)
    rows: list[pa.Table] = field(default_factory=list)
    row_count: int = 0


class EnvelopePacker:
    """Collects votes until there are enough for an envelope, or they have waited long enough.

    Not for use from several threads at once.

    Parameters
    ----------
    size : votes in an envelope; fewer where they would pass `MAX_ENVELOPE_BYTES`, or have waited
    count_partitions : number of partitions of the log
    on_lost : told of votes that fit into no envelope (unchecked ones)
    clock : seconds, monotonic
    """

    def __init__(
        self,
        size: int,
        count_partitions: Callable[[], int],
        on_lost: OnLost,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = size
        self._count_partitions = count_partitions
        self._on_lost = on_lost
        self._clock = clock
        self._came: list[Vote] = []  # not sorted by partition yet: hashing keys one by one takes ten times as long
        self._came_done: list[OnDone | None] = []
        self._lanes: dict[int, _Lane] = {}
        self._since: float | None = None

    def add_vote(self, vote: Vote, on_done: OnDone | None = None) -> list[Parcel]:
        """Take a vote; return the envelopes that are full now."""
        self._touch()
        self._came.append(vote)
        self._came_done.append(on_done)
        return self._sort_votes() if len(self._came) >= self._size else []

    def add_rows(self, rows: pa.Table) -> list[Parcel]:
        """Take votes as rows of `VOTE_SCHEMA`; return the envelopes that are full now."""
        self._touch()
        full = self._sort_votes()
        rows = rows.combine_chunks()
        parts = partitions_of_column(rows["matchup_id"].combine_chunks(), self._count_partitions())
        for part in np.unique(parts).tolist():
            lane = self._lanes.setdefault(part, _Lane())
            if lane.votes:
                full += self._pack(lane, everything=True)
            taken = rows if (parts == part).all() else rows.take(pa.array(np.flatnonzero(parts == part)))
            lane.rows.append(taken)
            lane.row_count += taken.num_rows
            full += self._pack(lane, everything=False)
        return full

    def take_all(self, *, older_than: float = 0.0) -> list[Parcel]:
        """Return everything that waits, if the first of it came `older_than` seconds ago or earlier."""
        if self._since is None or self._clock() - self._since < older_than:
            return []
        full = self._sort_votes()
        for lane in self._lanes.values():
            full += self._pack(lane, everything=True)
        self._since = None
        return full

    def _touch(self) -> None:
        if self._since is None:
            self._since = self._clock()

    def _sort_votes(self) -> list[Parcel]:
        """Bring the votes that came to their lanes; return the envelopes that are full now."""
        if not self._came:
            return []
        parts = partitions_of_keys([vote.matchup_id for vote in self._came], self._count_partitions(), 0)
        votes, on_done = self._came, self._came_done
        self._came, self._came_done = [], []
        full: list[Parcel] = []
        for vote, done, part in zip(votes, on_done, parts.tolist(), strict=True):
            lane = self._lanes.setdefault(part, _Lane())
            if lane.rows:
                full += self._pack(lane, everything=True)
            lane.votes.append(vote)
            lane.on_done.append(done)
            if len(lane.votes) >= self._size:
                full += self._pack(lane, everything=False)
        return full

    def _pack(self, lane: _Lane, *, everything: bool) -> list[Parcel]:
        """Take whole envelopes out of a lane, or all that is in it."""
        packed: list[Parcel] = []
        while lane.votes and (everything or len(lane.votes) >= self._size):
            votes, lane.votes = lane.votes[: self._size], lane.votes[self._size :]
            on_done, lane.on_done = lane.on_done[: self._size], lane.on_done[self._size :]
            packed += self._pack_votes(votes, on_done)
        if lane.rows and (everything or lane.row_count >= self._size):
            rows = pa.concat_tables(lane.rows).combine_chunks()
            end = lane.row_count if everything else lane.row_count - lane.row_count % self._size
            for start in range(0, end, self._size):
                packed += self._encode(rows.slice(start, min(self._size, end - start)), [])
            lane.rows = [rows.slice(end)] if end < lane.row_count else []
            lane.row_count -= end
        return packed

    def _pack_votes(self, votes: Sequence[Vote], on_done: Sequence[OnDone | None]) -> list[Parcel]:
        try:
            return list(self._encode(tabulate_votes(votes), on_done))
        except _UNFIT as error:
            if len(votes) > 1:
                pairs = list(zip(votes, on_done, strict=True))
                return [parcel for vote, done in pairs for parcel in self._pack_votes([vote], [done])]
            loss = Loss(f"it does not fit into the columns of an envelope: {error}", retriable=False)
            if on_done[0] is not None:
                on_done[0](loss)
            else:
                self._on_lost(Parcel(encode_vote(votes[0]), votes[0].matchup_id), loss)
            return []

    def _encode(self, rows: pa.Table | pa.RecordBatch, on_done: Sequence[OnDone | None]) -> Iterator[Parcel]:
        """Give `rows` as one record, or as several if it would be too large."""
        value = encode_rows(rows)
        if len(value) > MAX_ENVELOPE_BYTES and rows.num_rows > 1:
            half = rows.num_rows // 2
            yield from self._encode(rows.slice(0, half), on_done[:half])
            yield from self._encode(rows.slice(half), on_done[half:])
            return
        yield Parcel(value, rows["matchup_id"][0].as_py(), HEADERS, _join([done for done in on_done if done]))


def _join(on_done: Sequence[OnDone]) -> OnDone | None:
    if not on_done:
        return None

    def report(outcome: Delivered | Loss) -> None:
        for done in on_done:
            done(outcome)

    return report
