"""Ingest: raw records of the log become Arrow batches.

Stateless: what comes out depends on the records and their append times alone, so any engine may run it anywhere and
repeat itself. It rejects what needs no state to be rejected (`too_large`, `not_json`, `schema`). Votes with
`bad_ranks` or `bad_time` go on with that `fault`, because `unknown_arena` and `unknown_model`, which only Rate can
tell, take precedence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.decode_fast import RejectedRow, decode_rows, scan_records
from pipeline.contracts.decode_reference import Rejected
from pipeline.contracts.envelope import Envelope, check_envelopes, read_envelope
from pipeline.contracts.log import ARROW_STREAM, LogBatch, Span
from pipeline.contracts.reasons import MAX_RECORD_BYTES, MAX_VOTE_BYTES, Reason
from pipeline.contracts.string_book import Book, make_book
from pipeline.contracts.vote import REJECT_SCHEMA
from pipeline.contracts.vote_columns import Placed
from pipeline.contracts.vote_rows import VotePart

CheckToken = Callable[[pa.RecordBatch], pa.BooleanArray]
"""Takes votes (`DECODED_SCHEMA`) and says of each whether its token is right; null where it has none."""

_KEPT_OF_TOO_LARGE: Final = MAX_VOTE_BYTES


@dataclass(frozen=True, slots=True)
class Decoded:
    """One batch after Ingest: what it covers, its votes (`DECODED_SCHEMA`) and its rejects (`REJECT_SCHEMA`)."""

    spans: tuple[Span, ...]
    votes: pa.RecordBatch
    rejects: pa.RecordBatch

    def to_ipc(self) -> bytes:
        """Encode for a wire or a coder."""
        return _ENCODER.encode((self.spans, _write_batch(self.votes), _write_batch(self.rejects)))

    @classmethod
    def from_ipc(cls, data: bytes) -> Decoded:
        """Decode what `to_ipc` made."""
        spans, votes, rejects = _DECODER.decode(data)
        return cls(spans, _read_batch(votes), _read_batch(rejects))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[tuple[Span, ...], bytes, bytes])


def ingest_batch(
    batch: LogBatch,
    *,
    check_token: CheckToken | None = None,
    max_record_bytes: int | None = MAX_RECORD_BYTES,
    trust_row_times: bool = False,
) -> Decoded:
    """Decode and check all votes of `batch`, in the order of its records.

    Parameters
    ----------
    batch
        Records of JSON, one vote each, and of Arrow IPC streams (by content type), many votes each.
    check_token
        Judges tokens; without it `token_ok` is null throughout.
    max_record_bytes
        Larger envelopes are `too_large`; None for no limit (file sources make large ones). A vote in JSON has its
        own limit of 64 KiB.
    trust_row_times
        Whether the column `appended_at` of an envelope overrides the record's append time row by row (file
        sources: they are the log). Where it is null or missing, the vote's `time` does.

    Raises
    ------
    BatchTooLargeError
        If a column would pass 2 GiB.
    """
    is_envelope = _find_envelopes(batch.content_types)
    if is_envelope is None:
        placed = Placed(batch.span_of, batch.offsets, np.zeros(len(batch), np.int32), batch.appended_at)
        part, book = scan_records(batch.values, batch.appended_at, make_book())
        votes, rejected = decode_rows([part], book, placed)
    else:
        placed, parts, book, refused = _unpack_batch(batch, is_envelope, max_record_bytes, trust_row_times)
        votes, rejected = decode_rows(parts, book, placed, refused)
    if check_token is not None and votes["token"].null_count < votes.num_rows:
        place = votes.schema.get_field_index("token_ok")
        votes = votes.set_column(place, votes.schema.field(place), check_token(votes))
    return Decoded(batch.spans, votes, _build_rejects(batch.spans, placed, rejected))


def _find_envelopes(content_types: Sequence[str | None] | None) -> NDArray[np.bool_] | None:
    """Say which records are envelopes; None if none is."""
    if content_types is None:
        return None
    is_envelope = np.array([kind is not None and _is_arrow(kind) for kind in content_types], np.bool_)
    return is_envelope if is_envelope.any() else None


def _is_arrow(content_type: str) -> bool:
    return content_type == ARROW_STREAM or content_type.partition(";")[0].strip().lower() == ARROW_STREAM


def _unpack_batch(
    batch: LogBatch, is_envelope: NDArray[np.bool_], max_record_bytes: int | None, trust_row_times: bool
) -> tuple[Placed, list[VotePart], Book, list[RejectedRow]]:
    """Give every vote its row: one a JSON record, as many as it holds an envelope, one if that is rejected."""
    envelopes: dict[int, Envelope | Rejected] = {}
    sizes = np.ones(len(batch), np.int64)
    for record in np.flatnonzero(is_envelope).tolist():
        envelopes[record] = envelope = _open_record(batch.values[record], max_record_bytes)
        if isinstance(envelope, Envelope):
            sizes[record] = len(envelope)
    first_rows = np.cumsum(sizes) - sizes
    records = np.repeat(np.arange(len(batch)), sizes)
    index = np.arange(len(records)) - first_rows[records]
    placed = Placed(batch.span_of[records], batch.offsets[records], index.astype(np.int32), batch.appended_at[records])
    parts, refused, book = [], [], make_book()
    if len(jsons := np.flatnonzero(~is_envelope)):
        values = [batch.values[record] for record in jsons]
        part, book = scan_records(values, batch.appended_at[jsons], book, first_rows[jsons])
        parts.append(part)
    good = []
    for record, envelope in envelopes.items():
        if isinstance(envelope, Rejected):
            refused.append(RejectedRow(int(first_rows[record]), envelope, batch.values[record]))
        else:
            good.append((int(first_rows[record]), envelope))
    if good:
        part, book = check_envelopes(good, placed.appended_at, book, trust_row_times=trust_row_times)
        parts.append(part)
    return placed, parts, book, refused


def _open_record(value: bytes, max_record_bytes: int | None) -> Envelope | Rejected:
    if max_record_bytes is not None and len(value) > max_record_bytes:
        return Rejected(Reason.TOO_LARGE, f"{len(value)} bytes; a record has at most {max_record_bytes}")
    return read_envelope(value)


def _build_rejects(spans: tuple[Span, ...], placed: Placed, rejected: Sequence[RejectedRow]) -> pa.RecordBatch:
    rows = np.array([reject.row for reject in rejected], np.int64)
    at = placed.take(rows)
    sources = [spans[span].source for span in at.span]
    columns = [
        [source.topic for source in sources],
        [source.partition for source in sources],
        at.offset,
        at.index,
        at.appended_at,
        [reject.why.reason.value for reject in rejected],
        [reject.why.arena for reject in rejected],
        [reject.why.detail for reject in rejected],
        [_cut(reject) for reject in rejected],
    ]
    arrays = [pa.array(values, kind) for values, kind in zip(columns, REJECT_SCHEMA.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=REJECT_SCHEMA)


def _cut(reject: RejectedRow) -> bytes:
    """Limit what is kept of a record: anyone can send large ones. Its position tells where the whole lies."""
    limit = _KEPT_OF_TOO_LARGE if reject.why.reason is Reason.TOO_LARGE else MAX_RECORD_BYTES
    return reject.payload[:limit]


def _write_batch(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _read_batch(data: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(data).read_next_batch()
