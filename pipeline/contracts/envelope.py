"""Envelopes: many votes in one record, as an Arrow IPC stream with the columns of `VOTE_SCHEMA`.

Columns may have any width of integer, any kind of string and list, and any order; others are ignored. Rows that are
not plainly right go to the reference decoder as JSON, so envelopes have no verdicts of their own, but for these: a
stream that cannot be read (bad UTF-8 included) is `not_json`, one without a required column or with a column of the
wrong type is `schema`, and one that would unpack to more than `MAX_UNPACKED_BYTES` is `too_large`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX, Mode
from pipeline.contracts.byte_strings import ABSENT, Bytes, is_id_at, make_pool, point_at
from pipeline.contracts.decode_reference import MAX_VOTER_CHARS, Rejected
from pipeline.contracts.ipc_sizes import measure_unpacked
from pipeline.contracts.reasons import Reason
from pipeline.contracts.string_book import Book, number_strings
from pipeline.contracts.vote import SCHEMA_VERSION, VOTE_SCHEMA, Vote
from pipeline.contracts.vote_batch import encode_rows, encode_rows_singly, tabulate_votes
from pipeline.contracts.vote_columns import BatchTooLargeError
from pipeline.contracts.vote_rows import (
    CELLS,
    MATCHUP_ID,
    MODELS,
    NAMES,
    NO_RANK,
    RANKS,
    TEXTS,
    TOKEN,
    VOTE_ID,
    VOTER,
    Slots,
    VotePart,
    VoteRows,
    is_ballot,
    is_timely,
    mode_at,
)

MAX_UNPACKED_BYTES: Final = 256 * 1024 * 1024
"""Compression, dictionaries and views let a small record unpack to gigabytes."""

_APPENDED_AT: Final = "appended_at"
_APPENDED_FIELD: Final = pa.field(_APPENDED_AT, pa.int64())
_REQUIRED: Final = ("schema", "vote_id", "matchup_id", "arena", "time", "models")
_ARENA: Final = NAMES.index("arena")
_MAX_PLAIN_TOKEN: Final = 1024  # a row with a longer one might pass the limit of a vote


@dataclass(frozen=True, slots=True)
class Envelope:
    """The votes of one record: `columns` in the types of `VOTE_SCHEMA`, `sent` as they came.

    `odd` marks rows with a value that does not fit its column's type; None if there are none.
    """

    columns: pa.Table
    sent: pa.Table
    appended_at: pa.ChunkedArray | None
    odd: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return int(self.sent.num_rows)

    def row_json(self, row: int) -> bytes:
        """Return one row as the JSON of a vote, without what is null."""
        return encode_rows_singly(self.sent.slice(row, 1))[0]


def encode_envelope(votes: Iterable[Vote]) -> bytes:
    """Encode votes as the value of one record; its content type is `log.ARROW_STREAM`."""
    return encode_rows(tabulate_votes(votes))


def read_envelope(value: bytes) -> Envelope | Rejected:
    """Read one record. What comes back is safe to work with, whatever the record was."""
    try:
        _limit_unpacked(measure_unpacked(value))
        table = pa.ipc.open_stream(value).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        return Rejected(Reason.NOT_JSON, f"not a readable Arrow stream: {str(error)[:200]}")
    except _UnpacksTooLargeError as error:
        return Rejected(Reason.TOO_LARGE, str(error))
    try:
        return _conform_table(table)
    except _WrongColumnError as error:
        return Rejected(Reason.SCHEMA, str(error))
    except _UnpacksTooLargeError as error:
        return Rejected(Reason.TOO_LARGE, str(error))


class _WrongColumnError(Exception):
    pass


class _UnpacksTooLargeError(Exception):
    pass


def _conform_table(table: pa.Table) -> Envelope:
    if table.schema.equals(VOTE_SCHEMA):
        return Envelope(table, table, None, None)
    names = set(table.schema.names)
    if missing := [name for name in _REQUIRED if name not in names]:
        raise _WrongColumnError(f"columns are missing: {', '.join(missing)}")
    odd = np.zeros(len(table), np.bool_)
    columns = [_conform_column(table, field, odd) for field in VOTE_SCHEMA]
    appended_at = _conform_column(table, _APPENDED_FIELD, odd) if _APPENDED_AT in names else None
    sent = table.select([name for name in VOTE_SCHEMA.names if name in names])
    return Envelope(pa.table(columns, schema=VOTE_SCHEMA), sent, appended_at, odd if odd.any() else None)


def _conform_column(table: pa.Table, field: pa.Field, odd: NDArray[np.bool_]) -> pa.ChunkedArray:
    """Cast to the type of `field`. Marks rows in `odd` whose value does not fit; what they become is undefined."""
    places = table.schema.get_all_field_indices(field.name)
    if not places:
        return pa.chunked_array([pa.nulls(len(table), field.type)])
    if len(places) > 1:
        raise _WrongColumnError(f"column {field.name} is there twice")
    column = table.column(places[0])
    if column.type.equals(field.type):
        return column
    if not _can_become(column.type, field.type, field.name in _REQUIRED):
        raise _WrongColumnError(f"column {field.name} is {column.type}; it must be {field.type}")
    is_list = pa.types.is_list(field.type)
    target = field.type.value_type if is_list else field.type
    if is_list and not pa.types.is_null(column.type):
        column = pa.chunked_array([_as_list(chunk) for chunk in column.chunks], pa.list_(column.type.value_type))
    _limit_unpacked(sum(_unpacked_bytes(chunk.values if is_list else chunk) for chunk in column.chunks))
    if pa.types.is_integer(target):
        _mark_unfit(column, target, odd, is_list=is_list)
    return column.cast(field.type, safe=not pa.types.is_primitive(target))


def _can_become(given: pa.DataType, wanted: pa.DataType, required: bool) -> bool:
    if pa.types.is_null(given):
        return not required
    if pa.types.is_list(wanted):
        return _is_list(given) and _can_become(given.value_type, wanted.value_type, required=False)
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(given))
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(given) or pa.types.is_integer(given))
    if pa.types.is_dictionary(given):
        given = given.value_type
    return bool(pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given))


def _is_list(kind: pa.DataType) -> bool:
    checks = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")
    return any(getattr(pa.types, check)(kind) for check in checks)


def _as_list(chunk: pa.Array) -> pa.Array:
    """Turn any variant of list into list, with the same values."""
    if not hasattr(chunk, "sizes"):
        return chunk.cast(pa.list_(chunk.type.value_type))
    lengths = chunk.sizes.to_numpy().astype(np.int64) * chunk.is_valid().to_numpy(zero_copy_only=False)
    _limit_unpacked(8 * int(lengths.sum()))  # views may overlap
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), chunk.flatten(), mask=chunk.is_null())


def _unpacked_bytes(strings: pa.Array) -> int:
    """Say how much the values would take one after the other."""
    if pa.types.is_dictionary(strings.type):
        sizes = pc.binary_length(strings.dictionary.cast(pa.large_string()))
        return pc.sum(sizes.take(strings.indices)).as_py() or 0
    if pa.types.is_string_view(strings.type):
        views = np.frombuffer(strings.buffers()[1], np.int32).reshape(-1, 4)  # the first number is the length
        return int(views[strings.offset : strings.offset + len(strings), 0].sum(dtype=np.int64))
    return 0


def _limit_unpacked(size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        raise _UnpacksTooLargeError(f"unpacks to {size} bytes; at most {MAX_UNPACKED_BYTES} are allowed")


def _mark_unfit(column: pa.ChunkedArray, target: pa.DataType, odd: NDArray[np.bool_], *, is_list: bool) -> None:
    limits = np.iinfo(target.to_pandas_dtype())
    row = 0
    for chunk in column.chunks:
        values = chunk.flatten() if is_list else chunk
        if pa.types.is_integer(values.type) and values.type.bit_width >= target.bit_width:
            given = np.iinfo(values.type.to_pandas_dtype())
            low, high = max(limits.min, given.min), min(limits.max, given.max)
            fits = pc.and_(
                pc.greater_equal(values, pa.scalar(low, values.type)),
                pc.less_equal(values, pa.scalar(high, values.type)),
            )
            unfit = np.flatnonzero(pc.invert(fits).fill_null(False).to_numpy(zero_copy_only=False))
            if is_list:
                unfit = pc.list_parent_indices(chunk).to_numpy()[unfit]
            odd[row + unfit] = True
        row += len(chunk)


def check_envelopes(
    envelopes: Sequence[tuple[int, Envelope]], appended_at: NDArray[np.int64], book: Book, *, trust_row_times: bool
) -> tuple[VotePart, Book]:
    """Check the rows of all `envelopes`, given as (row number in the batch of its first vote, envelope).

    `appended_at` has the append time of every row of the batch; with `trust_row_times` it takes over those of the
    envelopes. Returns the book with the ids of the rows added.
    """
    sizes = np.array([len(envelope) for _, envelope in envelopes])
    firsts = np.array([first for first, _ in envelopes])
    before = np.cumsum(sizes) - sizes
    places = np.arange(int(sizes.sum())) + np.repeat(firsts - before, sizes)
    table = pa.concat_tables([envelope.columns for _, envelope in envelopes]).combine_chunks()
    columns = {name: _single_chunk(table[name]) for name in VOTE_SCHEMA.names}
    if trust_row_times:
        own = [envelope.appended_at or pa.nulls(len(envelope), pa.int64()) for _, envelope in envelopes]
        given = pc.coalesce(_join(own), columns["time"], pa.array(appended_at[places]))
        appended_at[places] = given.to_numpy()

    def row_json(row: int) -> bytes:
        which = int(np.searchsorted(before, row, side="right")) - 1
        while not sizes[which]:  # an empty one that begins where this one does
            which -= 1
        return envelopes[which][1].row_json(int(row - before[which]))

    rows, slots, pool, found = _load_columns(columns)
    schema, has_schema = _numbers(columns["schema"])
    _, has_time = _numbers(columns["time"])
    may_be_good = (schema == SCHEMA_VERSION) & has_schema & has_time
    for column, name in enumerate(NAMES):
        rows.names[column], book = number_strings(pool, *found[name], book)
    slots.models[:], book = number_strings(pool, *found["models"], book)
    names = _find_ids(book.data, book.offsets[: int(book.known[0]) + 1])
    _check_rows(pool, rows, slots, names, appended_at[places], may_be_good)
    for (_, envelope), first in zip(envelopes, before, strict=True):
        if envelope.odd is not None:
            rows.odd[first : first + len(envelope)] |= envelope.odd
    return VotePart(places, rows, slots, pool, row_json), book


def _join(columns: Sequence[pa.Array | pa.ChunkedArray]) -> pa.Array:
    chunks = [chunk for column in columns for chunk in getattr(column, "chunks", [column])]
    return pa.concat_arrays(chunks)


def _single_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks > 1:
        raise BatchTooLargeError(f"the envelopes of one batch hold {column.nbytes} bytes; read fewer at a time")
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _numbers(column: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return values, 0 for null, and whether they are there."""
    if not column.null_count:
        return column.to_numpy(), np.ones(len(column), np.bool_)
    return column.fill_null(0).to_numpy(), column.is_valid().to_numpy(zero_copy_only=False)


