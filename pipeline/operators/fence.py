"""The fence: which of the rows that come are new. Everything exact hangs on it.

Any engine may repeat a batch, or cut it at other places than the last time. A partition's *mark* is the next position
to take; rows below it were taken before. A batch that starts above the mark would leave a hole: that is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.log import Position, Span, TopicPartition


class GapError(Exception):
    """Records between what was rated and what came are missing."""


class Fence:
    """Marks of all partitions of one owner."""

    def __init__(self, marks: dict[TopicPartition, Position]) -> None:
        self.marks = dict(marks)

    def pass_spans(
        self,
        spans: Sequence[Span],
        span_of: NDArray[np.int16],
        offsets: NDArray[np.int64],
        indices: NDArray[np.int32],
    ) -> NDArray[np.bool_] | None:
        """Return which rows are new, bool (n,), or None if all are. Raises `GapError`. Marks stay until `advance`."""
        behind = []
        for number, span in enumerate(spans):
            mark = self.marks.get(span.source, span.start)
            if span.start > mark:
                raise GapError(
                    f"{span.source.topic}/{span.source.partition} continues at {tuple(span.start)} but the store has "
                    f"read to {tuple(mark)}: records between them are missing. If the log was truncated or replaced, "
                    "start a new store, or replay the archive into one."
                )
            if span.start < mark:
                behind.append((number, mark))
        if not behind:
            return None
        fresh = np.ones(len(span_of), np.bool_)
        for number, mark in behind:
            mine = span_of == number
            below = (offsets < mark.offset) | ((offsets == mark.offset) & (indices < mark.index))
            fresh &= ~(mine & below)
        return fresh

    def advance(self, spans: Sequence[Span]) -> bool:
        """Move the marks past `spans`; return whether one moved."""
        moved = False
        for span in spans:
            if self.marks.get(span.source, Position(-1)) < span.end:
                self.marks[span.source] = span.end
                moved = True
        return moved


def encode_identities(identities: Mapping[TopicPartition, str]) -> bytes:
    """Return as JSON to which partitions marks belong (`EventLog.identities`)."""
    return msgspec.json.encode([(*source, identity) for source, identity in sorted(identities.items())])


def decode_identities(blob: bytes) -> dict[TopicPartition, str]:
    """Undo `encode_identities`."""
    rows = msgspec.json.decode(blob, type=list[tuple[str, int, str]])
    return {TopicPartition(topic, partition): identity for topic, partition, identity in rows}
