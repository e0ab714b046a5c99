"""The lock that makes one process the owner of a store. The system releases it, after kill -9 too."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pipeline.contracts.store import StoreError

LOCK_NAME = "LOCK"


class LockHolder(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the lock file: who holds the store. `since` in ms."""

    holder: str
    pid: int
    since: int


class StoreLock:
    """A held lock on the store in `folder`.

    Raises `StoreError`, which names the holder, if another process, or another opening in this one, has it.
    """

    def __init__(self, folder: Path, holder: str, now: int) -> None:
        path = folder / LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            content = os.pread(descriptor, 65536, 0)
            os.close(descriptor)
            raise StoreError(_refusal(folder, content)) from None
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"cannot lock {path}: {error}; put the store on a local file system") from error
        content = msgspec.json.encode(LockHolder(holder=holder, pid=os.getpid(), since=now))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let go of the store. Idempotent. The file stays: deleting it would let two owners in."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _refusal(folder: Path, content: bytes) -> str:
    try:
        held = msgspec.json.decode(content, type=LockHolder)
    except msgspec.DecodeError:
        return f"the store {folder} is held by another process; stop it, or name another store"
    since = datetime.fromtimestamp(held.since / 1000, UTC).isoformat(timespec="seconds")
    return (
        f"the store {folder} is held by {held.holder} (process {held.pid}, since {since}); "
        "a store has one owner: stop that process first, or name another store"
    )
