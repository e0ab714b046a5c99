"""The archive's writer thread: rows are written while their commit is still being made."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.contracts.store import StoreError
from pipeline.store.archive_format import GroupWriter, check_rows, pack_rows
from pipeline.store.files import make_folder, move_file, remove_file, sync_path
from pipeline.store.manifest import StoreFile

ARCHIVE: Final = "archive"

_SLICE_ROWS: Final = 65_536
_QUEUED: Final = 8
"""Slices that may wait: half a million rows. `stage` blocks beyond that, which holds ingestion back."""


@dataclass(slots=True)
class _Finish:
    """Close what was written and name it after `commit`; answered with None if there were no rows."""

    commit: int
    hour: str
    answer: Future[StoreFile | None]


@dataclass(slots=True)
class _Discard:
    answer: Future[None]


class _Stop:
    pass


class ArchiveWriter:
    """Takes rows of one commit after the other. Its methods are for one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._queue: queue.Queue[pa.RecordBatch | _Finish | _Discard | _Stop] = queue.Queue(_QUEUED)
        self._failed: BaseException | None = None
        self.first_sequence = 0
        """Of the rows staged for the commit to come, 0 = none."""
        self.last_sequence = 0
        self._file = _OpenFile(root)
        self._thread = threading.Thread(target=self._run, name="archive-writer", daemon=True)
        self._thread.start()

    def stage(self, rows: pa.RecordBatch) -> None:
        """Queue rows. Raises `StoreError` for unfit rows, or if writing earlier ones failed."""
        check_rows(rows)
        if not len(rows):
            return
        first, last = rows.column(0)[0].as_py(), rows.column(0)[-1].as_py()
        if first <= self.last_sequence:
            raise StoreError(f"archive row {first} was staged after row {self.last_sequence}; sequences must ascend")
        if self._failed is not None:
            raise StoreError(f"cannot write the archive below {self._root}: {self._failed}") from self._failed
        self.first_sequence = self.first_sequence or first
        self.last_sequence = last
        for start in range(0, len(rows), _SLICE_ROWS):
            self._queue.put(rows.slice(start, _SLICE_ROWS))

    def finish(self, commit: int, hour: str) -> Future[StoreFile | None]:
        """Begin to make the staged rows durable as one file: the answer is None without rows."""
        answer: Future[StoreFile | None] = Future()
        if self.first_sequence:
            self._queue.put(_Finish(commit, hour, answer))
        else:
            answer.set_result(None)
        self.first_sequence = self.last_sequence = 0
        return answer

    def discard(self) -> None:
        """Drop what was staged."""
        answer: Future[None] = Future()
        self._queue.put(_Discard(answer))
        answer.result()
        self.first_sequence = self.last_sequence = 0

    def close(self) -> None:
        """Drop what was staged and end the thread. Idempotent."""
        if self._thread.is_alive():
            self._queue.put(_Stop())
            self._thread.join()

    def _run(self) -> None:
        while not isinstance(message := self._queue.get(), _Stop):
            if isinstance(message, _Finish):
                try:
                    if self._failed is not None:
                        raise self._failed
                    message.answer.set_result(self._file.finish(message.commit, message.hour))
                except Exception as error:  # handed to whoever waits
                    message.answer.set_exception(error)
                self._start_anew()
            elif isinstance(message, _Discard):
                self._start_anew()
                message.answer.set_result(None)
            elif self._failed is None:
                try:
                    self._file.write(message)
                except Exception as error:  # raised by the next stage or finish
                    self._failed = error
        self._file.discard()

    def _start_anew(self) -> None:
        self._file.discard()
        self._failed = None
        self._file = _OpenFile(self._root)


class _OpenFile:
    """The archive file that is being written, under a temporary name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / ARCHIVE / "staged.tmp"
        self._writer: GroupWriter | None = None
        self._rows = 0
        self._first = 0
        self._last = 0
        self._times: list[int] = []

    def write(self, rows: pa.RecordBatch) -> None:
        if self._writer is None:
            self._first = rows.column("sequence")[0].as_py()
            self._writer = GroupWriter(self._path)
        self._writer.write(pack_rows(rows))
        times = rows.column("appended_at").to_numpy()
        self._times += [int(np.min(times)), int(np.max(times))]
        self._last = rows.column("sequence")[-1].as_py()
        self._rows += len(rows)

    def finish(self, commit: int, hour: str) -> StoreFile | None:
        if self._writer is None:
            return None
        self._writer.close()
        sync_path(self._path)
        folder = self._root / ARCHIVE / f"appended_hour={hour}"
        make_folder(folder)
        path = folder / f"c{commit:010d}-{self._first}-{self._last}.parquet"
        file = StoreFile(
            path=path.relative_to(self._root).as_posix(),
            kind="archive",
            rows=self._rows,
            bytes=self._path.stat().st_size,
            hour=hour,
            first_sequence=self._first,
            last_sequence=self._last,
            first_commit=commit,
            last_commit=commit,
            first_time=min(self._times),
            last_time=max(self._times),
        )
        move_file(self._path, path)
        self._writer = None
        return file

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
            remove_file(self._path)
