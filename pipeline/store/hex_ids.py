"""Ids of exactly 32 lower-case hex digits as 16 bytes, which halves an archive; all others stay text.

Both directions go through look-up tables over 16-bit halves: some 20 ns an id.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

RAW_TYPE: Final = pa.binary(16)

_DIGITS: Final = b"0123456789abcdef"
_INVALID: Final = 256


def _make_decoding() -> NDArray[np.uint16]:
    """Value of every pair of characters read as a little-endian uint16; `_INVALID` where one is no digit."""
    table = np.full(65536, _INVALID, np.uint16)
    for high, first in enumerate(_DIGITS):
        for low, second in enumerate(_DIGITS):
            table[first | second << 8] = high << 4 | low
    return table


_DECODING: Final = _make_decoding()
_ENCODING: Final = np.array([_DIGITS[value >> 4] | _DIGITS[value & 15] << 8 for value in range(256)], "<u2")


def split_ids(ids: pa.StringArray) -> tuple[pa.StringArray, pa.FixedSizeBinaryArray]:
    """Split ids into (text, raw), two arrays of one length: an id is in one of them, null in the other."""
    count = len(ids)
    if ids.null_count == count:
        return ids, pa.nulls(count, RAW_TYPE)
    lengths = pc.binary_length(ids)
    if ids.null_count or pc.min_max(lengths)["min"].as_py() != 32 or pc.max(lengths).as_py() != 32:
        return _split_mixed(ids, lengths)
    values, valid = _decode_ids(ids)
    if valid is None:
        return pa.nulls(count, pa.string()), _raw_array(values, None)
    text = pc.if_else(pa.array(valid), None, ids)
    return text, _raw_array(values, valid)


def _split_mixed(ids: pa.StringArray, lengths: pa.Array) -> tuple[pa.StringArray, pa.FixedSizeBinaryArray]:
    candidates = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(lengths, 32), False)))
    if len(candidates) == 0:
        return ids, pa.nulls(len(ids), RAW_TYPE)
    values, valid = _decode_ids(ids.take(pa.array(candidates)))
    kept = candidates if valid is None else candidates[valid]
    raw = np.zeros((len(ids), 16), np.uint8)
    raw[kept] = values if valid is None else values[valid]
    is_raw = np.zeros(len(ids), np.bool_)
    is_raw[kept] = True
    return pc.if_else(pa.array(is_raw), None, ids), _raw_array(raw, is_raw)


def join_ids(text: pa.StringArray, raw: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Undo `split_ids`."""
    count = len(raw)
    if raw.null_count == count:
        return text
    packed = np.frombuffer(raw.buffers()[1], np.uint8)[raw.offset * 16 : (raw.offset + count) * 16]
    offsets = np.arange(count + 1, dtype=np.int32) * 32
    digits = _ENCODING[packed]
    joined = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(digits))
    if raw.null_count == 0:
        return joined
    return pc.if_else(raw.is_valid(), joined, text)


def _decode_ids(ids: pa.StringArray) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Decode ids of 32 bytes each, none null: ((n, 16) values, which rows are hex; None if all)."""
    start = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset]
    characters = np.frombuffer(ids.buffers()[2], np.uint8)[start : start + 32 * len(ids)]
    if start % 2:  # cannot be viewed as uint16 in place
        characters = characters.copy()
    pairs = _DECODING[characters.view("<u2")]
    values = pairs.astype(np.uint8).reshape(-1, 16)
    if pairs.max() < _INVALID:
        return values, None
    return values, (pairs.reshape(-1, 16) < _INVALID).all(axis=1)


def _raw_array(values: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> pa.FixedSizeBinaryArray:
    bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(RAW_TYPE, len(values), [bits, pa.py_buffer(values)])
