"""The reading side of a store: any number of readers, in any process, without locks.

A reader takes files from manifests only, never from a listing of a folder. Files do not change; one that has
been merged into another is deleted minutes later, so whoever meets a missing file reads the manifest again.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.arena import Registry
from pipeline.contracts.control import decode_control
from pipeline.contracts.ids import folder_name
from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.retractions import Retractions
from pipeline.contracts.snapshot import METHODS, Board, ModelRating, Publication
from pipeline.contracts.status import Sample
from pipeline.contracts.store import ARCHIVE_SCHEMA
from pipeline.contracts.vote_filter import VoteFilter
from pipeline.store.archive_format import read_rows
from pipeline.store.dead_letters import DEAD_SCHEMA, choose_dead, iter_dead, read_dead
from pipeline.store.errors import ReaderError
from pipeline.store.history import HISTORY_SCHEMA, PRECISION_SCHEMA, complete_rows, last_of_spans, log_time_of
from pipeline.store.manifest import (
    HEARTBEAT_NAME,
    MANIFEST_NAME,
    ArenaManifest,
    Heartbeat,
    HistoryFile,
    Manifest,
    PublishedArena,
    StoreFile,
    decode_manifest,
    decode_positions,
)
from pipeline.store.publisher import BOARD
from pipeline.store.recent import RECENT_NAME, read_recent
from pipeline.store.window_segments import read_window

T = TypeVar("T")
M = TypeVar("M", Manifest, ArenaManifest)

_ATTEMPTS: Final = 5
# Small files: threads would cost more than they save. Nothing is fetched over the network.
_CONFIG: Final[dict[str, Any]] = {
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # It keeps something of each file that was ever read, and a store's files are new with each commit.
    "enable_external_file_cache": False,
    # What it makes of lists of values, and joins in queries, leave a kilobyte behind each time.
    "disabled_optimizers": "in_clause",
}
_BOUNDED: Final = "read_parquet(?, union_by_name = true) where method = ? and log_time between ? and ?"
_DAMAGED: Final = (duckdb.InvalidInputException, pa.ArrowInvalid)
"""What is raised for a file that is not what its name says."""


class StoreReader:
    """Reads the store at `path`. Cheap to make; holds no files open. Safe to use from several threads.

    Every method raises `ReaderError` where there is no store, and `StoreError` for one of another format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        if self.path.name == "archive" and (self.path.parent / MANIFEST_NAME).exists():
            self.path = self.path.parent
        self._lock = threading.Lock()
        self._database: duckdb.DuckDBPyConnection | None = None

    # ------------------------------------------------------------------------------------- the whole store

    def manifest(self) -> Manifest:
        """Return the newest manifest."""
        path = self.path / MANIFEST_NAME
        try:
            return decode_manifest(path.read_bytes(), Manifest, path)
        except (FileNotFoundError, NotADirectoryError):
            raise ReaderError(
                f"there is no store at {self.path} (no {MANIFEST_NAME}): "
                f"`kwise pipeline run --from URL --store {self.path}` makes one",
                retriable=True,
            ) from None

    def heartbeat(self) -> Heartbeat | None:
        """Return the last sign of life of the store's writer; None before the first."""
        path = self.path / HEARTBEAT_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=Heartbeat)
        except FileNotFoundError:
            self.manifest()  # says so if there is no store at all
            return None

    def recent(self) -> tuple[Sample, ...]:
        """Return the figures of the job's last hour, oldest first; none if no live job has run here."""
        return read_recent(self.path / RECENT_NAME)

    def registry(self) -> Registry:
        """Return all arenas that are known."""
        raw = bytes(self.manifest().registry)
        return Registry() if raw == b"null" else msgspec.json.decode(raw, type=Registry)

    def filter(self) -> VoteFilter:
        """Return which of the archived votes count on no board, because a replay was asked to leave them out."""
        return _decode_filter(self.manifest())

    def positions(self) -> dict[TopicPartition, Position]:
        """Return the next position of every partition read."""
        return decode_positions(self.manifest().positions)

    def stamp(self, arena: str | None = None) -> tuple[int, int] | None:
        """Return what differs whenever something new was published: of `arena`, or in the store's manifest.

        For those who look often; None while there is nothing.
        """
        folder = self.path if arena is None else self.path / BOARD / folder_name(arena)
        try:
            found = (folder / MANIFEST_NAME).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_mtime_ns, found.st_ino

    def arenas(self) -> dict[str, PublishedArena]:
        """Return the arenas that are published."""
        return self.manifest().arenas

    def with_manifest(self, read: Callable[[Manifest], T]) -> T:
        """Call `read` with the newest manifest; again with a newer one if a file has vanished meanwhile."""
        return self._retry(self.manifest, read)

    def _retry(self, load: Callable[[], M], read: Callable[[M], T]) -> T:
        version = -1
        for _ in range(_ATTEMPTS):
            manifest = load()
            try:
                return read(manifest)
            except _DAMAGED as error:
                raise ReaderError(
                    f"a file of the store {self.path} is damaged: {error}; put it back from a copy"
                ) from error
            except (FileNotFoundError, duckdb.IOException) as error:
                if manifest.version == version:
                    raise ReaderError(
                        f"a file that the store {self.path} names is missing: {error}; put it back from a copy"
                    ) from error
                version = manifest.version
        raise ReaderError(
            f"files of the store {self.path} vanish faster than they can be read; try again", retriable=True
        )

    def _query(self, statement: str, parameters: list[Any]) -> pa.Table:
        with self._lock:  # making a database takes longer than most queries
            if self._database is None:
                self._database = duckdb.connect(":memory:", config=_CONFIG)
            cursor = self._database.cursor()
        with cursor:
            return cursor.sql(statement, params=parameters).to_arrow_table()

    # ----------------------------------------------------------------------------------------------- boards

    def publication(self, arena: str) -> Publication:
        """Return all that is published of `arena` but its counts. Raises `ReaderError` if nothing is."""
        return self._arena_manifest(arena).publication

    def _arena_manifest(self, arena: str) -> ArenaManifest:
        path = self.path / BOARD / folder_name(arena) / MANIFEST_NAME
        try:
            return decode_manifest(path.read_bytes(), ArenaManifest, path)
        except (FileNotFoundError, NotADirectoryError):
            raise self._unknown_arena(arena) from None

    def _unknown_arena(self, arena: str) -> ReaderError:
        known = sorted(self.arenas())
        if known:
            return ReaderError(f"the store {self.path} has no arena {arena!r}; published are {', '.join(known)}")
        return ReaderError(
            f"nothing is published in the store {self.path} yet: keep `kwise pipeline run --from URL --store "
            f"{self.path}` running, and send votes or `kwise arena apply FILE`",
            retriable=True,
        )

    def board(self, arena: str, method: str | None = None, at: int | None = None) -> Board:
        """Return the board of `arena`, by the default method if none is named.

        With `at` (ms) the newest published one whose commit has a log time up to it, as it was published; its
        parameters are not kept. Raises `ReaderError` if there is none.
        """
        if at is None:
            return pick_board(self._arena_manifest(arena).publication, method)
        return self._retry(lambda: self._arena_manifest(arena), lambda manifest: self._read_board(manifest, method, at))

    def _read_board(self, manifest: ArenaManifest, method: str | None, at: int) -> Board:
        publication = manifest.publication
        newest = pick_board(publication, method)
        if log_time_of(newest, publication) <= at:
            return newest
        files = self._history_paths(manifest, since=None, until=at)
        rows: list[dict[str, Any]] = []
        if files:
            rows = self._query(
                "select * from read_parquet(?, union_by_name = true) where method = ? and commit = ("
                "select max(commit) from read_parquet(?) where method = ? and log_time <= ?) order by rank, model",
                [files, newest.method, files, newest.method, at],
            ).to_pylist()
        if not rows:
            earliest = min((file.first_log_time for file in manifest.history), default=None)
            raise ReaderError(
                f"nothing was published of {publication.arena} by {newest.method} up to {at} ms; "
                f"its history starts at {earliest} ms"
            )
        return _make_board(publication, newest.method, rows)

    def history(
        self,
        arena: str,
        method: str | None = None,
        models: Sequence[str] | None = None,
        since: int | None = None,
        until: int | None = None,
        boards: int | None = None,
    ) -> pa.Table:
        """Return past boards (`history.HISTORY_SCHEMA`), by (model, commit).

        `since` and `until` (ms, both inclusive) bound the log time. Older boards are thinned: see
        `store.history`. With `boards` (2 or more) there are at most so many: the last of each of as many spans of time.
        """

        def read(manifest: ArenaManifest) -> pa.Table:
            chosen = pick_board(manifest.publication, method).method
            files = self._history_paths(manifest, since=since, until=until)
            if not files:
                return HISTORY_SCHEMA.empty_table()
            bounds = [files, chosen, -(2**63) if since is None else since, 2**63 - 1 if until is None else until]
            condition, parameters = "(? or list_contains(?::varchar[], model))", [models is None, list(models or ())]
            if boards is not None:
                found = self._query(f"select commit, log_time from {_BOUNDED} and rank = 1 order by commit", bounds)
                commits, first = np.unique(found["commit"].to_numpy(), return_index=True)
                commits = commits[last_of_spans(found["log_time"].to_numpy()[first], boards)]
                condition += f" and commit in ({', '.join(map(str, commits)) or 'null'})"
            rows = self._query(f"select * from {_BOUNDED} and {condition} order by model, commit", bounds + parameters)
            return complete_rows(rows)

        return self._retry(lambda: self._arena_manifest(arena), read)

    def _history_paths(self, manifest: ArenaManifest, *, since: int | None, until: int | None) -> list[str]:
        folder = self.path / BOARD / folder_name(manifest.publication.arena)

        def overlaps(file: HistoryFile) -> bool:
            return (until is None or file.first_log_time <= until) and (since is None or file.last_log_time >= since)

        return [str(folder / file.file) for file in manifest.history if overlaps(file)]

    def precision(self, arena: str, method: str | None = None, least: int = 10) -> pa.Table:
        """Return how sure past boards were: a row a board (`history.PRECISION_SCHEMA`), by commit.

        Only models with at least `least` comparisons count. A board on which there are none has no row.
        """

        def read(manifest: ArenaManifest) -> pa.Table:
            chosen = pick_board(manifest.publication, method).method
            files = self._history_paths(manifest, since=None, until=None)
            if not files:
                return PRECISION_SCHEMA.empty_table()
            return self._query(
                "select commit, any_value(log_time) as log_time, any_value(arena_votes) as arena_votes, "
                "count(*)::int as models, sum(ln(sd)) as log_sd from read_parquet(?, union_by_name = true) "
                "where method = ? and comparisons >= ? and sd > 0 group by commit order by commit",
                [files, chosen, least],
            ).cast(PRECISION_SCHEMA)

        return self._retry(lambda: self._arena_manifest(arena), read)

    def counts(self, arena: str) -> pa.Table:
        """Return the sparse count table of the newest publication."""
        return self.publication_with_counts(arena)[1]

    def publication_with_counts(self, arena: str) -> tuple[Publication, pa.Table]:
        """Return the newest publication, and the sparse count table that belongs to it."""
        folder = self.path / BOARD / folder_name(arena)

        def read(manifest: ArenaManifest) -> tuple[Publication, pa.Table]:
            with pa.OSFile(str(folder / manifest.counts), "rb") as file:
                return manifest.publication, pa.ipc.open_file(file).read_all()

        return self._retry(lambda: self._arena_manifest(arena), read)

    # ------------------------------------------------------------------ archive, dead letters, window

    def read_archive(self, *, after_sequence: int = 0, batch_rows: int = 100_000) -> Iterator[pa.RecordBatch]:
        """Iterate over archived rows with ``sequence > after_sequence`` in order of sequence (`ARCHIVE_SCHEMA`).

        Ends where the manifest stood at the first row.
        """
        manifests = [self.manifest()]
        until = manifests[0].sequence

        def list_files() -> Sequence[StoreFile]:
            return (manifests.pop() if manifests else self.manifest()).archive

        try:
            yield from read_rows(self.path, list_files, after=after_sequence, until=until, batch_rows=batch_rows)
        except FileNotFoundError as error:
            raise ReaderError(f"an archive file of the store {self.path} is missing: {error}") from error

    def recent_votes(self, count: int) -> pa.Table:
        """Return the newest `count` archived rows (`ARCHIVE_SCHEMA`), or all, oldest first."""
        batches = list(self.read_archive(after_sequence=max(0, self.manifest().sequence - count)))
        return pa.Table.from_batches(batches, ARCHIVE_SCHEMA)

    def retractions(self) -> Retractions:
        """Return which archived votes do not count: retracted by an event, or left out by the replay of the store."""

        def read(manifest: Manifest) -> Retractions:
            files = [
                str(self.path / file.path) for file in manifest.archive if file.first_sequence <= manifest.sequence
            ]
            retractions = Retractions()
            retractions.leave_out(_decode_filter(manifest))
            statement = "select event from read_parquet(?) where event is not null and sequence <= ? order by sequence"
            events = self._query(statement, [files, manifest.sequence])["event"].to_pylist() if files else []
            for event in map(decode_control, events):
                if event.type.startswith(("voters.", "matchups.")):
                    retractions.apply(event)
            return retractions

        return self.with_manifest(read)

    def count_archive(self) -> int:
        """Return how many rows the archive has."""

        def count(manifest: Manifest) -> int:
            beyond = [str(self.path / file.path) for file in manifest.archive if file.last_sequence > manifest.sequence]
            rows = sum(file.rows for file in manifest.archive if file.last_sequence <= manifest.sequence)
            if beyond:  # linked from another store by a replay that has not come to them yet
                statement = "select count(*) as rows from read_parquet(?) where sequence <= ?"
                rows += self._query(statement, [beyond, manifest.sequence])["rows"][0].as_py()
            return rows

        return self.with_manifest(count)

    def count_dead_letters(self) -> dict[str, int]:
        """Return how many dead letters there are of each reason; their payloads are not read."""

        def read(manifest: Manifest) -> dict[str, int]:
            counted: Counter[str] = Counter()
            for file in manifest.dead:
                for each in read_dead(self.path / file.path, ["reason"])["reason"].value_counts().to_pylist():
                    counted[each["values"]] += each["counts"]
            return dict(counted)

        return self.with_manifest(read)

    def dead_letters(self, limit: int | None = None, reason: str | None = None, since: int | None = None) -> pa.Table:
        """Return dead letters (`dead_letters.DEAD_SCHEMA`), oldest first; with `limit` the newest so many.

        `since` leaves out those that were appended before that time (ms).
        """

        def read(manifest: Manifest) -> pa.Table:
            tables: list[pa.Table] = []
            wanted = limit
            for file in reversed(_dead_since(manifest, since)):
                if wanted is not None and wanted <= 0:
                    break
                table = choose_dead(read_dead(self.path / file.path), reason, since)
                if wanted is not None:
                    table = table.slice(max(0, len(table) - wanted))
                    wanted -= len(table)
                tables.insert(0, table)
            return pa.concat_tables(tables) if tables else DEAD_SCHEMA.empty_table()

        return self.with_manifest(read)

    def iter_dead_letters(self, reason: str | None = None, since: int | None = None) -> Iterator[pa.Table]:
        """Iterate over all dead letters as `dead_letters`, oldest first, without holding them all in memory.

        Ends where the manifest stood at the first row. Raises `ReaderError` if that was too long ago.
        """
        for file in _dead_since(self.manifest(), since):
            try:
                yield from (choose_dead(table, reason, since) for table in iter_dead(self.path / file.path))
            except FileNotFoundError as error:
                raise ReaderError(
                    f"{file.path} of the store {self.path} was merged into another file meanwhile; try again",
                    retriable=True,
                ) from error

    def load_window(self) -> Iterator[NDArray[np.void]]:
        """Iterate over the de-duplication window of one commit (`contracts.store.WINDOW_DTYPE`)."""

        def read(manifest: Manifest) -> list[NDArray[np.void]]:
            found = [read_window(self.path / file.path) for file in manifest.window]
            return [entries[entries["time"] >= manifest.horizon] for entries in found]

        yield from self.with_manifest(read)


