"""The compiled scanner of JSON votes: from a byte pool straight into `VoteRows`, with no Python object a vote.

It takes what votes look like in practice, keys in any order, any white space, unknown fields with plain values.
Whatever else it meets, it leaves the row `odd`, and the reference decoder decides: an escape, a character outside
ASCII, a key that occurs twice, a number in an unusual shape, a nested unknown value, and every fault. So it never
has to tell one fault from another, and has no verdict of its own.

It relies on a record being followed by other bytes (the next record, or the pool's padding): it may read on past a
record's end, but only succeeds if it stops exactly there.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX
from pipeline.contracts.byte_strings import (
    ABSENT,
    MAX_ID,
    Bytes,
    Pointer,
    byte_at,
    find_id_end,
    find_plain_end,
    is_space,
    load64,
    low_bytes,
    point_at,
)
from pipeline.contracts.decode_reference import MAX_VOTER_CHARS
from pipeline.contracts.json_numbers import FAILED, scan_integer, scan_number
from pipeline.contracts.string_book import NO_ROOM, Book, number_string
from pipeline.contracts.vote import SCHEMA_VERSION
from pipeline.contracts.vote_rows import (
    CELLS,
    DURATION,
    HAS_DURATION,
    HAS_PROPENSITY,
    LENGTHS,
    MATCHUP_ID,
    MODE,
    MODEL_LENGTHS,
    MODEL_STARTS,
    MODELS,
    NAMES,
    NO_RANK,
    NUMBER_LENGTH,
    NUMBER_START,
    PAYLOAD,
    RANKS,
    STARTS,
    TIME,
    TOKEN,
    VOTE_ID,
    VOTER,
    Slots,
    VoteRows,
    is_ballot,
    is_timely,
    mode_at,
)

# String fields have the place of their start in the cells as field number; the other fields follow.
_ARENA, _PROMPT, _POLICY = range(PAYLOAD, PAYLOAD + len(NAMES))
_TEXT_FIELDS = PAYLOAD + len(NAMES)
_SCHEMA, _TIME, _MODE, _MODELS, _RANKS, _PROPENSITY, _DURATION, _UNKNOWN = range(8, 16)
_REQUIRED: Final = sum(1 << field for field in (VOTE_ID, MATCHUP_ID, _ARENA, _SCHEMA, _TIME, _MODELS))

_FIELD_NAMES: Final = (
    ("schema", _SCHEMA),
    ("vote_id", VOTE_ID),
    ("matchup_id", MATCHUP_ID),
    ("arena", _ARENA),
    ("time", _TIME),
    ("voter", VOTER),
    ("mode", _MODE),
    ("models", _MODELS),
    ("ranks", _RANKS),
    ("prompt", _PROMPT),
    ("policy", _POLICY),
    ("propensity", _PROPENSITY),
    ("duration_ms", _DURATION),
    ("token", TOKEN),
)
_NAME_FIELDS: Final = np.array([field for _, field in _FIELD_NAMES], np.int64)
_NAME_LENGTHS: Final = np.array([len(name) for name, _ in _FIELD_NAMES], np.int64)
_NAME_HEADS: Final = np.array([int.from_bytes(name.encode()[:8], "little") for name, _ in _FIELD_NAMES], np.uint64)
_NAME_TAILS: Final = np.array([int.from_bytes(name.encode()[8:], "little") for name, _ in _FIELD_NAMES], np.uint64)

_QUOTE, _COMMA, _COLON, _LIST, _LIST_END, _OBJECT, _OBJECT_END = 34, 44, 58, 91, 93, 123, 125


class Numbers(NamedTuple):
    """Where the propensities stand in the pool that one division cannot round; length 0 elsewhere. Both (n,)."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]


@njit(nogil=True, cache=True, forceinline=True)
def _skip_space(raw: Pointer, place: int, end: int) -> int:
    while place < end and is_space(byte_at(raw, place)):
        place += 1
    return place


