"""How much memory an Arrow IPC stream will take, told from its metadata before anything is unpacked.

A compressed buffer begins with its unpacked length (8 bytes, little-endian, -1 for one that is stored as it is); Arrow
allocates that much before it decompresses. Where the buffers lie is in the flatbuffers that head each message
(Message.fbs of the Arrow format), of which pyarrow gives the bytes only, so that four fields of them are read here.
pyarrow has verified the flatbuffers when it hands out a message.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import pyarrow as pa

_ROW_BYTES: Final = 8  # of the shortest row: its time. Columns of nulls claim any number of rows and take no bytes.
_PREFIX_BYTES: Final = 8

# Places of fields in their tables.
_MESSAGE_HEADER: Final = 2
_DICTIONARY_DATA: Final = 1
_BATCH_ROWS: Final = 0
_BATCH_BUFFERS: Final = 2
_BATCH_COMPRESSION: Final = 3


def measure_unpacked(stream: bytes) -> int:
    """Return how many bytes the compressed buffers of `stream` unpack to; at least 8 a row.

    Buffers that are not compressed count nothing: they are there already. Raises `pa.ArrowException`, `OSError` or
    `ValueError` for what is no stream.
    """
    try:
        return sum(_measure_message(message) for message in pa.ipc.MessageReader.open_stream(stream))
    except struct.error as error:
        raise ValueError(f"broken metadata: {error}") from None


def _measure_message(message: pa.ipc.Message) -> int:
    if message.type not in {"record batch", "dictionary"}:
        return 0
    data = memoryview(message.metadata)
    batch = _follow(data, _find_field(data, _follow(data, 0), _MESSAGE_HEADER))
    if message.type == "dictionary":
        batch = _follow(data, _find_field(data, batch, _DICTIONARY_DATA))
    rows_at = _find_field(data, batch, _BATCH_ROWS)
    least = _ROW_BYTES * struct.unpack_from("<q", data, rows_at)[0] if rows_at else 0
    buffers_at = _find_field(data, batch, _BATCH_BUFFERS)
    if not buffers_at or not _find_field(data, batch, _BATCH_COMPRESSION):
        return int(least)
    buffers = _follow(data, buffers_at)
    count = struct.unpack_from("<I", data, buffers)[0]
    places = np.frombuffer(data, "<i8", 2 * count, buffers + 4).reshape(-1, 2)  # (offset, length) in the body
    body = memoryview(message.body)
    prefixes = (struct.unpack_from("<q", body, at)[0] for at, length in places.tolist() if length >= _PREFIX_BYTES)
    return int(max(least, sum(max(prefix, 0) for prefix in prefixes)))


def _follow(data: memoryview, at: int) -> int:
    """Return the place that the reference at `at` leads to."""
    return int(at + struct.unpack_from("<I", data, at)[0])


def _find_field(data: memoryview, table: int, number: int) -> int:
    """Return the place of a field of the table at `table`; 0 if it is absent."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, fields)[0]
    slot = 4 + 2 * number
    offset = struct.unpack_from("<H", data, fields + slot)[0] if slot < size else 0
    return int(table + offset) if offset else 0
