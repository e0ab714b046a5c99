"""Votes while they are decoded: one row a vote in plain arrays, and the checks that JSON and envelopes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX, K_MIN, MODE_NAMES, Mode
from pipeline.contracts.byte_strings import ABSENT, Bytes, Pointer, load64, low_bytes, make_pool
from pipeline.contracts.decode_reference import DecodedVote
from pipeline.contracts.reasons import MAX_AHEAD_MS
from pipeline.contracts.string_book import Book, number_strings

TEXTS: Final = ("vote_id", "matchup_id", "voter", "token", "payload")
"""Columns of strings that hardly repeat, in the order of `VoteRows.starts`."""
VOTE_ID, MATCHUP_ID, VOTER, TOKEN, PAYLOAD = range(len(TEXTS))
NAMES: Final = ("arena", "prompt", "policy")
"""Columns of ids that do repeat, in the order of `VoteRows.names`; the models are the others."""

_MODE_CODES: Final = {name: code for code, name in enumerate(MODE_NAMES)}
_MODE_WORDS: Final = np.array([int.from_bytes(name.encode(), "little") for name in MODE_NAMES], np.uint64)
_MODE_LENGTHS: Final = np.array([len(name) for name in MODE_NAMES], np.int64)


class Slots(NamedTuple):
    """Models and ranks of many ballots, one after the other; rows point into them."""

    models: NDArray[np.int32]
    """Numbers in the batch's `Book`."""
    ranks: NDArray[np.int32]
    ranked: NDArray[np.bool_]
    """Whether the rank is there; False = unranked."""

    @classmethod
    def allocate(cls, models: int, ranks: int) -> Slots:
        """Make room, with undefined content."""
        return cls(
            np.empty(models, np.int32),
            np.empty(ranks, np.int32),
            np.empty(ranks, np.bool_),
        )

    def first(self, models: int, ranks: int) -> Slots:
        """Return the first `models` models and `ranks` ranks."""
        return Slots(
            self.models[:models],
            self.ranks[:ranks],
            self.ranked[:ranks],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Slots]) -> Slots:
        """Put `parts` one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls._fields))


# One vote while a kernel works on it: int64 (CELLS,), passed as a pointer.
STARTS: Final = 0
"""Of string fields: first those of `TEXTS`, without the payload, then those of `NAMES`."""
LENGTHS: Final = STARTS + 8
MODEL_STARTS: Final = LENGTHS + 8
MODEL_LENGTHS: Final = MODEL_STARTS + K_MAX
MODELS: Final = MODEL_LENGTHS + K_MAX
RANKS: Final = MODELS + K_MAX
TIME: Final = RANKS + K_MAX
MODE: Final = TIME + 1
DURATION: Final = TIME + 2
HAS_DURATION: Final = TIME + 3
HAS_PROPENSITY: Final = TIME + 4
NUMBER_START: Final = TIME + 5
NUMBER_LENGTH: Final = TIME + 6
CELLS: Final = TIME + 7
NO_RANK: Final = 2**31
"""Stands for null among the ranks of `Cells`: larger than any 32-bit integer."""

_RANK = int(Mode.RANK)
_ORDERS_NOTHING = int(Mode.ALL_BAD)  # this mode and those after it


class VoteRows(NamedTuple):
    """n votes in plain arrays.

    `starts` and `lengths` are (len(TEXTS), n), into a byte pool; `names` is (len(NAMES), n), numbers in a `Book` or
    `ABSENT`; the rest is (n,).
    `odd` marks the rows that the reference decoder has to look at; their other values are undefined until then.
    Models of a row are ``slots[first_model:first_model + k]``, its ranks
    ``slots[first_rank:first_rank + rank_count]``; a `rank_count` of `ABSENT` means that it has none.
    """

    odd: NDArray[np.bool_]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    names: NDArray[np.int32]
    time: NDArray[np.int64]
    mode: NDArray[np.int8]
    propensity: NDArray[np.float64]
    has_propensity: NDArray[np.bool_]
    duration: NDArray[np.int64]
    has_duration: NDArray[np.bool_]
    fault: NDArray[np.int8]
    first_model: NDArray[np.int64]
    k: NDArray[np.int32]
    first_rank: NDArray[np.int64]
    rank_count: NDArray[np.int32]

    @classmethod
    def allocate(cls, rows: int) -> VoteRows:
        """Make `rows` rows, all of them odd, without fault and payload; the rest is undefined."""
        lengths = np.empty((len(TEXTS), rows), np.int32)
        lengths[PAYLOAD] = ABSENT
        return cls(
            odd=np.ones(rows, np.bool_),
            starts=np.empty((len(TEXTS), rows), np.int64),
            lengths=lengths,
            names=np.empty((len(NAMES), rows), np.int32),
            time=np.empty(rows, np.int64),
            mode=np.empty(rows, np.int8),
            propensity=np.empty(rows, np.float64),
            has_propensity=np.empty(rows, np.bool_),
            duration=np.empty(rows, np.int64),
            has_duration=np.empty(rows, np.bool_),
            fault=np.zeros(rows, np.int8),
            first_model=np.empty(rows, np.int64),
            k=np.empty(rows, np.int32),
            first_rank=np.empty(rows, np.int64),
            rank_count=np.empty(rows, np.int32),
        )

    def take(self, places: NDArray[np.int64]) -> VoteRows:
        """Return the rows at `places`."""
        columns: tuple[Any, ...] = self
        return VoteRows(*(column[..., places] for column in columns))


@dataclass(frozen=True, slots=True)
class VotePart:
    """Some rows of a batch with the pool and the slots that they point into.

    `places` are their row numbers in the batch; `payload_of` gives the record of one of them as JSON.
    """

    places: NDArray[np.int64]
    rows: VoteRows
    slots: Slots
    pool: Bytes
    payload_of: Callable[[int], bytes]


def merge_parts(parts: Sequence[VotePart], total: int) -> tuple[Bytes, VoteRows, Slots]:
    """Bring `parts` into one pool and one set of `total` rows, each row at its place; rows of no part are odd."""
    if len(parts) == 1 and len(parts[0].places) == total:
        return parts[0].pool, parts[0].rows, parts[0].slots
    merged = VoteRows.allocate(total)
    columns: tuple[NDArray[Any], ...] = merged
    slots = [Slots.allocate(0, 0)]
    bytes_so_far = models_so_far = ranks_so_far = 0
    for part in parts:
        for target, source in zip(columns, part.rows, strict=True):
            target[..., part.places] = source
        merged.starts[:, part.places] += bytes_so_far
        merged.first_model[part.places] += models_so_far
        merged.first_rank[part.places] += ranks_so_far
        slots.append(part.slots)
        bytes_so_far += len(part.pool)
        models_so_far += len(part.slots.models)
        ranks_so_far += len(part.slots.ranks)
    return make_pool([part.pool.data for part in parts]), merged, Slots.concatenate(slots)


@njit(nogil=True, cache=True, forceinline=True)
def mode_at(raw: Pointer, start: int, length: int) -> int:
    """Return the `Mode` that the string names, -1 if it names none."""
    if 1 <= length <= 8:
        word = low_bytes(load64(raw, start), length)
        for mode in range(len(_MODE_WORDS)):
            if length == _MODE_LENGTHS[mode] and word == _MODE_WORDS[mode]:
                return mode
    return -1


@njit(nogil=True, cache=True, forceinline=True)
def is_timely(time: int, appended_at: int) -> bool:
    """Whether the time is neither negative nor too far ahead. False, too, where the difference could overflow."""
    return time >= 0 and appended_at >= 0 and time - appended_at <= MAX_AHEAD_MS


@njit(nogil=True, cache=True)
def is_ballot(cells: Pointer, mode: int, k: int, rank_count: int) -> bool:
    """Whether the ballot in `cells` is one: its size, its models, and ranks that agree with its mode."""
    if k < K_MIN or k > K_MAX:
        return False
    for slot in range(1, k):
        for other in range(slot):
            if cells[MODELS + slot] == cells[MODELS + other]:
                return False
    if mode >= _ORDERS_NOTHING:
        return rank_count == ABSENT
    if rank_count != k:
        return False
    unranked, best = 0, NO_RANK
    for slot in range(k):
        rank = cells[RANKS + slot]
        if rank == NO_RANK:
            unranked += 1
        elif mode != _RANK:
            if best not in (NO_RANK, rank):  # `best` has one rank value
                return False
            best = rank
    return unranked == 0 if mode == _RANK else unranked > 0 and best != NO_RANK


def fill_rows(
    pool: Bytes,
    rows: VoteRows,
    slots: Slots,
    book: Book,
    places: NDArray[np.int64],
    votes: Sequence[DecodedVote],
    payloads: Sequence[bytes | None],
) -> tuple[Bytes, Slots, Book]:
    """Write reference-decoded `votes` to the rows at `places`; return pool, slots and book with theirs added.

    A payload of None leaves what the row has.
    """
    texts: list[bytes] = []
    end = len(pool)
    for column in (VOTE_ID, MATCHUP_ID, VOTER, TOKEN):
        values = [_encode(getattr(vote.vote, TEXTS[column])) for vote in votes]
        end = _place_texts(rows.starts[column], rows.lengths[column], places, values, texts, end)
    if with_payload := [i for i, payload in enumerate(payloads) if payload is not None]:
        values = [payloads[i] for i in with_payload]
        end = _place_texts(rows.starts[PAYLOAD], rows.lengths[PAYLOAD], places[with_payload], values, texts, end)
    rows.time[places] = [vote.vote.time for vote in votes]
    rows.mode[places] = [_MODE_CODES[vote.vote.mode] for vote in votes]
    rows.fault[places] = [vote.fault.code if vote.fault else 0 for vote in votes]
    _place_numbers(rows.propensity, rows.has_propensity, places, [vote.vote.propensity for vote in votes])
    _place_numbers(rows.duration, rows.has_duration, places, [vote.vote.duration_ms for vote in votes])
    for column, name in enumerate(NAMES):
        rows.names[column, places], book = _number_texts([getattr(vote.vote, name) for vote in votes], book)
    models, book = _number_texts([model for vote in votes for model in vote.vote.models], book)
    ranks = [rank for vote in votes for rank in vote.vote.ranks or ()]
    more = Slots.allocate(len(models), len(ranks))
    more.models[:] = models
    more.ranks[:] = [rank or 0 for rank in ranks]
    more.ranked[:] = [rank is not None for rank in ranks]
    sizes = np.array([len(vote.vote.models) for vote in votes], np.int64)
    counts = np.array([ABSENT if vote.vote.ranks is None else len(vote.vote.ranks) for vote in votes], np.int64)
    rows.k[places], rows.rank_count[places] = sizes, counts
    rows.first_model[places] = len(slots.models) + np.cumsum(sizes) - sizes
    present = np.maximum(counts, 0)
    rows.first_rank[places] = len(slots.ranks) + np.cumsum(present) - present
    return make_pool([pool.data, *texts]), Slots.concatenate([slots, more]), book


def _number_texts(values: Sequence[str | None], book: Book) -> tuple[NDArray[np.int32], Book]:
    encoded = [_encode(value) for value in values]
    lengths = np.array([ABSENT if value is None else len(value) for value in encoded], np.int32)
    starts = np.cumsum(np.maximum(lengths, 0), dtype=np.int64) - np.maximum(lengths, 0)
    return number_strings(make_pool([value for value in encoded if value is not None]), starts, lengths, book)


def _encode(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _place_texts(
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
    places: NDArray[np.int64],
    values: Sequence[bytes | None],
    texts: list[bytes],
    end: int,
) -> int:
    """Point `places` to `values`, which are added to `texts` and will lie in the pool from `end` on."""
    sizes = np.array([ABSENT if value is None else len(value) for value in values], np.int64)
    present = np.maximum(sizes, 0)
    ends = end + np.cumsum(present)
    lengths[places] = sizes
    starts[places] = ends - present
    texts.extend(value for value in values if value is not None)
    return int(ends[-1]) if len(ends) else end


def _place_numbers(
    values: NDArray[Any], present: NDArray[np.bool_], places: NDArray[np.int64], given: Sequence[float | None]
) -> None:
    present[places] = [number is not None for number in given]
    values[places] = [number if number is not None else 0 for number in given]