@njit(nogil=True, cache=True, forceinline=True)
def _is_word(raw: Pointer, place: int, a: int, b: int, c: int, d: int) -> bool:
    return (
        byte_at(raw, place) == a
        and byte_at(raw, place + 1) == b
        and byte_at(raw, place + 2) == c
        and byte_at(raw, place + 3) == d
    )


@njit(nogil=True, cache=True, forceinline=True)
def _is_null(raw: Pointer, place: int) -> bool:
    return _is_word(raw, place, 110, 117, 108, 108)


@njit(nogil=True, cache=True, forceinline=True)
def _find_name(raw: Pointer, start: int, length: int, guess: int) -> int:
    """Return the place in `_FIELD_NAMES` of the key, looking at `guess` first; `FAILED` for an unknown one."""
    head = load64(raw, start)
    tail: Any = np.uint64(0)
    if length < 1 or length > 11:
        return FAILED
    if length < 8:
        head = low_bytes(head, length)
    elif length > 8:
        tail = low_bytes(load64(raw, start + 8), length - 8)
    name = guess
    for _ in range(len(_NAME_HEADS)):
        if name >= len(_NAME_HEADS):
            name = 0
        if head == _NAME_HEADS[name] and length == _NAME_LENGTHS[name] and tail == _NAME_TAILS[name]:
            return name
        name += 1
    return FAILED


@njit(nogil=True, cache=True)
def _skip_value(raw: Pointer, place: int) -> int:
    """Return where the plain value at `place` ends; `FAILED` for a nested or unusual one."""
    byte = byte_at(raw, place)
    if byte == _QUOTE:
        place = find_plain_end(raw, place + 1)
        return place + 1 if byte_at(raw, place) == _QUOTE else FAILED
    if _is_null(raw, place) or _is_word(raw, place, 116, 114, 117, 101):
        return place + 4
    if byte == 102 and _is_word(raw, place + 1, 97, 108, 115, 101):
        return place + 5
    _, place, _ = scan_number(raw, place)
    return place


@njit(nogil=True, cache=True)
def _scan_models(raw: Pointer, place: int, end: int, cells: Pointer) -> tuple[int, int]:
    """Return the number of models in the list at `place` and where it ends, or `FAILED`."""
    if byte_at(raw, place) != _LIST:
        return 0, FAILED
    place += 1
    for count in range(1, K_MAX + 1):
        place = _skip_space(raw, place, end)
        if byte_at(raw, place) != _QUOTE:
            return 0, FAILED
        start = place + 1
        place = find_id_end(raw, start)
        length = place - start
        if byte_at(raw, place) != _QUOTE or length == 0 or length > MAX_ID:
            return 0, FAILED
        cells[MODEL_STARTS + count - 1] = start
        cells[MODEL_LENGTHS + count - 1] = length
        place = _skip_space(raw, place + 1, end)
        if byte_at(raw, place) == _LIST_END:
            return count, place + 1
        if byte_at(raw, place) != _COMMA:
            return 0, FAILED
        place += 1
    return 0, FAILED


@njit(nogil=True, cache=True)
def _scan_ranks(raw: Pointer, place: int, end: int, cells: Pointer) -> tuple[int, int]:
    """Return the number of ranks in the list at `place` and where it ends, or `FAILED`."""
    if byte_at(raw, place) != _LIST:
        return 0, FAILED
    place += 1
    for count in range(1, K_MAX + 1):
        place = _skip_space(raw, place, end)
        if _is_null(raw, place):
            cells[RANKS + count - 1] = NO_RANK
            place += 4
        else:
            rank, place = scan_integer(raw, place)
            if place == FAILED or rank < -(2**31) or rank >= 2**31:
                return 0, FAILED
            cells[RANKS + count - 1] = rank
        place = _skip_space(raw, place, end)
        if byte_at(raw, place) == _LIST_END:
            return count, place + 1
        if byte_at(raw, place) != _COMMA:
            return 0, FAILED
        place += 1
    return 0, FAILED


