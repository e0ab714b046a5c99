"""What is fed: stretches of records of one kind, out of the polls of a log or the rows of an archive, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.contracts.decode_reference import Rejected
from pipeline.contracts.envelope import read_envelope
from pipeline.contracts.log import ARROW_STREAM, LogBatch, Poll
from pipeline.contracts.vote_batch import arrange_votes, encode_rows_singly


@dataclass(frozen=True, slots=True)
class JsonVotes:
    """Records of one vote each, as they came. `times`: append times, ms, int64 (n,), ascending; so in all portions."""

    times: NDArray[np.int64]
    values: list[bytes]


@dataclass(frozen=True, slots=True)
class RowVotes:
    """Votes out of envelopes: rows of `VOTE_SCHEMA`."""

    times: NDArray[np.int64]
    rows: pa.Table


@dataclass(frozen=True, slots=True)
class StrangeRecord:
    """A record that says it is an envelope and is none: one dead letter."""

    times: NDArray[np.int64]
    value: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Events:
    """Control events, as they came."""

    times: NDArray[np.int64]
    values: list[bytes]


Portion: TypeAlias = JsonVotes | RowVotes | StrangeRecord | Events


def list_portions(polls: Iterable[Poll], *, row_times: bool) -> Iterator[Portion]:
    """Iterate over what is in `polls`; `row_times` as of the log that they come from."""
    for poll in polls:
        if len(poll.control):
            yield Events(_ascending(poll.control.appended_at), poll.control.values)
        if len(poll.votes):
            yield from _split_batch(poll.votes, row_times=row_times)


def list_archive(batches: Iterable[pa.RecordBatch]) -> Iterator[Portion]:
    """Iterate over the rows of an archive (`ARCHIVE_SCHEMA`): its votes and control events, in their sequence."""
    for batch in batches:
        is_event = batch["event"].is_valid().to_numpy(zero_copy_only=False)
        cuts = np.flatnonzero(is_event[1:] != is_event[:-1]) + 1
        for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(batch)], strict=True):
            rows = batch.slice(start, stop - start)
            if not len(rows):
                continue
            times = _ascending(rows["appended_at"].to_numpy())
            if is_event[start]:
                yield Events(times, rows["event"].to_pylist())
            else:
                yield RowVotes(times, arrange_votes(rows))


def _split_batch(batch: LogBatch, *, row_times: bool) -> Iterator[Portion]:
    """Cut a batch into runs of JSON records and single envelopes."""
    times = _ascending(batch.appended_at)
    kinds = batch.content_types or [None] * len(batch)
    start = 0
    for place, kind in enumerate(kinds):
        if kind is None or not kind.startswith(ARROW_STREAM):
            continue
        if start < place:
            yield JsonVotes(times[start:place], batch.values[start:place])
        yield _open_envelope(batch.values[place], int(times[place]), kind, row_times=row_times)
        start = place + 1
    if start < len(batch):
        yield JsonVotes(times[start:], batch.values[start:])


def _open_envelope(value: bytes, time: int, kind: str, *, row_times: bool) -> Portion:
    envelope = read_envelope(value)
    if isinstance(envelope, Rejected):
        return StrangeRecord(np.array([time]), value, kind)
    times = np.full(len(envelope), time)
    if row_times and envelope.appended_at is not None:
        times = _ascending(pc.fill_null(envelope.appended_at, time).to_numpy())
    if envelope.odd is not None:  # values that fit no column: they stay what they are, and are refused for it
        return JsonVotes(times, encode_rows_singly(envelope.sent))
    return RowVotes(times, envelope.columns)


def _ascending(times: NDArray[np.int64]) -> NDArray[np.int64]:
    latest: NDArray[np.int64] = np.maximum.accumulate(times)
    return latest
