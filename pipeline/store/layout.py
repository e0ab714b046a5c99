"""A store's folder: making it, and cleaning up what a crash left in it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipeline.contracts.log import MAX_APPEND_TIME
from pipeline.contracts.store import StoreError
from pipeline.store.archive_writer import ARCHIVE
from pipeline.store.dead_letters import DEAD
from pipeline.store.files import make_folder, remove_file
from pipeline.store.ledger import LEDGER_NAME
from pipeline.store.publisher import BOARD
from pipeline.store.window_segments import WINDOW

_FOLDERS: Final = (ARCHIVE, DEAD, WINDOW, BOARD)


def wall_clock_ms() -> int:
    """Return the wall clock in ms since 1970 UTC; the default of every `clock` argument of this package."""
    return time.time_ns() // 1_000_000


def hour_of(log_time: int) -> str:
    """Return the hour (UTC) of a time in ms as the archive writes it; outside of 1970 to 9999 the nearest one.

    Logs refuse such times, but a broker or a table written by another program may have them.
    """
    return datetime.fromtimestamp(min(max(log_time, 0), MAX_APPEND_TIME) // 1000, UTC).strftime("%Y%m%dT%H")


def make_layout(root: Path) -> None:
    """Create the folders of a store. Raises `StoreError` where there are files of a store but no ledger.

    Cleaning up deletes what the ledger does not name: without a ledger that would be everything.
    """
    for name in _FOLDERS:
        folder = root / name
        if not (root / LEDGER_NAME).exists() and folder.is_dir() and any(folder.iterdir()):
            raise StoreError(
                f"{folder} has files in it, but {root / LEDGER_NAME} is missing, so nothing says what they are: "
                "put the ledger back, or name an empty folder"
            )
        make_folder(folder)


def remove_unnamed(root: Path, named: Collection[str]) -> None:
    """Delete the files below archive/, dead/ and dedup/ that no commit names."""
    for path in _stored_files(root):
        if path.relative_to(root).as_posix() not in named:
            remove_file(path)


def require_named(root: Path, live: Collection[str]) -> None:
    """Raise `StoreError` if files of the last commit are not there."""
    present = {path.relative_to(root).as_posix() for path in _stored_files(root)}
    if missing := sorted(set(live) - present):
        raise StoreError(
            f"the store {root} has lost {len(missing)} of its files, among them {missing[0]}: "
            "put them back from a copy, or replay the log into a new store"
        )


def _stored_files(root: Path) -> Iterator[Path]:
    for name in (ARCHIVE, DEAD, WINDOW):
        yield from (path for path in (root / name).rglob("*") if path.is_file() or path.is_symlink())