@njit(nogil=True, cache=True, forceinline=True)
def _find_text_end(raw: Pointer, place: int, field: int) -> int:
    """Return the place of the closing quote of the string field whose text begins at `place`, or `FAILED`."""
    if field in (VOTER, TOKEN):
        end = find_plain_end(raw, place)
        return FAILED if byte_at(raw, end) != _QUOTE or (field == VOTER and end - place > MAX_VOTER_CHARS) else end
    end = find_id_end(raw, place)
    return FAILED if byte_at(raw, end) != _QUOTE or end == place or end - place > MAX_ID else end


@njit(nogil=True, cache=True, forceinline=True)
def _scan_value(raw: Pointer, place: int, field: int, cells: Pointer, real: Pointer) -> int:
    """Read the value of a field that is no list; return where it ends, or `FAILED`."""
    start = place
    if field < _TEXT_FIELDS:
        if byte_at(raw, place) != _QUOTE:
            return FAILED
        place = _find_text_end(raw, place + 1, field)
        cells[STARTS + field] = start + 1
        cells[LENGTHS + field] = place - start - 1
        return FAILED if place == FAILED else place + 1
    if field == _MODE:
        if byte_at(raw, place) != _QUOTE:
            return FAILED
        place = find_plain_end(raw, place + 1)
        cells[MODE] = mode_at(raw, start + 1, place - start - 1)
        return FAILED if cells[MODE] < 0 or byte_at(raw, place) != _QUOTE else place + 1
    if field == _PROPENSITY:
        real[0], place, has_to_be_rounded = scan_number(raw, place)
        cells[HAS_PROPENSITY] = 1
        if has_to_be_rounded:
            cells[NUMBER_START] = start
            cells[NUMBER_LENGTH] = place - start
        return place
    integer, place = scan_integer(raw, place)
    if field == _TIME:
        cells[TIME] = integer
    elif field == _DURATION:
        cells[DURATION] = integer
        cells[HAS_DURATION] = 1
    elif integer != SCHEMA_VERSION:
        return FAILED
    return place


@njit(nogil=True, cache=True)
def _scan_vote(  # noqa: PLR0911, PLR0912 - one loop over the bytes, and each return leaves the record to the reference
    raw: Pointer, begin: int, end: int, cells: Pointer, real: Pointer
) -> tuple[int, int]:
    """Scan one record into `cells`; return the number of models, 0 if it is odd, and of ranks or `ABSENT`."""
    for field in range(_TEXT_FIELDS):
        cells[LENGTHS + field] = ABSENT
    for cell in range(TIME, CELLS):
        cells[cell] = 0
    real[0] = 0.0
    seen, k, rank_count, guess = 0, 0, ABSENT, 0
    place = _skip_space(raw, begin, end)
    if byte_at(raw, place) != _OBJECT:
        return 0, 0
    place += 1
    while True:
        place = _skip_space(raw, place, end)
        if place >= end or byte_at(raw, place) != _QUOTE:
            return 0, 0
        start = place + 1
        place = find_plain_end(raw, start)
        if byte_at(raw, place) != _QUOTE:
            return 0, 0
        name = _find_name(raw, start, place - start, guess)
        place = _skip_space(raw, place + 1, end)
        if byte_at(raw, place) != _COLON:
            return 0, 0
        place = _skip_space(raw, place + 1, end)
        if name == FAILED:
            place = _skip_value(raw, place)
        else:
            guess = name + 1
            field = _NAME_FIELDS[name]
            if seen >> field & 1:
                return 0, 0
            seen |= 1 << field
            if _is_null(raw, place):
                place = FAILED if _REQUIRED >> field & 1 else place + 4
            elif field == _MODELS:
                k, place = _scan_models(raw, place, end, cells)
            elif field == _RANKS:
                rank_count, place = _scan_ranks(raw, place, end, cells)
            else:
                place = _scan_value(raw, place, field, cells, real)
        if place == FAILED:
            return 0, 0
        place = _skip_space(raw, place, end)
        byte = byte_at(raw, place)
        place += 1
        if byte == _OBJECT_END:
            break
        if byte != _COMMA:
            return 0, 0
    if _skip_space(raw, place, end) != end or seen & _REQUIRED != _REQUIRED:
        return 0, 0
    return k, rank_count


