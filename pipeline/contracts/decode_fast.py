"""The fast decoder: a batch of votes at once, by compiled kernels and, where those are not sure, by the reference.

What comes out is what `decode_reference` would say, row by row; nothing here has a verdict of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX
from pipeline.contracts.byte_strings import Bytes, gather_strings, make_pool
from pipeline.contracts.decode_reference import DecodedVote, Rejected, decode_vote
from pipeline.contracts.json_scan import Numbers, scan_votes
from pipeline.contracts.reasons import MAX_VOTE_BYTES
from pipeline.contracts.string_book import Book, grow_book
from pipeline.contracts.vote_columns import Placed, build_columns
from pipeline.contracts.vote_rows import PAYLOAD, Slots, VotePart, VoteRows, fill_rows, merge_parts


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be used, with its record as JSON."""

    row: int
    why: Rejected
    payload: bytes


def scan_records(
    values: Sequence[bytes], appended_at: NDArray[np.int64], book: Book, places: NDArray[np.int64] | None = None
) -> tuple[VotePart, Book]:
    """Scan JSON records, one vote each; `places` are their row numbers in the batch, by default 0, 1, 2 ...

    Returns the book with their ids added.
    """
    total = len(values)
    sizes = np.fromiter(map(len, values), np.int64, total)
    scanned: Sequence[bytes] = values
    if (too_large := sizes > MAX_VOTE_BYTES).any():
        scanned = [b"" if large else value for value, large in zip(values, too_large, strict=True)]
        sizes[too_large] = 0
    bounds = np.zeros(total + 1, np.int64)
    np.cumsum(sizes, out=bounds[1:])
    pool = make_pool(scanned)
    rows, slots = VoteRows.allocate(total), Slots.allocate(K_MAX * total, K_MAX * total)
    numbers = Numbers(np.zeros(total, np.int64), np.zeros(total, np.int32))
    progress = np.zeros(3, np.int64)
    while not scan_votes(pool, bounds, appended_at, rows, slots, numbers, book, progress):
        book = grow_book(book)
    rows.starts[PAYLOAD] = bounds[:-1]
    rows.lengths[PAYLOAD] = sizes
    _round_numbers(pool, rows, numbers)
    if places is None:
        places = np.arange(total)
    part = VotePart(places, rows, slots.first(*progress[1:].tolist()), pool, values.__getitem__)
    return part, book


def _round_numbers(pool: Bytes, rows: VoteRows, numbers: Numbers) -> None:
    """Let Arrow round the numbers that the scanner could not."""
    unrounded = np.flatnonzero((numbers.lengths > 0) & ~rows.odd)
    if not len(unrounded):
        return
    offsets = np.empty(len(unrounded) + 1, np.int32)
    texts = gather_strings(pool, numbers.starts[unrounded], numbers.lengths[unrounded], offsets)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(texts)]
    rows.propensity[unrounded] = pa.Array.from_buffers(pa.string(), len(unrounded), buffers).cast(pa.float64())


def decode_rows(
    parts: Sequence[VotePart], book: Book, placed: Placed, refused: Sequence[RejectedRow] = ()
) -> tuple[pa.RecordBatch, list[RejectedRow]]:
    """Bring scanned `parts` to an end.

    Returns the votes (`DECODED_SCHEMA`) and, in order, the rows that cannot be used. `refused` are rows of no part
    that were rejected before.
    """
    total = len(placed.offset)
    rejected = list(refused)
    votes: list[DecodedVote] = []
    places: list[int] = []
    payloads: list[bytes | None] = []
    for part in parts:
        for row in np.flatnonzero(part.rows.odd).tolist():
            place, payload = int(part.places[row]), part.payload_of(row)
            verdict = decode_vote(payload, int(placed.appended_at[place]))
            if isinstance(verdict, Rejected):
                rejected.append(RejectedRow(place, verdict, payload))
                continue
            votes.append(verdict)
            places.append(place)
            is_in_pool = part.rows.lengths[PAYLOAD, row] >= 0
            payloads.append(None if is_in_pool or verdict.fault is None else payload)
    pool, rows, slots = merge_parts(parts, total)
    if votes:
        pool, slots, book = fill_rows(pool, rows, slots, book, np.array(places, np.int64), votes, payloads)
    rejected.sort(key=lambda reject: reject.row)
    kept = None
    if rejected:
        keep = np.ones(total, np.bool_)
        keep[[reject.row for reject in rejected]] = False
        kept = np.flatnonzero(keep)
    return build_columns(pool, rows, slots, book, placed, kept), rejected
