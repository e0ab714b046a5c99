"""Segments of the de-duplication window: a header, then entries of `WINDOW_DTYPE` as they lie in memory."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.store import WINDOW_DTYPE, StoreError
from pipeline.store.manifest import StoreFile

WINDOW: Final = "dedup"

_MAGIC: Final = b"kwisewin"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIIQI36x")  # magic, version, bytes an entry, entries, CRC-32 of them; 64 bytes


def write_window(
    root: Path, name: str, entries: NDArray[np.void], *, commits: tuple[int, int], level: int
) -> StoreFile:
    """Write entries, at least one, as ``dedup/<name>`` and flush them. `commits` = their first and last."""
    path = root / WINDOW / name
    entries = np.ascontiguousarray(entries, WINDOW_DTYPE)
    content = entries.tobytes()
    header = _HEADER.pack(_MAGIC, _VERSION, WINDOW_DTYPE.itemsize, len(entries), zlib.crc32(content))
    with path.open("wb") as file:
        file.write(header)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    return StoreFile(
        path=path.relative_to(root).as_posix(),
        kind="window",
        rows=len(entries),
        bytes=size,
        level=level,
        first_commit=commits[0],
        last_commit=commits[1],
        first_time=int(entries["time"].min()),
        last_time=int(entries["time"].max()),
    )


def read_window(path: Path) -> NDArray[np.void]:
    """Read one segment. Raises FileNotFoundError, or `StoreError` if it is damaged."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            raise StoreError(f"{path} is no segment of a de-duplication window; put back a copy of it")
        _, version, item_size, count, checksum = _HEADER.unpack(header)
        if version != _VERSION or item_size != WINDOW_DTYPE.itemsize:
            raise StoreError(f"{path} has version {version} and this program knows {_VERSION}; use a newer kwise-arena")
        entries = np.fromfile(file, WINDOW_DTYPE)
    if len(entries) != count or zlib.crc32(entries.tobytes()) != checksum:
        raise StoreError(f"{path} is damaged: its content does not have the checksum in its header")
    return entries


def merge_window(root: Path, sources: Sequence[StoreFile], name: str, horizon: int) -> StoreFile | None:
    """Merge segments into one without entries older than `horizon`; None if none is left."""
    merged = np.concatenate([read_window(root / source.path) for source in sources])
    merged = merged[merged["time"] >= horizon]
    if not len(merged):
        return None
    commits = (min(source.first_commit for source in sources), max(source.last_commit for source in sources))
    return write_window(root, name, merged, commits=commits, level=1 + max(source.level for source in sources))