@njit(nogil=True, cache=True)
def scan_votes(
    pool: Bytes,
    bounds: NDArray[np.int64],
    appended_at: NDArray[np.int64],
    rows: VoteRows,
    slots: Slots,
    numbers: Numbers,
    book: Book,
    progress: NDArray[np.int64],
) -> bool:
    """Scan records: record i, ``pool[bounds[i]:bounds[i + 1]]``, goes to row i. Rows not sure to be right stay odd.

    `progress` has how many rows, models and ranks are done: the scan goes on from there, and returns False if the
    book has to grow first. `slots` has room for `K_MAX` models and ranks a record.
    """
    first_row, models, ranks = progress
    all_cells, one_real = np.zeros(CELLS, np.int64), np.zeros(1)
    raw, cells, real = point_at(pool), point_at(all_cells), point_at(one_real)
    # One by one, because each use of a column through the tuple would count references.
    odd, starts, lengths, names, time, mode, propensity, has_propensity, duration, has_duration, _ = rows[:11]
    first, size, first_rank, count = rows[11:]
    slot_models, slot_ranks, ranked = slots
    number_starts, number_lengths = numbers
    all_table, all_offsets, all_hashes, all_data, all_known = book
    table, offsets, hashes = point_at(all_table), point_at(all_offsets), point_at(all_hashes)
    data, known = point_at(all_data), point_at(all_known)
    last, most, data_size = len(all_table) - 1, len(all_hashes), len(all_data)
    for row in range(first_row, len(appended_at)):
        k, rank_count = _scan_vote(raw, bounds[row], bounds[row + 1], cells, real)
        if k == 0 or not is_timely(cells[TIME], appended_at[row]):
            continue
        for name in range(len(NAMES) + k):
            if name < len(NAMES):
                start, length = cells[STARTS + _ARENA + name], cells[LENGTHS + _ARENA + name]
            else:
                start = cells[MODEL_STARTS + name - len(NAMES)]
                length = cells[MODEL_LENGTHS + name - len(NAMES)]
            number = number_string(raw, start, length, table, last, offsets, hashes, most, data, data_size, known)
            if number == NO_ROOM:
                progress[0], progress[1], progress[2] = row, models, ranks
                return False
            if name < len(NAMES):
                names[name, row] = number
            else:
                cells[MODELS + name - len(NAMES)] = number
        if not is_ballot(cells, cells[MODE], k, rank_count):
            continue
        odd[row] = False
        for column in range(PAYLOAD):
            starts[column, row] = cells[STARTS + column]
            lengths[column, row] = cells[LENGTHS + column]
        time[row], mode[row] = cells[TIME], cells[MODE]
        propensity[row], has_propensity[row] = real[0], cells[HAS_PROPENSITY] != 0
        duration[row], has_duration[row] = cells[DURATION], cells[HAS_DURATION] != 0
        number_starts[row], number_lengths[row] = cells[NUMBER_START], cells[NUMBER_LENGTH]
        first[row], size[row], first_rank[row], count[row] = models, k, ranks, rank_count
        for slot in range(k):
            slot_models[models + slot] = cells[MODELS + slot]
        for slot in range(rank_count):
            rank = cells[RANKS + slot]
            ranked[ranks + slot] = rank != NO_RANK
            slot_ranks[ranks + slot] = rank if rank != NO_RANK else 0
        models += k
        ranks += max(rank_count, 0)
    progress[0], progress[1], progress[2] = len(appended_at), models, ranks
    return True
