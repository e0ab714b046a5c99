"""Which partition a key goes to: murmur2 as Kafka's Java client and kafka-python compute it.

``partition = (murmur2(key) & 0x7fffffff) % partitions``. librdkafka uses CRC32 unless told
``partitioner=murmur2_random``. `murmur2` is the plain version; `hash_keys` does the same for many keys at
once (about 30 times faster a key).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_FEW = 16  # below this many keys the plain version is quicker


def murmur2(data: bytes) -> int:
    """Return Kafka's murmur2 of `data` as the signed 32-bit integer that Java prints."""
    h = _SEED ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    h ^= h >> 15
    return h - (1 << 32) if h >> 31 else h


def hash_keys(keys: Sequence[bytes]) -> NDArray[np.int32]:
    """Return `murmur2` of each key; equal lengths are hashed together, a column of four bytes at a time."""
    if len(keys) < _FEW:
        return np.array([murmur2(key) for key in keys], np.int32)
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    hashes = np.empty(len(keys), np.uint32)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        joined = b"".join(keys) if len(chosen) == len(keys) else b"".join([keys[i] for i in chosen.tolist()])
        hashes[chosen] = _hash_rows(np.frombuffer(joined, np.uint8).reshape(len(chosen), length))
    return hashes.view(np.int32)


def _hash_rows(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Hash the rows of a matrix of bytes; arithmetic on uint32 arrays wraps as Java's does."""
    count, length = rows.shape
    m = np.uint32(_M)
    h = np.full(count, (_SEED ^ length) & _MASK, np.uint32)
    whole = length & ~3
    words = np.ascontiguousarray(rows[:, :whole]).view("<u4") if whole else np.empty((count, 0), np.uint32)
    for column in range(whole // 4):
        k = words[:, column] * m
        k ^= k >> np.uint32(24)
        h = (h * m) ^ (k * m)
    if whole < length:
        for i in range(whole, length):
            h ^= rows[:, i].astype(np.uint32) << np.uint32(8 * (i - whole))
        h *= m
    h ^= h >> np.uint32(13)
    h *= m
    return h ^ (h >> np.uint32(15))


def partitions_of_column(keys: pa.StringArray, partitions: int) -> NDArray[np.int64]:
    """Return the partition of each key of an Arrow column, quickly where they have one length; null goes to 0."""
    if partitions == 1 or not len(keys):
        return np.zeros(len(keys), np.int64)
    offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + len(keys) + 1]
    lengths = np.diff(offsets)
    if not lengths[0] or (lengths != lengths[0]).any():
        return partitions_of_keys(keys.to_pylist(), partitions, 0)
    data = np.frombuffer(keys.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    hashes = _hash_rows(data.reshape(len(keys), int(lengths[0]))).view(np.int32)
    return (hashes & np.int32(0x7FFFFFFF)).astype(np.int64) % partitions


def partitions_of_keys(keys: Sequence[str | None], partitions: int, spare: int) -> NDArray[np.int64]:
    """Return the partition of each key; all keyless records go to partition `spare` and keep their order."""
    if partitions == 1:
        return np.zeros(len(keys), np.int64)
    chosen = np.full(len(keys), spare, np.int64)
    keyed = [i for i, key in enumerate(keys) if key is not None]
    if keyed:
        hashes = hash_keys([key.encode() for key in keys if key is not None])
        chosen[keyed] = (hashes & np.int32(0x7FFFFFFF)).astype(np.int64) % partitions
    return chosen
