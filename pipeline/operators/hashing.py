"""128-bit hashes of identifiers, a whole column at a time.

MurmurHash3 x64 128 (Austin Appleby, public domain): fixed for ever, because hashes are stored in the window's files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.byte_strings import load64, point_at

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)


@njit(cache=True, nogil=True, inline="always")
def _rotate(value: np.uint64, bits: int) -> np.uint64:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@njit(cache=True, nogil=True, inline="always")
def _mix(value: np.uint64) -> np.uint64:
    value ^= value >> np.uint64(33)
    value *= _M1
    value ^= value >> np.uint64(33)
    value *= _M2
    value ^= value >> np.uint64(33)
    return value


@njit(cache=True, nogil=True, inline="always")
def _rest(data: NDArray[np.uint8], at: int, size: int) -> np.uint64:
    # Byte by byte: nothing promises that the buffer goes on for eight.
    word = np.uint64(0)
    for byte in range(size):
        word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
    return word


@njit(cache=True, nogil=True)
def _hash_slices(
    data: NDArray[np.uint8],
    starts: NDArray[np.int32],
    seeds: NDArray[np.uint64],
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
) -> None:
    raw = point_at(data)
    for row in range(len(high)):
        at = int(starts[row])
        size = int(starts[row + 1]) - at
        h1 = seeds[row]
        h2 = seeds[row]
        for block in range(size // 16):
            k1 = load64(raw, at + 16 * block) * _C1
            h1 ^= _rotate(k1, 31) * _C2
            h1 = (_rotate(h1, 27) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
            k2 = load64(raw, at + 16 * block + 8) * _C2
            h2 ^= _rotate(k2, 33) * _C1
            h2 = (_rotate(h2, 31) + h1) * np.uint64(5) + np.uint64(0x38495AB5)
        tail = at + size // 16 * 16
        left = size % 16
        if left > 8:
            h2 ^= _rotate(_rest(data, tail + 8, left - 8) * _C2, 33) * _C1
        if left > 0:
            h1 ^= _rotate(_rest(data, tail, min(left, 8)) * _C1, 31) * _C2
        h1 ^= np.uint64(size)
        h2 ^= np.uint64(size)
        h1 += h2
        h2 += h1
        h1 = _mix(h1)
        h2 = _mix(h2)
        h1 += h2
        high[row] = h1
        low[row] = h2 + h1


def hash_strings(column: pa.Array, seeds: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash a column of strings without nulls.

    Parameters
    ----------
    column : string Array (n,)
    seeds : uint64 (n,)
        Seed of each row; rows with different seeds have unrelated hashes.

    Returns
    -------
    high, low : uint64 (n,)
    """
    n = len(column)
    high, low = np.empty(n, np.uint64), np.empty(n, np.uint64)
    if n:
        _, offsets, data = column.buffers()
        starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + n + 1]
        text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
        _hash_slices(text, starts, seeds, high, low)
    return high, low


def seed_strings(words: Sequence[str]) -> NDArray[np.uint64]:
    """Make seeds for `hash_strings` of words: what is hashed under one is unrelated to what is under another."""
    _, low = hash_strings(pa.array(words, pa.string()), np.zeros(len(words), np.uint64))
    return low
