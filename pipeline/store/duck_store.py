"""The writing side of a store: implements `pipeline.contracts.store.Store`.

A commit is durable once the ledger's transaction is. Everything that it names has been flushed to disk
before, and what readers are told (MANIFEST.json) is written after; so a crash at any moment leaves either
files that no commit names, which the next opening deletes, or a manifest that is behind, which the next
opening rewrites.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.snapshot import Publication
from pipeline.contracts.status import Status
from pipeline.contracts.store import Commit, StoreError, StoreState
from pipeline.store import transfer
from pipeline.store.announcer import Announcer
from pipeline.store.archive_format import read_rows
from pipeline.store.archive_writer import ArchiveWriter
from pipeline.store.compaction import Merged
from pipeline.store.count_tables import fold_counts
from pipeline.store.dead_letters import DEAD, write_dead
from pipeline.store.files import remove_file, sync_path
from pipeline.store.layout import hour_of, make_layout, remove_unnamed, require_named, wall_clock_ms
from pipeline.store.ledger import Change, Head, Ledger
from pipeline.store.live_files import LiveFiles
from pipeline.store.lock import StoreLock
from pipeline.store.manifest import FORMAT, Manifest, StoreFile, encode_positions
from pipeline.store.publisher import Publisher
from pipeline.store.reader import StoreReader
from pipeline.store.window_segments import WINDOW, read_window, write_window

GRACE_MS: Final = 600_000
"""Superseded files are deleted this much later: a reader that has just read a manifest still finds them."""

_LOG_READ: Final = "log"
_TOLD: Final = {"registry": b"null", _LOG_READ: b"[]", "filter": b"{}"}
"""Blobs of operator state, in JSON, that manifests repeat under these names; and what they say if there is none."""
_LOG = logging.getLogger(__name__)


def open_store(
    path: str | os.PathLike[str],
    *,
    holder: str,
    clock: Callable[[], int] = wall_clock_ms,
    grace_ms: int = GRACE_MS,
) -> DuckStore:
    """Open the store at `path` as its one owner; a new one is created.

    `holder` is named to those who come second.

    Raises `StoreError` if another process holds it, if its format is unknown, or if files of it are missing.
    """
    root = Path(path).absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = StoreLock(root, holder, clock())
    except OSError as error:
        raise StoreError(f"cannot use {root} as a store: {error}; name a folder that can be written") from error
    try:
        make_layout(root)
        return DuckStore(root, lock, clock, grace_ms)
    except BaseException:
        lock.release()
        raise


class DuckStore:
    """One store, held by its one writer; see `contracts.store.Store`. Made by `open_store`.

    `publish` may be called from another thread than the rest.
    """

    def __init__(self, root: Path, lock: StoreLock, clock: Callable[[], int], grace_ms: int) -> None:
        self.path = root
        self._lock = lock
        self._clock = clock
        self._grace = grace_ms
        self._closed = False
        self._ledger = Ledger(root)
        try:
            self._recover()
        except BaseException:
            self._ledger.close()
            raise

    def _recover(self) -> None:
        """Bring the folder in line with the ledger."""
        self._head: Head = self._ledger.head()
        known = self._ledger.files()
        remove_unnamed(self.path, {file.path for file, _ in known})
        require_named(self.path, [file.path for file, superseded_at in known if superseded_at is None])
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store-merge")
        self._files = LiveFiles(self.path, known, self._executor, self._grace)
        self._guard = threading.Lock()  # head, files and what is told of the state belong together in a manifest
        self._told = {key: self._ledger.state_blob(key) or absent for key, absent in _TOLD.items()}
        self._count_sizes = self._ledger.count_sizes()
        self._publisher = Publisher(self.path, self._executor, self._grace)
        self._publisher.remove_leftovers()
        self._announcer = Announcer(self.path, self._make_manifest)
        self._files.sweep(self._clock())
        self._announcer.tell(self._clock())
        self._writer = ArchiveWriter(self.path)

    # ------------------------------------------------------------------------------------------ loading

    def load(self) -> StoreState:
        """Return the state at the last commit. Drops what was staged and not committed."""
        self._require_open()
        self._writer.discard()
        head = self._head
        return StoreState(
            commit=head.number,
            log_time=head.log_time,
            sequence=head.sequence,
            positions=dict(head.positions),
            horizon=head.horizon,
            state=self._ledger.state(),
            counts=self._ledger.counts(),
            outbox=self._ledger.outbox(),
        )

    def load_window(self) -> Iterator[NDArray[np.void]]:
        """Iterate over the de-duplication window (`WINDOW_DTYPE`), entries before the horizon left out."""
        for file in self._files.of("window"):
            entries = read_window(self.path / file.path)
            yield entries[entries["time"] >= self._head.horizon]

    def read_archive(self, *, after_sequence: int = 0, batch_rows: int = 100_000) -> Iterator[pa.RecordBatch]:
        """Iterate over committed rows (`ARCHIVE_SCHEMA`) with ``sequence > after_sequence``, in that order.

        What is committed after the call is not part of it.
        """
        until = self._head.sequence
        return read_rows(
            self.path,
            lambda: self._files.of("archive"),
            after=after_sequence,
            until=until,
            batch_rows=batch_rows,
        )

    # ---------------------------------------------------------------------------------------- committing

    def stage_archive(self, rows: pa.RecordBatch) -> None:
        """Take archive rows of the commit to come; they are written in the background. Ascending in sequence.

        Blocks while the writer is half a million rows behind. Raises `StoreError`.
        """
        self._require_open()
        self._writer.stage(rows)

    def commit(self, commit: Commit) -> None:
        """Make `commit` and all staged rows durable in one step.

        `commit.number` must be higher than the last one; live it is one more, and a replay keeps the numbers
        that it finds. Raises `StoreError`; then nothing of it holds, and what was staged is dropped.
        """
        self._require_open()
        now = self._clock()
        made: list[StoreFile] = []
        try:
            self._check(commit)
            self._write_files(commit, made)
            merged = self._files.finished_merges()
            change = self._make_change(commit, made, merged, now)
            self._ledger.apply(change)
        except Exception as error:
            self._writer.discard()
            for file in made:
                remove_file(self.path / file.path)
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"commit {commit.number} of the store {self.path} failed: {error}") from error
        self._accept(change, merged)
        self._after_commit(now)

    def _check(self, commit: Commit) -> None:
        head, writer = self._head, self._writer
        if commit.number <= head.number:
            raise StoreError(
                f"commit {commit.number} came after commit {head.number} of the store {self.path}: "
                "load the store again and go on from there"
            )
        if commit.log_time < head.log_time or commit.sequence < head.sequence:
            raise StoreError(
                f"commit {commit.number}: log time and sequence must not go back from commit {head.number}"
            )
        if not writer.first_sequence:
            return
        archived = max((file.last_sequence for file in self._files.of("archive")[-1:]), default=0)
        if writer.first_sequence <= max(head.sequence, archived):
            raise StoreError(
                f"commit {commit.number} archives from sequence {writer.first_sequence} on, but the archive of "
                f"{self.path} already goes to {max(head.sequence, archived)}"
            )
        if writer.last_sequence != commit.sequence:
            raise StoreError(
                f"commit {commit.number} says sequence {commit.sequence}, but its last row has {writer.last_sequence}"
            )

    def _write_files(self, commit: Commit, made: list[StoreFile]) -> None:
        """Write and flush what the commit will name, and append it to `made`."""
        number = commit.number
        archived = self._writer.finish(number, hour_of(commit.log_time))  # goes on in its thread
        try:
            if commit.dead is not None and len(commit.dead):
                made.append(write_dead(self.path, number, commit.dead))
                sync_path(self.path / DEAD)
            if len(commit.window):
                name = f"c{number:010d}.bin"
                made.append(write_window(self.path, name, commit.window, commits=(number, number), level=0))
                sync_path(self.path / WINDOW)
        finally:
            if (file := archived.result()) is not None:
                made.append(file)

    def _make_change(self, commit: Commit, made: list[StoreFile], merged: Sequence[Merged], now: int) -> Change:
        superseded = [file.path for file in self._files.before_horizon(commit.horizon)]
        for each in merged:
            superseded += [file.path for file in each.sources]
            made = [*made, each.result] if each.result is not None else made
        return Change(
            head=Head(
                commit.number,
                commit.log_time,
                commit.sequence,
                commit.horizon,
                {**self._head.positions, **commit.positions},
                now,
            ),
            state=commit.state,
            counts=[
                fold_counts(
                    arena,
                    added=commit.counts.get(arena),
                    whole=commit.replaced_counts.get(arena),
                    sizes=self._count_sizes.get(arena, []),
                    stored=self._ledger.count_tables,
                )
                for arena in sorted({*commit.counts, *commit.replaced_counts})
            ],
            files=made,
            superseded=sorted(set(superseded)),
            forgotten=self._files.deleted(),
            outbox=commit.outbox,
            delivered=commit.delivered,
        )

    def _accept(self, change: Change, merged: Sequence[Merged] = ()) -> None:
        """Take what has become durable into memory."""
        with self._guard:
            self._files.accept(change, self._head, merged)
            self._head = change.head
            self._told = {key: change.state.get(key, self._told[key]) or absent for key, absent in _TOLD.items()}
        for blob in change.counts:
            sizes = self._count_sizes.setdefault(blob.arena, [])
            sizes[:] = [] if blob.whole else [each for each in sizes if each[1] or not blob.folded]
            sizes.append((blob.rows, blob.whole))

    def _after_commit(self, now: int) -> None:
        """Do what may be late: the commit holds, whatever happens here."""
        self._files.sweep(now)
        self._files.start_merges(self._head)
        try:
            self._announcer.tell_soon(now)
        except StoreError:
            _LOG.exception("commit %d holds, but readers cannot be told yet", self._head.number)

    def settle(self) -> None:
        """Wait until the merges under way have ended; the next commit or publication swaps them in."""
        self._executor.submit(_nothing).result()

    # ---------------------------------------------------------------------------------------- publishing

    def publish(self, publications: Sequence[tuple[Publication, pa.Table]]) -> None:
        """Publish arenas with their count tables; one that is older than what is published is left out.

        At the commit that is published already, only a board that is newer (a fit or rebuild has ended) is
        news. Raises `PublishError` if an arena's files cannot be written.
        """
        self._require_open()
        now = self._clock()
        before = self._publisher.arenas().keys()
        self._publisher.publish(publications, now)
        if self._publisher.arenas().keys() != before:
            self._announcer.tell(now)
        else:
            self._announcer.tell_soon(now)

    def heartbeat(self, now: int, status: Status | None = None) -> None:
        """Note that the job lives: time, commit, positions, and what it says. Writes a manifest that is still due."""
        self._require_open()
        self._files.sweep(self._clock())
        if self._announcer.due:
            self._announcer.tell(self._clock())
        self._announcer.beat(self._head, now, self._files.totals(), status)

    def _make_manifest(self, version: int) -> Manifest:
        # Arenas first, because commits go on meanwhile: what is published is never newer than the head told.
        arenas = self._publisher.arenas()
        with self._guard:
            head = self._head
            return Manifest(
                format=FORMAT,
                version=version,
                commit=head.number,
                log_time=head.log_time,
                sequence=head.sequence,
                horizon=head.horizon,
                positions=encode_positions(dict(head.positions)),
                arenas=arenas,
                registry=msgspec.Raw(self._told["registry"]),
                log=msgspec.Raw(self._told["log"]),
                filter=msgspec.Raw(self._told["filter"]),
                archive=self._files.of("archive"),
                dead=self._files.of("dead"),
                window=self._files.of("window"),
            )

    # ------------------------------------------------------------------------------------ from other stores

    def link_archive(self, source: StoreReader, up_to_commit: int | None = None) -> int:
        """Take over the archive of another store without reading it; return the last sequence taken over.

        For a replay that leaves no vote out, before its first commit. Rows become part of this store as the
        sequence of its commits reaches them; those commits stage no rows. So a replay that is killed leaves a
        sound store. Files are hard-linked where possible; only one that goes beyond `up_to_commit` is written
        anew.
        """
        self._require_open()
        have = max((file.last_sequence for file in self._files.of("archive")), default=self._head.sequence)
        files = transfer.link_archive(self.path, source, after=have, up_to_commit=up_to_commit)
        self._apply(Change(head=replace(self._head, created=self._clock()), files=files))
        return max((file.last_sequence for file in files), default=have)

    def adopt(self, source: StoreReader, *, sequence: int | None = None) -> None:
        """End an archive replay: go on from the log where `source` stands, with its de-duplication window.

        Takes over positions, which log they are of, horizon, window and dead letters in one commit; this store's own
        window and dead letters are replaced. `sequence` is what the replay has read to: with it, a source that
        has archived more since is refused, because its positions would lead past those votes. Raises `StoreError`.
        """
        self._require_open()
        taken = transfer.link_state(self.path, source, sequence)
        own = (*self._files.of("window"), *self._files.of("dead"))
        head = Head(
            number=max(self._head.number + 1, taken.manifest.commit),
            log_time=max(self._head.log_time, taken.manifest.log_time),
            sequence=self._head.sequence,
            horizon=taken.manifest.horizon,
            positions=taken.positions,
            created=self._clock(),
        )
        state = {_LOG_READ: bytes(taken.manifest.log)}
        self._apply(Change(head=head, state=state, files=taken.files, superseded=[file.path for file in own]))

    def _apply(self, change: Change) -> None:
        try:
            self._ledger.apply(change)
        except StoreError:
            for file in change.files:
                remove_file(self.path / file.path)
            raise
        self._accept(change)
        self._announcer.tell(change.head.created)

    # --------------------------------------------------------------------------------------------- closing

    def close(self) -> None:
        """Write what readers are still to be told, and release the store and its lock. Idempotent.

        Rows that were staged and not committed are dropped.
        """
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        self._executor.shutdown(cancel_futures=True)
        try:
            if self._announcer.due:
                self._announcer.tell(self._clock())
            self._announcer.beat(self._head, self._clock(), self._files.totals(), stopped=True)
        finally:
            self._ledger.close()
            self._lock.release()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self.path} has been closed; open it again")

    def __enter__(self) -> DuckStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _nothing() -> None:
    """Run behind everything that was submitted before."""