def _extents(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return starts and lengths of strings or lists in what they lie in; `ABSENT` for null."""
    if not len(column):
        return np.zeros(0, np.int64), np.zeros(0, np.int32)
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    lengths = np.diff(offsets)
    if column.null_count:
        lengths[column.is_null().to_numpy(zero_copy_only=False)] = ABSENT
    return offsets[:-1].astype(np.int64), lengths


class _Texts:
    """Collects the bytes of string columns for a pool."""

    def __init__(self) -> None:
        self.parts: list[memoryview] = []
        self.end = 0

    def add(self, column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return starts and lengths in the pool to be."""
        starts, lengths = _extents(column)
        if (data := column.buffers()[2]) is not None:
            starts += self.end
            self.parts.append(memoryview(data))
            self.end += data.size
        return starts, lengths


def _load_columns(
    columns: dict[str, pa.Array],
) -> tuple[VoteRows, Slots, Bytes, dict[str, tuple[NDArray[np.int64], NDArray[np.int32]]]]:
    """Lay the columns out as rows, all of them odd as yet; also say where the ids that repeat lie in the pool."""
    rows, texts = VoteRows.allocate(len(columns["time"])), _Texts()
    for column in (VOTE_ID, MATCHUP_ID, VOTER, TOKEN):
        rows.starts[column], rows.lengths[column] = texts.add(columns[TEXTS[column]])
    found = {name: texts.add(columns[name]) for name in NAMES}
    found["models"] = texts.add(columns["models"].values)
    mode_starts, mode_lengths = texts.add(columns["mode"])
    rows.time[:], _ = _numbers(columns["time"])
    rows.propensity[:], rows.has_propensity[:] = _numbers(columns["propensity"])
    rows.duration[:], rows.has_duration[:] = _numbers(columns["duration_ms"])
    rows.first_model[:], rows.k[:] = _extents(columns["models"])
    rows.first_rank[:], rows.rank_count[:] = _extents(columns["ranks"])
    ranks, ranked = _numbers(columns["ranks"].values)
    slots = Slots(np.empty(len(found["models"][0]), np.int32), ranks, ranked)
    pool = make_pool(texts.parts)
    _load_modes(pool, mode_starts, mode_lengths, rows.mode)
    return rows, slots, pool, found


@njit(nogil=True, cache=True)
def _find_ids(data: Bytes, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which strings of a book are valid ids."""
    raw = point_at(data)
    is_id = np.empty(len(offsets) - 1, np.bool_)
    for number in range(len(is_id)):
        is_id[number] = is_id_at(raw, offsets[number], offsets[number + 1] - offsets[number])
    return is_id


@njit(nogil=True, cache=True)
def _load_modes(pool: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32], modes: NDArray[np.int8]) -> None:
    raw = point_at(pool)
    for row in range(len(starts)):
        modes[row] = Mode.RANK if lengths[row] == ABSENT else mode_at(raw, starts[row], lengths[row])


@njit(nogil=True, cache=True)
def _check_rows(
    pool: Bytes,
    rows: VoteRows,
    slots: Slots,
    is_id: NDArray[np.bool_],
    appended_at: NDArray[np.int64],
    may_be_good: NDArray[np.bool_],
) -> None:
    """Find the rows that are plainly right: they are odd no more."""
    all_cells = np.zeros(CELLS, np.int64)
    raw, cells = point_at(pool), point_at(all_cells)
    # One by one, because each use of a column through the tuple would count references.
    odd, starts, lengths, names, time, mode, propensity, has_propensity = rows[:8]
    first, size, first_rank, count = rows[11:]
    models, ranks, ranked = slots
    for row in range(len(odd)):
        k = size[row]
        if not may_be_good[row] or mode[row] < 0 or not is_timely(time[row], appended_at[row]) or k > K_MAX:
            continue
        if lengths[VOTER, row] > MAX_VOTER_CHARS or lengths[TOKEN, row] > _MAX_PLAIN_TOKEN:
            continue
        if has_propensity[row] and not np.isfinite(propensity[row]):
            continue
        good = is_id_at(raw, starts[VOTE_ID, row], lengths[VOTE_ID, row])
        good &= is_id_at(raw, starts[MATCHUP_ID, row], lengths[MATCHUP_ID, row])
        good &= names[_ARENA, row] != ABSENT
        for name in range(len(NAMES)):
            good &= names[name, row] == ABSENT or is_id[names[name, row]]
        for slot in range(k):
            model = models[first[row] + slot]
            good &= model != ABSENT and is_id[model]
            cells[MODELS + slot] = model
        for slot in range(min(count[row], K_MAX)):
            place = first_rank[row] + slot
            cells[RANKS + slot] = ranks[place] if ranked[place] else NO_RANK
        if good and is_ballot(cells, mode[row], k, count[row]):
            odd[row] = False
