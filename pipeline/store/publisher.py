"""Publishing boards: files that readers take without locks, one folder an arena.

Independent of the ledger, so that a publication need not wait for a commit, nor a commit for a publication.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from pipeline.contracts.ids import folder_name
from pipeline.contracts.snapshot import Board, Publication
from pipeline.contracts.store import PublishError
from pipeline.store.files import make_folder, remove_file, replace_file, sync_path
from pipeline.store.history import make_rows, merge_segments, plan_segments, write_segment
from pipeline.store.manifest import (
    FORMAT,
    MANIFEST_NAME,
    ArenaManifest,
    DamagedManifestError,
    HistoryFile,
    PublishedArena,
    SupersededFile,
    decode_manifest,
)

BOARD: Final = "board"

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _ArenaFolder:
    """One arena's folder, and the merge of its segments that is under way."""

    path: Path
    manifest: ArenaManifest | None = None
    merging: Future[HistoryFile] | None = None
    sources: tuple[HistoryFile, ...] = ()
    given_up: tuple[HistoryFile, ...] = field(default=())


class Publisher:
    """Writes what is published. Any thread may call it; publications are made one after the other."""

    def __init__(self, root: Path, executor: Executor, grace: int) -> None:
        self._root = root / BOARD
        self._executor = executor
        self._grace = grace
        self._lock = threading.Lock()
        self._folders = {
            folder.manifest.publication.arena: folder for folder in self._find_folders() if folder.manifest
        }

    def _find_folders(self) -> Iterator[_ArenaFolder]:
        for path in sorted(self._root.iterdir()):
            if (manifest := path / MANIFEST_NAME).is_file():
                try:
                    yield _ArenaFolder(path, decode_manifest(manifest.read_bytes(), ArenaManifest, manifest))
                except DamagedManifestError as error:  # the job publishes the arena anew; nothing else names its files
                    _LOG.warning("%s; the arena's board is published anew, and its history begins again", error)

    def remove_leftovers(self) -> None:
        """Delete files that no publication names: of a publication that a crash cut off."""
        known = {folder.path: folder.manifest for folder in self._folders.values()}
        for path in self._root.iterdir():
            named = {MANIFEST_NAME}
            if (manifest := known.get(path)) is not None:
                named |= {manifest.counts, *(each.file for each in manifest.history)}
                named |= {each.file for each in manifest.superseded}
            for file in path.iterdir() if path.is_dir() else ():
                if file.name not in named:
                    remove_file(file)

    def arenas(self) -> dict[str, PublishedArena]:
        """Return what is published, by arena."""
        # Taken without the lock: a dict is copied in one step, and a publication may take long.
        found = {arena: (folder, folder.manifest) for arena, folder in sorted(self._folders.copy().items())}
        return {
            arena: PublishedArena(folder=folder.path.name, commit=manifest.publication.commit)
            for arena, (folder, manifest) in found.items()
            if manifest is not None
        }

    def publish(self, publications: Sequence[tuple[Publication, pa.Table]], now: int) -> None:
        """Publish what is newer than what is there. Raises `PublishError`; each arena is old or new then."""
        with self._lock:
            for publication, counts in publications:
                folder = self._folders.get(publication.arena)
                if folder is None:
                    folder = _ArenaFolder(self._root / folder_name(publication.arena))
                try:
                    self._publish_arena(folder, publication, counts, now)
                except OSError as error:
                    raise PublishError(f"cannot publish {publication.arena} in {folder.path}: {error}") from error
                self._folders[publication.arena] = folder

    def _publish_arena(self, folder: _ArenaFolder, publication: Publication, counts: pa.Table, now: int) -> None:
        before = folder.manifest
        if before is not None and not _is_news(before.publication, publication):
            return
        if before is not None:
            boards = {**publication.boards, **_newer_boards(before.publication, publication)}
            publication = msgspec.structs.replace(publication, boards=boards)
        version = before.version + 1 if before else 1
        recorded = before.recorded if before else {}
        history = list(before.history) if before else []
        superseded = list(before.superseded) if before else []
        make_folder(folder.path)
        if len(rows := make_rows(publication, recorded)):
            history.append(write_segment(folder.path, f"h{version:010d}.parquet", rows, 0))
        if before is not None:
            superseded.append(SupersededFile(file=before.counts, since=now))
        sources, merged = _collect_merge(folder)
        if merged is not None:
            gone = {each.file for each in sources}
            place = next(index for index, each in enumerate(history) if each.file in gone)
            history = [each for each in history if each.file not in gone]
            history.insert(place, merged)
            superseded += [SupersededFile(file=name, since=now) for name in sorted(gone)]
        expired = [each for each in superseded if each.since + self._grace <= now]
        manifest = ArenaManifest(
            format=FORMAT,
            version=version,
            publication=publication,
            counts=_write_counts(folder.path, version, counts),
            history=tuple(history),
            recorded={**recorded, **{method: board.commit for method, board in publication.boards.items()}},
            superseded=tuple(each for each in superseded if each not in expired),
        )
        replace_file(folder.path / MANIFEST_NAME, msgspec.json.encode(manifest))
        folder.manifest = manifest
        if merged is not None:
            folder.merging = None
        for each in expired:
            remove_file(folder.path / each.file)
        self._start_merge(folder)

    def _start_merge(self, folder: _ArenaFolder) -> None:
        manifest = folder.manifest
        if folder.merging is not None or manifest is None:
            return
        sources = plan_segments(manifest.history)
        if sources and sources != folder.given_up:
            folder.sources = sources
            name = f"m{manifest.version:010d}.parquet"
            folder.merging = self._executor.submit(merge_segments, folder.path, sources, name)


def _is_news(published: Publication, publication: Publication) -> bool:
    """Whether to publish: a later commit, or at the same commit a fit or rebuild that has ended since.

    The same once more is left out: when it was redelivered just after its segment had been merged, a
    prototype had its rows twice.
    """
    if publication.commit != published.commit:
        return publication.commit > published.commit
    return any(
        method not in published.boards or _is_fresher(board, published.boards[method])
        for method, board in publication.boards.items()
    )


def _is_fresher(board: Board, other: Board) -> bool:
    return (board.commit, not board.rebuilding) > (other.commit, not other.rebuilding)


def _newer_boards(published: Publication, publication: Publication) -> dict[str, Board]:
    """Return the published boards that are of a later commit than their successors: none goes backwards."""
    return {
        method: board
        for method, board in published.boards.items()
        if method in publication.boards and publication.boards[method].commit < board.commit
    }


def _collect_merge(folder: _ArenaFolder) -> tuple[tuple[HistoryFile, ...], HistoryFile | None]:
    if folder.merging is None or not folder.merging.done():
        return (), None
    try:
        return folder.sources, folder.merging.result()
    except Exception:
        _LOG.exception("cannot merge the history in %s; it goes on in small files", folder.path)
        folder.given_up, folder.merging = folder.sources, None
        return (), None


def _write_counts(folder: Path, version: int, counts: pa.Table) -> str:
    name = f"counts-{version:010d}.arrow"
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        pa.OSFile(str(folder / name), "wb") as file,
        pa.ipc.new_file(file, counts.schema, options=options) as writer,
    ):
        writer.write_table(counts)
    sync_path(folder / name)
    return name
