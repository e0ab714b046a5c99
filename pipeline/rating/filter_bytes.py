"""The stored form of a filter's state: float64 arrays of one length, exactly.

Layout, little-endian: 4 bytes name of the method, uint32 number of arrays, uint64 length n, then the arrays.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.rating.errors import StateError

_HEADER: Final = struct.Struct("<4sIQ")


def encode_arrays(name: bytes, arrays: tuple[NDArray[np.float64], ...]) -> bytes:
    """Return the stored form of `arrays`, all (n,); `name` has 4 bytes."""
    header = _HEADER.pack(name, len(arrays), len(arrays[0]))
    return header + b"".join(array.astype("<f8").tobytes() for array in arrays)


def decode_arrays(name: bytes, n_arrays: int, data: bytes) -> list[NDArray[np.float64]]:
    """Return the arrays, each (n,), that `encode_arrays` stored under `name`."""
    if len(data) < _HEADER.size:
        raise StateError(f"state of {name!r}: {len(data)} bytes are shorter than its header")
    found, count, length = _HEADER.unpack_from(data)
    if found != name or count != n_arrays:
        raise StateError(f"state of {name!r}: the header says {count} arrays of {found!r}, expected {n_arrays}")
    if len(data) != _HEADER.size + 8 * count * length:
        raise StateError(f"state of {name!r}: {len(data)} bytes do not hold {count} arrays of {length} numbers")
    values = np.frombuffer(data, "<f8", offset=_HEADER.size).astype(np.float64).reshape(count, length)
    if not np.isfinite(values).all():
        raise StateError(f"state of {name!r} holds numbers that are not finite")
    return list(values)
