"""Taking over files of another store: its archive, or all that a replay cannot compute from the archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.store import StoreError
from pipeline.store.archive_format import GroupWriter, open_file, read_group
from pipeline.store.files import link_file, make_folder, sync_path
from pipeline.store.manifest import Manifest, StoreFile, decode_positions
from pipeline.store.reader import StoreReader


@dataclass(frozen=True, slots=True)
class TakenState:
    """What `link_state` took over: files as they lie in the new store, and the manifest that they are of."""

    manifest: Manifest
    positions: Mapping[TopicPartition, Position]
    files: Sequence[StoreFile]


def link_state(root: Path, source: StoreReader, sequence: int | None) -> TakenState:
    """Link window segments and dead letters of `source` into the store at `root`, under new names."""

    def link(manifest: Manifest) -> TakenState:
        if sequence is not None and manifest.sequence != sequence:
            raise StoreError(
                f"the store {source.path} has gone on to sequence {manifest.sequence} while it was replayed up to "
                f"{sequence}: replay the rows after {sequence}, then take over again"
            )
        files = []
        for file in (*manifest.window, *manifest.dead):
            old = Path(file.path)
            path = old.with_name(f"a{manifest.commit:010d}-{old.name}").as_posix()
            link_file(source.path / old, root / path)
            files.append(msgspec.structs.replace(file, path=path))
        for folder in {(root / file.path).parent for file in files}:
            sync_path(folder)
        return TakenState(manifest, decode_positions(manifest.positions), tuple(files))

    return source.with_manifest(link)


def link_archive(root: Path, source: StoreReader, *, after: int, up_to_commit: int | None) -> list[StoreFile]:
    """Link the archive of `source`: sequences above `after`, commits up to `up_to_commit`."""

    def link(manifest: Manifest) -> list[StoreFile]:
        last_commit = manifest.commit if up_to_commit is None else min(up_to_commit, manifest.commit)
        files = []
        for file in manifest.archive:
            if file.last_sequence <= after or file.first_commit > last_commit:
                continue
            folder = (root / file.path).parent
            make_folder(folder)
            whole = file.first_sequence > after and file.last_commit <= last_commit
            if whole and file.last_sequence <= manifest.sequence:
                link_file(source.path / file.path, root / file.path)
                files.append(file)
            elif (part := _copy_rows(source.path, root, file, after, min(last_commit, manifest.commit))) is not None:
                files.append(part)
        for folder in {(root / file.path).parent for file in files}:
            sync_path(folder)
        return files

    return source.with_manifest(link)


def _copy_rows(source: Path, root: Path, file: StoreFile, after: int, last_commit: int) -> StoreFile | None:
    """Copy the rows of an archive file with sequences above `after` and commits up to `last_commit`."""
    # A name that no file here has yet: the next call has a higher `after`, unless this one copies nothing.
    path = Path(file.path).with_name(f"p{after}-{last_commit}-{Path(file.path).name}")
    sequences: list[int] = []
    commits: list[int] = []
    times: list[int] = []
    rows = 0
    writer = GroupWriter(root / path)
    try:
        with open_file(source / file.path) as opened:
            groups = (read_group(opened, group, source / file.path) for group in range(opened.num_row_groups))
            for batch in chain.from_iterable(groups):
                mask = pc.and_(
                    pc.greater(batch.column("sequence"), after),
                    pc.less_equal(batch.column("commit"), last_commit),
                )
                kept: pa.RecordBatch = batch.filter(mask)
                if len(kept):
                    rows += len(kept)
                    _note_range(sequences, kept.column("sequence"))
                    _note_range(commits, kept.column("commit"))
                    _note_range(times, kept.column("appended_at"))
                    writer.write(kept)
    except BaseException:
        writer.abandon()
        (root / path).unlink(missing_ok=True)
        raise
    writer.close()
    if not rows:
        (root / path).unlink()
        return None
    sync_path(root / path)
    return msgspec.structs.replace(
        file,
        path=path.as_posix(),
        rows=rows,
        bytes=(root / path).stat().st_size,
        first_sequence=min(sequences),
        last_sequence=max(sequences),
        first_commit=min(commits),
        last_commit=max(commits),
        first_time=min(times),
        last_time=max(times),
    )


def _note_range(into: list[int], column: pa.Array) -> None:
    extremes = pc.min_max(column).as_py()
    into += [extremes["min"], extremes["max"]]
