"""Strings as (start, length) pairs into one byte pool, and the compiled kernels over them.

A *pool* is a read-only uint8 array that ends with `PADDING` zero bytes: kernels read eight bytes at a time and may
look past the end of a string. Length `ABSENT` marks a string that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

PADDING: Final = bytes(16)
ABSENT: Final = -1
MAX_ID: Final = 128

Bytes = NDArray[np.uint8]
Pointer = Any
"""A bare pointer inside compiled code (`point_at`)."""

_ALNUM, _ID_CHAR, _PLAIN = 1, 2, 4


def _classify_bytes() -> Bytes:
    classes = np.zeros(256, np.uint8)
    for byte in range(0x20, 0x80):
        if byte not in b'"\\':
            classes[byte] |= _PLAIN
        if chr(byte).isalnum():
            classes[byte] |= _ALNUM | _ID_CHAR
    classes[list(b"._:-")] |= _ID_CHAR
    classes.flags.writeable = False
    return classes


_CLASSES = _classify_bytes()


def make_pool(parts: Sequence[bytes | memoryview]) -> Bytes:
    """Join `parts` into a pool."""
    return np.frombuffer(b"".join([*parts, PADDING]), np.uint8)


def _point_at(_: Any, array: Any) -> Any:
    """Return a bare pointer to the first element of `array`, which must outlive its use.

    Inside kernels, functions pass pointers to each other: of an array, numba would count a reference at each call,
    and that took more time than the scanning itself.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate  # type: ignore[no-untyped-call]


def _byte_at(_: Any, raw: Any, _place: Any) -> Any:
    """Load the byte at `place` as an int64."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.zext(builder.load(builder.gep(args[0], [args[1]])), ir.IntType(64))

    return types.int64(raw, types.int64), generate


def _load64(_: Any, raw: Any, _place: Any) -> Any:
    """Load the eight bytes at `place`, aligned or not, in the order of the machine."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(64).as_pointer())
        word = builder.load(pointer)
        word.align = 1
        return word

    return types.uint64(raw, types.int64), generate


def _store64(_: Any, raw: Any, _place: Any, _word: Any) -> Any:
    """Store eight bytes at `place`, aligned or not."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(64).as_pointer())
        builder.store(args[2], pointer, align=1)
        return context.get_dummy_value()

    return types.void(raw, types.int64, types.uint64), generate


# Typed for those who call them inside compiled code.
point_at = cast("Callable[[Any], Pointer]", intrinsic(_point_at))
byte_at = cast("Callable[[Pointer, int], int]", intrinsic(_byte_at))
load64 = cast("Callable[[Pointer, int], Any]", intrinsic(_load64))
store64 = cast("Callable[[Pointer, int, int], None]", intrinsic(_store64))


@njit(nogil=True, cache=True, forceinline=True)
def _class_at(raw: Pointer, place: int) -> int:
    return int(_CLASSES[np.uint64(byte_at(raw, place))])


@njit(nogil=True, cache=True, forceinline=True)
def low_bytes(word: Any, count: int) -> Any:
    """Keep the `count` first of the eight bytes of `word`, 1 to 8 of them."""
    return word & (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(8 * (8 - count)))


@njit(nogil=True, cache=True, forceinline=True)
def is_space(byte: int) -> bool:
    """Whether `byte` is white space in JSON."""
    return byte <= 32 and (byte == 32 or 9 <= byte <= 10 or byte == 13)


@njit(nogil=True, cache=True, forceinline=True)
def find_id_end(raw: Pointer, start: int) -> int:
    """Return where the id that begins at `start` ends; `start` itself if none begins there. May be too long."""
    if _class_at(raw, start) & _ALNUM == 0:
        return start
    end = start + 1
    while _class_at(raw, end) & _ID_CHAR != 0:
        end += 1
    return end


@njit(nogil=True, cache=True, forceinline=True)
def find_plain_end(raw: Pointer, start: int) -> int:
    """Return the first place from `start` on that is no plain character: quote, backslash, control, not ASCII."""
    end = start
    while _class_at(raw, end) & _PLAIN != 0:
        end += 1
    return end


@njit(nogil=True, cache=True, forceinline=True)
def is_id_at(raw: Pointer, start: int, length: int) -> bool:
    """Whether the string is a valid identifier (`pipeline.contracts.ids`)."""
    if length < 1 or length > MAX_ID or _class_at(raw, start) & _ALNUM == 0:
        return False
    allowed = _ID_CHAR
    for place in range(start, start + length):
        allowed &= _class_at(raw, place)
    return allowed != 0


@njit(nogil=True, cache=True, forceinline=True)
def same_bytes(raw: Pointer, one: int, raw_other: Pointer, other: int, length: int) -> bool:
    """Whether two strings of the same length, each behind its pointer, are equal."""
    done = 0
    while length - done >= 8:
        if load64(raw, one + done) != load64(raw_other, other + done):
            return False
        done += 8
    if done == length:
        return True
    rest = length - done
    return bool(low_bytes(load64(raw, one + done), rest) == low_bytes(load64(raw_other, other + done), rest))


@njit(nogil=True, cache=True, forceinline=True)
def hash_bytes(raw: Pointer, start: int, length: int) -> Any:
    """Return a 64-bit hash."""
    value = np.uint64(length) * np.uint64(0x9E3779B97F4A7C15)
    done = 0
    while done < length:
        word = load64(raw, start + done)
        if length - done < 8:
            word = low_bytes(word, length - done)
        value = (value ^ word) * np.uint64(0xFF51AFD7ED558CCD)
        value ^= value >> np.uint64(32)
        done += 8
    return value


@njit(nogil=True, cache=True, forceinline=True)
def copy_bytes(raw: Pointer, start: int, raw_target: Pointer, target: int, length: int) -> None:
    """Copy a string; writes up to seven bytes past its end."""
    done = 0
    while done < length:
        store64(raw_target, target + done, load64(raw, start + done))
        done += 8


@njit(nogil=True, cache=True)
def gather_strings(
    pool: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32], offsets: NDArray[np.int32]
) -> Bytes:
    """Copy strings one after the other; fill `offsets` (n + 1,). The caller has made sure that they fit 2 GiB."""
    raw, total = point_at(pool), 0
    for row in range(len(starts)):
        offsets[row] = total
        total += max(lengths[row], 0)
    offsets[len(starts)] = total
    data = np.empty(total + 8, np.uint8)
    raw_data = point_at(data)
    for row in range(len(starts)):  # what is written past an end is where the next string goes
        copy_bytes(raw, int(starts[row]), raw_data, int(offsets[row]), int(lengths[row]))
    return data
