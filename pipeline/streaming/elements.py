"""What flows through the graph: polls of the log, and what Ingest made of them, with their coders.

The batch is the element. In a fused stage nothing is encoded; the coders serve engines that move elements between
processes, and give the runner's size sampler an estimate without encoding.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from apache_beam import coders

from pipeline.contracts.log import LogBatch, Poll, Position, Span, TopicPartition
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.operators.ingest import CheckToken, Decoded, ingest_batch


@dataclass(frozen=True, slots=True)
class Ingested:
    """A poll after Ingest: raw control events, decoded votes."""

    now: int
    control: LogBatch
    decoded: Decoded


def ingest_votes(votes: LogBatch, *, row_times: bool, check_token: CheckToken | None = None) -> Decoded:
    """Decode and check votes, live and in a replay of the raw log alike.

    With `row_times` a record is a slice of a file: it may be large, and has an append time a vote. Anywhere else a
    sender could choose these times, and with them the verdicts that hang on them.
    """
    return ingest_batch(
        votes,
        check_token=check_token,
        max_record_bytes=None if row_times else MAX_RECORD_BYTES,
        trust_row_times=row_times,
    )


class PollCoder(coders.Coder):
    """Codes `Poll`."""

    def encode(self, value: Poll) -> bytes:
        """Encode."""
        return msgspec.msgpack.encode((value.now, _pack_batch(value.control), _pack_batch(value.votes)))

    def decode(self, encoded: bytes) -> Poll:
        """Decode."""
        now, control, votes = msgspec.msgpack.decode(encoded)
        return Poll(now, _unpack_batch(control), _unpack_batch(votes))

    def estimate_size(self, value: Poll) -> int:
        """Guess from the number of records."""
        return 64 + 300 * (len(value.votes) + len(value.control))

    def is_deterministic(self) -> bool:
        """Whether equal values have equal encodings."""
        return True


class IngestedCoder(coders.Coder):
    """Codes `Ingested`."""

    def encode(self, value: Ingested) -> bytes:
        """Encode."""
        return msgspec.msgpack.encode((value.now, _pack_batch(value.control), value.decoded.to_ipc()))

    def decode(self, encoded: bytes) -> Ingested:
        """Decode."""
        now, control, decoded = msgspec.msgpack.decode(encoded)
        return Ingested(now, _unpack_batch(control), Decoded.from_ipc(decoded))

    def estimate_size(self, value: Ingested) -> int:
        """Guess from the number of votes."""
        return 64 + 300 * (int(value.decoded.votes.num_rows) + len(value.control))

    def is_deterministic(self) -> bool:
        """Whether equal values have equal encodings."""
        return False


def _pack_batch(batch: LogBatch) -> tuple[object, ...]:
    return (
        batch.spans,
        batch.span_of.tobytes(),
        batch.offsets.tobytes(),
        batch.appended_at.tobytes(),
        batch.values,
        batch.content_types,
    )


def _unpack_batch(packed: list[object]) -> LogBatch:
    spans, span_of, offsets, appended_at, values, content_types = msgspec.convert(
        packed,
        tuple[
            list[tuple[tuple[str, int], tuple[int, int], tuple[int, int]]],
            bytes,
            bytes,
            bytes,
            list[bytes],
            list[str | None] | None,
        ],
    )
    return LogBatch(
        tuple(Span(TopicPartition(*source), Position(*start), Position(*end)) for source, start, end in spans),
        np.frombuffer(span_of, np.int16),
        np.frombuffer(offsets, np.int64),
        np.frombuffer(appended_at, np.int64),
        values,
        content_types,
    )


coders.registry.register_coder(Poll, PollCoder)
coders.registry.register_coder(Ingested, IngestedCoder)
