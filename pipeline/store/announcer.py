"""Telling readers: MANIFEST.json, HEARTBEAT.json and RECENT.json of a store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from pipeline.contracts.status import Status
from pipeline.contracts.store import StoreError
from pipeline.store.files import replace_file
from pipeline.store.ledger import Head
from pipeline.store.manifest import (
    HEARTBEAT_NAME,
    MANIFEST_NAME,
    FileTotals,
    Heartbeat,
    Kind,
    Manifest,
    decode_manifest,
    encode_positions,
)
from pipeline.store.recent import Recent

_EVERY_MS: Final = 500
"""A manifest costs two flushes and grows with the archive; twice a second is as often as boards are published."""


class Announcer:
    """Writes the manifest when there is something to tell, but not too often. Any thread may call it.

    `make` returns the manifest of a given version, as of now.
    """

    def __init__(self, root: Path, make: Callable[[int], Manifest]) -> None:
        self._root = root
        self._make = make
        self._lock = threading.Lock()
        self._version = _read_version(root / MANIFEST_NAME)
        self._told_at: int | None = None
        self._recent = Recent(root)
        self._status: Status | None = None
        self.due = True
        """Whether readers do not know all yet."""

    def tell(self, now: int) -> None:
        """Write the manifest. Raises `StoreError`; it is then still due."""
        path = self._root / MANIFEST_NAME
        with self._lock:
            self.due = False
            try:
                replace_file(path, msgspec.json.encode(self._make(self._version + 1)))
            except OSError as error:
                self.due = True
                raise StoreError(f"cannot write {path}: {error}") from error
            self._version += 1
            self._told_at = now

    def tell_soon(self, now: int) -> None:
        """Write the manifest unless that was done within the last half second: then it is due."""
        self.due = True
        if self._told_at is None or not 0 <= now - self._told_at < _EVERY_MS:
            self.tell(now)

    def beat(
        self,
        head: Head,
        now: int,
        files: dict[Kind, FileTotals],
        status: Status | None = None,
        *,
        stopped: bool = False,
    ) -> None:
        """Write the sign of life; without a `status`, with the last one. Raises `StoreError`."""
        path = self._root / HEARTBEAT_NAME
        self._status = status or self._status
        beat = Heartbeat(
            time=now,
            commit=head.number,
            positions=encode_positions(dict(head.positions)),
            files=files,
            status=self._status,
            stopped=stopped,
        )
        try:
            replace_file(path, msgspec.json.encode(beat), durable=False)
            if status is not None:
                self._recent.note(now, status)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error}") from error


def _read_version(path: Path) -> int:
    """Return the version of the manifest that is there; a damaged one is simply rewritten."""
    with suppress(StoreError, FileNotFoundError):
        return decode_manifest(path.read_bytes(), Manifest, path).version
    return 0
