"""Compaction: many small files become few large ones, beside the commits, and a commit swaps them in.

Files of one kind (archive: of one hour) form a group, ordered by commit. Within a group only neighbours are
merged, so that the files of an archive never overlap in sequence:

- tiered: `Policy.fan_in` neighbours of one level become one file of the next;
- an hour that is over (the log time has passed into a later one) becomes one file.

No file larger than `Policy.most_rows` is made, so that one merge neither takes minutes nor doubles the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from pipeline.store.archive_format import GroupWriter, open_file, read_group
from pipeline.store.dead_letters import merge_dead
from pipeline.store.files import remove_file, sync_path
from pipeline.store.manifest import FileTotals, Kind, StoreFile
from pipeline.store.window_segments import merge_window


@dataclass(frozen=True, slots=True)
class Policy:
    """When files of one kind are merged."""

    fan_in: int
    most_rows: int


POLICIES: Final[dict[Kind, Policy]] = {
    "archive": Policy(fan_in=32, most_rows=16_000_000),  # some 800 MB
    "dead": Policy(fan_in=32, most_rows=500_000),
    "window": Policy(fan_in=16, most_rows=2_000_000),  # 80 MB in memory, a tenth of the default window
}

GroupKey = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Merge:
    """Neighbouring files to be merged into one."""

    sources: tuple[StoreFile, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge that is done: `result` stands for `sources` once a commit says so; None = nothing is left."""

    sources: tuple[StoreFile, ...]
    result: StoreFile | None


class FileSet:
    """The live files of a store, and what there is to merge among them. Not for two threads at once."""

    def __init__(self, files: Iterable[StoreFile]) -> None:
        self._groups: dict[GroupKey, dict[str, StoreFile]] = {}
        self._keys: dict[str, GroupKey] = {}
        self._changed: set[GroupKey] = set()
        self._totals: dict[Kind, FileTotals] = dict.fromkeys(POLICIES, FileTotals())
        for file in files:
            self.add(file)

    def add(self, file: StoreFile) -> None:
        """Take in a live file."""
        self.remove(file.path)  # linking an archive names what is there already once more
        key = self._keys[file.path] = (file.kind, file.hour)
        self._groups.setdefault(key, {})[file.path] = file
        self._changed.add(key)
        self._count(file, 1)

    def remove(self, path: str) -> None:
        """Leave out a file that is no longer live. Nothing happens if it is not there."""
        if (key := self._keys.pop(path, None)) is not None:
            self._count(self._groups[key].pop(path), -1)
            if not self._groups[key]:
                del self._groups[key]

    def _count(self, file: StoreFile, sign: int) -> None:
        total = self._totals[file.kind]
        self._totals[file.kind] = FileTotals(
            files=total.files + sign, rows=total.rows + sign * file.rows, bytes=total.bytes + sign * file.bytes
        )

    def totals(self) -> dict[Kind, FileTotals]:
        """Return how much the live files hold, by kind. Kept, not summed: it is asked for at every sign of life."""
        return dict(self._totals)

    def close_hours(self, before: str, now: str) -> None:
        """Look again at the group of the hour `before`, if `now` is a later one."""
        if before != now:
            self._changed.add(("archive", before))

    def postpone(self, merge: Merge) -> None:
        """Leave the group of a failed merge alone until it changes: trying at each commit would not help."""
        self._changed.discard((merge.sources[0].kind, merge.sources[0].hour))

    def of(self, kind: Kind) -> tuple[StoreFile, ...]:
        """Return the live files of one kind, in order."""
        groups = [group for (each, _), group in self._groups.items() if each == kind]
        return tuple(sorted((file for group in groups for file in group.values()), key=_order))

    def before_horizon(self, horizon: int) -> list[StoreFile]:
        """Return the window segments in which every vote is too old."""
        return [file for file in self._groups.get(("window", ""), {}).values() if file.last_time < horizon]

    def next_merge(self, kind: Kind, open_hour: str) -> Merge | None:
        """Return the next merge of a kind, None if there is none: its groups are left alone until they change."""
        for key in sorted(key for key in self._changed if key[0] == kind):
            hour = key[1]
            closed = kind == "archive" and hour < open_hour
            merge = plan_merge(tuple(self._groups.get(key, {}).values()), POLICIES[kind], closed=closed)
            if merge is not None:
                return merge
            self._changed.discard(key)
        return None


def plan_merge(files: Sequence[StoreFile], policy: Policy, *, closed: bool) -> Merge | None:
    """Return what to merge in one group of files, oldest first; None if there is nothing to do."""
    ordered = sorted(files, key=_order)
    if closed:
        return _first_run(ordered, policy.most_rows)
    for level in sorted({file.level for file in ordered}):
        run: list[StoreFile] = []
        for file in ordered:
            if file.level == level and file.rows < policy.most_rows // 2:
                run.append(file)
                if len(run) == policy.fan_in:
                    return _first_run(run, policy.most_rows)
            else:
                run = []
    return None


def _first_run(files: Sequence[StoreFile], most_rows: int) -> Merge | None:
    """Return the first two or more neighbours that fit into one file."""
    run: list[StoreFile] = []
    rows = 0
    for file in files:
        if run and rows + file.rows > most_rows:
            if len(run) > 1:
                break
            run, rows = [], 0
        run.append(file)
        rows += file.rows
    return Merge(tuple(run)) if len(run) > 1 else None


def _order(file: StoreFile) -> tuple[int, int, str]:
    return file.first_commit, file.first_sequence, file.path


def merge_files(root: Path, merge: Merge, horizon: int) -> Merged:
    """Write the merged file and flush it. No commit names it yet: a crash leaves a file that is deleted."""
    sources = merge.sources
    kind = sources[0].kind
    # Neighbours only grow: no other merge will ever have these two ends and this level.
    stem = f"m{sources[0].first_commit:010d}-{sources[-1].last_commit:010d}"
    level = 1 + max(source.level for source in sources)
    if kind == "archive":
        return Merged(sources, merge_archive(root, sources))
    if kind == "dead":
        result: StoreFile | None = merge_dead(root, sources, f"{stem}-{level}.parquet")
    else:
        result = merge_window(root, sources, f"{stem}-{level}.bin", horizon)
    return Merged(sources, result)


def merge_archive(root: Path, sources: Sequence[StoreFile]) -> StoreFile:
    """Merge archive files of one hour, in order of sequence, a row group at a time."""
    first, last = sources[0], sources[-1]
    level = 1 + max(source.level for source in sources)
    folder = (root / first.path).parent
    path = folder / f"m{last.last_commit:010d}-{first.first_sequence}-{last.last_sequence}-{level}.parquet"
    writer = GroupWriter(path)
    try:
        for source in sources:
            merged = root / source.path
            with open_file(merged) as file:
                groups = (read_group(file, group, merged) for group in range(file.num_row_groups))
                for batch in chain.from_iterable(groups):
                    writer.write(batch)
    except BaseException:
        writer.abandon()
        remove_file(path)
        raise
    writer.close()
    sync_path(path)
    return StoreFile(
        path=path.relative_to(root).as_posix(),
        kind="archive",
        rows=sum(source.rows for source in sources),
        bytes=path.stat().st_size,
        level=level,
        hour=first.hour,
        first_sequence=first.first_sequence,
        last_sequence=last.last_sequence,
        first_commit=first.first_commit,
        last_commit=last.last_commit,
        first_time=min(source.first_time for source in sources),
        last_time=max(source.last_time for source in sources),
    )