def _decode_filter(manifest: Manifest) -> VoteFilter:
    return msgspec.json.decode(bytes(manifest.filter), type=VoteFilter)


def _dead_since(manifest: Manifest, since: int | None) -> tuple[StoreFile, ...]:
    return tuple(file for file in manifest.dead if since is None or file.last_time >= since)


def pick_board(publication: Publication, method: str | None) -> Board:
    """Return a board of what is published, by the default method if none is named. Raises `ReaderError`."""
    boards = publication.boards
    if method is None:
        method = next((name for name in METHODS if name in boards), next(iter(boards), METHODS[0]))
    if method not in boards:
        raise ReaderError(
            f"arena {publication.arena} has no board by {method!r}; published are {', '.join(boards) or 'none'}",
            retriable=method in METHODS,
        )
    return boards[method]


def _make_board(publication: Publication, method: str, rows: Sequence[dict[str, Any]]) -> Board:
    """Make a board of history rows; names come from the registry of today."""
    known = {model.id: model for model in publication.registered.models}
    models = []
    for row in rows:
        model = known.get(row["model"])
        models.append(
            ModelRating(
                name=None if model is None else model.name,
                organization=None if model is None else model.organization,
                license=None if model is None else model.license,
                **{name: row[name] for name in ModelRating.__struct_fields__ if name in row},
            )
        )
    first = rows[0]
    return Board(
        arena=publication.arena,
        method=method,
        methodology=first["methodology"],
        as_of=first["as_of"],
        votes=first["arena_votes"],
        commit=first["commit"],
        log_time=first["log_time"],
        models=tuple(models),
    )
