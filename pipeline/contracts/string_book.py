"""A book of distinct strings: kernels number the ids that repeat while they are at them anyway.

The book has its own copy of each string, so a number means the same whatever the strings were read from.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.byte_strings import (
    ABSENT,
    PADDING,
    Bytes,
    Pointer,
    copy_bytes,
    gather_strings,
    hash_bytes,
    point_at,
    same_bytes,
)

NO_ROOM: Final = -2
"""What `number_string` says when the book has to grow first."""

_SMALL: Final = 512  # strings; most batches have fewer, and so small a book stays in the cache
_BYTES_A_STRING: Final = 32


class Book(NamedTuple):
    """Numbered strings: number i is ``data[offsets[i]:offsets[i + 1]]``; there are ``known[0]`` of them.

    `table` has number + 1 at the place that the hash points to, or further on, and 0 where it is free.
    """

    table: NDArray[np.int32]
    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    data: Bytes
    known: NDArray[np.int64]


def make_book(strings: int = _SMALL, size: int = _SMALL * _BYTES_A_STRING) -> Book:
    """Make an empty book with room for as many strings and bytes."""
    return Book(
        np.zeros(4 * strings, np.int32),
        np.zeros(strings + 1, np.int64),
        np.empty(strings, np.uint64),
        np.empty(size + 2 * len(PADDING), np.uint8),
        np.zeros(1, np.int64),
    )


def grow_book(book: Book) -> Book:
    """Return a book of eight times the size with the same numbers."""
    grown = make_book(8 * len(book.hashes), 8 * len(book.data))
    known = int(book.known[0])
    grown.offsets[: known + 1] = book.offsets[: known + 1]
    grown.hashes[:known] = book.hashes[:known]
    grown.data[: len(book.data)] = book.data
    grown.known[0] = known
    _fill_table(grown.hashes, known, grown.table)
    return grown


@njit(nogil=True, cache=True)
def _fill_table(hashes: NDArray[np.uint64], known: int, table: NDArray[np.int32]) -> None:
    last = len(table) - 1
    for number in range(known):
        place: Any = np.int64(hashes[number] & np.uint64(last))
        while table[place] != 0:
            place = (place + 1) & last
        table[place] = number + 1


@njit(nogil=True, cache=True)
def number_string(
    raw: Pointer,
    start: int,
    length: int,
    table: Pointer,
    last: int,
    offsets: Pointer,
    hashes: Pointer,
    most: int,
    data: Pointer,
    size: int,
    count: Pointer,
) -> int:
    """Return the number of a string, entering it if it is new; `ABSENT` for an absent one, or `NO_ROOM`.

    The parts of the book come as pointers: `last` is the length of `table` less one, `most` that of `hashes`,
    `size` that of `data`.
    """
    if length < 0:
        return ABSENT
    value = hash_bytes(raw, start, length)
    place: Any = np.int64(value & np.uint64(last))
    while True:
        number = int(table[place]) - 1
        if number < 0:
            break
        if hashes[number] == value:
            begin = int(offsets[number])
            if offsets[number + 1] - begin == length and same_bytes(data, begin, raw, start, length):
                return number
        place = (place + 1) & last
    number = int(count[0])
    begin = int(offsets[number])
    if number == most or begin + length + 16 > size:
        return NO_ROOM
    copy_bytes(raw, start, data, begin, length)
    offsets[number + 1] = begin + length
    hashes[number] = value
    table[place] = number + 1
    count[0] = number + 1
    return number


def number_strings(
    pool: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32], book: Book
) -> tuple[NDArray[np.int32], Book]:
    """Number all strings; return the numbers, `ABSENT` for absent ones, and the book."""
    numbers = np.empty(len(starts), np.int32)
    done = 0
    while (done := _number_strings(pool, starts, lengths, book, numbers, done)) < len(starts):
        book = grow_book(book)
    return numbers, book


@njit(nogil=True, cache=True)
def _number_strings(
    pool: Bytes,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
    book: Book,
    numbers: NDArray[np.int32],
    done: int,
) -> int:
    """Number strings from `done` on; return how many are done when the book is full or all are."""
    raw = point_at(pool)
    all_table, all_offsets, all_hashes, all_data, all_count = book
    table, offsets, hashes = point_at(all_table), point_at(all_offsets), point_at(all_hashes)
    data, count = point_at(all_data), point_at(all_count)
    last, most, size = len(all_table) - 1, len(all_hashes), len(all_data)
    for place in range(done, len(starts)):
        number = number_string(
            raw, starts[place], lengths[place], table, last, offsets, hashes, most, data, size, count
        )
        if number == NO_ROOM:
            return place
        numbers[place] = number
    return len(starts)


def build_dictionary(book: Book, numbers: NDArray[np.int32]) -> tuple[NDArray[np.int32], pa.StringArray]:
    """Return the strings that `numbers` mention, in order of first mention, and for each number which it is.

    An absent string has -1.
    """
    codes = np.empty(len(numbers), np.int32)
    firsts = _number_anew(numbers, codes, np.full(int(book.known[0]), -1, np.int32))
    starts, ends = book.offsets[firsts], book.offsets[firsts + 1]
    offsets = np.empty(len(firsts) + 1, np.int32)
    data = gather_strings(book.data, starts, (ends - starts).astype(np.int32), offsets)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return codes, pa.Array.from_buffers(pa.string(), len(firsts), buffers, 0)


@njit(nogil=True, cache=True)
def _number_anew(numbers: NDArray[np.int32], codes: NDArray[np.int32], code_of: NDArray[np.int32]) -> NDArray[np.int64]:
    firsts = np.empty(len(code_of), np.int64)
    known = 0
    for place in range(len(numbers)):
        number = numbers[place]
        if number < 0:
            codes[place] = -1
            continue
        if code_of[number] < 0:
            code_of[number] = known
            firsts[known] = number
            known += 1
        codes[place] = code_of[number]
    return firsts[:known]
